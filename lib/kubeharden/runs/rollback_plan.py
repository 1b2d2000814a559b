"""From the record of a run to a plan that puts back what it changed, where nobody has changed it since.

What a node or the API has now decides, not what the record says was done. What is as the run left it is put back,
what is as it was before the run needs nothing, and anything else is somebody else's change and is refused.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from kubeharden.components import changed_fields
from kubeharden.components.paths import walk
from kubeharden.errors import RecordError, UnitError
from kubeharden.facts import Facts, FileFact, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import sensitive_file
from kubeharden.kube.manifests import key_of, without_server_parts
from kubeharden.kube.names import BOOTSTRAPPING, POD_SECURITY_LABEL
from kubeharden.kube.resources import RESOURCES
from kubeharden.kube.shapes import mistake_in
from kubeharden.plan import (
    FileChange,
    NodeChange,
    ObjectChange,
    Plan,
    Remark,
    digest_of,
    machines,
    sha256,
    state_digest,
    unified_diff,
)
from kubeharden.plan.events import OUTCOMES, Completed, Failed
from kubeharden.plan.service_files import own_places
from kubeharden.plan.steps.pod_security import RETIRED
from kubeharden.podsecurity.retirement import leftovers, only_about_policies
from kubeharden.records.evidence import Evidence
from kubeharden.records.folder import PastRun
from kubeharden.records.kept import ABSENT, KeptFile, KeptObject
from kubeharden.records.later import words_of_file, words_of_object
from kubeharden.redaction import is_whole, mask
from kubeharden.runs.kind import Backup

UNVOUCHED = "nobody whose signature counts vouches for this record"
WRITTEN = (*RETIRED, "Namespace")  # the kinds of object that a run may change


@dataclass(frozen=True)
class _History:
    """A file that the run changed, once or more often: its first and last change, and all contents that it got."""

    first: KeptFile
    last: KeptFile
    ours: frozenset[str]


def rollback_plan(
    past: PastRun,
    evidence: Evidence,
    facts: Facts,
    backup: Backup,
    steps: Sequence[str],
    accepted: Collection[str] = (),
    later: Callable[[], Sequence[PastRun]] = tuple,
) -> Plan:
    """Plan what is to be done so that everything is as it was before a run.

    What nobody vouches for is not written: contents of files come from the nodes' own backups then, no other file is
    removed than one that kubeharden itself adds, and of the API's objects only those are deleted that allow nothing but
    the use of policies. What else it asks for, somebody must have named: nothing but the record says how it was.

    Args:
        facts: how everything is now.
        backup: for contents that the record has redacted, or that nobody vouches for.
        steps: those to put back, in the order in which that is done.
        accepted: the objects that may be changed although nobody vouches for the record.
        later: returns the runs after this one, the newest first, to say which of them changed something since.

    Raises:
        RecordError: what the record has of a content cannot be read.
    """
    builder = _Builder(past, evidence, facts, backup, accepted, later)
    for step in steps:
        builder.add(step)
    return Plan(
        steps=tuple(steps),
        node_changes=tuple(builder.node_changes),
        object_changes=tuple(builder.object_changes),
        remarks=(*machines.remarks(facts), Remark(f"record {past.run}", evidence.words)),
        refused=(*_other_cluster(past, facts), *machines.refusals(facts), *builder.refused),
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


def parts(plan: Plan) -> Iterator[Plan]:
    """Yield the parts of one step, in the order in which they are carried out: what used the objects goes first."""
    yield replace(plan, object_changes=())
    yield replace(plan, node_changes=())


class _Builder:
    def __init__(
        self,
        past: PastRun,
        evidence: Evidence,
        facts: Facts,
        backup: Backup,
        accepted: Collection[str],
        later: Callable[[], Sequence[PastRun]],
    ) -> None:
        self.past, self.vouched, self.facts, self.backup = past, evidence.vouched, facts, backup
        self.accepted = accepted
        self.later = cache(later)  # read once, and only where something was changed since
        self.node_changes: list[NodeChange] = []
        self.object_changes: list[ObjectChange] = []
        self.refused: list[Remark] = []

    def add(self, step: str) -> None:
        touched: dict[tuple[str, str], dict[str, _History]] = {}
        for kept in self.past.files:
            if kept.step == step:
                files = touched.setdefault((kept.node, kept.service), {})
                files[kept.path] = _join(files.get(kept.path), kept)
        for (node, service), files in touched.items():
            self._service(step, node, service, list(files.values()))
        for kept_object in reversed([kept for kept in self.past.objects if kept.step == step]):
            self._object(step, kept_object)

    def _service(self, step: str, name: str, service_name: str, touched: list[_History]) -> None:
        subject = f"{service_name} on {name}"
        node = next((node for node in self.facts.nodes if node.name == name), None)
        service = node.service(service_name) if node else None
        if node is None or service is None:
            self.refused.append(Remark(subject, "the service is not there any more"))
            return
        files = []
        for file in reversed(touched):  # the unit before the config file that it will not name any more
            try:
                change = self._file(service, file)
            except _ChangedSinceError as error:
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
        if change.before_digest not in file.ours:
            if words := words_of_file(self.later(), file.last.node, path, change.before_digest):
                raise _ChangedSinceError(f"{path} {words}")
            left = "" if file.last.after == ABSENT else self.past.content(file.last.node, file.last.after)
            diff = mask(unified_diff(path, left, now.content if now else ""))
            raise _ChangedSinceError(f"{path} was changed since by somebody else:\n{diff}")
        first = file.first
        if wanted != ABSENT:
            mode, owner, group = first.before_mode, first.before_owner, first.before_group
            change = FileChange(path, now, self._content(service, first), mode, owner, group)
        if wrong := self._unfounded(service, change):
            raise _ChangedSinceError(f"{path} {wrong}")
        return change

    def _unfounded(self, service: ServiceFacts, change: FileChange) -> str:
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

    def _content(self, service: ServiceFacts, kept: KeptFile) -> str:
        """Return the exact content that a file had.

        It comes from the record where somebody vouches for that and no secret was taken out of it, and else from the
        backup on the node.
        """
        if self.vouched and not kept.redacted:
            text = self.past.content(kept.node, kept.before)
        else:
            found = self.backup(kept.node, f"{self.past.run}-{kept.step}", kept.before)
            if found is None:
                why = "the record has it without its secrets" if self.vouched else UNVOUCHED
                raise RecordError(
                    f"{kept.path} on {kept.node}: {why}, and the node has no backup of {self.past.run} any more. "
                    f"{self._way_out(kept)}"
                )
            text = sensitive_file(service.name, found)
        if sha256(text) != kept.before:
            raise RecordError(
                f"{kept.path} on {kept.node}: its content has another digest than the record says"
            )
        return text

    def _way_out(self, kept: KeptFile) -> str:
        if kept.redacted:
            return "Put it back by hand"
        return f"Put it back by hand; or, if you vouch for the record as it is, seal it ({self._seal}) and run again"

    @property
    def _seal(self) -> str:
        return f"kubeharden seal {self.past.folder} --no-notebook"

    def _object(self, step: str, kept: KeptObject) -> None:
        before, after = (self.past.object_content(kept, side) for side in ("before", "after"))
        try:
            for content in filter(None, (before, after)):
                self._check_shape(kept, content)
            now = self._there(before or after or {})
            try:
                self._put_back(step, kept, before, after, now)
            except _ByOthersError as error:
                raise _ChangedSinceError(
                    words_of_object(self.later(), kept.name, now) or str(error)
                ) from None
        except _ChangedSinceError as error:
            self.refused.append(Remark(kept.name, str(error)))

    def _check_shape(self, kept: KeptObject, content: Mapping[str, Any]) -> None:
        kind = kept.name.partition(" ")[0]
        mistake = "" if kind in WRITTEN else f"no run writes a {kind}"
        mistake = mistake or mistake_in(content, kind)
        if mistake:
            raise _ChangedSinceError(f"what the record has of it cannot be: {mistake}")

    def _add(self, change: ObjectChange) -> None:
        if wrong := self._not_ours(change):
            raise _ChangedSinceError(wrong)
        self.object_changes.append(change)

    def _not_ours(self, change: ObjectChange) -> str:
        """Return why an object is not changed so, whatever the record says; empty where nothing is against it."""
        is_namespace = change.manifest["kind"] == "Namespace"
        if is_namespace and not (change.action == "update" and all(map(_is_label, _changed_paths(change)))):
            return "no run changes more of a namespace than its labels of pod security"
        if self.vouched:
            return ""
        sides = (change.before,) if change.delete else (change.before, change.manifest)
        if any(BOOTSTRAPPING in (side["metadata"].get("labels") or {}) for side in filter(None, sides)):
            return f"it belongs to Kubernetes itself, and {UNVOUCHED}"
        about_policies = all(map(self._is_about_policies, filter(None, sides)))
        if not (about_policies or change.delete or is_namespace):
            return f"it allows more than the use of policies, and {UNVOUCHED}"
        if change.name in self.accepted or (change.delete and about_policies):
            return ""
        return (
            f"{UNVOUCHED}, and nothing else says how it was. Name it in accept_unvouched if it is to become this, or "
            f"seal the record if you vouch for it ({self._seal}):\n{change.diff}"
        )

    def _is_about_policies(self, item: Mapping[str, Any]) -> bool:
        """Return whether an object is a policy, or allows nothing but the use of policies."""
        if item["kind"] == "PodSecurityPolicy":
            return True
        if "roleRef" not in item:
            return item["kind"] in {"Role", "ClusterRole"} and only_about_policies(item)
        there = self.facts.cluster.of
        roles, cluster_roles = list(there("roles")), list(there("clusterroles"))
        known = {(role["kind"], key_of(role)) for role in (*roles, *cluster_roles)}
        for kept in self.past.objects:  # one that is put back as well
            role = self.past.object_content(kept, "before") or {}
            kind = role.get("kind", "")
            if (
                kind in {"Role", "ClusterRole"}
                and not mistake_in(role, kind)
                and (kind, key_of(role)) not in known
            ):
                (roles if role["kind"] == "Role" else cluster_roles).append(role)
        plural = RESOURCES[item["kind"]].plural
        return item in leftovers({"roles": roles, "clusterroles": cluster_roles, plural: [item]})

    def _put_back(
        self,
        step: str,
        kept: KeptObject,
        before: Mapping[str, Any] | None,
        after: Mapping[str, Any] | None,
        now: Mapping[str, Any] | None,
    ) -> None:
        if (
            (before is None and now is None)
            or (before and now and digest_of(before) == digest_of(now))
            or self._was_refused(kept)
        ):
            return
        if before is None and now is not None and after is not None:
            if not self._is_ours(kept, now, after):
                raise _ByOthersError(_difference(after, now))
            self._add(ObjectChange.deletion(step, now))
        elif before is not None and now is None:
            if after is not None:
                raise _ByOthersError("somebody has deleted it since")
            self._add(ObjectChange(step, _whole(without_server_parts(before))))
        elif before is not None and now is not None:
            manifest = _restore(before, after or {}, now)
            if manifest is not None:
                self._add(ObjectChange(step, _whole(manifest), now))

    def _was_refused(self, kept: KeptObject) -> bool:
        """Return True where the run never got it written: what is there now is somebody else's, even if it is equal."""
        kinds = {
            type(event)
            for event in self.past.events
            if isinstance(event, OUTCOMES) and event.subject == kept.name
        }
        return Failed in kinds and Completed not in kinds

    def _there(self, like: Mapping[str, Any]) -> Mapping[str, Any] | None:
        meta = like["metadata"]
        items = self.facts.cluster.of(RESOURCES[like["kind"]].plural)
        key = (meta.get("namespace", ""), meta["name"])
        return next(
            (i for i in items if (i["metadata"].get("namespace", ""), i["metadata"]["name"]) == key), None
        )

    def _is_ours(self, kept: KeptObject, now: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
        """Return True where an object is as the run left it, as the run itself saw it then."""
        states = {
            event.state for event in self.past.of(Completed) if event.subject == kept.name and event.state
        }
        if states:
            return state_digest(now) in states
        mine, theirs = _leaves(after), _leaves(now)  # it was cut off before it could say
        return all(theirs.get(path) == value for path, value in mine.items())


class _ChangedSinceError(Exception):
    """It is neither as the run left it nor as it was before."""


class _ByOthersError(_ChangedSinceError):
    """It is neither, and a later run may have left it so."""


def _changed_paths(change: ObjectChange) -> set[tuple[str, ...]]:
    was, will = _leaves(change.before or {}), _leaves(change.manifest)
    return {path for path in {**was, **will} if was.get(path) != will.get(path)}


def _is_label(path: tuple[str, ...]) -> bool:
    """Return whether this is where a label of Pod Security Admission is, or that there are labels at all."""
    return path[:2] == ("metadata", "labels") and all(
        key.startswith(f"{POD_SECURITY_LABEL}/") for key in path[2:]
    )


def _join(known: _History | None, kept: KeptFile) -> _History:
    if known is None:
        return _History(kept, kept, frozenset({kept.after}))
    return _History(known.first, kept, known.ours | {kept.after, kept.before})


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


def _restore(
    before: Mapping[str, Any], after: Mapping[str, Any], now: Mapping[str, Any]
) -> dict[str, Any] | None:
    """Return what is there, with what the run changed as it was before; None where it is so already.

    Raises:
        _ChangedSinceError: somebody has changed the same thing since.
    """
    was, left, there = _leaves(before), _leaves(after), _leaves(now)
    result: dict[str, Any] | None = None
    for path in {**was, **left}:
        if was.get(path) == left.get(path) or there.get(path) == was.get(path):
            continue
        if there.get(path) != left.get(path):
            raise _ByOthersError(_difference(after, now))
        result = _with(result or dict(now), path, was.get(path))
    return result


def _whole(manifest: dict[str, Any]) -> dict[str, Any]:
    """Return what is to be written, if the redaction took nothing out of it.

    Raises:
        _ChangedSinceError: it did.
    """
    if not is_whole(json.dumps(manifest, ensure_ascii=False)):
        raise _ChangedSinceError("the record has it without its secrets: put it back by hand")
    return manifest


def _difference(left: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    diff = ObjectChange("", now, left).diff
    return f"was changed since by somebody else; from what the run left to what is there:\n{diff}"


def _leaves(item: Mapping[str, Any]) -> dict[tuple[str, ...], Any]:
    """Return path and value of everything in an object that people decide; a list is one value."""
    return dict(walk(without_server_parts(item))) if item else {}


def _with(item: Mapping[str, Any], path: tuple[str, ...], value: Any) -> dict[str, Any]:
    """Return the object with another value at a path; None takes it out."""
    result = dict(item)
    if len(path) > 1:
        result[path[0]] = _with(item.get(path[0]) or {}, path[1:], value)
    elif value is None:
        result.pop(path[0], None)
    else:
        result[path[0]] = value
    return result
