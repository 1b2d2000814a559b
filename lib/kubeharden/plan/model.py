"""The plan as plain data, with diffs and a digest. Nothing is written that is not in a plan."""

from __future__ import annotations

import difflib
import hashlib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import yaml

from kubeharden.components import Finding, Migration
from kubeharden.facts import FileFact
from kubeharden.facts.sensitive import sensitive_file
from kubeharden.kube.manifests import own_state, parts_like, title_of, without_server_parts
from kubeharden.redaction import Sensitive, join, lines_of

if TYPE_CHECKING:  # a process that only changes nodes need not read the rules of pod security
    from kubeharden.podsecurity.impact import Impact
    from kubeharden.podsecurity.levels import NamespaceLevel


MOST_LINES = 5000  # of a text that is compared line by line


@dataclass(frozen=True)
class FileChange:
    """A file to write on a node, or to remove; ``before`` is None where there is none yet.

    Attributes:
        gone: whether it is to be removed; ``after`` is empty then.
    """

    path: str
    before: FileFact | None
    after: str
    mode: str
    owner: str
    group: str
    gone: bool = False

    def __post_init__(self) -> None:
        before = None if self.before is None else self.before.content
        if isinstance(before, Sensitive):  # what is written may hold what was read
            object.__setattr__(self, "after", sensitive_file(before.component, self.after))

    @property
    def before_digest(self) -> str:
        """SHA-256 of the content it replaces, or ``absent``."""
        return "absent" if self.before is None else sha256(self.before.content)

    @property
    def after_digest(self) -> str:
        """SHA-256 of the content that it is to have, or ``absent``."""
        return "absent" if self.gone else sha256(self.after)

    @property
    def diff(self) -> str:
        """A unified diff of the content."""
        return unified_diff(self.path, "" if self.before is None else self.before.content, self.after)


@dataclass(frozen=True)
class NodeChange:
    """The change of one service of one node by one step.

    Attributes:
        files: what to write; empty where only a restart is left to do.
        restart: why the service must be restarted; empty where it need not.
        expected_argv: the command line that must run afterwards.
        expected_config: the content of the config file that must be in force afterwards, if it has one.
        migration: the verdict on every setting, for kubelet, kube-proxy and kube-scheduler.
        notes: what else there is to know of it.
        pending: fields of its present config file that it has not read yet: a restart puts them in effect.
        unit: the name of its unit, without ``.service``, where it is not that of the service.
    """

    step: str
    node: str
    service: str
    files: tuple[FileChange, ...] = ()
    restart: str = ""
    expected_argv: tuple[str, ...] = ()
    expected_config: Mapping[str, Any] | None = None
    migration: Migration | None = None
    notes: tuple[str, ...] = ()
    pending: tuple[str, ...] = ()
    unit: str = ""

    def __post_init__(self) -> None:
        files = tuple(
            file
            if isinstance(file.after, Sensitive)
            else replace(file, after=sensitive_file(self.service, file.after))
            for file in self.files
        )
        object.__setattr__(self, "files", files)

    @property
    def subject(self) -> str:
        """Its name, see ``subject_of``."""
        return subject_of(self.service, self.node)

    @property
    def needed(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.files or self.restart)


@dataclass(frozen=True)
class ObjectChange:
    """An API object to create, to update from ``before``, or to delete.

    Attributes:
        manifest: the whole object as it is to be; of one that is deleted, what it is called.
        before: the object as it was seen; None for one that is to be created.
        delete: whether it is to be deleted.
    """

    step: str
    manifest: Mapping[str, Any]
    before: Mapping[str, Any] | None = None
    delete: bool = False

    @classmethod
    def deletion(cls, step: str, existing: Mapping[str, Any]) -> ObjectChange:
        """Return the deletion of an object that is there."""
        meta = {
            key: existing["metadata"][key] for key in ("namespace", "name") if key in existing["metadata"]
        }
        called = {"apiVersion": existing["apiVersion"], "kind": existing["kind"], "metadata": meta}
        return cls(step, called, existing, delete=True)

    @property
    def action(self) -> str:
        """``create``, ``update`` or ``delete``."""
        if self.delete:
            return "delete"
        return "create" if self.before is None else "update"

    @property
    def name(self) -> str:
        """``Role weave/psp:privileged``: its name in messages, events and records."""
        return title_of(self.manifest)

    @property
    def before_digest(self) -> str:
        """SHA-256 of the object that it replaces or deletes, without what the server keeps in it; or ``absent``."""
        return "absent" if self.before is None else digest_of(without_server_parts(self.before))

    @property
    def diff(self) -> str:
        """A unified diff of the object as YAML, without what the server keeps in it."""
        if self.delete and self.before is not None:
            return unified_diff(self.name, _yaml(parts_like(self.before, self.before)), "")
        before = "" if self.before is None else _yaml(parts_like(self.before, self.manifest))
        return unified_diff(self.name, before, _yaml(parts_like(self.manifest, self.manifest)))


