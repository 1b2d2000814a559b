"""Private. Judgement by records: what is to be done on a cluster, and whether the next wave may begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kubeharden_fleet.fleet import Fleet

# What a cluster is, by its records. So far: what is left is for its next run by intent, as the plan that was carried
# out says; a level of pod security is announced by one run and enforced by the next.
NONE, RUNNING, TO_DO, CHANGED, APPLIED, SO_FAR, DONE = (
    "no run", "running", "to do", "plan changed", "applied", "done so far", "done",
)  # fmt: skip
NOT_NOW, CUT_OFF, UNSOUND, REFUSED, FAILED, PARTLY = (
    "not now", "cut off", "unsound", "refused", "failed", "partly done",
)  # fmt: skip
WELL = (DONE, SO_FAR)  # the next wave may begin
# Of these, no more than ``max_failures`` may be there before another cluster is begun. What was cut off is continued.
HALTING = (UNSOUND, REFUSED, FAILED, PARTLY)
# Errors that say nothing of the cluster: another run has it, or the window has closed.
NO_FAULT = ("LockedError", "WindowError")
_NEXT_LINE = re.compile(r"(?<=[^\s.:;,])\s*\n")  # behind a line that has no end of its own
LONGEST_WHY = 300  # characters of what stands in a line of a table


@dataclass(frozen=True)
class FleetRun:
    """A run as its folder has it.

    Attributes:
        name: begins with its time.
        record: as ``record.json`` has it, or as it would be sealed now.
        wrong: what is wrong with its seal or its folder, one sentence each.
    """

    name: str
    record: Mapping[str, Any] = field(default_factory=dict)
    sealed: bool = True
    running: bool = False
    wrong: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """The digest of its plan; empty without one."""
        return str(self.record.get("plan", {}).get("digest", ""))

    @property
    def mode(self) -> str:
        """Its mode: ``plan`` or ``apply``."""
        return str(self.record.get("mode", ""))


@dataclass(frozen=True)
class State:
    """A cluster's state."""

    word: str
    why: str = ""
    run: FleetRun | None = None


def state_of(newest: FleetRun | None, older: Iterable[FleetRun] = ()) -> State:
    """Return the state of a cluster, which its newest run says.

    The runs before it come the newest first; they are read as far as the last one in mode ``apply``.
    """
    if newest is None:
        return State(NONE, "it has no run yet")
    if newest.running:
        return State(RUNNING, f"{newest.name} goes on", newest)
    if newest.wrong:
        return State(UNSOUND, "; ".join(newest.wrong), newest)
    if not newest.sealed or newest.record["result"] == "cut off":
        return State(CUT_OFF, f"{newest.name} was cut off: look and plan again to see what is left", newest)
    if newest.mode == "plan":
        word, why = _state_by_plan(newest.record, older)
    else:
        word, why = _state_by_apply(newest.record)
    return State(word, why, newest)


def _state_by_plan(record: Mapping[str, Any], older: Iterable[FleetRun]) -> tuple[str, str]:
    if record["result"] != "planned":
        return FAILED, _error(record) or f"the run in mode plan is {record['result']}"
    if refused := record["plan"]["refused"]:
        passes = set(refused) <= set(record["plan"].get("not_yet", ()))
        return NOT_NOW if passes else REFUSED, "; ".join(refused)
    left = record["not_done"]
    if not left:
        return DONE, ""
    if {str(row["subject"]) for row in left} <= _for_the_next_run(older):
        return SO_FAR, f"{len(left)} for its next run: {_first(left)}"
    return TO_DO, f"{len(left)} to do: {_first(left)}"


def _for_the_next_run(older: Iterable[FleetRun]) -> set[str]:
    """Return what the last plan that was carried out leaves to the next run by intent."""
    applied = next((run for run in older if run.mode != "plan"), None)
    if applied is None or state_of(applied).word != APPLIED:
        return set()
    return set(applied.record["plan"].get("next_run", ()))


def _state_by_apply(record: Mapping[str, Any]) -> tuple[str, str]:
    if record["result"] in ("done", "nothing to do"):
        return APPLIED, ""
    kind = next((str(error.get("kind", "")) for error in reversed(record["errors"])), "")
    if kind == "ApprovalError" and record["plan"]["digest"] and not record["changes"]:
        return CHANGED, "its plan is not the one that was approved, and nothing was changed"
    # A window that closes lets a run end what it has in hand, and the rest is for the next time that it is open.
    if kind in NO_FAULT and not _failed_changes(record):
        return NOT_NOW, _error(record)
    if record["result"] == "partly done":
        return PARTLY, _first(record["not_done"]) or _failed_changes(record) or _error(record)
    return FAILED, _error(record) or f"the run is {record['result']}"


def _error(record: Mapping[str, Any]) -> str:
    return next((_short(str(error.get("message", ""))) for error in reversed(record["errors"])), "")


def _failed_changes(record: Mapping[str, Any]) -> str:
    return ", ".join(
        f"{c['subject']}: {c['result']}" for c in record["changes"] if c["result"] != "completed"
    )


def _first(rows: Sequence[Mapping[str, Any]]) -> str:
    names = [str(row["subject"]) for row in rows]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")  # noqa: PLR2004 - a line


def _short(text: str) -> str:
    line = " ".join(_NEXT_LINE.sub(". ", text.strip()).split())
    return line if len(line) <= LONGEST_WHY else f"{line[:LONGEST_WHY]} …"


@dataclass(frozen=True)
class WaveVerdict:
    """The verdict on a wave: whether the next one may begin, and a line for each cluster that is not done."""

    good: bool
    lines: tuple[str, ...]


def judge_wave(fleet: Fleet, wave: str, states: Mapping[str, State]) -> WaveVerdict:
    """Judge a wave, and all before it: all their clusters except ``max_failures`` are done, or done so far."""
    here = {name: states.get(name, State(NONE)) for name in fleet.up_to(wave)}
    left = {name: state for name, state in here.items() if state.word not in WELL}
    lines = tuple(
        f"{name}: {state.word}{f' ({state.why})' if state.why else ''}" for name, state in left.items()
    )
    return WaveVerdict(len(left) <= fleet.max_failures, lines)


def halted_by(fleet: Fleet, states: Mapping[str, State], beside: str) -> list[str]:
    """Return the clusters whose failures forbid to begin with another one; empty where it may begin.

    What the cluster that is to begin was before does not count.
    """
    failed = [name for name, state in states.items() if name != beside and state.word in HALTING]
    return failed if len(failed) > fleet.max_failures else []


def soaked_at(runs: Iterable[FleetRun], minutes: float) -> datetime | None:
    """Return from when on a wave with these newest runs has soaked; None where there is no run."""
    ends = [datetime.fromisoformat(str(each.record["ended"])) for each in runs if each.record.get("ended")]
    return max(ends) + timedelta(minutes=minutes) if ends else None


def last_change(newest_first: Iterable[FleetRun]) -> list[FleetRun]:
    """Return the runs of the last change of a cluster, oldest first: those since it was last found done before it.

    What was found again afterwards, night after night, is left out, except for the newest: that it is done, or one and
    the same plan.
    """
    runs: list[FleetRun] = []
    for run in newest_first:
        if state_of(run).word == DONE:
            if any(each.mode == "apply" or state_of(each).word != DONE for each in runs):
                break
            if runs:
                continue
        elif runs and _same_plan(run, runs[-1]):
            continue
        runs.append(run)
    return runs[::-1]


def _same_plan(one: FleetRun, other: FleetRun) -> bool:
    return all(state_of(run).word == TO_DO for run in (one, other)) and one.digest == other.digest
