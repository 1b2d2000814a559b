"""The rules of kube-apiserver for one object, whatever else is stored. Pure."""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping
from datetime import date, datetime
from typing import Any

from kubeharden.kube.names import RBAC_GROUP
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.status import bad_request, conflict

Object = dict[str, Any]

BINDINGS = ("RoleBinding", "ClusterRoleBinding")


def private_copy(obj: Mapping[str, Any]) -> Object:
    """Return a copy of plain JSON data, without nulls, which the API server reads as absent."""
    text = json.dumps(obj, default=_timestamp)
    copied: Object = json.loads(text, object_hook=_without_nulls if "null" in text else None)
    copied.setdefault("metadata", {})
    return copied


def _without_nulls(obj: Object) -> Object:
    return {field: value for field, value in obj.items() if value is not None}


def _timestamp(value: object) -> str:
    # YAML reads an unquoted creationTimestamp as a time; the API knows times as text only.
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, date):
        return value.isoformat()
    raise TypeError(f"{value!r} has no place in an API object")


def merge_patch(target: Any, patch: Any) -> Any:
    """Return what RFC 7386 makes of ``target``; neither argument is changed."""
    if not isinstance(patch, dict):
        return copy.deepcopy(patch)
    merged = dict(target) if isinstance(target, dict) else {}
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = merge_patch(merged.get(name), value)
    return merged


def check_type(resource: Resource, obj: Object) -> None:
    """Give an object the apiVersion and kind of its resource, or refuse other ones (400)."""
    if not isinstance(obj.get("metadata"), dict):
        raise bad_request("json: cannot unmarshal the body into a Go struct: metadata must be an object")
    found = obj.setdefault("apiVersion", resource.api_version), obj.setdefault("kind", resource.kind)
    if found != (resource.api_version, resource.kind):
        version, kind = found[0].rpartition("/")[2], found[1]
        types = f"({version}.{kind}) to ({resource.group.partition('.')[0] or 'core'}.{resource.kind})"
        words = f'{kind} in version "{found[0]}" cannot be handled as a {resource.kind}: converting {types}: '
        raise bad_request(f"{words}unknown conversion")


def check_preconditions(resource: Resource, obj: Object, wanted: Mapping[str, Any]) -> None:
    """Refuse (409) to touch an object with another uid or resourceVersion than the given ones.

    Source: Preconditions.Check in k8s.io/apiserver/pkg/storage.
    """
    for field, name in (("uid", "UID"), ("resourceVersion", "ResourceVersion")):
        value, found = wanted.get(field), obj["metadata"][field]
        if value and value != found:
            why = f"Precondition failed: {name} in precondition: {value}, {name} in object meta: {found}"
            raise conflict(resource, obj["metadata"]["name"], why)


def check_same(field: str, metadata: Object, value: str) -> None:
    """Refuse (400) an object whose name or namespace is not that of its URL."""
    given = metadata.get(field, value)
    if value and given != value:
        raise bad_request(
            f"the {field} of the object ({given}) does not match the {field} on the URL ({value})"
        )


def carry(old: Object, new: Object, field: str) -> None:
    """Give an object a field as another one has it."""
    if field in old:
        new[field] = old[field]
    else:
        new.pop(field, None)


def set_defaults(obj: Object, release: Release) -> None:
    """Fill in the defaults that are stored.

    Sources: SetDefaults_* of pkg/apis/rbac/v1 and pkg/apis/policy/v1beta1; NamespaceDefaultLabelName.
    """
    if obj["kind"] == "PodSecurityPolicy":
        obj.setdefault("spec", {}).setdefault("allowPrivilegeEscalation", True)
    elif obj["kind"] in BINDINGS:
        obj.get("roleRef", {}).setdefault("apiGroup", RBAC_GROUP)
        for subject in obj.get("subjects", []):
            if subject.get("kind") in {"User", "Group"}:
                subject.setdefault("apiGroup", RBAC_GROUP)
    elif obj["kind"] == "Namespace" and feature("label kubernetes.io/metadata.name").in_release(release):
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]
