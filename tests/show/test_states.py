"""The state of each change while a step is carried out, as a person watches it and as a log has it."""

from __future__ import annotations

import pytest

from fakes import FakeClock
from kubeharden.plan.event import Event
from kubeharden.plan.events import (
    Completed,
    Cordoned,
    Drained,
    Locked,
    ReadyAgain,
    Restarted,
    Result,
    Reverted,
    Started,
)
from kubeharden.redaction import Redactor
from kubeharden.show.live import LATEST, Progress
from kubeharden.show.states import States

N1, N2 = ("kubelet on n1", "kubelet", "n1", "kubelet"), ("kubelet on n2", "kubelet", "n2", "kubelet")
EVENTS: list[tuple[float, Event]] = [
    (0, Locked()),
    (0, Started(*N1)),
    (1, Cordoned("n1")),
    (4, Drained("n1")),
    (4, Started(*N2)),
    (7, Restarted(*N1, at="2026-11-01T08:30:06Z")),
    (19, ReadyAgain(*N1)),
]


def test_the_states_of_a_change_are_a_chain() -> None:
    states = States(4)
    said = [pair for at, event in EVENTS for pair in states.take(event, at)]
    assert [word for subject, word in said if subject == "kubelet on n1"] == [
        "begun", "cordoned", "drained", "restarted", "Ready, 12 s later"
    ]  # fmt: skip
    assert states.rows() == [
        ("kubelet on n1", "cordoned → drained → staging → restarted → Ready, 12 s later"),
        ("kubelet on n2", "staging"),
    ]
    assert states.count == "0 of 4"
    states.take(Completed(*N1), 20)
    states.take(Reverted(*N2, error="e"), 21)
    assert (states.rows(), states.count) == ([], "2 of 4")


def test_where_nobody_watches_each_state_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Redactor(), watched=False, total=4, clock=FakeClock())
    for _, event in EVENTS:
        progress(event)
    progress(Completed(*N1, seconds=19.0))
    progress(Result("kubelet on n1", "completed", "runs\nand more", 19.0))
    assert capsys.readouterr().out.splitlines() == [
        "kubelet on n1: begun",
        "kubelet on n1: cordoned",
        "kubelet on n1: drained",
        "kubelet on n2: begun",
        "kubelet on n1: restarted",
        "kubelet on n1: Ready, 0 s later",
        r"kubelet on n1: completed in 19.0 s: runs\nand more, 1 of 4",
    ]
    progress.end()
    assert "✔ completed" in capsys.readouterr().out


def test_where_somebody_watches_one_table_has_the_states(capsys: pytest.CaptureFixture[str]) -> None:
    progress = Progress(Redactor(), watched=True, total=4, clock=FakeClock())
    progress(Started(*N1))
    shown = capsys.readouterr().out
    assert "• running" in shown
    assert "staging; 0 of 4 are over" in shown


def test_while_a_long_step_goes_on_its_table_has_what_is_new_and_what_is_bad(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It is drawn anew at each event, so what it has must not grow with the step."""
    count = 2 * LATEST
    progress = Progress(Redactor(), watched=True, total=count, clock=FakeClock())
    for number in range(count):
        progress(Result(f"kubelet on n{number}", "failed" if number == 1 else "completed", "words"))
    *_, shown = capsys.readouterr().out.split("What ")
    assert sum(" on n" in line for line in shown.splitlines()) == LATEST + 1
    assert "✘ failed" in shown
    assert f"{count - LATEST - 1} earlier ones went well" in shown
    progress.end()
    assert sum(" on n" in line for line in capsys.readouterr().out.splitlines()) == count
