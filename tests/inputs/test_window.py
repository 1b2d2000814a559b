"""The planned window of a change: which texts are one, and which moments are in it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from kubeharden.errors import ParameterError
from kubeharden.inputs.parameters import Parameters, read_parameters
from kubeharden.inputs.window import EXAMPLE, Window


def test_a_window_has_its_start_and_its_end_in_utc() -> None:
    window = Window.parse(EXAMPLE)
    assert str(window) == "2026-12-01 20:00 to 2026-12-01 23:30 UTC"
    assert window == Window.parse("2026-12-02T05:00+09:00/2026-12-02T08:30+09:00")
    for moment, held in (("19:59:59", False), ("20:00:00", True), ("23:30:00", True), ("23:30:01", False)):
        at = datetime.fromisoformat(f"2026-12-01T{moment}").replace(tzinfo=UTC)
        assert window.holds(at) is held, moment


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("tonight", "has no date, or neither Z"),
        ("2026-12-01T20:00Z", "expected its start and its end"),
        ("2026-12-01T20:00Z/2026-12-01T21:00Z/2026-12-01T22:00Z", "expected its start and its end"),
        ("2026-12-01T20:00/2026-12-01T21:00", "has no date, or neither Z nor an offset"),
        ("2026-12-01/2026-12-02", "has no date, or neither Z nor an offset"),
        ("2026-12-01T20:00Z/2026-12-01T20:00Z", "ends before it starts"),
        ("0001-01-01T00:00+14:00/0001-01-02T00:00Z", "has no date"),
    ],
)
def test_what_is_not_a_window_is_refused_by_name(text: str, why: str) -> None:
    with pytest.raises(ParameterError, match=f"window: .*{why}"):
        read_parameters(Parameters, {"window": text})


def test_a_kind_of_change_is_one_of_three() -> None:
    assert read_parameters(Parameters, {"change_kind": "emergency"}).change_kind == "emergency"
    with pytest.raises(ParameterError, match=r"change_kind: 'urgent' .*standard, normal, emergency"):
        read_parameters(Parameters, {"change_kind": "urgent"})
