"""Batches, failures and interruptions: every node runs its old or its new configuration at any moment, and the next
run carries on."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import ALWAYS, World, no_connection, planned
from kubeharden import runbook
from kubeharden.edges.ports import TransactionResult
from kubeharden.errors import (
    ClusterError,
    LockedError,
    NodeError,
    ProofError,
    RevertedError,
    StaleError,
    StoppedError,
    UnexpectedError,
)
from kubeharden.plan.event import Event
from kubeharden.records.folder import read_run
from kubeharden.records.register import register
from kubeharden.records.summary import build_record
from kubeharden.rollout.interrupts import Stop
from kubeharden.show.display import GOOD, Message
from kubeharden.show.records_views import register_view
from rolling import events_of, fails, subjects

NODES = ("k8s-master", "k8s-node1", "k8s-node2", "k8s-node3")


@pytest.fixture
def world() -> World:
    """Four nodes, one of them of the control plane."""
    return World("handbuilt-1.20")


@pytest.fixture
def begin(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., runbook.Run]:
    """Start a run that has looked and planned; all of them end with the test."""

    def begun(**given: object) -> runbook.Run:
        given.setdefault("steps", ["kubelet"])
        given.setdefault("accept_breaking", ["shop/web"])
        run = planned(world, tmp_path, **given)
        request.addfinalizer(run.close)
        return run

    return begun


def break_service(world: World, node: str, service: str = "kubelet") -> None:
    """Let a service run on, and not start again."""
    world.broken[node, service] = f"{service} cannot read ca.crt"


def mend(world: World, node: str, service: str = "kubelet") -> None:
    """Let a service start again, and start it."""
    del world.broken[node, service]
    machine = world.machines[node]
    world.restart(machine, machine.facts.services[service])


def has_config(world: World, node: str, service: str = "kubelet") -> bool:
    """Whether a service's config file is there."""
    return f"/etc/kubernetes/{service}.conf" in world.machines[node].facts.services[service].files


def unit(world: World, node: str, service: str) -> str:
    return (
        world.machines[node].facts.services[service].files[f"/etc/systemd/system/{service}.service"].content
    )


def states(run: runbook.Run) -> set[str]:
    return {found.state for each in run.nodes.state().values() for found in each}


def test_the_canary_then_batches_then_the_control_plane(begin: Callable[..., runbook.Run]) -> None:
    run = begin(batch_size=2)
    run.apply("kubelet")
    assert [event["nodes"] for event in events_of(run, "batch")] == [
        ["k8s-node1"],
        ["k8s-node2", "k8s-node3"],
        ["k8s-master"],
    ]
    order = [(e["action"], e["node"]) for e in events_of(run, "started", "completed")]
    assert order[:2] == [("started", "k8s-node1"), ("completed", "k8s-node1")]
    assert {node for action, node in order[2:4] if action == "started"} == {"k8s-node2", "k8s-node3"}
    assert order[6:] == [("started", "k8s-master"), ("completed", "k8s-master")]
    first, *others = events_of(run, "completed")
    assert re.search(r"; node not Ready for (0\.[3-9]|[1-9]\.\d) s$", first["words"])
    # Of two that are changed at a time on one clock, one may be Ready again when the other one looks.
    assert all(re.search(r"; node not Ready for \d\.\d s$", event["words"]) for event in others)
    assert states(run) == {"confirmed"}
    again = begin()
    assert "nothing was changed, nothing restarted" in str(again.apply("kubelet"))


def test_failures_are_counted_over_the_whole_run(world: World, begin: Callable[..., runbook.Run]) -> None:
    break_service(world, "k8s-node1")
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    break_service(world, "k8s-node2", "kube-proxy")
    shown = str(run.apply("kubelet"))
    assert "NOT carried out on 1, which max_failures allows: kubelet on k8s-node1" in shown
    assert {node for node in NODES if has_config(world, node)} == set(NODES) - {"k8s-node1"}
    with fails(NodeError, match=r"\(2 failed, 1 may\)") as error:
        run.apply("kube-proxy")
    assert "kubelet on k8s-node1: " in str(error.value)
    assert "kube-proxy on k8s-node2: " in str(error.value)
    assert "Untouched because of it: k8s-node3, k8s-master, every later step" in str(error.value)
    with pytest.raises(ProofError, match="k8s-node1"):  # a failure that is allowed is not forgotten
        run.prove()


