"""Cordon and drain: what leaves the node, what stays, what forbids it, and that no node stays cordoned."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from fakes import CUT, HANG, FakeCluster, World, planned
from kubeharden.edges.cluster import client
from kubeharden.edges.ports import ApiPort
from kubeharden.errors import ClusterError, StoppedError
from kubeharden.plan.event import Event
from kubeharden.plan.events import Cordoned, Drained, LeftCordoned, Uncordoned
from kubeharden.redaction import Redactor
from kubeharden.rollout.drain import CORDONED_AT, CORDONED_BY, Drain
from kubeharden.rollout.interrupts import Stop
from kubeharden.rollout.leftovers import uncordon_leftovers
from rolling import events_of

NODE = "k8s-node1"


@pytest.fixture(params=["article-1.10", "handbuilt-1.20", "containerd-1.24"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


@pytest.fixture
def big() -> World:
    """A cluster of four nodes."""
    return World("handbuilt-1.20")


def a_drain(world: World, seconds: float = 30.0, stop: Stop | None = None) -> tuple[Drain, list[Event]]:
    """A drain, and what happens."""
    events: list[Event] = []
    ports = world.ports()
    return Drain(ports.cluster, ports.clock, "a-run", seconds, stop or Stop(), events.append), events


def deploy(world: World, name: str, replicas: int) -> None:
    """A Deployment, with a pod of it on the node."""
    labels = {"app": name}
    spec = {"containers": [{"name": "main", "image": "example/web:1"}]}
    call(
        world,
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
    world.clock.sleep(1.0)
    assert any(pod.startswith(f"{name}-") for pod in pods(world))


def budget(world: World, name: str, allowed: int) -> dict[str, Any]:
    """A PodDisruptionBudget with the status that the disruption controller would give it."""
    version = "v1" if world.scenario.release >= "v1.21" else "v1beta1"
    path = f"/apis/policy/{version}/namespaces/default/poddisruptionbudgets"
    made = call(
        world,
        "POST",
        path,
        {
            "apiVersion": f"policy/{version}",
            "kind": "PodDisruptionBudget",
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": name}}},
        },
    )
    return allow(world, made, allowed)


def allow(world: World, made: dict[str, Any], allowed: int) -> dict[str, Any]:
    meta = made["metadata"]
    path = f"/apis/{made['apiVersion']}/namespaces/default/poddisruptionbudgets/{meta['name']}/status"
    return call(world, "PUT", path, {**made, "status": {"disruptionsAllowed": allowed}})


def api(world: World) -> ApiPort:
    return world.ports().cluster


def call(world: World, method: str, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A request of somebody else."""
    return FakeCluster(world, Redactor())._client.call(method, path, body)


def pods(world: World, node: str = NODE) -> set[str]:
    return {pod["metadata"]["name"].rsplit("-", 1)[0] for pod in api(world).pods_on(node)}


def cordoned(world: World) -> bool:
    return api(world).node_status(NODE).unschedulable


def test_pods_leave_but_for_daemonsets_and_the_node_is_uncordoned(world: World) -> None:
    deploy(world, "web", 4)
    daemons = {"weave-net", "weave-scope-agent"} & pods(world)
    assert daemons
    drain, events = a_drain(world)
    with drain.of(NODE):
        assert cordoned(world)
        assert pods(world) == daemons
    assert not cordoned(world)
    node = api(world).get("Node", NODE)
    assert node is not None
    assert CORDONED_BY not in node["metadata"].get("annotations", {})
    assert events == [Cordoned(NODE), Drained(NODE), Uncordoned(NODE)]


def test_a_budget_is_respected_until_it_allows_it(world: World) -> None:
    deploy(world, "shop", 4)
    made = budget(world, "shop", 0)
    world.clock.after(2.0, lambda: allow(world, made, 9))
    start = world.clock.monotonic()
    drain, _ = a_drain(world)
    with drain.of(NODE):
        assert 2.0 <= world.clock.monotonic() - start < 5.0
        assert not any(name.startswith("shop") for name in pods(world))


def test_a_budget_that_never_allows_it_ends_the_drain_and_the_cordon(world: World) -> None:
    deploy(world, "shop", 4)
    budget(world, "shop", 0)
    drain, _ = a_drain(world, seconds=2.0)
    with (
        pytest.raises(ClusterError, match=r"default/shop-\S+ \(its PodDisruptionBudget allows no eviction\)"),
        drain.of(NODE),
    ):
        pytest.fail("it is not drained")
    assert not cordoned(world)


