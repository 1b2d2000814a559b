"""The steps of a plan, a module each. To add one: a module here that makes its ``Step``, and its name in ``STEPS``."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.plan.step import Step
from kubeharden.plan.steps import components, pod_security

STEPS: tuple[Step, ...] = (*components.STEPS, pod_security.STEP)


def select_steps(names: Sequence[str] = ()) -> list[Step]:
    """Return the steps with these names in their order; all of them where none is named."""
    return sorted((s for s in STEPS if not names or s.name in names), key=lambda step: step.order)


def names() -> tuple[str, ...]:
    """Return the names of all steps in their order."""
    return tuple(step.name for step in select_steps())
