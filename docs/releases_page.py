"""Make docs/releases.md from what the runs on real clusters found (tests/lab/results, written by ``make lab-all``).

python docs/releases_page.py
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from kubeharden.releases import Release, feature

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "releases.md"
RESULTS = ROOT / "tests" / "lab" / "results"
TABLE = ROOT / "tests" / "lab" / "releases.yaml"
OPEN = ROOT / "tests" / "lab" / "open.yaml"
FACTS = ROOT / "tools" / "release_facts" / "facts"
USAGE = ROOT / "tests" / "releases" / "usage"
HEAD = """# Tried on real clusters

Made by `make lab-all`, which boots each release as a hand-built cluster (tests/lab), runs the notebooks on it, and
judges them by what nodes and API server themselves say. Do not edit it by hand: `tests/lab/results` has what the runs
wrote, and `python docs/releases_page.py` makes this page. What is not said to have passed did not pass.

**Next release** exchanges each program, in the order of an upgrade, for that of the next release in this table that
was built, on the nodes as the run has left them; the API server starts on what the one before it has stored. What
does not start, by what readiness says, must not, and gets its own program back; all else must start, and a kubelet
that starts must still run with what was hardened. This judges what was written, and what readiness says of it. It is
not a way to upgrade: Kubernetes supports an API server that is one minor release newer, and no longer jump.

"""
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


# What each row of the table of sources says, by the word in the file of facts.
SOURCES = """
## What the tables rest on

An experiment sets each flag in the release's own packages and looks at what changes; the rest was gathered from the
release's sources ([where facts come from](howto/release.md)). Every flag, what is deprecated and every default is held
against the `--help` of the five programs of each release that compiles: `tests/releases/usage` keeps what they said,
with the digests of the programs, and `tests/releases/test_help.py` compares. The oldest that the lab can build is 1.20.

| Kubernetes | facts of | taken by | held against `--help` of |
|---|---|---|---|"""


def page(
    results: Mapping[str, Mapping[str, Any]],
    releases: Mapping[str, Mapping[str, Any]],
    facts: Mapping[str, tuple[str, str]],
    known: Mapping[str, str],
    held: Mapping[str, str],
) -> str:
    """Return the page.

    Args:
        results: what the runs wrote, by release.
        releases: the releases of the lab.
        facts: of which patch release the facts about each release are, and how they were taken.
        known: why releases are not green, in words.
        held: of which patch release the programs are that each release's tables are held against.
    """
    parts = (
        _summary(results, releases),
        _reasons(releases, known),
        _details(results, releases),
        _sources(facts, held),
    )
    return HEAD + "\n".join(line for part in parts for line in part) + "\n"


def _summary(
    results: Mapping[str, Mapping[str, Any]], releases: Mapping[str, Mapping[str, Any]]
) -> Iterator[str]:
    yield f"| Kubernetes | why this one | tried | seconds | {' | '.join(ONCE)} |"
    yield "|---" * (4 + len(ONCE)) + "|"
    for name, row in releases.items():
        result = results.get(name, {})
        if "stages" not in result:
            words = result.get("left_out", "no run has tried it")
            day = result.get("date", "never")
            yield f"| {row['version']} | {row['why']} | {day}: {words} | {' | '.join(['–'] * (len(ONCE) + 1))} |"
            continue
        seconds = sum(stage["seconds"] for stage in result["stages"])
        cells = " | ".join(_cell(result["stages"], stage, row) for stage in ONCE)
        yield f"| {result['version']} | {row['why']} | {result['date']} | {seconds} | {cells} |"


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
        yield "| stage | outcome | seconds | what was seen |"
        yield "|---|---|---|---|"
        for stage in result["stages"]:
            other = (
                [f"by a run of {stage['date']}"]
                if stage.get("date", result["date"]) != result["date"]
                else []
            )
            saw = "; ".join(_plain(word) for word in (*other, *stage.get("saw", [])))
            yield f"| {stage['stage']} | {_plain(stage['outcome'])} | {stage['seconds']} | {saw} |"


def _sources(facts: Mapping[str, tuple[str, str]], held: Mapping[str, str]) -> Iterator[str]:
    yield SOURCES
    for name, (version, source) in facts.items():
        taken = source.replace("; sources", "; of the others, from sources")
        yield f"| {name} | {version.removeprefix('v')} | {taken} | {held.get(name, '–')} |"


def _plain(text: str) -> str:
    """Text that does not end a cell of the table."""
    return " ".join(text.split()).replace("|", "\\|").replace("<", "\\<")


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


if __name__ == "__main__":
    PAGE.write_text(page(read(), releases(), facts(), reasons(), programs()), encoding="utf-8")
