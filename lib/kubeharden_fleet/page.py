"""Private. The page of a fleet: clusters by waves, with outcome, digest, seconds not Ready and record. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from kubeharden.records.front import BAD, GOOD, OPEN, not_ready_of
from kubeharden.records.pages.markup import Markup, document, table, tag
from kubeharden_fleet.fleet import Fleet
from kubeharden_fleet.judge import (
    APPLIED,
    CHANGED,
    DONE,
    HALTING,
    NONE,
    RUNNING,
    SO_FAR,
    TO_DO,
    FleetRun,
    State,
    state_of,
)

DIGITS = 12  # of a digest; all of them are in the title
# The sign of a state, so that colours are not needed to read it.
SIGNS = {DONE: "✔", SO_FAR: "✔", APPLIED: "…", RUNNING: "…", TO_DO: "·", CHANGED: "?", NONE: "–"}
WRONG = "✘"
HEADINGS = ("Cluster", "Outcome", "Plan", "Approved by", "Not Ready, seconds", "Ended (UTC)", "Records")


def render(fleet: Fleet, runs: Mapping[str, Sequence[FleetRun]], folder: Path, when: str) -> str:
    """Return the page as HTML.

    Args:
        runs: of each cluster, those of its last change, oldest first; see ``judge.last_change``.
        folder: where the page will be; links to records below it are relative.
        when: the time of this look, in words.
    """
    states = {cluster.name: state_of(*_newest(runs.get(cluster.name, ()))) for cluster in fleet.clusters}
    waves = (
        tag(
            "section",
            tag("h2", f"Wave {number}: {wave.name}"),
            table(
                HEADINGS,
                (_cells(fleet, name, states[name], runs.get(name, ()), folder) for name in wave.clusters),
                class_="khf-fleet",
            ),
            class_="khf",
        )
        for number, wave in enumerate(fleet.waves, 1)
    )
    title = f"Fleet {fleet.fleet}"
    words = f"From their records, {when}. Written by kubeharden_fleet page, which writes it anew."
    return document(title, tag("h1", title), tag("p", f"{_count(states.values())} {words}"), *waves)


def not_ready_seconds(runs: Sequence[FleetRun]) -> float | None:
    """Return for how long nodes were not Ready, in seconds, all runs and nodes together; None where none says it."""
    values = [not_ready_of(change) for run in runs for change in run.record.get("changes", ())]
    counted = [seconds for seconds in values if seconds is not None]
    return sum(counted) if counted else None


def _count(states: Iterable[State]) -> str:
    words = [state.word for state in states]
    so_far = words.count(SO_FAR)
    more = f", and {so_far} so far: their next run has the rest" if so_far else ""
    return f"{words.count(DONE)} of {len(words)} clusters are done{more}."


def _newest(runs: Sequence[FleetRun]) -> tuple[FleetRun | None, Sequence[FleetRun]]:
    return (runs[-1], runs[-2::-1]) if runs else (None, ())


def _cells(fleet: Fleet, name: str, state: State, runs: Sequence[FleetRun], folder: Path) -> Iterator[str]:
    applied = [run for run in runs if run.mode == "apply"]
    subject = (applied or list(runs))[-1:]
    digest = subject[0].digest if subject else ""
    seconds = not_ready_seconds(runs)
    kind = GOOD if state.word in (DONE, SO_FAR) else BAD if state.word in HALTING else OPEN
    yield tag("th", name, scope="row")
    outcome = tag("div", f"{SIGNS.get(state.word, WRONG)} {state.word}", class_=f"khf-{kind}")
    yield tag("td", outcome, *([tag("div", state.why)] if state.why else []))
    yield tag("td", tag("code", digest[:DIGITS], title=digest))
    yield _approver(applied)
    yield tag("td", "" if seconds is None else f"{seconds:.1f}", class_="khf-number")
    yield str(runs[-1].record.get("ended", ""))[:19].replace("T", " ") if runs else ""
    yield tag("td", *(tag("div", _link(fleet, name, run, folder)) for run in runs))


def _approver(applied: Sequence[FleetRun]) -> str:
    names = [str((run.record.get("approval") or {}).get("approver", "")) for run in applied]
    return next(filter(None, reversed(names)), "")


def _link(fleet: Fleet, name: str, run: FleetRun, folder: Path) -> Markup:
    page = "notebook.html" if run.record.get("seal", {}).get("notebook") else ""
    target = fleet.runs_of(name) / run.name / page
    place = (
        quote(target.relative_to(folder).as_posix(), errors="surrogateescape")
        if target.is_relative_to(folder)
        else target.as_uri()
    )
    return tag(
        "a", f"{run.mode or 'run'}: {run.record.get('result', 'unreadable')}", href=place, title=run.name
    )
