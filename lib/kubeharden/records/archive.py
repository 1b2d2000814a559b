"""The files in a run's folder: names, digests, and the seal that lists them. Reading only."""

from __future__ import annotations

import fcntl
import os
import re
import shlex
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.plan import sha256
from kubeharden.plan.forms import fits
from kubeharden.records.journal import JOURNAL, Journal, is_time, is_written, last_time, read_journal
from kubeharden.records.reader import digest, is_there, names_below, one_line, parse_json, read

NOTEBOOK, PAGE = "notebook.ipynb", "notebook.html"
RECORD, SIGNATURE = "record.json", "record.json.sig"
# What comes after the seal or with it, and vouches for itself: a time stamp over the signature, which the sealing key
# signs, and a sign-off by somebody else. The certificates of the authority are among the sealed files.
STAMP, STAMP_SIGNATURE, STAMP_CA = "record.json.tsr", "record.json.tsr.sig", "timestamp-ca.pem"
SIGN_OFF, SIGN_OFF_SIGNATURE = "sign-off.json", "sign-off.json.sig"
# Where a seal is prepared; nothing of it is left once a run is sealed.
STAGING = ".sealing"
# <UTC time>-<cluster>-<change id or step>
RUN_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-.+", re.DOTALL | re.ASCII)
LOCK_SECONDS, POLL_SECONDS = 60, 0.1  # a seal takes seconds
_DIGEST = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ")


