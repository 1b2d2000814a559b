"""Objects of the API as plain data: what of one counts where, what two make together, and how one is called.

The server adds to an object that somebody sends. What has to be left out again depends on the purpose:

| function | leaves out | used for |
|---|---|---|
| ``without_server_parts`` | status, metadata of the server | plan digests; sending it again |
| ``own_state`` | also the apiVersion and other metadata | the state in a journal |
| ``parts_like`` | what a manifest does not say; annotations | diffs that a person reads |
| ``without_zero_values`` | empty fields of a PodSecurityPolicy | comparing it with a file |
| ``without_managed_fields`` | managedFields | memory |
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Object = Mapping[str, Any]
Objects = Mapping[str, Iterable[Object]]  # by the plural of their resource, such as ``rolebindings``

# What the API server writes into an object's metadata (ObjectMeta of k8s.io/apimachinery, meta/v1).
SERVER_METADATA = ("resourceVersion", "uid", "creationTimestamp", "generation", "managedFields", "selfLink")


def without_server_parts(item: Object) -> dict[str, Any]:
    """Return an object without status and ``SERVER_METADATA``: the same object has the same content at any time.

    Its digest stands in plans and approvals. It is also what a rollback creates, and what is compared after a write
    whose answer was lost.
    """
    meta = {key: value for key, value in item["metadata"].items() if key not in SERVER_METADATA}
    return {**{key: value for key, value in item.items() if key != "status"}, "metadata": meta}


def own_state(item: Object) -> dict[str, Any]:
    """Return what people and runs decide of an object: metadata is its names, labels and annotations, and no others.

    The apiVersion is left out as well, because the same object can be read in several. The digest of this content tells
    a rollback whether somebody has changed an object since; it stands in journals and must stay as it is.
    """
    meta = item["metadata"]
    metadata = {key: meta[key] for key in ("name", "namespace", "labels", "annotations") if meta.get(key)}
    rest = {key: value for key, value in item.items() if key not in ("apiVersion", "metadata", "status")}
    return {**rest, "metadata": metadata}


def parts_like(item: Object, like: Object) -> dict[str, Any]:
    """Return the parts of an object that another one has too, in that order, with names and labels as metadata.

    What the other does not say, such as the server's defaults, would be noise in a diff of the two.
    """
    parts = {key: item[key] for key in like if key in item and key not in ("metadata", "status")}
    meta = {key: item["metadata"][key] for key in ("name", "namespace", "labels") if key in item["metadata"]}
    first = {key: parts.pop(key, None) for key in ("apiVersion", "kind")}
    return {**first, "metadata": meta, **parts}


def without_zero_values(item: Object) -> dict[str, Any]:
    """Return an object as a server gives it back: a PodSecurityPolicy without null, empty lists and false.

    A file may say them, and the server leaves them out; some of its lists come back as null. Its pointers
    (allowPrivilegeEscalation, defaultAllowPrivilegeEscalation) say false when they are. Other kinds stay as they are.
    """
    spec = item.get("spec")
    if item.get("kind") != "PodSecurityPolicy" or not isinstance(spec, Mapping):
        return dict(item)
    return {**item, "spec": _without_zeros(spec)}


def _without_zeros(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_zeros(item) for item in value]
    if not isinstance(value, Mapping):
        return value
    return {
        key: _without_zeros(item)
        for key, item in value.items()
        if item is not None and item != [] and (item is not False or key.endswith("llowPrivilegeEscalation"))
    }


def without_managed_fields(item: Object) -> dict[str, Any]:
    """Return an object without ``managedFields``: they are large, and nothing here reads them."""
    meta = {key: value for key, value in item["metadata"].items() if key != "managedFields"}
    return {**item, "metadata": meta}


def unknown_reference(manifest: Object, namespaces: set[str], accounts: set[tuple[str, str]]) -> str:
    """Return in a sentence which namespace or service account an object names that does not exist; empty if all do."""
    namespace = manifest["metadata"].get("namespace")
    if namespace is not None and namespace not in namespaces:
        return f"there is no namespace {namespace}"
    for subject in manifest.get("subjects", ()):
        if subject["kind"] == "ServiceAccount" and (subject["namespace"], subject["name"]) not in accounts:
            return f"there is no service account {subject['namespace']}:{subject['name']}"
    return ""


def merge(existing: Object, wanted: Object) -> dict[str, Any]:
    """Return the existing object with what is wanted put in; subjects and annotations that others added stay."""
    result = {**existing}
    for key, value in wanted.items():
        if key == "subjects":
            present = [_subject(s) for s in existing.get(key) or ()]
            missing = [s for s in value if _subject(s) not in present]
            result[key] = [*(existing.get(key) or ()), *missing]
        elif key == "spec":
            result[key] = {**value, **_server_defaults(existing.get(key) or {}, value)}
        elif key == "metadata" and value.get("annotations"):
            annotations = {**annotations_of(existing), **value["annotations"]}
            result[key] = {**existing["metadata"], "annotations": annotations}
        elif key not in ("metadata", "apiVersion", "kind"):
            result[key] = value
    return result


def _subject(subject: Object) -> tuple[Any, ...]:
    return subject.get("kind"), subject.get("namespace"), subject.get("name")


def _server_defaults(existing: Object, wanted: Object) -> dict[str, Any]:
    """Return what the server filled in by itself: allowPrivilegeEscalation is true unless said (policy/v1beta1)."""
    same = {"allowPrivilegeEscalation": True}
    return {key: value for key, value in existing.items() if key not in wanted and same.get(key) == value}


def key_of(item: Object) -> tuple[str, str]:
    """Return namespace (empty without one) and name."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]


def title_of(item: Object) -> str:
    """Return what an object is called in plans, events and records: ``Role weave/psp:privileged``."""
    return f"{item['kind']} {'/'.join(filter(None, key_of(item)))}"


def annotations_of(item: Object) -> Mapping[str, str]:
    """Return the annotations of an object; empty without any."""
    return (item.get("metadata") or {}).get("annotations") or {}


def selects(selector: Object, labels: Mapping[str, str]) -> bool:
    """Return whether a label selector selects labels; an empty one selects all (LabelSelectorAsSelector)."""
    wanted = (selector.get("matchLabels") or {}).items()
    return all(labels.get(key) == value for key, value in wanted) and all(
        _meets(expression, labels) for expression in selector.get("matchExpressions") or ()
    )


def _meets(expression: Object, labels: Mapping[str, str]) -> bool:
    key, values = expression["key"], expression.get("values") or ()
    return {
        "In": key in labels and labels[key] in values,
        "NotIn": key not in labels or labels[key] not in values,
        "Exists": key in labels,
        "DoesNotExist": key not in labels,
    }.get(expression["operator"], False)


def controller_of(item: Object) -> Object | None:
    """Return the owner reference that controls an object."""
    owners = item["metadata"].get("ownerReferences") or ()
    return next((owner for owner in owners if owner.get("controller")), None)
