"""The files in a run's folder: names, digests, and the seal that lists them. Reading only."""

from __future__ import annotations

import hashlib
import json
import os
import re
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.records.journal import read_journal

JOURNAL, NOTEBOOK, PAGE = "journal.jsonl", "notebook.ipynb", "notebook.html"
RECORD, SIGNATURE = "record.json", "record.json.sig"
# Where a seal is prepared; nothing of it is left once a run is sealed.
STAGING = ".sealing"
# <UTC time>-<cluster>-<change id or step>
RUN_NAME = re.compile(r"\d{8}T\d{6}\.\d{3}Z-.+")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Seal:
    """The seal of a run; the signature covers it.

    Attributes:
        run: the name of the run.
        sealed: when, UTC, ``2026-11-24T13:18:42Z``.
        number: its place in the chain of the folder that it was sealed in, from 1 on.
        previous: name of the run sealed before it there; empty for the first.
        previous_digest: SHA-256 of that run's ``record.json``.
        unsealed: the runs that lay there unsealed at that time.
        files: SHA-256 of every other file of the folder, by path.
        lines: how many whole lines the journal had.
        last_line: SHA-256 of the last of them.
        notebook: whether the executed notebook is among the files.
        key: the key that signed, ``ssh-ed25519 SHA256:…``.
    """

    run: str
    sealed: str
    number: int
    previous: str
    previous_digest: str
    unsealed: tuple[str, ...]
    files: Mapping[str, str]
    lines: int
    last_line: str
    notebook: bool
    key: str

    def as_json(self) -> dict[str, Any]:
        """As it stands in ``record.json``, under ``seal``."""
        return {**vars(self), "unsealed": list(self.unsealed), "files": dict(self.files)}


def runs_in(parent: Path) -> list[Path]:
    """Return the folders of runs in a folder, oldest first; whatever else lies there is left out."""
    try:
        names = sorted(entry.name for entry in os.scandir(parent) if entry.is_dir(follow_symlinks=False))
    except OSError as error:
        raise RecordError(f"{parent}: cannot be read ({error.strerror}); expected a folder of runs") from None
    return [parent / name for name in names if RUN_NAME.fullmatch(name)]


def is_sealed(folder: Path) -> bool:
    """Return whether a run has been sealed; the signature is what is put there last."""
    return (folder / SIGNATURE).exists()


def files_in(folder: Path) -> list[str]:
    """Return path of everything in the folder that is not a folder, but for the record and its signature."""
    found = set()
    for where, folders, names in os.walk(folder):
        links = (name for name in folders if Path(where, name).is_symlink())
        found |= {str(Path(where, name).relative_to(folder)) for name in (*names, *links)}
    return sorted(found - {RECORD, SIGNATURE})


def digest(path: Path) -> str:
    """SHA-256 of a regular file, in hex; a link is not followed.

    Raises:
        RecordError: it is not a run's folder, or cannot be read.
    """
    sha = hashlib.sha256()
    try:
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise RecordError(f"{path}: is not a regular file")
            while chunk := file.read(_CHUNK):
                sha.update(chunk)
    except OSError as error:
        raise RecordError(f"{path}: cannot be read as a regular file ({error.strerror})") from None
    return sha.hexdigest()


def read_record(folder: Path) -> dict[str, Any]:
    """Return what ``record.json`` holds.

    Raises:
        RecordError: it is not there, or is not a record.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not JSON"
        raise RecordError(f"{RECORD}: cannot be read ({why})") from None
    if not isinstance(content, dict):
        raise RecordError(f"{RECORD}: is not a record")
    return content


def read_seal(record: Mapping[str, Any]) -> Seal:
    """Return the seal in a record.

    Raises:
        RecordError: there is none, or it is in no form that this version knows.
    """
    found = record.get("seal")
    names = Seal.__dataclass_fields__
    if not isinstance(found, dict) or set(found) != set(names):
        raise RecordError(f"{RECORD}: has no seal that this version of kubeharden knows")
    texts = all(
        isinstance(found[n], str)
        for n in ("run", "sealed", "previous", "previous_digest", "last_line", "key")
    )
    numbers = all(type(found[name]) is int for name in ("number", "lines"))
    files, unsealed = found["files"], found["unsealed"]
    if not (
        texts
        and numbers
        and isinstance(found["notebook"], bool)
        and isinstance(unsealed, list)
        and all(isinstance(name, str) for name in unsealed)
        and isinstance(files, dict)
        and all(isinstance(text, str) and _DIGEST.fullmatch(text) for text in files.values())
    ):
        raise RecordError(f"{RECORD}: its seal is damaged")
    return Seal(**{**found, "unsealed": tuple(unsealed)})


def alterations(folder: Path, seal: Seal) -> list[str]:
    """Return what differs between the folder and its seal, one sentence each; empty if nothing does."""
    wrong = []
    if seal.run != folder.name:
        wrong.append(f"{RECORD}: is the record of {seal.run}, and lies in the folder of another run")
    there = files_in(folder)
    for name in sorted({*there, *seal.files}):
        if name not in seal.files:
            wrong.append(f"{name}: was added")
        elif name not in there:
            wrong.append(f"{name}: is missing")
        else:
            wrong += _file_altered(folder, name, seal)
    return wrong


def _file_altered(folder: Path, name: str, seal: Seal) -> list[str]:
    try:
        if digest(folder / name) == seal.files[name]:
            return []
    except RecordError as error:
        return [str(error).removeprefix(f"{folder}/")]
    return [f"{name}: was changed", *(_journal_altered(folder, seal) if name == JOURNAL else ())]


def _journal_altered(folder: Path, seal: Seal) -> list[str]:
    """Return which lines of a journal that is not the sealed one are wrong."""
    found = list(read_journal(folder / JOURNAL).problems)
    lines = (folder / JOURNAL).read_bytes().split(b"\n")[:-1]
    if len(lines) != seal.lines:
        found.append(f"{JOURNAL}: has {len(lines)} lines, and {seal.lines} were sealed")
    elif last_line(lines) != seal.last_line:
        found.append(f"{JOURNAL}: line {len(lines)} was changed")
    return found


def last_line(lines: list[bytes]) -> str:
    """SHA-256 of the last line, in hex; empty without one."""
    return hashlib.sha256(lines[-1]).hexdigest() if lines else ""
