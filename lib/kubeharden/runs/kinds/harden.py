"""harden: move flags to config files, harden the components, and hold pods to a pod security."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Network
from kubeharden.inputs.parameters import Parameters, check_dns_ip
from kubeharden.inputs.project import POLICIES, find, project_folder
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.events import JudgedPods
from kubeharden.plan.step import Right
from kubeharden.plan.steps import select_steps
from kubeharden.podsecurity import read_policies
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
        given = parameters.policies
        self.policies = read_policies(find(given) if given else project_folder() / POLICIES)
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
        return make_plan(facts, self.parameters, self.policies)
