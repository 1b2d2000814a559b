"""The table of what is covered is the one that the release tables give."""

from __future__ import annotations

from documents.support_table import HEAD, support_table
from kubeharden.releases import FIRST, LAST

ROWS = list(support_table())[2:]


def test_every_release_has_a_row() -> None:
    rows = [line.split(" | ") for line in ROWS]
    assert [row[0].strip("| ") for row in rows] == [f"1.{m}" for m in range(FIRST.minor, LAST.minor + 1)]
    assert {len(row) for row in rows} == {len(HEAD)}


def test_what_is_noted_of_a_release_comes_from_the_tables() -> None:
    rows = {line.split()[1]: line for line in ROWS}
    assert "`--allow-privileged` is gone" in rows["1.15"]
    assert "`--network-plugin` is gone" in rows["1.24"]
    assert "PodSecurityPolicy, Pod Security Admission" in rows["1.24"]
    assert "PodSecurityPolicy" not in rows["1.25"]
    assert "refused by kube-scheduler" in rows["1.19"]
    assert "| v1beta1, v1beta2 |" in rows["1.22"]
