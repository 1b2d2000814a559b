"""Results of runs on real clusters, for docs/releases.md: tests/lab/results, which ``make lab-all`` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from documents.markdown import table
from kubeharden.releases import Release, feature

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "tests" / "lab" / "results"
TABLE = ROOT / "tests" / "lab" / "releases.yaml"
OPEN = ROOT / "tests" / "lab" / "open.yaml"
FACTS = ROOT / "tools" / "release_facts" / "facts"
USAGE = ROOT / "tests" / "releases" / "usage"
# The stages that a release has once for each way of pod security, in their order, and then those that it has once.
ENFORCE = "enforce"  # PodSecurityPolicy has no such stage
CONFIGZ = "nodes/configz alone"  # a right that came with a release
HELP = "--help"
WAYS = (
    "plan",
    "harden",
    "proof",
    ENFORCE,
    "second run",
    CONFIGZ,
    "kube-proxy's file changes",
    "poisoned change",
    "rollback",
)
ONCE = ("boot", HELP, *WAYS, "harden for the next release", "readiness", "next release")


def report(
    results: Mapping[str, Mapping[str, Any]],
    releases: Mapping[str, Mapping[str, Any]],
    known: Mapping[str, str],
) -> Iterator[str]:
    """Yield a row for each release, what is not green, and what each run saw.

    Args:
        results: what the runs wrote, by release.
        releases: the releases of the lab.
        known: why releases are not green, in words.
    """
    yield from table(
        ("Kubernetes", "why this one", "tried", "seconds", *ONCE),
        [_row(results.get(name, {}), row) for name, row in releases.items()],
    )
    yield from _reasons(releases, known)
    yield from _details(results, releases)


def sources(facts: Mapping[str, tuple[str, str]], held: Mapping[str, str]) -> Iterator[str]:
    """Yield a row for each release of which there are tables.

    Args:
        facts: of which patch release the facts about each release are, and how they were taken.
        held: of which patch release the programs are that each release's tables are held against.
    """
    rows = [
        (
            name,
            version.removeprefix("v"),
            source.replace("; sources", "; of the others, from sources"),
            held.get(name, "–"),
        )
        for name, (version, source) in facts.items()
    ]
    return table(("Kubernetes", "facts of", "taken by", "held against `--help` of"), rows)


def _row(result: Mapping[str, Any], row: Mapping[str, Any]) -> tuple[str, ...]:
    if "stages" not in result:
        words = f"{result.get('date', 'never')}: {result.get('left_out', 'no run has tried it')}"
        return (row["version"], row["why"], words, *["–"] * (len(ONCE) + 1))
    seconds = sum(stage["seconds"] for stage in result["stages"])
    cells = [_cell(result["stages"], stage, row) for stage in ONCE]
    return (result["version"], row["why"], result["date"], str(seconds), *cells)


def _reasons(releases: Mapping[str, Mapping[str, Any]], known: Mapping[str, str]) -> Iterator[str]:
    if known:
        yield "\n## What is not green, and why\n"
        yield from (
            f"- {releases[name]['version']}: {' '.join(words.split())}" for name, words in known.items()
        )


def _cell(stages: list[Mapping[str, Any]], name: str, row: Mapping[str, Any]) -> str:
    if name == ENFORCE and "psa" not in row["pod_security"]:
        return "–"
    if name == CONFIGZ and not feature("nodes/configz").in_release(Release.parse(row["version"])):
        return "–"
    found = [stage for stage in stages if stage["stage"] == name or stage["stage"].startswith(f"{name} (")]
    if not found:
        return "not reached"
    if any(stage["outcome"] != "passed" for stage in found):
        return "**FAILED**"
    left_out = all(word.startswith("left out") for stage in found for word in stage.get("saw") or ["passed"])
    return "left out" if left_out else "passed"


def _details(
    results: Mapping[str, Mapping[str, Any]], releases: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    for name in releases:
        result = results.get(name, {})
        if "stages" not in result:
            continue
        digests = ", ".join(f"{program} `{digest}`" for program, digest in result["binaries"].items())
        yield f"\n## {result['version']}\n"
        yield f"{result['date']}, {result['nodes']} nodes, {result['runtime']}."
        yield f"SHA-256 of the programs begins with: {digests}.\n"
        rows = [_stage(stage, result["date"]) for stage in result["stages"]]
        yield from table(("stage", "outcome", "seconds", "what was seen"), rows)


def _stage(stage: Mapping[str, Any], day: str) -> tuple[str, ...]:
    other = [f"by a run of {stage['date']}"] if stage.get("date", day) != day else []
    saw = "; ".join(_plain(word) for word in (*other, *stage.get("saw", [])))
    return (stage["stage"], _plain(stage["outcome"]), str(stage["seconds"]), saw)


def _plain(text: str) -> str:
    """Return a text on one line, without tags."""
    return " ".join(text.split()).replace("<", "\\<")


def read(folder: Path = RESULTS) -> dict[str, Any]:
    """Return what the runs wrote, by release."""
    return {path.stem: yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yaml")}


def releases() -> dict[str, Any]:
    """Return the releases of the lab."""
    return dict(yaml.safe_load(TABLE.read_text(encoding="utf-8"))["releases"])


def reasons() -> dict[str, str]:
    """Return why releases are not green, in words."""
    return dict(yaml.safe_load(OPEN.read_text(encoding="utf-8")) or {})


def facts(folder: Path = FACTS) -> dict[str, tuple[str, str]]:
    """Return by release, oldest first, of which patch release its facts are, and how they were taken."""
    paths = sorted(folder.glob("*.yaml"), key=lambda path: int(path.stem.partition(".")[2]))
    return {path.stem: (version, source) for path in paths for version, source in [_top(path, 2)]}


def programs(folder: Path = USAGE) -> dict[str, str]:
    """Return by release of which patch release the programs are whose ``--help`` is kept."""
    return {path.stem: _top(path, 1)[0] for path in folder.glob("*.yaml")}


def _top(path: Path, count: int) -> list[str]:
    """Return the values of the first lines of a file: to read all of it would take seconds."""
    with path.open(encoding="utf-8") as file:
        return [next(file).partition(": ")[2].strip() for _ in range(count)]
