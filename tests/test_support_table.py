"""The table of what is covered is the one that the release tables give."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from kubeharden.releases import FIRST, LAST

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("support_table", ROOT / "docs" / "support_table.py")
assert SPEC is not None
assert SPEC.loader is not None
support_table = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(support_table)


def test_the_page_is_in_step_with_the_tables() -> None:
    page = (ROOT / "docs" / "support.md").read_text(encoding="utf-8")
    assert support_table.with_table(page) == page, "run: python docs/support_table.py"


def test_every_release_has_a_row() -> None:
    rows = [line.split(" | ") for line in support_table.support_table().splitlines()[2:]]
    assert [row[0].strip("| ") for row in rows] == [f"1.{m}" for m in range(FIRST.minor, LAST.minor + 1)]
    assert {len(row) for row in rows} == {len(support_table.HEAD)}


def test_what_is_noted_of_a_release_comes_from_the_tables() -> None:
    rows = {line.split()[1]: line for line in support_table.support_table().splitlines()[2:]}
    assert "`--allow-privileged` is gone" in rows["1.15"]
    assert "`--network-plugin` is gone" in rows["1.24"]
    assert "PodSecurityPolicy, Pod Security Admission" in rows["1.24"]
    assert "PodSecurityPolicy" not in rows["1.25"]
    assert "refused by kube-scheduler" in rows["1.19"]
    assert "| v1beta1, v1beta2 |" in rows["1.22"]


def test_a_page_without_the_markers_is_an_error() -> None:
    with pytest.raises(ValueError, match="end of support table"):
        support_table.with_table("# kubeharden\n")
