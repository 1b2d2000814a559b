"""The folder of a run: its journal, its plan, and the contents before and after of what it changed.

| file | what is in it |
|---|---|
| ``journal.jsonl`` | what happened, see ``journal.py`` |
| ``plan.json`` | the last plan, with its digest; those before it are in ``plans/`` |
| ``files.json``, ``files/<node>/<sha256>`` | the nodes' files before and after, named by the SHA-256 of each |
| ``objects.json``, ``objects/<n>-before.json``, ``-after.json`` | API objects before and after, as far as they exist |

A content in which the redaction finds a secret is kept redacted and marked as such, never raw: the bytes themselves
are in the backup on the node. Files are written aside, put on disk and renamed, so that none is ever half-written.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan import NodeChange, ObjectChange, Plan, digest_of, sha256
from kubeharden.plan.event import Event
from kubeharden.plan.events import Planned, Started
from kubeharden.records.entries import (
    ABSENT,
    FILES,
    OBJECTS,
    Entry,
    FileEntry,
    ObjectEntry,
    entry_mistake,
    name_of,
)
from kubeharden.records.journal import JOURNAL, Journal, JournalWriter, parse_journal, sync_folder
from kubeharden.records.reader import MissingError, limit_of, one_line, open_file, parse_json, read
from kubeharden.redaction import Redactor, is_whole

E = TypeVar("E", bound=Event)
PLAN, PLANS = "plan.json", "plans"
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
_NEW_FILE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
DOCUMENTS = (JOURNAL, PLAN, FILES, OBJECTS)  # of which a run is read


def _stamp() -> str:
    """Return the time to the millisecond, as the name of a run begins."""
    return datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"


class Record:
    """The folder of one run, made when the run starts: a listener that writes events to it; threads may share it.

    Args:
        label: the change id, or what else tells this run from others.

    Raises:
        ParameterError: the folder cannot be made.
    """

    def __init__(self, parent: Path, cluster: str, label: str, redactor: Redactor | None = None) -> None:
        self.redactor = redactor or Redactor()
        # The order of their names is that in which they began.
        while any(parent.glob(f"{(stamp := _stamp())}-*")):
            pass
        words = "-".join(
            re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in (cluster, label) if word
        )
        self.run = f"{stamp}-{words}"
        self.folder = parent / self.run
        self._lock = threading.Lock()
        self._entries: dict[str, list[Entry]] = {FILES: [], OBJECTS: []}
        self._plan: tuple[str, bytes] | None = None  # the last one: its digest, and what was written of it
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self.folder.mkdir(mode=0o700)
            sync_folder(parent)
            self._journal = JournalWriter(self.folder / JOURNAL, self.run, self.redactor)
        except OSError as error:
            raise ParameterError(
                f"output_dir: cannot write records to {str(parent)!r} ({error.strerror}); expected a folder "
                "that can be written"
            ) from None

    def __call__(self, event: Event) -> None:
        """Write one event to the journal, with the plan or the contents that belong to it; all is on disk then.

        Raises:
            RecordError: it cannot be written.
        """
        if event.action:
            self._journal.write(event.action, event.content())
        if isinstance(event, Planned) and event.plan is not None:
            self._write_plan(event.plan)
        if isinstance(event, Started) and event.change is not None:
            self._write_contents(event.change)

    def _write_plan(self, plan: Plan) -> None:
        """Write the plan, and the one before it aside: what a run has begun stands in one of its plans."""
        if self._plan and self._plan[0] != plan.digest:
            write_aside(self.folder, f"{PLANS}/{self._plan[0]}.json", self._plan[1])
        data = json_file(self.redactor.redact_data({"digest": plan.digest, **plan.as_json()}))
        write_aside(self.folder, PLAN, data)
        self._plan = plan.digest, data

    def _write_contents(self, change: NodeChange | ObjectChange) -> None:
        """Write the contents before and after, and then the list of them."""
        with self._lock:
            if isinstance(change, ObjectChange):
                name, (entries, contents) = OBJECTS, self._of_object(change)
            else:
                name, (entries, contents) = FILES, self._of_node(change)
            for path, data in contents.items():
                write_aside(self.folder, path, data)
            if entries:
                self._entries[name] += entries
                write_aside(self.folder, name, json_file([asdict(entry) for entry in self._entries[name]]))

    def _of_node(self, change: NodeChange) -> tuple[list[Entry], dict[str, bytes]]:
        """Return the entries of ``files.json`` for a change, and the contents that they name."""
        entries: list[Entry] = []
        contents: dict[str, bytes] = {}
        for file in change.files:
            before, redacted = file.before, False
            for text in (*([before.content] if before else ()), *(() if file.gone else (file.after,))):
                harmless = self.redactor.redact(text)
                redacted |= harmless != text
                data = harmless.encode("utf-8", errors="surrogateescape")
                contents[f"files/{change.node}/{sha256(text)}"] = data
            entries.append(
                FileEntry(
                    node=change.node,
                    service=change.service,
                    step=change.step,
                    path=file.path,
                    mode=file.mode,
                    owner=file.owner,
                    group=file.group,
                    before=file.before_digest,
                    after=file.after_digest,
                    redacted=redacted,
                    before_mode=before.mode if before else "",
                    before_owner=before.owner if before else "",
                    before_group=before.group if before else "",
                )
            )
        return entries, contents

    def _of_object(self, change: ObjectChange) -> tuple[list[Entry], dict[str, bytes]]:
        """Return the entry of ``objects.json`` for a change, and the contents that it names."""
        number, redacted = len(self._entries[OBJECTS]) + 1, False
        contents: dict[str, bytes] = {}
        after = None if change.delete else change.manifest
        for side, content in (("before", change.before), ("after", after)):
            if content is not None:
                harmless = self.redactor.redact_data(content)
                redacted |= harmless != json.loads(json.dumps(content))
                contents[f"objects/{number}-{side}.json"] = json_file(harmless)
        entry = ObjectEntry(
            number=number,
            step=change.step,
            action=change.action,
            name=change.name,
            before=ABSENT if change.before is None else digest_of(change.before),
            after=ABSENT if after is None else digest_of(after),
            redacted=redacted,
        )
        return [entry], contents

    def close(self) -> None:
        """Close the journal; more than once does no harm."""
        self._journal.close()


@dataclass(frozen=True)
class PastRun:
    """A run as its folder tells it."""

    folder: Path
    run: str
    journal: Journal
    plan: Mapping[str, Any] | None  # the content of ``plan.json``; None where no plan was made
    files: tuple[FileEntry, ...]  # of the nodes, in the order in which they were to be changed
    objects: tuple[ObjectEntry, ...]  # of the API, in that order
    problems: tuple[str, ...]  # what is wrong with the folder, one sentence each; nothing, if all can be read
    running: bool = False  # whether the process that writes it has it open, on this machine
    # The SHA-256 of each file that this was read from, by name.
    digests: Mapping[str, str] = field(default_factory=dict)

    @property
    def events(self) -> tuple[Event, ...]:
        """The events of its journal that this version knows."""
        return self.journal.events

    def of(self, kind: type[E]) -> list[E]:
        """Return the events of a kind, in their order."""
        return [event for event in self.events if type(event) is kind]

    def last(self, kind: type[E]) -> E | None:
        """Return the last event of a kind; None where there is none."""
        return next(reversed(self.of(kind)), None)

    @property
    def started(self) -> str:
        """The time of the first line of its journal; empty where there is none."""
        return self.journal.lines[0]["time"] if self.journal.lines else ""

    @property
    def ended(self) -> str:
        """The time of the last line of its journal; empty where there is none."""
        return self.journal.lines[-1]["time"] if self.journal.lines else ""

    def plans(self) -> list[dict[str, Any]]:
        """Return all plans of the run that are there, the last one first; what is not a plan is left out."""
        earlier = {event.digest for event in self.of(Planned) if re.fullmatch("[0-9a-f]{64}", event.digest)}
        plans = [dict(self.plan)] if self.plan is not None else []
        for digest in sorted(earlier):
            with suppress(RecordError, ValueError):
                plans.append(parse_json(read(self.folder, f"{PLANS}/{digest}.json")))
        return [plan for plan in plans if isinstance(plan, dict)]

    def content(self, node: str, digest: str) -> str:
        """Return what is kept of a node's file, by the digest that ``files`` has; redacted where it had a secret.

        Raises:
            RecordError: it is not there, or is another content than the one of that digest.
        """
        name = f"files/{node}/{digest}"
        text = read(self.folder, name).decode("utf-8", errors="surrogateescape")
        if sha256(text) != digest and is_whole(text):
            raise RecordError(f"{one_line(self.run)}: {one_line(name)} is another content than its name says")
        return text

    def object_content(self, entry: ObjectEntry, side: str) -> dict[str, Any] | None:
        """Return what is kept of an API object: its ``side`` ``before`` or ``after``; None where there was none.

        Raises:
            RecordError: it is not there, or is another object than the one of that digest.
        """
        digest = getattr(entry, side)
        if digest == ABSENT:
            return None
        name = f"objects/{entry.number}-{side}.json"
        try:
            content = parse_json(read(self.folder, name))
        except ValueError as error:
            raise RecordError(f"{one_line(self.run)}: {name} cannot be read: {error}") from None
        if name_of(content) != entry.name:
            raise RecordError(f"{one_line(self.run)}: {name} is not {entry.name}")
        if digest_of(content) != digest and is_whole(json.dumps(content, ensure_ascii=False)):
            raise RecordError(f"{one_line(self.run)}: {name} is another object than its digest says")
        return dict(content)


def read_run(folder: Path) -> PastRun:
    """Read a run's folder, in whatever state it was left.

    Raises:
        RecordError: it is not the folder of a run, or holds a link or something else than files.
    """
    folder = folder.absolute()
    if folder.is_symlink():
        raise RecordError(f"{folder} is not the record of a run: it is a link")
    try:
        os.close(open_file(folder, JOURNAL))
    except MissingError:
        raise RecordError(f"{folder} is not the record of a run: there is no {JOURNAL} in it") from None
    except RecordError as error:
        raise RecordError(f"{folder} is not the record of a run: {error}") from None
    contents, wrong = _read_all(folder)
    journal = parse_journal(contents.get(JOURNAL, b""))
    plan, files, objects = (_parse(name, contents, wrong) for name in (PLAN, FILES, OBJECTS))
    file_entries = _entries(FILES, files, FileEntry, wrong)
    object_entries = _entries(OBJECTS, objects, ObjectEntry, wrong)
    if {line["run"] for line in journal.lines} - {folder.name}:
        wrong.append(f"{JOURNAL}: is of another run")
    return PastRun(
        folder=folder,
        run=folder.name,
        journal=journal,
        plan=plan if isinstance(plan, dict) else None,
        files=tuple(file_entries),
        objects=tuple(object_entries),
        problems=(*journal.problems, *wrong),
        running=is_open(folder),
        digests={name: sha256(data) for name, data in contents.items()},
    )


def write_aside(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a run so that it is there whole or not at all, on disk, for its owner only.

    Args:
        name: the path below it.

    Raises:
        RecordError: it cannot be written, or is bigger than what is read again.
    """
    path = folder / name
    if len(data) > limit_of(name):
        raise RecordError(
            f"{path}: has more than {limit_of(name)} bytes. What cannot be recorded is not done"
        )
    *folders, last = name.split("/")
    try:
        with ExitStack() as stack:
            handle = os.open(folder, _FOLDER)
            stack.callback(os.close, handle)
            for part in folders:
                handle = _folder_in(handle, part)
                stack.callback(os.close, handle)
            _put(handle, last, data)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot write ({error.strerror}). What cannot be recorded is not done; make room and run again"
        ) from None


