"""A unit with another command, and the words of a command: as tests write and read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from kubeharden.components.commands import read_commands
from kubeharden.components.units import Unit


def with_command(unit: Unit, argv: Sequence[str]) -> Unit:
    """The same unit with ``ExecStart=`` running these words, with the prefix that its command has."""
    [command] = filter(None, unit.values("Service", "ExecStart"))
    [found] = read_commands(command, {})
    return unit.with_line(found.line(argv))


def split_command(command: str, environment: Mapping[str, str]) -> list[str]:
    """The words of the only command in the value of ``ExecStart=``, with marks for specifiers."""
    [found] = read_commands(command, environment)
    return list(found.words)
