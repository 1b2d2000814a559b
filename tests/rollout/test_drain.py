"""Cordon and drain: what leaves the node, what stays, what forbids it, and that no node stays cordoned."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from faults import CUT, HANG, Faults, between
from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster, client
from kubeharden.errors import ClusterError, StoppedError
from kubeharden.plan.events import Cordoned, Drained, Event, LeftCordoned, Uncordoned
from kubeharden.rollout.drain import CORDONED_AT, CORDONED_BY, Drain
from kubeharden.rollout.interrupts import Stop
from kubeharden.rollout.leftovers import uncordon_left_overs
from kubeharden_rehearsal import Rehearsal
from rolling import events_of, planned_run
from support import wait_until

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


def a_drain(cluster: Cluster, seconds: float = 30.0, stop: Stop | None = None) -> tuple[Drain, list[Event]]:
    """A drain, and what happens."""
    events: list[Event] = []
    return Drain(cluster, SystemClock(), "a-run", seconds, stop or Stop(), events.append), events


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
    drain, events = a_drain(cluster)
    with drain.of(NODE):
        assert cordoned(cluster)
        assert pods(cluster) == daemons
    assert not cordoned(cluster)
    node = cluster.get("Node", NODE)
    assert node is not None
    assert CORDONED_BY not in node["metadata"].get("annotations", {})
    assert events == [Cordoned(NODE), Drained(NODE), Uncordoned(NODE)]


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
        pytest.raises(ClusterError, match="nothing would recreate these pods: default/by-hand"),
        drain.of(NODE),
    ):
        pytest.fail("it is not drained")
    assert {pod["metadata"]["uid"] for pod in cluster.pods_on(NODE)} == before
    assert not cordoned(cluster)


def test_a_node_that_was_cordoned_stays_cordoned(cluster: Cluster) -> None:
    cluster.patch("Node", NODE, {"spec": {"unschedulable": True}})
    drain, events = a_drain(cluster)
    with drain.of(NODE):
        assert cordoned(cluster)
    assert cordoned(cluster)
    assert events == [Drained(NODE)]
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
        a_drain(killed)[0]._cordon("k8s-node3")  # and no more is heard of it
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


@pytest.fixture
def faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Faults]:
    """What is between a client and the API server of a cluster of four nodes."""
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", (2, 2))
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.02)
    with (
        Rehearsal.start("handbuilt-1.20", tmp_path / "rehearsal") as running,
        between(running.directory / "admin.kubeconfig", hang_seconds=3.0) as found,
    ):
        yield found


@pytest.fixture
def stumbling(faults: Faults) -> Iterator[Cluster]:
    made = Cluster(str(faults.kubeconfig))
    yield made
    made.close()


def test_an_eviction_that_fails_once_is_asked_for_again(faults: Faults, stumbling: Cluster) -> None:
    deploy(stumbling, "web", 12)
    for status in (409, 429, 500, 503, CUT, HANG):
        faults.add("POST", "/eviction$", status)
    drain, _ = a_drain(stumbling)
    with drain.of(NODE):
        assert "web" not in pods(stumbling)
    assert not any(fault.times for fault in faults.faults)
    assert not cordoned(stumbling)


def test_an_eviction_that_always_fails_ends_the_drain_when_its_time_is_up(
    faults: Faults, stumbling: Cluster
) -> None:
    deploy(stumbling, "web", 4)
    faults.add("POST", "/web-.*/eviction$", 500, times=1000)
    drain, _ = a_drain(stumbling, seconds=2.0)
    why = r"not drained after 2 seconds.*default/web-\S+ \(eviction of default/web-\S+: the API server answered 500"
    with pytest.raises(ClusterError, match=why), drain.of(NODE):
        pytest.fail("it is not drained")
    assert faults.count("POST", "/eviction$") > 2
    assert not cordoned(stumbling)


def test_an_eviction_that_is_refused_for_good_ends_the_drain_at_once(
    faults: Faults, stumbling: Cluster
) -> None:
    deploy(stumbling, "web", 4)
    faults.add("POST", "/eviction$", 403, times=1000)
    drain, _ = a_drain(stumbling)
    start = time.monotonic()
    with pytest.raises(ClusterError, match="Use a kubeconfig of a user who may"), drain.of(NODE):
        pytest.fail("it is not drained")
    assert time.monotonic() - start < 20


def test_a_pod_that_is_ending_is_waited_for_though_nothing_makes_it_anew(cluster: Cluster) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "by-hand", "namespace": "default", "finalizers": ["example.com/slow"]},
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "example/web:1"}]},
    }
    made = {"kind": "Pod", **cluster.create(manifest)}
    cluster.delete({"kind": "Pod", "metadata": {"name": "by-hand", "namespace": "default"}})
    assert made["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in cluster.pods_on(NODE)}
    hurried, _ = a_drain(cluster, seconds=1.0)
    with pytest.raises(ClusterError, match=r"default/by-hand \(is ending\)"), hurried.of(NODE):
        pytest.fail("it is not drained")
    patch = {"metadata": {"finalizers": None}}
    threading.Timer(1.0, lambda: cluster.patch("Pod", "by-hand", patch, "default")).start()
    drain, _ = a_drain(cluster)
    with drain.of(NODE):
        assert "by" not in pods(cluster)


def test_uncordoning_is_tried_again(faults: Faults, stumbling: Cluster) -> None:
    drain, events = a_drain(stumbling)
    with drain.of(NODE):
        faults.add("PATCH", f"/nodes/{NODE}$", 500, times=client.RETRIES + 2)
    assert not cordoned(stumbling)
    assert drain.stuck == {}
    assert events[-1] == Uncordoned(NODE)


def test_a_node_that_cannot_be_uncordoned_hides_no_other_error(
    faults: Faults, stumbling: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeharden.rollout.drain.UNCORDON_SECONDS", 1.0)

    def fail() -> None:
        faults.add("PATCH", f"/nodes/{NODE}$", 500, times=1000)
        raise ZeroDivisionError

    drain, _ = a_drain(stumbling)
    with pytest.raises(ZeroDivisionError), drain.of(NODE):
        fail()
    found = re.sub(r"\s+", " ", str(drain.stuck[NODE]))
    assert found == (
        f"{NODE} could not be uncordoned: Node {NODE}: the API server answered 500: as the test wants it. "
        f"Run: kubectl uncordon {NODE}"
    )


def test_an_answer_that_is_lost_does_not_hide_that_a_node_was_uncordoned(
    faults: Faults, stumbling: Cluster
) -> None:
    drain, events = a_drain(stumbling)
    with drain.of(NODE):
        faults.add("PATCH", f"/nodes/{NODE}$", CUT, times=client.RETRIES + 1)
    assert not cordoned(stumbling)
    assert events[-1] == Uncordoned(NODE)


def annotations(cluster: Cluster) -> dict[str, str]:
    return (cluster.get("Node", NODE) or {})["metadata"].get("annotations") or {}


def tainted(cluster: Cluster) -> bool:
    taints = (cluster.get("Node", NODE) or {})["spec"].get("taints") or ()
    return any(taint["key"] == "node.kubernetes.io/unschedulable" for taint in taints)


def uncordon_by_hand(cluster: Cluster) -> None:
    """As `kubectl uncordon` does it: it knows nothing of marks."""
    cluster.patch("Node", NODE, {"spec": {"unschedulable": None}})
    wait_until(lambda: not tainted(cluster))


def cordon_by_hand(cluster: Cluster) -> None:
    time.sleep(1.1)  # the times of taints are whole seconds
    cluster.patch("Node", NODE, {"spec": {"unschedulable": True}})
    wait_until(lambda: tainted(cluster))


def test_the_cordon_of_a_person_after_that_of_a_dead_run_stays(stumbling: Cluster) -> None:
    a_drain(stumbling)[0]._cordon(NODE)
    assert CORDONED_AT in annotations(stumbling)
    uncordon_by_hand(stumbling)
    cordon_by_hand(stumbling)
    drain, events = a_drain(stumbling)
    assert uncordon_left_overs(drain) == []
    assert cordoned(stumbling)
    assert drain.recordoned == [NODE]
    assert events == [LeftCordoned(NODE)]
    assert not {CORDONED_BY, CORDONED_AT} & annotations(stumbling).keys()
    assert uncordon_left_overs(a_drain(stumbling)[0]) == []
    assert cordoned(stumbling)


def test_a_node_that_a_person_has_uncordoned_loses_the_mark_only(stumbling: Cluster) -> None:
    a_drain(stumbling)[0]._cordon(NODE)
    uncordon_by_hand(stumbling)
    drain, events = a_drain(stumbling)
    assert uncordon_left_overs(drain) == []
    assert (drain.recordoned, events) == ([], [])
    assert CORDONED_BY not in annotations(stumbling)


def test_the_cordon_of_a_person_while_the_run_has_the_node_stays(stumbling: Cluster) -> None:
    drain, events = a_drain(stumbling)
    with drain.of(NODE):
        uncordon_by_hand(stumbling)
        cordon_by_hand(stumbling)
    assert cordoned(stumbling)
    assert (drain.recordoned, events[-1]) == ([NODE], LeftCordoned(NODE))


def test_before_1_12_there_is_no_such_taint_and_the_mark_counts(tmp_path: Path) -> None:
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        cluster = Cluster(str(rehearsal.directory / "admin.kubeconfig"))
        a_drain(cluster)[0]._cordon(NODE)
        assert annotations(cluster).keys() & {CORDONED_BY, CORDONED_AT} == {CORDONED_BY}
        assert uncordon_left_overs(a_drain(cluster)[0]) == [NODE]
        assert not cordoned(cluster)
        cluster.close()
