"""The plan of a run as far as it was carried out; the next plan begins anew."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass, field

from kubeharden.errors import KubehardenError, MigrationRefusedError
from kubeharden.plan import Plan


@dataclass
class PlanState:
    """A plan, and what became of it.

    Attributes:
        done: the steps that were carried out.
        subjects: the changes that were carried out, also in a step that ended with an error.
        failed_step: the step that ended with an error; empty for none.
        agreed: the steps to which the person who is there has agreed at once, and that were not begun since.
        is_approved: the plan was found to be the one that was approved.
    """

    plan: Plan
    done: set[str] = field(default_factory=set)
    subjects: set[str] = field(default_factory=set)
    failed_step: str = ""
    agreed: set[str] = field(default_factory=set)
    is_approved: bool = False

    def steps_left(self) -> list[str]:
        """Return the steps that have changes and were not carried out."""
        return [step for step in self.plan.steps if step not in self.done and self.plan.of(step).needed]

    def why_not(self, step: str, mode: str, steps: Container[str]) -> str:
        """Return why a step is not carried out now; empty where it is.

        Args:
            steps: those of the run.

        Raises:
            MigrationRefusedError: the plan cannot be carried out.
            KubehardenError: the plan is from before an error.
        """
        if step not in steps:
            return f"{step} is not among the steps of this run: not touched."
        if mode == "plan":
            return f"mode is plan: {step} was not carried out, and nothing was changed anywhere."
        if self.plan.stopping:
            reasons = "\n".join(f"  {remark}" for remark in self.plan.refused)
            raise MigrationRefusedError(
                f"this plan cannot be carried out, and nothing was changed:\n{reasons}"
            )
        if step in self.done:
            return f"{step} was carried out in this run already; look and plan again to see what is left."
        if self.failed_step:
            raise KubehardenError(
                f"{self.failed_step} ended with an error, and the plan is from before it: look and plan again first"
            )
        return ""
