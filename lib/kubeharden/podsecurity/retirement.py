"""Private. Retirement of PodSecurityPolicy: policies, and RBAC for nothing but their use, once the plugin is off. Pure.

1.25 serves no PodSecurityPolicy, and its API server does not start with the plugin. The policies that are still there
then cannot be seen or deleted any more.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeharden.kube.manifests import Object, Objects, key_of, title_of
from kubeharden.kube.names import BOOTSTRAPPING, PSP_RESOURCE, PSP_USE_GROUPS
from kubeharden.podsecurity.psp.policy import read_policy
from kubeharden.podsecurity.psp.provider import Provider, UnusableError
from kubeharden.releases import Release


def leftovers(objects: Objects) -> list[Object]:
    """Return the objects that are useless without PodSecurityPolicy, in the order of deletion: bindings first.

    A Role or ClusterRole is one of them if all its rules allow nothing but the use of policies, a binding if it
    refers to such a role.
    """
    roles = [r for r in objects.get("roles", ()) if only_about_policies(r)]
    cluster_roles = [r for r in objects.get("clusterroles", ()) if only_about_policies(r)]
    known = {("Role", *key_of(r)) for r in roles} | {("ClusterRole", *key_of(r)) for r in cluster_roles}
    bindings = [
        binding
        for resource in ("rolebindings", "clusterrolebindings")
        for binding in objects.get(resource, ())
        if _refers(binding) in known
    ]
    return [*bindings, *roles, *cluster_roles, *objects.get("podsecuritypolicies", ())]


def only_about_policies(role: Object) -> bool:
    """Return whether a Role or ClusterRole allows the use of policies and nothing else."""
    rules = role.get("rules") or ()
    return (
        bool(rules)
        and BOOTSTRAPPING not in (role["metadata"].get("labels") or {})
        and all(map(_is_use, rules))
    )


def also_about_policies(objects: Objects) -> Iterator[str]:
    """Return the roles that allow the use of named policies besides other things: they stay."""
    for resource in ("roles", "clusterroles"):
        for role in objects.get(resource, ()):
            if not only_about_policies(role) and any(map(_is_use, role.get("rules") or ())):
                yield title_of(role)


def mutating_fields(policy: Object, release: Release) -> list[str]:
    """Return the fields of a policy by which it fills something into pods: without the plugin, nothing does."""
    try:
        return Provider.of(read_policy(policy), release).mutating_fields
    except UnusableError:  # the API server passes over it
        return []


def _is_use(rule: Object) -> bool:
    return (
        set(rule.get("apiGroups") or ()) <= PSP_USE_GROUPS
        and set(rule.get("resources") or ()) == {PSP_RESOURCE}
        and set(rule.get("verbs") or ()) == {"use"}
    )


def _refers(binding: Object) -> tuple[str, str, str]:
    ref = binding["roleRef"]
    namespace = binding["metadata"].get("namespace", "") if ref["kind"] == "Role" else ""
    return ref["kind"], namespace, ref["name"]
