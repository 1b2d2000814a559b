"""What holds for an object of every kind on its way into the store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from kubeharden_rehearsal.api.catalog import STATUS_SUBRESOURCES, Resource
from kubeharden_rehearsal.api.status import bad_request, conflict

Object = dict[str, Any]

_KEPT_METADATA = (
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "generation",
    "creationTimestamp",
    "deletionTimestamp",
    "selfLink",
)

# The type of a field, and of the items in it. Only fields that the server itself reads are listed.
_Shape = tuple[type, type | None]
_FIELDS: dict[str, _Shape] = {
    "apiVersion": (str, None),
    "kind": (str, None),
    "metadata": (dict, None),
    "spec": (dict, None),
    "status": (dict, None),
    "roleRef": (dict, None),
    "subjects": (list, dict),
}
_METADATA_FIELDS: dict[str, _Shape] = {
    "name": (str, None),
    "generateName": (str, None),
    "namespace": (str, None),
    "uid": (str, None),
    "resourceVersion": (str, None),
    "labels": (dict, str),
    "annotations": (dict, str),
    "finalizers": (list, str),
    "ownerReferences": (list, dict),
}


def now() -> str:
    """The time as objects carry it: RFC 3339, in seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def private_copy(obj: Mapping[str, Any]) -> Object:
    """A copy of plain JSON data, without nulls, which the API server reads as absent.

    Raises:
        ApiError: 400, a field that the server itself reads has the wrong type.
    """
    text = json.dumps(obj, default=_timestamp)
    copied: Object = json.loads(text, object_hook=_without_nulls if "null" in text else None)
    if not isinstance(copied, dict):
        raise bad_request("json: cannot unmarshal the body into a Go struct: expected an object")
    copied.setdefault("metadata", {})
    _check_shapes(copied, _FIELDS, "")
    _check_shapes(copied["metadata"], _METADATA_FIELDS, "ObjectMeta.metadata")
    return copied


def _check_shapes(obj: Object, shapes: Mapping[str, _Shape], path: str) -> None:
    for field in obj.keys() & shapes.keys():
        outer, inner = shapes[field]
        value = obj[field]
        items = value.values() if isinstance(value, dict) else value
        if not isinstance(value, outer) or (inner and any(type(item) is not inner for item in items)):
            wanted = outer.__name__ + (f" of {inner.__name__}" if inner else "")
            raise bad_request(
                f"json: cannot unmarshal into Go struct field {path}.{field}: expected {wanted}"
            )


def _without_nulls(obj: Object) -> Object:
    return {field: value for field, value in obj.items() if value is not None}


def _timestamp(value: object) -> str:
    # YAML reads an unquoted creationTimestamp as a time; the API knows times as text only.
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in an API object")


def check_type(resource: Resource, obj: Object) -> None:
    """Give an object the apiVersion and kind of its resource, or refuse other ones.

    Raises:
        ApiError: 400.
    """
    api_version = obj.setdefault("apiVersion", resource.api_version)
    kind = obj.setdefault("kind", resource.kind)
    if kind != resource.kind:
        raise bad_request(f'{kind} in version "{api_version}" cannot be handled as a {resource.kind}')
    if api_version != resource.api_version:
        raise bad_request(
            f"the API version in the data ({api_version}) does not match the expected API version "
            f"({resource.api_version})"
        )


def check_namespace(resource: Resource, metadata: Object, namespace: str) -> None:
    """Give a new object the namespace of its URL, or refuse another one.

    Raises:
        ApiError: 400.
    """
    if not resource.namespaced:
        namespace = ""
    elif not namespace:
        raise bad_request(f"an object of kind {resource.kind} needs a namespace")
    if metadata.get("namespace", namespace) != namespace:
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    if namespace:
        metadata["namespace"] = namespace


def check_identity(resource: Resource, old: Object, new: Object) -> None:
    """Refuse a write that means another object, or another state of it.

    Raises:
        ApiError: 400 for another name or namespace; 409 for another uid or resourceVersion.
    """
    was, wants = old["metadata"], new["metadata"]
    name = was["name"]
    if wants.get("name", name) != name:
        raise bad_request(
            f"the name of the object ({wants['name']}) does not match the name on the URL ({name})"
        )
    if wants.get("namespace", was.get("namespace")) != was.get("namespace"):
        raise bad_request(
            "the namespace of the provided object does not match the namespace sent on the request"
        )
    check_preconditions(resource, was, wants.get("uid", ""))
    if wants.get("resourceVersion", was["resourceVersion"]) != was["resourceVersion"]:
        raise conflict(resource, name)


def check_preconditions(resource: Resource, metadata: Object, uid: str, resource_version: str = "") -> None:
    """Refuse to touch an object with another uid or resourceVersion than the (non-empty) given ones.

    Source: Preconditions.Check in k8s.io/apiserver/pkg/storage.

    Raises:
        ApiError: 409.
    """
    if uid and uid != metadata["uid"]:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {metadata['uid']}"
        raise conflict(resource, metadata["name"], why)
    if resource_version and resource_version != metadata["resourceVersion"]:
        why = (
            f"Precondition failed: ResourceVersion in precondition: {resource_version}, "
            f"ResourceVersion in object meta: {metadata['resourceVersion']}"
        )
        raise conflict(resource, metadata["name"], why)


def keep_system_fields(resource: Resource, old: Object, new: Object, subresource: str) -> None:
    """Put back into ``new`` whatever the request may not write."""
    if subresource in STATUS_SUBRESOURCES:
        managed = new["metadata"].get("managedFields")
        for field in new.keys() | old.keys():
            if field != "status":
                _carry(old, new, field)
        if managed is not None:
            new["metadata"] = {**old["metadata"], "managedFields": managed}
        return
    if resource.has_status:
        _carry(old, new, "status")
    for field in _KEPT_METADATA:
        _carry(old["metadata"], new["metadata"], field)


def _carry(old: Object, new: Object, field: str) -> None:
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)
