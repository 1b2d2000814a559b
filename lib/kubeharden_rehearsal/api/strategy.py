"""What the API server itself does to an object before it is stored: names, defaults, what may change.

Only what hardening meets is here; there are no schemas, so unknown fields stay and wrong types pass.
"""

from __future__ import annotations

import re
import secrets
from typing import Any

from kubeharden.releases import Release, feature
from kubeharden_rehearsal.api.catalog import Resource
from kubeharden_rehearsal.api.status import Cause, invalid

RBAC_GROUP = "rbac.authorization.k8s.io"
# The alphabet and lengths of k8s.io/apiserver/pkg/storage/names: nothing that reads as a word.
_SUFFIX_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
_SUFFIX_LENGTH = 5
_GENERATED_PREFIX_MAX = 63 - _SUFFIX_LENGTH

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = rf"{_LABEL}(\.{_LABEL})*"
_LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
_LABEL_MAX = 63
_SUBDOMAIN_MAX = 253

# Source: PrepareForCreate of pkg/registry/core/{pod,namespace,persistentvolume*}/strategy.go.
_FIRST_STATUS = {
    "Pod": {"phase": "Pending"},
    "Namespace": {"phase": "Active"},
    "PersistentVolume": {"phase": "Pending"},
    "PersistentVolumeClaim": {"phase": "Pending"},
}


def generated_name(prefix: str) -> str:
    """A name for metadata.generateName."""
    suffix = "".join(secrets.choice(_SUFFIX_ALPHABET) for _ in range(_SUFFIX_LENGTH))
    return prefix[:_GENERATED_PREFIX_MAX] + suffix


def check_name(resource: Resource, name: str, release: Release) -> None:
    """Refuse an object without a name, or with a name that its kind does not allow.

    Sources: ValidateObjectMeta, the IsDNS* functions of k8s.io/apimachinery/pkg/util/validation
    (their wording changed in 1.20: kubernetes/kubernetes PR 94182), and IsValidPathSegmentName.

    Raises:
        ApiError: 422.
    """
    if not name:
        cause = Cause(
            "FieldValueRequired",
            "Required value: name or generateName is required",
            "metadata.name",
        )
        raise invalid(resource, name, [cause])
    wrong = _name_errors(resource.names, name, release)
    if wrong:
        causes = [
            Cause("FieldValueInvalid", f'Invalid value: "{name}": {error}', "metadata.name")
            for error in wrong
        ]
        raise invalid(resource, name, causes)


def _name_errors(rule: str, name: str, release: Release) -> list[str]:
    if rule == "path-segment":
        return _path_segment_errors(name)
    newer = feature("message: RFC 1123").in_release(release)
    word = "a lowercase RFC 1123" if newer else "a DNS-1123"
    if rule == "label":
        pattern, longest = _LABEL, _LABEL_MAX
        text = (
            f"{word} label must consist of lower case alphanumeric characters or '-', and must "
            "start and end with an alphanumeric character (e.g. 'my-name',  or '123-abc'"
        )
    elif rule == "label-1035":
        pattern, longest = _LABEL_1035, _LABEL_MAX
        text = (
            "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start "
            "with an alphabetic character, and end with an alphanumeric character "
            "(e.g. 'my-name',  or 'abc-123'"
        )
    else:
        pattern, longest = _SUBDOMAIN, _SUBDOMAIN_MAX
        text = (
            f"{word} subdomain must consist of lower case alphanumeric characters, '-' or '.', "
            "and must start and end with an alphanumeric character (e.g. 'example.com'"
        )
    errors = [] if len(name) <= longest else [f"must be no more than {longest} characters"]
    if not re.fullmatch(pattern, name):
        errors.append(f"{text}, regex used for validation is '{pattern}')")
    return errors


def _path_segment_errors(name: str) -> list[str]:
    if name in {".", ".."}:
        return [f"may not be '{name}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in name]


def prepare_create(resource: Resource, obj: dict[str, Any], release: Release) -> None:
    """Fill in what the server decides on a create: status, defaults, the first generation."""
    if resource.has_status and resource.kind != "Node":
        # A kubelet registers its node with status; nobody else brings a status along.
        obj["status"] = dict(_FIRST_STATUS.get(resource.kind, {}))
    if resource.generation:
        obj["metadata"]["generation"] = 1
    set_defaults(resource, obj, release)


def set_defaults(resource: Resource, obj: dict[str, Any], release: Release) -> None:
    """Fill in the defaults that are stored.

    Sources: SetDefaults_* of pkg/apis/rbac/v1 and pkg/apis/policy/v1beta1;
    NamespaceDefaultLabelName, on by default from 1.21.
    """
    if resource.kind == "PodSecurityPolicy":
        obj.setdefault("spec", {}).setdefault("allowPrivilegeEscalation", True)
    elif resource.kind in {"RoleBinding", "ClusterRoleBinding"}:
        obj.get("roleRef", {}).setdefault("apiGroup", RBAC_GROUP)
        for subject in obj.get("subjects", []):
            if subject.get("kind") in {"User", "Group"}:
                subject.setdefault("apiGroup", RBAC_GROUP)
    elif resource.kind == "Namespace" and feature("label kubernetes.io/metadata.name").in_release(release):
        labels = obj["metadata"].setdefault("labels", {})
        labels["kubernetes.io/metadata.name"] = obj["metadata"]["name"]


def check_update(resource: Resource, old: dict[str, Any], new: dict[str, Any]) -> None:
    """Refuse to change what may not change once it is stored.

    Source: ValidateRoleBindingUpdate and ValidateClusterRoleBindingUpdate.

    Raises:
        ApiError: 422.
    """
    if resource.kind not in {"RoleBinding", "ClusterRoleBinding"}:
        return
    ref = new.get("roleRef", {})
    if ref != old.get("roleRef", {}):
        shown = (
            f'rbac.RoleRef{{APIGroup:"{ref.get("apiGroup", "")}", '
            f'Kind:"{ref.get("kind", "")}", Name:"{ref.get("name", "")}"}}'
        )
        cause = Cause("FieldValueInvalid", f"Invalid value: {shown}: cannot change roleRef", "roleRef")
        raise invalid(resource, new["metadata"]["name"], [cause])
