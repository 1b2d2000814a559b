"""A component's command line as its release reads it (pflag, with words normalised to dashes)."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from posixpath import normpath

from kubeharden.components.values import parse_configuration, parse_pair, parse_text
from kubeharden.errors import UnitError
from kubeharden.releases import Component, Flag, FlagTable

# The one-letter flags: glog's and klog's "v" (pflag's PFlagFromGoFlag makes it a shorthand), and cobra's help.
SHORTHANDS = {"v": "--v", "h": "--help"}


DOLLAR = (
    "systemd fills in $NAME where it is a word of its own, and ${NAME} in any word; but no default (${NAME:-VALUE}), "
    "and nothing in the value of another variable, and $$ stands for a dollar sign"
)
# What a word begins with that is not an argument, and how it may have come there.
_CAUSES = (
    (re.compile(r"[\\\n]"), "does a backslash at the end of a line stand there twice, or before a blank?"),
    (
        re.compile(r"[0-9]?[<>]|[|&;#]"),
        "systemd is not a shell: redirections, pipes and comments are words for it",
    ),
    (re.compile(r"\$"), DOLLAR),
    (re.compile("[\u2010-\u2015\u2212]"), "is its dash another character than -?"),
    (re.compile("[\u2018-\u201f]"), "is a quote another character than ' and \"?"),
    (re.compile(r"[A-Z][A-Za-z]{1,60}="), "does the line before this directive end with a backslash?"),
    (re.compile(r"\{\{|<%|@@"), "was a template not filled in?"),
)


class UnknownFlagError(UnitError):
    """The release has no such flag; ``flag`` is its name."""

    def __init__(self, flag: str, component: str, release: str) -> None:
        super().__init__(f"{component} {release} has no flag {flag}")
        self.flag = flag


class FlagValueError(UnitError):
    """The value of a flag is missing or cannot be read; ``flag`` is its name."""

    def __init__(self, flag: str, value: str | None, why: str) -> None:
        super().__init__(f"{flag}: {why}" if value is None else f"{flag}={value}: {why}")
        self.flag, self.value = flag, value


@dataclass(frozen=True)
class FlagUse:
    """One flag on a command line; a bare boolean has the value ``true``."""

    name: str
    value: str

    @property
    def text(self) -> str:
        """The flag as it is written to a unit: ``--name=value``."""
        return f"{self.name}={self.value}"


def split_flags(argv: Sequence[str], table: FlagTable) -> list[FlagUse]:
    """Return the flags of a command line in their order, whether or not the release knows them.

    An unknown flag takes its value from ``=`` only, or from the next word if that is not a flag. Only ``-v`` and ``-h``
    may stand after one dash, their value with or without ``=``: ``-v=2``, ``-v2``, ``-v 2``.

    Args:
        argv: the words after the program's name.

    Raises:
        FlagValueError: a flag that needs a value has none.
        UnitError: a word is not a flag and belongs to none.
    """
    uses: list[FlagUse] = []
    words = deque(argv)
    while words:
        word = words.popleft()
        if not word:  # of an empty ${NAME}
            if table.takes_empty_arguments:
                continue
            raise UnitError(
                f"an argument is empty, which {table.component} does not take (an empty ${{NAME}}; $NAME is not)"
            )
        if not word.startswith("-") or word in ("-", "--"):
            after = f" after {uses[-1].name}" if uses else ""
            cause = _cause(word, table.flag(uses[-1].name) if uses else None)
            raise UnitError(f"{table.component} takes no argument{after}; {cause}")
        name, has_value, value = _name_and_value(word, table)
        flag = table.flag(name)
        if not has_value:
            value = _next_value(name, flag, words)
        uses.append(FlagUse(name, value))
    return uses


def _cause(word: str, before: Flag | None) -> str:
    """Return why a word may be where no argument is taken; the word itself may be secret."""
    if before is not None and before.type == "bool" and word.lower() in ("true", "false"):
        return f"write {before.name}={word.lower()}, in one word"
    return next((cause for pattern, cause in _CAUSES if pattern.match(word)), "is a value split by a space?")


def _name_and_value(word: str, table: FlagTable) -> tuple[str, bool, str]:
    """Return the flag's whole name, whether a value stands in the same word, and that value."""
    if word.startswith("--"):
        name, equals, value = word.partition("=")
        return name.replace("_", "-"), bool(equals), value
    letter, rest = word[1], word[2:]
    if letter not in SHORTHANDS:
        raise UnitError(
            f"{table.component} has no flag -{letter}; did {word.partition('=')[0]!r} lose a dash?"
        )
    return SHORTHANDS[letter], bool(rest), rest.removeprefix("=")


def _next_value(name: str, flag: Flag | None, words: deque[str]) -> str:
    if flag is not None and flag.type == "bool":
        return "true"
    if flag is None and (not words or words[0].startswith("-")):
        return "true"
    if not words:
        raise FlagValueError(name, None, "needs a value")
    return words.popleft()


def value_in(uses: Sequence[FlagUse], name: str) -> str:
    """Return the value of a flag, the last one where it is given more than once; empty without one."""
    return next((use.value for use in reversed(uses) if use.name == name), "")


def free_path(component: Component, uses: Sequence[FlagUse]) -> str:
    """Return the place for a new config file: the usual one, unless a flag names it for something else."""
    path = component.config_path
    return component.other_config_path if names_file(uses, path) or _may_name(uses, path) else path


def _may_name(uses: Sequence[FlagUse], path: str) -> bool:
    """Return whether a flag names a file by a relative path that is this one from some folder (WorkingDirectory=)."""
    places = (normpath(use.value) for use in uses if use.name != "--config" and use.value)
    return any(not place.startswith("/") and path.endswith(f"/{place}") for place in places)


def names_file(uses: Sequence[FlagUse], path: str) -> str:
    """Return the name of a flag that names a file for something else than the configuration; empty without one."""
    places = ((use.name, place) for use in uses if use.name != "--config" for place in use.value.split(","))
    return next((name for name, place in places if _absolute(place) == _absolute(path)), "")


def _absolute(place: str) -> str:
    return normpath(f"/{place.lstrip('/')}")  # a service runs in / by default


def parse_flags(argv: Sequence[str], table: FlagTable) -> list[FlagUse]:
    """Return the flags of a command line, each checked as the component checks it when it starts.

    Raises:
        UnknownFlagError: the release has no such flag.
        FlagValueError: a value is missing or does not have the flag's type.
        UnitError: a word is not a flag and belongs to none.
    """
    uses = split_flags(argv, table)
    for use in uses:
        flag = table.flag(use.name)
        if flag is None:
            raise UnknownFlagError(use.name, table.component, str(table.release))
        value_of(use, flag)
    return uses


def value_of(use: FlagUse, flag: Flag) -> object:
    """Return the value of a flag, with its type.

    Raises:
        FlagValueError: the text is not a value of the flag's type, or not one of its enum.
    """
    separator = "<" if flag.syntax == "thresholds" else "="
    try:
        if flag.syntax == "pair":
            value: object = parse_pair(use.value, separator)
        elif flag.syntax == "labels":
            value = parse_configuration(use.value)
        else:
            value = parse_text(flag.type, use.value, separator)
    except ValueError as error:
        cause = f"; {DOLLAR}" if "$" in use.value else ""
        raise FlagValueError(use.name, use.value, f"{error}{cause}") from None
    if flag.enum and value not in (*flag.enum, ""):
        raise FlagValueError(use.name, use.value, f"expected one of {', '.join(flag.enum)}")
    return value
