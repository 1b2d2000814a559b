"""A run that puts back what another run changed: the same verbs, gates and transactions, with another plan."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from kubeharden.errors import ParameterError
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.sources import OpenCluster
from kubeharden.plan import Plan
from kubeharden.plan.events import RunStarted
from kubeharden.plan.step import Right
from kubeharden.plan.steps import names
from kubeharden.podsecurity import PolicySet
from kubeharden.records import PastRun, Record
from kubeharden.records.approval import Approval
from kubeharden.runs.rollback_plan import parts, rollback_plan
from kubeharden.runs.run import Run
from kubeharden.runs.run import verb as notebook_verb
from kubeharden.show import views
from kubeharden.show.display import GOOD, Message, View


class RollbackRun(Run):
    """One run of ``rollback.ipynb``: made by ``start_rollback``, walked by the notebook's cells."""

    def __init__(
        self,
        parameters: Parameters,
        inventory: Inventory,
        past: PastRun,
        record: Record,
        rehearsal: OpenCluster | None,
        approval: Approval | None,
    ) -> None:
        touched = {file.step for file in past.files} | {item.step for item in past.objects}
        steps = tuple(step for step in names() if step in touched)
        no_policies = PolicySet.model_construct(policies=[])  # a file of them must have one
        super().__init__(
            replace(parameters, steps=steps), inventory, no_policies, record, rehearsal, approval=approval
        )
        self.past = past

    @notebook_verb
    def show_all(self) -> View:
        """What would be put back, in full: every diff; the last step first."""
        view = View([Message(f"Putting back what {self.past.run} changed.")])
        for step in self._planned().steps:
            view.add(*views.step_view(self._planned(), step).blocks)
        return view

    @notebook_verb
    def roll_back(self) -> View:
        """Put everything back that the plan names, the last step first; in ``plan`` mode, say that nothing was.

        Raises:
            MigrationRefusedError: something was changed by somebody else since; nothing was put back.
            StepError: a node or an object failed; the later ones are untouched.
        """
        view = View()
        for step in self._planned().steps:
            view.add(*self.apply(step).blocks)
        if not self._planned().steps:
            view.add(Message("That run changed nothing: there is nothing to put back.", GOOD))
        return view

    def _rights(self) -> list[Right]:
        if self.parameters.mode == "plan":
            return []
        objects = (item.name.partition(" ") for item in self.past.objects)
        places = sorted({(kind, name.rpartition("/")[0]) for kind, _, name in objects})
        return [Right(verb, kind, place) for kind, place in places for verb in ("create", "update", "delete")]

    def _make_plan(self) -> Plan:
        plan = rollback_plan(self.past, self._seen(), self.nodes.backup)
        return replace(plan, steps=tuple(reversed(self.parameters.steps)))

    def _pieces(self, part: Plan) -> Iterable[Plan]:
        return parts(part)


def check_past(past: PastRun, cluster: str) -> None:
    """Check that a run can be put back on a cluster.

    Raises:
        ParameterError: it is a run on another one, or goes on.
    """
    ran_on = (past.last(RunStarted) or RunStarted()).cluster
    if ran_on != cluster:
        raise ParameterError(
            f"record: {past.run} is a run on {ran_on or 'an unknown cluster'}, and the inventory is of {cluster}; "
            "expected a run on the same"
        )
    if past.running:
        raise ParameterError(f"record: {past.run} still goes on; wait for its end")
