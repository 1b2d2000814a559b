"""Objects that are wanted and objects that are there: what is lacking, what differs, and what both make together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Object = Mapping[str, Any]


def lacking(manifest: Object, namespaces: set[str], accounts: set[tuple[str, str]]) -> str:
    """What an object names that does not exist; empty if all does."""
    namespace = manifest["metadata"].get("namespace")
    if namespace is not None and namespace not in namespaces:
        return f"there is no namespace {namespace}"
    for subject in manifest.get("subjects", ()):
        if subject["kind"] == "ServiceAccount" and (subject["namespace"], subject["name"]) not in accounts:
            return f"there is no service account {subject['namespace']}:{subject['name']}"
    return ""


def merged(existing: Object, wanted: Object) -> dict[str, Any]:
    """The existing object with what is wanted put in; subjects of a binding and annotations that others added stay."""
    result = {**existing}
    for key, value in wanted.items():
        if key == "subjects":
            present = [_subject(s) for s in existing.get(key) or ()]
            missing = [s for s in value if _subject(s) not in present]
            result[key] = [*(existing.get(key) or ()), *missing]
        elif key == "spec":
            result[key] = {**value, **_server_defaults(existing.get(key) or {}, value)}
        elif key == "metadata" and value.get("annotations"):
            found = existing["metadata"]
            annotations = {**(found.get("annotations") or {}), **value["annotations"]}
            result[key] = {**found, "annotations": annotations}
        elif key not in ("metadata", "apiVersion", "kind"):
            result[key] = value
    return result


def _subject(subject: Mapping[str, Any]) -> tuple[Any, ...]:
    return subject.get("kind"), subject.get("namespace"), subject.get("name")


def _server_defaults(existing: Mapping[str, Any], wanted: Mapping[str, Any]) -> dict[str, Any]:
    """What the server filled in by itself: allowPrivilegeEscalation is true unless said (policy/v1beta1)."""
    same = {"allowPrivilegeEscalation": True}
    return {key: value for key, value in existing.items() if key not in wanted and same.get(key) == value}


def served(item: Object) -> dict[str, Any]:
    """An object as a server gives it back: a PodSecurityPolicy has no empty lists and no booleans that are false.

    Some of its lists come back as null. Its pointers (allowPrivilegeEscalation, defaultAllowPrivilegeEscalation) say
    false when they are.
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


def key_of(item: Object) -> tuple[str, str]:
    """Namespace (empty without one) and name."""
    return item["metadata"].get("namespace", ""), item["metadata"]["name"]
