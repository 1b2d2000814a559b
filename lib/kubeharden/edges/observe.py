"""One look at everything: the nodes over SSH, the objects and the kubelets' configuration over the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from kubeharden.edges.ports import ApiPort, NodePort, Ports, Told
from kubeharden.facts import Facts, NodeFacts
from kubeharden.facts.sensitive import secrets_on
from kubeharden.plan.callers import asked_of_config_maps


def observe(ports: Ports, told: Told | None = None) -> Facts:
    """Read every node and the cluster; nothing is changed.

    Args:
        ports: the nodes and the API server.
        told: called after each page of a list.

    Raises:
        KubehardenError: a node or the API server cannot be reached.
    """
    found = replace(ports.cluster.observe(told=told), name=ports.nodes.inventory.cluster)
    facts = Facts(nodes=observe_nodes(ports.nodes, ports.cluster), cluster=found)
    names, wanted = asked_of_config_maps(facts)
    if not names:
        return facts
    return replace(
        facts, cluster=replace(found, config_maps=ports.cluster.ports_in_config_maps(names, wanted))
    )


def observe_nodes(
    nodes: NodePort,
    cluster: ApiPort,
    names: Iterable[str] | None = None,
    services: Sequence[str] | None = None,
) -> tuple[NodeFacts, ...]:
    """Read nodes, with what their kubelets serve as their configuration.

    Args:
        nodes: the nodes of the inventory.
        cluster: the API server, through which a kubelet is asked.
        names: which nodes; all of the inventory by default.
        services: which services on them; those of all known components by default.

    Raises:
        NodeError: one or more cannot be reached or do not answer; all of them are named.
    """
    seen = tuple(
        node.with_configz(cluster.kubelet_config(node.name)) if node.is_read_through_api else node
        for node in nodes.observe(names, services)
    )
    for node in seen:
        nodes.redactor.withhold(secrets_on(node))
    return seen
