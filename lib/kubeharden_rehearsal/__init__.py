"""Private. An embedded cluster to practise on: nothing in it reaches beyond this machine.

    with Rehearsal.start("article-1.10", None) as rehearsal:
        ...                                  # rehearsal.inventory is like any other inventory

The cluster is a child process (``python -m kubeharden_rehearsal serve``): nodes that are SSH servers on
loopback with systemd and Kubernetes components that behave as their release's do, and an API server.
It ends with the process that started it, which needs none of the child's libraries: here, only kubeharden and
the standard library are imported.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from kubeharden.errors import RehearsalError

SCENARIOS = Path(__file__).parent / "scenarios"
STOP_SECONDS = 5.0
RESET = "reset\n"  # what its process reads from standard input

__all__ = ["Rehearsal", "available", "service_range", "start"]


def available() -> dict[str, str]:
    """Return the rehearsal clusters: the name of each and one line of description."""
    return {path.parent.name: _setting(path, "title") for path in sorted(SCENARIOS.glob("*/scenario.yaml"))}


def service_range(name: str) -> str:
    """Return the ``--service-cluster-ip-range`` of a cluster's API server before it runs."""
    return _setting(SCENARIOS / name / "scenario.yaml", "service_cluster_ip_range")


def _setting(path: Path, key: str) -> str:
    """Return what one plain line of a scenario file says."""
    match = re.search(rf"^{key}: *(.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return match[1] if match else ""


@dataclass
class Rehearsal:
    """A rehearsal cluster that is running; a context manager that stops it.

    Attributes:
        directory: where it lives: ``nodes/NAME/…`` is each node's file tree, ``cluster.json`` every API
            object.
        inventory: the inventory file that leads to it.
        resumed: whether the directory held a rehearsal already, which goes on where it stopped.
    """

    name: str
    directory: Path
    inventory: Path
    nodes: tuple[str, ...]
    resumed: bool
    _process: subprocess.Popen[bytes]
    _errors: IO[bytes]

    @classmethod
    def start(cls, name: str, directory: Path | None = None) -> Rehearsal:
        """Start a rehearsal cluster and wait until it can be used.

        Raises:
            RehearsalError: there is no such cluster, the directory holds something else or is in use,
                or the cluster does not start; the message has the reason.
        """
        place = directory or Path(tempfile.mkdtemp(prefix="kubeharden-"))
        command = [sys.executable, "-m", "kubeharden_rehearsal", "serve", "--stop-with-stdin"]
        errors = tempfile.TemporaryFile()  # noqa: SIM115 - it is open as long as the cluster runs
        process = subprocess.Popen(
            [*command, "--scenario", name, "--directory", str(place)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            start_new_session=True,  # an interrupt of the notebook is not for its cluster
        )
        ready = _ready_line(process, errors)
        return cls(
            name=name,
            directory=Path(ready["directory"]),
            inventory=Path(ready["inventory"]),
            nodes=tuple(ready["nodes"]),
            resumed=ready["resumed"],
            _process=process,
            _errors=errors,
        )

    def reset(self) -> None:
        """Put the cluster back to the state that it was first started in, ten times as quickly as a start.

        Its processes and logins end, its files, journals and API objects are those of its scenario again. The keys, the
        folder and the path of the inventory stay; ports change, so read the inventory again.

        Raises:
            RehearsalError: it has ended, or ends over this; the message has the reason.
        """
        if self._process.stdin is None or self._process.stdin.closed:
            raise RehearsalError("the rehearsal cluster has been stopped")
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.write(RESET.encode())
            self._process.stdin.flush()
        _ready_line(self._process, self._errors)
        self.resumed = False

    def stop(self) -> None:
        """Stop the cluster and wait until its state is on disk; harmless if it has stopped."""
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()

    def __enter__(self) -> Rehearsal:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()


start = Rehearsal.start  # which makes this package a source of inventories


def _ready_line(process: subprocess.Popen[bytes], errors: IO[bytes]) -> dict[str, Any]:
    if process.stdout is None:
        raise RehearsalError("the rehearsal cluster has no output")
    line = process.stdout.readline()
    try:
        ready: dict[str, Any] = json.loads(line)
    except ValueError:
        process.kill()
        process.wait()
        errors.seek(0)
        words = errors.read().decode(errors="replace").strip().removeprefix("error: ")
        raise RehearsalError(words or "the rehearsal cluster did not start, without a word") from None
    return ready
