"""The lab's judge of a service that was told to restart, by the states that real ones went through."""

from __future__ import annotations

import pytest

from service_starts import Start, judged, state_of


def state(pid: int, sub: str, restarts: int = 0) -> dict[str, str]:
    return state_of(f"NRestarts={restarts}\nSubState={sub}\nMainPID={pid}\nActiveState=active")


@pytest.mark.parametrize(
    ("now", "settled", "found"),
    [
        # A controller manager that had lost its lease while the API server was away: restarted once, before.
        (state(10, "running", restarts=1), False, Start.OPEN),
        (state(10, "running", restarts=1), True, Start.OPEN),
        (state(11, "running"), False, Start.OPEN),
        (state(11, "running"), True, Start.STARTS),
        # An old API server waits for a minute while watches are open.
        (state(10, "stop-sigterm"), True, Start.STOPS),
        (state(0, "dead", restarts=1), False, Start.OPEN),
        (state(0, "auto-restart"), False, Start.FAILS),
        (state(12, "running", restarts=1), False, Start.FAILS),
    ],
)
def test_what_is_reported_of_the_old_process_counts_for_nothing(
    now: dict[str, str], settled: bool, found: Start
) -> None:
    assert judged(now, "10", settled=settled) is found


def test_one_that_may_stumble_starts_once_it_has_settled() -> None:
    assert judged(state(0, "auto-restart", restarts=1), "10", settled=False, may_stumble=True) is Start.OPEN
    assert judged(state(12, "running", restarts=2), "10", settled=True, may_stumble=True) is Start.STARTS


def test_one_that_did_not_run_before() -> None:
    assert judged(state(5, "running"), "0", settled=True) is Start.STARTS
