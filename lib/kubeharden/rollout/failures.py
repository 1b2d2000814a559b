"""What failed over a whole run, under whichever of its plans. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kubeharden.errors import KubehardenError


class Failures:
    """What failed in one run, by what it is about.

    What is mended in the same run is not said any more, but its node still counts: a run that may fail on one node
    may fail there, in however many services, and nowhere else, however often it is planned anew.
    """

    def __init__(self) -> None:
        self._errors: dict[str, KubehardenError] = {}
        self._nodes: set[str] = set()
        self._mended: set[str] = set()

    def add(self, subject: str, error: KubehardenError, node: str = "") -> None:
        """Something failed; ``node`` is where, if that is a failure of a node, of which so many are allowed."""
        self._errors[subject] = error
        self._mended.discard(subject)
        if node:
            self._nodes.add(node)

    def mend(self, subjects: Iterable[str]) -> None:
        """These are as they should be now; what did not fail may be among them."""
        self._mended.update(subject for subject in subjects if subject in self._errors)

    @property
    def count(self) -> int:
        """How many nodes have failed, mended or not."""
        return len(self._nodes)

    @property
    def left(self) -> dict[str, KubehardenError]:
        """What is not mended, in the order in which it failed first."""
        return {subject: error for subject, error in self._errors.items() if subject not in self._mended}
