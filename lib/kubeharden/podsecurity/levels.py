"""Private. Pod Security Admission: the level of each namespace, and its labels in the stages that lead there. Pure.

Levels go from ``privileged`` (nothing is refused) by ``baseline`` to ``restricted``. A namespace says in its labels
which one is enforced, which one is noted in the audit log, and which one clients are warned of
(pod-security.kubernetes.io/enforce, audit and warn, each with a version; api/constants.go of
k8s.io/pod-security-admission).

First a level is announced: warn and audit. In a later run it is enforced, if by then nothing that is in use would be
refused. ``privileged`` refuses nothing and is enforced at once, so that the default of new namespaces never
reaches a namespace that cannot live with it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from kubeharden.kube.manifests import Object, Objects
from kubeharden.kube.names import POD_SECURITY_LABEL
from kubeharden.kube.pods import runs
from kubeharden.kube.workloads import KINDS, likeness, names_of, pods_by_maker, workloads
from kubeharden.podsecurity.policies import NamespaceWish
from kubeharden.podsecurity.pss.standards import LATEST, LEVELS, Violation, evaluate_pss

MODES = ("enforce", "audit", "warn")
SHOWN = 3  # how many violations of a workload are named, and how many workloads


@dataclass(frozen=True)
class Offender:
    """A workload that a level refuses, and why."""

    workload: str
    violations: tuple[Violation, ...]

    def __str__(self) -> str:
        return f"{self.workload} ({_some([f'{v.field} {v.found}'.strip() for v in self.violations], ', ')})"


@dataclass(frozen=True)
class NamespaceLevel:
    """The level that a namespace is to have, and how far it has come.

    Attributes:
        why: why that one, in words.
        now: its pod security labels as seen, without the prefix.
        then: those that it has after this run.
        pending: whether the wanted level is still to be enforced after this run.
        offenders: what the wanted level refuses and nobody has accepted; while there is any, it is not enforced.
        remarks: what a person must know.
    """

    namespace: str
    level: str
    why: str
    now: Mapping[str, str]
    then: Mapping[str, str]
    pending: bool
    offenders: tuple[Offender, ...] = ()
    remarks: tuple[str, ...] = field(default=())

    @property
    def enforced(self) -> bool:
        """Return whether some level is enforced after this run, be it only ``privileged``."""
        return "enforce" in self.then

    @property
    def enforced_before(self) -> bool:
        """Return whether some level was enforced before this run."""
        return "enforce" in self.now

    @property
    def in_the_end(self) -> str:
        """The level that is enforced once this is done: the wanted one, or a stricter one that is there already."""
        enforced = self.then.get("enforce", "")
        return enforced if stricter_or_same(enforced, self.level) else self.level

    @property
    def stage(self) -> str:
        """Return what this run does and what the next will, in words."""
        changed = [mode for mode in MODES if label_text(self.now, mode) != label_text(self.then, mode)]
        here = f"this run sets {', '.join(changed)}" if changed else "this run changes nothing"
        if not self.pending:
            return f"{here}; then it is done" if changed else "done"
        return (
            f"{here}; enforcing waits for what it would refuse"
            if self.offenders
            else f"{here}; the next enforces"
        )


def namespace_levels(
    objects: Objects,
    version: str,
    wishes: Iterable[NamespaceWish],
    default: str,
    *,
    enforce: bool = False,
    accepted: Collection[str] = (),
) -> list[NamespaceLevel]:
    """Return the level of every namespace that is not going away, by name.

    Args:
        version: the version that labels are pinned to, the cluster's own: ``v1.25``.
        default: the level of namespaces in which nothing runs.
        enforce: whether to enforce at once what has not been announced by an earlier run.
        accepted: workloads that may be refused, as ``shop/web`` or ``Deployment shop/web``.
    """
    wishes_by_name = {wish.name: wish for wish in wishes}
    pods_by_namespace = _what_is_there(objects)
    result = []
    for item in sorted(objects.get("namespaces", ()), key=lambda n: str(n["metadata"]["name"])):
        name = item["metadata"]["name"]
        if (item.get("status") or {}).get("phase") != "Terminating":
            planner = _Namespace(item, pods_by_namespace.get(name, []), version, accepted)
            result.append(planner.decide(wishes_by_name.get(name), default, enforce=enforce))
    return result


def labels_of(item: Object) -> dict[str, str]:
    """Return the pod security labels of a namespace, without the prefix."""
    labels, prefix = item["metadata"].get("labels") or {}, f"{POD_SECURITY_LABEL}/"
    return {key.removeprefix(prefix): str(value) for key, value in labels.items() if key.startswith(prefix)}


def with_labels(item: Object, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return a namespace with these pod security labels; its other labels stay."""
    meta = item["metadata"]
    others = {
        k: v for k, v in (meta.get("labels") or {}).items() if k.partition("/")[0] != POD_SECURITY_LABEL
    }
    wanted = {f"{POD_SECURITY_LABEL}/{key}": value for key, value in labels.items()}
    return {**item, "metadata": {**meta, "labels": {**others, **wanted}}}


def label_text(labels: Mapping[str, str], mode: str) -> str:
    """Return one mode as people write it, ``baseline:v1.25``; empty where it is not set."""
    return f"{labels[mode]}:{labels.get(f'{mode}-version', LATEST)}" if mode in labels else ""


def stricter_or_same(one: str, other: str) -> bool:
    """Return whether one level refuses all that another does; an unknown level refuses nothing."""
    return one in LEVELS and LEVELS.index(one) >= LEVELS.index(other)


