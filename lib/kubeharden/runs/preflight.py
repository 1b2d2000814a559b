"""What must hold before anything is looked at: logins, root, and the right to do what the run may have to do."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.errors import ClusterError
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.kube.resources import RESOURCES
from kubeharden.plan.events import Check
from kubeharden.plan.step import Right
from kubeharden.plan.steps import chosen
from kubeharden.plan.steps.pod_security import uses_policies
from kubeharden.podsecurity import PolicySet
from kubeharden.rollout.leftovers import open_changes
from kubeharden.rollout.lock import NAMESPACE, lock_kind


def preflight(
    parameters: Parameters,
    inventory: Inventory,
    policies: PolicySet,
    nodes: Nodes,
    cluster: Cluster,
    more: Sequence[Right] = (),
) -> list[Check]:
    """Check the nodes and the API; nothing is changed.

    Args:
        more: what else this run may have to do.
        parameters, inventory, policies, nodes, cluster: those of the run.

    Raises:
        NodeError: a node cannot be reached, shows a wrong host key, or does not let the user become root.
        ClusterError: the API server cannot be reached, does not know the user, or does not let them do what
            this run may have to do; all that is missing is named.
    """
    changes = open_changes(nodes)
    names = ", ".join(node.name for node in inventory.nodes)
    version = cluster.version()
    needs = _needed(parameters, policies, cluster, version)
    missing = [_described(right) for right in (*needs, *more) if _is_missing(cluster, right)]
    if missing:
        raise ClusterError(
            f"the API user {cluster.user or '(unnamed)'} may not do what this run may have to: {'; '.join(missing)}. "
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


def _needed(parameters: Parameters, policies: PolicySet, cluster: Cluster, version: str) -> list[Right]:
    """Return the rights that a run with these parameters may need."""
    kinds = [kind for kind, r in RESOURCES.items() if r.observed and kind != "PodSecurityPolicy"]
    needed = [Right("list", kind) for kind in kinds]
    if parameters.mode != "apply":
        return needed
    needed += [Right(verb, lock_kind(cluster), NAMESPACE) for verb in ("get", "create", "update", "delete")]
    if parameters.drain:
        needed += [Right("patch", "Node"), Right("create", "Pod/eviction")]
    for step in chosen(parameters.steps):
        needed += step.rights(parameters, policies, version)
    return needed


def _is_missing(cluster: Cluster, right: Right) -> bool:
    kind, _, subresource = right.kind.partition("/")
    if cluster.may(right.verb, kind, right.namespace, subresource):
        return False
    return not right.if_any or bool(cluster.observe([right.if_any]).of(RESOURCES[right.if_any].plural))


def _described(right: Right) -> str:
    kind, slash, subresource = right.kind.partition("/")
    place = f" in {right.namespace}" if right.namespace else ""
    return f"{right.verb} {RESOURCES[kind].plural}{slash}{subresource}{place}"


def _configz(cluster: Cluster) -> Check:
    what = "effective configuration of the kubelets"
    if cluster.may("get", "Node", subresource="proxy"):
        return Check(what, "may be read (nodes/proxy)")
    why = "may not be read (get nodes/proxy): that only declared values change cannot be proved"
    return Check(what, why, good=False)
