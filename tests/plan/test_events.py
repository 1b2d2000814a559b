"""Events: their names and fields in the journal, and what is read back of them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from kubeharden.facts import ClusterFacts, Facts
from kubeharden.plan import NodeChange, ObjectChange, Plan
from kubeharden.plan import events as room
from kubeharden.plan.event import Event, Listeners
from kubeharden.plan.events import (
    Checked,
    Completed,
    Drained,
    Failed,
    Finished,
    Observed,
    Planned,
    Proved,
    Result,
    Reverted,
    RunStarted,
    Started,
    event_of,
)
from kubeharden.plan.proof import Proof
from kubeharden.records.folder import Record, read_run

NODE = NodeChange("kubelet", "n1", "kubelet", restart="its files change")
OBJECT = ObjectChange("pod-security", {"kind": "Role", "metadata": {"name": "psp", "namespace": "weave"}})
FACTS = Facts((), ClusterFacts("lab", "v1.20.2", {}))
# As commit 4fcfaca wrote them: records of that time are read, verified and put back by these names.
WRITTEN: list[tuple[Event, str]] = [
    (
        RunStarted(),
        (
            "run started: change_id cluster inventory kubernetes_user mode nodes notebook parameters reason "
            "steps versions who"
        ),
    ),
    (room.Waited(["n1"]), "waited: nodes"),
    (Checked.of([], {}), "checked: checks logins"),
    (Observed.of(FACTS), "observed: api_server components nodes systems"),
    (Planned.of(Plan(())), "planned: breaking changes digest needed refused remarks"),
    (room.Judged("1.25", 1, 1), "judged: findings stops target_release"),
    (room.JudgedPods(["a"]), "judged pods: breaking"),
    (room.Approved("0", "approved_plan"), "approved: approver how key plan"),
    (room.Asked("kubelet", "2 nodes", agreed=True), "asked: agreed question step"),
    (room.Locked(""), "locked: took_over_from"),
    (room.Batch(["n1"], "kubelet"), "batch: nodes step"),
    (room.Cordoned("n1"), "cordoned: node"),
    (Drained("n1"), "drained: node"),
    (room.Uncordoned("n1"), "uncordoned: node"),
    (room.LeftCordoned("n1"), "left cordoned: node"),
    (Started.of(NODE, change=NODE), "started: node service step subject"),
    (Started.of(OBJECT, change=OBJECT), "started: object step subject"),
    (Started("uncordoning n1", "kubelet", "n1"), "started: node step subject"),
    (room.Restarted.of(NODE, at="2026-11-01T08:30:00Z"), "restarted: at node service step subject"),
    (room.ReadyAgain.of(NODE), "ready again: node service step subject"),
    (Completed.of(NODE, words="w", seconds=0.0), "completed: node seconds service step subject words"),
    (
        Completed.of(OBJECT, words="w", seconds=1, state="0"),
        "completed: object seconds state step subject words",
    ),
    (Failed.of(OBJECT, error="e"), "failed: error object step subject"),
    (Failed.of(NODE, error="e", seconds=1.5), "failed: error node seconds service step subject"),
    (Reverted.of(NODE, error="e", seconds=1.5), "reverted: error node seconds service step subject"),
    (
        Proved.of(Proof((), (), (), (), ()), FACTS),
        "proved: components confirmed differences notes problems services",
    ),
    (Finished("plan"), "finished: changed mode not_carried_out why"),
    (Finished.of(Plan(()), "apply", [], [], []), "finished: changed failed mode not_carried_out why"),
    (room.Abandoned(), "abandoned: "),
    (room.Error("apply", "NodeError", "m"), "error: kind message verb"),
]


@pytest.mark.parametrize(("event", "written"), WRITTEN, ids=lambda value: str(value)[:24])
def test_an_event_has_its_name_and_fields_in_the_journal(event: Event, written: str) -> None:
    assert f"{event.action}: {' '.join(sorted(event.content()))}" == written


def test_every_kind_is_written_and_read_back(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "events")
    for event, _ in WRITTEN:
        record(event)
    record.close()
    past = read_run(record.folder)
    assert past.problems == ()
    assert {type(event) for event in past.events} == set(Event.kinds.values())
    for (event, _), back in zip(WRITTEN, past.events, strict=True):
        assert type(back) is type(event)
        assert back.content() == json.loads(json.dumps(event.content()))
        assert back.time
    assert past.plan is not None
    assert [kept.name for kept in past.objects] == ["Role weave/psp"]


def test_what_another_version_wrote_is_read_as_far_as_it_is_known() -> None:
    own = {"seq": 1, "time": "2026-01-01T00:00:00.000Z", "run": "r", "previous": ""}
    assert event_of({**own, "action": "levitated", "node": "n1"}) is None
    later = event_of({**own, "action": "drained", "node": "n1", "pods": 7})
    assert later == Drained("n1")
    earlier = event_of({**own, "action": "run started", "cluster": "lab"})
    assert earlier == RunStarted(cluster="lab")


def test_a_listener_more_listens_in_its_context_only() -> None:
    always: list[Event] = []
    sometimes: list[Event] = []
    listeners = Listeners(always.append)
    listeners(Drained("n1"))
    with listeners.also(sometimes.append):
        listeners(Result("kubelet on n1", "done", "words"))
    listeners(Drained("n2"))
    assert always == [Drained("n1"), *sometimes, Drained("n2")]
    assert sometimes == [Result("kubelet on n1", "done", "words")]


def test_a_result_is_for_people_and_not_in_the_journal(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "events")
    record(Result("kubelet on n1", "done", "words"))
    assert read_run(record.folder).journal.lines == ()