class _Namespace:
    """Decides on one namespace."""

    def __init__(
        self, item: Object, pods: Sequence[tuple[str, Object]], version: str, accepted: Collection[str]
    ) -> None:
        self.name: str = item["metadata"]["name"]
        self.now = labels_of(item)
        self.version = version
        self.pods = pods
        self.accepted = accepted
        self.remarks: list[str] = []
        self._refused: dict[str, tuple[Offender, ...]] = {}

    def decide(self, wish: NamespaceWish | None, default: str, *, enforce: bool) -> NamespaceLevel:
        level, why = self._level(wish, default)
        waiting = tuple(o for o in self._offenders(level) if not self._is_accepted(o))
        announced = all(self._is_set(mode, level) for mode in ("audit", "warn"))
        then = dict(self.now)
        for mode in ("audit", "warn"):
            self._set(then, mode, level)
        done = dict(then)
        self._set(done, "enforce", level)
        if level == "privileged" or ((enforce or announced) and not waiting):
            then = done
        if waiting:
            names = "; ".join(map(str, waiting))  # all of them: somebody has to mend each
            runs = "they run, and their pods would not start again"
            stricter = stricter_or_same(self.now.get("enforce", ""), level)
            self.remarks.append(
                f"{level} is enforced, and refuses what is there: {names}. That is: {runs}"
                if stricter
                else f"{level} is not enforced while it would refuse what is there: {names}. {_WAY_OUT}"
            )
        return NamespaceLevel(
            self.name, level, why, self.now, then, then != done, waiting, tuple(self.remarks)
        )

    def _level(self, wish: NamespaceWish | None, default: str) -> tuple[str, str]:
        """Return the level that is wanted, and why."""
        enforced, announced = self.now.get("enforce"), self.now.get("warn")
        if wish is not None:
            return wish.level, f"asked for: {wish.reason}"
        if enforced in LEVELS:
            return enforced, f"its enforce label says so; {self._needs(enforced)}"
        if announced in LEVELS and announced == self.now.get("audit"):
            return announced, f"its warn and audit labels announce it; {self._needs(announced)}"
        if not self.pods:
            return default, "nothing runs there: as a new namespace"
        admits = next(level for level in reversed(LEVELS) if not self._offenders(level))
        return admits, self._needs(admits)

    def _needs(self, level: str) -> str:
        """Return what keeps a namespace from the next stricter level."""
        if level == LEVELS[-1]:
            return "it is the strictest"
        stricter = LEVELS[LEVELS.index(level) + 1]
        offenders = self._offenders(stricter)
        if not offenders:
            return f"{stricter} would admit what is there" if self.pods else "nothing runs there"
        return f"{stricter} refuses {_some(offenders, '; ')}"

    def _offenders(self, level: str) -> tuple[Offender, ...]:
        if level not in self._refused:
            offenders: dict[str, tuple[Violation, ...]] = {}
            for name, pod in self.pods if level != "privileged" else ():
                violations = tuple(evaluate_pss(dict(pod), level, self.version))
                if violations and name not in offenders:
                    offenders[name] = violations
            self._refused[level] = tuple(Offender(*pair) for pair in offenders.items())
        return self._refused[level]

    def _is_accepted(self, offender: Offender) -> bool:
        kind, _, name = offender.workload.partition(" ")
        return not names_of(kind, self.name, name).isdisjoint(self.accepted)

    def _is_set(self, mode: str, level: str) -> bool:
        """Return whether a mode was set to that level, or a stricter one, before this run."""
        have = self.now.get(mode, "")
        same = have == level and self.now.get(f"{mode}-version") == self.version
        return same or (stricter_or_same(have, level) and have != level)

    def _set(self, labels: dict[str, str], mode: str, level: str) -> None:
        have = self.now.get(mode, "")
        if have and have not in LEVELS:
            self.remarks.append(
                f"its label {mode} says {have!r}, which is not a level and counts for nothing"
            )
        if have != level and stricter_or_same(have, level):
            self.remarks.append(
                f"its label {mode} says {label_text(self.now, mode)}, which is stricter than {level}: it stays"
            )
            return
        labels |= {mode: level, f"{mode}-version": self.version}


_WAY_OUT = (
    "Mend them, ask for another level in the policies file (namespaces), or name them in accept_breaking"
)


def _some(items: Sequence[object], separator: str) -> str:
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return separator.join(map(str, items[:SHOWN])) + more


def _what_is_there(objects: Objects) -> dict[str, list[tuple[str, Object]]]:
    """Return what runs or would run in each namespace: every template, and every pod that differs, by its maker's name.

    A template says what will be made; a pod, what is really made, with what webhooks put into it.
    """
    result: dict[str, list[tuple[str, Object]]] = {}
    templates = (workload for workload in workloads(objects) if workload.kind in KINDS)
    for workload in templates:
        result.setdefault(workload.namespace, []).append(
            (f"{workload.kind} {workload.name}", workload.template)
        )
    for (kind, namespace, name), pods in pods_by_maker(objects).items():
        different = {likeness(pod): pod for pod in pods if runs(pod)}
        own = [(f"{kind} {name}", pod) for pod in different.values()]
        if own:
            result.setdefault(namespace, []).extend(own)
    return result


def missing_namespaces(levels: Sequence[NamespaceLevel], wishes: Iterable[NamespaceWish]) -> Iterator[str]:
    """Return the namespaces that are not there although somebody asks for a level of them."""
    known = {level.namespace for level in levels}
    return (wish.name for wish in wishes if wish.name not in known)
