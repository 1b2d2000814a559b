"""One run at a time: a Lease in kube-system says who has the cluster; a ConfigMap where the release has no Lease.

The Lease (coordination.k8s.io) came with 1.12. Writes go over the resourceVersion that was read, so that of two
runs that come at once one gets it. It is renewed while the run goes on. A run that finds a lock that was not
renewed for its duration takes it over, after it has watched that it really is not renewed: clocks differ.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from kubeharden.edges.login import login_or_uid
from kubeharden.edges.ports import ApiPort, Clock, Repetition
from kubeharden.errors import ClusterError, LockedError, StaleError
from kubeharden.plan.event import Listener, ignore
from kubeharden.plan.events import Locked

NAMESPACE, NAME = "kube-system", "kubeharden"
DURATION_SECONDS = 60
RENEW_SECONDS = 15.0
AGAIN_SECONDS = 0.5  # between two tries to renew what has lapsed
PROCESS = "kubeharden/process"  # the annotation that tells a run of this very machine


@dataclass(frozen=True)
class Holder:
    """The holder of the lock."""

    who: str  # ``user@host`` and the run
    since: str  # when they took it (RFC 3339)
    renewed: str  # when they renewed it last
    seconds: int  # how long it holds without being renewed
    process: str = ""  # which process of which machine it is; empty where that is not known

    def is_late(self, now: datetime) -> bool:
        """Return True where it should have been renewed before ``now``, by that clock."""
        return now - _time(self.renewed) > timedelta(seconds=self.seconds)

    @property
    def is_gone(self) -> bool:
        """True where it was a process of this machine that has ended."""
        machine, _, process = self.process.rpartition("/")
        return bool(machine) and machine == _machine() and process != _process(process.partition("-")[0])


class Lock:
    """The lock of one cluster, for one run.

    Args:
        duration: how many seconds it holds without being renewed.
        renew: every how many seconds it is renewed.
    """

    def __init__(
        self,
        cluster: ApiPort,
        clock: Clock,
        run: str,
        emit: Listener = ignore,
        duration: int = DURATION_SECONDS,
        renew: float = RENEW_SECONDS,
    ) -> None:
        self.cluster, self.clock, self.run, self.emit = cluster, clock, run, emit
        self._duration, self._every = duration, renew
        self._process = f"{_machine()}/{_process(str(os.getpid()))}"
        self._who = f"{login_or_uid()}@{socket.gethostname()}, run {run}"
        self._since = ""
        self._own: dict[str, Any] | None = None
        self._taken_over = ""
        self._renewed = 0.0  # by the wall clock: a monotonic one may stand still while the machine sleeps
        self._renewing = threading.Lock()
        self._renewer: Repetition | None = None

    @property
    def held(self) -> bool:
        """True while this run has it."""
        return self._own is not None

    def check_free(self) -> None:
        """Check before anything is looked at that no run that goes on has it.

        Raises:
            LockedError: another run has it; the message says who, since when, and what to do about it.
            ClusterError: the server cannot be reached, or refuses.
        """
        current = None if self.held else self._read()
        if (
            current is not None
            and not _holder(current).is_gone
            and not _holder(current).is_late(self.clock.now())
        ):
            raise self._refusal(current)

    def acquire(self) -> str:
        """Take it, and keep renewing it; harmless when this run has it. Return the dead run that had it, or nothing.

        Raises:
            LockedError: another run has it; the message says who, since when, and what to do about it.
            ClusterError: the server cannot be reached, or refuses.
        """
        if self.held:
            return ""
        current = self._read()
        leftover = ""
        if current is not None:
            holder = _holder(current)
            self._check_leftover(current, holder)
            leftover = f"{holder.who}, not renewed since {holder.renewed}"
        self._since = self._now()
        at = self._timestamp()
        try:
            lock = self._object(current)
            written = self.cluster.replace(lock) if current else self.cluster.create(lock)
        except StaleError as error:
            raise self._refusal(self._read()) from error
        self._own, self._renewed = {"kind": self._kind(), **written}, at
        self._renewer = self.clock.repeat(self._renew_again, self._every)
        self.emit(Locked(leftover))
        return leftover

    def check(self) -> None:
        """Check before something is written that nobody has taken it over; harmless when this run does not have it.

        The renewer may be late: this machine slept, or the server did not answer. So what was not renewed lately is
        renewed here first, and what has lapsed is tried for its duration once more.

        Raises:
            LockedError: somebody has taken it over.
            ClusterError: it has lapsed, and cannot be renewed.
        """
        end = self.clock.monotonic() + self._duration
        while self.held and not self._taken_over and not self._is_younger(min(self._every, self._duration)):
            try:
                self._renew()
            except ClusterError as error:
                if self._is_younger(self._duration):
                    break  # nobody may take it over yet
                if self.clock.monotonic() > end:
                    raise ClusterError(
                        f"this run's lock was not renewed for {self._duration} seconds and cannot be renewed now, so "
                        f"another run may have the cluster: nothing more is changed. See that the API server answers, "
                        f"then run again ({error})"
                    ) from error
                self.clock.sleep(AGAIN_SECONDS)
        if self._taken_over:
            raise LockedError(
                f"this run has lost the cluster to {self._taken_over}: it could not renew its lock in time, and "
                "changes nothing more. See what that run does, then run again"
            )

    def release(self) -> None:
        """Give it up; harmless when this run does not have it.

        Raises:
            ClusterError: the server cannot be reached. It is then stale after its duration.
        """
        if self._renewer is not None:
            self._renewer.stop()
        with self._renewing:
            own, self._own = self._own, None
        if own is not None and not self._taken_over:
            try:
                self.cluster.delete(own)
            except StaleError:
                return  # somebody took it over meanwhile: it is theirs now

    def _check_leftover(self, current: Mapping[str, Any], holder: Holder) -> None:
        """Check that its holder renews it no more; a LockedError says who holds it."""
        if holder.is_gone:
            return
        if not holder.is_late(self.clock.now()):
            raise self._refusal(current)
        self.clock.sleep(1.5 * self._every)  # by our clock it is late; is it renewed by theirs?
        again = self._read()
        if (
            again is not None
            and again["metadata"]["resourceVersion"] != current["metadata"]["resourceVersion"]
        ):
            raise self._refusal(again)

    def _refusal(self, current: Mapping[str, Any] | None) -> LockedError:
        if current is None:
            return LockedError("another run had this cluster until a moment ago: run this again")
        holder, kind = _holder(current), self._kind().lower()
        return LockedError(
            f"another run has this cluster: {holder.who}, since {holder.since}, last heard of at {holder.renewed}. "
            f"Nothing was changed by this one. Wait for that run's end. If it is dead, this run may be started again "
            f"{holder.seconds} seconds after it was last heard of, or at once after: "
            f"kubectl -n {NAMESPACE} delete {kind} {NAME}"
        )

    def _renew_again(self) -> None:
        """Renew it; what fails is tried again next time: as long as it is not renewed it gets older."""
        with suppress(ClusterError):
            self._renew()

    def _renew(self) -> None:
        """Renew it now, or find out who has taken it over.

        Raises:
            ClusterError: the server cannot be reached, or refuses: whose it is is not known.
        """
        with self._renewing:
            if self._own is None or self._taken_over:
                return
            at = self._timestamp()
            try:
                self._own = {"kind": self._kind(), **self.cluster.replace(self._object(self._own))}
                self._renewed = at
            except StaleError:
                current = self._read()
                holder = _holder(current) if current else None
                if holder and (holder.who, holder.process) == (self._who, self._process):
                    self._own = current  # a renewal whose answer was lost; the next one goes over it
                else:
                    self._taken_over = holder.who if holder else "somebody who deleted its lock"

    def _is_younger(self, seconds: float) -> bool:
        """Return True where it was renewed less than ``seconds`` ago; not where the clock was set back meanwhile."""
        return 0 <= self._timestamp() - self._renewed < seconds

    def _timestamp(self) -> float:
        return self.clock.now().timestamp()

    def _now(self) -> str:
        """Return the time now as metav1.MicroTime has it."""
        return self.clock.now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")

    def _read(self) -> dict[str, Any] | None:
        return self.cluster.get(self._kind(), NAME, NAMESPACE)

    def _kind(self) -> str:
        return lock_kind(self.cluster)

    def _object(self, current: Mapping[str, Any] | None) -> dict[str, Any]:
        """Return the object of the lock as this run's, renewed now; written over ``current``."""
        kind = self._kind()
        meta: dict[str, Any] = {"name": NAME, "namespace": NAMESPACE, "annotations": {PROCESS: self._process}}
        if current is not None:
            meta["resourceVersion"] = current["metadata"]["resourceVersion"]
        body: dict[str, Any] = {"apiVersion": self.cluster.api_version(kind), "kind": kind, "metadata": meta}
        spec = {
            "holderIdentity": self._who,
            "acquireTime": self._since,
            "renewTime": self._now(),
            "leaseDurationSeconds": self._duration,
        }
        if kind == "Lease":
            return {**body, "spec": spec}
        return {**body, "data": {key: str(value) for key, value in spec.items()}}


