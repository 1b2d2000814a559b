"""Whether a service starts that was told to restart, by what ``systemctl show`` says of it from then on. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum

# What has to be asked for.
PROPERTIES = ("ActiveState", "SubState", "MainPID", "NRestarts")


class Start(Enum):
    """What is known of it."""

    OPEN = "nothing is known yet"
    STARTS = "its own process runs, and has done so for long enough"
    FAILS = "systemd has had to start it again"
    STOPS = "its old process was told to stop, and has not ended"


def state_of(shown: str) -> dict[str, str]:
    """What ``systemctl show -p …`` printed, by property."""
    return dict(line.split("=", 1) for line in shown.splitlines())


def judged(now: Mapping[str, str], before: str, *, settled: bool, may_stumble: bool = False) -> Start:
    """What a state says.

    Args:
        now: the properties.
        before: the process that ran when it was told to restart; 0 for none. What is said of that one counts for
            nothing: ``NRestarts`` is of the time before, until systemd has started another one.
        settled: the state has not changed for as long as a process must run.
        may_stumble: systemd may have to start it more than once.
    """
    is_new = now["MainPID"] not in ("0", before)
    if now["SubState"] == "stop-sigterm":
        return Start.STOPS
    if not may_stumble and (now["SubState"] == "auto-restart" or (is_new and now["NRestarts"] != "0")):
        return Start.FAILS
    return Start.STARTS if is_new and now["SubState"] == "running" and settled else Start.OPEN
