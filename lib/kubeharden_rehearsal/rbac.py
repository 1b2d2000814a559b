"""Who may do what: RBAC as kube-apiserver evaluates it (plugin/pkg/auth/authorizer/rbac).

Aggregated cluster roles are not computed: their rules count as they are stored.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubeharden_rehearsal.api.requests import Access, User
from kubeharden_rehearsal.store import ObjectStore

MASTERS = "system:masters"


def service_account(namespace: str, name: str) -> User:
    """The user that a service account is."""
    groups = ("system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated")
    return User(f"system:serviceaccount:{namespace}:{name}", groups)


def allowed(store: ObjectStore, user: User, access: Access) -> bool:
    """Whether a user may do something."""
    if MASTERS in user.groups:
        return True
    return any(_covers(rule, access) for rule in _rules(store, user, access.namespace))


def _rules(store: ObjectStore, user: User, namespace: str) -> Iterable[Mapping[str, Any]]:
    bindings = [(binding, "") for binding in store.list("ClusterRoleBinding")]
    if namespace:
        bindings += [(binding, namespace) for binding in store.list("RoleBinding", namespace)]
    for binding, where in bindings:
        if any(_is(subject, user, where) for subject in binding.get("subjects") or ()):
            yield from _role_rules(store, binding["roleRef"], where)


def _role_rules(
    store: ObjectStore, reference: Mapping[str, str], namespace: str
) -> Iterable[Mapping[str, Any]]:
    kind, name = reference["kind"], reference["name"]
    where = namespace if kind == "Role" else ""
    if not store.exists(kind, name, where):
        return ()
    return store.get(kind, name, where).get("rules") or ()


def _is(subject: Mapping[str, str], user: User, namespace: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name", "")
    if kind == "User":
        return name == user.name
    if kind == "Group":
        return name in user.groups
    where = subject.get("namespace") or namespace
    return user.name == service_account(where, name).name


def _covers(rule: Mapping[str, Any], access: Access) -> bool:
    if not _has(rule, "verbs", access.verb):
        return False
    if access.path:
        return any(
            access.path == url or (url.endswith("*") and access.path.startswith(url[:-1]))
            for url in rule.get("nonResourceURLs") or ()
        )
    resources = rule.get("resources") or ()
    wanted = f"{access.resource}/{access.subresource}" if access.subresource else access.resource
    matches = wanted in resources or "*" in resources or f"*/{access.subresource}" in resources
    names = rule.get("resourceNames") or ()
    return matches and _has(rule, "apiGroups", access.group) and (not names or access.name in names)


def _has(rule: Mapping[str, Any], key: str, value: str) -> bool:
    values = rule.get(key) or ()
    return value in values or "*" in values
