"""Says how many crash points were tried."""

from __future__ import annotations

import pytest


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    tried = [
        value
        for report in terminalreporter.stats.get("passed", ())
        for name, value in report.user_properties
        if name == "crash points"
    ]
    if tried:
        points, known = sum(t[0] for t in tried), sum(t[1] for t in tried)
        terminalreporter.write_line(
            f"crash points: {points} of {known} tried, and after each the node was whole"
        )
