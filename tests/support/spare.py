"""A process of Python that has imported what it will run: a fork, which waits until it is told what to be.

papermill starts a kernel, and a kernel starts a rehearsal cluster, each as ``python -m NAME``, which imports for half a
second and more. Here such a call goes to a fork of a process that has imported them. It is a child of the one that
calls, with the folder, environment, session, standard streams and arguments that it was given. Any other call is as
ever, and so is one with other variables of Python (PYTHONPATH).
"""

from __future__ import annotations

import atexit
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

MOST = 1 << 20  # bytes of a request
# What a spare process may become, and how many generations of spare ones it has itself.
NAMES = {"ipykernel_launcher": 1, "kubeharden_rehearsal": 0}
_environment = {name: value for name, value in os.environ.items() if name.startswith("PYTHON")}


class Spare:
    """A child of this process that waits, and ends when nobody can ask it any more."""

    def __init__(self) -> None:
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, MOST)
        self.pid = os.fork()
        if not self.pid:
            self._socket.close()
            _wait(theirs)
        theirs.close()

    def become(self, request: Mapping[str, Any], streams: list[int]) -> None:
        """Have it run something, and wait until it is in its folder and its session.

        Raises:
            OSError: it has ended, or ends over this.
        """
        with self._socket:
            socket.send_fds(self._socket, [json.dumps(request).encode()], streams)
            if not self._socket.recv(1):
                raise ChildProcessError(self.pid)


class Popen(subprocess.Popen):
    """Starts ``python -m NAME`` as the spare process, where there is one."""

    spare: Spare | None = None

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: Any,
        pass_fds: Any,
        cwd: Any,
        env: Any,
        *more: Any,
    ) -> None:
        _, _, shell, p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite, _, *_, session, _ = more
        spare, words = (
            Popen.spare,
            [] if isinstance(args, (str, bytes, os.PathLike)) else list(map(str, args)),
        )
        if (
            spare
            and words[:2] == [sys.executable, "-m"]
            and words[2] in NAMES
            and not (shell or pass_fds or preexec_fn)
        ):
            Popen.spare = None
            given = {
                "words": words,
                "cwd": cwd and os.fspath(cwd),
                "session": session,
                "environment": {**(env or os.environ)},
            }
            streams = [
                own if given == -1 else given for own, given in enumerate((p2cread, c2pwrite, errwrite))
            ]
            try:
                spare.become(given, streams)
            except OSError:  # a signal to its group has ended it
                pass
            else:
                self.pid, self._child_created = spare.pid, True
                self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)
                return
        super()._execute_child(args, executable, preexec_fn, close_fds, pass_fds, cwd, env, *more)


def have_spare() -> None:
    """Make a spare process for what this one starts; it must have one thread, and nothing open that must end."""
    import jupyter_client.launcher

    Popen.spare = Spare()
    subprocess.Popen = jupyter_client.launcher.Popen = Popen


def end(status: int) -> NoReturn:
    """End this fork as a process of Python ends, but for taking its memory apart."""
    threading._shutdown()
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(status)


def _wait(requests: socket.socket) -> NoReturn:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # which is for the rest of its group
    data, streams, _, _ = socket.recv_fds(requests, MOST, 3)
    if not data:
        os._exit(0)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for at, stream in enumerate(streams):
        os.dup2(stream, at)
        os.close(stream)
    given = json.loads(data)
    if given["cwd"]:
        os.chdir(given["cwd"])
    if given["session"]:
        os.setsid()
    requests.send(b".")
    requests.close()
    words, environment = given["words"], given["environment"]
    if {name: value for name, value in environment.items() if name.startswith("PYTHON")} != _environment:
        os.execve(sys.executable, words, environment)  # what was imported here is not what it would import
    os.environ.clear()
    os.environ.update(environment)
    sys.path.insert(0, str(Path.cwd()))
    Popen.spare = None
    if NAMES[words[2]]:
        have_spare()
    sys.orig_argv, sys.argv = words, words[2:]
    end(exit_status(lambda: runpy.run_module(words[2], run_name="__main__", alter_sys=True)))


def exit_status(main: Callable[[], object]) -> int:
    """Run something, and the exit status that a process has at its end."""
    try:
        main()
    except SystemExit as ended:
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
        return ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
        return 1
    return 0