@dataclass(frozen=True)
class Seal:
    """The seal of a run; the signature covers it."""

    run: str  # the name of the run
    sealed: str  # when, UTC, ``2026-11-24T13:18:42Z``
    number: int  # its place in the chain of the folder that it was sealed in, from 1 on
    previous: str  # name of the run sealed before it there; empty for the first
    previous_digest: str  # SHA-256 of that run's ``record.json``
    unsealed: tuple[str, ...]  # the runs that lay there unsealed at that time
    files: Mapping[str, str]  # SHA-256 of every other file of the folder, by path
    lines: int  # how many whole lines the journal had
    last_line: str  # SHA-256 of the last of them
    notebook: bool  # whether the executed notebook is among the files
    key: str  # the key that signed, ``ssh-ed25519 SHA256:…``
    authority: str = ""  # the URL of the authority whose time stamp lies beside the seal; empty without one

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``record.json``, under ``seal``; without a time stamp, in the form of earlier versions."""
        content = {**vars(self), "unsealed": list(self.unsealed), "files": dict(self.files)}
        if not self.authority:
            del content["authority"]
        return content

    @property
    def beside(self) -> frozenset[str]:
        """The names of what may lie in the folder besides the sealed files."""
        stamp = {STAMP, STAMP_SIGNATURE} if self.authority else set()
        return frozenset({SIGN_OFF, SIGN_OFF_SIGNATURE, *stamp})


def runs_in(parent: Path) -> list[Path]:
    """Return the folders of runs in a folder, oldest first, and the links that bear the name of a run."""
    try:
        names = sorted(
            entry.name
            for entry in os.scandir(parent)
            if entry.is_symlink() or entry.is_dir(follow_symlinks=False)
        )
    except OSError as error:
        raise RecordError(f"{parent}: cannot be read ({error.strerror}); expected a folder of runs") from None
    return [parent / name for name in names if RUN_NAME.fullmatch(name)]


def seal_command(folder: Path, notebook: Path | None = None) -> str:
    """Return the command line that seals a run; NOTEBOOK stands for a notebook whose file is not known."""
    return shlex.join(["kubeharden", "seal", str(folder), str(notebook or "NOTEBOOK")])


def is_sealed(folder: Path) -> bool:
    """Return whether a run has been sealed; the signature is what is put there last."""
    return is_there(folder, SIGNATURE)


def files_in(folder: Path) -> list[str]:
    """Return the path of every file but the record and its signature; a RecordError names what cannot be read."""
    return [name for name in names_below(folder) if name not in {RECORD, SIGNATURE}]


def read_record(folder: Path) -> dict[str, Any]:
    """Return what ``record.json`` holds; a RecordError where it is not there, or is not a record."""
    return parse_record(read(folder, RECORD))


def parse_record(data: bytes) -> dict[str, Any]:
    """Return what the bytes of a ``record.json`` hold; a RecordError where they are not a record."""
    try:
        content = parse_json(data)
    except ValueError:
        raise RecordError(f"{RECORD}: cannot be read (it is not JSON)") from None
    if not isinstance(content, dict):
        raise RecordError(f"{RECORD}: is not a record")
    return content


def read_seal(record: Mapping[str, Any]) -> Seal:
    """Return the seal in a record; a RecordError where it has none, or one in a form that is not known here."""
    seal_data = record.get("seal")
    if isinstance(seal_data, dict):
        seal_data = {"authority": "", **seal_data}
    if not isinstance(seal_data, dict) or set(seal_data) != set(Seal.__dataclass_fields__):
        raise RecordError(f"{RECORD}: has no seal that this version of kubeharden knows")
    if not fits(Seal, seal_data) or not _is_sound(
        seal := Seal(**{**seal_data, "unsealed": tuple(seal_data["unsealed"])})
    ):
        raise RecordError(f"{RECORD}: its seal is damaged")
    return seal


def _is_sound(seal: Seal) -> bool:
    """Return whether names in a seal are those of runs beside it, digests are digests, and its time is one."""
    runs = (*seal.unsealed, *([seal.previous] if seal.previous else []))
    return (
        all(RUN_NAME.fullmatch(run) and "/" not in run for run in runs)
        and all(map(_DIGEST.fullmatch, seal.files.values()))
        and is_second(seal.sealed)
        and seal.number >= 1
    )


def is_second(text: str) -> bool:
    """Check that a text is a time as seals and sign-offs have it, ``2026-11-24T13:18:42Z``."""
    return _TIME.fullmatch(text) is not None and is_time(text)


def alterations(folder: Path, seal: Seal) -> list[str]:
    """Return what differs between the folder and its seal, one sentence each; empty if nothing does."""
    wrong = []
    if seal.run != folder.name:
        wrong.append(
            f"{RECORD}: is the record of {one_line(seal.run)}, and lies in the folder of another run"
        )
    try:
        present = set(files_in(folder)) - (seal.beside - set(seal.files))
    except RecordError as error:
        return [*wrong, str(error)]
    for name in sorted({*present, *seal.files}):
        if name not in seal.files:
            wrong.append(f"{one_line(name)}: was added")
        elif name not in present:
            wrong.append(f"{one_line(name)}: is missing")
        else:
            wrong += _file_altered(folder, name, seal)
    return wrong


def _file_altered(folder: Path, name: str, seal: Seal) -> list[str]:
    try:
        if digest(folder, name) == seal.files[name]:
            return []
    except RecordError as error:
        return [str(error)]
    return [f"{one_line(name)}: was changed", *(_journal_altered(folder, seal) if name == JOURNAL else ())]


def _journal_altered(folder: Path, seal: Seal) -> list[str]:
    """Return which lines of a journal that is not the sealed one are wrong."""
    wrong = list(read_journal(folder / JOURNAL).problems)
    lines = journal_lines(folder)
    if len(lines) != seal.lines:
        wrong.append(f"{JOURNAL}: has {len(lines)} lines, and {seal.lines} were sealed")
    elif last_line(lines) != seal.last_line:
        wrong.append(f"{JOURNAL}: line {len(lines)} was changed")
    return wrong


def time_problem(seal: Seal, journal: Journal, previous: Seal | None) -> str:
    """Return what is wrong with the time of a seal; empty where nothing is.

    It may not go back: at an earlier time a key would count that has expired since.

    Args:
        previous: the seal that it follows, where that is known.
    """
    odd = [one_line(line["time"]) for line in journal.lines if not is_written(line["time"])]
    if odd:
        return f"{JOURNAL}: has an event at '{odd[0]}', which is not a time as a run writes it"
    last = last_time(journal)[:19]  # to the second, as a seal has it
    if last > seal.sealed[: len(last)]:
        return f"{RECORD}: was sealed at {seal.sealed}, before the last event of the run, at {one_line(last)}"
    if (start := _time_in(seal.run)) > seal.sealed:
        return f"{RECORD}: was sealed at {seal.sealed}, before the run began, at {start} by its name"
    if previous is not None and previous.sealed > seal.sealed:
        return (
            f"{RECORD}: was sealed at {seal.sealed}, before the run that it follows, {one_line(previous.run)}, at "
            f"{previous.sealed}"
        )
    return ""


def _time_in(run: str) -> str:
    """Return when a run began, as its name has it, to the second: ``2026-11-24T13:18:42Z``; empty for another name."""
    match = re.match(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)\.", run, re.ASCII)
    return "{}-{}-{}T{}:{}:{}Z".format(*match.groups()) if match else ""


def own_approval(record: Mapping[str, Any], key: str) -> str:
    """Return what is wrong with the approval of a run that this key sealed: nobody approves their own plan.

    Args:
        key: ``ssh-ed25519 SHA256:…``.
    """
    approval = record.get("approval")
    by = approval.get("key") if isinstance(approval, dict) else ""
    same = by and by in key.split()
    return f"{RECORD}: the key that seals it, {by}, is the one that approved its plan" if same else ""


def journal_lines(folder: Path) -> list[bytes]:
    """Return the whole lines of a run's journal; a RecordError where it cannot be read."""
    return read(folder, JOURNAL).split(b"\n")[:-1]


def last_line(lines: list[bytes]) -> str:
    """SHA-256 of the last line, in hex; empty without one."""
    return sha256(lines[-1]) if lines else ""


@contextmanager
def one_seal_at_a_time(parent: Path) -> Iterator[None]:
    """One seal at a time in a folder of runs, or the chain would fork; a RecordError where another process has it."""
    handle = os.open(parent, os.O_RDONLY | os.O_DIRECTORY)
    end = time.monotonic() + LOCK_SECONDS
    try:
        while not try_lock(handle):
            if time.monotonic() > end:
                raise RecordError(
                    f"{parent}: another process has had this folder for {LOCK_SECONDS} s (see fuser(1)); end it, and "
                    "seal again"
                )
            time.sleep(POLL_SECONDS)
        yield
    finally:
        os.close(handle)


def try_lock(handle: int) -> bool:
    """Lock an open file for this process alone, and return whether that could be done at once."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
