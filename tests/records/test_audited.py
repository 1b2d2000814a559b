"""What an auditor samples of a change: in the record, on its first page, and held against what it names."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from fakes import FIRST_MOMENT, World, planned
from kubeharden import runbook
from kubeharden.cli import main
from kubeharden.errors import ParameterError, RecordError, WindowError
from kubeharden.inputs.parameters import ChangeParameters
from kubeharden.plan.events import Completed, Finished, RunStarted, Started
from kubeharden.records.change_sample import change_of
from kubeharden.records.folder import Record, read_run
from kubeharden.records.front import front_of
from kubeharden.records.seal import seal
from kubeharden.records.signature import Signers
from kubeharden.records.summary import build_record, check_form
from kubeharden.records.verify import verify
from record_support import make_run

WINDOW = "2020-01-01T00:00Z/2020-01-01T01:00Z"


@pytest.fixture
def audited(tmp_path: Path, key: Path) -> Path:
    """A sealed run with all that an auditor samples; its evidence lies beside it."""
    runs = tmp_path / "outputs"
    test, back = make_run(runs, "CHG-0"), make_run(runs, "back", parameters={"record": "outputs/x"})
    seal(test, None, key)
    seal(back, None, key)
    given = ChangeParameters(
        requester="Mia", change_kind="normal", risk="a kubelet that stays away", window=WINDOW,
        test_evidence=test.name, back_out="rollback.ipynb", back_out_evidence=str(back),
    )  # fmt: skip
    record = Record(runs, "lab", "CHG-1")
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"], change=change_of(given, runs)))
    about = {"subject": "kubelet on n1", "node": "n1", "service": "kubelet", "step": "kubelet"}
    record(Started(**about))
    record(Completed(**about, words="done", seconds=1.0))
    record(Finished(mode="apply", changed=["kubelet"]))
    record.close()
    seal(record.folder, None, key)
    return record.folder


def test_the_record_and_its_first_page_have_all_of_it(audited: Path, signers: Signers) -> None:
    record = build_record(read_run(audited))
    check_form(record)
    change = record["change"]
    assert (change["requester"], change["kind"]) == ("Mia", "normal")
    assert change["window"] == {
        "start": "2020-01-01T00:00:00+00:00", "end": "2020-01-01T01:00:00+00:00", "outside": 1,
    }  # fmt: skip
    rows = dict(front_of(record).rows)
    assert rows["Requested by"] == "Mia"
    assert rows["Risk"] == "a kubelet that stays away"
    assert rows["Planned window"].endswith("✘ 1 of 1 changes began outside it")
    assert rows["Tried before"].startswith(f"{change['test']['run']} on lab: done; sealed 20")
    assert rows["Back-out"].startswith("rollback.ipynb; ✔ tried: ")
    assert "Not given" not in rows
    verdict = verify(audited, signers)
    assert verdict.wrong == ()


def test_what_is_not_there_is_named_where_something_may_be_changed(audited: Path) -> None:
    record = build_record(read_run(audited))
    bare = {**record, "change": {**record["change"], "requester": "", "window": None, "back_out": None}}
    assert dict(front_of(bare).rows)["Not given"] == "requester, planned window, back-out"
    assert "Not given" not in dict(front_of({**bare, "mode": "plan"}).rows)
    earlier = {name: record["change"][name] for name in ("id", "reason", "approver")}
    assert "Not given" not in dict(front_of({**record, "change": earlier}).rows), "no form had that then"


def leaves(value: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    if isinstance(value, dict):
        for name, item in value.items():
            yield from leaves(item, (*path, name))
    else:
        yield path, value


def test_changing_any_field_breaks_the_seal(audited: Path, signers: Signers) -> None:
    path = audited / "record.json"
    data = path.read_bytes()
    path.chmod(0o600)
    names = list(leaves(json.loads(data)["change"]))
    assert len(names) > 20
    for where, value in names:
        content = json.loads(data)
        place = content["change"]
        for name in where[:-1]:
            place = place[name]
        place[where[-1]] = value + 1 if isinstance(value, int) else f"{value}x"
        path.write_text(json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        assert verify(audited, signers).wrong, where
    path.write_bytes(data)
    assert verify(audited, signers).wrong == ()


@pytest.mark.parametrize("which", ["test", "back_out"])
def test_evidence_that_is_another_record_now_is_found(audited: Path, signers: Signers, which: str) -> None:
    change = json.loads((audited / "record.json").read_text())["change"]
    found = change["test"] if which == "test" else change["back_out"]["tried"]
    beside = audited.parent / found["run"]
    (beside / "record.json").chmod(0o600)
    (beside / "record.json").write_bytes((beside / "record.json").read_bytes() + b"\n")
    wrong = f"{found['run']}: is another record than the one that served as evidence"
    assert wrong in verify(audited, signers).wrong
    (beside / "record.json").unlink()
    assert wrong in verify(audited, signers).wrong
    beside.rename(audited.parent.parent / "elsewhere")
    verdict = verify(audited, signers, oldest=audited.name)
    assert wrong not in verdict.wrong
    assert any(f"its evidence {found['run']} is not here" in note for note in verdict.notes)


def test_what_is_not_sealed_or_was_altered_is_not_evidence(tmp_path: Path, key: Path) -> None:
    run = make_run(tmp_path / "outputs")

    def refused(match: str, **given: str) -> None:
        with pytest.raises(ParameterError, match=match):
            change_of(ChangeParameters(**given), tmp_path / "outputs")

    refused("test_evidence: there is no folder of a run 'nothing'", test_evidence="nothing")
    refused("test_evidence: .* is not sealed", test_evidence=run.name)
    seal(run, None, key)
    refused("back_out_evidence: .* put nothing back", back_out_evidence=run.name)
    (run / "journal.jsonl").chmod(0o600)
    (run / "journal.jsonl").write_bytes(b"")
    refused("test_evidence: the seal of .* does not hold: journal.jsonl: was changed", test_evidence=run.name)
    assert change_of(ChangeParameters(), tmp_path) == {}


@pytest.mark.parametrize(
    "window",
    [
        [],
        "tonight",
        {"start": "2020-01-01T00:00:00+00:00"},
        {"start": 1, "end": 2},
        {"start": "2020-13-45T00:00:00+00:00", "end": "2020-13-46T00:00:00+00:00"},
        {"start": "2020-01-02T00:00:00+00:00", "end": "2020-01-01T00:00:00+00:00"},
    ],
)
def test_a_window_that_no_run_writes_is_reported_in_a_sentence(tmp_path: Path, window: Any) -> None:
    record = Record(tmp_path, "lab", "CHG-1")
    record(RunStarted(cluster="lab", mode="apply", change={"window": window}))
    record.close()
    with pytest.raises(RecordError, match="the planned window, or the time of a change, is not one"):
        build_record(read_run(record.folder))
    assert main(["show", str(record.folder)]) == 1


def test_a_window_that_a_record_of_others_names_is_shown_as_it_is(audited: Path) -> None:
    record = build_record(read_run(audited))
    record["change"]["window"] |= {"start": "2020-13-45T00:00:00+00:00"}
    check_form(record)
    assert dict(front_of(record).rows)["Planned window"].startswith("2020-13-45T00:00:00+00:00/2020-01-01")


class Hesitant:
    """A person who agrees, half an hour after the question."""

    is_there, cell = True, 1

    def __init__(self, world: World) -> None:
        self.world = world

    def ask(self, question: str) -> str:
        self.world.clock.sleep(1800)
        return "apply"


def test_an_answer_after_the_window_has_closed_changes_nothing(tmp_path: Path) -> None:
    """The window crosses midnight, by another clock than UTC."""
    world = World()
    zone = timezone(timedelta(hours=12))
    start, end = ((FIRST_MOMENT + timedelta(minutes=m)).astimezone(zone).isoformat() for m in (-60, 10))
    assert start[:10] != end[:10]
    given = {
        "In": [""],
        "inventory": str(world.inventory(tmp_path)),
        "output_dir": str(tmp_path / "records"),
        "steps": ["kubelet"],
        "window": f"{start}/{end}",
    }
    run = runbook.start(given, connect=world.ports, person=Hesitant(world))
    run.look()
    run.plan()
    with pytest.raises(WindowError, match="and this change is planned for"):
        run.apply("kubelet")
    run.close()
    assert build_record(read_run(run.record.folder))["changes"] == []


def test_outside_its_window_a_change_is_not_applied(tmp_path: Path) -> None:
    world = World()
    opens, closes = FIRST_MOMENT + timedelta(minutes=10), FIRST_MOMENT + timedelta(minutes=20)
    later = f"{opens:%Y-%m-%dT%H:%MZ}/{closes:%Y-%m-%dT%H:%MZ}"
    run = planned(world, tmp_path / "early", window=later, steps=["kubelet"])
    with pytest.raises(WindowError, match="and this change is planned for"):
        run.apply("kubelet")
    run.close()
    assert build_record(read_run(run.record.folder))["changes"] == []
    told = planned(world, tmp_path / "told", window=later, outside_window=True, steps=["kubelet"])
    told.apply("kubelet")
    told.close()
    in_time = planned(World(), tmp_path / "in time", window=later, steps=["kubelet"])
    in_time.ports.clock.sleep(60 * 15)  # in each second of which the fakes do something
    in_time.apply("kubelet")
    in_time.close()
    record = build_record(read_run(told.record.folder))
    assert record["changes"]
    assert (
        record["change"]["window"]["start"]
        == f"{FIRST_MOMENT + timedelta(minutes=10):%Y-%m-%dT%H:%M}:00+00:00"
    )
    assert record["change"]["window"]["outside"] == len(record["changes"])
    assert record["parameters"]["outside_window"] is True
