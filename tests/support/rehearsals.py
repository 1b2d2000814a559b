"""Rehearsal clusters that the tests of a process share, since a reset takes a tenth of what a start does."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from kubeharden.errors import RehearsalError
from kubeharden_rehearsal import Rehearsal


class Rehearsals:
    """The clusters of this process: of each scenario one that is looked at only, and one that is reset for each test.

    Args:
        folder: where they live.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._untouched: dict[str, Rehearsal] = {}
        self._reset: dict[str, Rehearsal] = {}

    def untouched(self, name: str) -> Rehearsal:
        """The one of a scenario for tests that change nothing."""
        if name not in self._untouched:
            self._untouched[name] = Rehearsal.start(name, self._folder / f"{name}-untouched")
        return self._untouched[name]

    def fresh(self, name: str) -> Rehearsal:
        """The one of a scenario as it is when it starts, until somebody else asks for it."""
        with contextlib.suppress(KeyError, RehearsalError):  # there is none yet, or a test has stopped it
            self._reset[name].reset()
            return self._reset[name]
        self._reset[name] = Rehearsal.start(name, Path(tempfile.mkdtemp(prefix=name, dir=self._folder)))
        return self._reset[name]

    def copy(self, name: str, folder: Path) -> None:
        """Make a folder with the cluster of a scenario as it is when it starts, to be changed before it runs."""
        subprocess.run(["cp", "-a", self.untouched(name).directory, folder], check=True)

    def stop(self) -> None:
        with ThreadPoolExecutor() as pool:
            list(pool.map(Rehearsal.stop, (*self._untouched.values(), *self._reset.values())))
