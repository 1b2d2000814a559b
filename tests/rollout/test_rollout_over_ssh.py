"""A rollout over real SSH and a real API: round trips, a failure, interruptions, a dead run, a server that stumbles.

All else that a rollout decides is in ``test_rollout.py``, in one process.
"""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from faults import between
from kubeharden import runbook
from kubeharden.errors import (
    KubehardenError,
    NodeError,
    StoppedError,
)
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals
from rolling import events_of, fails, has_config, inventory_of, planned_run, subjects
from support import on_node

NODES = ("k8s-master", "k8s-node1", "k8s-node2", "k8s-node3")


@pytest.fixture
def rehearsal(rehearsals: Rehearsals) -> Rehearsal:
    """Four nodes, one of them of the control plane."""
    return rehearsals.fresh("handbuilt-1.20")


@pytest.fixture
def begin(rehearsal: Rehearsal, tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., runbook.Run]:
    """Start a run that has looked and planned; all of them end with the test."""

    def begun(**given: object) -> runbook.Run:
        given.setdefault("steps", ["kubelet"])
        given.setdefault("accept_breaking", ["shop/web"])
        run = planned_run(rehearsal, tmp_path / "records", **given)
        request.addfinalizer(run.close)
        return run

    return begun


def break_kubelet(rehearsal: Rehearsal, node: str) -> Path:
    """Let a kubelet run on, and not start again: it reads this file only when it starts."""
    path = rehearsal.directory / f"nodes/{node}/etc/kubernetes/pki/ca.crt"
    path.unlink()
    return path


def test_a_healthy_node_costs_four_round_trips_and_one_that_is_done_costs_one(
    begin: Callable[..., runbook.Run],
) -> None:
    """Observe, begin, look and confirm; the check before and the proof after a whole run are apart from that.

    So is what is asked before and after it is observed: what a run left open there.
    """
    run = begin(batch_size="100%")
    start = dict(run.nodes.round_trips)
    assert start == dict.fromkeys(
        NODES, 4
    )  # the check: log in; then observe, and what is open before and after
    run.apply("kubelet")
    # Begin, look at what runs now, confirm.
    assert spent(run, start) == dict.fromkeys(NODES, 3)
    again = begin()
    start = dict(again.nodes.round_trips)
    again.look()
    assert spent(again, start) == dict.fromkeys(NODES, 3)
    again.plan()
    again.apply("kubelet")
    assert spent(again, start) == dict.fromkeys(NODES, 3)
    again.prove()
    assert spent(again, start) == dict.fromkeys(NODES, 4)


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


@pytest.mark.sample(1)
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
