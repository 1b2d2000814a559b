"""The journal of a run: one line an event, on disk before the next thing is done, bound to the line before.

A line is a JSON object with

- ``seq``: 1, 2, 3 …
- ``time``: UTC, RFC 3339 with milliseconds,
- ``action``: ``started``, ``completed``, ``failed``, ``reverted`` …,
- ``run``: the name of the run's folder,
- ``previous``: the SHA-256, in hex, of the bytes of the line before without its newline; empty in the first,

and what the action is about. A run that is killed leaves at most one torn line, the last: it is what has no newline.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.plan import sha256
from kubeharden.plan.event import Event
from kubeharden.plan.events import event_of
from kubeharden.records.reader import LIMIT, name_list, parse_json, read
from kubeharden.redaction import Redactor

JOURNAL = "journal.jsonl"
OWN_KEYS = ("seq", "time", "action", "run", "previous")
# A line has a hundred bytes at the least; a journal with so much is damaged.
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", re.ASCII)
MOST_LINES, MOST_PROBLEMS = 1_000_000, 100


class JournalWriter:
    """Appends to the journal of one run; threads may share it.

    Args:
        path: the file, which must not be there yet.

    Raises:
        OSError: the file cannot be made.
    """

    def __init__(self, path: Path, run: str, redactor: Redactor) -> None:
        self._path, self._run, self._redactor = path, run, redactor
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        # Held until the process ends: so others see that the run goes on.
        fcntl.flock(self._file, fcntl.LOCK_EX)
        self._lock = threading.Lock()
        self._seq, self._previous, self._size = 0, "", 0
        sync_folder(path.parent)

    def write(self, action: str, what: dict[str, Any]) -> None:
        """Append one event, without its secrets; it is on disk when this returns.

        Raises:
            ValueError: ``what`` has one of the journal's own keys.
            RecordError: the line cannot be written; the journal ends with the line before.
        """
        names = sorted(set(OWN_KEYS) & set(what))
        if names:
            raise ValueError(f"the journal itself says {', '.join(names)}")
        # Values are redacted before they become JSON: a mark put into JSON text could make it invalid.
        content = self._redactor.redact_data(what)
        with self._lock:
            line = {
                "seq": self._seq + 1,
                "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "action": action,
                "run": self._run,
                "previous": self._previous,
                **content,
            }
            data = json_line(line)
            self._append(data + b"\n")
            self._seq += 1
            self._previous = sha256(data)

    def close(self) -> None:
        """Close the file; more than once does no harm."""
        with self._lock:
            if self._file >= 0:
                os.close(self._file)
                self._file = -1

    def _append(self, data: bytes) -> None:
        if self._size + len(data) > LIMIT:
            raise RecordError(f"{self._path}: is full at {LIMIT} bytes. What cannot be recorded is not done")
        try:
            written = 0
            while written < len(data):  # a full disk takes a part and then refuses the rest
                written += os.write(self._file, data[written:])
            os.fsync(self._file)
        except OSError as error:
            if self._file >= 0:
                os.ftruncate(self._file, self._size)
            raise RecordError(
                f"{self._path}: cannot write ({error.strerror}). What cannot be recorded is not done; make room "
                "and run again"
            ) from None
        self._size += len(data)


@dataclass(frozen=True)
class Journal:
    """The content of a journal."""

    lines: tuple[dict[str, Any], ...]  # the whole ones, each as it was written, in their order
    events: tuple[Event, ...] = ()  # those of them that this version knows
    # What is wrong with it, one sentence each: lines changed, dropped, swapped, or not readable.
    problems: tuple[str, ...] = ()
    # The text after the last newline; a run that was killed while it wrote leaves it. Empty as a rule.
    torn: str = ""


def read_journal(path: Path) -> Journal:
    """Read a journal, in whatever state it is: what cannot be read is named in ``problems``, never raised."""
    try:
        return parse_journal(read(path.parent, path.name), path.name)
    except RecordError as error:
        return Journal((), problems=(str(error),))


def parse_journal(data: bytes, name: str = JOURNAL) -> Journal:
    """Return what the bytes of a journal hold; what is wrong with them is named in ``problems``, never raised."""
    *whole, torn = data.split(b"\n", MOST_LINES)
    lines: list[dict[str, Any]] = []
    events: list[Event] = []
    problems: list[str] = []
    previous, expected = "", 1
    for number, raw in enumerate(whole, 1):
        if len(problems) > MOST_PROBLEMS:
            problems.append(
                f"{name}: has {len(whole)} lines, of which those from {number} on were not read any more"
            )
            break
        line, event, why = _parse(raw)
        if line is None:
            problems.append(f"{name}: line {number} {why[0]}")
        else:
            why += _order_problems(line, expected, previous)
            problems += [f"{name}: line {number} {words}" for words in why]
            lines.append(line)
            events += [event] if event else []
            expected = line["seq"]
        previous, expected = sha256(raw), expected + 1
    if b"\n" in torn:
        problems.append(f"{name}: has more than {MOST_LINES} lines")
        torn = b""
    names = {line["run"] for line in lines}
    if len(names) > 1:
        problems.append(f"{name}: has lines of several runs: {name_list(sorted(names))}")
    return Journal(tuple(lines), tuple(events), tuple(problems), torn.decode("utf-8", errors="replace"))


def last_time(journal: Journal) -> str:
    """Return the latest time in a journal; empty where it has no line."""
    return max((line["time"] for line in journal.lines), default="")


def is_written(text: str) -> bool:
    """Check that a text is a time as a journal has it: UTC, to the millisecond."""
    return _TIME.fullmatch(text) is not None and is_time(text)


def is_time(text: str) -> bool:
    """Check that a text is a time that there is: of a month that there is, before the year 10000."""
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return False
    return True


def json_line(content: dict[str, Any]) -> bytes:
    """Return a mapping as one line of JSON in UTF-8; what is not valid text (bytes of a node's file) is escaped."""
    text = json.dumps(content, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", errors="backslashreplace")


def sync_folder(folder: Path) -> None:
    """Put a folder's list of names on disk; without this, a new file may be lost with its power."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _parse(raw: bytes) -> tuple[dict[str, Any] | None, Event | None, list[str]]:
    """Return the content of a line, its event where this version knows it, and what is wrong with it."""
    try:
        line = parse_json(raw)
    except ValueError:
        line = None
    if (
        not isinstance(line, dict)
        or type(line.get("seq")) is not int
        or not all(isinstance(line.get(key), str) for key in OWN_KEYS if key != "seq")
    ):
        return None, None, ["is not an event"]
    try:
        return line, event_of(line), []
    except ValueError as error:
        return line, None, [str(error)]


def _order_problems(line: dict[str, Any], expected: int, previous: str) -> list[str]:
    why = []
    if line["seq"] != expected:
        why.append(f"has the number {line['seq']}, not {expected}: a line was dropped, added or swapped")
    if line["previous"] != previous:
        why.append("does not follow the line before it: one of the two was changed, dropped or swapped")
    return why
