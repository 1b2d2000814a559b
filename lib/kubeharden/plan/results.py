"""What became of a change: plain data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Result:
    """What became of one change: ``done``, ``as it should be`` or ``failed``."""

    subject: str
    outcome: str
    words: str
    seconds: float = 0.0


@dataclass(frozen=True)
class Checked:
    """One thing that was checked, and what was found."""

    what: str
    found: str
    good: bool = True
