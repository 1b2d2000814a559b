"""One document that says what a run was, made from its folder alone: ``record.json``.

Its form is ``record.schema.json``. Whatever a run was when it ended, or was cut off, there is a record of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from importlib.resources import files as resources
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.inputs.window import Window
from kubeharden.plan import unified_diff
from kubeharden.plan.event import Event
from kubeharden.plan.events import (
    OUTCOMES,
    Abandoned,
    Approved,
    Checked,
    Completed,
    Error,
    Failed,
    Finished,
    Judged,
    Observed,
    Planned,
    Proved,
    Reverted,
    RunStarted,
    Started,
)
from kubeharden.records.entries import ABSENT, Entry, FileEntry, ObjectEntry
from kubeharden.records.folder import PastRun
from kubeharden.records.reader import one_line

Outcome = Completed | Failed | Reverted
VERSION = 2  # of the form; it grows with every change that a reader must know of
CUT_OFF = "unknown: the run was cut off"


def build_record(past: PastRun) -> dict[str, Any]:
    """Return everything that a run's folder says of it, as plain data of the form ``record.schema.json``.

    Raises:
        RecordError: a content that the folder names is not in it.
    """
    start = past.last(RunStarted) or RunStarted()
    observed, plan = past.last(Observed) or Observed(), past.last(Planned) or Planned()
    changes = _changes(past)
    return {
        "version": VERSION,
        "run": past.run,
        "cluster": start.cluster,
        "mode": start.mode,
        "steps": list(start.steps),
        "result": result_of(past),
        "started": past.started,
        "ended": past.ended,
        "change": {
            "id": start.change_id,
            "reason": start.reason,
            "approver": (past.last(Approved) or Approved()).approver,
            **_change_sample(start.change or {}, changes),
        },
        "approval": next(reversed(_lines(past, Approved)), None),
        "who": start.who,
        "kubernetes_user": start.kubernetes_user,
        "logins": (past.last(Checked) or Checked()).logins,
        "versions": start.versions,
        "api_server": observed.api_server,
        "systems": observed.systems,
        "components": observed.components,
        "components_after": (past.last(Proved) or Proved()).components,
        "parameters": start.parameters,
        "inventory": start.inventory,
        "notebook": start.notebook,
        "plan": {
            "digest": plan.digest,
            "refused": list(plan.refused),
            "not_yet": [text for text in plan.refused if text in observed.not_yet],
            "remarks": list(plan.remarks),
            "breaking": list(plan.breaking),
            "next_run": list(plan.next_run),
        },
        "readiness": _readiness(past.last(Judged)),
        "changes": changes,
        "not_done": _not_done(past, changes),
        "proof": next(reversed(_lines(past, Proved)), None),
        "errors": _lines(past, Error),
        "journal": {
            "events": len(past.journal.lines),
            "problems": list(past.journal.problems),
            "torn": past.journal.torn,
        },
    }


def _readiness(judged: Judged | None) -> dict[str, Any] | None:
    if judged is None or judged.stops is None:
        return None
    return {"target_release": judged.target_release, "findings": judged.findings, "stops": judged.stops}


def _change_sample(change: Mapping[str, Any], changes: list[dict[str, Any]]) -> dict[str, Any]:
    """Return what those who audit a change sample; ``outside`` counts the changes that began outside its window.

    Raises:
        RecordError: the window is not one, or the time of a change.
    """
    window = change.get("window")
    if window is not None:
        try:
            planned = Window.parse(f"{window['start']}/{window['end']}")
            outside = [c for c in changes if not planned.holds(datetime.fromisoformat(c["started"]))]
        except (KeyError, TypeError, ValueError):
            raise RecordError(
                "journal.jsonl: the planned window, or the time of a change, is not one"
            ) from None
        window = {"start": planned.start.isoformat(), "end": planned.end.isoformat(), "outside": len(outside)}
    return {
        "requester": change.get("requester", ""),
        "kind": change.get("kind", ""),
        "risk": change.get("risk", ""),
        "window": window,
        "test": change.get("test"),
        "back_out": change.get("back_out"),
    }


def result_of(past: PastRun) -> str:
    """Return the result of the run as a whole, in a word or two; the schema has the list."""
    if past.running:
        return "running" if any(end is None for _, end in _pairs(past)) else "open"
    end = past.last(Finished)
    if end is None:
        return _unfinished(past)
    if end.mode == "plan":
        return "planned"
    # A second plan in the same run knows nothing of what was carried out before it: the events do.
    is_changed = bool(end.changed or past.of(Completed))
    failed = unrepaired(past)
    if failed and not is_changed:
        return "failed"
    left = end.not_carried_out or (past.last(Planned) or Planned()).left_out
    if left or failed or (past.last(Proved) or Proved()).problems:
        return "partly done"
    return "done" if is_changed else "nothing to do"


def unrepaired(past: PastRun) -> list[str]:
    """Return the subjects that failed or were reverted, and were not carried out later in the same run."""
    last = {(event.step, event.subject): event for event in past.events if isinstance(event, OUTCOMES)}
    return [subject for (_, subject), outcome in last.items() if not isinstance(outcome, Completed)]


def _unfinished(past: PastRun) -> str:
    """Return what ended a run before its end: an error in its last verb, somebody who closed it, or nothing known."""
    actions = [line["action"] for line in past.journal.lines]
    closed = actions[-1:] == [Abandoned.action]
    before = actions[:-1] if closed else actions
    if before[-1:] == [Error.action]:
        return "failed"
    return "abandoned" if closed else "cut off"


@cache
def record_schema() -> dict[str, Any]:
    """Return the JSON Schema (Draft 2020-12) of ``record.json``."""
    schema: dict[str, Any] = json.loads(
        (resources(__package__) / "record.schema.json").read_text(encoding="utf-8")
    )
    return schema


def check_form(record: Mapping[str, Any]) -> None:
    """Refuse, with a RecordError, a record without the form of the schema, so that its readers need not ask."""
    from jsonschema import Draft202012Validator  # noqa: PLC0415 - a list of runs needs no schema

    wrong = next(Draft202012Validator(record_schema()).iter_errors(record), None)
    if wrong is not None:
        raise RecordError(f"record.json: {one_line(wrong.json_path)} is not what the form of a record says")


def _changes(past: PastRun) -> list[dict[str, Any]]:
    """Return everything that was started, in its order, with its outcome and what it changed."""
    entries: list[Entry] = [*past.files, *past.objects]
    changes = []
    for start, end in _pairs(past):
        change = {
            "subject": start.subject,
            "node": start.node,
            "service": start.service,
            "step": start.step,
            "started": start.time,
            "result": end.action if end else ("running" if past.running else CUT_OFF),
            "seconds": end.seconds if end else None,
            "words": "" if end is None else end.words if isinstance(end, Completed) else end.error,
            "not_ready": end.not_ready if isinstance(end, Completed) else None,
        }
        own = [e for e in entries if e.subject == start.subject and start.step in ("", e.step)]
        files = [_file(past, entry) for entry in own if isinstance(entry, FileEntry)]
        objects = [_object(past, entry) for entry in own if isinstance(entry, ObjectEntry)]
        changes.append({**change, "files": files, "objects": objects})
    return changes


def _pairs(past: PastRun) -> list[tuple[Started, Outcome | None]]:
    """Return each start with the last outcome of it; None where there is none.

    A subject may be started again in the same run, in another step or after a second look.
    """
    pairs: list[tuple[Started, Outcome | None]] = []
    open_at: dict[str, int] = {}
    for event in past.events:
        if isinstance(event, Started):
            open_at[event.subject] = len(pairs)
            pairs.append((event, None))
        elif isinstance(event, OUTCOMES) and event.subject in open_at:
            place = open_at[event.subject]
            pairs[place] = (pairs[place][0], event)
    return pairs


def _file(past: PastRun, file: FileEntry) -> dict[str, Any]:
    before, after = (
        "" if digest == ABSENT else past.content(file.node, digest) for digest in (file.before, file.after)
    )
    return {
        "path": file.path,
        "mode": file.mode,
        "owner": file.owner,
        "group": file.group,
        "before": file.before,
        "after": file.after,
        "redacted": file.redacted,
        "diff": unified_diff(file.path, before, after),
    }


def _object(past: PastRun, item: ObjectEntry) -> dict[str, Any]:
    return {
        "action": item.action,
        "before": item.before,
        "after": item.after,
        "redacted": item.redacted,
        "diff": unified_diff(
            item.name, _text(past.object_content(item, "before")), _text(past.object_content(item, "after"))
        ),
    }


def _text(content: Mapping[str, Any] | None) -> str:
    return "" if content is None else json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _not_done(past: PastRun, changes: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return what was planned last and not started since, and what was refused, and why."""
    plan = past.last(Planned)
    if plan is None:
        return []
    started = {(change["step"], change["subject"]) for change in changes if change["started"] >= plan.time}
    why = _why(past)
    planned = [(change.get("step", ""), change.get("subject", "")) for change in plan.changes]
    left = [
        {"step": step, "subject": subject, "why": why}
        for step, subject in planned
        if not {(step, subject), ("", subject)} & started
    ]
    names = ("step", "subject", "why")
    refused = [{name: row.get(name, "") for name in names} for row in (*plan.left_out, *plan.stopping)]
    return [*left, *(row for number, row in enumerate(refused) if row not in refused[:number])]


def _why(past: PastRun) -> str:
    end, failed, error = past.last(Finished), past.last(Failed), past.last(Error)
    if end is not None:
        return end.why
    if past.running:
        return "the run goes on"
    if failed is not None:
        return f"{failed.subject or 'something'} failed before"
    if error is not None:
        # Beside each change: the whole message, which may be long, is among the errors.
        sentence = re.split(r"[.:]?\n|\. ", error.message)[0]
        return f"an error ended the run before: {error.kind}: {sentence}"
    return "the run was cut off before"


def _lines(past: PastRun, kind: type[Event]) -> list[dict[str, Any]]:
    """Return the lines of a kind of event as the journal has them, without its own keys but the time."""
    own = ("action", "run", "previous", "seq")
    return [
        {key: value for key, value in line.items() if key not in own}
        for line in past.journal.lines
        if line["action"] == kind.action
    ]
