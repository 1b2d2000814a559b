"""One document that says what a run was, made from its folder alone: ``record.json``.

Its form is ``record.schema.json``. Whatever a run was when it ended, or was cut off, there is a record of it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from kubeharden.plan import unified_diff
from kubeharden.records.folder import ABSENT, KeptFile, KeptObject, PastRun

VERSION = 1  # of the form; it grows with every change that a reader must know of
CUT_OFF = "unknown: the run was cut off"
# What can become of a change, as the journal says it.
OUTCOMES = ("completed", "failed", "reverted")


def build_record(past: PastRun) -> dict[str, Any]:
    """Everything that a run's folder says of it, as plain data of the form ``record.schema.json``.

    Raises:
        RecordError: a content that the folder names is not in it.
    """
    start = _last(past, "run started") or {}
    look, plan, proof = _last(past, "observed") or {}, _last(past, "planned") or {}, _last(past, "proved")
    changes = _changes(past)
    return {
        "version": VERSION,
        "run": past.run,
        "cluster": start.get("cluster", ""),
        "mode": start.get("mode", ""),
        "steps": start.get("steps", []),
        "result": result_of(past),
        "started": past.events[0]["time"] if past.events else "",
        "ended": past.events[-1]["time"] if past.events else "",
        "change": {
            "id": start.get("change_id", ""),
            "reason": start.get("reason", ""),
            "approver": (_last(past, "approved") or {}).get("approver", ""),
        },
        "approval": _without_own_keys(_last(past, "approved")),
        "who": start.get("who", {}),
        "kubernetes_user": start.get("kubernetes_user", ""),
        "logins": (_last(past, "checked") or {}).get("logins", {}),
        "versions": start.get("versions", {}),
        "api_server": look.get("api_server", ""),
        "systems": look.get("systems", {}),
        "components": look.get("components", {}),
        "components_after": (proof or {}).get("components", {}),
        "parameters": start.get("parameters", {}),
        "inventory": start.get("inventory", {}),
        "notebook": start.get("notebook"),
        "plan": {
            "digest": plan.get("digest", ""),
            "refused": plan.get("refused", []),
            "remarks": plan.get("remarks", []),
            "breaking": plan.get("breaking", []),
        },
        "changes": changes,
        "not_done": _not_done(past, changes),
        "proof": _without_own_keys(proof),
        "errors": [_without_own_keys(event) for event in past.of("error")],
        "journal": {
            "events": len(past.events),
            "problems": list(past.journal.problems),
            "torn": past.journal.torn,
        },
    }


def result_of(past: PastRun) -> str:
    """What became of the run as a whole, in a word or two; the schema has the list."""
    if past.running:
        return "running"
    end = _last(past, "finished")
    if end is None:
        return _unfinished(past)
    if end.get("mode") == "plan":
        return "planned"
    if end.get("not_carried_out") or unmended(past) or (_last(past, "proved") or {}).get("problems"):
        return "partly done"
    # A second plan in the same run knows nothing of what was carried out before it: the events do.
    return "done" if end.get("changed") or past.of("completed") else "nothing to do"


def unmended(past: PastRun) -> list[str]:
    """What failed, or was put back, and was not carried out later in the same run: objects, services on nodes."""
    last = {
        (event.get("step"), event.get("subject")): event["action"]
        for event in past.events
        if event["action"] in OUTCOMES
    }
    return [str(subject) for (_, subject), outcome in last.items() if outcome != "completed"]


def _unfinished(past: PastRun) -> str:
    """What ended a run before its end: an error in its last verb, somebody who closed it, or nobody knows what."""
    actions = [event["action"] for event in past.events]
    closed = actions[-1:] == ["abandoned"]
    before = actions[:-1] if closed else actions
    if before[-1:] == ["error"]:
        return "failed"
    return "abandoned" if closed else "cut off"


@cache
def record_schema() -> dict[str, Any]:
    """The JSON Schema (Draft 2020-12) of ``record.json``."""
    schema: dict[str, Any] = json.loads(
        (files(__package__) / "record.schema.json").read_text(encoding="utf-8")
    )
    return schema


def _changes(past: PastRun) -> list[dict[str, Any]]:
    """Everything that was begun, in its order, with what became of it and what it changed."""
    changes = []
    for begun, end in _pairs(past):
        change = {
            "subject": begun["subject"],
            "node": begun.get("node", ""),
            "service": begun.get("service", ""),
            "step": begun.get("step", ""),
            "started": begun["time"],
            "result": end["action"] if end else ("running" if past.running else CUT_OFF),
            "seconds": end.get("seconds") if end else None,
            "words": str(end.get("words") or end.get("error") or "") if end else "",
        }
        files_of = [file for file in past.files if _about(file, change)]
        objects_of = [item for item in past.objects if _same_object(item, change)]
        changes.append(
            {
                **change,
                "files": [_file(past, file) for file in files_of],
                "objects": [_object(past, item) for item in objects_of],
            }
        )
    return changes


def _pairs(past: PastRun) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Each ``started`` with the last event that says what became of it; None where nothing does.

    A subject may be started again in the same run, in another step or after a second look.
    """
    pairs: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
    open_at: dict[str, int] = {}
    for event in past.events:
        subject = event.get("subject")
        if not isinstance(subject, str):
            continue
        if event["action"] == "started":
            open_at[subject] = len(pairs)
            pairs.append((event, None))
        elif event["action"] in OUTCOMES and subject in open_at:
            place = open_at[subject]
            pairs[place] = (pairs[place][0], event)
    return pairs


def _about(file: KeptFile, change: Mapping[str, Any]) -> bool:
    same_step = change["step"] in ("", file.step)
    return same_step and change["subject"] == f"{file.service} on {file.node}"


def _same_object(item: KeptObject, change: Mapping[str, Any]) -> bool:
    return change["step"] in ("", item.step) and change["subject"] == item.name


def _file(past: PastRun, file: KeptFile) -> dict[str, Any]:
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


def _object(past: PastRun, item: KeptObject) -> dict[str, Any]:
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
    """What was planned last and not begun since, and why."""
    plan = _last(past, "planned")
    if plan is None:
        return []
    begun = {(change["step"], change["subject"]) for change in changes if change["started"] >= plan["time"]}
    why = _why(past)
    return [
        {"step": change["step"], "subject": change["subject"], "why": why}
        for change in plan.get("changes", ())
        if (change["step"], change["subject"]) not in begun and ("", change["subject"]) not in begun
    ]


def _why(past: PastRun) -> str:
    end, failed, errors = _last(past, "finished"), _last(past, "failed"), past.of("error")
    if end is not None:
        return str(end.get("why", ""))
    if past.running:
        return "the run goes on"
    if failed is not None:
        return f"{failed.get('subject', 'something')} failed before"
    if errors:
        return f"an error ended the run before: {errors[-1].get('message', '')}"
    return "the run was cut off before"


def _last(past: PastRun, action: str) -> dict[str, Any] | None:
    found = past.of(action)
    return found[-1] if found else None


def _without_own_keys(event: Mapping[str, Any] | None) -> dict[str, Any] | None:
    own = ("action", "run", "previous", "seq")
    return None if event is None else {key: value for key, value in event.items() if key not in own}
