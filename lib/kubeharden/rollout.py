"""Carry a plan out: one step after the other, one node after the other, and stop at the first that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from kubeharden.cluster import Cluster
from kubeharden.errors import KubehardenError, NodeError, StaleError
from kubeharden.facts import Facts
from kubeharden.health import Before, Health, Readiness
from kubeharden.lock import Lock
from kubeharden.nodes import Nodes
from kubeharden.plan import NodeChange, ObjectChange, Plan
from kubeharden.records import Record
from kubeharden.results import Result

PROVE_SECONDS = 90
READINESS_SECONDS = 0.2


class Rollout:
    """Applies plans to one cluster.

    Args:
        seen: what the plan was made from.
        nodes: the nodes.
        cluster: the API server.
        record: where to write what happens.
        lock: that this run has the cluster.
        say: called with each result as it comes.
    """

    def __init__(
        self,
        seen: Facts,
        nodes: Nodes,
        cluster: Cluster,
        record: Record,
        lock: Lock,
        say: Callable[[Result], None],
    ) -> None:
        self.seen, self.nodes, self.cluster, self.record, self.say = seen, nodes, cluster, record, say
        self.lock = lock
        self.health = Health(nodes, cluster, nodes.inventory.settle_seconds, threading.Event())

    def apply(self, plan: Plan) -> list[Result]:
        """Carry out a plan: its API objects first, then its nodes in order.

        Raises:
            KubehardenError: something failed; what comes after it is untouched, and the message says so.
        """
        waiting = [change.node for change in plan.node_changes if change.needed]
        objects = [
            self._carry_out(change.name, partial(self._object, change), waiting)
            for change in plan.object_changes
        ]
        return objects + [self._node_result(change, waiting) for change in plan.node_changes]

    def _node_result(self, change: NodeChange, waiting: list[str]) -> Result:
        subject = f"{change.service} on {change.node}"
        if not change.needed:
            return self._said(Result(subject, "as it should be", "nothing to do, not restarted"))
        waiting.remove(change.node)
        return self._carry_out(subject, partial(self._node, change), waiting)

    def _carry_out(self, subject: str, work: Callable[[], str], waiting: list[str]) -> Result:
        start = time.monotonic()
        self.record.event("started", subject=subject)
        try:
            self.lock.check()
            words = work()
        except KubehardenError as error:
            self.record.event("failed", subject=subject, error=str(error))
            rest = ", ".join([*waiting, "every later step"])
            raise _public(error)(
                f"{subject}: {error}\nUntouched because of it: {rest}. Mend it and run again: what is done is found "
                "done."
            ) from error
        result = Result(subject, "done", words, time.monotonic() - start)
        self.record.event("completed", subject=subject, words=words, seconds=round(result.seconds, 3))
        return self._said(result)

    def _said(self, result: Result) -> Result:
        self.say(result)
        return result

    def _object(self, change: ObjectChange) -> str:
        self.record.keep(change)
        warnings = self.cluster.apply(change)
        done = {"create": "created", "update": "updated", "delete": "deleted"}[change.action]
        return f"{done}; the API server warns: {'; '.join(warnings)}" if warnings else done

    def _node(self, change: NodeChange) -> str:
        self.record.keep(change)
        kubelet = change.service == "kubelet"
        watch = Readiness(self.cluster, change.node, READINESS_SECONDS) if kubelet else None
        before = self.health.before(change, self.seen.node(change.node))
        with watch or nullcontext():
            words = self._transaction(change, f"{self.record.run}-{change.step}", before)
        return words if watch is None else f"{words}; node not Ready for {watch.seconds:.1f} s"

    def _transaction(self, change: NodeChange, run: str, before: Before) -> str:
        begun = self.nodes.begin(change, run)
        if begun.outcome == "stale":
            raise StaleError(begun.words)
        if begun.outcome == "unchanged":
            return begun.words
        if begun.outcome != "waiting":
            raise NodeError(begun.words)
        try:
            seen = self.health.prove(change, before, begun.restarted, time.monotonic() + PROVE_SECONDS)
        except BaseException as error:
            undone = self.nodes.undo(change.node, run)
            if isinstance(error, KubehardenError):
                raise _public(error)(f"{error}; {undone.words}") from error
            raise
        confirmed = self.nodes.confirm(change.node, run)
        if confirmed.outcome != "confirmed":
            raise NodeError(confirmed.words)
        return f"{begun.words}; {seen}" if seen else begun.words


def _public(error: KubehardenError) -> type[KubehardenError]:
    """The kind of an error that people may know."""
    kinds = (kind for kind in type(error).__mro__ if kind.__module__ == KubehardenError.__module__)
    return next(kind for kind in kinds if issubclass(kind, KubehardenError))
