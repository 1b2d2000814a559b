"""One run at a time: who has the cluster is said, a dead run's lock is taken over, a lost one stops its run."""

from __future__ import annotations

import itertools
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from fakes import ALWAYS, World, planned
from kubeharden.errors import ClusterError, LockedError
from kubeharden.rollout import lock as room
from kubeharden.rollout.lock import NAME, NAMESPACE, Lock, lock_kind
from rehearsals import Rehearsals

WRITES = "/(leases|configmaps)/kubeharden$"


@pytest.fixture(params=["article-1.10", "handbuilt-1.20"])
def world(request: pytest.FixtureRequest) -> World:
    return World(request.param)


def a_lock(world: World, run: str, **given: Any) -> Lock:
    ports = world.ports()
    return Lock(ports.cluster, ports.clock, run, **given)


def there(world: World) -> dict[str, Any] | None:
    """The object of the lock, as it is now."""
    cluster = world.ports().cluster
    return cluster.get(lock_kind(cluster), NAME, NAMESPACE)


def version(world: World) -> str:
    found = there(world)
    assert found is not None
    return str(found["metadata"]["resourceVersion"])


def test_it_is_a_lease_where_the_release_has_one(world: World) -> None:
    lock = a_lock(world, "a")
    lock.acquire()
    found = there(world)
    assert found is not None
    assert found["kind"] == {"article-1.10": "ConfigMap", "handbuilt-1.20": "Lease"}[world.name]
    content = found.get("spec") or found["data"]
    assert "run a" in content["holderIdentity"]
    assert int(content["leaseDurationSeconds"]) == room.DURATION_SECONDS
    lock.release()
    assert there(world) is None
    lock.release()  # once more does no harm


def test_the_second_is_told_who_since_when_and_how_to_break_it(world: World) -> None:
    first, second = a_lock(world, "first"), a_lock(world, "second")
    assert first.acquire() == ""
    assert first.acquire() == ""  # its own
    with pytest.raises(LockedError) as error:
        second.acquire()
    said = str(error.value)
    assert "run first, since 20" in said
    assert f"kubectl -n kube-system delete {lock_kind(first.cluster).lower()} kubeharden" in said
    assert not second.held
    second.release()  # what it does not have, it does not give up
    first.check()
    assert there(world) is not None
    first.release()
    assert second.acquire() == ""
    second.release()


