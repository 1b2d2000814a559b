"""The events of a run as frozen data. Pure.

Rollout, drain, lock and the verbs of a run call a ``Listener`` with an event as soon as it happens. The journal, the
live table and tests are listeners. ``action`` is the event's name in the journal, and its fields are those of the
line there; an event without a name is not written. ``event_of`` reads a line back.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any, Self

from kubeharden.facts import Facts
from kubeharden.plan.event import OPTIONAL, UNWRITTEN, Event
from kubeharden.plan.forms import fits
from kubeharden.plan.model import NodeChange, ObjectChange, Plan, Remark
from kubeharden.plan.open_changes import refusals, refused_for_now
from kubeharden.plan.proof import Proof


@dataclass(frozen=True)
class Check:
    """One precondition, and what was found of it."""

    what: str
    found: str
    good: bool = True


class RunStarted(Event, action="run started"):
    """A run started: who runs what, with which versions and parameters.

    Attributes:
        change: what those who audit it sample (``records.change_sample``); None where nothing of it was given.
    """

    cluster: str = ""
    mode: str = ""
    steps: Sequence[str] = ()
    change_id: str = ""
    reason: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    inventory: Mapping[str, str] = field(default_factory=dict)
    nodes: Sequence[str] = ()
    who: Mapping[str, Any] = field(default_factory=dict)
    kubernetes_user: str = ""
    versions: Mapping[str, Any] = field(default_factory=dict)
    notebook: Mapping[str, str] | None = None
    change: Mapping[str, Any] | None = field(default=None, metadata=OPTIONAL)


class Waited(Event, action="waited"):
    """Open changes of an earlier run on these nodes are over."""

    nodes: Sequence[str] = ()


class Checked(Event, action="checked"):
    """Preconditions were checked.

    Attributes:
        logins: by node: ``user``, ``key`` (fingerprint of the key used), ``host_key`` (type and fingerprint).
    """

    checks: Sequence[Mapping[str, Any]] = ()
    logins: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, checks: Sequence[Check], logins: Mapping[str, Mapping[str, str]]) -> Checked:
        """Return the event for these checks."""
        return cls([vars(check) for check in checks], logins)


class Observed(Event, action="observed"):
    """Nodes and cluster were read.

    Attributes:
        components: the versions by node and component.
        unlisted: the nodes of the API that the inventory leaves out.
        unconfirmed: the changes that were open meanwhile, in words.
        not_yet: those of them that are over by themselves.
    """

    nodes: Sequence[str] = ()
    systems: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    api_server: str = ""
    unlisted: Sequence[str] = field(default=(), metadata=OPTIONAL)
    unconfirmed: Sequence[str] = field(default=(), metadata=OPTIONAL)
    not_yet: Sequence[str] = field(default=(), metadata=OPTIONAL)

    @classmethod
    def of(cls, facts: Facts) -> Observed:
        """Return the event for these facts."""
        return cls(
            nodes=[node.name for node in facts.nodes],
            systems={node.name: {"os": node.os, "systemd": node.systemd} for node in facts.nodes},
            components=_versions(facts),
            api_server=facts.cluster.version,
            unlisted=facts.unlisted,
            unconfirmed=tuple(map(str, refusals(facts))),
            not_yet=tuple(map(str, refused_for_now(facts))),
        )


class Planned(Event, action="planned"):
    """A plan was made; ``changes`` are in the order in which they would be carried out.

    Attributes:
        left_out: what is refused and left as it is, while the changes are carried out: ``step``, ``subject``, ``why``.
        stopping: what is refused so that nothing is carried out, in the same form.
        next_run: as in ``Plan``.
    """

    digest: str = ""
    needed: bool = False
    refused: Sequence[str] = ()
    remarks: Sequence[str] = ()
    breaking: Sequence[str] = ()
    changes: Sequence[Mapping[str, str]] = ()
    left_out: Sequence[Mapping[str, str]] = field(default=(), metadata=OPTIONAL)
    stopping: Sequence[Mapping[str, str]] = field(default=(), metadata=OPTIONAL)
    next_run: Sequence[str] = field(default=(), metadata=OPTIONAL)
    plan: Plan | None = field(default=None, compare=False, metadata=UNWRITTEN)

    @classmethod
    def of(cls, plan: Plan) -> Planned:
        """Return the event for this plan."""
        return cls(
            digest=plan.digest,
            needed=plan.needed,
            refused=list(map(str, plan.refused)),
            remarks=list(map(str, plan.remarks)),
            breaking=[str(judged) for impact in plan.impacts for judged in impact.breaking],
            changes=[change for step in plan.steps for change in _changes(plan.of(step))],
            left_out=tuple(map(_row, plan.left_out)),
            stopping=tuple(map(_row, plan.stopping)),
            next_run=plan.next_run,
            plan=plan,
        )


class Judged(Event, action="judged"):
    """The cluster was compared with what a later release accepts.

    ``findings`` is their number, node by node; ``stops`` is in how many places something would not start, and None in
    a journal from before that was counted.
    """

    target_release: str = ""
    findings: int = 0
    stops: int | None = None


class JudgedPods(Event, action="judged pods"):
    """The workloads were judged by what is planned; ``breaking`` names those that would not start again."""

    breaking: Sequence[str] = ()


class Approved(Event, action="approved"):
    """The plan is the approved one; the fields are those of ``records.approval.Approval``."""

    plan: str = ""
    how: str = ""
    approver: str = ""
    key: str = ""


class Asked(Event, action="asked"):
    """The person at the notebook was asked whether a step is to be carried out.

    Attributes:
        question: what was shown to them: how much is changed, and in which order.
    """

    step: str = ""
    question: str = ""
    agreed: bool = False


class Locked(Event, action="locked"):
    """The run has the cluster's lock; ``took_over_from`` names the dead run that had it, if one had."""

    took_over_from: str = ""


