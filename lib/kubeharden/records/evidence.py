"""Evidence for a record that is about to be used: a seal by somebody whose signature counts, or nothing.

Whatever it is, what a record keeps must be of the plans of its run, whose digests the journal has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.kube.manifests import without_server_parts
from kubeharden.plan import digest_of
from kubeharden.plan.events import Planned, Started
from kubeharden.records.archive import SIGNATURE, is_sealed
from kubeharden.records.entries import ABSENT, FILES, OBJECTS, Entry, FileEntry, name_of
from kubeharden.records.folder import DOCUMENTS, PLAN, PastRun
from kubeharden.records.reader import name_list, read
from kubeharden.records.signature import if_known, named_signers, signer_within
from kubeharden.records.verify import verify
from kubeharden.redaction import is_whole

Key = tuple[str, ...]


@dataclass(frozen=True)
class Evidence:
    """The evidence for a record."""

    vouched: bool  # somebody whose signature counts has sealed it, and it is as it was then
    words: str  # what is known of it, as a sentence without its subject


def evidence_of(past: PastRun, signers: str = "") -> Evidence:
    """Return what vouches for a record.

    Args:
        signers: whose signatures count: a public key or a file of allowed signers; empty as for ``verify``.

    Raises:
        RecordError: the record was altered, or bears a seal that does not hold.
        ParameterError: there is no file ``signers``.
    """
    if wrong := past.problems or foreign_parts(past):
        raise RecordError(f"{past.run} was altered, and nothing in it counts: {'; '.join(wrong)}")
    if not is_sealed(past.folder):
        return Evidence(vouched=False, words="is not sealed: nothing vouches for what is in it")
    with (
        if_known(named_signers(signers), named=bool(signers)) as chosen,
        # Without a key to compare with, the seal must hold all the same, by the key that it brings.
        nullcontext(chosen) if chosen else signer_within(read(past.folder, SIGNATURE), SIGNATURE) as known,
    ):
        verdict = verify(past.folder, known, oldest=past.run)
    if verdict.wrong:
        raise RecordError(
            f"the seal of {past.run} does not hold: {'; '.join(verdict.wrong)}. Whose signatures count is "
            f"{known.words or 'not known'}; nothing was touched"
        )
    other = [name for name in DOCUMENTS if past.digests.get(name) != verdict.files.get(name)]
    if other:
        raise RecordError(f"{past.run}: {name_list(other)} was exchanged while the record was read")
    if chosen is None:
        words = f"is sealed with {verdict.key}, and nobody says whether that key counts (parameter signers)"
        return Evidence(vouched=False, words=words)
    return Evidence(
        vouched=True, words=f"is as {verdict.signer} sealed it on {verdict.sealed} ({verdict.key})"
    )


def foreign_parts(past: PastRun) -> list[str]:
    """Return what is in a record and not of the run: a plan that it did not make, and entries of other changes."""
    digests = [event.digest for event in past.of(Planned)]
    plans = past.plans()
    foreign = [f"{PLAN} is not a plan that this run made" for plan in plans if not _is_whole(plan, digests)][
        :1
    ]
    known = {key for plan in plans if _is_whole(plan, digests) for key in _keys(plan)}
    # An earlier version kept the last plan only; of those before it, the journal has what was to be changed.
    present = [plan.get("digest") for plan in plans]
    absent = [event for event in past.of(Planned) if event.digest not in present]
    earlier = {(change.get("step"), change.get("subject")) for event in absent for change in event.changes}
    started = {event.subject for event in past.of(Started)}
    entries: list[Entry] = [*past.files, *past.objects]
    for entry in entries:
        name, label = OBJECTS, entry.subject
        if isinstance(entry, FileEntry):
            name, label = FILES, f"{entry.path} on {entry.node}"
        try:
            planned = (entry.step, entry.subject) in earlier or _key_of(past, entry) in known
            why = "" if planned and entry.subject in started else "is not in the plan of this run"
        except RecordError as error:
            why = str(error)
        foreign += [f"{name}: {label} {why}"] if why else []
    return foreign


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


def _key_of(past: PastRun, entry: Entry) -> Key:
    if isinstance(entry, FileEntry):
        return _file_key(vars(entry))
    sides = [past.object_content(entry, side) for side in ("before", "after")]
    name = (entry.step, entry.action, entry.name)
    if not is_whole(str(sides)):  # nothing of it can be written again
        return name
    return (*name, *(ABSENT if side is None else digest_of(without_server_parts(side)) for side in sides))


def _file_key(entry: Mapping[str, Any]) -> Key:
    names = ("step", "node", "service", "path", "before", "after", "mode", "owner", "group")
    return tuple(str(entry[name]) for name in names)
