"""Verification of sealed records. Works with the folder and a public key alone: no cluster, no Jupyter."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.inputs.sources import REHEARSAL
from kubeharden.plan import sha256
from kubeharden.plan.events import RunStarted
from kubeharden.records.archive import (
    RECORD,
    RUN_NAME,
    SIGNATURE,
    Seal,
    alterations,
    is_sealed,
    own_approval,
    parse_record,
    read_record,
    read_seal,
    runs_in,
    time_problem,
)
from kubeharden.records.journal import JOURNAL, read_journal
from kubeharden.records.reader import digest, is_folder, is_there, name_list, one_line, read
from kubeharden.records.sign_off_form import judge_sign_off
from kubeharden.records.signature import Signers, key_in, signer_of, ssh_time
from kubeharden.records.stamp import judge_stamp
from kubeharden.records.timestamp import MOST_APART


@dataclass(frozen=True)
class Verdict:
    """The verdict on one run."""

    folder: Path
    sealed: str = ""  # when it was sealed, UTC; empty if it was not
    # Whose signature it bears, as the allowed signers call them; empty if nobody's that counts.
    signer: str = ""
    key: str = ""  # the key that the record says it was signed with
    wrong: tuple[str, ...] = ()  # what is wrong, one sentence each
    notes: tuple[str, ...] = ()  # what could not be looked at, and why
    # The SHA-256 of each file as its seal has it, by path.
    files: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)
    stamped: str = ""  # the time that a time-stamp authority vouches for, UTC; empty without one
    trusted: bool = False  # the person who verifies has named the certificates that this time is held against
    signed_off: str = ""  # who has signed off its result, and what they said; empty if nobody has
    second: str = ""  # the signer of that, as the allowed signers call them; empty if nobody's that counts
    # It is a rehearsal that nobody has sealed: there is nothing to vouch for, and nothing wrong.
    rehearsal: bool = False

    @property
    def good(self) -> bool:
        """True if it is sealed, signed by somebody who may, and unaltered."""
        return not self.wrong and not self.rehearsal


def verify(
    folder: Path, signers: Signers, oldest: str = "", *, alone: bool = True, ca: bytes | None = None
) -> Verdict:
    """Hold one run against its seal, and against the run that was sealed before it, where that is here.

    Args:
        oldest: name of the oldest run that is kept; that those before it are gone is not fault then.
        alone: the run before it may be somewhere else, if no run lies beside it: somebody was handed this one.
        ca: the certificates of time-stamp authorities that count (PEM); None: those that lie in the record.

    Raises:
        RecordError: ssh-keygen cannot be run.
    """
    if not is_folder(folder):
        if is_there(folder.parent, folder.name):
            return Verdict(folder, sealed="?", wrong=("is a link, and not the folder of a run itself",))
        return Verdict(folder, wrong=("there is no such folder",))
    if not is_sealed(folder):
        return _unsealed(folder)
    try:
        record, signature = read(folder, RECORD), read(folder, SIGNATURE)
        content = parse_record(record)
        seal = read_seal(content)
    except RecordError as error:
        return Verdict(folder, sealed="?", wrong=(str(error),))
    wrong = alterations(folder, seal)
    signer = ""
    try:
        signer = signer_of(RECORD, record, signature, signers, ssh_time(seal.sealed))
        made_with = key_in(RECORD, signature)
        if made_with != seal.key:
            wrong.append(f"{SIGNATURE}: was made with {made_with}, and {RECORD} says {one_line(seal.key)}")
    except RecordError as error:
        wrong.append(str(error))
    previous, broken, notes = (
        (None, [], []) if seal.run == oldest else _predecessor(folder, seal, alone=alone)
    )
    wrong.append(time_problem(seal, read_journal(folder / JOURNAL), previous))
    wrong.append(_in_future(seal))
    wrong.append(own_approval(content, seal.key))
    if not seal.notebook:
        notes.append("it was sealed without its notebook")
    stamp = judge_stamp(folder, seal, signature, ca)
    signed = judge_sign_off(folder, record, seal, signers)
    evidence_wrong, evidence_notes = _judge_evidence(folder, content)
    return Verdict(
        folder=folder,
        sealed=seal.sealed,
        signer=signer,
        key=one_line(seal.key),
        wrong=tuple(filter(None, (*wrong, *broken, *stamp.wrong, *signed.wrong, *evidence_wrong))),
        notes=(*notes, *stamp.notes, *signed.notes, *evidence_notes),
        files=seal.files,
        stamped=stamp.at,
        trusted=bool(stamp.at) and ca is not None,
        signed_off=signed.words,
        second=signed.signer,
    )


def verify_folder(
    parent: Path, signers: Signers, oldest: str = "", *, ca: bytes | None = None
) -> list[Verdict]:
    """Verify every run in a folder of runs, and that the chain over them has no gap and no fork.

    Args:
        oldest: name of the oldest run that is kept; that those before it are gone is not fault then.
        ca: as for ``verify``.
    """
    runs = runs_in(parent)
    links = _links(runs)
    return [_with_chain(verify(run, signers, oldest, alone=False, ca=ca), links, oldest) for run in runs]


def verify_sealed(
    runs: Iterable[Path], signers: Signers, oldest: str, *, ca: bytes | None
) -> dict[str, Verdict]:
    """Return the verdict on each sealed run, by its name on one line, without the chain over them; see ``verify``."""
    sealed = filter(is_sealed, runs)
    return {one_line(run.name): verify(run, signers, oldest, alone=False, ca=ca) for run in sealed}


def _in_future(seal: Seal) -> str:
    """Return what is wrong with a seal of a time to come: a key would count that does not count yet."""
    now = datetime.now(UTC)
    if datetime.fromisoformat(seal.sealed) <= now + MOST_APART:
        return ""
    return f"{RECORD}: was sealed at {seal.sealed}, and by the clock of this machine it is {now:%Y-%m-%dT%H:%M:%SZ}"


def _with_chain(verdict: Verdict, links: dict[str, Seal], oldest: str) -> Verdict:
    """Return the verdict with what the runs beside it add to it."""
    seal = links.get(verdict.folder.name)
    if seal is None:
        return verdict
    wrong = list(verdict.wrong)
    twins = sorted(run for run, other in links.items() if other.number == seal.number and run != seal.run)
    if twins:
        wrong.append(f"the chain forks: {name_list(twins)} has the number {seal.number} as well")
    lost = [name for name in seal.unsealed if not is_folder(verdict.folder.parent / name) and name >= oldest]
    wrong += [
        f"{one_line(name)}: lay beside it, not sealed, when this run was sealed, and is gone" for name in lost
    ]
    return replace(verdict, wrong=tuple(wrong))


def _predecessor(folder: Path, seal: Seal, *, alone: bool) -> tuple[Seal | None, list[str], list[str]]:
    """Return the seal of the run before in the chain, what is wrong with it, and what cannot be known of it."""
    if not seal.previous:
        wrong = [] if seal.number == 1 else [f"{RECORD}: has the number {seal.number} and nothing before it"]
        return None, wrong, []
    before, name = folder.parent / seal.previous, one_line(seal.previous)
    if not is_folder(before):
        if alone and all(run.name == folder.name for run in runs_in(folder.parent)):
            return None, [], [f"it follows {name}, which is not here"]
        return None, [f"the run sealed before it is gone: {name}"], []
    try:
        record = read(before, RECORD)
        if sha256(record) == seal.previous_digest:
            return read_seal(parse_record(record)), [], []
    except RecordError:
        pass  # it is not what it was
    return None, [f"{name}: is sealed no longer as it was when this run was sealed after it"], []


def _links(runs: Sequence[Path]) -> dict[str, Seal]:
    """Return the seal of every run that has a readable one, by name."""
    links = {}
    for folder in filter(is_sealed, runs):
        try:
            links[folder.name] = read_seal(read_record(folder))
        except RecordError:
            continue  # verify says of that run what is wrong
    return links


def _unsealed(folder: Path) -> Verdict:
    """Return the verdict on a run without a seal: a fault, unless it is a rehearsal that never had one."""
    if not RUN_NAME.fullmatch(folder.name) and not is_there(folder, JOURNAL):
        return Verdict(folder, wrong=("is not a run: it has no journal",))
    journal = read_journal(folder / JOURNAL)
    start = next((event for event in journal.events if isinstance(event, RunStarted)), RunStarted())
    if (
        start.parameters.get("inventory") == REHEARSAL
        and not journal.problems
        and not is_there(folder, RECORD)
    ):
        return Verdict(folder, rehearsal=True)
    return Verdict(folder, wrong=("it is not sealed: nothing vouches for what is in it", *journal.problems))


def _runs_as_evidence(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the runs that a record names as evidence."""
    change = record.get("change")
    change = change if isinstance(change, Mapping) else {}
    back_out = change.get("back_out")
    for evidence in (change.get("test"), back_out.get("tried") if isinstance(back_out, Mapping) else None):
        if isinstance(evidence, Mapping):
            yield evidence


def _judge_evidence(folder: Path, record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is wrong with the runs that a record names as evidence, and what cannot be known: a sentence each."""
    wrong, notes = [], []
    for evidence in _runs_as_evidence(record):
        name, sha = str(evidence.get("run", "")), evidence.get("record")
        if not RUN_NAME.fullmatch(name) or "/" in name:
            wrong.append(f"{RECORD}: names {one_line(name)} as evidence, which is not the name of a run")
        elif not is_folder(folder.parent / name):
            notes.append(f"its evidence {one_line(name)} is not here; its record has the digest {sha}")
        else:
            try:
                same = digest(folder.parent / name, RECORD) == sha
            except RecordError:
                same = False
            if not same:
                wrong.append(f"{one_line(name)}: is another record than the one that served as evidence")
    return wrong, notes
