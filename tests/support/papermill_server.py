"""papermill for the tests of one process of pytest: it is imported once, and each call is a fork of that process.

So a call has a process of its own, with its own folder, environment and output, as a user's has, but does not spend
most of a second on imports, nor does its kernel (``spare.py``).
"""

from __future__ import annotations

import atexit
import gc
import importlib
import json
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NoReturn

from spare import MOST, exit_status, have_spare

# What papermill, a kernel and a rehearsal cluster import, but for ipykernel.kernelapp, which takes its parent process
# from the environment when it is imported, and for what is run itself.
IMPORTED = (
    "papermill.cli",
    "ipykernel.control",
    "ipykernel.debugger",
    "ipykernel.heartbeat",
    "ipykernel.ipkernel",
    "ipykernel.parentpoller",
    "ipykernel.shellchannel",
    "ipykernel.zmqshell",
    "IPython.core.application",
    "IPython.core.crashhandler",
    "IPython.core.shellapp",
    "kubeharden.runbook",
    "kubeharden_rehearsal.directory",
    "kubeharden_rehearsal.rehearsal_server",
)


class PapermillServer:
    """The process that has imported papermill; it ends with this one.

    Args:
        environment: its own.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = subprocess.Popen([sys.executable, __file__], stdin=theirs, env=environment)
        ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        self._socket = ours
        atexit.register(self.stop)

    def stop(self) -> None:
        """End it."""
        self._socket.close()
        self._process.wait(20)

    def run(
        self, words: Sequence[str], cwd: Path, environment: Mapping[str, str], seconds: float
    ) -> tuple[int, str]:
        """Run papermill with these words; its exit status, and all that it printed.

        Raises:
            TimeoutError: it takes longer.
        """
        with tempfile.TemporaryFile() as output:
            request = json.dumps({"words": words, "cwd": str(cwd), "environment": dict(environment)})
            self._socket.settimeout(seconds)
            socket.send_fds(self._socket, [request.encode()], [output.fileno()])
            try:
                status = int(self._socket.recv(64))
            except TimeoutError:
                self._process.kill()
                papermill_server.cache_clear()
                raise
            output.seek(0)
            return status, output.read().decode()


@cache
def papermill_server() -> PapermillServer:
    """The server of this process."""
    from support import environment

    return PapermillServer(environment())


def import_all() -> None:
    """Import what forks of this process will need."""
    for name in IMPORTED:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()  # which forks need not look through, nor copy


def _show_a_plan() -> None:
    """Have what each run reads, compiles and keeps: the tables of the releases, patterns, templates."""
    from facts_fixtures import PLANS, plan_of
    from kubeharden.show.views import plan_view

    plan_view(plan_of(PLANS / "article-1.10"))._repr_html_()


def serve(requests: socket.socket) -> None:
    """Answer one request after the other, until there is nobody to ask."""
    import_all()
    while True:
        data, descriptors, _, _ = socket.recv_fds(requests, MOST, 1)
        if not data:
            return
        child = os.fork()
        if not child:
            _become_papermill(json.loads(data), descriptors[0], requests)
        os.close(descriptors[0])
        requests.send(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])).encode())


def _become_papermill(request: Mapping, output: int, requests: socket.socket) -> NoReturn:
    from papermill.cli import papermill

    requests.close()
    for ours, theirs in ((os.open(os.devnull, os.O_RDONLY), 0), (output, 1), (output, 2)):
        os.dup2(ours, theirs)
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv = ["papermill", *request["words"]]
    have_spare()
    status = exit_status(papermill)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


if __name__ == "__main__":
    _show_a_plan()
    del sys.path[0]  # what a user's papermill does not find either
    serve(socket.socket(fileno=os.dup(0)))
