"""Batches, failures and interruptions on rehearsal clusters: at any moment every node runs its old or its new
configuration, and the next run carries on."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from faults import ALWAYS, Faults, between
from kubeharden import runbook
from kubeharden.edges.ports import TransactionResult
from kubeharden.errors import (
    ClusterError,
    KubehardenError,
    LockedError,
    NodeError,
    ProofError,
    RevertedError,
    StaleError,
    StoppedError,
    UnexpectedError,
)
from kubeharden.records.folder import read_run
from kubeharden.records.register import register
from kubeharden.records.summary import build_record
from kubeharden.show.display import GOOD, Message
from kubeharden.show.records_view import register_view
from kubeharden_rehearsal import Rehearsal
from rolling import events_of, fails, has_config, inventory_of, planned_run, subjects
from support import on_node, wait_until

NODES = ("k8s-master", "k8s-node1", "k8s-node2", "k8s-node3")


@pytest.fixture
def rehearsal(tmp_path: Path) -> Iterator[Rehearsal]:
    """Four nodes, one of them of the control plane."""
    with Rehearsal.start("handbuilt-1.20", tmp_path / "rehearsal") as running:
        yield running


@pytest.fixture
def begin(rehearsal: Rehearsal, tmp_path: Path) -> Iterator[Callable[..., runbook.Run]]:
    """Start a run that has looked and planned; all of them end with the test."""
    runs: list[runbook.Run] = []

    def begun(**given: object) -> runbook.Run:
        given.setdefault("steps", ["kubelet"])
        given.setdefault("accept_breaking", ["shop/web"])
        runs.append(planned_run(rehearsal, tmp_path / "records", **given))
        return runs[-1]

    yield begun
    for run in runs:
        run.close()


def break_kubelet(rehearsal: Rehearsal, node: str) -> Path:
    """Let a kubelet run on, and not start again: it reads this file only when it starts."""
    path = rehearsal.directory / f"nodes/{node}/etc/kubernetes/pki/ca.crt"
    path.unlink()
    return path


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
    assert states(run) == {"confirmed"}
    again = begin()
    assert "nothing was changed, nothing restarted" in str(again.apply("kubelet"))


def test_a_healthy_node_costs_four_round_trips_and_one_that_is_done_costs_one(
    begin: Callable[..., runbook.Run],
) -> None:
    """Observe, begin, look and confirm; the check before and the proof after a whole run are apart from that."""
    run = begin(batch_size="100%")
    start = run.nodes.round_trips
    assert start == dict.fromkeys(NODES, 3)  # the check: log in, and what is left open there; then observe
    run.apply("kubelet")
    # Begin, look at what runs now, confirm.
    assert spent(run, start) == dict.fromkeys(NODES, 3)
    again = begin()
    start = again.nodes.round_trips
    again.look()
    assert spent(again, start) == dict.fromkeys(NODES, 1)
    again.plan()
    again.apply("kubelet")
    assert spent(again, start) == dict.fromkeys(NODES, 1)
    again.prove()
    assert spent(again, start) == dict.fromkeys(NODES, 2)


def spent(run: runbook.Run, start: dict[str, int]) -> dict[str, int]:
    """The round trips to each node since."""
    return {node: count - start.get(node, 0) for node, count in run.nodes.round_trips.items()}


def test_a_failed_node_is_put_back_and_the_others_are_untouched(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
) -> None:
    broken = break_kubelet(rehearsal, "k8s-node2")
    text = (rehearsal.directory / "nodes/k8s-node2/etc/systemd/system/kubelet.service").read_text()
    run = begin(batch_size=2)
    with fails(NodeError) as error:
        run.apply("kubelet")
    assert "kubelet on k8s-node2: " in str(error.value)
    assert "ca.crt" in str(error.value)
    assert "Untouched because of it: k8s-master, every later step" in str(error.value)
    # Its batch was finished, what comes after it was not begun.
    assert sorted(subjects(run, "completed")) == ["kubelet on k8s-node1", "kubelet on k8s-node3"]
    assert {node for node in NODES if has_config(rehearsal, node)} == {"k8s-node1", "k8s-node3"}
    assert (rehearsal.directory / "nodes/k8s-node2/etc/systemd/system/kubelet.service").read_text() == text

    with pytest.raises(KubehardenError, match=r"kubelet ended with an error.*look and plan again first"):
        run.apply("kubelet")
    broken.write_text("-----BEGIN CERTIFICATE-----\n")
    on_node(rehearsal, "k8s-node2", "systemctl start kubelet")
    run.look()
    run.plan()
    run.apply("kubelet")
    assert {node for node in NODES if has_config(rehearsal, node)} == set(NODES)


def test_failures_are_counted_over_the_whole_run(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
) -> None:
    break_kubelet(rehearsal, "k8s-node1")
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    # The kube-proxy of node 2 does not start again either: it reads its kubeconfig when it starts.
    (rehearsal.directory / "nodes/k8s-node2/etc/kubernetes/kube-proxy.kubeconfig").unlink()
    shown = str(run.apply("kubelet"))
    assert "NOT carried out on 1, which max_failures allows: kubelet on k8s-node1" in shown
    assert {node for node in NODES if has_config(rehearsal, node)} == set(NODES) - {"k8s-node1"}
    with fails(NodeError, match=r"\(2 failed, 1 may\)") as error:
        run.apply("kube-proxy")
    assert "kubelet on k8s-node1: " in str(error.value)
    assert "kube-proxy on k8s-node2: " in str(error.value)
    assert "Untouched because of it: k8s-node3, k8s-master, every later step" in str(error.value)
    with pytest.raises(ProofError, match="k8s-node1"):  # a failure that is allowed is not forgotten
        run.prove()


def run_again(rehearsal: Rehearsal, broken: Path) -> None:
    """Mend what ``break_kubelet`` broke on the first node."""
    broken.write_text("-----BEGIN CERTIFICATE-----\n")
    on_node(rehearsal, "k8s-node1", "systemctl start kubelet")


def test_a_second_plan_does_not_let_a_run_fail_anew(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
) -> None:
    broken = break_kubelet(rehearsal, "k8s-node1")
    (rehearsal.directory / "nodes/k8s-node2/etc/kubernetes/kube-proxy.kubeconfig").unlink()
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    run.apply("kubelet")
    run_again(rehearsal, broken)
    break_kubelet(rehearsal, "k8s-node1")
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
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
) -> None:
    broken = break_kubelet(rehearsal, "k8s-node1")
    (rehearsal.directory / "nodes/k8s-node2/etc/kubernetes/kube-proxy.kubeconfig").unlink()
    run = begin(max_failures=1, steps=["kubelet", "kube-proxy"])
    run.apply("kubelet")
    run_again(rehearsal, broken)
    run.look()
    run.plan()
    assert "carried out, proved and confirmed" in str(run.apply("kubelet"))
    with fails(NodeError, match=r"\(2 failed, 1 may\)") as error:
        run.apply("kube-proxy")
    assert "kubelet on k8s-node1" not in str(error.value)
    assert "Failed and NOT carried out: kube-proxy on k8s-node2." in str(run.finish())


def no_uncordoning(run: runbook.Run, faults: Faults, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a node be cordoned and drained, and then not be uncordoned any more."""
    monkeypatch.setattr("kubeharden.rollout.drain.UNCORDON_SECONDS", 2.0)

    def refuse() -> None:
        wait_until(lambda: bool(events_of(run, "drained")), 120)
        faults.add("PATCH", "/nodes/k8s-node1$", 500, ALWAYS)

    threading.Thread(target=refuse, daemon=True).start()


