"""Private. Judgement by records: what is to be done on a cluster, and whether the next wave may begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from kubeharden_fleet.fleet import Fleet

# What a cluster is, by its records.
NONE, RUNNING, TO_DO, CHANGED, APPLIED, DONE = "no run", "running", "to do", "plan changed", "applied", "done"
NOT_NOW, CUT_OFF, UNSOUND, REFUSED, FAILED, PARTLY = (
    "not now", "cut off", "unsound", "refused", "failed", "partly done",
)  # fmt: skip
# Of these, no more than ``max_failures`` may be there before another cluster is begun. What was cut off is continued.
HALTING = (UNSOUND, REFUSED, FAILED, PARTLY)
# Errors that say nothing of the cluster: another run has it, or the window has closed.
NO_FAULT = ("LockedError", "WindowError")
LONGEST_WHY = 300  # characters of what stands in a line of a table
_NOT_READY = re.compile(r"node not Ready for (\d+(?:\.\d+)?) s")


@dataclass(frozen=True)
class Seen:
    """A run as its folder has it.

    Attributes:
        run: its name, which begins with its time.
        record: as ``record.json`` has it, or as it would be sealed now.
        sealed: whether it bears a seal.
        running: whether it goes on.
        wrong: what is wrong with its seal or its folder, one sentence each.
    """

    run: str
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
    """A cluster's state.

    Attributes:
        word: one of those above.
        why: in a sentence; empty where the word says all.
        seen: the newest run; None without one.
    """

    word: str
    why: str = ""
    seen: Seen | None = None


def state_of(newest: Seen | None) -> State:
    """Return the state of a cluster, which its newest run says."""
    if newest is None:
        return State(NONE, "it has no run yet")
    if newest.running:
        return State(RUNNING, f"{newest.run} goes on", newest)
    if newest.wrong:
        return State(UNSOUND, "; ".join(newest.wrong), newest)
    if not newest.sealed or newest.record["result"] == "cut off":
        return State(CUT_OFF, f"{newest.run} was cut off: look and plan again to see what is left", newest)
    judge = _state_by_plan if newest.mode == "plan" else _state_by_apply
    word, why = judge(newest.record)
    return State(word, why, newest)


def _state_by_plan(record: Mapping[str, Any]) -> tuple[str, str]:
    if record["result"] != "planned":
        return FAILED, _error(record) or f"the run in mode plan is {record['result']}"
    if refused := record["plan"]["refused"]:
        return REFUSED, "; ".join(refused)
    left = record["not_done"]
    return (TO_DO, f"{len(left)} to do: {_first(left)}") if left else (DONE, "")


def _state_by_apply(record: Mapping[str, Any]) -> tuple[str, str]:
    if record["result"] in ("done", "nothing to do"):
        return APPLIED, ""
    kind = next((str(error.get("kind", "")) for error in reversed(record["errors"])), "")
    if kind == "ApprovalError" and record["plan"]["digest"] and not record["changes"]:
        return CHANGED, "its plan is not the one that was approved, and nothing was changed"
    if kind in NO_FAULT and not record["changes"]:
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
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_WHY else f"{line[:LONGEST_WHY]} …"


@dataclass(frozen=True)
class Verdict:
    """The verdict on a wave: whether the next one may begin, and a line for each cluster that is not done."""

    good: bool
    lines: tuple[str, ...]


def judge_wave(fleet: Fleet, wave: str, states: Mapping[str, State]) -> Verdict:
    """Judge a wave, and all before it: all their clusters except ``max_failures`` are done.

    Args:
        fleet: the fleet.
        wave: the name of the wave.
        states: by cluster; one that is missing has no run.
    """
    here = {name: states.get(name, State(NONE)) for name in fleet.up_to(wave)}
    left = {name: state for name, state in here.items() if state.word != DONE}
    lines = tuple(
        f"{name}: {state.word}{f' ({state.why})' if state.why else ''}" for name, state in left.items()
    )
    return Verdict(len(left) <= fleet.max_failures, lines)


def halted_by(fleet: Fleet, states: Mapping[str, State], beside: str) -> list[str]:
    """Return the clusters whose failures forbid to begin with another one; empty where it may begin.

    Args:
        fleet: the fleet.
        states: by cluster.
        beside: the cluster that is to begin; what it was before does not count.
    """
    failed = [name for name, state in states.items() if name != beside and state.word in HALTING]
    return failed if len(failed) > fleet.max_failures else []


def soaked_at(seen: Iterable[Seen], minutes: float) -> datetime | None:
    """Return from when on a wave with these newest runs has soaked; None where there is no run."""
    ends = [datetime.fromisoformat(str(each.record["ended"])) for each in seen if each.record.get("ended")]
    return max(ends) + timedelta(minutes=minutes) if ends else None


def last_change(newest_first: Iterable[Seen]) -> list[Seen]:
    """Return the runs of the last change of a cluster, oldest first: those since it was last found done before it.

    What was found done again afterwards, night after night, is left out, except for the newest.
    """
    runs: list[Seen] = []
    for seen in newest_first:
        if state_of(seen).word == DONE:
            if any(run.mode == "apply" or state_of(run).word != DONE for run in runs):
                break
            if runs:
                continue
        runs.append(seen)
    return runs[::-1]


def not_ready_seconds(runs: Iterable[Seen]) -> float | None:
    """Return for how long nodes were not Ready, in seconds, all runs and nodes together; None where none says it."""
    words = [str(change["words"]) for run in runs for change in run.record.get("changes", ())]
    found = [float(match[1]) for text in words for match in _NOT_READY.finditer(text)]
    return sum(found) if found else None
