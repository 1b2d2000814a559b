"""Programs on this machine that have an end, and take what they have started with them."""

from __future__ import annotations

import errno
import os
import select
import selectors
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

MOST_BYTES = 64 * 1024**2  # that a program may print
_CHUNK = 1 << 16


def run(
    words: Sequence[str],
    seconds: float,
    payload: bytes = b"",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program, and return its status and what it printed; the environment is that of this process by default.

    Raises:
        OSError: it cannot be started, or prints more than it may.
        subprocess.TimeoutExpired: it took longer, or what it has started holds its output open for longer; the error
            has what it printed until then.
    """
    end = time.monotonic() + seconds
    # In a session of its own: Ctrl-C is for this process, and what it has started can be ended with it.
    process = subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
    )
    printed: dict[Any, bytearray] = {process.stdout: bytearray(), process.stderr: bytearray()}
    try:
        _talk(process, payload, printed, end)
        process.wait(max(0.0, end - time.monotonic()))
    except BaseException as error:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        if isinstance(error, (TimeoutError, subprocess.TimeoutExpired)):
            raise subprocess.TimeoutExpired(words, seconds, *map(bytes, printed.values())) from None
        raise
    finally:
        for pipe in (process.stdin, *printed):
            pipe.close()  # what holds the other end may go on: nobody waits for it
        process.wait()
    return subprocess.CompletedProcess(words, process.returncode, *map(bytes, printed.values()))


def _talk(process: Any, payload: bytes, printed: Mapping[Any, bytearray], end: float) -> None:
    """Give a program its input and take what it prints, until it has closed both outputs.

    Raises:
        OSError: it prints more than it may.
        TimeoutError: it took longer.
    """
    rest = memoryview(payload)
    ready: Any
    with selectors.DefaultSelector() as ready:
        ready.register(process.stdin, selectors.EVENT_WRITE)
        for pipe in printed:
            ready.register(pipe, selectors.EVENT_READ)
        while ready.get_map():
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            for key, _ in ready.select(left):
                if key.events == selectors.EVENT_WRITE:
                    rest = _write(key.fd, rest)
                    if not rest:
                        ready.unregister(process.stdin)
                        process.stdin.close()
                    continue
                chunk = os.read(key.fd, _CHUNK)
                printed[key.fileobj].extend(chunk)
                if len(printed[key.fileobj]) > MOST_BYTES:
                    raise OSError(errno.EFBIG, f"it prints more than {MOST_BYTES // 1024**2} MiB")
                if not chunk:
                    ready.unregister(key.fileobj)


def _write(handle: int, rest: memoryview) -> memoryview:
    """Write as much as a pipe takes at once; return what is left, nothing where nobody reads it."""
    try:
        return rest[os.write(handle, rest[: select.PIPE_BUF]) :]
    except BrokenPipeError:
        return rest[:0]
