"""What a node says of its transactions, as plain data, whatever it says."""

from __future__ import annotations

import pytest

from kubeharden.edges.nodes.transaction import read_transactions
from kubeharden.redaction import Redactor

SINCE = "2026-03-01T23:59:50Z"


@pytest.mark.parametrize(
    ("since", "seconds", "until"),
    [
        (SINCE, "20", "2026-03-02T00:00:10Z"),
        (SINCE, "0.6", "2026-03-01T23:59:50Z"),
        (SINCE, "-", ""),  # an archive without a deadline
        ("-", "20", ""),  # it is over
        (SINCE, "inf", ""),
        (SINCE, "nan", ""),
        (SINCE, "1e300", ""),
        ("", "20", ""),  # a node without "date -r"
    ],
)
def test_until_when_a_change_is_open_is_reported_where_it_can_be(
    since: str, seconds: str, until: str
) -> None:
    text = f"@transaction r open waiting kubelet {since} {seconds} ops@bastion, process 7\n@end\n"
    [found] = read_transactions("n1", text, Redactor())
    assert (found.since, found.until, found.holder) == (since, until, "ops@bastion, process 7")
