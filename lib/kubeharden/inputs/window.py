"""The planned window of a change, as a parameter names it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

EXAMPLE = "2026-12-01T20:00Z/2026-12-01T23:30Z"


@dataclass(frozen=True)
class Window:
    """The time in which a change may be carried out, both ends included, in UTC."""

    start: datetime
    end: datetime

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a window: two times of ISO 8601 with a slash between them, each with ``Z`` or an offset.

        Raises:
            ValueError: it is not one, or ends before it starts.
        """
        times = [_time(part) for part in text.split("/")]
        if len(times) != 2:  # noqa: PLR2004 - a start and an end
            raise ValueError(f"is not a window; expected its start and its end, as in {EXAMPLE}")
        start, end = times
        if end <= start:
            raise ValueError("is a window that ends before it starts; expected the start first")
        return cls(start, end)

    def holds(self, moment: datetime) -> bool:
        """Return whether a moment is in it."""
        return self.start <= moment <= self.end

    def __str__(self) -> str:
        return f"{_minute(self.start)} to {_minute(self.end)} UTC"


def _time(text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
        if moment.tzinfo is not None and "T" in text:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise ValueError(
        f"is not a window: {text.strip()[:80]!r} has no date, or neither Z nor an offset; expected a start and an "
        f"end, as in {EXAMPLE}"
    )


def _minute(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%d %H:%M:%S").removesuffix(":00")