def lock_kind(cluster: ApiPort) -> str:
    """Return the kind of the lock on a cluster: a Lease, or a ConfigMap where the API has no Lease."""
    return "Lease" if cluster.serves("Lease") else "ConfigMap"


def _holder(current: Mapping[str, Any]) -> Holder:
    spec = current.get("spec") or current.get("data") or {}
    return Holder(
        who=str(spec.get("holderIdentity") or "somebody"),
        since=str(spec.get("acquireTime") or "an unknown time"),
        renewed=str(spec.get("renewTime") or ""),
        seconds=_seconds(spec.get("leaseDurationSeconds")),
        process=str((current["metadata"].get("annotations") or {}).get(PROCESS, "")),
    )


def _seconds(value: object) -> int:
    """Return the duration that a lock says; of a ConfigMap it is a text, which anybody may have written."""
    text = str(value)
    return int(text) if re.fullmatch(r"[0-9]{1,6}", text) else DURATION_SECONDS


def _time(text: str) -> datetime:
    """Return a time that a lock says; what cannot be one was written by somebody else, who does not renew it."""
    with suppress(ValueError):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment
    return datetime.min.replace(tzinfo=UTC)


def _machine() -> str:
    """Return an id of this boot of this machine and of this container; empty where it is not known."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux
        return ""


def _process(pid: str) -> str:
    """Return a process by its number and start time (proc(5), field 22), since numbers are used again."""
    try:
        after_name = (
            Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        )
        return f"{pid}-{after_name.split()[19]}"
    except (OSError, IndexError):
        return f"{pid}-"