def _folder_in(handle: int, name: str) -> int:
    """Open a folder in an open folder, and make it for its owner only where it is not there; a link is an error."""
    with suppress(FileExistsError):
        os.mkdir(name, mode=0o700, dir_fd=handle)
        os.fsync(handle)
    return os.open(name, _FOLDER | os.O_NOFOLLOW, dir_fd=handle)


def _put(handle: int, name: str, data: bytes) -> None:
    """Write a file in an open folder aside, and put it in its place."""
    aside = f".{name}.new"
    # A run that was cut off left it; or it is a link that somebody put there.
    with suppress(FileNotFoundError):
        os.unlink(aside, dir_fd=handle)
    with os.fdopen(os.open(aside, _NEW_FILE, 0o600, dir_fd=handle), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    os.rename(aside, name, src_dir_fd=handle, dst_dir_fd=handle)
    os.fsync(handle)


def json_file(content: Any) -> bytes:
    """Return plain data as the bytes of a JSON file of a record, the only ones for it."""
    text = json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
    return text.encode("utf-8", errors="backslashreplace")


def is_open(folder: Path) -> bool:
    """Return True while a process has a run's journal open for writing: it holds a lock as long as it lives."""
    try:
        file = open_file(folder, JOURNAL)
    except RecordError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    finally:
        os.close(file)
    return False


def _read_all(folder: Path) -> tuple[dict[str, bytes], list[str]]:
    """Return what the documents of a run hold, those that are there, and what is wrong with the others."""
    contents, wrong = {}, []
    for name in DOCUMENTS:
        try:
            contents[name] = read(folder, name)
        except MissingError:
            continue
        except RecordError as error:
            wrong.append(str(error))
    return contents, wrong


def _parse(name: str, contents: Mapping[str, bytes], wrong: list[str]) -> Any:
    try:
        return parse_json(contents[name]) if name in contents else None
    except ValueError as error:
        wrong.append(f"{name} cannot be read: {error}")
        return None


K = TypeVar("K", FileEntry, ObjectEntry)


def _entries(name: str, content: Any, kind: type[K], wrong: list[str]) -> list[K]:
    """Return the entries that a document lists; none where one of them is not what a run writes."""
    try:
        entries = [kind(**item) for item in content or ()]
    except TypeError as error:
        wrong.append(f"{name} is not a list of what a run kept: {error}")
        return []
    mistake = next(filter(None, map(entry_mistake, entries)), "")
    wrong += [f"{name} {mistake}"] if mistake else []
    return [] if mistake else entries
