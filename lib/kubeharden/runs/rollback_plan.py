"""From the record of a run to a plan that puts back what it changed, where nobody has changed it since.

What a node or the API has now decides, not what the record says was done. What is as the run left it is put back,
what is as it was before the run needs nothing, and anything else is somebody else's change and is refused.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from kubeharden.components import changed_fields
from kubeharden.errors import RecordError, UnitError
from kubeharden.facts import Facts, FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import sensitive_file
from kubeharden.plan import FileChange, NodeChange, Plan, Remark, machines, sha256, subject_of, unified_diff
from kubeharden.plan.service_files import own_places
from kubeharden.records.entries import ABSENT, FileEntry
from kubeharden.records.evidence import Evidence
from kubeharden.records.folder import PastRun
from kubeharden.records.later import words_of_file
from kubeharden.redaction import mask
from kubeharden.runs.kind import Backup
from kubeharden.runs.rollback_objects import UNVOUCHED, ChangedSinceError, ObjectsBack, seal_command


@dataclass(frozen=True)
class _History:
    """A file that the run changed, once or more often: its first and last change, and all contents that it got."""

    first: FileEntry
    last: FileEntry
    contents: frozenset[str]


def rollback_plan(
    past: PastRun,
    evidence: Evidence,
    facts: Facts,
    backup: Backup,
    steps: Sequence[str],
    accepted: Collection[str],
    later: Callable[[], Sequence[PastRun]],
) -> Plan:
    """Plan what is to be done so that everything is as it was before a run.

    What nobody vouches for is not written: contents of files come from the nodes' own backups then, no other file is
    removed than one that kubeharden itself adds, and of the API's objects only those are deleted that allow nothing but
    the use of policies. What else it asks for, somebody must have named: nothing but the record says how it was.

    Args:
        backup: for contents that the record has redacted, or that nobody vouches for.
        steps: those to put back, in the order in which that is done.
        accepted: the objects that may be changed although nobody vouches for the record.
        later: returns the runs after this one, the newest first, to say which of them changed something since.

    Raises:
        RecordError: what the record has of a content cannot be read.
    """
    refused: list[Remark] = []
    later = cache(later)  # read once, and only where something was changed since
    objects = ObjectsBack(past, facts, evidence.vouched, accepted, later, refused)
    builder = _Builder(past, evidence.vouched, facts, backup, later, refused)
    for step in steps:
        builder.add(step)
        objects.add(step)
    return Plan(
        steps=tuple(steps),
        node_changes=tuple(builder.node_changes),
        object_changes=tuple(objects.changes),
        remarks=(*machines.remarks(facts), Remark(f"record {past.run}", evidence.words)),
        refused=(*_other_cluster(past, facts), *machines.refusals(facts), *refused),
        cluster=facts.cluster.name,
        cluster_uid=facts.cluster.uid,
    )


def _other_cluster(past: PastRun, facts: Facts) -> Iterator[Remark]:
    """Yield why a record cannot be used on a cluster that has the right name and is another one."""
    cluster = (past.plan or {}).get("cluster")
    was = cluster.get("uid", "") if isinstance(cluster, Mapping) else ""  # an earlier version did not say
    if was and was != facts.cluster.uid:
        why = (
            f"is another cluster than the one that {past.run} is the record of: its kube-system has the UID "
            f"{facts.cluster.uid or 'unknown'}, and that one's had {was}"
        )
        yield Remark(f"cluster {facts.cluster.name}", why)


@dataclass
class _Builder:
    past: PastRun
    vouched: bool
    facts: Facts
    backup: Backup
    later: Callable[[], Sequence[PastRun]]
    refused: list[Remark]
    node_changes: list[NodeChange] = field(default_factory=list)

    def add(self, step: str) -> None:
        histories: dict[tuple[str, str], dict[str, _History]] = {}
        for entry in self.past.files:
            if entry.step == step:
                files = histories.setdefault((entry.node, entry.service), {})
                files[entry.path] = _join(files.get(entry.path), entry)
        for (node, service), files in histories.items():
            self._service(step, node, service, list(files.values()))

    def _service(self, step: str, name: str, service_name: str, histories: list[_History]) -> None:
        subject = subject_of(service_name, name)
        node = next((node for node in self.facts.nodes if node.name == name), None)
        service = node.service(service_name) if node else None
        if node is None or service is None:
            self.refused.append(Remark(subject, "the service is not there any more"))
            return
        files = []
        for file in reversed(histories):  # the unit before the config file that it will not name any more
            try:
                change = self._file(service, file)
            except ChangedSinceError as error:
                self.refused.append(Remark(subject, str(error)))
                return
            if change is not None:
                files.append(change)
        try:
            self.node_changes.append(_node_change(step, node, service, tuple(files)))
        except UnitError as error:
            self.refused.append(Remark(subject, f"what it ran before cannot be read: {error}"))

    def _file(self, service: ServiceFacts, file: _History) -> FileChange | None:
        """Return the change that puts a file back; None where it is as it was."""
        path, wanted = file.first.path, file.first.before
        now = service.files.get(path)
        change = FileChange(path, now, "", file.first.mode, file.first.owner, file.first.group, gone=True)
        if change.before_digest == wanted:
            return None
        if change.before_digest not in file.contents:
            if words := words_of_file(self.later(), file.last.node, path, change.before_digest):
                raise ChangedSinceError(f"{path} {words}")
            left = "" if file.last.after == ABSENT else self.past.content(file.last.node, file.last.after)
            diff = mask(unified_diff(path, left, now.content if now else ""))
            raise ChangedSinceError(f"{path} was changed since by somebody else:\n{diff}")
        first = file.first
        if wanted != ABSENT:
            mode, owner, group = first.before_mode, first.before_owner, first.before_group
            change = FileChange(path, now, self._content(service, first), mode, owner, group)
        if wrong := self._objection(service, change):
            raise ChangedSinceError(f"{path} {wrong}")
        return change

    def _objection(self, service: ServiceFacts, change: FileChange) -> str:
        """Return why a file is not written or removed, whatever the record says; empty where nothing is against it."""
        own, now = change.path in own_places(service), change.before
        if not own and now is None:
            return "is a file that the service does not use, and not one that kubeharden adds"
        if self.vouched:
            return ""
        if change.gone:
            return "" if own else f"is not a file that kubeharden adds, and {UNVOUCHED}"
        if now is not None:
            same = (change.mode, change.owner, change.group) == (now.mode, now.owner, now.group)
            return "" if same else f"has another mode or owner than the record says, and {UNVOUCHED}"
        modest = (change.owner, change.group) == ("root", "root") and not int(change.mode, 8) & 0o7022
        return (
            ""
            if modest
            else f"was to be of {change.owner}:{change.group} with {change.mode}, and {UNVOUCHED}"
        )

    def _content(self, service: ServiceFacts, entry: FileEntry) -> str:
        """Return the exact content that a file had.

        It comes from the record where somebody vouches for that and no secret was taken out of it, and else from the
        backup on the node.
        """
        if self.vouched and not entry.redacted:
            text = self.past.content(entry.node, entry.before)
        else:
            backup = self.backup(entry.node, f"{self.past.run}-{entry.step}", entry.before)
            if backup is None:
                why = "the record has it without its secrets" if self.vouched else UNVOUCHED
                raise RecordError(
                    f"{entry.path} on {entry.node}: {why}, and the node has no backup of {self.past.run} any more. "
                    f"{self._way_out(entry)}"
                )
            text = sensitive_file(service.name, backup)
        if sha256(text) != entry.before:
            raise RecordError(
                f"{entry.path} on {entry.node}: its content has another digest than the record says"
            )
        return text

    def _way_out(self, entry: FileEntry) -> str:
        if entry.redacted:
            return "Put it back by hand"
        seal = seal_command(self.past)
        return (
            f"Put it back by hand; or, if you vouch for the record as it is, seal it ({seal}) and run again"
        )


def _join(history: _History | None, entry: FileEntry) -> _History:
    if history is None:
        return _History(entry, entry, frozenset({entry.after}))
    return _History(history.first, entry, history.contents | {entry.after, entry.before})


def _node_change(
    step: str, node: NodeFacts, service: ServiceFacts, files: tuple[FileChange, ...]
) -> NodeChange:
    """Return the change, with what must run afterwards."""
    contents = dict(service.files)
    for file in files:
        if file.gone:
            contents.pop(file.path, None)
        else:
            contents[file.path] = FileFact(file.path, file.mode, file.owner, file.group, file.after)
    restored = replace(service, files=contents)
    argv = restored.unit_argv()
    config = restored.config(argv)[1]
    now = service.unit_argv()
    return NodeChange(
        step,
        node.name,
        service.name,
        files,
        "its files are put back" if files else "",
        tuple(argv),
        config,
        unit=service.other_unit,
        pending=changed_fields(service.name, service.release, (now, service.config(now)[1]), (argv, config)),
    )
