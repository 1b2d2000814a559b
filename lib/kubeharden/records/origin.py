"""The origin of what a record keeps: it must be of the plans of its run, whose digests the journal has."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.kube.manifests import without_server_parts
from kubeharden.plan import digest_of
from kubeharden.plan.events import Planned, Started
from kubeharden.records.folder import PLAN, PastRun
from kubeharden.records.kept import ABSENT, FILES, OBJECTS, Entry, KeptFile, name_of
from kubeharden.redaction import is_whole

Key = tuple[str, ...]


def strangers(past: PastRun) -> list[str]:
    """Return what is in a record and not of the run: a plan that it did not make, and entries of other changes."""
    digests = [event.digest for event in past.of(Planned)]
    plans = past.plans()
    odd = [f"{PLAN} is not a plan that this run made" for plan in plans if not _is_whole(plan, digests)][:1]
    known = {key for plan in plans if _is_whole(plan, digests) for key in _keys(plan)}
    # An earlier version kept the last plan only; of those before it, the journal has what was to be changed.
    there = [plan.get("digest") for plan in plans]
    gone = [event for event in past.of(Planned) if event.digest not in there]
    earlier = {(change.get("step"), change.get("subject")) for event in gone for change in event.changes}
    begun = {event.subject for event in past.of(Started)}
    entries: list[Entry] = [*past.files, *past.objects]
    for kept in entries:
        name, label = OBJECTS, kept.subject
        if isinstance(kept, KeptFile):
            name, label = FILES, f"{kept.path} on {kept.node}"
        try:
            planned = (kept.step, kept.subject) in earlier or _key_of(past, kept) in known
            why = "" if planned and kept.subject in begun else "is not in the plan of this run"
        except RecordError as error:
            why = str(error)
        odd += [f"{name}: {label} {why}"] if why else []
    return odd


def _is_whole(plan: Mapping[str, Any], digests: Sequence[str]) -> bool:
    """Return whether a plan is one that the run made, as far as redaction has left that to be told."""
    body = {key: value for key, value in plan.items() if key != "digest"}
    return plan.get("digest") in digests and (digest_of(body) == plan["digest"] or not is_whole(str(body)))


def _keys(plan: Mapping[str, Any]) -> Iterator[Key]:
    """Yield what a plan and a record have in common of each change: of a file, and of an object."""
    try:
        for change in plan["nodes"]:
            for file in change["files"]:
                yield _file_key({**change, **file})
        for change in plan["objects"]:
            after = ABSENT if change["action"] == "delete" else digest_of(change["manifest"])
            name = (str(change["step"]), str(change["action"]), name_of(change["manifest"]))
            yield from (name, (*name, str(change["before"]), after))
    except (KeyError, TypeError):  # it is not a plan
        return


def _key_of(past: PastRun, kept: Entry) -> Key:
    if isinstance(kept, KeptFile):
        return _file_key(vars(kept))
    sides = [past.object_content(kept, side) for side in ("before", "after")]
    name = (kept.step, kept.action, kept.name)
    if not is_whole(str(sides)):  # nothing of it can be written again
        return name
    return (*name, *(ABSENT if side is None else digest_of(without_server_parts(side)) for side in sides))


def _file_key(entry: Mapping[str, Any]) -> Key:
    names = ("step", "node", "service", "path", "before", "after", "mode", "owner", "group")
    return tuple(str(entry[name]) for name in names)
