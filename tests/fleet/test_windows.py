"""Windows are open when they say, in the local time of their zone, over midnight and over a change of the clocks."""

from __future__ import annotations

from datetime import UTC, datetime, time
from zoneinfo import ZoneInfo

import pytest

from kubeharden_fleet.windows import Weekly, next_opening, opening_at

BERLIN = ZoneInfo("Europe/Berlin")
NIGHT = Weekly(("mon", "tue"), time(22), time(5), BERLIN)  # UTC+1 in winter
NOON = Weekly(("mon",), time(12), time(13), UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(f"{text}+00:00")


@pytest.mark.parametrize(
    ("now", "opening"),
    [
        ("2026-11-30T20:59:59", None),  # a Monday
        ("2026-11-30T21:00:00", "2026-11-30T21:00:00Z/2026-12-01T04:00:00Z"),
        ("2026-12-01T03:59:59", "2026-11-30T21:00:00Z/2026-12-01T04:00:00Z"),
        ("2026-12-01T04:00:00", None),
        ("2026-12-02T03:00:00", "2026-12-01T21:00:00Z/2026-12-02T04:00:00Z"),
        ("2026-12-02T22:00:00", None),  # a Wednesday
        ("2026-11-30T12:30:00", "2026-11-30T12:00:00Z/2026-11-30T13:00:00Z"),
        ("2026-07-06T20:00:00", "2026-07-06T20:00:00Z/2026-07-07T03:00:00Z"),  # summer time
    ],
)
def test_a_window_is_open_when_it_says(now: str, opening: str | None) -> None:
    found = opening_at([NIGHT, NOON], at(now))
    assert (None if found is None else str(found)) == opening


@pytest.mark.parametrize(
    ("now", "start"),
    [
        ("2026-11-30T10:00:00", "2026-11-30T12:00:00"),
        ("2026-11-30T13:00:00", "2026-11-30T21:00:00"),
        ("2026-12-02T05:00:00", "2026-12-07T12:00:00"),
        ("2026-12-07T12:00:00", "2026-12-07T21:00:00"),
    ],
)
def test_the_next_opening_is_the_first_one_after_now(now: str, start: str) -> None:
    assert next_opening([NIGHT, NOON], at(now)) == at(start)


def test_one_that_opens_when_it_closes_is_open_for_a_day() -> None:
    day = Weekly(("mon",), time(8), time(8), UTC)
    assert str(opening_at([day], at("2026-12-01T07:59:59"))) == "2026-11-30T08:00:00Z/2026-12-01T08:00:00Z"
    assert opening_at([day], at("2026-12-01T08:00:00")) is None


def test_a_night_in_which_the_clocks_go_back_is_an_hour_longer() -> None:
    night = Weekly(("sat",), time(22), time(5), BERLIN)
    found = opening_at([night], at("2026-10-24T21:00:00"))
    assert str(found) == "2026-10-24T20:00:00Z/2026-10-25T04:00:00Z"
