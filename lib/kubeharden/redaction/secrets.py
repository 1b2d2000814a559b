"""Texts that were read, with the places in them that are not known to be harmless."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

_WORDS = re.compile(r"[\w.-]+")
Span = tuple[int, int]


@dataclass
class Secrets:
    """The values that may be secret in something that was read."""

    # Texts that are withheld wherever they stand; short ones where they are words of their own.
    values: set[str] = field(default_factory=set)
    # Words that are known to be harmless; a value that is one of them stays.
    harmless: set[str] = field(default_factory=set)

    def allow(self, text: str) -> None:
        """Add a text that is harmless, and each of its words."""
        self.harmless.update({text, *_WORDS.findall(text), *re.findall(r"\w+", text)})

    def update(self, other: Secrets) -> None:
        """Add what is in another one."""
        self.values |= other.values
        self.harmless |= other.harmless


class Sensitive(str):
    """A text that knows where in it something may be secret; in everything but its ``repr`` it is that text.

    So bytes and digests of a file are what they were, and only a ``Redactor`` looks at ``secrets`` and ``spans``. What
    ``str`` makes of it (a slice, an f-string) is a plain text: use ``lines_of`` and ``join`` for a text that knows
    what its parts do, and ``mask`` for a message.

    Attributes:
        secrets: the values in it, wherever they stand.
        spans: where they stand in this text: beginning and end of each, in order, without overlap.
        component: as a file of which it was judged; empty for another text.
    """

    secrets: Secrets
    spans: tuple[Span, ...]
    component: str

    def __new__(
        cls, text: str, secrets: Secrets | None = None, spans: Iterable[Span] = (), component: str = ""
    ) -> Sensitive:
        """Make the text; a copy gets its secrets later, with its other attributes."""
        new = super().__new__(cls, text)
        new.secrets, new.spans, new.component = secrets or Secrets(), _in_order(spans), component
        return new

    def __repr__(self) -> str:
        """Return the ``repr`` of the masked text: it is what a traceback or a cell shows."""
        return repr(mask(self))


def _in_order(spans: Iterable[Span]) -> tuple[Span, ...]:
    """Return spans in their order, without empty ones; those that overlap are one."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        elif start < end:
            merged.append((start, end))
    return tuple(merged)


def replace_spans(text: str, mark: Callable[[str], str]) -> str:
    """Return a plain text, in which ``mark`` of it stands for what may be secret."""
    plain, pieces, at = str(text), [], 0
    for start, end in text.spans if isinstance(text, Sensitive) else ():
        pieces += [plain[at:start], mark(plain[start:end])]
        at = end
    return "".join([*pieces, plain[at:]])


def mask(text: str) -> str:
    """Return a text to put into a message, which cannot be ``Sensitive``: without what may be secret in it."""
    return replace_spans(text, lambda _: "‹redacted›")


def lines_of(text: str) -> list[str]:
    """Return the lines of a text with their ends (``str.splitlines``), each with what may be secret in it."""
    lines: list[str] = []
    at = 0
    spans = list(reversed(text.spans)) if isinstance(text, Sensitive) else []
    for line in text.splitlines(keepends=True):
        end, own = at + len(line), list[Span]()
        while spans and spans[-1][0] < end:
            start, stop = spans.pop()
            own.append((start - at, min(stop, end) - at))
            if stop > end:
                spans.append((end, stop))
        visible = len(line.rstrip("\r\n"))
        own_spans = [(start, min(stop, visible)) for start, stop in own]
        lines.append(Sensitive(line, secrets_of(text), own_spans) if own else line)
        at = end
    return lines


def join(parts: Iterable[str], *sources: str) -> str:
    """Return one text of several, with what may be secret in each, and in the ``sources`` that they were made from."""
    secrets, spans, at, plain = Secrets(), list[Span](), 0, list[str]()
    for part in parts:
        if isinstance(part, Sensitive):
            spans += [(at + start, at + end) for start, end in part.spans]
        plain.append(str(part))
        at += len(part)
    for source in sources:
        secrets.update(secrets_of(source))
    text = "".join(plain)
    return Sensitive(text, secrets, spans) if spans or secrets.values else text


def secrets_of(text: str) -> Secrets:
    """Return what may be secret in a text; nothing for a plain one."""
    return text.secrets if isinstance(text, Sensitive) else Secrets()


def excerpt(text: str, most: int) -> str:
    """Return the beginning of a text for a message: whole words, since half a secret would not be known as one."""
    masked = mask(text)
    if len(masked) <= most:
        return masked
    words = re.match(r"(.*)\s", masked[: most + 1], re.DOTALL)
    return f"{words[1]} …" if words else "…"
