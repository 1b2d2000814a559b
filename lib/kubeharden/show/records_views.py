"""Views of records: the register, one run, two runs side by side, the files of a node since a run. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kubeharden.plan.timeline import Timeline
from kubeharden.records.front import front_of
from kubeharden.records.reader import name_list, one_line
from kubeharden.records.register import Comparison, FileDifference, RegisterEntry
from kubeharden.records.seal_rows import seal_rows, sign_off_words, time_row
from kubeharden.records.verify import Verdict
from kubeharden.show.display import BAD, GOOD, Block, Course, Diff, Message, Table, View
from kubeharden.show.views import outcome_kind

NAMES_SHOWN = 3  # of nodes, in a row of the register


def names_on_lines(view: View) -> View:
    """Return a view of what others have named with each name on its line, whatever is in it."""
    blocks: list[Block] = [
        replace(
            block,
            headings=list(map(one_line, block.headings)),
            rows=[[one_line(str(c)) for c in r] for r in block.rows],
        )
        if isinstance(block, Table)
        else block
        for block in view.blocks
    ]
    return replace(view, blocks=blocks)


def register_view(entries: Sequence[RegisterEntry], verdicts: Mapping[str, Verdict] | None = None) -> View:
    """Show the runs, one in a row, with the verdict on each by its name; None where they were not verified."""
    headings = ("Run", "When (UTC)", "Who", "Cluster", "Change", "Mode", "Nodes", "Result", "Seal")
    view = View([Table(_runs(len(entries)), headings, [_row(e, verdicts) for e in entries], frozenset({0}))])
    for verdict in (verdicts or {}).values():
        view.add(
            *(Message(f"{verdict.folder.name}: {text}", BAD) for text in verdict.wrong if verdict.sealed)
        )
    return view.add(*(Message(f"{entry.run}: {text}", BAD) for entry in entries for text in entry.wrong))


def run_view(
    record: Mapping[str, Any], verdict: Verdict | None = None, course: Timeline | None = None
) -> View:
    """Show one run: its first page, its course over time where that is given, and then all of it."""
    front = front_of(record)
    told = [("Result", front.headline), *front.rows, *seal_rows(record, verdict)]
    # In a table of one line a row: the error has its lines where it stands by itself.
    view = View([Table(front.run, ("", ""), [(name, " ".join(text.split())) for name, text in told])])
    if front.grid:
        rows = [
            (row.name, *row.cells(), "" if row.not_ready is None else f"{row.not_ready:.1f} s")
            for row in front.grid
        ]
        view.add(Table("Nodes and steps", ("Node", *front.steps, "not Ready"), rows))
    if course is not None and course.bars:
        view.add(Course("The course of the run", course))
    return view.add(*details_view(record, verdict).blocks)


def details_view(record: Mapping[str, Any], verdict: Verdict | None) -> View:
    """Show what a run did: the result of each change, what was not done and why, and the diffs."""
    view = View()
    if verdict is not None:
        view.add(*(Message(text, BAD) for text in verdict.wrong), *(Message(text) for text in verdict.notes))
    changes = record.get("changes", ())
    if changes:
        rows = [(c["subject"], c["result"], _seconds(c["seconds"]), c["words"]) for c in changes]
        kinds = [outcome_kind(c["result"]) for c in changes]
        view.add(Table("What was done", ("What", "Result", "Took", "Message"), rows, kinds=kinds, kinds_in=1))
    left = record.get("not_done", ())
    if left:
        not_done = [(item["subject"], item["step"], item["why"]) for item in left]
        view.add(Table("What was planned and not done", ("What", "Step", "Why"), not_done))
    view.add(*(Message(f"{error['kind']}: {error['message']}", BAD) for error in record.get("errors", ())))
    proof = record.get("proof") or {}
    view.add(*(Message(text, BAD) for text in proof.get("problems", ())))
    view.add(*(Message(text, GOOD) for text in proof.get("confirmed", ())))
    for change in changes:
        view.add(*(Diff(f"{change['subject']}: {file['path']}", file["diff"]) for file in change["files"]))
        view.add(
            *(Diff(f"API: {item['action']} {change['subject']}", item["diff"]) for item in change["objects"])
        )
    return view


def comparison_view(one: str, other: str, comparison: Comparison) -> View:
    """Show the differences between two runs."""
    view = View()
    if comparison.clusters:
        words = f"{one} is a run on {comparison.clusters[0]}, and {other} on {comparison.clusters[1]}"
        view.add(Message(f"Two clusters: {words}. Their changes and files are not compared.", BAD))
    if comparison.facts:
        view.add(Table("Differences", ("", one, other), comparison.facts, frozenset({1, 2})))
    if comparison.changes:
        view.add(Table("Result of each change", ("", one, other), comparison.changes))
    if not any((comparison.facts, comparison.changes, comparison.files)):
        view.add(Message("The two runs do not differ.", GOOD))
    return view.add(*files_view(comparison.files).blocks)


def files_view(differences: Sequence[FileDifference]) -> View:
    """Show files of nodes with a sentence and a diff for each."""
    if not differences:
        return View()
    rows = [(file.node, file.path, file.words) for file in differences]
    view = View([Table("Files", ("Node", "Path", ""), rows, frozenset({1}))])
    return view.add(
        *(Diff(f"{file.node}: {file.path}", file.diff, open=True) for file in differences if file.diff)
    )


def _runs(count: int) -> str:
    return {0: "No run", 1: "1 run"}.get(count, f"{count} runs")


def _row(entry: RegisterEntry, verdicts: Mapping[str, Verdict] | None) -> tuple[str, ...]:
    return (
        entry.run,
        _minutes(entry.started),
        entry.who,
        entry.cluster,
        entry.change_id or "–",
        entry.mode,
        name_list(entry.nodes, NAMES_SHOWN),
        entry.result_words(NAMES_SHOWN),
        _seal(entry, verdicts),
    )


def _seal(entry: RegisterEntry, verdicts: Mapping[str, Verdict] | None) -> str:
    if not entry.sealed:
        return "not sealed"
    verdict = None if verdicts is None else verdicts.get(entry.run)
    if verdict is None:
        return "sealed, not verified"
    return f"verified: {verdict.signer}" if verdict.good else "WRONG, see below"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"


def _minutes(time: str) -> str:
    return time[:16].replace("T", " ")


def verdict_text(verdict: Verdict) -> str:
    """Return the verdict on one run as lines of a terminal."""
    name = one_line(verdict.folder.name)
    lines = [f"✘ {name}"]
    if verdict.rehearsal:
        lines = [f"· {name}: rehearsal, not sealed"]
    elif verdict.good:
        lines = [f"✔ {name}: as sealed on {verdict.sealed}, by {verdict.signer} ({verdict.key})"]
    if verdict.stamped:
        name, words = time_row(verdict)
        sign, _, time = words.partition(" ")
        lines.append(f"    {sign} {name.lower()}: {time}")
    if verdict.signed_off:
        sign, _, signed = sign_off_words(verdict).partition(" ")
        lines.append(f"    {sign} result signed off {signed}")
    wrong, notes = map(one_line, verdict.wrong), map(one_line, verdict.notes)
    return "\n".join((*lines, *(f"    ✘ {text}" for text in wrong), *(f"    • {text}" for text in notes)))
