"""Where a rehearsal lives whose folder nobody named: what a person practises is there again after a restart."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

OVER = "over"  # a file in the folder of a rehearsal whose last run came to its end


def practice_folder(name: str) -> Path:
    """Return the folder of a rehearsal for the person at a notebook.

    A run that did not finish, because its kernel was restarted or died, goes on there. After one that did, the folder
    is empty, and the rehearsal begins anew.
    """
    base = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    folder = Path(base).expanduser() / "kubeharden" / "rehearsals" / name
    if (folder / OVER).exists():
        shutil.rmtree(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    return folder


def note_end(folder: Path) -> None:
    """Note in such a folder that the run came to its end; a folder that somebody named stays as it is."""
    if folder.parent.name == "rehearsals" and folder.parent.parent.name == "kubeharden":
        (folder / OVER).touch()
