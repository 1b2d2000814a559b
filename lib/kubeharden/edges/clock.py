"""The clock of this machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime

from kubeharden.edges.ports import StopRequest


class SystemClock:
    """Time as it goes by on this machine."""

    def now(self) -> datetime:
        """Return the time of day."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Return seconds since some moment, whatever is done to the time of day."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait that long."""
        time.sleep(seconds)

    def wait(self, request: StopRequest, seconds: float) -> bool:
        """Wait until a stop is requested, that long at the most; return whether it is."""
        return request.wait(seconds)

    def repeat(self, work: Callable[[], object], every: float) -> Repeater:
        """Do some work every ``every`` seconds in a thread of its own, first after that time."""
        return Repeater(work, every)


class Repeater:
    """A thread that does some work again and again; it ends with the process."""

    def __init__(self, work: Callable[[], object], every: float) -> None:
        self._work, self._every = work, every
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End it, and wait until it has ended."""
        self._over.set()
        if self._thread is not threading.current_thread():
            self._thread.join()

    def _run(self) -> None:
        while not self._over.wait(self._every):
            self._work()
