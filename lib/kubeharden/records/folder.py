"""The folder of a run: its journal, its plan, and the contents before and after of what it changed.

| file | what is in it |
|---|---|
| ``journal.jsonl`` | what happened, see ``journal.py`` |
| ``plan.json`` | the last plan, with its digest |
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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan import FileChange, NodeChange, ObjectChange, Plan, digest_of, sha256
from kubeharden.plan.events import Event, Planned, Started
from kubeharden.plan.forms import fits
from kubeharden.records.journal import Journal, JournalWriter, read_journal, sync_folder
from kubeharden.records.reader import MissingError, limit_of, one_line, open_file, parse_json, read
from kubeharden.redaction import Redactor, is_whole

E = TypeVar("E", bound=Event)
ACTIONS = ("create", "update", "delete")
ABSENT = "absent"  # instead of a digest: there is no such file
_DIGEST = re.compile(r"[0-9a-f]{64}|absent")
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")  # of a node, a service, a step
_MODE, _OWNER = re.compile(r"[0-7]{1,4}"), re.compile(r"[^\s:-][^\s:]*")
JOURNAL, PLAN, FILES, OBJECTS = "journal.jsonl", "plan.json", "files.json", "objects.json"


@dataclass(frozen=True)
class KeptFile:
    """A file on a node that a run meant to change.

    Attributes:
        mode: octal text such as ``644``, as it was to be; with ``owner`` and ``group``.
        before: SHA-256 of the content that it had, or ``absent``.
        after: SHA-256 of the content that it was to have.
        redacted: a secret was taken out of what is kept of it, before or after.
        before_mode: what it was before, like ``before_owner`` and ``before_group``; empty where there was no file.
    """

    node: str
    service: str
    step: str
    path: str
    mode: str
    owner: str
    group: str
    before: str
    after: str
    redacted: bool
    before_mode: str = ""
    before_owner: str = ""
    before_group: str = ""

    def mistake(self) -> str:
        """Return what is wrong with it as read from a record; empty where nothing is."""
        there = (self.before_mode, self.before_owner, self.before_group)
        modes, owners = [self.mode], [self.owner, self.group]
        if any(there):
            modes.append(self.before_mode)
            owners += [self.before_owner, self.before_group]
        if not all(map(_NAME.fullmatch, (self.node, self.service, self.step))):
            return (
                f"names {one_line(self.service)} on {one_line(self.node)} in the step {one_line(self.step)}"
            )
        if not _is_plain_path(self.path):
            return f"names the path {one_line(self.path)}"
        if not all(map(_DIGEST.fullmatch, (self.before, self.after))):
            return f"has no digests of {self.path}"
        sound = all(map(_MODE.fullmatch, modes)) and all(map(_OWNER.fullmatch, owners))
        return (
            "" if sound else f"has the mode or owner {one_line(' '.join((*modes, *owners)))} of {self.path}"
        )


@dataclass(frozen=True)
class KeptObject:
    """An API object that a run meant to change: ``action`` is ``create``, ``update`` or ``delete``.

    ``before`` and ``after`` are the SHA-256 of the object as JSON with sorted keys; ``absent`` for none.
    """

    number: int
    step: str
    action: str
    name: str
    before: str
    after: str
    redacted: bool

    def mistake(self) -> str:
        """Return what is wrong with it as read from a record; empty where nothing is."""
        kind, _, name = self.name.partition(" ")
        if self.number < 1 or not _NAME.fullmatch(self.step) or self.action not in ACTIONS:
            return f"has object {self.number} in the step {one_line(self.step)}, to {one_line(self.action)}"
        if not (kind.isalpha() and name and self.name.isprintable()):
            return f"names the object {one_line(self.name)}"
        return (
            "" if all(map(_DIGEST.fullmatch, (self.before, self.after))) else f"has no digests of {self.name}"
        )


class Record:
    """The folder of one run, made when the run starts: a listener that writes events to it; threads may share it.

    Args:
        parent: where runs are kept.
        cluster: the cluster's name.
        label: the change id, or what else tells this run from others.
        redactor: the run's; takes the secrets out of what is written.

    Raises:
        ParameterError: the folder cannot be made.
    """

    def __init__(self, parent: Path, cluster: str, label: str, redactor: Redactor | None = None) -> None:
        self.redactor = redactor or Redactor()
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3] + "Z"
        words = "-".join(
            re.sub(r"[^A-Za-z0-9._]+", "-", word).strip("-.") for word in (cluster, label) if word
        )
        self.run = f"{stamp}-{words}"
        self.folder = parent / self.run
        self._lock = threading.Lock()
        self._files: list[KeptFile] = []
        self._objects: list[KeptObject] = []
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
        if isinstance(event, Planned) and event.plan is not None:
            self._keep_plan(event.plan)
        if event.action:
            self._journal.write(event.action, event.content())
        if isinstance(event, Started) and event.change is not None:
            self._keep_contents(event.change)

    def _keep_plan(self, plan: Plan) -> None:
        content = {"digest": plan.digest, **plan.as_json()}
        self._write(PLAN, self.redactor.redact_data(content))

    def _keep_contents(self, change: NodeChange | ObjectChange) -> None:
        """Write the contents before and after."""
        with self._lock:
            if isinstance(change, ObjectChange):
                self._objects.append(self._kept_object(change))
                self._write(OBJECTS, [asdict(kept) for kept in self._objects])
            elif change.files:
                self._files += [self._kept_file(change, file) for file in change.files]
                self._write(FILES, [asdict(kept) for kept in self._files])

    def _write(self, name: str, content: Any) -> None:
        write_aside(self.folder, name, json_file(content))

    def close(self) -> None:
        """Close the journal; more than once does no harm."""
        self._journal.close()

    def _kept_file(self, change: NodeChange, file: FileChange) -> KeptFile:
        was = file.before
        redacted = [self._keep_text(change.node, was.content)] if was is not None else []
        if not file.gone:
            redacted.append(self._keep_text(change.node, file.after))
        return KeptFile(
            node=change.node,
            service=change.service,
            step=change.step,
            path=file.path,
            mode=file.mode,
            owner=file.owner,
            group=file.group,
            before=file.before_digest,
            after=file.after_digest,
            redacted=any(redacted),
            before_mode="" if was is None else was.mode,
            before_owner="" if was is None else was.owner,
            before_group="" if was is None else was.group,
        )

    def _keep_text(self, node: str, content: str) -> bool:
        """Keep a content under its digest; return whether a secret was taken out of it."""
        harmless = self.redactor.redact(content)
        name = f"files/{node}/{sha256(content)}"
        write_aside(self.folder, name, harmless.encode("utf-8", errors="surrogateescape"))
        return harmless != content

    def _kept_object(self, change: ObjectChange) -> KeptObject:
        number = len(self._objects) + 1
        after = None if change.delete else change.manifest
        sides = {"before": change.before, "after": after}
        redacted = False
        for side, content in sides.items():
            if content is not None:
                harmless = self.redactor.redact_data(content)
                redacted |= harmless != _plain(content)
                self._write(f"objects/{number}-{side}.json", harmless)
        return KeptObject(
            number=number,
            step=change.step,
            action=change.action,
            name=change.name,
            before=ABSENT if change.before is None else digest_of(change.before),
            after=ABSENT if after is None else digest_of(after),
            redacted=redacted,
        )


@dataclass(frozen=True)
class PastRun:
    """A run as its folder tells it.

    Attributes:
        folder: where it is.
        run: its name, which is the folder's.
        journal: what happened.
        plan: the content of ``plan.json``; None where no plan was made.
        files: what is kept of the nodes' files, in the order in which they were to be changed.
        objects: what is kept of API objects, in that order.
        problems: what is wrong with the folder, one sentence each; nothing, if all can be read.
        running: whether the process that writes it has it open, on this machine.
    """

    folder: Path
    run: str
    journal: Journal
    plan: Mapping[str, Any] | None
    files: tuple[KeptFile, ...]
    objects: tuple[KeptObject, ...]
    problems: tuple[str, ...]
    running: bool = False

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

    def object_content(self, kept: KeptObject, side: str) -> dict[str, Any] | None:
        """Return what is kept of an API object: its ``side`` ``before`` or ``after``; None where there was none.

        Raises:
            RecordError: it is not there, or is another object than the one of that digest.
        """
        digest = getattr(kept, side)
        if digest == ABSENT:
            return None
        name = f"objects/{kept.number}-{side}.json"
        content, problem = _read_json(self.folder, name)
        if problem or not _is_object(content, kept.name):
            raise RecordError(f"{one_line(self.run)}: {problem or f'{name} is not {kept.name}'}")
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
    journal = read_journal(folder / JOURNAL)
    plan, plan_problem = _read_json(folder, PLAN)
    files, files_problem = _read_list(folder, FILES, KeptFile)
    objects, objects_problem = _read_list(folder, OBJECTS, KeptObject)
    found = (plan_problem, files_problem, objects_problem)
    return PastRun(
        folder=folder,
        run=folder.name,
        journal=journal,
        plan=plan if isinstance(plan, dict) else None,
        files=tuple(files),
        objects=tuple(objects),
        problems=(*journal.problems, *(problem for problem in found if problem)),
        running=is_open(folder),
    )


def write_aside(folder: Path, name: str, data: bytes) -> None:
    """Write a file of a run so that it is there whole or not at all, on disk, for its owner only.

    Args:
        folder: the run's folder.
        name: the path below it.
        data: the content.

    Raises:
        RecordError: it cannot be written, or is bigger than what is read again.
    """
    path = folder / name
    aside = path.with_name(f".{path.name}.new")
    if len(data) > limit_of(name):
        raise RecordError(
            f"{path}: has more than {limit_of(name)} bytes. What cannot be recorded is not done"
        )
    try:
        _make_folder(path.parent)
        aside.unlink(
            missing_ok=True
        )  # a run that was cut off left it; or it is a link that somebody put there
        with os.fdopen(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise RecordError(
            f"{path}: cannot write ({error.strerror}). What cannot be recorded is not done; make room and run again"
        ) from None


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


def _make_folder(folder: Path) -> None:
    """Make a folder for its owner only, and those above it that are not there yet."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def _plain(content: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(content))


