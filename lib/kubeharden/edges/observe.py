"""One look at everything: the nodes over SSH, the objects and the kubelets' configuration over the API."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

from kubeharden.edges.ports import MAX_THREADS, ApiPort, NodePort, OnPage, Ports
from kubeharden.errors import (
    ClusterError,
    ForwardingError,
    KubehardenError,
    RetryableError,
    UnknownReleaseError,
)
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.facts.addresses import own_address
from kubeharden.facts.sensitive import secrets_on
from kubeharden.plan.callers import config_maps_to_read
from kubeharden.releases import feature


def observe(ports: Ports, on_page: OnPage | None = None) -> Facts:
    """Read every node and the cluster; nothing is changed.

    Raises:
        KubehardenError: a node or the API server cannot be reached.
    """
    cluster = replace(ports.cluster.observe(on_page=on_page), name=ports.nodes.inventory.cluster)
    facts = Facts(nodes=observe_nodes(ports.nodes, ports.cluster), cluster=cluster)
    names, wanted = config_maps_to_read(facts)
    if not names:
        return facts
    return replace(
        facts, cluster=replace(cluster, config_maps=ports.cluster.ports_in_config_maps(names, wanted))
    )


def observe_nodes(
    nodes: NodePort,
    cluster: ApiPort,
    names: Iterable[str] | None = None,
    services: Sequence[str] | None = None,
) -> tuple[NodeFacts, ...]:
    """Read nodes, with what their kubelets serve as their configuration, as ``NodePort.observe`` does."""
    looked = nodes.observe(names, services)
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(looked)) or 1) as pool:
        from_nodes = list(pool.map(partial(_with_own_answer, nodes, cluster), looked))
    observed = tuple(_with_api_answer(cluster, node) for node in from_nodes)
    for node in observed:
        nodes.redactor.withhold(secrets_on(node))
    return observed


def _with_own_answer(nodes: NodePort, cluster: ApiPort, node: NodeFacts) -> NodeFacts:
    """Return a node with what its kubelet serves as its configuration at its own port, or with why it does not.

    It is asked there where its release has a right for no more than that. The right to ask through the API server is
    that to run commands in every pod.
    """
    for service in node.read_through_api:
        try:
            return node.with_configz(_ask_itself(nodes, cluster, node.name, service))
        except KubehardenError as error:
            return node.with_configz(None, str(error).removeprefix(f"{node.name}: "))
    return node


def _with_api_answer(cluster: ApiPort, node: NodeFacts) -> NodeFacts:
    """Return a node with what its kubelet serves through the API server, where it did not say it itself."""
    if all(service.configz is not None for service in node.read_through_api):
        return node
    config = cluster.kubelet_config(node.name)
    return node if config is None else node.with_configz(config)


def kubelet_health(nodes: NodePort, cluster: ApiPort, node: NodeFacts) -> str:
    """Return what a node's kubelet says of its health, asked as for its configuration; empty where nobody may ask it.

    Raises:
        NodeError: nothing listens at its port.
        ClusterError: it does not answer.
    """
    for service in node.read_through_api:
        port = service.component.own_port
        if port is None or _problem(cluster, service):
            continue
        try:
            stream = nodes.reach(node.name, *own_address(service, port))
            if answer := cluster.kubelet_health_at(stream, service.certificates):
                return answer
        except RetryableError:
            raise
        except (ForwardingError, ClusterError):  # a certificate may have been renewed since it was read
            continue
    return cluster.kubelet_health(node.name)


def _problem(cluster: ApiPort, service: ServiceFacts) -> str:
    """Return why a service cannot be asked at its own port; empty where that may work."""
    port = service.component.own_port
    try:
        if port is None or not feature(port.right).in_release(service.release):
            return "it is read through the API server alone, which takes the right nodes/proxy"
    except UnknownReleaseError as error:
        return str(error)
    return cluster.certificate_problem() or (
        "" if service.certificates else "the kubelet's own certificate was not found on its node"
    )


def _ask_itself(nodes: NodePort, cluster: ApiPort, node: str, service: ServiceFacts) -> dict[str, Any]:
    """Return the effective configuration that a service serves at its own port.

    Raises:
        KubehardenError: why it cannot be asked there, or what it says instead.
    """
    port = service.component.own_port
    problem = _problem(cluster, service)
    if port is None or problem:
        raise ClusterError(problem)
    stream = nodes.reach(node, *own_address(service, port))
    return cluster.kubelet_config_at(stream, service.certificates)