class Batch(Event, action="batch"):
    """These nodes are changed at the same time now."""

    nodes: Sequence[str] = ()
    step: str = ""


class _OnNode(Event):
    node: str = ""


class Cordoned(_OnNode, action="cordoned"):
    """The run cordoned a node."""


class Drained(_OnNode, action="drained"):
    """A node is drained."""


class Uncordoned(_OnNode, action="uncordoned"):
    """A node that a run had cordoned is uncordoned."""


class LeftCordoned(_OnNode, action="left cordoned"):
    """A node stays cordoned, because somebody cordoned it again after a run did."""


class _Change(Event):
    """Something about one change: of a service on a node, or of an API object."""

    subject: str = ""
    step: str = field(default="", metadata=OPTIONAL)
    node: str = field(default="", metadata=OPTIONAL)
    service: str = field(default="", metadata=OPTIONAL)
    object: str = field(default="", metadata=OPTIONAL)

    @classmethod
    def of(cls, change: NodeChange | ObjectChange, /, **more: Any) -> Self:
        """Return the event about this change, with more of its fields."""
        if isinstance(change, ObjectChange):
            return cls(change.name, change.step, object=change.name, **more)
        return cls(change.subject, change.step, change.node, change.service, **more)


class Started(_Change, action="started"):
    """A change is carried out next."""

    change: NodeChange | ObjectChange | None = field(default=None, compare=False, metadata=UNWRITTEN)


class Restarted(_Change, action="restarted"):
    """A service runs with its new files; its node puts the old ones back unless the change is confirmed.

    Attributes:
        at: when it was restarted, by the node's own clock (RFC 3339 in UTC).
    """

    at: str = ""


class ReadyAgain(_Change, action="ready again"):
    """A node is Ready by the word of its new kubelet."""


class Completed(_Change, action="completed"):
    """A change was carried out.

    Attributes:
        state: the digest of the API object's state afterwards, or ``absent``.
        not_ready: the seconds for which the node was not Ready; None where that was not watched.
    """

    words: str = field(default="", metadata=OPTIONAL)
    seconds: float | None = field(default=None, metadata=OPTIONAL)
    state: str = field(default="", metadata=OPTIONAL)
    not_ready: float | None = field(default=None, metadata=OPTIONAL)


class _Failure(_Change):
    """A change that was not carried out.

    Attributes:
        journal: what the service wrote to its journal since it was restarted, where it did not come up.
    """

    error: str = field(default="", metadata=OPTIONAL)
    seconds: float | None = field(default=None, metadata=OPTIONAL)
    journal: str = field(default="", metadata=OPTIONAL)


class Failed(_Failure, action="failed"):
    """A change failed, and is not known to be undone."""


class Reverted(_Failure, action="reverted"):
    """A change failed, and its node has its old configuration again."""


