"""Checks before anything is looked at: logins, root, and the rights that the run may need."""

from __future__ import annotations

from kubeharden.edges.nodes import missing_ssh
from kubeharden.edges.ports import ApiPort, NodePort
from kubeharden.errors import ClusterError, UnknownReleaseError
from kubeharden.inputs.inventory import Inventory
from kubeharden.kube.resources import RESOURCES
from kubeharden.plan import subject_of
from kubeharden.plan.events import Check
from kubeharden.plan.open_changes import open_words
from kubeharden.plan.step import Right
from kubeharden.releases import Release, feature
from kubeharden.rollout.leftovers import open_changes
from kubeharden.rollout.lock import NAMESPACE, lock_kind
from kubeharden.runs.kind import AnyKind

RIGHT = "nodes/configz"  # a row of features.yaml


def preflight(kind: AnyKind, inventory: Inventory, nodes: NodePort, cluster: ApiPort) -> list[Check]:
    """Check the nodes and the API; nothing is changed.

    Raises:
        NodeError: a node cannot be reached, shows a wrong host key, or does not let the user become root.
        ClusterError: the API server cannot be reached, does not know the user, or does not let them do what
            this run may have to do; all that is missing is named.
    """
    changes = open_changes(nodes)
    names = ", ".join(node.name for node in inventory.nodes)
    version = cluster.version()
    applies = kind.mode == "apply"
    needed = kind.rights(version) if applies else ()
    drains = applies and kind.pace(inventory).drain
    general = _general(cluster, applies=applies, drains=drains)
    missing = [_right(right) for right in (*general, *needed) if _is_missing(cluster, right)]
    if missing:
        raise ClusterError(
            f"the API user {cluster.user or '(unnamed)'} may not do what this run may have to: {'; '.join(missing)}. "
            "Use a kubeconfig of a user who may"
        )
    written = sorted({RESOURCES[right.kind].plural for right in needed if not right.if_any})
    writes = f"read everything and write {', '.join(written)}{' and ' if written else ''}the lock"
    return [
        Check(f"SSH to {names}", "host keys known, logged in"),
        *_client_configuration(inventory),
        Check(f"sudo on {names}", "becomes root"),
        *(
            Check(subject_of(change.service, change.node), f"is open: {open_words(change)}", good=False)
            for change in changes
        ),
        Check("API server", f"{version}, answers"),
        Check(
            f"API user {cluster.user or '(unnamed)'}",
            f"may {writes if applies else 'read everything; nothing is written in mode plan'}",
        ),
        _configz(nodes, cluster),
    ]


def _client_configuration(inventory: Inventory) -> list[Check]:
    """Return a check that says so where no client configuration of SSH is read."""
    is_used = any(node.connection == "ssh" for node in inventory.nodes)
    why = missing_ssh() if is_used else ""
    return [Check("SSH client configuration", why, good=False)] if why else []


def _general(cluster: ApiPort, *, applies: bool, drains: bool) -> list[Right]:
    """Return the rights that every kind of run needs."""
    kinds = [kind for kind, r in RESOURCES.items() if r.observed and kind != "PodSecurityPolicy"]
    rights = [Right("list", kind) for kind in kinds]
    if applies:
        verbs = ("get", "create", "update", "delete")
        rights += [Right(verb, lock_kind(cluster), NAMESPACE) for verb in verbs]
    if drains:
        rights += [Right("patch", "Node"), Right("create", "Pod/eviction")]
    return rights


def _is_missing(cluster: ApiPort, right: Right) -> bool:
    kind, _, subresource = right.kind.partition("/")
    if cluster.may(right.verb, kind, right.namespace, subresource):
        return False
    return not right.if_any or bool(cluster.observe([right.if_any]).of(RESOURCES[right.if_any].plural))


def _right(right: Right) -> str:
    kind, slash, subresource = right.kind.partition("/")
    place = f" in {right.namespace}" if right.namespace else ""
    return f"{right.verb} {RESOURCES[kind].plural}{slash}{subresource}{place}"


def _configz(nodes: NodePort, cluster: ApiPort) -> Check:
    """Return a check of whether the effective configuration of the kubelets can be read, and with which right."""
    what = "effective configuration of the kubelets"
    through_api = cluster.may("get", "Node", subresource="proxy")
    problem = "" if _all_have(RIGHT, cluster) else f"not every kubelet is of {feature(RIGHT).since} or later"
    problem = problem or cluster.certificate_problem()
    if (
        not problem
        and not through_api
        and not cluster.may("get", "Node", subresource=RIGHT.partition("/")[2])
    ):
        problem = f"the user may not get {RIGHT}"
    if not problem:
        refusals = nodes.forwards()
        problem = "; ".join(f"{node}: {why}" for node, why in refusals.items())
    if not problem:
        return Check(
            what, f"may be read at each kubelet's own port, over the connection to its node ({RIGHT})"
        )
    if through_api:
        return Check(
            what, f"may be read through the API server (nodes/proxy); not with {RIGHT} alone: {problem}"
        )
    why = f"may not be read ({problem}; get nodes/proxy): that only declared values change cannot be proved"
    return Check(what, why, good=False)


def _all_have(name: str, cluster: ApiPort) -> bool:
    """Return whether every kubelet is of a release that has a feature."""
    versions = [
        item.get("status", {}).get("nodeInfo", {}).get("kubeletVersion", "") for item in cluster.items("Node")
    ]
    try:
        return bool(versions) and all(
            feature(name).in_release(Release.parse(version)) for version in versions
        )
    except UnknownReleaseError:
        return False
