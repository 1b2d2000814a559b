"""Carry a plan out: one step after the other, one node after the other, and stop at the first that fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial

from kubeharden.cluster import Cluster
from kubeharden.errors import KubehardenError, NodeError, ProofError, StaleError
from kubeharden.facts import Facts
from kubeharden.nodes import Applied, Nodes
from kubeharden.observe import observe_nodes
from kubeharden.plan import NodeChange, ObjectChange, Plan
from kubeharden.proof import unproved
from kubeharden.records import Record
from kubeharden.results import Result

# How long a restarted component may take until it serves its effective configuration.
SERVE_SECONDS = 15
READINESS_SECONDS = 0.2


class _Readiness:
    """Counts the seconds in which a node is not Ready, as the API server says, while something is done to it."""

    def __init__(self, cluster: Cluster, node: str) -> None:
        self.seconds = 0.0
        self._cluster, self._node = cluster, node
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._count, daemon=True)

    def __enter__(self) -> _Readiness:
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._over.set()
        self._thread.join()

    def _count(self) -> None:
        last = time.monotonic()
        while not self._over.wait(READINESS_SECONDS):
            try:
                ready, _ = self._cluster.heartbeat(self._node)
            except KubehardenError:
                ready = True  # not to be seen is not the same as not Ready
            now = time.monotonic()
            self.seconds += 0 if ready else now - last
            last = now


class Rollout:
    """Applies plans to one cluster.

    Args:
        seen: what the plan was made from.
        nodes: the nodes.
        cluster: the API server.
        record: where to write what happens.
        say: called with each result as it comes.
    """

    def __init__(
        self, seen: Facts, nodes: Nodes, cluster: Cluster, record: Record, say: Callable[[Result], None]
    ) -> None:
        self.seen, self.nodes, self.cluster, self.record, self.say = seen, nodes, cluster, record, say

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
        self.cluster.apply(change)
        return {"create": "created", "update": "updated", "delete": "deleted"}[change.action]

    def _node(self, change: NodeChange) -> str:
        self.record.keep(change)
        watch = _Readiness(self.cluster, change.node) if change.service == "kubelet" else None
        with watch or nullcontext():
            applied: Applied = self.nodes.apply(change, f"{self.record.run}-{change.step}")
            if applied.outcome == "stale":
                raise StaleError(applied.words)
            if applied.outcome != "applied":
                raise NodeError(applied.words)
            if change.service == "kube-apiserver":
                self.cluster.wait_until_up()
            elif change.service == "kubelet":
                self.cluster.wait_until_ready(change.node, applied.restarted)
            problems = self._problems(change)
        if problems:
            raise ProofError(f"the change is in place, but {'; '.join(problems)}")
        return (
            applied.words if watch is None else f"{applied.words}; node not Ready for {watch.seconds:.1f} s"
        )

    def _problems(self, change: NodeChange) -> list[str]:
        """What is not as promised; asked again for a while, since a server may need a moment to serve."""
        end = time.monotonic() + SERVE_SECONDS
        while True:
            [node] = observe_nodes(self.nodes, self.cluster, [change.node], [change.service])
            problems = unproved(change, node, self.seen.node(change.node))
            if not problems or time.monotonic() > end:
                return problems
            time.sleep(0.5)


def _public(error: KubehardenError) -> type[KubehardenError]:
    """The kind of an error that people may know."""
    kinds = (kind for kind in type(error).__mro__ if kind.__module__ == KubehardenError.__module__)
    return next(kind for kind in kinds if issubclass(kind, KubehardenError))
