"""The state of each change while a step is carried out, in words: ``staging → restarted → Ready after 12 s``. Pure."""

from __future__ import annotations

from kubeharden.plan.event import Event
from kubeharden.plan.events import OUTCOMES, Cordoned, Drained, ReadyAgain, Restarted, Started


class States:
    """The changes of one step that are not over, and how many are."""

    def __init__(self, total: int) -> None:
        self.total, self.over = total, 0
        self._nodes: dict[str, str] = {}  # by subject
        self._words: dict[str, list[str]] = {}
        self._since: dict[str, float] = {}  # when it was restarted

    def take(self, event: Event, at: float) -> list[tuple[str, str]]:
        """Take an event at a time in seconds, of any clock; return the subjects that it changes and their states."""
        if isinstance(event, Started) and event.node:
            self._nodes[event.subject] = event.node
            self._words[event.subject] = ["staging"]
            return [(event.subject, "begun")]
        if isinstance(event, (Cordoned, Drained)):
            word = event.action
            subjects = [subject for subject, node in self._nodes.items() if node == event.node]
            return [self._add(subject, word) for subject in subjects]
        if isinstance(event, Restarted) and event.subject in self._words:
            self._since[event.subject] = at
            return [self._add(event.subject, "restarted")]
        if isinstance(event, ReadyAgain) and event.subject in self._words:
            seconds = at - self._since.get(event.subject, at)
            return [self._add(event.subject, f"Ready, {seconds:.0f} s later")]
        if isinstance(event, OUTCOMES):
            self.over += 1
            self._nodes.pop(event.subject, None)
            self._words.pop(event.subject, None)
        return []

    def rows(self) -> list[tuple[str, str]]:
        """Return the changes that are not over, each with the states that it has had."""
        return [(subject, " → ".join(words)) for subject, words in self._words.items()]

    @property
    def count(self) -> str:
        """The words for how many changes are over."""
        return f"{self.over} of {self.total}"

    def _add(self, subject: str, word: str) -> tuple[str, str]:
        words = self._words[subject]
        if words == ["staging"] and word in (Cordoned.action, Drained.action):
            words.clear()  # draining comes before
        words.append(word)
        if word == Drained.action:
            words.append("staging")
        return subject, word
