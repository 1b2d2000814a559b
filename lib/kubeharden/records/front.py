"""The first page of a record as plain data: who, what, why, with what result, and what became of each node. Pure.

It is made from ``record.json`` alone, whichever version wrote it. Pages, and ``kubeharden show``, show it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from kubeharden.inputs.window import Window
from kubeharden.plan import node_of_subject

# What an auditor samples of a change, by its key in a record.
SAMPLED = {
    "kind": "kind of change", "risk": "risk", "requester": "requester", "window": "planned window",
    "test": "test evidence", "back_out": "back-out",
}  # fmt: skip
NOTHING = "– (none given)"
# What became of a step on a node, the worst first, with a sign for who cannot tell colours.
FAILED, REVERTED, UNKNOWN, RUNNING, LEFT, DONE, NONE = (
    "failed", "reverted", "unknown", "running", "not carried out", "completed", "nothing to do",
)  # fmt: skip
SIGNS = {FAILED: "✘", REVERTED: "↩", UNKNOWN: "?", RUNNING: "…", LEFT: "–", DONE: "✔", NONE: "·"}
GOOD, BAD, OPEN = "good", "bad", "open"
RESULTS = {
    "done": GOOD,
    "nothing to do": GOOD,
    "planned": OPEN,
    "running": OPEN,
    "open": OPEN,
    "partly done": OPEN,
}
RESULT_SIGNS = {GOOD: "✔", BAD: "✘", OPEN: "•"}
MOST_ROWS = 24  # of the grid; where there are more nodes, those with the same cells share a row
# In the words of a change, where a record is from before it had a field for it.
_NOT_READY = re.compile(r"; node not Ready for (\d+(?:\.\d+)?) s")
_OBJECTS = "API objects"
# Errors that may say no more than that an earlier one has left something undone.
_CAME_OF_IT = ("ProofError", "KubehardenError")


@dataclass(frozen=True)
class ChangeRow:
    """One row of the grid."""

    name: str  # the node, or the nodes that share the row
    states: tuple[str, ...]  # what became of each step there; a key of ``SIGNS``
    counts: tuple[int, ...]  # how many services or objects that is the state of
    # The seconds that the node was not Ready, the longest of several; None where nobody counted them.
    not_ready: float | None = None
    nodes: int = 1  # how many nodes share this row

    def cells(self) -> list[str]:
        """Return the states in words, each with its sign, and with its number where several have it."""
        return [
            f"{SIGNS[state]} {state}" + (f" ({count})" if count > 1 else "")
            for state, count in zip(self.states, self.counts, strict=True)
        ]


@dataclass(frozen=True)
class Front:
    """The first page of a record."""

    run: str
    # As ``summary.result_of`` says it, or what was judged; and ``kind``, which is ``good``, ``bad`` or ``open``.
    result: str
    kind: str
    rows: tuple[tuple[str, str], ...]  # name and value of everything that takes one line
    steps: tuple[str, ...]
    grid: tuple[ChangeRow, ...]

    @property
    def headline(self) -> str:
        """The result with its sign."""
        return f"{RESULT_SIGNS[self.kind]} {self.result}"


def front_of(record: Mapping[str, Any]) -> Front:
    """Return the first page of a record, which has the form of ``record.schema.json``."""
    steps = tuple(dict.fromkeys((*record["steps"], *(change["step"] for change in record["changes"]))))
    result, kind = record["result"], RESULTS.get(record["result"], BAD)
    # A run that only judged has planned nothing: what it found is its result.
    if (judged := record.get("readiness")) and result == "planned":
        result, kind = (
            readiness_words(judged["target_release"], judged["stops"]),
            OPEN if judged["stops"] else GOOD,
        )
    return Front(
        run=record["run"],
        result=result,
        kind=kind,
        rows=_rows(record),
        steps=steps,
        grid=tuple(_few(_grid(record, steps))) if steps else (),
    )


def readiness_words(target: str, stops: int) -> str:
    """Return what stands between a cluster and a release, in a sentence."""
    if not stops:
        return f"On the way to {target}, nothing is known that would not start"
    places = "in one place" if stops == 1 else f"in {stops} places"
    return f"On the way to {target}, something would not start {places}"


def not_ready_of(change: Mapping[str, Any]) -> float | None:
    """Return for how many seconds the node of a change of a record was not Ready; None where that was not watched."""
    seconds: float | None = change.get("not_ready")
    if seconds is None and (match := _NOT_READY.search(change["words"])):
        return float(match[1])
    return seconds


def _rows(record: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    change, plan = record["change"], record["plan"]
    keys = sorted({login["key"] for login in record["logins"].values() if login["key"]})
    rows = (
        ("Change", " · ".join(filter(None, (change["id"], change.get("kind")))) or NOTHING),
        ("Reason", change["reason"] or NOTHING),
        ("Risk", change.get("risk")),
        ("Requested by", change.get("requester")),
        ("Carried out by", _who(record["who"] or {})),
        ("Kubernetes user", record["kubernetes_user"]),
        ("SSH keys used", ", ".join(keys) or "–"),
        ("Approved by", _approval(record)),
        ("From, to (UTC)", f"{_second(record['started'])} to {_second(record['ended'])}"),
        ("Planned window", change.get("window") and _window(change["window"], record["changes"])),
        ("Tried before", change.get("test") and evidence_words(change["test"])),
        ("Back-out", change.get("back_out") and _back_out(change["back_out"])),
        ("Not given", ", ".join(_not_given(record))),
        ("Cluster", f"{record['cluster']}, API server {record['api_server'] or '?'}"),
        ("Mode, steps", f"{record['mode']}: {', '.join(record['steps']) or '–'}"),
        ("Plan", plan["digest"] or "–"),
        ("Refused", "; ".join(plan["refused"])),
        ("Error", _error(record)),
        ("kubeharden", _versions(record["versions"] or {})),
    )
    return tuple((name, text) for name, text in rows if text)


def _error(record: Mapping[str, Any]) -> str:
    """Return the words of what went wrong: of the change that failed, where the last error only came of it."""
    if not record["errors"]:
        return ""
    last = record["errors"][-1]
    if last["kind"] in _CAME_OF_IT:
        results = {(change["step"], change["subject"]): change for change in record["changes"]}
        failed = [change for change in results.values() if change["result"] in (FAILED, REVERTED)]
        if failed:
            more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
            return f"{failed[0]['subject']}: {failed[0]['words']}{more}"
    return str(last["message"])


def _not_given(record: Mapping[str, Any]) -> Iterator[str]:
    """Yield what an auditor samples of a change and this record does not have; nothing of a run that only looks."""
    change = record["change"]
    if record["mode"] == "apply":
        yield from (words for name, words in SAMPLED.items() if name in change and not change[name])


def _who(who: Mapping[str, Any]) -> str:
    before = f" ({who['sudo_user']} before sudo)" if who.get("sudo_user") else ""
    return f"{who.get('login', '?')} (uid {who.get('uid', '?')}) on {who.get('host', '?')}{before}"


def _approval(record: Mapping[str, Any]) -> str:
    approval = record["approval"]
    if approval is None:
        return "– (nobody)"
    if approval["key"]:
        return f"{approval['approver']}, who signed the plan with {approval['key']}"
    return f"{approval['approver'] or 'nobody who is named'}, as the run was told, by the digest of the plan"


def _window(window: Mapping[str, Any], changes: Sequence[Mapping[str, Any]]) -> str:
    planned = f"{window['start']}/{window['end']}"
    with suppress(ValueError):  # of a record that somebody else made
        planned = str(Window.parse(planned))
    if not changes:
        return f"{planned}; nothing was changed"
    if window["outside"]:
        return f"{planned}; ✘ {window['outside']} of {len(changes)} changes began outside it"
    return f"{planned}; ✔ every change began in it"


def evidence_words(evidence: Mapping[str, Any]) -> str:
    """Return what is known of a run that serves as evidence of a test."""
    return (
        f"{evidence['run']} on {evidence['cluster']}: {evidence['result']}; sealed {evidence['sealed']}, record "
        f"{evidence['record']}"
    )


def _back_out(back_out: Mapping[str, Any]) -> str:
    result = f"✔ tried: {evidence_words(back_out['tried'])}" if back_out["tried"] else "not tried before"
    return "; ".join(filter(None, (back_out["words"], result)))


def _versions(versions: Mapping[str, Any]) -> str:
    commit = f", commit {versions['commit'][:12]}" if versions.get("commit") else ""
    dirty = ", changed since" if versions.get("dirty") else ""
    return f"{versions.get('kubeharden', '?')}{commit}{dirty}; Python {versions.get('python', '?')}"


def _grid(record: Mapping[str, Any], steps: Sequence[str]) -> Iterator[ChangeRow]:
    """Yield a row for each node, and the last one for the objects of the API, where there were any."""
    states_at: dict[tuple[str, str], list[str]] = {}
    seconds: dict[str, float] = {}
    for change in record["changes"]:
        node = change["node"] or node_of_subject(change["subject"])
        states_at.setdefault((node or _OBJECTS, change["step"]), []).append(_state(change["result"]))
        if (not_ready := not_ready_of(change)) is not None:
            seconds[node] = seconds.get(node, 0.0) + not_ready
    for left in (
        row for row in record["not_done"] if row["step"]
    ):  # else it is the whole plan that is refused
        node = node_of_subject(left["subject"])
        states_at.setdefault((node or _OBJECTS, left["step"]), []).append(LEFT)
    nodes = dict.fromkeys((*record["systems"], *(node for node, _ in states_at if node != _OBJECTS)))
    for node in (*nodes, *([_OBJECTS] if any(place == _OBJECTS for place, _ in states_at) else [])):
        states = [_worst(states_at.get((node, step), ())) for step in steps]
        yield ChangeRow(
            node, tuple(state for state, _ in states), tuple(count for _, count in states), seconds.get(node)
        )


def _state(result: str) -> str:
    return result if result in SIGNS else UNKNOWN


def _worst(states: Sequence[str]) -> tuple[str, int]:
    """Return the worst state, and how many have it."""
    worst = next((state for state in SIGNS if state in states), NONE)
    return worst, max(1, states.count(worst))


def _few(rows: Iterable[ChangeRow]) -> list[ChangeRow]:
    """Return the rows, or one for all those with the same cells, where there are too many."""
    whole = list(rows)
    if len(whole) <= MOST_ROWS:
        return whole
    groups: dict[tuple[tuple[str, ...], tuple[int, ...]], list[ChangeRow]] = {}
    for row in whole:
        groups.setdefault((row.states, row.counts), []).append(row)
    return [group[0] if len(group) == 1 else _share(group) for group in groups.values()]


def _share(group: Sequence[ChangeRow]) -> ChangeRow:
    longest = max((row.not_ready for row in group if row.not_ready is not None), default=None)
    name = f"{group[0].name} … {group[-1].name} ({len(group)})"
    return ChangeRow(name, group[0].states, group[0].counts, longest, len(group))


def _second(time: str) -> str:
    return time[:19].replace("T", " ")
