"""The names that people give a run: its folder, its name, ``last``, or its change."""

from __future__ import annotations

import os
from pathlib import Path

from kubeharden.errors import ParameterError
from kubeharden.inputs.project import runs_folder, wrong_path
from kubeharden.records.archive import runs_in
from kubeharden.records.journal import JOURNAL
from kubeharden.records.reader import is_there, name_list, one_line
from kubeharden.records.register import read_entry


def find_folder(
    text: str, *, unique: bool = True, parent: Path | None = None, changing: bool = False
) -> Path:
    """Return a folder by its path, by its name in the folder of runs, as ``last``, or by the id of its change.

    Args:
        text: one of these.
        unique: whether several runs of one change are refused; else it is the newest.
        parent: the folder of runs; None for the project's outputs/.
        changing: whether ``last`` and the id of a change mean only runs that have begun to change something.

    Raises:
        ParameterError: there is none, or there are several.
    """
    runs = (parent or runs_folder()).absolute()
    if short := _short(text, runs, unique=unique, changing=changing):
        return short
    if why := wrong_path(text):
        raise ParameterError(f"{one_line(text[:80])}: {why}")
    path = Path(text).expanduser()
    folder = next((p for p in (path, runs / text) if p.is_dir() or p.is_symlink()), None)
    if folder is None:
        raise ParameterError(f"{text}: there is no such folder, and no run of that name or change in {runs}")
    return folder.absolute()


def find_run(text: str, *, unique: bool = True, parent: Path | None = None, changing: bool = False) -> Path:
    """Return the folder of a run; the arguments and errors are those of ``find_folder``."""
    folder = find_folder(text, unique=unique, parent=parent, changing=changing)
    if not is_there(folder, JOURNAL):
        raise ParameterError(f"{text}: is not a run's folder; there is no {JOURNAL} in it")
    return folder


def _short(text: str, parent: Path, *, unique: bool, changing: bool) -> Path | None:
    """Return the run in the folder of runs that a short name means; None for another text."""
    if (
        wrong_path(text)
        or os.sep in text
        or not parent.is_dir()
        or any((p / text).exists() for p in (Path(), parent))
    ):
        return None
    entries = (
        entry for entry in map(read_entry, reversed(runs_in(parent))) if entry.subjects or not changing
    )
    if text == "last" and (newest := next(entries, None)):
        return newest.folder
    named = [entry.folder for entry in entries if entry.change_id == text]
    if len(named) > 1 and unique:
        names = name_list(run.name for run in reversed(named))
        raise ParameterError(f"{text}: is the change of {len(named)} runs, {names}; name one of them")
    return named[0] if named else None
