"""journalctl on a rehearsal node, as that of systemd 252."""

from __future__ import annotations

import argparse
from datetime import UTC, datetime
from typing import NoReturn

from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.node_journal import format_entry, matching
from kubeharden_rehearsal.systemctl import Reply


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"journalctl: {message}")


_PARSER = _Parser(prog="journalctl", add_help=False)
_PARSER.add_argument("matches", nargs="*")
_PARSER.add_argument("-u", "--unit", action="append", default=[])
_PARSER.add_argument("-o", "--output", default="short")
_PARSER.add_argument("-n", "--lines", type=int, default=0)
_PARSER.add_argument("-S", "--since", default="")
_PARSER.add_argument("-q", "--quiet", action="store_true")
_PARSER.add_argument("--sync", action="store_true")  # nothing is on its way here
_PARSER.add_argument("-x", "-e", "-l", "-a", "--no-pager", "--no-hostname", "--utc", action="store_true")
_PARSER.add_argument("-b", "--boot", nargs="?")  # there is one boot


def journalctl(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Do a journalctl command; who is not root sees nothing, as a user outside the group adm."""
    try:
        query = _PARSER.parse_intermixed_args(arguments)
        if query.sync:
            return Reply()
        units = [name if "." in name else f"{name}.service" for name in query.unit]
        found = matching(machine.journal.entries, units, query.matches) if user == "root" else []
        if query.since:
            since = _moment(query.since)
            found = [entry for entry in found if since <= entry.time]
        if query.lines:
            # With --since it goes there and on from there, so that -n counts from that end (journalctl.c).
            found = found[: query.lines] if query.since else found[-query.lines :]
        text = "".join(f"{format_entry(entry, query.output, machine.name)}\n" for entry in found)
    except ValueError as error:
        return Reply(error=f"{error}\n", status=1)
    return Reply(text) if found or query.quiet else Reply("-- No entries --\n")


def _moment(text: str) -> float:
    if text.startswith("@"):
        return float(text[1:])
    if not text.endswith(" UTC"):
        raise ValueError(
            f"Failed to parse timestamp: {text}; a rehearsal node knows @SECONDS and 'DATE TIME UTC'"
        )
    return datetime.fromisoformat(text.removesuffix(" UTC")).replace(tzinfo=UTC).timestamp()
