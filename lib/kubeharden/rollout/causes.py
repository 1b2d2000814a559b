"""The line of a service's journal that says why it did not come up. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable

# klog and glog begin a line with its severity (F: the process ends itself with it), month and day.
_FATAL, _ERROR = re.compile(r"F\d{4} "), re.compile(r"E\d{4} ")
# Lines before the log is set up, such as pflag's "unknown flag: --x", and those of the Go runtime.
_PLAIN = re.compile(r"(?i)(?:error\b|unknown |invalid |flag provided|panic:|fatal)")


def cause_in(journal: str) -> str:
    """Return the last fatal line, else the last error, else the first that reads like one; empty where none does."""
    lines = [line.strip() for line in journal.splitlines()]
    return _last(_FATAL, lines) or _last(_ERROR, lines) or _last(_PLAIN, reversed(lines))


def _last(pattern: re.Pattern[str], lines: Iterable[str]) -> str:
    return next((line for line in reversed(list(lines)) if pattern.match(line)), "")
