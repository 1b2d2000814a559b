"""Texts that were read, with what in them is not known to be harmless."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from kubeharden.redaction.patterns import names_before
from kubeharden.redaction.values import replace_values

_WORDS = re.compile(r"[\w.-]+")


@dataclass
class Secrets:
    """The values and names that may be secret in something that was read.

    Attributes:
        values: texts that are withheld wherever they stand.
        names: flags (with dashes), variables and fields: what stands after one of them is withheld in the same text.
        harmless: words that are known to be harmless; a value that is one of them stays.
    """

    values: set[str] = field(default_factory=set)
    names: set[str] = field(default_factory=set)
    harmless: set[str] = field(default_factory=set)

    def allow(self, text: str) -> None:
        """Add a text that is harmless, and each of its words."""
        self.harmless.update({text, *_WORDS.findall(text), *re.findall(r"\w+", text)})

    def update(self, other: Secrets) -> None:
        """Add what is in another one."""
        self.values |= other.values
        self.names |= other.names
        self.harmless |= other.harmless


class Sensitive(str):
    """A text that knows what may be secret in it; in everything but its ``repr`` it is that text.

    So bytes and digests of a file are what they were, and only a ``Redactor`` looks at ``secrets``. What ``str`` makes
    of it (a slice, a line) is a plain text: use ``made_from`` for a text that still has the secrets of another.
    """

    secrets: Secrets

    def __new__(cls, text: str, secrets: Secrets | None = None) -> Sensitive:
        """Make the text; a copy gets its secrets later, with its other attributes."""
        made = super().__new__(cls, text)
        made.secrets = secrets or Secrets()
        return made

    def __repr__(self) -> str:
        """Return the ``repr`` of the masked text: it is what a traceback or a cell shows."""
        return repr(mask(self))


def made_from(text: str, *sources: str) -> str:
    """Return a text that was made from others, with what may be secret in those."""
    found = Secrets()
    for source in sources:
        found.update(secrets_of(source))
    return Sensitive(text, found) if found.values or found.names else text


def mask(text: str) -> str:
    """Return a text to put into a message, which cannot be ``Sensitive``: without values after their names.

    Distinct values stay: a redactor finds them anywhere.
    """
    plain = str(text)
    for pattern in names_before(secrets_of(text).names):
        plain = replace_values(pattern, plain, lambda _: "‹redacted›")
    return plain


def secrets_of(text: str) -> Secrets:
    """Return what may be secret in a text; nothing for a plain one."""
    return text.secrets if isinstance(text, Sensitive) else Secrets()