def test_a_pod_that_nothing_makes_anew_is_not_evicted_nor_is_any_other(world: World) -> None:
    deploy(world, "web", 4)
    api(world).create(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": "by-hand", "namespace": "default"},
            "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "example/web:1"}]},
        }
    )
    before = {pod["metadata"]["uid"] for pod in api(world).pods_on(NODE)}
    drain, _ = a_drain(world)
    with (
        pytest.raises(ClusterError, match="nothing would recreate these pods: default/by-hand"),
        drain.of(NODE),
    ):
        pytest.fail("it is not drained")
    assert {pod["metadata"]["uid"] for pod in api(world).pods_on(NODE)} == before
    assert not cordoned(world)


def test_a_node_that_was_cordoned_stays_cordoned(world: World) -> None:
    api(world).patch("Node", NODE, {"spec": {"unschedulable": True}})
    drain, events = a_drain(world)
    with drain.of(NODE):
        assert cordoned(world)
    assert cordoned(world)
    assert events == [Drained(NODE)]
    assert uncordon_leftovers(drain, [].append) == []
    assert cordoned(world)


def test_what_fails_or_stops_in_between_leaves_no_node_cordoned(world: World) -> None:
    drain, _ = a_drain(world)
    with pytest.raises(ZeroDivisionError), drain.of(NODE):
        raise ZeroDivisionError
    assert not cordoned(world)
    deploy(world, "shop", 4)
    budget(world, "shop", 0)
    stop = Stop()
    world.clock.after(1.0, stop.set)
    stopped, _ = a_drain(world, stop=stop)
    with pytest.raises(StoppedError), stopped.of(NODE):
        pytest.fail("it is not drained")
    assert not cordoned(world)


def test_a_run_uncordons_what_a_killed_one_left_and_drains_node_by_node(big: World, tmp_path: Path) -> None:
    a_drain(big)[0]._cordon("k8s-node3")  # and no more is heard of it
    run = planned(big, tmp_path, drain=True, steps=["kubelet"])
    assert api(big).node_status("k8s-node3").unschedulable
    run.apply("kubelet")
    assert not any(api(big).node_status(node).unschedulable for node in big.machines)
    happened = [(e["action"], e["node"]) for e in events_of(run, "cordoned", "drained", "uncordoned")]
    assert happened[0] == ("uncordoned", "k8s-node3")
    assert happened[1:4] == [(word, NODE) for word in ("cordoned", "drained", "uncordoned")]
    assert len(happened) == 1 + 3 * 4
    run.finish()


def test_an_eviction_that_fails_once_is_asked_for_again(big: World) -> None:
    deploy(big, "web", 12)
    for status in (409, 429, 500, 503, CUT, HANG):
        big.faults.add("POST", "/eviction$", status)
    drain, _ = a_drain(big, seconds=120.0)  # no answer is waited for, for 30 seconds
    with drain.of(NODE):
        assert "web" not in pods(big)
    assert not any(fault.times for fault in big.faults.faults)
    assert not cordoned(big)


def test_an_eviction_that_always_fails_ends_the_drain_when_its_time_is_up(big: World) -> None:
    deploy(big, "web", 4)
    big.faults.add("POST", "/web-.*/eviction$", 500, times=1000)
    drain, _ = a_drain(big, seconds=2.0)
    why = r"not drained after 2 seconds.*default/web-\S+ \(eviction of default/web-\S+: the API server answered 500"
    with pytest.raises(ClusterError, match=why), drain.of(NODE):
        pytest.fail("it is not drained")
    assert big.faults.count("POST", "/eviction$") > 2
    assert not cordoned(big)


def test_an_eviction_that_is_refused_for_good_ends_the_drain_at_once(big: World) -> None:
    deploy(big, "web", 4)
    big.faults.add("POST", "/eviction$", 403, times=1000)
    drain, _ = a_drain(big)
    start = big.clock.monotonic()
    with pytest.raises(ClusterError, match="Use a kubeconfig of a user who may"), drain.of(NODE):
        pytest.fail("it is not drained")
    assert big.clock.monotonic() - start < 5