@pytest.mark.parametrize("broken", [False, True], ids=["changed", "failed"])
def test_a_node_that_stays_cordoned_is_named_beside_what_became_of_its_change(
    rehearsal: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, broken: bool
) -> None:
    with between(rehearsal.directory / "admin.kubeconfig") as faults:
        inventory = inventory_of(rehearsal, "faults", kubeconfig=str(faults.kubeconfig))
        given = {"steps": ["kubelet"], "drain": True, "accept_breaking": ["shop/web"]}
        run = planned_run(rehearsal, tmp_path / "records", inventory, **given)
        if broken:
            break_kubelet(rehearsal, "k8s-node1")
        no_uncordoning(run, faults, monkeypatch)
        with fails(NodeError if broken else ClusterError) as error:
            run.apply("kubelet")
        said = str(error.value)
        assert "uncordoning k8s-node1: k8s-node1 could not be uncordoned: " in said
        assert "Run: kubectl uncordon k8s-node1" in said
        assert "Untouched because of it: k8s-node2, k8s-node3, k8s-master" in said
        assert ("kubelet on k8s-node1: " in said and "ca.crt" in said) == broken
        what = ["kubelet on k8s-node1"]
        assert subjects(run, "completed") == ([] if broken else what)
        assert subjects(run, "failed") == [*(what if broken else []), "uncordoning k8s-node1"]
        assert has_config(rehearsal, "k8s-node1") != broken
        assert "uncordoning k8s-node1" in str(run.finish())
        faults.faults.clear()
        again = planned_run(rehearsal, tmp_path / "records", inventory, **given)
        again._take_lock()
        assert [event["node"] for event in events_of(again, "uncordoned")] == ["k8s-node1"]
        again.close()


def test_the_end_of_a_run_says_what_was_changed_and_what_failed(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
) -> None:
    broken = break_kubelet(rehearsal, "k8s-node1")
    partly = begin(max_failures=1)
    partly.apply("kubelet")
    ending = partly.finish()
    assert "Failed and NOT carried out: kubelet on k8s-node1." in str(ending)
    assert "k8s-node2: /etc/kubernetes/kubelet.conf" in str(ending)
    assert "k8s-node1: /etc/kubernetes/kubelet.conf" not in str(ending)
    assert not [block for block in ending.blocks if isinstance(block, Message) and block.kind == GOOD]

    broken.write_text("-----BEGIN CERTIFICATE-----\n")
    on_node(rehearsal, "k8s-node1", "systemctl start kubelet")
    run = begin()
    run.apply("kubelet")
    run.look()
    assert "There is nothing to do" in str(run.plan())
    shown = str(run.finish())
    assert "Carried out: kubelet. This is what was changed:" in shown
    assert "k8s-node1: /etc/kubernetes/kubelet.conf" in shown
    assert "Nothing had to be done" not in shown
    assert [event["changed"] for event in events_of(run, "finished")] == [["kubelet"]]


