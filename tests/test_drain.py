"""Cordon and drain: what leaves the node, what stays, what forbids it, and that no node stays cordoned."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kubeharden.cluster import Cluster
from kubeharden.drain import CORDONED_BY, Drain
from kubeharden.errors import ClusterError, StoppedError
from kubeharden.interrupts import Stop
from kubeharden.rehearsal import Rehearsal
from kubeharden.resume import uncordon_left_overs
from rolling import events_of, planned_run

NODE = "k8s-node1"


@pytest.fixture(params=["article-1.10", "handbuilt-1.20", "containerd-1.24"])
def rehearsal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Rehearsal]:
    with Rehearsal.start(request.param, tmp_path / "rehearsal") as running:
        yield running


@pytest.fixture
def cluster(rehearsal: Rehearsal) -> Iterator[Cluster]:
    made = Cluster(str(rehearsal.directory / "admin.kubeconfig"))
    yield made
    made.close()


def a_drain(cluster: Cluster, seconds: float = 30.0, stop: Stop | None = None) -> tuple[Drain, list[str]]:
    """A drain, and what it says happens."""
    said: list[str] = []
    drain = Drain(
        cluster, "a-run", seconds, stop or Stop(), lambda action, node: said.append(f"{action} {node}")
    )
    return drain, said


def deploy(cluster: Cluster, name: str, replicas: int) -> None:
    """A Deployment, with a pod of it on the node."""
    labels = {"app": name}
    spec = {"containers": [{"name": "main", "image": "example/web:1"}]}
    cluster._client.call(
        "POST",
        "/apis/apps/v1/namespaces/default/deployments",
        {
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {
                "replicas": replicas,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": spec},
            },
        },
    )
    end = time.monotonic() + 10
    while not any(pod["metadata"]["name"].startswith(name) for pod in cluster.pods_on(NODE)):
        assert time.monotonic() < end
        time.sleep(0.05)


def budget(cluster: Cluster, name: str, allowed: int) -> dict[str, Any]:
    """A PodDisruptionBudget with the status that the disruption controller would give it."""
    version = "v1" if cluster.version() >= "v1.21" else "v1beta1"
    path = f"/apis/policy/{version}/namespaces/default/poddisruptionbudgets"
    made = cluster._client.call(
        "POST",
        path,
        {
            "apiVersion": f"policy/{version}",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
        },
    )
    return allow(cluster, made, allowed)


def allow(cluster: Cluster, made: dict[str, Any], allowed: int) -> dict[str, Any]:
    meta = made["metadata"]
    path = f"/apis/{made['apiVersion']}/namespaces/default/poddisruptionbudgets/{meta['name']}/status"
    return cluster._client.call("PUT", path, {**made, "status": {"disruptionsAllowed": allowed}})


def pods(cluster: Cluster, node: str = NODE) -> set[str]:
    return {pod["metadata"]["name"].rsplit("-", 1)[0] for pod in cluster.pods_on(node)}


def cordoned(cluster: Cluster) -> bool:
    return cluster.node_status(NODE).unschedulable


def test_pods_leave_but_for_daemonsets_and_the_node_is_uncordoned(cluster: Cluster) -> None:
    deploy(cluster, "web", 4)
    daemons = {"weave-net", "weave-scope-agent"} & pods(cluster)
    assert daemons
    drain, said = a_drain(cluster)
    with drain.of(NODE):
        assert cordoned(cluster)
        assert pods(cluster) == daemons
    assert not cordoned(cluster)
    node = cluster.get("Node", NODE)
    assert node is not None
    assert CORDONED_BY not in node["metadata"].get("annotations", {})
    assert said == [f"cordoned {NODE}", f"drained {NODE}", f"uncordoned {NODE}"]


def test_a_budget_is_respected_until_it_allows_it(cluster: Cluster) -> None:
    deploy(cluster, "shop", 4)
    made = budget(cluster, "shop", 0)
    threading.Timer(2.0, lambda: allow(cluster, made, 9)).start()
    start = time.monotonic()
    drain, _ = a_drain(cluster)
    with drain.of(NODE):
        assert time.monotonic() - start >= 2.0
        assert not any(name.startswith("shop") for name in pods(cluster))


def test_a_budget_that_never_allows_it_ends_the_drain_and_the_cordon(cluster: Cluster) -> None:
    deploy(cluster, "shop", 4)
    budget(cluster, "shop", 0)
    drain, _ = a_drain(cluster, seconds=2.0)
    with (
        pytest.raises(ClusterError, match=r"default/shop-\S+ \(its PodDisruptionBudget allows no eviction\)"),
        drain.of(NODE),
    ):
        pytest.fail("it is not drained")
    assert not cordoned(cluster)


def test_a_pod_that_nothing_makes_anew_is_not_evicted_nor_is_any_other(cluster: Cluster) -> None:
    deploy(cluster, "web", 4)
    cluster.create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "by-hand", "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "example/web:1"}]},
        }
    )
    before = {pod["metadata"]["uid"] for pod in cluster.pods_on(NODE)}
    drain, _ = a_drain(cluster)
    with (
        pytest.raises(ClusterError, match="nothing would make these pods anew: default/by-hand"),
        drain.of(NODE),
    ):
        pytest.fail("it is not drained")
    assert {pod["metadata"]["uid"] for pod in cluster.pods_on(NODE)} == before
    assert not cordoned(cluster)


def test_a_node_that_was_cordoned_stays_cordoned(cluster: Cluster) -> None:
    cluster.patch("Node", NODE, {"spec": {"unschedulable": True}})
    drain, said = a_drain(cluster)
    with drain.of(NODE):
        assert cordoned(cluster)
    assert cordoned(cluster)
    assert said == [f"drained {NODE}"]
    assert uncordon_left_overs(drain) == []
    assert cordoned(cluster)


def test_what_fails_or_stops_in_between_leaves_no_node_cordoned(cluster: Cluster) -> None:
    drain, _ = a_drain(cluster)
    with pytest.raises(ZeroDivisionError), drain.of(NODE):
        raise ZeroDivisionError
    assert not cordoned(cluster)
    deploy(cluster, "shop", 4)
    budget(cluster, "shop", 0)
    stop = Stop()
    threading.Timer(1.0, stop.set).start()
    stopped, _ = a_drain(cluster, stop=stop)
    with pytest.raises(StoppedError), stopped.of(NODE):
        pytest.fail("it is not drained")
    assert not cordoned(cluster)


def test_a_run_uncordons_what_a_killed_one_left_and_drains_node_by_node(tmp_path: Path) -> None:
    with Rehearsal.start("handbuilt-1.20", tmp_path / "rehearsal") as rehearsal:
        killed = Cluster(str(rehearsal.directory / "admin.kubeconfig"))
        assert a_drain(killed)[0]._cordon("k8s-node3")  # and no more is heard of it
        run = planned_run(rehearsal, tmp_path / "records", drain=True, steps=["kubelet"])
        assert killed.node_status("k8s-node3").unschedulable
        run.apply("kubelet")
        assert not any(killed.node_status(node).unschedulable for node in rehearsal.nodes)
        happened = [(e["action"], e["node"]) for e in events_of(run, "cordoned", "drained", "uncordoned")]
        assert happened[0] == ("uncordoned", "k8s-node3")
        assert happened[1:4] == [(word, NODE) for word in ("cordoned", "drained", "uncordoned")]
        assert len(happened) == 1 + 3 * 4
        run.finish()
        killed.close()
