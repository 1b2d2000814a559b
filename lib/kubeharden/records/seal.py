"""Sealing a run: its notebook is put beside it, and every file's digest is written down and signed.

A seal names the one before it in the same folder of runs, so that a record that was deleted is missed. All of it is
prepared aside and renamed into place, the signature last: a seal that is cut off leaves an unsealed run, which is
simply sealed again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan.events import RunStarted
from kubeharden.plan.timeline import Timeline
from kubeharden.records import executed_notebook
from kubeharden.records.archive import (
    NOTEBOOK,
    PAGE,
    RECORD,
    SIGN_OFF,
    SIGN_OFF_SIGNATURE,
    SIGNATURE,
    STAGING,
    STAMP,
    STAMP_CA,
    STAMP_SIGNATURE,
    Seal,
    alterations,
    files_in,
    is_sealed,
    journal_lines,
    last_line,
    one_seal_at_a_time,
    own_approval,
    read_record,
    read_seal,
    runs_in,
    time_problem,
)
from kubeharden.records.folder import PastRun, read_run, write_aside
from kubeharden.records.front import front_of
from kubeharden.records.html import render
from kubeharden.records.journal import sync_folder
from kubeharden.records.keys import fingerprint, public_part
from kubeharden.records.pages.front_page import front_html
from kubeharden.records.reader import digest, is_folder, one_line, open_file, read
from kubeharden.records.seal_rows import when_sealed
from kubeharden.records.signature import chosen_signers, only_signer, sign, signer_of
from kubeharden.records.stamp import put_stamp
from kubeharden.records.summary import build_record
from kubeharden.records.timestamp import Authority
from kubeharden.redaction import Redactor

READ_ONLY = 0o400  # what is sealed is not written again; its folders stay writable, so that it can be moved or removed


@dataclass(frozen=True)
class Sealed:
    """The result of sealing: the seal, and whether it was there already."""

    folder: Path
    seal: Seal
    again: bool


def seal(
    folder: Path,
    notebook: Path | None,
    key: Path,
    *,
    may_ask: bool = False,
    authority: Authority | None = None,
) -> Sealed:
    """Seal a run.

    Args:
        notebook: the executed notebook; None for a run whose notebook is lost.
        key: the operator's SSH key, see ``keys.find_key``.
        may_ask: whether ssh-keygen may ask for the key's passphrase at the terminal.
        authority: whose time stamp lies beside the seal.

    Raises:
        RecordError: it is not a run, is still going on, or is sealed already; the notebook was not executed or is of
            another run; the key cannot be used; the authority does not answer. The run is as it was.
    """
    folder = folder.absolute()
    past = read_run(folder)
    executed = None if notebook is None else _read_executed(notebook, past)
    if past.running:
        raise RecordError(f"{past.run} is still going on; end it with run.finish(), or end its kernel")
    try:
        with one_seal_at_a_time(folder.parent):
            if is_sealed(folder):
                return _again(folder, executed)
            return _seal(past, executed, key, may_ask, authority)
    except OSError as error:
        raise RecordError(f"{folder}: cannot be sealed ({error.strerror}: {error.filename})") from None


def _read_executed(path: Path, past: PastRun) -> Any:
    """Return the executed notebook of a run, without secrets."""
    notebook = executed_notebook.read_notebook(path)
    executed_notebook.check_notebook(notebook, past.run)
    executed_notebook.check_parameters(notebook, (past.last(RunStarted) or RunStarted()).parameters)
    executed_notebook.clean(notebook, Redactor())
    return notebook


def _seal(past: PastRun, notebook: Any, key: Path, may_ask: bool, authority: Authority | None) -> Sealed:
    folder, staging = past.folder, past.folder / STAGING
    _remove(staging)
    staging.mkdir(mode=0o700)
    try:
        record, signer = build_record(past), fingerprint(public_part(key))
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        last, previous_digest = _end_of_chain(folder, key, now)
        number = last.number + 1 if last else 1
        contents: dict[str, bytes] = {STAMP_CA: authority.ca} if authority else {}
        url = authority.url if authority else ""
        if notebook is not None:
            rows = when_sealed(now, number, signer, url)
            redactor = Redactor()
            course = Timeline.of(past.events).rename(redactor.redact)
            front = front_html(front_of(redactor.redact_data(record)), rows, course)
            page = render(notebook, past.run, front)
            contents[NOTEBOOK] = executed_notebook.text_of(notebook).encode()
            contents[PAGE] = page.encode(errors="replace")
        for name, content in contents.items():
            write_aside(folder, f"{STAGING}/{name}", content)
        lines = journal_lines(folder)
        new_seal = Seal(
            run=past.run,
            sealed=now,
            number=number,
            previous=last.run if last else "",
            previous_digest=previous_digest,
            unsealed=tuple(r.name for r in runs_in(folder.parent) if r != folder and not is_sealed(r)),
            files=_digests(folder, staging, contents),
            lines=len(lines),
            last_line=last_line(lines),
            notebook=NOTEBOOK in contents,
            key=signer,
            authority=url,
        )
        _check(new_seal, past, last, record)
        text = json.dumps(
            {**record, "seal": new_seal.as_json()}, indent=1, sort_keys=True, ensure_ascii=False
        )
        write_aside(folder, f"{STAGING}/{RECORD}", f"{text}\n".encode(errors="backslashreplace"))
        _sync(sign(staging / RECORD, key, may_ask=may_ask))
        if authority:
            put_stamp(staging, authority, now, key, may_ask=may_ask)
            _sync(staging / STAMP_SIGNATURE)
        stamp = (STAMP, STAMP_SIGNATURE) if authority else ()
        _put_in_place(folder, staging, (*contents, RECORD, *stamp, SIGNATURE))
    finally:
        _remove(staging)
    return Sealed(folder, new_seal, again=False)


def _check(new_seal: Seal, past: PastRun, last: Seal | None, record: Mapping[str, Any]) -> None:
    """Refuse, with a RecordError, to make a seal that verification would find wrong."""
    if wrong := time_problem(new_seal, past.journal, last):
        raise RecordError(f"{past.run}: {wrong}: the clock of this machine is behind; set it first")
    if wrong := own_approval(record, new_seal.key):
        raise RecordError(f"{past.run}: {wrong}; seal it with your own key")


def _digests(folder: Path, staging: Path, contents: dict[str, bytes]) -> dict[str, str]:
    """Digests of all that will lie in the folder; of what an earlier attempt put there, only what comes again."""
    own = {NOTEBOOK, PAGE, STAMP, STAMP_SIGNATURE, STAMP_CA, SIGN_OFF, SIGN_OFF_SIGNATURE}
    names = [name for name in files_in(folder) if not name.startswith(f"{STAGING}/") and name not in own]
    for name in names:
        _refuse_links(folder, name)
    for name in own - contents.keys():
        (folder / name).unlink(missing_ok=True)
    return {name: digest(folder, name) for name in names} | {n: digest(staging, n) for n in contents}


def _refuse_links(folder: Path, name: str) -> None:
    """Refuse, with a RecordError, a file that has a name elsewhere: it would change under the seal."""
    handle = open_file(folder, name)
    names = os.fstat(handle).st_nlink
    os.close(handle)
    if names > 1:
        raise RecordError(
            f"{folder.name}: {one_line(name)} has {names} names (hard links), of which others may lie elsewhere; copy "
            "the folder of the run, and seal the copy"
        )


def _put_in_place(folder: Path, staging: Path, names: tuple[str, ...]) -> None:
    """Rename what was prepared into the folder, in this order; nothing in it is writable any more."""
    for name in files_in(folder):
        handle = open_file(folder, name)
        if os.fstat(handle).st_nlink == 1:  # or the file would be one elsewhere, too
            os.fchmod(handle, READ_ONLY)
        os.close(handle)
    for name in names:
        if name == names[-1]:
            sync_folder(folder)  # the signature is seen only where all the rest is
        (staging / name).replace(folder / name)
    sync_folder(folder)


def _remove(staging: Path) -> None:
    """Remove what a seal that was cut off has left, or what else is there; what a link leads to stays."""
    if is_folder(staging):
        shutil.rmtree(staging)
    else:
        staging.unlink(missing_ok=True)  # a pipe, too, which opening would wait for


def _end_of_chain(folder: Path, key: Path, now: str) -> tuple[Seal | None, str]:
    """Return the seal of the run that was sealed last, and the digest of its record.

    A seal of a later time than now is one only if it is of somebody whose signature counts: anyone who can write here
    could put one there, and nothing could be sealed after it.
    """
    sealed = []
    for other in runs_in(folder.parent):
        if is_sealed(other):
            with suppress(RecordError):  # damaged since: verify says so, and it can be followed by nothing
                seal = read_seal(read_record(other))
                sealed.append((seal, digest(other, RECORD), other))
    for seal, record, other in sorted(sealed, key=lambda each: each[0].number, reverse=True):
        if seal.run == other.name and (seal.sealed <= now or _counts(other, key)):
            return seal, record
    return None, ""


def _counts(folder: Path, key: Path) -> bool:
    """Return whether a record is signed with this key, or by somebody whose signature counts."""
    line = public_part(key)
    for signers in (only_signer(line), chosen_signers()):
        with suppress(RecordError, ParameterError), signers as chosen:
            signer_of(RECORD, read(folder, RECORD), read(folder, SIGNATURE), chosen)
            return True
    return False


def _again(folder: Path, notebook: Any) -> Sealed:
    """Return the seal that is there; a RecordError where something has changed since."""
    old_seal = read_seal(read_record(folder))
    wrong = alterations(folder, old_seal)
    if wrong:
        raise RecordError(
            f"{old_seal.run} was sealed on {old_seal.sealed} and has been altered since: {'; '.join(wrong)}"
        )
    if notebook is not None and not (
        old_seal.notebook
        and executed_notebook.same(read(folder, NOTEBOOK).decode(), executed_notebook.text_of(notebook))
    ):
        raise RecordError(
            f"{old_seal.run} was sealed on {old_seal.sealed}, with another notebook; a seal is not replaced"
        )
    return Sealed(folder, old_seal, again=True)


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