class Proved(Event, action="proved"):
    """Nodes and cluster were read again and compared with the plan; see ``plan.proof.Proof``."""

    problems: Sequence[str] = ()
    confirmed: Sequence[str] = ()
    notes: Sequence[str] = ()
    services: Sequence[Sequence[str]] = ()
    differences: Sequence[Sequence[str]] = ()
    components: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @classmethod
    def of(cls, proof: Proof, after: Facts) -> Proved:
        """Return the event for this proof, made from these facts."""
        return cls(
            problems=list(proof.problems),
            confirmed=list(proof.confirmed),
            notes=list(proof.notes),
            services=[list(row) for row in proof.services],
            differences=[list(row) for row in proof.differences],
            components=_versions(after),
        )


class Finished(Event, action="finished"):
    """A run ended as it should.

    Attributes:
        changed: the steps that were carried out.
        not_carried_out: the steps that had something to do and were not carried out; ``why`` says why.
        failed: subjects that failed and are not repaired; None for a run that can change nothing.
    """

    mode: str = ""
    changed: Sequence[str] = ()
    not_carried_out: Sequence[str] = ()
    why: str = ""
    failed: Sequence[str] | None = field(default=None, metadata=OPTIONAL)

    @classmethod
    def of(
        cls, plan: Plan, mode: str, changed: Sequence[str], left: Sequence[str], failed: Sequence[str]
    ) -> Finished:
        """Return the event for the end of a run whose last plan was this one."""
        why = _why_left(plan, mode, failed) if left else ""
        return cls(mode, list(changed), list(left), why, list(failed))


class Abandoned(Event, action="abandoned"):
    """A run was closed before it was finished."""


class Error(Event, action="error"):
    """An error ended a verb; ``kind`` is the name of its class."""

    verb: str = ""
    kind: str = ""
    message: str = ""


class Result(Event):
    """The outcome of one change for the person who watches.

    It is ``completed``, ``failed`` or ``reverted``, as the journal has it, or ``as it should be``. Results come from
    the thread that started the rollout, those of one batch in its order. Not written: the journal has ``Completed``,
    ``Failed`` and ``Reverted``, at once and from the thread of the node.
    """

    subject: str
    outcome: str
    words: str
    seconds: float = 0.0
    journal: str = ""


OUTCOMES = (Completed, Failed, Reverted)
AS_IT_SHOULD_BE = "as it should be"  # of a result: there was nothing to change


def event_of(line: Mapping[str, Any]) -> Event | None:
    """Return the event of a journal's line; None for one that this version does not know.

    A field that the line does not have, as those of earlier versions, has its default; one of a later version is
    left out.

    Raises:
        ValueError: a field has a value of another type than it can have.
    """
    kind = Event.kinds.get(line["action"])
    if kind is None:
        return None
    values = {name: line[name] for name in _line_fields(kind.action) if name in line}
    if not fits(kind, values):
        raise ValueError(f"is not an event '{kind.action}' as this version knows it")
    return kind(**values)


@cache
def _line_fields(action: str) -> tuple[str, ...]:
    """Return the fields of a journal's line that are those of an event, and its time."""
    return tuple(
        f.name for f in fields(Event.kinds[action]) if f.name == "time" or not f.metadata.get("unwritten")
    )


def _changes(part: Plan) -> list[dict[str, str]]:
    """Return the changes of one step, in the order in which they are carried out."""
    return [
        *({"step": c.step, "subject": c.name, "action": c.action} for c in part.object_changes),
        *(
            {
                "step": c.step,
                "subject": c.subject,
                "action": "write and restart" if c.files else "restart",
            }
            for c in part.node_changes
            if c.needed
        ),
    ]


def _row(remark: Remark) -> dict[str, str]:
    return {"step": remark.step, "subject": remark.subject, "why": remark.text}


def _versions(facts: Facts) -> dict[str, dict[str, str]]:
    """Return the version of every component on every node, as its binary says it; empty where it says none."""
    return {
        node.name: {name: service.version for name, service in node.services.items() if service.loaded}
        for node in facts.nodes
    }


def _why_left(plan: Plan, mode: str, failed: Sequence[str]) -> str:
    if plan.stopping:
        return "the plan is refused: " + "; ".join(map(str, plan.stopping))
    if failed:
        return f"{', '.join(failed)} failed before"
    return "mode is plan" if mode == "plan" else "nobody ran these steps"
