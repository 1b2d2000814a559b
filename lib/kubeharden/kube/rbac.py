"""Authorization by RBAC: the PodSecurityPolicies that a user may use.

Sources, 1.20.2: plugin/pkg/admission/security/podsecuritypolicy/admission.go (verb ``use``, resource
``podsecuritypolicies``, the group ``policy`` and, for old rules, ``extensions``, in the pod's namespace; the pod's
service account is asked first, then the user who makes the request), plugin/pkg/auth/authorizer/rbac and
pkg/registry/rbac/validation/rule.go (who is meant by a subject), pkg/controller/clusterroleaggregation (whose rules an
aggregated ClusterRole has), pkg/serviceaccount/util.go (the groups of a service account).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.kube.manifests import Object, Objects, selects
from kubeharden.kube.names import AUTHENTICATED, PSP_RESOURCE, PSP_USE_GROUPS

Subject = tuple[str, str]  # "User" or "Group", and its name
_GROUPS = PSP_USE_GROUPS | {"*"}
_RESOURCES = {PSP_RESOURCE, "*"}
_VERBS = {"use", "*"}
_MASTERS = "system:masters"  # allowed everything before RBAC is asked (authorizerfactory.NewPrivilegedGroups)
_EVERY = frozenset({""})  # a rule without resourceNames; "*" among them would be a name like any other


@dataclass(frozen=True)
class Identity:
    """A user's name and groups, as the API server knows them."""

    user: str
    groups: frozenset[str]

    @classmethod
    def of_service_account(cls, namespace: str, name: str) -> Identity:
        """Return the user that a service account is."""
        groups = {"system:serviceaccounts", f"system:serviceaccounts:{namespace}", AUTHENTICATED}
        return cls(f"system:serviceaccount:{namespace}:{name}", frozenset(groups))

    @classmethod
    def of_node(cls, name: str) -> Identity:
        """Return the user that a kubelet is: it makes the mirror pods of its static pods."""
        return cls(f"system:node:{name}", frozenset({"system:nodes", AUTHENTICATED}))

    @classmethod
    def of_user(cls, name: str) -> Identity:
        """Return a user who is only in the group of all authenticated users."""
        return cls(name, frozenset({AUTHENTICATED}))

    @property
    def subjects(self) -> tuple[Subject, ...]:
        """Everything that a binding may call it."""
        return ("User", self.user), *(("Group", group) for group in self.groups)


class Authorization:
    """The policies that users may use. Roles and bindings are read once; each answer is computed once.

    Args:
        objects: ``podsecuritypolicies``, ``roles``, ``clusterroles``, ``rolebindings`` and
            ``clusterrolebindings``, as plain dicts.
    """

    def __init__(self, objects: Objects) -> None:
        self._policies = frozenset(_name(policy) for policy in objects.get("podsecuritypolicies", ()))
        self._roles = _grants(objects)
        self._bound: dict[tuple[str, Subject], set[str]] = {}
        self._answers: dict[tuple[str, Identity], frozenset[str]] = {}
        for binding in objects.get("clusterrolebindings", ()):
            self._bind(binding, "")
        for binding in objects.get("rolebindings", ()):
            self._bind(binding, _namespace(binding))

    def usable(self, identity: Identity, namespace: str) -> frozenset[str]:
        """Return the names of the policies that this user may use for pods in this namespace."""
        key = (namespace, identity)
        if key not in self._answers:
            self._answers[key] = self._usable(identity, namespace)
        return self._answers[key]

    def roles_for(self, policy: str, namespace: str) -> list[str]:
        """Return the roles that allow the use of this policy and of no other: ``Role psp:x``."""
        return [
            f"{kind} {name}"
            for (kind, where, name), names in self._roles.items()
            if names == {policy} and (kind == "ClusterRole" or where == namespace)
        ]

    def _usable(self, identity: Identity, namespace: str) -> frozenset[str]:
        if _MASTERS in identity.groups:
            return self._policies
        names: set[str] = set()
        for where in ("", namespace):
            for subject in identity.subjects:
                names |= self._bound.get((where, subject), set())
        return self._policies if names >= _EVERY else self._policies & names

    def _bind(self, binding: Object, namespace: str) -> None:
        ref = binding["roleRef"]
        names = self._roles.get((ref["kind"], namespace if ref["kind"] == "Role" else "", ref["name"]))
        for subject in _subjects(binding, namespace) if names else ():
            self._bound.setdefault((namespace, subject), set()).update(names or ())


def _subjects(binding: Object, namespace: str) -> Iterator[Subject]:
    for subject in binding.get("subjects") or ():
        kind, name = subject.get("kind"), subject.get("name", "")
        if kind in ("User", "Group"):
            yield kind, name
        elif kind == "ServiceAccount" and (where := subject.get("namespace") or namespace):
            yield "User", f"system:serviceaccount:{where}:{name}"


def _grants(objects: Objects) -> dict[tuple[str, str, str], frozenset[str]]:
    """Return the policies that each Role and ClusterRole allows to use: their names, or ``_EVERY``."""
    cluster_roles = {_name(role): role for role in objects.get("clusterroles", ())}
    rules = {("Role", _namespace(role), _name(role)): role.get("rules") for role in objects.get("roles", ())}
    rules |= {("ClusterRole", "", name): _rules(role, cluster_roles) for name, role in cluster_roles.items()}
    return {key: names for key, allowed in rules.items() if (names := _policy_names(allowed or ()))}


def _rules(
    role: Object, cluster_roles: Mapping[str, Object], above: frozenset[str] = frozenset()
) -> list[Any]:
    """Return a ClusterRole's rules; those that it aggregates where no controller has filled them in yet."""
    own = list(role.get("rules") or ())
    selectors = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    if own or not selectors:
        return own
    above |= {_name(role)}
    return [
        rule
        for name, other in cluster_roles.items()
        if name not in above
        and any(selects(selector, other["metadata"].get("labels") or {}) for selector in selectors)
        for rule in _rules(other, cluster_roles, above)
    ]


def _policy_names(rules: Iterable[Object]) -> frozenset[str]:
    names: set[str] = set()
    for rule in rules:
        if (
            _VERBS & set(rule.get("verbs") or ())
            and _GROUPS & set(rule.get("apiGroups") or ())
            and _RESOURCES & set(rule.get("resources") or ())
        ):
            named = rule.get("resourceNames") or ()
            names |= {name for name in named if name} if named else _EVERY
    return frozenset(names)


def _name(item: Object) -> str:
    return str(item["metadata"]["name"])


def _namespace(item: Object) -> str:
    return str(item["metadata"].get("namespace", ""))
