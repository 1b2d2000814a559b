"""Carry a plan out: API objects first, then nodes in batches, each node as a transaction that is proved and confirmed.

A node that fails is put back and reported. Once more nodes have failed than the run allows, the nodes of the current
batch are finished, and the others are untouched.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field

from kubeharden.edges.ports import MAX_THREADS, Ports, TransactionResult
from kubeharden.errors import (
    ClusterError,
    KubehardenError,
    NodeError,
    RevertedError,
    StaleError,
    StepError,
    StoppedError,
)
from kubeharden.facts import Facts
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.plan import NodeChange, ObjectChange, Plan, state_digest
from kubeharden.plan.event import Listener
from kubeharden.plan.events import (
    AS_IT_SHOULD_BE,
    Batch,
    Completed,
    Failed,
    ReadyAgain,
    Restarted,
    Result,
    Reverted,
    Started,
)
from kubeharden.releases import find_component
from kubeharden.rollout.causes import cause_in
from kubeharden.rollout.drain import Drain
from kubeharden.rollout.failures import Failures
from kubeharden.rollout.health import Health, Readiness
from kubeharden.rollout.interrupts import Stop, interrupts
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.order import batches

READINESS_SECONDS = 0.2  # between two looks at whether a node is Ready, for each node of a batch
CONFIRM_SHARE = 0.8  # of confirm_timeout; what is not proved by then would be put back while it is confirmed
AGAIN = "Mend it and run again: what is done is found done."


@dataclass(frozen=True)
class Pace:
    """The care with which a plan is carried out; see the parameters of these names."""

    batch_size: BatchSize = field(default_factory=BatchSize)
    max_failures: int = 0
    confirm_timeout: float = 120.0
    drain: bool = False
    drain_timeout: float = 300.0
    settle: float = 3.0  # how many seconds a service, and its node, must stay as they should be


class Rollout:
    """Applies plans to one cluster, as one run; ``emit`` is called from the threads of the nodes, too."""

    def __init__(self, ports: Ports, emit: Listener, lock: Lock, pace: Pace) -> None:
        self.ports, self.emit, self.lock, self.pace = ports, emit, lock, pace
        self.failures = Failures()  # over the whole run, whatever is planned again in it

    def apply(self, plan: Plan, facts: Facts) -> None:
        """Carry out a plan: its API objects first, then its nodes batch after batch.

        Args:
            facts: what the plan was made from.

        Raises:
            StoppedError: it was interrupted; the message says what became of the nodes in hand.
            StepError: an object failed, or more nodes than may; what comes after is untouched, and the message
                says so.
            LockedError, ClusterError: the run does not have the cluster any more.
            RecordError: what happens cannot be recorded.
        """
        _Application(self, plan, facts).carry_out()

    def batches(self, plan: Plan, facts: Facts) -> list[list[str]]:
        """Return the nodes that a plan changes, batch after batch."""
        size = min(MAX_THREADS, self.pace.batch_size.of(len(facts.nodes)))
        return batches(facts.nodes, [change.node for change in plan.node_changes if change.needed], size)

    def drain(self, stop: Stop) -> Drain:
        """Return what cordons, drains and uncordons nodes for this run, until ``stop`` is set."""
        return Drain(
            self.ports.cluster, self.ports.clock, self.lock.run, self.pace.drain_timeout, stop, self.emit
        )


class _Application:
    """One plan that is being carried out."""

    def __init__(self, rollout: Rollout, plan: Plan, facts: Facts) -> None:
        self.rollout, self.plan, self.facts = rollout, plan, facts
        self.ports, self.emit, self.pace = rollout.ports, rollout.emit, rollout.pace
        self.stop = Stop()
        self.health = Health(rollout.ports, rollout.pace.settle, self.stop)
        self.drain = rollout.drain(self.stop)
        self.results: list[Result] = []
        self.failed: list[str] = []  # subjects on nodes that failed under this plan
        self.stuck: list[ClusterError] = []  # why a node stays cordoned
        self.batches = list(self._batches())
        self.untouched = [change.node for batch in self.batches for change in batch]

    def carry_out(self) -> None:
        with interrupts(self.stop):
            for item in self.plan.object_changes:
                self._change_object(item)
                self._check()
            for change in self.plan.node_changes:
                if not change.needed:
                    words = "nothing to do, not restarted"
                    self._report(Result(change.subject, AS_IT_SHOULD_BE, words))
            for batch in self.batches:
                self._change_batch(batch)
                self._check()

    def _batches(self) -> Iterator[list[NodeChange]]:
        needed = [change for change in self.plan.node_changes if change.needed]
        for names in self.rollout.batches(self.plan, self.facts):
            yield [change for change in needed if change.node in names]

    def _check(self) -> None:
        """Raise if there is a reason not to go on, after each object and each batch."""
        if self.stop.is_set():
            outcome = "; ".join(f"{r.subject}: {r.outcome}" for r in self.results if r.seconds) or "nothing"
            stuck = "".join(f" {error}." for error in self.stuck)
            raise StoppedError(
                f"stopped by {self.stop.why}. In hand were, and are finished: {outcome}.{stuck} {self._rest()} "
                "Run again to carry on: what is done is found done."
            )
        if self.failed and self.rollout.failures.count > self.pace.max_failures:
            count, may = self.rollout.failures.count, self.pace.max_failures
            errors = self.rollout.failures.left
            allowed = f" ({count} failed, {may} may)" if may else ""
            lines = "\n".join(f"{subject}: {error}" for subject, error in errors.items())
            message = f"{lines}\n{self._rest()}{allowed} {AGAIN}"
            raise StepError(message, ", ".join(self.plan.steps), errors) from errors[self.failed[0]]

    def _rest(self) -> str:
        return f"Untouched because of it: {', '.join([*self.untouched, 'every later step'])}."

    def _report(self, result: Result) -> None:
        self.results.append(result)
        self.emit(result)

    @contextmanager
    def _announce(self, change: NodeChange | ObjectChange) -> Iterator[None]:
        """Emit the start of a change, and its failure where a library raised: a journal must not end with "started"."""
        try:
            self.emit(Started.of(change, change=change))
            yield
        except KubehardenError:
            raise  # the caller emits what it knows of it
        except Exception as error:
            self.emit(Failed.of(change, error=f"{type(error).__name__}: {error}"))
            raise

    def _change_object(self, change: ObjectChange) -> None:
        self.rollout.lock.check()
        start = self.ports.clock.monotonic()
        try:
            with self._announce(change):
                written = self.ports.cluster.apply(change)
        except KubehardenError as error:
            self.emit(Failed.of(change, error=str(error)))
            self.rollout.failures.add(change.name, error)
            words = str(error).removeprefix(f"{change.name}: ")
            message = f"{change.name}: {words}\n{self._rest()} {AGAIN}"
            raise StepError(message, change.step, {change.name: error}) from error
        words = {"create": "created", "update": "updated", "delete": "deleted"}[change.action]
        if written.warnings:
            words = f"{words}; the API server warns: {'; '.join(written.warnings)}"
        seconds = self.ports.clock.monotonic() - start
        state = state_digest(written.item) if written.item else "absent"
        self.emit(Completed.of(change, words=words, seconds=round(seconds, 3), state=state))
        self.rollout.failures.repair([change.name])
        self._report(Result(change.name, Completed.action, words, seconds))

    def _change_batch(self, batch: Sequence[NodeChange]) -> None:
        """Change some nodes at the same time; all of them are over when this returns."""
        self.rollout.lock.check()
        for change in batch:
            self.untouched.remove(change.node)
        self.emit(Batch([change.node for change in batch], batch[0].step))
        pool = ThreadPoolExecutor(len(batch), thread_name_prefix="node")
        try:
            futures = [pool.submit(self._change_and_uncordon, change, len(batch)) for change in batch]
            for future in _as_completed(futures):
                for result in future.result():
                    self._report(result)
        except KeyboardInterrupt as interrupt:
            names = ", ".join(change.node for change in batch)
            raise StoppedError(
                f"left at once, at the second Ctrl-C, with {names} in hand: what is not confirmed there puts itself "
                f"back within {self.pace.confirm_timeout:g} seconds. {self._rest()}"
            ) from interrupt
        finally:
            pool.shutdown(wait=False)

    def _change_and_uncordon(self, change: NodeChange, together: int) -> list[Result]:
        """Change one node; where it stays cordoned, that is a failure of its own."""
        result = self._change_node(change, together)
        subject = f"uncordoning {change.node}"
        error = self.drain.stuck.pop(change.node, None)
        if error is not None:
            self.emit(Started(subject, change.step, change.node))
            self.emit(Failed(subject, change.step, change.node, error=str(error)))
            self.stuck.append(error)
            self._count(subject, error, change.node)
            return [result, Result(subject, "failed", str(error))]
        if self._drains(change):
            self.rollout.failures.repair([subject])
        return [result]

    def _drains(self, change: NodeChange) -> bool:
        return self.pace.drain and find_component(change.service).runs_pods

    def _count(self, subject: str, error: KubehardenError, node: str) -> None:
        self.failed.append(subject)
        self.rollout.failures.add(subject, error, node)

    def _change_node(self, change: NodeChange, together: int) -> Result:
        """Change one node; its outcome is emitted, and a failure is counted."""
        start = self.ports.clock.monotonic()
        try:
            with self._announce(change):
                words, not_ready = self._drain_and_change(change, together)
        except KubehardenError as error:
            kind = Reverted if isinstance(error, RevertedError) else Failed
            seconds = self.ports.clock.monotonic() - start
            journal = error.journal if isinstance(error, NodeError) else ""
            self.emit(kind.of(change, error=str(error), seconds=round(seconds, 3), journal=journal))
            if not self.stop.is_set():
                self._count(change.subject, error, change.node)
            return Result(change.subject, kind.action, str(error), seconds, journal)
        seconds = self.ports.clock.monotonic() - start
        self.emit(Completed.of(change, words=words, seconds=round(seconds, 3), not_ready=not_ready))
        self.rollout.failures.repair([change.subject])
        return Result(change.subject, Completed.action, words, seconds)

    def _drain_and_change(self, change: NodeChange, together: int) -> tuple[str, float | None]:
        """Drain the node where that is wanted, and change it; return the words, and how long it was not Ready."""
        every = READINESS_SECONDS * together
        runs_pods = find_component(change.service).runs_pods
        watch = Readiness(self.ports.cluster, self.ports.clock, change.node, every) if runs_pods else None
        drained = self.drain.of(change.node) if self._drains(change) else nullcontext()
        with drained, watch or nullcontext():
            words = self._transaction(change)
        if change.node in self.drain.recordoned:
            words += "; the node stays cordoned, as somebody has cordoned it again meanwhile"
        if watch is None:
            return words, None
        return f"{words}; node not Ready for {watch.seconds:.1f} s", round(watch.seconds, 3)

    def _transaction(self, change: NodeChange) -> str:
        """Begin on the node, prove from outside, and confirm; or put it back. Return what became of it in words."""
        self.rollout.lock.check()  # draining may have taken minutes
        run = f"{self.rollout.lock.run}-{change.step}"
        before = self.health.before(change, self.facts.node(change.node))
        start = self.ports.clock.monotonic()
        beginning = self._begin(change, run)
        if beginning.outcome != "waiting":
            return beginning.words
        self.emit(Restarted.of(change, at=beginning.restarted))
        try:
            proof = self.health.prove(
                change,
                before,
                beginning.restarted,
                start + CONFIRM_SHARE * self.pace.confirm_timeout,
                lambda: self.emit(ReadyAgain.of(change)),
            )
        except KubehardenError as error:
            raise self._put_back(change, run, str(error)) from error
        end = self._confirm(change, run)
        if end.outcome != "confirmed":
            kind = RevertedError if end.outcome == "reverted" else NodeError
            raise kind(f"it was proved, but could not be confirmed any more: {end.words}")
        return f"{beginning.words}; {proof}" if proof else beginning.words

    def _confirm(self, change: NodeChange, run: str) -> TransactionResult:
        """Confirm; where the answer is lost, ask the node once more."""
        try:
            return self.ports.nodes.confirm(change.node, run)
        except NodeError:
            try:
                return self.ports.nodes.confirm(change.node, run)
            except NodeError as error:
                raise NodeError(
                    f"it was proved, and whether the node got the confirmation is not known ({error}): it keeps the "
                    f"change if it did, and else puts itself back within {self.pace.confirm_timeout:g} seconds"
                ) from error

    def _begin(self, change: NodeChange, run: str) -> TransactionResult:
        """Put the change in place; it waits to be confirmed then, or was in place already."""
        try:
            end = self.ports.nodes.begin(change, run, self.pace.confirm_timeout)
        except NodeError as error:
            raise self._put_back(change, run, str(error)) from error
        if end.outcome in {"waiting", "unchanged", "confirmed"}:
            return end
        if end.outcome == "stale":
            raise StaleError(end.words)
        kind = RevertedError if end.outcome == "reverted" else NodeError
        cause = cause_in(end.journal)
        raise kind("\n".join(filter(None, (end.words, cause))), journal=end.journal)

    def _put_back(self, change: NodeChange, run: str, why: str) -> KubehardenError:
        """Put a node back, and return the error that says so; a node that cannot be reached does it by itself."""
        try:
            end = self.ports.nodes.undo(change.node, run)
        except NodeError as error:
            return NodeError(
                f"{why}. It cannot be put back from here ({error}); a node that got the change puts itself back "
                f"within {self.pace.confirm_timeout:g} seconds of it"
            )
        if end.outcome == "reverted":
            return RevertedError(f"{why}; {end.words}")
        return NodeError(f"{why}. Putting it back, the node says: {end.outcome}: {end.words}")


def _as_completed(futures: Sequence[Future[list[Result]]]) -> Iterator[Future[list[Result]]]:
    """Yield futures as they complete; those that complete at once, in the order of the batch."""
    left = set(futures)
    while left:
        done, left = wait(left, return_when=FIRST_COMPLETED)
        yield from (future for future in futures if future in done)