def _is_plain_path(path: str) -> bool:
    return path.startswith("/") and path.isprintable() and not {"", ".", ".."} & set(path.split("/")[1:])


def _is_object(content: Any, name: str) -> bool:
    """Return whether plain data is the API object of that name, such as ``Role weave/psp``."""
    meta = content.get("metadata") if isinstance(content, dict) else None
    if not isinstance(meta, dict):
        return False
    namespace = f"{meta['namespace']}/" if "namespace" in meta else ""
    return f"{content.get('kind')} {namespace}{meta.get('name')}" == name


def _read_json(folder: Path, name: str) -> tuple[Any, str]:
    """Return the content of a JSON file and what is wrong with it; neither where the file is not there."""
    try:
        return parse_json(read(folder, name)), ""
    except MissingError:
        return None, ""
    except RecordError as error:
        return None, str(error)
    except ValueError as error:
        return None, f"{name} cannot be read: {error}"


def _read_list(folder: Path, name: str, kind: type[KeptFile] | type[KeptObject]) -> tuple[Sequence[Any], str]:
    content, problem = _read_json(folder, name)
    if content is None:
        return (), problem
    try:
        kept = [kind(**item) for item in content]
    except TypeError as error:
        return (), f"{name} is not a list of what a run kept: {error}"
    wrong = next(filter(None, map(_mistake, kept)), "")
    return ((), f"{name} {wrong}") if wrong else (kept, "")


def _mistake(kept: KeptFile | KeptObject) -> str:
    return kept.mistake() if fits(type(kept), vars(kept)) else "has a value of another type than it can have"