def test_a_second_plan_does_not_let_a_run_fail_anew(world: World, begin: Callable[..., runbook.Run]) -> None:
    break_service(world, "k8s-node1")
    break_service(world, "k8s-node2", "kube-proxy")
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    run.apply("kubelet")
    mend(world, "k8s-node1")
    break_service(world, "k8s-node1")
    run.look()
    run.plan()
    with fails(NodeError, match=r"\(2 failed, 1 may\)") as error:
        run.apply("kube-proxy")
    assert "kubelet on k8s-node1: " in str(error.value)
    assert "kube-proxy on k8s-node2: " in str(error.value)
    ending = str(run.finish())
    assert "Failed and NOT carried out: kubelet on k8s-node1, kube-proxy on k8s-node2." in ending

    fresh = begin(max_failures=1, steps=["kubelet"])
    assert "NOT carried out on 1, which max_failures allows" in str(fresh.apply("kubelet"))


def test_what_was_mended_in_a_run_still_counts_as_failed(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    break_service(world, "k8s-node1")
    break_service(world, "k8s-node2", "kube-proxy")
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    run.apply("kubelet")
    mend(world, "k8s-node1")
    run.look()
    run.plan()
    assert "carried out, proved and confirmed" in str(run.apply("kubelet"))
    with fails(NodeError, match=r"\(2 failed, 1 may\)") as error:
        run.apply("kube-proxy")
    assert "kubelet on k8s-node1" not in str(error.value)
    assert "Failed and NOT carried out: kube-proxy on k8s-node2." in str(run.finish())


@pytest.mark.parametrize("broken", [False, True], ids=["changed", "failed"])
def test_a_node_that_stays_cordoned_is_named_beside_what_became_of_its_change(
    world: World, begin: Callable[..., runbook.Run], *, broken: bool
) -> None:
    run = begin(drain=True)
    if broken:
        break_service(world, "k8s-node1")

    def refuse(event: Event) -> None:
        if event.action == "drained":
            world.faults.add("PATCH", "/nodes/k8s-node1$", 500, ALWAYS)

    with run.emit.also(refuse), fails(NodeError if broken else ClusterError) as error:
        run.apply("kubelet")
    said = str(error.value)
    assert "uncordoning k8s-node1: k8s-node1 could not be uncordoned: " in said
    assert "Run: kubectl uncordon k8s-node1" in said
    assert "Untouched because of it: k8s-node2, k8s-node3, k8s-master" in said
    assert ("kubelet on k8s-node1: " in said and "ca.crt" in said) == broken
    what = ["kubelet on k8s-node1"]
    assert subjects(run, "completed") == ([] if broken else what)
    assert subjects(run, "failed") == [*(what if broken else []), "uncordoning k8s-node1"]
    assert has_config(world, "k8s-node1") != broken
    assert "uncordoning k8s-node1" in str(run.finish())
    world.faults.faults.clear()
    again = begin(drain=True)
    again._take_lock()
    assert [event["node"] for event in events_of(again, "uncordoned")] == ["k8s-node1"]


def test_the_end_of_a_run_says_what_was_changed_and_what_failed(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    break_service(world, "k8s-node1")
    partly = begin(max_failures=1)
    partly.apply("kubelet")
    ending = partly.finish()
    assert "Failed and NOT carried out: kubelet on k8s-node1." in str(ending)
    assert "k8s-node2: /etc/kubernetes/kubelet.conf" in str(ending)
    assert "k8s-node1: /etc/kubernetes/kubelet.conf" not in str(ending)
    assert not [block for block in ending.blocks if isinstance(block, Message) and block.kind == GOOD]

    mend(world, "k8s-node1")
    run = begin()
    run.apply("kubelet")
    run.look()
    assert "There is nothing to do" in str(run.plan())
    shown = str(run.finish())
    assert "Carried out: kubelet. This is what was changed:" in shown
    assert "k8s-node1: /etc/kubernetes/kubelet.conf" in shown
    assert "Nothing had to be done" not in shown
    assert [event["changed"] for event in events_of(run, "finished")] == [["kubelet"]]


def test_what_is_not_proved_from_outside_is_put_back(world: World, begin: Callable[..., runbook.Run]) -> None:
    """The service runs, but the API never says that its node is Ready again."""
    run = begin(confirm_timeout=60)
    world.faults.add("GET", "^/api/v1/nodes/k8s-node1$", 500, ALWAYS)
    with fails(RevertedError, match=r"it cannot be seen: .*500.*the files are as before"):
        run.apply("kubelet")
    assert subjects(run, "reverted") == ["kubelet on k8s-node1"]
    assert not any(has_config(world, node) for node in NODES)


def test_what_could_not_be_put_back_is_not_called_reverted(
    begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    answer = TransactionResult("failed", "THESE FILES COULD NOT BE PUT BACK")
    monkeypatch.setattr(run.nodes, "confirm", lambda *_: answer)
    with fails(NodeError, match="could not be confirmed any more: THESE FILES"):
        run.apply("kubelet")
    assert subjects(run, "failed") == ["kubelet on k8s-node1"]
    assert subjects(run, "reverted") == []


def test_what_nobody_thought_of_is_in_the_journal_too(
    begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise OSError("no such device")

    run = begin()
    monkeypatch.setattr(run.nodes, "begin", broken)
    with pytest.raises(UnexpectedError, match="no such device"):
        run.apply("kubelet")
    [event] = events_of(run, "failed")
    assert (event["node"], event["error"]) == ("k8s-node1", "OSError: no such device")


def test_a_lock_that_was_lost_while_a_node_was_drained_stops_before_the_node_is_changed(
    world: World, begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    answers = iter([None])  # the batch begins with the lock; a check later it is gone

    def check() -> None:
        if next(answers, "gone"):
            raise LockedError("somebody else has the cluster")

    monkeypatch.setattr(run.lock, "check", check)
    with fails(LockedError):
        run.apply("kubelet")
    assert subjects(run, "failed") == ["kubelet on k8s-node1"]
    assert not any(has_config(world, node) for node in NODES)


def test_an_object_that_somebody_changed_since_is_not_overwritten(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    first = begin(steps=["pod-security"])
    [change, *_] = first.current_plan.object_changes
    theirs = dict(change.manifest)
    first.cluster.create(theirs)
    with fails(
        StaleError, match=r"(?s)already exists.*Untouched because of it: k8s-master, every later step"
    ):
        first.apply("pod-security")
    assert subjects(first, "failed") == [change.name]
    assert f"Failed and NOT carried out: {change.name}." in str(first.finish())
    [ended] = events_of(first, "finished")
    assert (ended["failed"], ended["why"]) == ([change.name], f"{change.name} failed before")
    [entry] = register(first.record.folder.parent)
    assert (entry.result, entry.failed) == ("failed", (change.name,))
    assert f" failed: {change.name}" in str(register_view([entry]))
    assert "failed; failed" not in str(register_view([entry]))
    record = build_record(read_run(first.record.folder))
    [failed] = [done for done in record["changes"] if done["subject"] == change.name]
    assert failed["result"] == "failed"
    assert {item["why"] for item in record["not_done"]} == {f"{change.name} failed before"}
    assert "PodSecurityPolicy" not in unit(world, "k8s-master", "kube-apiserver")
    second = begin(steps=["pod-security"])
    second.apply("pod-security")
    assert "PodSecurityPolicy" in unit(world, "k8s-master", "kube-apiserver")


def test_a_node_whose_answer_to_begin_is_lost_is_put_back(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    run = begin()
    world.lost["answer", "k8s-node1"] = no_connection("k8s-node1")
    with fails(RevertedError, match=r"the connection broke.*the files are as before"):
        run.apply("kubelet")
    assert not has_config(world, "k8s-node1")
    assert subjects(run, "reverted") == ["kubelet on k8s-node1"]


def test_a_node_that_is_lost_altogether_puts_itself_back(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    run = begin(confirm_timeout=60)
    world.lost["answer", "k8s-node1"] = no_connection("k8s-node1")
    world.lost["undo", "k8s-node1"] = no_connection("k8s-node1")
    with fails(NodeError, match="puts itself back within 60 seconds"):
        run.apply("kubelet")
    assert has_config(world, "k8s-node1")
    world.clock.sleep(61)
    assert not has_config(world, "k8s-node1")


def test_a_confirmation_is_asked_for_once_more(world: World, begin: Callable[..., runbook.Run]) -> None:
    run = begin()
    world.lost["confirm", "k8s-node1"] = no_connection("k8s-node1")
    run.apply("kubelet")
    assert all(has_config(world, node) for node in NODES)
    world.lost["confirm", "k8s-node1"] = no_connection("k8s-node1", 2)
    again = begin(steps=["kube-proxy"])
    with fails(NodeError, match="whether the node got the confirmation is not known"):
        again.apply("kube-proxy")


def test_a_node_that_another_change_holds_is_left_alone(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    run = begin()
    change = next(c for c in run.current_plan.node_changes if c.node == "k8s-node1")
    assert run.nodes.begin(change, "another", 120).outcome == "waiting"
    with fails(NodeError, match="run another has this node"):
        run.apply("kubelet")


def test_a_file_that_somebody_changed_since_is_not_overwritten(
    world: World, begin: Callable[..., runbook.Run]
) -> None:
    run = begin()
    machine = world.machines["k8s-node1"]
    kubelet = machine.facts.services["kubelet"]
    path = "/etc/systemd/system/kubelet.service"
    theirs = replace(kubelet.files[path], content=kubelet.files[path].content + "# theirs\n")
    machine.set(replace(kubelet, files={**kubelet.files, path: theirs}))
    with fails(StaleError, match=f"{path} is another one"):
        run.apply("kubelet")
    assert unit(world, "k8s-node1", "kubelet").endswith("# theirs\n")


def test_a_change_that_is_open_is_waited_for_and_no_longer_than_it_may_last(
    world: World, begin: Callable[..., runbook.Run], tmp_path: Path
) -> None:
    run = begin()
    change = next(c for c in run.current_plan.node_changes if c.node == "k8s-node1")
    run.nodes.begin(change, "dead-run", 20)
    start = world.clock.monotonic()
    again = begin(confirm_timeout=10)
    assert 20 <= world.clock.monotonic() - start < 25
    assert events_of(again, "waited")[0]["nodes"] == ["k8s-node1"]
    again.nodes.begin(change, "long-run", 10_000)
    with pytest.raises(LockedError, match=r"(?s)still open.*run long-run.*transaction.sh undo long-run"):
        begin(confirm_timeout=10)


def test_a_run_that_is_asked_to_stop_puts_the_node_in_hand_back(
    world: World, begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin()
    stops: list[Stop] = []
    monkeypatch.setattr("kubeharden.rollout.rollout.Stop", lambda: stops.append(Stop()) or stops[-1])

    def stop(event: Event) -> None:
        if event.action == "started":
            world.clock.after(0.5, stops[-1].set)

    with run.emit.also(stop), pytest.raises(StoppedError) as error:
        run.apply("kubelet")
    assert "In hand were, and are finished: kubelet on k8s-node1: reverted." in str(error.value)
    assert not any(has_config(world, node) for node in NODES)