def test_of_many_that_come_at_once_one_gets_it(world: World) -> None:
    locks = [a_lock(world, f"run-{number}") for number in range(8)]
    refused = []

    def take(lock: Lock) -> None:
        try:
            lock.acquire()
        except LockedError as error:
            refused.append(error)

    threads = [threading.Thread(target=take, args=[lock]) for lock in locks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(refused) == 7
    [held] = [lock for lock in locks if lock.held]
    held.release()


def test_it_is_renewed_while_the_run_goes_on(world: World) -> None:
    lock = a_lock(world, "long")
    lock.acquire()
    before = version(world)
    world.clock.sleep(room.RENEW_SECONDS + 1)
    assert version(world) != before
    world.clock.sleep(room.DURATION_SECONDS + 5)  # longer than it holds without being renewed
    with pytest.raises(LockedError, match="run long"):
        a_lock(world, "other").acquire()
    lock.release()
    world.clock.sleep(2 * room.RENEW_SECONDS)
    assert there(world) is None


def test_a_renewal_that_fails_is_tried_again(world: World) -> None:
    lock = a_lock(world, "long")
    lock.acquire()
    before = version(world)
    world.faults.add("PUT", WRITES, 500, times=8)
    world.clock.sleep(3 * room.RENEW_SECONDS)
    assert not any(fault.times for fault in world.faults.faults)
    assert version(world) != before
    lock.check()
    lock.release()


def test_one_that_is_not_renewed_any_more_is_taken_over_and_its_run_stops(world: World) -> None:
    silent = a_lock(world, "silent", duration=1, renew=5.0)
    silent.acquire()
    world.clock.sleep(1.2)
    other = a_lock(world, "other", renew=0.1)
    assert "run silent, not renewed since" in other.acquire()
    world.clock.sleep(5.0)
    assert silent._taken_over
    with pytest.raises(LockedError, match=r"has lost the cluster to .*run other"):
        silent.check()
    silent.release()
    assert other.held
    other.check()
    assert there(world) is not None  # it is not the silent one's to delete
    other.release()


def test_a_lock_whose_renewer_slept_is_found_lost_at_the_next_check(world: World) -> None:
    asleep = a_lock(world, "asleep", duration=1, renew=600.0)
    asleep.acquire()
    world.clock.sleep(1.2)
    other = a_lock(world, "other", renew=0.1)
    other.acquire()
    with pytest.raises(LockedError, match=r"has lost the cluster to .*run other"):
        asleep.check()
    asleep.release()
    other.check()
    other.release()


def test_a_lock_whose_renewer_slept_is_renewed_by_the_check_where_nobody_took_it(world: World) -> None:
    asleep = a_lock(world, "asleep", duration=1, renew=600.0)
    asleep.acquire()
    before = version(world)
    world.clock.sleep(1.2)
    asleep.check()
    assert version(world) != before
    asleep.release()


def test_a_lapsed_lock_that_cannot_be_renewed_stops_its_run(world: World) -> None:
    asleep = a_lock(world, "asleep", duration=60, renew=600.0)
    asleep.acquire()
    world.clock.sleep(20)
    world.faults.add("PUT", WRITES, 500, ALWAYS)
    asleep.check()  # it holds still
    world.clock.sleep(41)
    start = world.clock.monotonic()
    with pytest.raises(ClusterError, match="not renewed for 60 seconds and cannot be renewed now"):
        asleep.check()
    assert world.clock.monotonic() - start >= 60
    world.faults.faults.clear()
    asleep.check()
    asleep.release()


def test_one_that_is_late_by_our_clock_but_renewed_by_its_own_is_left_alone(world: World) -> None:
    """The holder's clock is years slow."""
    slow = a_lock(world, "slow", duration=1, renew=0.2)
    slow.acquire()
    ticks = itertools.count()

    def rewritten(there: dict) -> dict:
        at = f"2020-01-01T00:00:00.{next(ticks):06}Z"
        body = there.get("spec") or there["data"]
        return {**there, ("spec" if "spec" in there else "data"): {**body, "renewTime": at}}

    real = slow._object
    slow._object = lambda there: rewritten(real(there))  # type: ignore[method-assign]
    world.clock.sleep(1.0)
    assert "2020-01-01" in str(there(world))
    with pytest.raises(LockedError, match="run slow"):
        a_lock(world, "hasty", renew=0.3).acquire()
    slow.release()


def test_a_dead_process_of_this_machine_is_known_to_be_dead(rehearsals: Rehearsals) -> None:
    """Over a real API, from a real process that is killed."""
    script = (
        "import os, sys\n"
        "from kubeharden.edges.clock import SystemClock\n"
        "from kubeharden.edges.cluster import Cluster\n"
        "from kubeharden.rollout.lock import Lock\n"
        "lock = Lock(Cluster(sys.argv[1]), SystemClock(), sys.argv[2])\n"
        "print(lock.acquire())\n"
        "os.kill(os.getpid(), 9)\n"
    )
    kubeconfig = str(rehearsals.fresh("handbuilt-1.20").directory / "admin.kubeconfig")
    said = [
        subprocess.run(
            [sys.executable, "-u", "-c", script, kubeconfig, run],
            check=False,
            capture_output=True,
            text=True,
            timeout=60,
        ).stdout
        for run in ("killed", "next")
    ]
    assert said[0] == "\n"
    assert "run killed, not renewed since" in said[1]


def test_a_run_that_changes_nothing_takes_no_lock_and_one_that_does_gives_it_back(tmp_path: Path) -> None:
    world = World("handbuilt-1.20")
    run = planned(world, tmp_path, accept_breaking=["shop/web"])
    assert there(world) is None
    run.apply("kube-scheduler")
    held = there(world)
    assert held is not None
    assert run.record.run in held["spec"]["holderIdentity"]
    other = a_lock(world, "other")
    with pytest.raises(LockedError, match=run.record.run):
        other.acquire()
    run.look()
    run.plan()
    run.apply("kube-scheduler")  # nothing to do
    run.lock.release()
    other.acquire()
    with pytest.raises(LockedError, match="run other"):
        run.apply("kube-proxy")
    other.release()
    run.apply("kube-proxy")
    assert there(world) is not None
    run.finish()
    assert there(world) is None


def test_a_mode_that_only_looks_never_locks(world: World, tmp_path: Path) -> None:
    run = planned(world, tmp_path, mode="plan")
    run.apply("kubelet")
    assert there(world) is None
    run.close()


@pytest.mark.parametrize(
    "time",
    [
        "10000-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
        "9999-12-31T23:59:59-23:59",
        "0001-01-01T00:00:00+23:59",
        "2026-13-01T00:00:00Z",
        "2026-02-30T00:00:00Z",
        "2026-01-01T00:00:00+99:99",
        "2026-01-01",
        "2026-01-01T00:00:00",
        "2026-W01-1",
        "-1",
        "",
        "9" * 10_000,
    ],
)
def test_a_time_that_cannot_be_ends_in_a_lock_or_a_sentence(world: World, time: str) -> None:
    """Anybody who may write the object of the lock may write any time."""
    lock = a_lock(world, "a")
    lock.acquire()
    found = there(world)
    assert found is not None
    said = {"renewTime": time, "acquireTime": time, "leaseDurationSeconds": 999_999}
    if found["kind"] == "ConfigMap":
        changed = {**found, "data": {**found["data"], **{key: str(value) for key, value in said.items()}}}
    else:
        changed = {**found, "spec": {**found["spec"], **said}}
    changed["metadata"] = {**found["metadata"], "annotations": {}}
    world.ports().cluster.replace(changed)
    other = a_lock(world, "b")
    if time.startswith("9999-"):
        with pytest.raises(LockedError, match="another run has this cluster"):
            other.acquire()
    else:
        assert "run a" in other.acquire()