def test_what_is_not_proved_from_outside_is_put_back(rehearsal: Rehearsal, tmp_path: Path) -> None:
    """The service runs, but the API never says that its node is Ready again."""
    with between(rehearsal.directory / "admin.kubeconfig") as faults:
        inventory = inventory_of(rehearsal, "faults", kubeconfig=str(faults.kubeconfig))
        run = planned_run(rehearsal, tmp_path / "records", inventory, confirm_timeout=6, steps=["kubelet"])
        faults.add("GET", "^/api/v1/nodes/k8s-node1$", 500, times=10_000)
        with fails(RevertedError, match=r"it cannot be seen: .*500.*the files are as before"):
            run.apply("kubelet")
        assert subjects(run, "reverted") == ["kubelet on k8s-node1"]
        run.close()
    assert not any(has_config(rehearsal, node) for node in NODES)


def test_what_could_not_be_put_back_is_not_called_reverted(
    begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = begin(confirm_timeout=6)
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
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run], monkeypatch: pytest.MonkeyPatch
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
    assert not any(has_config(rehearsal, node) for node in NODES)


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")], ids=["ctrl-c", "sigterm"]
)
def test_an_interrupted_run_puts_the_node_in_hand_back_and_says_so(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run], number: int, word: str
) -> None:
    run = begin(steps=["kubelet"])
    before = {n: signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM)}
    unit = rehearsal.directory / "nodes/k8s-node1/etc/systemd/system/kubelet.service"
    text = unit.read_text()

    def interrupt() -> None:
        while unit.read_text() == text:  # until the new files are in place
            time.sleep(0.01)
        os.kill(os.getpid(), number)

    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(StoppedError) as error:
        run.apply("kubelet")
    said = str(error.value)
    assert f"stopped by {word}. In hand were, and are finished: kubelet on k8s-node1: reverted." in said
    assert "Untouched because of it: k8s-node2, k8s-node3, k8s-master, every later step" in said
    assert unit.read_text() == text
    assert not any(has_config(rehearsal, node) for node in NODES)
    assert subjects(run, "reverted") == ["kubelet on k8s-node1"]
    assert {n: signal.getsignal(n) for n in before} == before
    again = begin()
    again.apply("kubelet")
    assert all(has_config(rehearsal, node) for node in NODES)


def test_a_change_that_a_dead_run_left_open_is_waited_for(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run], capsys: pytest.CaptureFixture[str]
) -> None:
    dead = begin(confirm_timeout=5)
    change = next(c for c in dead.current_plan.node_changes if c.node == "k8s-node1")
    dead.nodes.begin(change, "dead-run", 5)
    assert has_config(rehearsal, "k8s-node1")
    run = begin()
    assert events_of(run, "waited")[0]["nodes"] == ["k8s-node1"]
    assert "A change is still open; it is waited for" in capsys.readouterr().out
    assert not has_config(rehearsal, "k8s-node1")
    run.apply("kubelet")
    assert all(has_config(rehearsal, node) for node in NODES)


def test_a_busy_and_stumbling_api_server_is_borne(rehearsal: Rehearsal, tmp_path: Path) -> None:
    with between(rehearsal.directory / "admin.kubeconfig") as faults:
        inventory = inventory_of(rehearsal, "faults", kubeconfig=str(faults.kubeconfig))
        run = planned_run(
            rehearsal, tmp_path / "records", inventory, dns_ip="10.0.0.10", accept_breaking=["shop/web"]
        )
        faults.add("POST", "/leases", 429, Retry_After="1")
        faults.add("GET", "/api/v1/nodes/", 503, times=8)
        faults.add("GET", "/api/v1/pods", 500, times=3)
        faults.add("POST", "rbac|podsecuritypolicies", -1, times=2)
        faults.add("GET", "/healthz", 502, times=2)
        for step in run.parameters.steps:
            run.apply(step)
        assert "✘" not in str(run.prove())
        assert not any(fault.times for fault in faults.faults), faults.faults
        run.finish()


def test_an_object_that_somebody_changed_since_is_not_overwritten(
    rehearsal: Rehearsal, begin: Callable[..., runbook.Run]
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
    assert (entry.result, entry.failed) == ("partly done", (change.name,))
    assert f"partly done; failed: {change.name}" in str(register_view([entry]))
    record = build_record(read_run(first.record.folder))
    [failed] = [done for done in record["changes"] if done["subject"] == change.name]
    assert failed["result"] == "failed"
    assert {item["why"] for item in record["not_done"]} == {f"{change.name} failed before"}
    server = rehearsal.directory / "nodes/k8s-master/etc/systemd/system/kube-apiserver.service"
    assert "PodSecurityPolicy" not in server.read_text()
    second = begin(steps=["pod-security"])
    second.apply("pod-security")
    assert "PodSecurityPolicy" in server.read_text()
