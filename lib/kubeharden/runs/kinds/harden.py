"""harden: move flags to config files, harden the components, and hold pods to a pod security."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from kubeharden.components import Profile
from kubeharden.errors import ParameterError
from kubeharden.facts import Facts
from kubeharden.inputs.documents import read_document
from kubeharden.inputs.inventory import Inventory, Network
from kubeharden.inputs.parameter_types import is_own_profile
from kubeharden.inputs.parameters import Parameters, check_dns_ip
from kubeharden.inputs.project import POLICIES, find, project_folder
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.events import JudgedPods
from kubeharden.plan.model import Remark
from kubeharden.plan.step import POD_SECURITY, Right
from kubeharden.plan.steps import select_steps
from kubeharden.podsecurity.policies import read_policies
from kubeharden.records.provenance import file_digest
from kubeharden.runs.kind import Backup, ChangeKind
from kubeharden.runs.verb import verb
from kubeharden.show.display import View
from kubeharden.show.impact_views import impact_view

if TYPE_CHECKING:
    from kubeharden.runs.run import Run


@verb
def impact(run: Run) -> View:
    """Show what runs today and would not start again under what is planned; nothing is changed."""
    impacts = run.current_plan.impacts
    run.emit(JudgedPods([str(j) for impact in impacts for j in impact.breaking]))
    return impact_view(impacts)


class Harden(ChangeKind[Parameters]):
    """A run of ``harden.ipynb``."""

    name = "harden"
    parameters_model = Parameters
    verbs = (impact,)

    def __init__(self, parameters: Parameters) -> None:
        super().__init__(parameters)
        path = parameters.policies
        self.policies = read_policies(find(path) if path else project_folder() / POLICIES)
        self.profile = _own_profile(parameters.profile)
        self.steps = parameters.steps

    @property
    def label(self) -> str:
        """The name of the only step, where there is one only."""
        return self.steps[0] if len(self.steps) == 1 else self.name

    def check_network(self, ranges: Sequence[Network], source: str) -> None:
        """Check the IP of the cluster DNS Service."""
        check_dns_ip(self.parameters.dns_ip, ranges, source)

    def rights(self, version: str) -> Sequence[Right]:
        """Return the rights that the steps may need."""
        steps = select_steps(self.steps)
        return [right for step in steps for right in step.rights(self.parameters, self.policies, version)]

    def make_plan(self, facts: Facts, backup: Backup) -> Plan:  # noqa: ARG002 - the signature of a kind
        """Return the plan of the steps."""
        parameters = self.parameters.model_copy(update={"steps": self.steps})
        plan = make_plan(facts, parameters, self.policies, self.profile)
        return replace(plan, remarks=(*self._steps_left_out(), *plan.remarks))

    def _steps_left_out(self) -> Iterator[Remark]:
        for step in self.parameters.steps:
            if step not in self.steps:
                why = "is of the whole cluster, and nodes names none of its control plane: it is left undone"
                yield Remark(step, why)

    def choose(self, inventory: Inventory) -> tuple[str, ...]:
        """Return the nodes that ``nodes`` leaves alone; without a node of the control plane, pod security is, too."""
        wanted = self.parameters.nodes
        names = [node.name for node in inventory.nodes]
        if unknown := [name for name in wanted if name not in names]:
            raise ParameterError(
                f"nodes: {', '.join(map(repr, unknown))} is not in the inventory; it has {', '.join(names)}. "
                "Nothing was touched"
            )
        if not wanted:
            return ()
        if not any(node.control_plane for node in inventory.nodes if node.name in wanted):
            self.steps = tuple(step for step in self.steps if step != POD_SECURITY)
        if not self.steps:
            raise ParameterError(
                f"nodes: {', '.join(wanted)} is not of the control plane, and the step {POD_SECURITY} is of the whole "
                "cluster: there is nothing to do. Nothing was touched"
            )
        return tuple(name for name in names if name not in wanted)


def _own_profile(text: str) -> Profile | None:
    """Return the profile that a path names, or raise a ParameterError; None for the name of one that is shipped."""
    if not is_own_profile(text):
        return None
    path = find(text)
    content = read_document(path, "profile", "parameters/profile.example.yaml")
    return Profile.own(text, content, file_digest(path))
