"""Carry a plan out: API objects first, then nodes in batches, each as a transaction that is proved and then kept.

A node that fails is put back and reported. Once more nodes have failed than the run allows, the nodes of the batch
in hand are finished, and the others are untouched.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import MAX_THREADS, Begun, Nodes
from kubeharden.errors import (
    ClusterError,
    KubehardenError,
    NodeError,
    RevertedError,
    StaleError,
    StoppedError,
)
from kubeharden.facts import Facts
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.plan import NodeChange, ObjectChange, Plan, state_digest
from kubeharden.plan.results import Result
from kubeharden.records import Record
from kubeharden.rollout.drain import Drain
from kubeharden.rollout.failures import Failures
from kubeharden.rollout.health import Health, Readiness
from kubeharden.rollout.interrupts import Stop, interrupts
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.order import Place, batches

READINESS_SECONDS = 0.2  # between two looks at whether a node is Ready, for each node of a batch
CONFIRM_SHARE = 0.8  # of confirm_timeout; what is not proved by then would be put back while it is confirmed

Say = Callable[[Result], None]


@dataclass(frozen=True)
class Pace:
    """How carefully a plan is carried out; see the parameters of these names.

    Attributes:
        settle: how many seconds a service, and its node, must stay as they should be.
    """

    batch_size: BatchSize = field(default_factory=BatchSize)
    max_failures: int = 0
    confirm_timeout: float = 120.0
    drain: bool = False
    drain_timeout: float = 300.0
    settle: float = 3.0


class Rollout:
    """Applies plans to one cluster, as one run.

    Args:
        nodes: the nodes.
        cluster: the API server.
        record: where to write what happens.
        lock: that this run has the cluster.
        pace: how carefully.
    """

    def __init__(self, nodes: Nodes, cluster: Cluster, record: Record, lock: Lock, pace: Pace) -> None:
        self.nodes, self.cluster, self.record, self.lock, self.pace = nodes, cluster, record, lock, pace
        self.failures = Failures()  # over the whole run, whatever is planned anew in it

    def apply(self, plan: Plan, seen: Facts, say: Say) -> None:
        """Carry out a plan: its API objects first, then its nodes batch after batch.

        Args:
            plan: what to do.
            seen: what the plan was made from.
            say: called with each result as it comes.

        Raises:
            StoppedError: it was interrupted; the message says what became of the nodes in hand.
            KubehardenError: an object failed, or more nodes than may; what comes after is untouched, and the
                message says so.
        """
        _Application(self, plan, seen, say).carry_out()

    def drain(self, stop: Stop) -> Drain:
        """What cordons, drains and uncordons nodes for this run, until ``stop`` is set."""
        return Drain(self.cluster, self.record.run, self.pace.drain_timeout, stop, self.record.event)


class _Application:
    """One plan that is being carried out."""

    def __init__(self, rollout: Rollout, plan: Plan, seen: Facts, say: Say) -> None:
        self.rollout, self.plan, self.seen, self.say = rollout, plan, seen, say
        self.record, self.pace = rollout.record, rollout.pace
        self.stop = Stop()
        self.health = Health(rollout.nodes, rollout.cluster, rollout.pace.settle, self.stop)
        self.drain = rollout.drain(self.stop)
        self.results: list[Result] = []
        self.failed: list[str] = []  # what failed under this plan, of nodes
        self.stuck: list[ClusterError] = []  # why a node stays cordoned
        self.batches = list(self._batches())
        self.waiting = [change.node for batch in self.batches for change in batch]

    def carry_out(self) -> None:
        with interrupts(self.stop):
            for item in self.plan.object_changes:
                self._object(item)
                self._go_on()
            for change in self.plan.node_changes:
                if not change.needed:
                    words = "nothing to do, not restarted"
                    self._said(Result(change.subject, "as it should be", words))
            for batch in self.batches:
                self._batch(batch)
                self._go_on()

    def _batches(self) -> Iterator[list[NodeChange]]:
        places = [Place(node.name, node.control_plane) for node in self.seen.nodes]
        size = min(MAX_THREADS, self.pace.batch_size.of(len(places)))
        needed = [change for change in self.plan.node_changes if change.needed]
        for names in batches(places, [change.node for change in needed], size):
            yield [change for change in needed if change.node in names]

    def _go_on(self) -> None:
        """After each step on the way: is there a reason not to go on?"""
        if self.stop.is_set():
            outcome = "; ".join(f"{r.subject}: {r.outcome}" for r in self.results if r.seconds) or "nothing"
            stuck = "".join(f" {error}." for error in self.stuck)
            raise StoppedError(
                f"stopped by {self.stop.why}. In hand were, and are finished: {outcome}.{stuck} {self._untouched()} "
                "Run again to carry on: what is done is found done."
            )
        if self.failed and self.rollout.failures.count > self.pace.max_failures:
            raise self._failed()

    def _failed(self) -> KubehardenError:
        count, may = self.rollout.failures.count, self.pace.max_failures
        errors = self.rollout.failures.left
        allowed = f" ({count} failed, {may} may)" if may else ""
        lines = "\n".join(f"{subject}: {error}" for subject, error in errors.items())
        return _public(errors[self.failed[0]])(
            f"{lines}\n{self._untouched()}{allowed} Mend it and run again: what is done is found done."
        )

    def _untouched(self) -> str:
        return f"Untouched because of it: {', '.join([*self.waiting, 'every later step'])}."

    def _said(self, result: Result) -> None:
        self.results.append(result)
        self.say(result)

    @contextmanager
    def _told(self, about: dict[str, Any]) -> Iterator[None]:
        """Say in the journal that something failed, whatever a library raised: it must not end with "started"."""
        try:
            yield
        except KubehardenError:
            raise  # told by whoever knows what became of it
        except Exception as error:
            self.record.event("failed", **about, error=f"{type(error).__name__}: {error}")
            raise

    def _object(self, change: ObjectChange) -> None:
        self.rollout.lock.check()
        about = {"subject": change.name, "object": change.name, "step": change.step}
        start = time.monotonic()
        self.record.event("started", **about)
        try:
            with self._told(about):
                self.record.keep(change)
                written = self.rollout.cluster.apply(change)
        except KubehardenError as error:
            self.record.event("failed", **about, error=str(error))
            self.rollout.failures.add(change.name, error)
            words = str(error).removeprefix(f"{change.name}: ")
            raise _public(error)(
                f"{change.name}: {words}\n{self._untouched()} Mend it and run again: what is done is found done."
            ) from error
        words = {"create": "created", "update": "updated", "delete": "deleted"}[change.action]
        if written.warnings:
            words = f"{words}; the API server warns: {'; '.join(written.warnings)}"
        seconds = time.monotonic() - start
        state = state_digest(written.item) if written.item else "absent"
        self.record.event("completed", **about, words=words, seconds=round(seconds, 3), state=state)
        self.rollout.failures.mend([change.name])
        self._said(Result(change.name, "done", words, seconds))

    def _batch(self, batch: Sequence[NodeChange]) -> None:
        """Change some nodes at the same time; all of them are over when this returns."""
        self.rollout.lock.check()
        for change in batch:
            self.waiting.remove(change.node)
        self.record.event("batch", nodes=[change.node for change in batch], step=batch[0].step)
        pool = ThreadPoolExecutor(len(batch), thread_name_prefix="node")
        try:
            futures = [pool.submit(self._in_hand, change, len(batch)) for change in batch]
            for future in _as_they_come(futures):
                for result in future.result():
                    self._said(result)
        except KeyboardInterrupt:
            names = ", ".join(change.node for change in batch)
            raise StoppedError(
                f"left at once, at the second Ctrl-C, with {names} in hand: what is not confirmed there puts itself "
                f"back within {self.pace.confirm_timeout:g} seconds. {self._untouched()}"
            ) from None
        finally:
            pool.shutdown(wait=False)

    def _in_hand(self, change: NodeChange, together: int) -> list[Result]:
        """Change one node; where it stays cordoned, that is a failure of its own."""
        result = self._node(change, together)
        subject = f"uncordoning {change.node}"
        error = self.drain.stuck.pop(change.node, None)
        if error is not None:
            return [result, self._stuck(change, subject, error)]
        if self._drains(change):
            self.rollout.failures.mend([subject])
        return [result]

    def _stuck(self, change: NodeChange, subject: str, error: ClusterError) -> Result:
        about = {"subject": subject, "node": change.node, "step": change.step}
        self.record.event("started", **about)
        self.record.event("failed", **about, error=str(error))
        self.stuck.append(error)
        self._counted(subject, error, change.node)
        return Result(subject, "failed", str(error))

    def _drains(self, change: NodeChange) -> bool:
        return change.service == "kubelet" and self.pace.drain

    def _counted(self, subject: str, error: KubehardenError, node: str) -> None:
        self.failed.append(subject)
        self.rollout.failures.add(subject, error, node)

    def _node(self, change: NodeChange, together: int) -> Result:
        """Change one node; whatever becomes of it is in the journal, and a failure is counted."""
        about: dict[str, Any] = {
            "subject": change.subject,
            "node": change.node,
            "service": change.service,
            "step": change.step,
        }
        start = time.monotonic()
        self.record.event("started", **about)
        try:
            with self._told(about):
                words = self._changed(change, together)
        except KubehardenError as error:
            outcome = "reverted" if isinstance(error, RevertedError) else "failed"
            seconds = time.monotonic() - start
            self.record.event(outcome, **about, error=str(error), seconds=round(seconds, 3))
            if not self.stop.is_set():
                self._counted(change.subject, error, change.node)
            return Result(change.subject, outcome, str(error), seconds)
        seconds = time.monotonic() - start
        self.record.event("completed", **about, words=words, seconds=round(seconds, 3))
        self.rollout.failures.mend([change.subject])
        return Result(change.subject, "done", words, seconds)

    def _changed(self, change: NodeChange, together: int) -> str:
        self.record.keep(change)
        kubelet = change.service == "kubelet"
        every = READINESS_SECONDS * together
        watch = Readiness(self.rollout.cluster, change.node, every) if kubelet else None
        drained = self.drain.of(change.node) if self._drains(change) else nullcontext()
        with drained, watch or nullcontext():
            words = self._transaction(change)
        if change.node in self.drain.kept:
            words += "; the node stays cordoned, as somebody has cordoned it anew meanwhile"
        return words if watch is None else f"{words}; node not Ready for {watch.seconds:.1f} s"

    def _transaction(self, change: NodeChange) -> str:
        """Begin on the node, prove from outside, and keep it; or put it back."""
        self.rollout.lock.check()  # draining may have taken minutes
        run = f"{self.record.run}-{change.step}"
        before = self.health.before(change, self.seen.node(change.node))
        start = time.monotonic()
        begun = self._begun(change, run)
        if begun.outcome != "waiting":
            return begun.words
        try:
            seen = self.health.prove(
                change, before, begun.restarted, start + CONFIRM_SHARE * self.pace.confirm_timeout
            )
        except KubehardenError as error:
            raise self._undone(change, run, str(error)) from error
        kept = self._kept(change, run)
        if kept.outcome != "confirmed":
            kind = RevertedError if kept.outcome == "reverted" else NodeError
            raise kind(f"it was proved, but could not be confirmed any more: {kept.words}")
        return f"{begun.words}; {seen}" if seen else begun.words

    def _kept(self, change: NodeChange, run: str) -> Begun:
        """The confirmation; where its answer is lost, the node is asked once more what it made of it."""
        try:
            return self.rollout.nodes.confirm(change.node, run)
        except NodeError:
            try:
                return self.rollout.nodes.confirm(change.node, run)
            except NodeError as error:
                raise NodeError(
                    f"it was proved, and whether the node got the confirmation is not known ({error}): it keeps the "
                    f"change if it did, and else puts itself back within {self.pace.confirm_timeout:g} seconds"
                ) from error

    def _begun(self, change: NodeChange, run: str) -> Begun:
        """The change in place and waiting to be confirmed, or as it should be already."""
        try:
            begun = self.rollout.nodes.begin(change, run, self.pace.confirm_timeout)
        except NodeError as error:
            raise self._undone(change, run, str(error)) from error
        if begun.outcome in {"waiting", "unchanged", "confirmed"}:
            return begun
        kinds = {"stale": StaleError, "reverted": RevertedError}
        raise kinds.get(begun.outcome, NodeError)(begun.words)

    def _undone(self, change: NodeChange, run: str, why: str) -> KubehardenError:
        """Put a node back, and say what became of that; if it cannot be reached, it does so by itself."""
        try:
            undone = self.rollout.nodes.undo(change.node, run)
        except NodeError as error:
            return NodeError(
                f"{why}. It cannot be put back from here ({error}); a node that got the change puts itself back "
                f"within {self.pace.confirm_timeout:g} seconds of it"
            )
        if undone.outcome == "reverted":
            return RevertedError(f"{why}. {undone.words}")
        return NodeError(f"{why}. Putting it back, the node says: {undone.outcome}: {undone.words}")


def _as_they_come(futures: Sequence[Future[list[Result]]]) -> Iterator[Future[list[Result]]]:
    """Futures in the order in which they are done; those done at once, in the order of the batch."""
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from (future for future in futures if future in done)


def _public(error: KubehardenError) -> type[KubehardenError]:
    """The kind of an error that people may know."""
    kinds = (kind for kind in type(error).__mro__ if kind.__module__ == KubehardenError.__module__)
    return next(kind for kind in kinds if issubclass(kind, KubehardenError))
