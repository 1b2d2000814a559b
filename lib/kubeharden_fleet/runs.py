"""Private. One run of the notebook on one cluster, in a process of its own: papermill, with the engine that seals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeharden.records.archive import is_sealed, runs_in, try_lock
from kubeharden.records.folder import is_open
from kubeharden_fleet.fleet import Fleet

NOTEBOOKS, LOCK = "notebooks", ".lock"  # in the folder of a cluster's runs
POLL_SECONDS = 0.5
END_SECONDS = 50  # of a run that was interrupted: it ends what it has in hand, or puts it back
LAST_LINES = 15
# As ``python -m papermill``, but jsonschema (4.26) does not find this package, of which it would compile a grammar when
# it is imported: 1.5 s of CPU for each run, to judge internationalized links, which no notebook is judged by.
PAPERMILL = (
    "import sys; sys.modules['rfc3987_syntax'] = None; from papermill.cli import papermill; papermill()"
)


@dataclass(frozen=True)
class Ended:
    """The end of a run: papermill's exit code, the run's folder where it came to one, and its last words."""

    code: int
    folder: Path | None
    words: str


class Runner:
    """Runs the notebook on one cluster."""

    def __init__(self, fleet: Fleet, cluster: str, say: Callable[[str], None]) -> None:
        self.fleet, self.cluster, self.say = fleet, cluster, say
        self.folder = fleet.runs_of(cluster)
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, mode: str, **parameters: str) -> Ended:
        """Run the notebook and return how it ended; one that an engine left behind is waited for and sealed first."""
        (self.folder / NOTEBOOKS).mkdir(parents=True, exist_ok=True)
        with self._only_one() as lock:
            self._seal_leftovers()
            before = set(runs_in(self.folder))
            stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")
            notebook = self.folder / NOTEBOOKS / f"{stamp}-{mode}.ipynb"
            code, words = self._execute(notebook, {**parameters, "mode": mode}, lock)
            new_runs = sorted(set(runs_in(self.folder)) - before)
        if new_runs and is_sealed(new_runs[-1]):  # the record has it
            notebook.unlink(missing_ok=True)
            notebook.with_suffix(".log").unlink(missing_ok=True)
        return Ended(code, new_runs[-1] if new_runs else None, words)

    def settle(self) -> None:
        """Wait for a run that an engine left behind, and seal what was cut off."""
        if self.folder.is_dir():
            with self._only_one():
                self._seal_leftovers()

    def interrupt(self) -> None:
        """End the run as a person would who interrupts its notebook, and wait for that."""
        process = self._process
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            process.wait(END_SECONDS)

    def _execute(self, notebook: Path, own: dict[str, str], lock: int) -> tuple[int, str]:
        values: dict[str, Any] = {
            **self.fleet.parameters_of(self.cluster),
            **own,
            "output_dir": str(self.folder),
        }
        log = notebook.with_suffix(".log")
        command = [
            self._python(), "-c", PAPERMILL, self.fleet.notebook, str(notebook),
            "--engine", "kubeharden", "--no-progress-bar", "--parameters_yaml", json.dumps(values),
        ]  # fmt: skip
        # A file takes its words, and it holds the lock itself: it goes on as it should if this process is killed.
        with log.open("wb") as words:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=words,
                stderr=subprocess.STDOUT,
                cwd=self.fleet.folder,
                pass_fds=(lock,),
            )
        self.say(f"{self.cluster}: mode {own['mode']} runs as process {self._process.pid}; see {log}")
        code = self._process.wait()
        return code, "\n".join(log.read_text(encoding="utf-8", errors="replace").splitlines()[-LAST_LINES:])

    def _python(self) -> str:
        return self.fleet.python or sys.executable

    def _seal_leftovers(self) -> None:
        """Seal what was cut off before it was sealed, with its notebook where that is left."""
        for run in runs_in(self.folder):
            if not is_sealed(run) and not is_open(run):
                notebook = self._notebook_of(run.name)
                words = [str(notebook)] if notebook else ["--no-notebook"]
                done = subprocess.run(
                    [self._python(), "-m", "kubeharden", "seal", str(run), *words],
                    capture_output=True,
                    text=True,
                    check=False,
                )
                self.say(f"{run.name} was cut off: {(done.stdout + done.stderr).strip()}")
                if notebook and done.returncode == 0:
                    notebook.unlink(missing_ok=True)
                    notebook.with_suffix(".log").unlink(missing_ok=True)

    def _notebook_of(self, run: str) -> Path | None:
        """Return the executed notebook that names a run."""
        for path in sorted((self.folder / NOTEBOOKS).glob("*.ipynb")):
            if run in path.read_text(encoding="utf-8", errors="replace"):
                return path
        return None

    @contextmanager
    def _only_one(self) -> Iterator[int]:
        """Wait until no run of this cluster goes on that a fleet has begun on this machine."""
        handle = os.open(self.folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        is_waiting = False
        try:
            while not try_lock(handle):
                if not is_waiting:
                    self.say(f"{self.cluster}: a run that was begun before goes on; waiting for its end")
                is_waiting = True
                time.sleep(POLL_SECONDS)
            yield handle
        finally:
            os.close(handle)
