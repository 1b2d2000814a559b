"""Views of a run: its parameters, its proof and its end. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Sequence
from pathlib import Path

from kubeharden.plan import Plan, Remark
from kubeharden.plan.events import AS_IT_SHOULD_BE, Completed, Result
from kubeharden.plan.proof import Proof
from kubeharden.records.archive import seal_command
from kubeharden.show import views
from kubeharden.show.display import BAD, GOOD, NOTE, Block, Message, View
from kubeharden.show.impact_views import headline
from kubeharden.show.views import left_as_it_is

SEALED_LATER = (
    "This notebook is written once all cells are over: papermill --engine kubeharden seals it then."
)


def approval_message(approver: str, *, same: bool) -> Message:
    """State whether a plan is the approved one."""
    if same:
        return Message(f"This is the plan that {approver or 'somebody'} approved.", GOOD)
    return Message("This is NOT the plan that was approved: it will not be carried out.", BAD)


def applied_view(step: str, results: Sequence[Result], left_out: Sequence[Remark]) -> View:
    """Sum up one step in a sentence, and what was left out of it; ``Progress`` has shown the results themselves."""
    view = View([Message(left_as_it_is(remark), BAD) for remark in left_out])
    if left_out and not results:
        return view
    if bad := [r.subject for r in results if r.outcome not in (Completed.action, AS_IT_SHOULD_BE)]:
        words = f"NOT carried out on {len(bad)}, which max_failures allows: {', '.join(bad)}. See above."
        return view.add(Message(f"{step}: {words}", BAD))
    words = "carried out, proved and confirmed."
    if all(result.outcome == AS_IT_SHOULD_BE for result in results):
        words = "everything was as it should be; nothing was changed, nothing restarted."
    return view.add(Message(f"{step}: {words}", GOOD))


def proof_view(proof: Proof) -> View:
    """Show what the proof found, problems first."""
    view = View()
    for kind, texts in ((BAD, proof.problems), (GOOD, proof.confirmed), (NOTE, proof.notes)):
        view.add(*(Message(text, kind) for text in texts))
    if proof.services:
        view.add(views.services_view(proof.services))
    if proof.differences:
        view.add(views.effective_view(proof.differences))
    return view


def ending_view(
    plan: Plan, mode: str, changed: Sequence[Plan], left: Sequence[str], failed: Sequence[str]
) -> View:
    """Sum up the run, with the diffs of what was changed (in mode plan: of what would be).

    Args:
        changed: the parts of plans that the run carried out, of this plan or an earlier one.
        left: the steps with changes that were not, or not all, carried out.
        failed: the subjects that failed and are not repaired: objects, services on nodes.
    """
    view = View(_ending(plan, mode, steps_of(changed), left, failed))
    for part in changed or ([plan.of(step) for step in left] if mode == "plan" else []):
        view.add(*views.summary_view(part).blocks)
    return view.add(*(headline(impact) for impact in plan.impacts if impact.breaking))


def steps_of(parts: Iterable[Plan]) -> list[str]:
    """Return the steps of these parts of plans, each once, in their order."""
    return list(dict.fromkeys(step for part in parts for step in part.steps))


def record_message(folder: Path, notebook: Path | None) -> Message:
    """Name the folder of the record, and what seals it, with its notebook where that is known (not to papermill)."""
    here = "run.seal() does it here, or on the command line" if notebook else "on the command line"
    return Message(
        f"Record of this run: {folder}. Once this notebook is saved, seal both: {here}: "
        f"{seal_command(folder, notebook)} (papermill --engine kubeharden does it by itself)."
    )


def sealed_by_hand(folder: Path) -> str:
    """Say what seals a run whose notebook is open somewhere that does not say which file it is."""
    return (
        "The file of this notebook is not known here. Save it, and seal it in a terminal: "
        f"{seal_command(folder)}"
    )


def sealed_words(folder: Path, files: int, key: str) -> str:
    """Say that a run is sealed."""
    check = shlex.join(["kubeharden", "verify", str(folder)])
    return f"Sealed {folder.name}: {files} files, signed with {key}. Check it with: {check}"


def _ending(
    plan: Plan, mode: str, done: Sequence[str], left: Sequence[str], failed: Sequence[str]
) -> list[Block]:
    """Sum up the run in a sentence or two."""
    if plan.stopping and mode == "plan":
        return [
            Message("Nothing was changed. This plan would be refused; see what is red in section 4.", BAD)
        ]
    ending: list[Block] = [Message(left_as_it_is(remark), BAD) for remark in plan.left_out]
    if not plan.needed and not done:
        else_ = " else" if ending else ""
        words = f"Nothing{else_} had to be done: no file, no object and no process was changed."
        return [*ending, Message(words, GOOD)]
    if mode == "plan":
        return [*ending, Message("Nothing was changed anywhere. This is what mode=apply would change:", NOTE)]
    if failed:
        ending.append(Message(f"Failed and NOT carried out: {', '.join(failed)}.", BAD))
    if left:
        names = (f"{step} (not to its end)" if step in done else step for step in left)
        ending.append(Message(f"Planned and NOT carried out: {', '.join(names)}.", BAD))
    if done:
        kind = NOTE if failed or left else GOOD
        ending.append(Message(f"Carried out: {', '.join(done)}. This is what was changed:", kind))
    return ending