def test_a_pod_that_is_ending_is_waited_for_though_nothing_makes_it_anew(world: World) -> None:
    manifest = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "by-hand", "namespace": "default", "finalizers": ["example.com/slow"]},
        "spec": {"nodeName": NODE, "containers": [{"name": "main", "image": "example/web:1"}]},
    }
    made = {"kind": "Pod", **api(world).create(manifest)}
    api(world).delete({"kind": "Pod", "metadata": {"name": "by-hand", "namespace": "default"}})
    assert made["metadata"]["uid"] in {pod["metadata"]["uid"] for pod in api(world).pods_on(NODE)}
    hurried, _ = a_drain(world, seconds=1.0)
    with pytest.raises(ClusterError, match=r"default/by-hand \(is ending\)"), hurried.of(NODE):
        pytest.fail("it is not drained")
    patch = {"metadata": {"finalizers": None}}
    world.clock.after(1.0, lambda: api(world).patch("Pod", "by-hand", patch, "default"))
    drain, _ = a_drain(world)
    with drain.of(NODE):
        assert "by" not in pods(world)


def test_uncordoning_is_tried_again(big: World) -> None:
    drain, events = a_drain(big)
    with drain.of(NODE):
        big.faults.add("PATCH", f"/nodes/{NODE}$", 500, times=client.RETRIES + 2)
    assert not cordoned(big)
    assert drain.stuck == {}
    assert events[-1] == Uncordoned(NODE)


def test_a_node_that_cannot_be_uncordoned_hides_no_other_error(
    big: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeharden.rollout.drain.UNCORDON_SECONDS", 1.0)

    def fail() -> None:
        big.faults.add("PATCH", f"/nodes/{NODE}$", 500, times=1000)
        raise ZeroDivisionError

    drain, _ = a_drain(big)
    with pytest.raises(ZeroDivisionError), drain.of(NODE):
        fail()
    found = re.sub(r"\s+", " ", str(drain.stuck[NODE]))
    assert found == (
        f"{NODE} could not be uncordoned: Node {NODE}: the API server answered 500: as the test wants it. "
        f"Run: kubectl uncordon {NODE}"
    )


def test_an_answer_that_is_lost_does_not_hide_that_a_node_was_uncordoned(big: World) -> None:
    drain, events = a_drain(big)
    with drain.of(NODE):
        big.faults.add("PATCH", f"/nodes/{NODE}$", CUT, times=client.RETRIES + 1)
    assert not cordoned(big)
    assert events[-1] == Uncordoned(NODE)


def annotations(world: World) -> dict[str, str]:
    return (api(world).get("Node", NODE) or {})["metadata"].get("annotations") or {}


def tainted(world: World) -> bool:
    taints = (api(world).get("Node", NODE) or {})["spec"].get("taints") or ()
    return any(taint["key"] == "node.kubernetes.io/unschedulable" for taint in taints)


def cordon_by_hand(world: World, *, off: bool = False) -> None:
    """As `kubectl cordon` and `kubectl uncordon` do it: they know nothing of marks."""
    world.clock.sleep(1.1)  # the times of taints are whole seconds
    api(world).patch("Node", NODE, {"spec": {"unschedulable": None if off else True}})
    world.clock.sleep(1.0)
    assert tainted(world) != off


def test_the_cordon_of_a_person_after_that_of_a_dead_run_stays(big: World) -> None:
    a_drain(big)[0]._cordon(NODE)
    assert CORDONED_AT in annotations(big)
    cordon_by_hand(big, off=True)
    cordon_by_hand(big)
    drain, events = a_drain(big)
    assert uncordon_leftovers(drain, [].append) == []
    assert cordoned(big)
    assert drain.recordoned == [NODE]
    assert events == [LeftCordoned(NODE)]
    assert not {CORDONED_BY, CORDONED_AT} & annotations(big).keys()
    assert uncordon_leftovers(a_drain(big)[0], [].append) == []
    assert cordoned(big)


def test_a_node_that_a_person_has_uncordoned_loses_the_mark_only(big: World) -> None:
    a_drain(big)[0]._cordon(NODE)
    cordon_by_hand(big, off=True)
    drain, events = a_drain(big)
    assert uncordon_leftovers(drain, [].append) == []
    assert (drain.recordoned, events) == ([], [])
    assert CORDONED_BY not in annotations(big)


def test_the_cordon_of_a_person_while_the_run_has_the_node_stays(big: World) -> None:
    drain, events = a_drain(big)
    with drain.of(NODE):
        cordon_by_hand(big, off=True)
        cordon_by_hand(big)
    assert cordoned(big)
    assert (drain.recordoned, events[-1]) == ([NODE], LeftCordoned(NODE))


def test_before_1_12_there_is_no_such_taint_and_the_mark_counts() -> None:
    world = World("article-1.10")
    a_drain(world)[0]._cordon(NODE)
    assert annotations(world).keys() & {CORDONED_BY, CORDONED_AT} == {CORDONED_BY}
    assert uncordon_leftovers(a_drain(world)[0], [].append) == [NODE]
    assert not cordoned(world)
