"""Programs on this machine that have an end, and take what they have started with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path


def run(
    words: Sequence[str],
    seconds: float,
    payload: bytes = b"",
    folder: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> subprocess.CompletedProcess[bytes]:
    """Run a program, and return its status and what it printed; the environment is that of this process by default.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it took longer; the error has what it printed until then.
    """
    # In a session of its own: Ctrl-C is for this process, and what it has started can be ended with it.
    with subprocess.Popen(
        words,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        cwd=folder,
        env=environment,
        start_new_session=True,
    ) as process:
        try:
            output, complaints = process.communicate(payload, timeout=seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            output, complaints = process.communicate()
            raise subprocess.TimeoutExpired(words, seconds, output, complaints) from None
    return subprocess.CompletedProcess(words, process.returncode, output, complaints)
