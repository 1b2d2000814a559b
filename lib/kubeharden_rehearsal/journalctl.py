"""journalctl on a rehearsal node."""

from __future__ import annotations

import argparse
import re
from datetime import UTC, datetime
from time import time as clock
from typing import NoReturn

from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.node_journal import format_entry, matching
from kubeharden_rehearsal.systemctl import Reply

_RELATIVE = re.compile(r"-?(\d+)\s*(s|m|h|d)[a-z]*(\s+ago)?")
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"journalctl: {message}")


_PARSER = _Parser(prog="journalctl", add_help=False)
_PARSER.add_argument("matches", nargs="*")
_PARSER.add_argument("-u", "--unit", action="append", default=[])
_PARSER.add_argument("-o", "--output", default="short")
_PARSER.add_argument("-n", "--lines", type=int, default=0)
_PARSER.add_argument("-S", "--since", default="@0")
_PARSER.add_argument("-r", "--reverse", action="store_true")
_PARSER.add_argument("-q", "--quiet", action="store_true")
_PARSER.add_argument("-x", "-e", "-l", "-a", "--no-pager", "--no-hostname", "--utc", action="store_true")
_PARSER.add_argument("-b", "--boot", nargs="?")  # there is one boot


def journalctl(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Do a journalctl command; who is not root sees nothing, as a user outside the group adm."""
    try:
        query = _PARSER.parse_intermixed_args(arguments)
        units = [name if "." in name else f"{name}.service" for name in query.unit]
        found, since = matching(machine.journal.entries, units, query.matches), _moment(query.since)
        chosen = [e for e in found if since <= e.time] if user == "root" else []
        chosen = chosen[-query.lines :] if query.lines else chosen
        ordered = reversed(chosen) if query.reverse else chosen
        text = "".join(f"{format_entry(entry, query.output, machine.name)}\n" for entry in ordered)
    except ValueError as error:
        return Reply(error=f"{error}\n", status=1)
    return Reply(text) if chosen or query.quiet else Reply("-- No entries --\n")


def _moment(text: str) -> float:
    if text.startswith("@"):
        return float(text[1:])
    if text.endswith(" UTC"):
        return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp()
    relative = _RELATIVE.fullmatch(text)
    if relative is None:
        raise ValueError(
            f"Failed to parse timestamp: {text}; a rehearsal node knows @SECONDS, 'DATE TIME UTC' and '5 min ago'"
        )
    return clock() - int(relative[1]) * _UNITS[relative[2]]
