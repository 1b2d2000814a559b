"""The names that people give a run on the command line: its folder, its name, ``last``, or its change."""

from __future__ import annotations

import os
from pathlib import Path

from kubeharden.errors import ParameterError
from kubeharden.inputs.project import runs_folder, wrong_path
from kubeharden.records.archive import JOURNAL, runs_in
from kubeharden.records.reader import is_there, name_list, one_line
from kubeharden.records.register import read_entry


def place(text: str, *, only: bool = True) -> Path:
    """Return a folder by its path, by its name in the project's outputs/, as ``last``, or by the id of its change.

    Args:
        text: one of these.
        only: whether several runs of one change are refused; else it is the newest.

    Raises:
        ParameterError: there is none, or there are several.
    """
    if short := _short(text, only=only):
        return short
    if why := wrong_path(text):
        raise ParameterError(f"{one_line(text[:80])}: {why}")
    path = Path(text).expanduser()
    found = next((p for p in (path, runs_folder() / text) if p.is_dir() or p.is_symlink()), None)
    if found is None:
        raise ParameterError(f"{text}: there is no such folder")
    return found.absolute()


def run_named(text: str, *, only: bool = True) -> Path:
    """Return the folder of a run; the arguments and errors are those of ``place``."""
    folder = place(text, only=only)
    if not is_there(folder, JOURNAL):
        raise ParameterError(f"{text}: is not a run's folder; there is no {JOURNAL} in it")
    return folder


def _short(text: str, *, only: bool) -> Path | None:
    """Return the run in the project's outputs/ that a short name means; None for another text."""
    parent = runs_folder().absolute()
    if (
        wrong_path(text)
        or os.sep in text
        or not parent.is_dir()
        or any((p / text).exists() for p in (Path(), parent))
    ):
        return None
    runs = runs_in(parent)
    if text == "last" and runs:
        return runs[-1]
    named = [run for run in runs if read_entry(run).change_id == text]
    if len(named) > 1 and only:
        names = name_list(run.name for run in named)
        raise ParameterError(f"{text}: is the change of {len(named)} runs, {names}; name one of them")
    return named[-1] if named else None
