"""Breakage: judge the workloads under a plan, and propose, warn or refuse."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden.plan.draft import Draft
from kubeharden.plan.model import Remark
from kubeharden.plan.step import POD_SECURITY
from kubeharden.podsecurity.default_policy import default_policies
from kubeharden.podsecurity.impact import (
    Impact,
    WorkloadVerdict,
    breaking,
    idle_names,
    proposals,
    psp_impact,
    pss_impact,
)
from kubeharden.podsecurity.levels import NamespaceLevel
from kubeharden.releases import Release

LEVELS = "Pod Security Admission"
Objects = Mapping[str, Sequence[Mapping[str, Any]]]


def judge_policies(draft: Draft, objects: Objects, plugin: str, *, switched_on: bool) -> None:
    """Judge every workload by the policies as they will be, and refuse to switch the plugin on where one breaks.

    Args:
        draft: the plan so far.
        objects: the cluster's objects as they will be when the policies are in place.
        plugin: the admission plugin's name.
        switched_on: whether this plan is what switches it on.
    """
    release = Release.parse(draft.facts.cluster.version)
    judged = tuple(psp_impact(objects, release, default_policies(release)))
    when = f"{'once' if switched_on else 'while'} the admission plugin {plugin} is on"
    draft.impacts.append(Impact(plugin, when, judged, proposals(objects, release, judged)))
    breaks = breaking(judged)
    if draft.parameters.default_policy == "none":
        _propose(draft, breaks)
    _say_what_is_idle(draft, judged)
    refused = breaking(judged, draft.parameters.accept_breaking)
    if switched_on and refused:
        lines = "\n".join(f"  {describe(j)}" for j in refused)
        why = (
            f"{plugin} is not switched on while something that is in use would be refused. Each of these needs a "
            f"policy, or its name in accept_breaking (see run.impact()):\n{lines}"
        )
        draft.refused.append(Remark(POD_SECURITY, why))


def judge_levels(draft: Draft, objects: Objects, levels: Sequence[NamespaceLevel]) -> None:
    """Judge every workload by the level that its namespace has in the end.

    A level is not enforced while something in use would be refused (``namespace_levels``), so no plan is refused here.

    Args:
        draft: the plan so far.
        objects: the cluster's objects as they are.
        levels: of every namespace.
    """
    release = Release.parse(draft.facts.cluster.version)
    wanted = {level.namespace: level.in_the_end for level in levels}
    judged = tuple(pss_impact(objects, wanted, f"v{release}", release))
    draft.impacts.append(Impact(LEVELS, "once every namespace enforces its level", judged))
    _say_what_is_idle(draft, judged)


def _say_what_is_idle(draft: Draft, judged: Sequence[WorkloadVerdict]) -> None:
    for name in idle_names(judged, draft.parameters.accept_breaking):
        why = "is named by accept_breaking, and nothing of that name would break"
        draft.remark(name, why)


def describe(judged: WorkloadVerdict) -> str:
    """Return a workload that breaks, in a line: ``Deployment shop/web (3 pods): may use no policy``."""
    return f"{judged} ({judged.how_many}): {'; '.join(judged.reasons)}"


def _propose(draft: Draft, breaks: Sequence[WorkloadVerdict]) -> None:
    """Propose a default policy for the workloads that one would admit."""
    ordinary = [judged for judged in breaks if judged.preset]
    if ordinary:
        strength = "baseline" if any(judged.preset == "baseline" for judged in ordinary) else "restricted"
        names = ", ".join(map(str, ordinary))
        why = (
            f"the policies cover what they name and nothing else. default_policy={strength} would add one that "
            f"everybody may use, and admit {len(ordinary)} of the {len(breaks)} workloads that would break: {names}"
        )
        draft.remark(POD_SECURITY, why)
