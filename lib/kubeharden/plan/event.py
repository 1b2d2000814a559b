"""The base of all events of a run, and the one protocol of those who listen to them. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Protocol, dataclass_transform

UNWRITTEN = {"unwritten": True}  # the field is not in the journal
OPTIONAL = {"optional": True}  # the field is not in the journal where it has its default


@dataclass_transform(frozen_default=True, field_specifiers=(field,))
@dataclass(frozen=True)
class Event:
    """The base of all events: ``class Drained(Event, action="drained")`` makes a frozen dataclass that is known to all.

    Attributes:
        action: the name of the event in the journal; an event without one is not written.
        time: when the journal's line was written (RFC 3339 in UTC); empty in an event that was not read from one.
    """

    action: ClassVar[str] = ""
    kinds: ClassVar[dict[str, type[Event]]] = {}
    time: str = field(default="", kw_only=True, compare=False, metadata=UNWRITTEN)

    def __init_subclass__(cls, action: str = "") -> None:
        dataclass(frozen=True)(cls)
        cls.action = action
        if action:
            Event.kinds[action] = cls

    def content(self) -> dict[str, Any]:
        """Return the fields of the journal's line, without those that are the journal's own."""
        return {
            f.name: value
            for f in fields(self)
            if not f.metadata.get("unwritten")
            and ((value := getattr(self, f.name)) != f.default or not f.metadata.get("optional"))
        }


class Listener(Protocol):
    """Takes each event as it happens; several threads may call it."""

    def __call__(self, event: Event) -> None:
        """Take one event.

        Raises:
            RecordError: it must be written and cannot be; what it announces is not done.
        """


def ignore(event: Event) -> None:
    """Listen to nothing."""


class Listeners:
    """A listener that passes each event on to others, in their order."""

    def __init__(self, *listeners: Listener) -> None:
        self._listeners = list(listeners)

    def __call__(self, event: Event) -> None:
        """Pass one event on."""
        for listener in tuple(self._listeners):
            listener(event)

    def add(self, listener: Listener) -> None:
        """Pass events on to one more listener from now on."""
        self._listeners.append(listener)

    @contextmanager
    def also(self, listener: Listener) -> Iterator[None]:
        """Pass events on to one more listener in this context."""
        self.add(listener)
        try:
            yield
        finally:
            self._listeners.remove(listener)
