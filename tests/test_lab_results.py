"""docs/releases.md says what the runs on real clusters wrote, and nothing better than that."""

from __future__ import annotations

from typing import Any

from documents import lab_results

RELEASES = {
    "1.20": {"version": "1.20.2", "why": "old", "pod_security": ["psp"]},
    "1.37": {"version": "1.37.2", "why": "new", "pod_security": ["psp", "psa"]},
}


def row_of(version: str, results: dict[str, Any]) -> list[str]:
    [row] = [line for line in lab_results.report(results, RELEASES, {}) if line.startswith(f"| {version} |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def result(*stages: tuple[str, str, list[str]]) -> dict[str, Any]:
    return {
        "version": "1.37.2", "date": "2026-01-02", "nodes": 2, "runtime": "containerd", "binaries": {"kubelet": "ab"},
        "stages": [{"stage": s, "outcome": o, "seconds": 7, "saw": saw} for s, o, saw in stages],
    }  # fmt: skip


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
    by_stage = dict(zip(lab_results.ONCE, cells[4:], strict=True))
    assert by_stage.pop("boot") == "passed"
    assert by_stage.pop("plan") == "**FAILED**"
    assert by_stage.pop("next release") == "left out"
    assert set(by_stage.values()) == {"not reached"}


def test_what_is_not_green_says_why() -> None:
    assert "- 1.20.2: not yet" in list(lab_results.report({}, RELEASES, {"1.20": "not\n  yet"}))


def test_what_is_held_against_programs_and_what_against_sources() -> None:
    facts = lab_results.facts()
    assert next(iter(facts)) == "1.10"
    assert facts["1.37"] == ("v1.37.2", "experiment")
    assert lab_results.programs()["1.37"] == "1.37.2"
    rows = [line.strip("| ").split(" | ") for line in lab_results.sources(facts, {"1.37": "1.37.2"})][2:]
    held = {cells[0]: cells[3] for cells in rows}
    assert held["1.37"] == "1.37.2"
    assert {name for name, version in held.items() if version != "–"} == {"1.37"}
