"""Ctrl-C and SIGTERM while nodes are in hand: the run is asked to stop, and nothing is torn out of its middle.

JupyterLab's stop button and papermill's Ctrl-C reach the kernel as SIGINT. papermill passes its own SIGTERM on as
SIGINT, then SIGTERM after two seconds and a half, then SIGKILL after five (jupyter_client's shutdown). A node that is
not done by then puts itself back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class Stop(threading.Event):
    """Set when the run is to end; ``why`` says what asked for it."""

    why = ""


@contextmanager
def interrupts(stop: Stop) -> Iterator[None]:
    """Let SIGINT and SIGTERM set ``stop`` in here; a second SIGINT is a KeyboardInterrupt: leave at once.

    Signals can be taken by the main thread only; elsewhere, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ask_to_stop(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - the signature of a handler
        if number == signal.SIGINT and stop.is_set():
            raise KeyboardInterrupt
        stop.why = stop.why or ("Ctrl-C" if number == signal.SIGINT else "SIGTERM")
        stop.set()

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
