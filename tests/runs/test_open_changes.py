"""What a run that was cut off left open is put back later: nobody plans from what is seen before that."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from facts_fixtures import PLANS, plan_of
from fakes import World
from fleet_support import fleet
from kubeharden import runbook
from kubeharden.errors import LockedError, MigrationRefusedError
from kubeharden.records.folder import read_run
from kubeharden.records.summary import build_record, check_form
from kubeharden_fleet.judge import NOT_NOW, FleetRun, judge_wave, state_of
from rolling import events_of

NODE, LONG = "k8s-node1", 10_000
STEPS = ["kubelet"]
Start = Callable[..., runbook.Run]


@pytest.fixture
def world() -> World:
    return World("article-1.10")


@pytest.fixture
def look(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Start:
    """Start a run of a kind, check and look; all of them end with the test."""

    def looked(kind: str = "harden", **given: Any) -> runbook.Run:
        own = {"steps": STEPS, "confirm_timeout": 10} if kind == "harden" else {}
        parameters = {
            "In": [""],
            "inventory": str(world.inventory(tmp_path)),
            "output_dir": str(tmp_path / "records"),
        }
        run = runbook.start(parameters | own | given, kind, connect=world.ports)
        request.addfinalizer(run.close)
        run.check()
        run.look()
        return run

    return looked


def leave_open(world: World, seconds: float) -> None:
    """Begin a change of the kubelet on a node, as a run does that is cut off then."""
    plan = plan_of(PLANS / world.name, steps=STEPS)
    change = next(c for c in plan.node_changes if c.node == NODE)
    assert world.ports().nodes.begin(change, "dead-run", seconds).outcome == "waiting"


def test_a_plan_waits_until_nodes_have_put_back_what_was_left_open(
    world: World, look: Start, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("kubeharden.runs.run.tell_terminal", told.append)
    before = look(mode="plan")
    before.plan()
    leave_open(world, 20)
    start = world.clock.monotonic()
    run = look(mode="plan")
    assert 15 < world.clock.monotonic() - start < 25
    assert "A change is still open; it is waited for" in capsys.readouterr().out
    assert events_of(run, "waited")[0]["nodes"] == [NODE]
    run.plan()
    assert run.current_plan.refused == ()
    assert run.current_plan.digest == before.current_plan.digest
    run.finish()
    assert told[-1].startswith("kubeharden: planned: 2 restarts, 4 files on 2 nodes; plan ")


def test_what_stays_open_is_reported_in_the_plan_which_nobody_takes_for_nothing_to_do(
    world: World, look: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr("kubeharden.runs.run.tell_terminal", told.append)
    leave_open(world, LONG)
    master = look(mode="apply", nodes=["k8s-master"])
    master.plan()
    master.apply("kubelet")
    master.close()  # now a plan that does not ask finds nothing to do
    run = look(mode="plan")
    shown = str(run.plan())
    assert not run.current_plan.needed
    assert "There is nothing to do" not in shown
    assert "REFUSED, 1 reason" in shown
    run.apply("kubelet")
    run.prove()
    assert "would be refused" in str(run.finish())
    assert told[-1].startswith("kubeharden: planned: REFUSED, 1 reason; plan ")
    record = build_record(read_run(run.record.folder))
    check_form(record)
    assert record["result"] == "planned"
    [words] = record["plan"]["refused"]
    [left] = record["not_done"]
    assert words == f"{left['subject']}: {left['why']}"
    assert left["subject"] == f"kubelet on {NODE}"
    for part in ("run dead-run (a test)", "the node puts it back at 2026-03-01T14:46:", "undo dead-run"):
        assert part in words
    state = state_of(FleetRun(run.record.run, record))
    assert record["plan"]["not_yet"] == [words]
    assert state.word == NOT_NOW, "it is over by itself: tried again, it may be planned"
    assert not judge_wave(fleet(tmp_path), "canary", {"a": state}).good


def test_a_run_that_is_to_change_something_ends_there(world: World, look: Start) -> None:
    leave_open(world, LONG)
    with pytest.raises(LockedError, match=r"(?s)still open.*run dead-run.*transaction.sh undo dead-run"):
        look(mode="apply")


@pytest.mark.parametrize("mode", ["plan", "apply"])
def test_what_another_run_begins_while_nodes_are_read_is_reported_as_well(
    world: World, look: Start, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    run = look(mode=mode)
    seen = run.nodes.observe

    def observe(*words: Any) -> Any:
        leave_open(world, LONG)
        return seen(*words)

    monkeypatch.setattr(run.nodes, "observe", observe)
    assert "run dead-run (a test) began a change of it" in str(run.look())
    assert "REFUSED, 1 reason" in str(run.plan())
    if mode == "apply":
        with pytest.raises(MigrationRefusedError, match="dead-run"):
            run.apply("kubelet")


def test_every_kind_says_it(world: World, look: Start) -> None:
    done = look(mode="apply", change_id="CHG-1", steps=["kube-proxy"])
    done.plan()
    done.apply("kube-proxy")
    done.finish()
    leave_open(world, LONG)
    back = look("rollback", mode="plan", record="CHG-1", confirm_timeout=10)
    assert "dead-run" in str(back.plan())
    assert back.current_plan.stopping
    ready = look("upgrade-readiness")
    assert "dead-run" in str(ready.readiness())
    assert "dead-run" in events_of(ready, "observed")[0]["unconfirmed"][0]