@dataclass(frozen=True)
class Remark:
    """Something that a person must know: about which node or object, and what.

    Attributes:
        step: for a refusal, the step whose other changes go on without it; empty where it stops the whole plan.
    """

    subject: str
    text: str
    step: str = field(default="", repr=False)

    def __str__(self) -> str:
        return f"{self.subject}: {self.text}"


@dataclass(frozen=True)
class Plan:
    """Everything that a run would do, in the order in which it would do it.

    Attributes:
        node_changes: one for each step and node, those with nothing to do included.
        object_changes: API objects; they come before the node changes of their step.
        remarks: what a person must know before it is applied.
        refused: what is refused, and why; the rest is applied, unless that is among ``stopping``.
        namespaces: the level of each namespace, where Pod Security Admission is planned.
        impacts: what would become of every workload under what is planned, one for each kind of admission.
        target_release: the later release that was asked for; empty if none was.
        findings: what stands between the cluster as planned and that release, by node; an empty node is the API.
        cluster: what the inventory calls the cluster.
        cluster_uid: the UID of its namespace kube-system.
        rollout: how it is carried out, as plain data: at what pace, on which machines, in which order; empty where
            that has not been decided.
        profile: path and SHA-256 of the file that says what to harden; empty for a profile that is shipped.
        next_run: the subjects that the next run changes by intent once this plan is carried out, such as a namespace
            whose level is announced now and enforced then.
    """

    steps: tuple[str, ...]
    node_changes: tuple[NodeChange, ...] = ()
    object_changes: tuple[ObjectChange, ...] = ()
    remarks: tuple[Remark, ...] = ()
    refused: tuple[Remark, ...] = ()
    namespaces: tuple[NamespaceLevel, ...] = ()
    impacts: tuple[Impact, ...] = ()
    target_release: str = ""
    findings: tuple[tuple[str, Finding], ...] = ()
    cluster: str = ""
    cluster_uid: str = ""
    rollout: Mapping[str, Any] = field(default_factory=dict)
    profile: Mapping[str, str] = field(default_factory=dict)
    next_run: tuple[str, ...] = ()

    def of(self, step: str) -> Plan:
        """Return the part of the plan that is one step; all but steps and changes is that of the whole plan."""
        return replace(
            self,
            steps=(step,),
            node_changes=tuple(c for c in self.node_changes if c.step == step),
            object_changes=tuple(c for c in self.object_changes if c.step == step),
        )

    def about(self, subjects: Collection[str]) -> Plan:
        """Return the part of the plan that changes these: names of objects, and services as in ``kubelet on node``."""
        return replace(
            self,
            node_changes=tuple(c for c in self.node_changes if c.subject in subjects),
            object_changes=tuple(c for c in self.object_changes if c.name in subjects),
        )

    def without(self, subjects: Collection[str]) -> Plan:
        """Return the plan without the changes of these, and without the levels of namespaces among them."""
        return replace(
            self,
            node_changes=tuple(c for c in self.node_changes if c.subject not in subjects),
            object_changes=tuple(c for c in self.object_changes if c.name not in subjects),
            namespaces=tuple(n for n in self.namespaces if f"Namespace {n.namespace}" not in subjects),
        )

    @property
    def needed(self) -> bool:
        """Return whether there is anything to do."""
        return bool(self.object_changes) or any(change.needed for change in self.node_changes)

    @property
    def stopping(self) -> tuple[Remark, ...]:
        """Return what is refused so that nothing is applied: all of it, where there is nothing else in the plan."""
        if not self.node_changes and not self.object_changes:
            return self.refused
        return tuple(remark for remark in self.refused if not remark.step)

    @property
    def left_out(self) -> tuple[Remark, ...]:
        """Return what is refused and left as it is, while the rest is applied."""
        return tuple(remark for remark in self.refused if remark.step)

    @property
    def subjects(self) -> frozenset[str]:
        """Return the subjects of its changes: names of objects, and services as in ``kubelet on node``."""
        changes = {change.subject for change in self.node_changes if change.needed}
        return frozenset(changes | {change.name for change in self.object_changes})

    @property
    def digest(self) -> str:
        """SHA-256 over what would be written and restarted, where and how: the same plan has the same digest."""
        return digest_of(self.as_json())

    def as_json(self) -> dict[str, Any]:
        """Return what would be written and restarted, on which cluster and how, as plain data."""
        return {
            "cluster": {"name": self.cluster, "uid": self.cluster_uid},
            **({"rollout": dict(self.rollout)} if self.rollout else {}),
            **({"profile": dict(self.profile)} if self.profile else {}),
            "steps": list(self.steps),
            "nodes": [
                {
                    "step": change.step,
                    "node": change.node,
                    "service": change.service,
                    **({"unit": change.unit} if change.unit else {}),
                    "restart": change.restart,
                    "files": [
                        {
                            "path": file.path,
                            "before": file.before_digest,
                            "after": file.after_digest,
                            "mode": file.mode,
                            "owner": file.owner,
                            "group": file.group,
                        }
                        for file in change.files
                    ],
                }
                for change in self.node_changes
                if change.needed
            ],
            "objects": [
                {
                    "step": change.step,
                    "action": change.action,
                    "manifest": without_server_parts(change.manifest),
                    "before": change.before_digest,
                }
                for change in self.object_changes
            ],
        }


