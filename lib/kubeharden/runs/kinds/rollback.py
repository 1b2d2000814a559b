"""rollback: put back what another run changed: the same verbs, rollout and transactions, with another plan."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, cast

from pydantic import Field

from kubeharden.errors import ParameterError
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameter_types import Objects, RecordFolder, Text
from kubeharden.inputs.parameters import ChangeParameters
from kubeharden.inputs.project import find, runs_folder
from kubeharden.plan import Plan
from kubeharden.plan.events import RunStarted
from kubeharden.plan.step import Right
from kubeharden.plan.steps import names
from kubeharden.records.evidence import evidence_of
from kubeharden.records.folder import PastRun, read_run
from kubeharden.records.later import runs_after
from kubeharden.records.names import find_run
from kubeharden.runs.kind import Backup, ChangeKind
from kubeharden.runs.rollback_objects import WRITTEN
from kubeharden.runs.rollback_plan import rollback_plan
from kubeharden.runs.verb import verb
from kubeharden.show import views
from kubeharden.show.display import GOOD, Message, View

if TYPE_CHECKING:
    from kubeharden.runs.run import Run


class RollbackParameters(ChangeParameters):
    """The parameters of ``rollback.ipynb``.

    Attributes:
        record: the run to put back: its folder, its name in the folder of runs, ``last``, or the id of its change.
        signers: whose signatures count: a public key or a file of allowed signers; empty as for ``verify``.
        accept_unvouched: the objects that a record may change although nobody vouches for it, as ``Namespace shop``.
    """

    record: RecordFolder = Field("", validate_default=True)
    signers: Text = ""
    accept_unvouched: Objects = ()


@verb
def show_all(run: Run) -> View:
    """Show what would be put back, in full: every diff; the last step first."""
    past = cast("Rollback", run.kind).past
    view = View([Message(f"Putting back what {past.run} changed.")])
    for step in run.current_plan.steps:
        view.add(*views.step_view(run.current_plan, step).blocks)
    return view


@verb
def roll_back(run: Run) -> View:
    """Put everything back that the plan names, the last step first; in ``plan`` mode, say that nothing was.

    Raises:
        MigrationRefusedError: something was changed by somebody else since; nothing was put back.
        StepError: a node or an object failed; the later ones are untouched.
    """
    view = View()
    run.ask_at_once()
    for step in run.current_plan.steps:
        view.add(*run.apply(step).blocks)
    if not run.current_plan.steps:
        view.add(Message("That run changed nothing: there is nothing to put back.", GOOD))
    return view


class Rollback(ChangeKind[RollbackParameters]):
    """A run of ``rollback.ipynb``."""

    name = "rollback"
    parameters_model = RollbackParameters
    verbs = (show_all, roll_back)

    def __init__(self, parameters: RollbackParameters) -> None:
        super().__init__(parameters)
        self.past = read_run(_folder(parameters))
        steps = {file.step for file in self.past.files} | {item.step for item in self.past.objects}
        self.steps = tuple(step for step in names() if step in steps)

    def check(self, inventory: Inventory) -> None:
        """Check that the run can be put back on this cluster, and what vouches for its record."""
        super().check(inventory)
        check_past(self.past, inventory.cluster)
        self.evidence = evidence_of(self.past, self.parameters.signers)

    def rights(self, version: str) -> Sequence[Right]:  # noqa: ARG002 - the signature of a kind
        """Return the rights to put back every object that the run meant to change."""
        objects = (item.name.partition(" ") for item in self.past.objects)
        places = sorted({(kind, name.rpartition("/")[0]) for kind, _, name in objects if kind in WRITTEN})
        return [Right(verb, kind, place) for kind, place in places for verb in ("create", "update", "delete")]

    def make_plan(self, facts: Facts, backup: Backup) -> Plan:
        """Return the plan that puts back what the run changed, the last step first."""
        steps, accepted = tuple(reversed(self.steps)), self.parameters.accept_unvouched
        return rollback_plan(
            self.past, self.evidence, facts, backup, steps, accepted, lambda: runs_after(self.past)
        )

    def pieces(self, part: Plan) -> Iterable[Plan]:
        """Return the nodes of a step, then its objects: what used the objects goes first."""
        return replace(part, object_changes=()), replace(part, node_changes=())


def _folder(p: RollbackParameters) -> Path:
    """Return the folder of the run to put back; a run that changed nothing is not meant by ``last`` or by a change.

    Raises:
        ParameterError: there is no such run, or several are meant.
    """
    path = find(p.record)
    if path.exists() or path.is_symlink():
        return path
    try:
        return find_run(p.record, parent=runs_folder(p.output_dir), changing=True)
    except ParameterError as error:
        raise ParameterError(f"record: {error}") from None


def check_past(past: PastRun, cluster: str) -> None:
    """Check that a run can be put back on a cluster; a ParameterError says that it ran on another, or goes on."""
    ran_on = (past.last(RunStarted) or RunStarted()).cluster
    if ran_on != cluster:
        raise ParameterError(
            f"record: {past.run} is a run on {ran_on or 'an unknown cluster'}, and the inventory is of {cluster}; "
            "expected a run on the same"
        )
    if past.running:
        raise ParameterError(f"record: {past.run} still goes on; wait for its end")
