"""upgrade-readiness: what stands between the cluster, as it is, and a later release. Changes nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kubeharden.inputs.parameter_types import TargetRelease
from kubeharden.inputs.parameters import RunParameters
from kubeharden.plan.events import Judged
from kubeharden.plan.open_changes import refusals
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.releases import LAST, Release
from kubeharden.runs.kind import Kind
from kubeharden.runs.verb import verb
from kubeharden.show import views
from kubeharden.show.display import BAD, Message, View

if TYPE_CHECKING:
    from kubeharden.runs.run import Run


class ReadinessParameters(RunParameters):
    """The parameters of ``upgrade-readiness.ipynb``."""

    target_release: TargetRelease = ""


@verb
def readiness(run: Run) -> View:
    """Show what stands between the cluster, as it is, and ``target_release``; nothing is changed.

    Raises:
        ParameterError: the release is older than one that runs.
    """
    target = Release.parse(run.kind.parameters.target_release or str(LAST))
    findings = upgrade_findings(run.facts, str(target))
    run.emit(Judged(str(target), len(findings), views.stopping(findings)))
    view = View([Message(str(r), BAD) for r in refusals(run.facts)])
    view.add(*views.findings_view(findings, str(target)).blocks)
    return view.add(*views.releases_view(run.facts, findings, target).blocks)


class UpgradeReadiness(Kind[ReadinessParameters]):
    """A run of ``upgrade-readiness.ipynb``."""

    name = "upgrade-readiness"
    parameters_model = ReadinessParameters
    verbs = (readiness,)
