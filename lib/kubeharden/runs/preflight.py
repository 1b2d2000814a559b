"""What must hold before anything is looked at: logins, root, and the right to do what the run may have to do."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.errors import ClusterError
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.kube.resources import RESOURCES
from kubeharden.plan.decide import uses_policies
from kubeharden.plan.events import Check
from kubeharden.podsecurity import PolicySet, default_policy_objects, policy_objects
from kubeharden.rollout.leftovers import open_changes
from kubeharden.rollout.lock import NAMESPACE, lock_kind

# What goes once Pod Security Admission has taken the place of the policies.
RETIRED = ("PodSecurityPolicy", "RoleBinding", "ClusterRoleBinding", "Role", "ClusterRole")


def preflight(
    parameters: Parameters,
    inventory: Inventory,
    policies: PolicySet,
    nodes: Nodes,
    cluster: Cluster,
    more: Sequence[tuple[str, str, str]] = (),
) -> list[Check]:
    """Check the nodes and the API; nothing is changed.

    Args:
        more: what else this run may have to do: verb, kind and namespace.
        parameters, inventory, policies, nodes, cluster: those of the run.

    Raises:
        NodeError: a node cannot be reached, shows a wrong host key, or does not let the user become root.
        ClusterError: the API server cannot be reached, does not know the user, or does not let them do what
            this run may have to do; all that is lacking is named.
    """
    changes = open_changes(nodes)
    names = ", ".join(node.name for node in inventory.nodes)
    version = cluster.version()
    needs = _needed(parameters, policies, cluster, version)
    lacks = (_lack(cluster, *needed) for needed in (*needs, *more))
    lacking = [text for text in lacks if text]
    if lacking:
        raise ClusterError(
            f"the API user {cluster.user or '(unnamed)'} may not do what this run may have to: {'; '.join(lacking)}. "
            "Use a kubeconfig of a user who may"
        )
    what = "policies, Roles, RoleBindings" if uses_policies(parameters, version) else "labels of namespaces"
    writes = f"read everything and write {what} and the lock"
    return [
        Check(f"SSH to {names}", "host keys known, logged in"),
        Check(f"sudo on {names}", "becomes root"),
        *(
            Check(node, f"a change is open, what is seen may be in between: {words}", good=False)
            for node, words in changes.items()
        ),
        Check("API server", f"{version}, answers"),
        Check(
            f"API user {cluster.user or '(unnamed)'}",
            f"may {writes if parameters.mode == 'apply' else 'read everything; nothing is written in mode plan'}",
        ),
        _configz(cluster),
    ]


def _needed(
    parameters: Parameters, policies: PolicySet, cluster: Cluster, version: str
) -> list[tuple[str, str, str]]:
    needed = [
        ("list", kind, "") for kind, r in RESOURCES.items() if r.observed and kind != "PodSecurityPolicy"
    ]
    if parameters.mode != "apply":
        return needed
    needed += [(verb, lock_kind(cluster), NAMESPACE) for verb in ("get", "create", "update", "delete")]
    if parameters.drain:
        needed += [("patch", "Node", ""), ("create", "Pod/eviction", "")]
    if "pod-security" not in parameters.steps:
        return needed
    if uses_policies(parameters, version):
        objects = [*policy_objects(policies), *default_policy_objects(parameters.default_policy, version)]
        places = {(o["kind"], o["metadata"].get("namespace", "")) for o in objects}
        needed += [
            (verb, kind, namespace) for kind, namespace in sorted(places) for verb in ("create", "update")
        ]
        return needed
    needed.append(("update", "Namespace", ""))
    if cluster.observe(["PodSecurityPolicy"]).of("podsecuritypolicies"):
        needed += [("delete", kind, "") for kind in RETIRED]
    return needed


def _lack(cluster: Cluster, verb: str, what: str, namespace: str) -> str:
    kind, _, subresource = what.partition("/")
    if cluster.may(verb, kind, namespace, subresource):
        return ""
    plural = f"{RESOURCES[kind].plural}{f'/{subresource}' if subresource else ''}"
    return f"{verb} {plural}{f' in {namespace}' if namespace else ''}"


def _configz(cluster: Cluster) -> Check:
    what = "effective configuration of the kubelets"
    if cluster.may("get", "Node", subresource="proxy"):
        return Check(what, "may be read (nodes/proxy)")
    why = "may not be read (get nodes/proxy): that only declared values change cannot be proved"
    return Check(what, why, good=False)
