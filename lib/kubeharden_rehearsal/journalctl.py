"""journalctl on a rehearsal node."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import time as clock

from kubeharden_rehearsal.journal import formatted, matching
from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.systemctl import Reply

_RELATIVE = re.compile(r"-?(\d+)\s*(s|sec|seconds?|m|min|minutes?|h|hours?|d|days?)(\s+ago)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
_FORMATS = ("%Y-%m-%d %H:%M:%S.%f", "%Y-%m-%d %H:%M:%S", "%Y-%m-%d %H:%M", "%Y-%m-%d")
_VALUES = {"-u": "unit", "-o": "output", "-n": "lines", "-S": "since", "-U": "until", "-b": "boot"}
_LONG = {f"--{name}": key for key, name in _VALUES.items()}


@dataclass
class _Query:
    units: list[str] = field(default_factory=list)
    matches: list[tuple[str, str]] = field(default_factory=list)
    output: str = "short"
    lines: int = 0
    since: float = 0.0
    until: float = float("inf")
    quiet: bool = False
    reverse: bool = False


def journalctl(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Do a journalctl command; who is not root sees nothing, as a user outside the group adm."""
    try:
        query = _query(arguments)
        found = matching(machine.journal.entries, query.units, query.matches)
        chosen = [e for e in found if query.since <= e.time <= query.until] if user == "root" else []
        chosen = chosen[-query.lines :] if query.lines else chosen
        ordered = reversed(chosen) if query.reverse else chosen
        text = "".join(f"{formatted(entry, query.output, machine.name)}\n" for entry in ordered)
    except ValueError as error:
        return Reply(error=f"{error}\n", status=1)
    if not chosen and not query.quiet:
        return Reply("-- No entries --\n")
    return Reply(text)


def _query(arguments: list[str]) -> _Query:
    query = _Query()
    words = list(arguments)
    while words:
        word = words.pop(0)
        if word in ("-q", "--quiet"):
            query.quiet = True
        elif word in ("-r", "--reverse"):
            query.reverse = True
        elif word.startswith("-"):
            _option(query, word, words)
        elif "=" in word:
            name, _, value = word.partition("=")
            query.matches.append((name, value))
        else:
            raise ValueError(f"Failed to add match '{word}': Invalid argument")
    return query


def _option(query: _Query, word: str, rest: list[str]) -> None:
    name, has_value, value = word.partition("=")
    if word.startswith("--"):
        name = _LONG.get(name, name)
    elif word[:2] in _VALUES:
        name, has_value, value = word[:2], word[2:], word[2:]
    if name == "-b":
        return  # there is one boot
    if name in _VALUES and not has_value:
        if not rest:
            raise ValueError(f"journalctl: option requires an argument -- '{name.lstrip('-')}'")
        value = rest.pop(0)
    if name == "-u":
        query.units.append(value if "." in value else f"{value}.service")
    elif name == "-o":
        query.output = value
    elif name == "-n":
        query.lines = int(value)
    elif name in ("-S", "-U"):
        setattr(query, "since" if name == "-S" else "until", _moment(value))
    elif name not in ("--no-pager", "-x", "-e", "-l", "-a", "--no-hostname", "-xe", "--utc", "--all"):
        raise ValueError(f"journalctl: unrecognized option '{word}'")


def _moment(text: str) -> float:
    relative = _RELATIVE.fullmatch(text)
    if relative:
        return clock() - int(relative[1]) * _UNITS[relative[2][0]]
    if text.startswith("@"):
        return float(text[1:])
    for style in _FORMATS:
        try:
            return datetime.strptime(text.removesuffix(" UTC"), style).replace(tzinfo=UTC).timestamp()
        except ValueError:
            continue
    raise ValueError(f"Failed to parse timestamp: {text}")
