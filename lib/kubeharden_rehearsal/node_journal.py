"""A node's journal: kept in memory and, line by line, in a file."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO


@dataclass(frozen=True)
class JournalEntry:
    """One message.

    Attributes:
        unit: the service that it is about, with ``.service``.
        pid: the process that wrote it; 1 is systemd.
        invocation: the invocation of the unit that wrote it; empty for systemd's own messages.
        boot: the boot it belongs to, without dashes.
    """

    time: float
    unit: str
    pid: int
    identifier: str
    message: str
    invocation: str
    boot: str

    def fields(self) -> dict[str, str]:
        """Return the journal fields that can be matched, as systemd.journal-fields(7) names them."""
        fields = {
            "_PID": str(self.pid),
            "SYSLOG_IDENTIFIER": self.identifier,
            "_COMM": self.identifier,
            "_BOOT_ID": self.boot,
            "MESSAGE": self.message,
        }
        if self.pid == 1:
            return {**fields, "UNIT": self.unit, "_SYSTEMD_UNIT": "init.scope"}
        return {**fields, "_SYSTEMD_UNIT": self.unit, "_SYSTEMD_INVOCATION_ID": self.invocation}


class Journal:
    """The messages of one node, oldest first."""

    def __init__(self, path: Path, hostname: str) -> None:
        self.hostname = hostname
        self.entries: list[JournalEntry] = []
        if path.exists():
            self.entries = list(_read(path))
        self._file: IO[str] = path.open("a", encoding="utf-8")

    def append(self, entry: JournalEntry) -> None:
        """Add a message."""
        self.entries.append(entry)
        self._file.write(json.dumps(asdict(entry)) + "\n")
        self._file.flush()

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _read(path: Path) -> Iterator[JournalEntry]:
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            yield JournalEntry(**json.loads(line))
        except (ValueError, TypeError):
            return  # the last line of a process that was killed while it wrote


def matching(
    entries: Iterable[JournalEntry], units: Iterable[str], matches: Iterable[str]
) -> list[JournalEntry]:
    """Return the entries about any of the units that match every ``FIELD=value``; of a field, any value counts."""
    wanted, by_field = set(units), dict[str, set[str]]()
    for match in matches:
        name, equals, value = match.partition("=")
        if not equals:
            raise ValueError(f"Failed to add match '{match}': Invalid argument")
        by_field.setdefault(name, set()).add(value)
    return [
        entry
        for entry in entries
        if (not wanted or entry.unit in wanted)
        and all(entry.fields().get(name) in values for name, values in by_field.items())
    ]


def format_entry(entry: JournalEntry, style: str, hostname: str) -> str:
    """Return one message as ``journalctl -o STYLE`` prints it; a ValueError for another style than cat and short."""
    if style == "cat":
        return entry.message
    if style != "short":
        raise ValueError(f"Unknown output format '{style}'; a rehearsal node knows cat and short.")
    stamp = datetime.fromtimestamp(entry.time, UTC).strftime("%b %d %H:%M:%S")
    return f"{stamp} {hostname} {entry.identifier}[{entry.pid}]: {entry.message}"
