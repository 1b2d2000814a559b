"""The register as HTML: the runs of each cluster, the newest first, with links to their pages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import quote

from kubeharden.records.front import BAD, RESULT_SIGNS, RESULTS
from kubeharden.records.pages.markup import Markup, document, table, tag
from kubeharden.records.reader import name_list
from kubeharden.records.register import RegisterEntry
from kubeharden.records.seal_rows import sign_off_words, time_row
from kubeharden.records.verify import Verdict

HEADINGS = ("Run", "When (UTC)", "Who", "Change", "Mode", "Nodes", "Result", "Seal", "See also")
NODES_SHOWN = 4


@dataclass(frozen=True)
class RunRow:
    """A run in the register."""

    entry: RegisterEntry
    verdict: Verdict | None  # the verdict on it; None where nobody says whose signatures count
    page: str
    links: Mapping[str, str]  # other pages about it: what they are called, and their paths


def register_html(rows: Sequence[RunRow], now: str) -> str:
    """Return the register of these runs, as it was at a time."""
    clusters: dict[str, list[RunRow]] = {}
    for row in rows:
        clusters.setdefault(row.entry.cluster or "unknown cluster", []).append(row)
    sections = (
        tag(
            "section",
            tag("h2", f"{name}: {_count(len(its))}"),
            table(HEADINGS, map(_cells, its), class_="khf-register"),
            class_="khf",
        )
        for name, its in clusters.items()
    )
    head = tag(
        "p", f"{_count(len(rows))}, as of {now}. Written by kubeharden register, which writes it anew."
    )
    return document("Register of runs", tag("h1", "Register of runs"), head, *sections)


def _count(runs: int) -> str:
    return "1 run" if runs == 1 else f"{runs} runs"


def _cells(row: RunRow) -> Iterator[str]:
    entry = row.entry
    kind = RESULTS.get(entry.result, BAD)
    yield tag("td", _link(row.page, entry.run))
    yield entry.started[:16].replace("T", " ")
    yield entry.who
    yield entry.change_id or "–"
    yield entry.mode
    yield name_list(entry.nodes, NODES_SHOWN)
    yield tag("td", f"{RESULT_SIGNS[kind]} {entry.result_words(NODES_SHOWN)}", class_=f"khf-{kind}")
    yield _seal(row)
    yield tag("td", *(tag("div", _link(path, name)) for name, path in row.links.items()))


def _link(path: str, text: str) -> Markup:
    return tag("a", text, href=quote(path, errors="surrogateescape"))


def _seal(row: RunRow) -> Markup:
    verdict = row.verdict
    if verdict is None:
        return tag("td", "sealed, not verified" if row.entry.sealed else "not sealed")
    if verdict.rehearsal:
        return tag("td", "· rehearsal, not sealed")
    if verdict.wrong:
        return tag("td", f"✘ {'; '.join(verdict.wrong)}", class_="khf-bad")
    words = [f"✔ {verdict.signer}, {verdict.sealed}"]
    if verdict.stamped:
        name, time = time_row(verdict)
        words.append(f"{name.lower()}: {time}")
    if verdict.signed_off:
        words.append(f"signed off: {sign_off_words(verdict)}")
    return tag("td", *(tag("div", line) for line in words), class_="khf-good")
