"""Private. Times in which a fleet may be changed, each week anew. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, tzinfo

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
ISO = "%Y-%m-%dT%H:%M:%SZ"


@dataclass(frozen=True)
class Weekly:
    """A time of the week.

    Attributes:
        closes: the local time of day, of the next day where it is not later than ``opens``.
    """

    days: tuple[str, ...]
    opens: time
    closes: time
    zone: tzinfo


@dataclass(frozen=True)
class Opening:
    """One opening of a window, in UTC; the end is not part of it."""

    start: datetime
    end: datetime

    def __str__(self) -> str:
        """As the parameter ``window`` of a run has it."""
        return f"{self.start.strftime(ISO)}/{self.end.strftime(ISO)}"


def opening_at(windows: Sequence[Weekly], now: datetime) -> Opening | None:
    """Return the opening that ``now`` is in, the one that ends last; None where all are closed."""
    open_now = [opening for opening in _openings(windows, now) if opening.start <= now < opening.end]
    return max(open_now, key=lambda opening: opening.end, default=None)


def next_opening(windows: Sequence[Weekly], now: datetime) -> datetime:
    """Return when the next opening after ``now`` starts; ``windows`` has at least one."""
    return min(opening.start for opening in _openings(windows, now) if opening.start > now)


def _openings(windows: Sequence[Weekly], now: datetime) -> Iterator[Opening]:
    """Yield all openings from the day before ``now`` to the same day of the next week."""
    for window in windows:
        today = now.astimezone(window.zone).date()
        for day in (today + timedelta(days=number) for number in range(-1, 8)):
            if DAYS[day.weekday()] in window.days:
                yield _opening(window, day)


def _opening(window: Weekly, day: date) -> Opening:
    last = day if window.closes > window.opens else day + timedelta(days=1)
    start = datetime.combine(day, window.opens, window.zone)
    return Opening(start.astimezone(UTC), datetime.combine(last, window.closes, window.zone).astimezone(UTC))
