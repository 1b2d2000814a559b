"""What is to be done on a cluster, and whether the next wave may begin, follows from records alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from fleet_support import DIGEST, fleet, fleet_run
from kubeharden_fleet.judge import (
    APPLIED,
    CHANGED,
    CUT_OFF,
    DONE,
    FAILED,
    NONE,
    NOT_NOW,
    PARTLY,
    REFUSED,
    RUNNING,
    SO_FAR,
    TO_DO,
    UNSOUND,
    FleetRun,
    State,
    halted_by,
    judge_wave,
    last_change,
    soaked_at,
    state_of,
)

BEGUN = [{"subject": "kubelet on n1", "result": "reverted", "words": "", "started": ""}]


def plan(**changes: Any) -> dict[str, Any]:
    return {"digest": DIGEST, "refused": [], "remarks": [], "breaking": [], **changes}


@pytest.mark.parametrize(
    ("newest", "word", "why"),
    [
        (None, NONE, "no run yet"),
        (fleet_run(), DONE, ""),
        (fleet_run(left=["kubelet on n1"]), TO_DO, "1 to do: kubelet on n1"),
        (fleet_run(left=["a", "b", "c", "d"]), TO_DO, "4 to do: a, b, c and 1 more"),
        (fleet_run(plan=plan(refused=["kubelet on n1: no"]), left=["x"]), REFUSED, "kubelet on n1: no"),
        # Another run has a change open, which is over by itself; with a reason of its own the plan is refused.
        (
            fleet_run(plan=plan(refused=["kubelet on n1: open"], not_yet=["kubelet on n1: open"])),
            NOT_NOW,
            "open",
        ),
        (
            fleet_run(plan=plan(refused=["a: open", "b: no"], not_yet=["a: open"]), left=["b"]),
            REFUSED,
            "b: no",
        ),
        (fleet_run("failed", mode="plan", kind="NodeError"), FAILED, "NodeError: a sentence"),
        (fleet_run("abandoned", mode="plan"), FAILED, "the run in mode plan is abandoned"),
        (fleet_run("done"), APPLIED, ""),
        (fleet_run("nothing to do"), APPLIED, ""),
        (fleet_run("failed", kind="ApprovalError", left=["x"]), CHANGED, "not the one that was approved"),
        # There was no plan yet: an approval that does not count at all is not asked for again.
        (
            fleet_run("failed", kind="ApprovalError", plan=plan(digest="")),
            FAILED,
            "ApprovalError: a sentence",
        ),
        (fleet_run("failed", kind="ApprovalError", changes=BEGUN), FAILED, "ApprovalError: a sentence"),
        (fleet_run("failed", kind="LockedError"), NOT_NOW, "LockedError: a sentence"),
        (fleet_run("failed", kind="WindowError"), NOT_NOW, "WindowError: a sentence"),
        (fleet_run("failed", kind="LockedError", changes=BEGUN), FAILED, "LockedError: a sentence"),
        # The window closed between two steps: what was begun is done, and the rest is for another time.
        (fleet_run("failed", kind="WindowError", words=[""], left=["x"]), NOT_NOW, "WindowError: a sentence"),
        (fleet_run("failed", kind="WindowError", changes=BEGUN), FAILED, "WindowError: a sentence"),
        (fleet_run("failed", kind="StepError"), FAILED, "StepError: a sentence"),
        (fleet_run("partly done", left=["kubelet on n2"]), PARTLY, "kubelet on n2"),
        (fleet_run("partly done", changes=BEGUN), PARTLY, "kubelet on n1: reverted"),
        (fleet_run("cut off"), CUT_OFF, "was cut off"),  # sealed later
        (fleet_run("done", sealed=False), CUT_OFF, "was cut off"),
        (fleet_run("running", sealed=False, running=True), RUNNING, "goes on"),
        (fleet_run(wrong=("record.json: was altered",)), UNSOUND, "record.json: was altered"),
    ],
)
def test_the_newest_run_says_what_a_cluster_is(newest: FleetRun | None, word: str, why: str) -> None:
    state = state_of(newest)
    assert (state.word, state.run) == (word, newest)
    assert why in state.why


def test_an_error_of_several_lines_is_read_as_sentences() -> None:
    made = fleet_run("failed", kind="StepError")
    errors = [{**made.record["errors"][0], "message": "n1: no; nothing was changed\nUntouched:\n  n2\n"}]
    assert (
        state_of(replace(made, record={**made.record, "errors": errors})).why
        == "n1: no; nothing was changed. Untouched: n2"
    )


ANNOUNCED = fleet_run("done", plan=plan(next_run=["Namespace shop", "Namespace web"]))
LEFT = fleet_run(left=["Namespace shop"])


@pytest.mark.parametrize(
    ("older", "word"),
    [
        ([ANNOUNCED], SO_FAR),
        (
            [LEFT, fleet_run(left=["Namespace web"]), ANNOUNCED, fleet_run("failed")],
            SO_FAR,
        ),  # looked at night after night
        ([], TO_DO),
        ([fleet_run("done"), ANNOUNCED], TO_DO),  # only the last one counts
        ([fleet_run("done", plan=plan(next_run=["Namespace web"]))], TO_DO),
        ([fleet_run("failed", kind="StepError", plan=plan(next_run=["Namespace shop"]))], TO_DO),
        ([fleet_run("done", plan=plan(next_run=["Namespace shop"]), sealed=False)], TO_DO),
        ([fleet_run("done", plan=plan(next_run=["Namespace shop"]), wrong=("was altered",))], TO_DO),
    ],
)
def test_what_the_plan_before_left_to_the_next_run_does_not_keep_a_wave_from_being_done(
    tmp_path: Path, older: list[FleetRun], word: str
) -> None:
    state = state_of(LEFT, older)
    assert state.word == word
    assert "Namespace shop" in state.why
    assert judge_wave(fleet(tmp_path), "canary", {"canary": state}).good == (word == SO_FAR)


def test_more_than_what_was_left_to_the_next_run_is_to_do() -> None:
    assert state_of(fleet_run(left=["Namespace shop", "kubelet on n1"]), [ANNOUNCED]).word == TO_DO


STATES = {"canary": State(DONE), "a": State(DONE), "b": State(FAILED, "why"), "c": State(NONE)}


@pytest.mark.parametrize(
    ("wave", "most", "good", "lines"),
    [
        ("canary", 0, True, ()),
        ("some", 0, False, ("b: failed (why)",)),
        ("some", 1, True, ("b: failed (why)",)),
        ("rest", 1, False, ("b: failed (why)", "c: no run")),  # over the whole fleet, not by wave
        ("rest", 2, True, ("b: failed (why)", "c: no run")),
    ],
)
def test_a_wave_goes_on_only_when_the_records_say_so(
    tmp_path: Path, wave: str, most: int, good: bool, lines: tuple[str, ...]
) -> None:
    verdict = judge_wave(fleet(tmp_path, max_failures=most), wave, STATES)
    assert (verdict.good, verdict.lines) == (good, lines)


def test_a_cluster_without_a_state_is_not_done(tmp_path: Path) -> None:
    assert judge_wave(fleet(tmp_path), "canary", {}).lines == ("canary: no run",)


@pytest.mark.parametrize("word", [DONE, TO_DO, NONE, RUNNING, CUT_OFF, APPLIED, CHANGED, NOT_NOW])
def test_what_did_not_fail_halts_nothing(tmp_path: Path, word: str) -> None:
    assert halted_by(fleet(tmp_path), {"a": State(word)}, "b") == []


@pytest.mark.parametrize("word", [FAILED, PARTLY, REFUSED, UNSOUND])
def test_failures_beyond_the_most_halt_all_other_clusters(tmp_path: Path, word: str) -> None:
    states = {"a": State(word), "b": State(DONE)}
    assert halted_by(fleet(tmp_path), states, "b") == ["a"]
    assert halted_by(fleet(tmp_path), states, "a") == []  # it is what is tried again
    assert halted_by(fleet(tmp_path, max_failures=1), states, "b") == []


def test_a_wave_has_soaked_from_the_end_of_its_last_run_on() -> None:
    runs = [fleet_run(), fleet_run(ended="2026-11-29T15:00:00.000+00:00"), fleet_run(ended="")]
    assert soaked_at(runs, 30) == datetime.fromisoformat("2026-11-29T15:30:00+00:00")
    assert soaked_at([], 30) is None


def test_the_last_change_begins_after_the_cluster_was_last_found_done() -> None:
    old, night, change = (
        fleet_run("done"),
        fleet_run(),
        [fleet_run(left=["x"]), fleet_run("failed"), fleet_run("done"), fleet_run()],
    )
    assert last_change(reversed([old, night, *change])) == change
    assert last_change(reversed([old, night, *change[:2]])) == change[:2]
    assert last_change(reversed([*change, fleet_run(at="20261130T"), fleet_run(at="20261201T")])) == [
        *change[:3],
        fleet_run(at="20261201T"),
    ]
    assert last_change([fleet_run()]) == [fleet_run()]
    night, later = fleet_run(left=["x"], at="20261130T"), fleet_run(left=["x"], at="20261201T")
    assert last_change([later, night, *reversed(change[:2])]) == [*change[:2], later]  # one and the same plan
    other = fleet_run(left=["x"], at="20261201T", plan=plan(digest="cd" * 32))
    assert last_change([other, night, *reversed(change[:2])]) == [*change[:2], night, other]
    assert last_change([]) == []
