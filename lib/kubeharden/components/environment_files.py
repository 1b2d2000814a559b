"""Environment files as systemd reads them (parse_env_file_internal, src/basic/env-file.c)."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from kubeharden.errors import UnitError

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
# What no variable may have: bytes that are not UTF-8, noncharacters (utf8_is_valid, src/basic/utf8.c).
_UNFIT = re.compile("[\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")
# Comments, lines that are not assignments, and names. Before 254, systemd continues a comment after a backslash.
_COMMENT, _OLD_COMMENT = r"[#;][^\r\n]*", r"[#;](?:[^\\\r\n]|\\.)*\\?"
_OTHER = r"(?P<name>[^ \t\r\n#;][^=\r\n]*)=|[^ \t\r\n#;][^=\r\n]*(?=[\r\n]|\Z)"
_LINE, _OLD_LINE = (re.compile(f"{comment}|{_OTHER}", re.DOTALL) for comment in (_COMMENT, _OLD_COMMENT))
# The parts that a value begins with: quoted ones; one that is not closed goes on to the end.
_QUOTED = re.compile(
    r"""[ \t]*(?:'(?P<single>[^']*)|"(?P<double>(?:[^"\\]|\\.)*))(?:['"]|(?P<cut>\\?\Z))""", re.DOTALL
)
_ESCAPED_IN_DOUBLE = re.compile(r"\\(.)", re.DOTALL)
_REST_OF_LINE = re.compile(r"(?:[^\\\r\n]|\\.)*\\?", re.DOTALL)
_PART = re.compile(r"(?s)\\.?|[^\\]+")


@dataclass(frozen=True)
class Assignment:
    """A variable in an environment file.

    Attributes:
        name: of the variable.
        value: without quotes and escapes.
        start: where the value begins in the text.
        end: where it ends.
    """

    name: str
    value: str
    start: int
    end: int


def parse_environment_file(text: str) -> dict[str, str]:
    """Return the variables of an environment file; what cannot be one is left out, as systemd does.

    Raises:
        UnitError: releases of systemd read it differently.
    """
    variables, before = _variables(assignments(text)), _variables(assignments(text, _OLD_LINE))
    if variables != before:
        raise UnitError(
            "a comment in it ends with a backslash: systemd before 254 takes the next line for a part of the comment, "
            "and later ones do not. Take the backslash out"
        )
    return variables


def _variables(assigned: Iterable[Assignment]) -> dict[str, str]:
    return {
        each.name: each.value
        for each in assigned
        if _NAME.fullmatch(each.name) and not _UNFIT.search(each.value)
    }


def assignments(text: str, pattern: re.Pattern[str] = _LINE) -> Iterator[Assignment]:
    """Yield what an environment file assigns, in its order.

    Args:
        pattern: what a line may be; by default as systemd has it from 254 on.
    """
    at = 0
    while (line := pattern.search(text, at)) is not None:
        at = line.end()
        if line["name"] is not None:
            assignment = _value(line["name"].strip(" \t"), text, at)
            at = assignment.end
            yield assignment


def _value(name: str, text: str, at: int) -> Assignment:
    """Return the variable whose value begins at a place: quoted parts, then the rest of the line as it is."""
    start, pieces = at, list[str]()
    while quoted := _QUOTED.match(text, at):
        at = quoted.end()
        double = quoted["double"]
        pieces.append(quoted["single"] if double is None else _ESCAPED_IN_DOUBLE.sub(_unescape, double))
    rest = _REST_OF_LINE.match(text, at)
    if rest is None or not rest[0]:
        return Assignment(name, "".join(pieces), start, at)
    parts = _PART.findall(rest[0].lstrip(" \t"))
    if parts and parts[-1][0] != "\\":
        parts[-1] = parts[-1].rstrip(" \t")
    pieces += [_after_backslash(part) if part[0] == "\\" else part for part in parts if part]
    return Assignment(name, "".join(pieces), start, rest.end())


def _after_backslash(part: str) -> str:
    return part[1:] if part[1:] not in ("\n", "\r") else ""


def _unescape(match: re.Match[str]) -> str:
    if match[1] == "\n":
        return ""
    return match[1] if match[1] in '"\\`$' else match[0]
