"""What is refused before anything is looked at, with what to do about it."""

from __future__ import annotations

import re

import pytest

from fakes import World, no_connection
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.ports import Ports
from kubeharden.errors import ClusterError, NodeError
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.events import Check
from kubeharden.runs.kinds.harden import Harden
from kubeharden.runs.preflight import preflight
from rehearsals import Rehearsals


@pytest.fixture(scope="module")
def article() -> World:
    return World("article-1.10")


def check(
    world: World, *, may: object = None, ports: Ports | None = None, **parameters: object
) -> list[Check]:
    chosen = ports or world.ports()
    if may is not None:
        chosen.cluster.may = may  # type: ignore[method-assign, assignment]
    return preflight(Harden(Parameters(**parameters)), chosen.nodes.inventory, chosen.nodes, chosen.cluster)


def test_what_was_checked_is_listed(article: World) -> None:
    found = check(article)
    text = " ".join(f"{c.what} {c.found}" for c in found)
    for word in (
        "SSH",
        "sudo",
        "API server v1.10.0",
        "kubernetes-admin",
        "policies",
        "effective configuration",
    ):
        assert word in text
    assert all(c.good for c in found)


def viewer(verb: str, *_: object, **__: object) -> bool:
    return verb in ("get", "list")


def test_a_user_who_may_not_write_policies_is_refused_unless_nothing_is_written(article: World) -> None:
    with pytest.raises(ClusterError, match=r"kubernetes-admin may not .*create podsecuritypolicies; update"):
        check(article, may=viewer)
    assert check(article, may=viewer, mode="plan")
    # 1.10 has no Lease.
    with pytest.raises(ClusterError, match=r"may not .*create configmaps in kube-system"):
        check(article, may=viewer, steps=("kubelet",))
    assert check(
        article, may=lambda verb, kind, *_, **__: viewer(verb) or kind == "ConfigMap", steps=("kubelet",)
    )


def test_from_1_23_on_namespaces_must_be_updated_and_what_policies_leave_deleted() -> None:
    world = World("psp-1.23")
    with pytest.raises(
        ClusterError, match=r"may not .*update namespaces; delete podsecuritypolicies; delete"
    ):
        check(world, may=viewer)
    with pytest.raises(ClusterError, match=r"create podsecuritypolicies; update podsecuritypolicies"):
        check(world, may=viewer, pod_security="psp")
    assert "write namespaces and the lock" in " ".join(c.found for c in check(world))


def test_a_change_that_is_open_is_named_and_a_node_that_is_lost_ends_it() -> None:
    world = World("article-1.10")
    world.lost["state", "k8s-node1"] = no_connection("k8s-node1")
    with pytest.raises(NodeError, match="k8s-node1: the connection broke"):
        check(world)
    assert all(c.good for c in check(world))


def test_a_token_that_the_server_does_not_know_is_refused(rehearsals: Rehearsals) -> None:
    """Over a real API."""
    rehearsal = rehearsals.fresh("article-1.10")
    path = rehearsal.directory / "admin.kubeconfig"
    text = path.read_text()
    token = text.split("token: ")[1].split()[0]
    path.write_text(text.replace(token, "expired-and-gone"))
    world = World("article-1.10")
    nodes, cluster = world.ports().nodes, Cluster(read_inventory(rehearsal.inventory).kubeconfig)
    with pytest.raises(ClusterError, match=r"does not know kubernetes-admin.*expired"):
        check(world, ports=Ports(nodes, cluster, world.clock))
    cluster.close()


CONFIGZ, PROXY = "nodes/configz", "nodes/proxy"


def rights(*subresources: str) -> object:
    """Everything may be done but to read a kubelet's configuration, unless one of these is among the rights."""
    return lambda verb, kind, namespace="", subresource="": (
        subresource not in ("configz", "proxy") or f"nodes/{subresource}" in subresources
    )


@pytest.mark.parametrize(
    ("name", "has", "problem", "refuses", "good", "words"),
    [
        ("containerd-1.36", [CONFIGZ], "", {}, True, "at each kubelet's own port, .*(nodes/configz)"),
        ("containerd-1.36", [PROXY], "", {}, True, "at each kubelet's own port"),
        (
            "containerd-1.36",
            [CONFIGZ],
            "no certificate",
            {},
            False,
            r"may not be read \(no certificate; get nodes/proxy",
        ),
        (
            "containerd-1.36",
            [CONFIGZ, PROXY],
            "no certificate",
            {},
            True,
            "through the API server .*: no certificate",
        ),
        (
            "containerd-1.36",
            [CONFIGZ],
            "",
            {"n1": "refuses"},
            False,
            r"may not be read \(n1: refuses; get nodes/proxy",
        ),
        (
            "containerd-1.36",
            [CONFIGZ, PROXY],
            "",
            {"n1": "refuses"},
            True,
            "not with nodes/configz alone: n1: refuses",
        ),
        ("containerd-1.36", [], "", {}, False, r"the user may not get nodes/configz"),
        (
            "containerd-1.25",
            [CONFIGZ],
            "",
            {},
            False,
            r"not every kubelet is of 1\.33 or later; get nodes/proxy",
        ),
        ("containerd-1.25", [PROXY], "", {}, True, r"through the API server \(nodes/proxy\)"),
    ],
)
def test_which_right_the_configuration_of_kubelets_takes(
    name: str, has: list[str], problem: str, refuses: dict[str, str], good: bool, words: str
) -> None:
    ports = World(name).ports()
    ports.cluster.certificate_problem = lambda: problem  # type: ignore[method-assign]
    ports.nodes.forwards = lambda: refuses  # type: ignore[method-assign]
    [found] = [
        c for c in check(World(name), may=rights(*has), ports=ports) if "configuration of the k" in c.what
    ]
    assert found.good == good
    assert re.search(words, found.found), found.found
