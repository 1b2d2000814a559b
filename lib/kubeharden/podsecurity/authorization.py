"""Which PodSecurityPolicies a service account may use, by RBAC.

Source: plugin/pkg/admission/security/podsecuritypolicy/admission.go (verb ``use``, resource
``podsecuritypolicies``, the group ``policy`` and, for old rules, ``extensions``, in the pod's namespace) and
plugin/pkg/auth/authorizer/rbac.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

Object = Mapping[str, Any]
_GROUPS = {"policy", "extensions", "*"}
_RESOURCES = {"podsecuritypolicies", "*"}
_VERBS = {"use", "*"}


def usable_policies(
    objects: Mapping[str, Iterable[Object]], namespace: str, service_account: str
) -> frozenset[str]:
    """The names of the policies that pods of this service account may use.

    Args:
        objects: ``podsecuritypolicies``, ``roles``, ``clusterroles``, ``rolebindings`` and
            ``clusterrolebindings``, as plain dicts.
        namespace: the namespace of the pod and of its service account.
        service_account: the name of the service account.
    """
    names = [policy["metadata"]["name"] for policy in objects.get("podsecuritypolicies", ())]
    rules = list(_rules(objects, namespace, service_account))
    return frozenset(name for name in names if any(_allows(rule, name) for rule in rules))


def _rules(objects: Mapping[str, Iterable[Object]], namespace: str, service_account: str) -> Iterator[Object]:
    roles = {("Role", _key(role)): role for role in objects.get("roles", ())}
    roles |= {
        ("ClusterRole", ("", role["metadata"]["name"])): role for role in objects.get("clusterroles", ())
    }
    for binding in objects.get("rolebindings", ()):
        if binding["metadata"].get("namespace") == namespace and _binds(binding, namespace, service_account):
            yield from _rules_of(roles, binding, namespace)
    for binding in objects.get("clusterrolebindings", ()):
        if _binds(binding, namespace, service_account):
            yield from _rules_of(roles, binding, "")


def _rules_of(
    roles: Mapping[tuple[str, tuple[str, str]], Object], binding: Object, namespace: str
) -> Iterable[Object]:
    ref = binding["roleRef"]
    role = roles.get((ref["kind"], (namespace if ref["kind"] == "Role" else "", ref["name"])))
    return (role or {}).get("rules") or ()


def _key(role: Object) -> tuple[str, str]:
    return role["metadata"].get("namespace", ""), role["metadata"]["name"]


def _binds(binding: Object, namespace: str, service_account: str) -> bool:
    user = f"system:serviceaccount:{namespace}:{service_account}"
    groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"}
    for subject in binding.get("subjects") or ():
        kind, name = subject["kind"], subject["name"]
        if kind == "ServiceAccount" and (subject.get("namespace"), name) == (namespace, service_account):
            return True
        if (kind == "User" and name == user) or (kind == "Group" and name in groups):
            return True
    return False


def _allows(rule: Object, policy: str) -> bool:
    names = rule.get("resourceNames") or ()
    return bool(
        _VERBS & set(rule.get("verbs") or ())
        and _GROUPS & set(rule.get("apiGroups") or ())
        and _RESOURCES & set(rule.get("resources") or ())
        and (not names or policy in names)
    )
