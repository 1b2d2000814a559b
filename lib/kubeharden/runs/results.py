"""The results of a run so far, by step and subject: what a cell that is run again shows once more."""

from __future__ import annotations

from collections.abc import Iterable

from kubeharden.plan.events import AS_IT_SHOULD_BE, Result
from kubeharden.show import views
from kubeharden.show.display import View

CHANGING = ("apply", "roll_back")  # the verbs whose results are shown again


class Results:
    """The results of one run, over all of its plans."""

    def __init__(self) -> None:
        self._of: dict[str, dict[str, Result]] = {}

    def add(self, step: str, results: Iterable[Result]) -> None:
        """Keep results of a step; that a change was as it should be says less than what became of it before."""
        results_of = self._of.setdefault(step, {})
        for result in results:
            if result.outcome != AS_IT_SHOULD_BE or result.subject not in results_of:
                results_of[result.subject] = result

    def view(self, *steps: str) -> View:
        """Show the results of these steps, or of all; nothing where there are none."""
        results = [result for step in steps or self._of for result in self._of.get(step, {}).values()]
        return views.results_view(results) if results else View()
