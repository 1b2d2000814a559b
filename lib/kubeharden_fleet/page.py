"""Private. The page of a fleet: clusters by waves, with outcome, digest, seconds not Ready and record. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

from kubeharden_fleet.fleet import Fleet
from kubeharden_fleet.judge import (
    APPLIED,
    CHANGED,
    DONE,
    HALTING,
    NONE,
    RUNNING,
    TO_DO,
    Seen,
    not_ready_seconds,
    state_of,
)

DIGITS = 12  # of a digest; all of them are in the title
# The sign of a state, so that colours are not needed to read it.
SIGNS = {DONE: "✔", APPLIED: "…", RUNNING: "…", TO_DO: "·", CHANGED: "?", NONE: "–"}
WRONG = "✘"
# Nothing may be fetched and no script may run.
POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
STYLE = """
:root { color-scheme: light dark; --text: #1b1f24; --back: #ffffff; --faint: #57606a; --line: #d0d7de;
  --good: #116329; --bad: #a40e26; --link: #0550ae; }
@media (prefers-color-scheme: dark) { :root { --text: #e6edf3; --back: #0d1117; --faint: #9198a1; --line: #3d444d;
  --good: #56d364; --bad: #ff7b72; --link: #79c0ff; } }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); margin: 2rem auto;
  max-width: 75rem; padding: 0 1rem; }
table { border-collapse: collapse; width: 100%; margin-bottom: 2rem; }
th, td { text-align: left; vertical-align: top; padding: .35rem .7rem; border-bottom: 1px solid var(--line); }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
code { font: 13px ui-monospace, monospace; }
th.wave { padding-top: 1.5rem; font-size: 17px; }
a { color: var(--link); white-space: nowrap; }
.faint { color: var(--faint); } .good { color: var(--good); } .bad { color: var(--bad); font-weight: 600; }
"""
HEADS = ("Cluster", "Outcome", "Plan", "Approved by", "Not Ready, seconds", "Ended (UTC)", "Records")


def render(fleet: Fleet, runs: Mapping[str, Sequence[Seen]], folder: Path, when: str) -> str:
    """Return the page as HTML.

    Args:
        fleet: the fleet.
        runs: of each cluster, those of its last change, oldest first; see ``judge.last_change``.
        folder: where the page will be; links to records below it are relative.
        when: the time of this look, in words.
    """
    states = {name: state_of(seen[-1] if seen else None) for name, seen in runs.items()}
    done = sum(state.word == DONE for state in states.values())
    title = f"Fleet {fleet.fleet}"
    heads = "".join(f'<th scope="col">{head}</th>' for head in HEADS)
    waves = "".join(
        f'<tbody>\n<tr><th class="wave" scope="rowgroup" colspan="{len(HEADS)}">Wave {number}: {escape(wave.name)}</th>'
        f"</tr>\n{''.join(_row(fleet, name, runs.get(name, ()), folder) for name in wave.clusters)}</tbody>\n"
        for number, wave in enumerate(fleet.waves, 1)
    )
    return (
        f'<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f'<meta name="viewport" content="width=device-width">\n<title>{escape(title)}</title>\n'
        f"<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        f"<p>{done} of {len(fleet.clusters)} clusters are done. "
        f'<span class="faint">From their records, {escape(when)}.</span></p>\n'
        f"<table>\n<thead><tr>{heads}</tr></thead>\n{waves}</table>\n</body>\n</html>\n"
    )


def _row(fleet: Fleet, name: str, runs: Sequence[Seen], folder: Path) -> str:
    state = state_of(runs[-1] if runs else None)
    applied = [run for run in runs if run.mode == "apply"]
    subject = (applied or list(runs))[-1:]
    digest = subject[0].digest if subject else ""
    seconds = not_ready_seconds(runs)
    kind = "good" if state.word == DONE else "bad" if state.word in HALTING else ""
    why = f'<br><span class="faint">{escape(state.why)}</span>' if state.why else ""
    cells = (
        f'<th scope="row">{escape(name)}</th>',
        f'<td><span class="{kind}">{SIGNS.get(state.word, WRONG)} {escape(state.word)}</span>{why}</td>',
        f'<td><code title="{escape(digest)}">{escape(digest[:DIGITS])}</code></td>',
        f"<td>{escape(_approver(applied))}</td>",
        f'<td class="number">{"" if seconds is None else f"{seconds:.1f}"}</td>',
        f"<td>{escape(str(runs[-1].record.get('ended', ''))[:19].replace('T', ' ')) if runs else ''}</td>",
        f"<td>{'<br>'.join(_link(fleet, name, run, folder) for run in runs)}</td>",
    )
    return f"<tr>{''.join(cells)}</tr>\n"


def _approver(applied: Sequence[Seen]) -> str:
    found = [str((run.record.get("approval") or {}).get("approver", "")) for run in applied]
    return next(filter(None, reversed(found)), "")


def _link(fleet: Fleet, name: str, run: Seen, folder: Path) -> str:
    page = "notebook.html" if run.record.get("seal", {}).get("notebook") else ""
    target = fleet.runs_of(name) / run.run / page
    place = target.relative_to(folder).as_posix() if target.is_relative_to(folder) else target.as_uri()
    words = f"{run.mode or 'run'}: {run.record.get('result', 'unreadable')}"
    return f'<a href="{escape(place)}" title="{escape(run.run)}">{escape(words)}</a>'
