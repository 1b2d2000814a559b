"""The failures of a whole run, under whichever of its plans. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from kubeharden.errors import KubehardenError


class Failures:
    """The failures of one run, by subject.

    Repaired failures are no longer reported, but their nodes still count towards max_failures: a run that may fail on
    one node may fail there, in any number of services, and nowhere else, however often it is planned again.
    """

    def __init__(self) -> None:
        self._errors: dict[str, KubehardenError] = {}
        self._nodes: set[str] = set()
        self._repaired: set[str] = set()

    def add(self, subject: str, error: KubehardenError, node: str = "") -> None:
        """Add a failure; ``node`` is the node that counts towards max_failures, if it is a failure of a node."""
        self._errors[subject] = error
        self._repaired.discard(subject)
        if node:
            self._nodes.add(node)

    def repair(self, subjects: Iterable[str]) -> None:
        """Mark these as repaired; subjects that did not fail may be among them."""
        self._repaired.update(subject for subject in subjects if subject in self._errors)

    @property
    def count(self) -> int:
        """The number of nodes that have failed, repaired or not."""
        return len(self._nodes)

    @property
    def left(self) -> dict[str, KubehardenError]:
        """The failures that are not repaired, in the order in which they came first."""
        return {subject: error for subject, error in self._errors.items() if subject not in self._repaired}
