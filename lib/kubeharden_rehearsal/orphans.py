"""Processes whose parent has ended: the rehearsal is it then, as systemd is on a node."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36  # prctl(2)
_awaited: set[int] = set()


def adopt() -> None:
    """Become the parent of what children leave behind."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


async def end_of(session: int) -> int:
    """Wait for the process that the first one of a session left, and return its status; 0 where there is none."""
    left = [pid for pid, of, state in _children() if of == session and state != "Z"]
    if not left:
        return 0
    descriptor, ended, loop = os.pidfd_open(left[0]), asyncio.Event(), asyncio.get_running_loop()
    _awaited.add(left[0])
    loop.add_reader(descriptor, ended.set)
    try:
        await ended.wait()
        return os.waitstatus_to_exitcode(os.waitpid(left[0], 0)[1])
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)
        _awaited.remove(left[0])


def reap() -> None:
    """Let those go that have ended, unless somebody waits for them."""
    for pid, _, state in _children():
        if state == "Z" and pid not in _awaited:
            os.waitpid(pid, 0)


def _children() -> Iterator[tuple[int, int, str]]:
    """Yield process, session and state of each; what this process has started itself leads a session of its own."""
    for place in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, parent, _, session = place.read_text(encoding="latin-1").rpartition(")")[2].split()[:4]
            pid = int(place.parent.name)
            if int(parent) == os.getpid() and int(session) != pid:
                yield pid, int(session), state
