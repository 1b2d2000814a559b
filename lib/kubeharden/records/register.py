"""The register: which runs there are, which of them match, and what tells two of them apart. Reading only."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.plan import node_of_subject, sha256, unified_diff
from kubeharden.plan.events import RunStarted, Started
from kubeharden.records.archive import is_sealed, read_record, runs_in
from kubeharden.records.entries import ABSENT, FileEntry
from kubeharden.records.folder import PastRun, is_open, read_run
from kubeharden.records.journal import JOURNAL, is_time, read_journal
from kubeharden.records.later import is_same_cluster
from kubeharden.records.reader import name_list, one_line
from kubeharden.records.summary import build_record, check_form, result_of, unrepaired
from kubeharden.redaction import Redactor

# What is compared of two records; of what was done, the changes and the files are.
COMPARED = (
    "cluster", "mode", "steps", "result", "change", "who", "kubernetes_user", "versions", "api_server", "systems",
    "components", "parameters", "inventory", "notebook", "plan",
)  # fmt: skip
# A day, or a time of it, UTC.
_TIME = re.compile(r"\d{4}-\d\d-\d\d(T\d\d(:\d\d(:\d\d)?)?)?")


@dataclass(frozen=True)
class RegisterEntry:
    """One run in the register."""

    folder: Path  # where it is
    started: str  # UTC, like ``ended``, the time of its last event
    ended: str
    who: str  # ``login@host``, and who they were before they became root
    # Every name that the run knows its operator by: login, ``SUDO_USER``, the Kubernetes user.
    users: tuple[str, ...]
    cluster: str
    change_id: str
    mode: str
    # Those that something was done to; in a run that did nothing, those that it looked at.
    nodes: tuple[str, ...]
    subjects: tuple[str, ...]  # what was started: ``kubelet on n1``, ``PodSecurityPolicy privileged``
    result: str  # as ``summary.result_of`` says it
    failed: tuple[str, ...]  # what failed or was put back, and was not repaired in the same run
    sealed: bool  # whether it bears a seal; whether the seal holds is another question
    wrong: tuple[str, ...] = ()  # what is wrong with its journal, one sentence each

    @property
    def run(self) -> str:
        """Its name."""
        return one_line(self.folder.name)

    def result_words(self, most: int) -> str:
        """Return the result, with the changes that failed, ``most`` of them by name."""
        if not self.failed:
            return self.result
        return (
            f"{'' if self.result == 'failed' else f'{self.result}; '}failed: {name_list(self.failed, most)}"
        )


@dataclass(frozen=True)
class RunFilter:
    """A filter of runs; what is empty matches every run.

    Raises:
        ParameterError: ``since`` or ``until`` is not such a time.
    """

    node: str = ""  # a node that something was done to, or was looked at by a run that did nothing
    about: str = ""  # part of what was started, such as ``PodSecurityPolicy`` or ``kubelet on n1``
    user: str = ""  # a login, a ``SUDO_USER`` or a Kubernetes user
    since: str = ""  # the first day, or time, UTC: ``2026-11-01`` or ``2026-11-01T08:30``
    until: str = ""  # the last one, itself included

    def __post_init__(self) -> None:
        for name in ("since", "until"):
            text = getattr(self, name)
            if text and not (_TIME.fullmatch(text) and is_time(text)):
                raise ParameterError(
                    f"{name}: {text!r} is not a time; expected one like 2026-11-01 or 2026-11-01T08:30"
                )

    def matches(self, entry: RegisterEntry) -> bool:
        """Return True where a run is wanted."""
        return (
            (not self.node or self.node in entry.nodes)
            and any(self.about.lower() in subject.lower() for subject in entry.subjects or ("",))
            and (not self.user or self.user in entry.users)
            and self.since <= entry.started
            and (not self.until or entry.started[: len(self.until)] <= self.until)
        )


def register(parent: Path, chosen: RunFilter | None = None) -> list[RegisterEntry]:
    """Return the runs in a folder, the newest first, also those that were cut off; a RecordError without it."""
    entries = map(read_entry, reversed(runs_in(parent)))
    return [entry for entry in entries if (chosen or RunFilter()).matches(entry)]


def read_entry(folder: Path) -> RegisterEntry:
    """Return a run as its journal tells it, whatever state it was left in."""
    journal = read_journal(folder / JOURNAL)
    past = PastRun(folder, folder.name, journal, None, (), (), (), running=is_open(folder))
    start = past.last(RunStarted) or RunStarted()
    started = past.of(Started)
    nodes = [event.node or node_of_subject(event.subject) for event in started]
    changed = tuple(dict.fromkeys(filter(None, nodes)))
    users = (start.who.get("login"), start.who.get("sudo_user"), start.kubernetes_user)
    return RegisterEntry(
        folder=folder,
        started=one_line(past.started),
        ended=one_line(past.ended),
        who=one_line(_who(start.who)),
        users=tuple(str(user) for user in users if user),
        cluster=one_line(start.cluster),
        change_id=one_line(start.change_id),
        mode=one_line(start.mode),
        nodes=tuple(map(one_line, changed if started else start.nodes)),
        subjects=tuple(dict.fromkeys(one_line(event.subject) for event in started)),
        result=result_of(past),
        failed=tuple(dict.fromkeys(map(one_line, unrepaired(past)))),
        sealed=is_sealed(folder),
        wrong=journal.problems,
    )


def record_of(folder: Path) -> dict[str, Any]:
    """Return the record of a run: the sealed one, or made now from what its folder holds.

    Raises:
        RecordError: it is not the folder of a run, or what lies in it is not what a run writes.
    """
    record = read_record(folder) if is_sealed(folder) else build_record(read_run(folder))
    check_form(record)
    return record


@dataclass(frozen=True)
class FileDifference:
    """A file on a node that two looks are compared at: what is to be said of it, and a diff where there is one."""

    node: str
    path: str
    words: str
    diff: str = ""


@dataclass(frozen=True)
class Comparison:
    """The differences between two runs; of runs on two clusters, neither changes nor files are compared."""

    clusters: tuple[str, ...]  # the names of the clusters, where they are two
    # Name, in the one, in the other: whatever differs of who, how and with what they ran.
    facts: tuple[tuple[str, str, str], ...]
    # Subject, what became of it in the one and in the other; empty where it was not started.
    changes: tuple[tuple[str, str, str], ...]
    files: tuple[FileDifference, ...]  # what the one left on the nodes, against what the other did


def compare_runs(one: Path, other: Path) -> Comparison:
    """Compare two runs.

    Raises:
        RecordError: one of them is not the folder of a run, or a content that it names is missing.
    """
    first, second = record_of(one), record_of(other)
    facts, others = dict(_flat(first, COMPARED)), dict(_flat(second, COMPARED))
    past, other_past = read_run(one), read_run(other)
    same = is_same_cluster(past, other_past)
    results, other_results = (_results(first), _results(second)) if same else ({}, {})
    left, other_left = (_left_by(past), _left_by(other_past)) if same else ({}, {})
    return Comparison(
        clusters=() if same else (first["cluster"], second["cluster"]),
        facts=tuple(
            (name, facts.get(name, ""), others.get(name, ""))
            for name in dict.fromkeys((*facts, *others))
            if facts.get(name, "") != others.get(name, "")
        ),
        changes=tuple(
            (subject, results.get(subject, ""), other_results.get(subject, ""))
            for subject in dict.fromkeys((*results, *other_results))
        ),
        files=tuple(
            FileDifference(*place, f"only in {(past if place in left else other_past).run}")
            if (place in left) != (place in other_left)
            else _between(past, left[place], other_past, other_left[place])
            for place in dict.fromkeys((*left, *other_left))
        ),
    )


def since_run(past: PastRun, node: str, now: Mapping[str, str], redactor: Redactor) -> list[FileDifference]:
    """Return what is different on a node since a run, of the files that the run meant to change there.

    Args:
        now: the content of the files that its services use now, by path.
        redactor: takes the secrets out of those contents, as out of those that the run kept.

    Raises:
        RecordError: a content that the run's folder names is missing.
    """
    return [
        _since(past, entry, now.get(entry.path), redactor)
        for entry in _left_by(past).values()
        if entry.node == node
    ]


def _since(past: PastRun, entry: FileEntry, now: str | None, redactor: Redactor) -> FileDifference:
    if now is None:
        return FileDifference(entry.node, entry.path, "is used by no service now, or is gone")
    if sha256(now) == entry.after:
        return FileDifference(entry.node, entry.path, "is as the run left it")
    words = "is as it was before the run" if sha256(now) == entry.before else "has changed since"
    left = _text_left(past, entry)
    return FileDifference(entry.node, entry.path, words, unified_diff(entry.path, left, redactor.redact(now)))


def _between(one: PastRun, entry: FileEntry, other: PastRun, again: FileEntry) -> FileDifference:
    """Return the difference between what two runs left in the same place of a node."""
    if entry.after == again.after:
        return FileDifference(entry.node, entry.path, "the same")
    texts = _text_left(one, entry), _text_left(other, again)
    return FileDifference(entry.node, entry.path, "different", unified_diff(entry.path, *texts))


def _text_left(past: PastRun, entry: FileEntry) -> str:
    """Return what a run left in a place; nothing where it removed the file."""
    return "" if entry.after == ABSENT else past.content(entry.node, entry.after)


def _left_by(past: PastRun) -> dict[tuple[str, str], FileEntry]:
    """Return the last thing that a run meant to leave in each place: node and path."""
    return {(entry.node, entry.path): entry for entry in past.files}


def _results(record: Mapping[str, Any]) -> dict[str, str]:
    return {change["subject"]: change["result"] for change in record.get("changes", ())}


def _flat(value: Any, names: Iterable[str] = (), prefix: str = "") -> Iterator[tuple[str, str]]:
    """Yield the parts of plain data with their names, such as ``versions.python``; of a mapping, those named or all."""
    if isinstance(value, Mapping):
        for name in names or value:
            yield from _flat(value.get(name), prefix=f"{prefix}.{name}" if prefix else name)
    elif isinstance(value, (list, tuple)):
        yield prefix, ", ".join(map(str, value))
    else:
        yield prefix, "" if value is None else str(value)


def _who(who: Mapping[str, Any]) -> str:
    if not who:
        return ""
    before = who.get("sudo_user")
    return f"{who.get('login', '')}@{who.get('host', '')}{f' ({before} before sudo)' if before else ''}"
