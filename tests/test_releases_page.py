"""docs/releases.md says what the runs on real clusters wrote, and nothing better than that."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("releases_page", ROOT / "docs" / "releases_page.py")
assert SPEC is not None
assert SPEC.loader is not None
releases_page = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(releases_page)

RELEASES = {
    "1.20": {"version": "1.20.2", "why": "old", "pod_security": ["psp"]},
    "1.37": {"version": "1.37.2", "why": "new", "pod_security": ["psp", "psa"]},
}


def row_of(version: str, results: dict[str, Any]) -> list[str]:
    lines = releases_page.page(results, RELEASES, {}, {}, {}).splitlines()
    [row] = [line for line in lines if line.startswith(f"| {version} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def result(*stages: tuple[str, str, list[str]]) -> dict[str, Any]:
    return {
        "version": "1.37.2", "date": "2026-01-02", "nodes": 2, "runtime": "containerd", "binaries": {"kubelet": "ab"},
        "stages": [{"stage": s, "outcome": o, "seconds": 7, "saw": saw} for s, o, saw in stages],
    }  # fmt: skip


def test_the_page_is_in_step_with_the_results() -> None:
    page = releases_page.page(
        releases_page.read(),
        releases_page.releases(),
        releases_page.facts(),
        releases_page.reasons(),
        releases_page.programs(),
    )
    assert releases_page.PAGE.read_text(encoding="utf-8") == page, "run: python docs/releases_page.py"


def test_a_release_that_no_run_has_tried_says_so() -> None:
    cells = row_of("1.20.2", {})
    assert "never: no run has tried it" in cells
    assert "passed" not in cells


def test_a_release_that_was_left_out_says_why() -> None:
    cells = row_of("1.37.2", {"1.37": {"version": "1.37.2", "date": "2026-01-02", "left_out": "no Go"}})
    assert cells[2] == "2026-01-02: no Go"
    assert "passed" not in cells


def test_a_stage_that_failed_and_those_after_it() -> None:
    stages = (
        ("boot", "passed", []),
        ("plan (psp)", "passed", []),
        ("plan (psa)", "FAILED: x", []),
        ("next release", "passed", ["left out: it is the newest"]),
    )
    cells = row_of("1.37.2", {"1.37": result(*stages)})
    assert cells[:4] == ["1.37.2", "new", "2026-01-02", "28"]
    by_stage = dict(zip(releases_page.ONCE, cells[4:], strict=True))
    assert by_stage.pop("boot") == "passed"
    assert by_stage.pop("plan") == "**FAILED**"
    assert by_stage.pop("next release") == "left out"
    assert set(by_stage.values()) == {"not reached"}


def test_what_is_held_against_programs_and_what_against_sources() -> None:
    facts = releases_page.facts()
    assert next(iter(facts)) == "1.10"
    assert facts["1.37"] == ("v1.37.2", "experiment")
    assert releases_page.programs()["1.37"] == "1.37.2"
    page = releases_page.page({}, RELEASES, facts, {"1.20": "not\n  yet"}, {"1.37": "1.37.2"})
    assert "- 1.20.2: not yet\n" in page
    _, _, table = page.partition("## What the tables rest on")
    rows = [line.strip("| ").split(" | ") for line in table.splitlines() if line.startswith("| 1.")]
    held = {cells[0]: cells[3] for cells in rows}
    assert held["1.37"] == "1.37.2"
    assert {name for name, version in held.items() if version != "–"} == {"1.37"}