def subject_of(service: str, node: str) -> str:
    """Return what the change of a service is called in messages, events and records: ``kubelet on k8s-node1``."""
    return f"{service} on {node}"


def node_of_subject(subject: str) -> str:
    """Return the node in the name of a change; empty for an object of the API."""
    return subject.partition(" on ")[2]


def state_digest(item: Mapping[str, Any]) -> str:
    """Return the SHA-256 of what people and runs decide of an API object: it differs once somebody has changed it."""
    return digest_of(own_state(item))


def sha256(content: str | bytes) -> str:
    """Return the hexadecimal SHA-256 of bytes, or of a text as it stands in a file."""
    data = content if isinstance(content, bytes) else content.encode("utf-8", errors="surrogateescape")
    return hashlib.sha256(data).hexdigest()


def digest_of(content: Mapping[str, Any]) -> str:
    """SHA-256 of plain data, whatever the order of its keys."""
    return sha256(json.dumps(content, sort_keys=True, separators=(",", ":")))


def unified_diff(name: str, before: str, after: str) -> str:
    """Return a unified diff with the name on both sides; empty where nothing differs.

    What may be secret in a line of the two is so in that of the diff. Texts of very many lines are not compared line
    by line, which could take hours: all of one is replaced by the other.
    """
    old, new = lines_of(before), lines_of(after)
    names = f"{name} (before)" if before else "/dev/null", name if after else "/dev/null"
    if max(len(old), len(new)) <= MOST_LINES or before == after:
        lines: Iterable[str] = difflib.unified_diff(list(map(str, old)), list(map(str, new)), *names)
    else:
        head = (f"--- {names[0]}\n", f"+++ {names[1]}\n", f"@@ -1,{len(old)} +1,{len(new)} @@\n")
        lines = (*head, *(f"-{line}" for line in old), *(f"+{line}" for line in new))
    return join(_with_secrets(lines, old, new), before, after)


def _with_secrets(lines: Iterable[str], old: Sequence[str], new: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a diff, each in pieces: its sign, and the line that it is of."""
    at = [0, 0]
    for number, line in enumerate(lines):
        if number < 2:  # noqa: PLR2004 - the names of the two
            yield line
        elif hunk := re.match(r"@@ -(\d+)(,\d+)? \+(\d+)(,\d+)? @@", line):
            yield line
            # Without any line, a side says the number of the line before.
            at = [int(hunk[1]) - (hunk[2] != ",0"), int(hunk[3]) - (hunk[4] != ",0")]
        else:
            yield line[0]
            yield new[at[1]] if line[0] == "+" else old[at[0]]
            at = [at[0] + (line[0] != "+"), at[1] + (line[0] != "-")]


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=False, default_flow_style=False)
