"""The one line of a journal that says why a service did not come up."""

from __future__ import annotations

import pytest

from kubeharden.rollout.causes import cause_in

WARNINGS = "Flag --address has been deprecated, see the config file\n" * 9


@pytest.mark.parametrize(
    ("journal", "cause"),
    [
        ("", ""),
        (WARNINGS + "I1126 14:22:24.3 51 server.go:191] begins", ""),
        (
            WARNINGS + "E1126 1 x.go:1] a\nF1126 1 server.go:190] cannot load it\nE1126 1 y.go:1] b\nStopped it.",
            "F1126 1 server.go:190] cannot load it",
        ),
        ("E1126 1 x.go:1] first\nE1126 1 run.go:74] command failed\nStopped it.", "E1126 1 run.go:74] command failed"),
        ("unknown flag: --nonsense\nUsage:\n  kubelet [flags]\nError: again", "unknown flag: --nonsense"),
        ("Failed with result 'exit-code'.", ""),
    ],
)  # fmt: skip
def test_the_cause_is_one_line(journal: str, cause: str) -> None:
    assert cause_in(journal) == cause
