"""Views of a run: what it is, what its proof found, and how it ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from kubeharden.plan import Plan
from kubeharden.plan.events import Result
from kubeharden.plan.proof import Proof
from kubeharden.show import display, views
from kubeharden.show.display import BAD, GOOD, NOTE, Block, Message, Table, View
from kubeharden.show.impact_views import headline


def header_view(
    rows: Sequence[tuple[str, str]], rehearsals: Sequence[tuple[str, ...]], directory: str
) -> View:
    """Return the view of what a run is.

    Args:
        rows: names and values: the change, its mode, its nodes …
        rehearsals: rows of the rehearsal clusters there are; empty where the cluster is a real one.
        directory: where the rehearsal lives.
    """
    view = View([Table("This run", ("", ""), rows)])
    if rehearsals:
        view.add(Table("Rehearsal clusters", ("Name", "What it is", ""), rehearsals))
        view.add(Message(f"This is a rehearsal: its nodes live in {directory} and nowhere else."))
    return view


def approval_message(approver: str, *, same: bool) -> Message:
    """Say that a plan is the approved one, or that it is not."""
    if same:
        return Message(f"This is the plan that {approver or 'somebody'} approved.", GOOD)
    return Message("This is NOT the plan that was approved: it will not be carried out.", BAD)


def applied_view(step: str, results: Sequence[Result]) -> View:
    """Return the outcome of one step in a sentence; the results themselves were shown as they came."""
    bad = [result.subject for result in results if result.outcome not in ("done", "as it should be")]
    if bad:
        text = (
            f"{step}: NOT carried out on {len(bad)}, which max_failures allows: {', '.join(bad)}. See above."
        )
        return View([Message(text, BAD)])
    if all(result.outcome == "as it should be" for result in results):
        return View(
            [
                Message(
                    f"{step}: everything was as it should be; nothing was changed, nothing restarted.", GOOD
                )
            ]
        )
    return View([Message(f"{step}: carried out, proved and confirmed.", GOOD)])


def proof_view(proof: Proof) -> View:
    """Return what a second look found, problems first."""
    view = View()
    view.add(*display.sentences(proof.problems, BAD))
    view.add(*display.sentences(proof.confirmed, GOOD))
    view.add(*display.sentences(proof.notes, NOTE))
    if proof.services:
        view.add(views.services_view(proof.services))
    if proof.differences:
        view.add(views.effective_view(proof.differences))
    return view


def ending_view(
    plan: Plan, mode: str, changed: Sequence[Plan], left: Sequence[str], failed: Sequence[str]
) -> View:
    """Return the outcome of the plan as a whole, and the diffs of what was (or, in mode plan, would be) changed.

    Args:
        plan: the whole plan, the last one of the run.
        mode: ``apply`` or ``plan``.
        changed: what was carried out in the run, under this plan or an earlier one, part by part.
        left: the steps that had something to do and were not carried out, or not to their end.
        failed: what failed in the run and is not repaired: objects, services on nodes.
    """
    view = View(_ending(plan, mode, steps_of(changed), left, failed))
    for part in changed or ([plan.of(step) for step in left] if mode == "plan" else []):
        view.add(*views.summary_view(part).blocks)
    return view.add(*(headline(impact) for impact in plan.impacts if impact.breaking))


def steps_of(parts: Iterable[Plan]) -> list[str]:
    """Return the steps of parts of plans, each once, in their order."""
    return list(dict.fromkeys(step for part in parts for step in part.steps))


def record_message(folder: Path) -> Message:
    """Return where the record is, and how it is sealed."""
    return Message(
        f"Record of this run: {folder}. To seal it with this notebook, once that is saved: kubeharden seal {folder} "
        "NOTEBOOK (papermill --engine kubeharden does so by itself)."
    )


def _ending(
    plan: Plan, mode: str, done: Sequence[str], left: Sequence[str], failed: Sequence[str]
) -> list[Block]:
    """Return the outcome of the plan as a whole in a sentence or two."""
    if plan.refused and mode == "plan":
        return [
            Message("Nothing was changed. This plan would be refused; see what is red in section 4.", BAD)
        ]
    if not plan.needed and not done:
        return [Message("Nothing had to be done: no file, no object and no process was changed.", GOOD)]
    if mode == "plan":
        return [Message("Nothing was changed anywhere. This is what mode=apply would change:", NOTE)]
    ending: list[Block] = []
    if failed:
        ending.append(Message(f"Failed and NOT carried out: {', '.join(failed)}.", BAD))
    if left:
        names = (f"{step} (not to its end)" if step in done else step for step in left)
        ending.append(Message(f"Planned and NOT carried out: {', '.join(names)}.", BAD))
    if done:
        kind = NOTE if failed or left else GOOD
        ending.append(Message(f"Carried out: {', '.join(done)}. This is what was changed:", kind))
    return ending
