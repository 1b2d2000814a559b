"""One run at a time: who has the cluster is said, a dead run's lock is taken over, a lost one stops its run."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster
from kubeharden.errors import ClusterError, LockedError
from kubeharden.rollout import lock as room
from kubeharden.rollout.lock import NAME, NAMESPACE, Lock, lock_kind
from kubeharden_rehearsal import Rehearsal


@pytest.fixture(scope="module", params=["article-1.10", "handbuilt-1.20"])
def rehearsal(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rehearsal]:
    with Rehearsal.start(request.param, tmp_path_factory.mktemp(request.param)) as running:
        yield running


@pytest.fixture
def cluster(rehearsal: Rehearsal) -> Iterator[Cluster]:
    made = Cluster(str(rehearsal.directory / "admin.kubeconfig"))
    yield made
    left = made.get(lock_kind(made), NAME, NAMESPACE)
    if left is not None:
        made.delete(left)
    made.close()


def eventually(check: Callable[[], object], seconds: float = 10.0) -> object:
    end = time.monotonic() + seconds
    while not (found := check()) and time.monotonic() < end:
        time.sleep(0.02)
    return found


def test_it_is_a_lease_where_the_release_has_one(rehearsal: Rehearsal, cluster: Cluster) -> None:
    lock = Lock(cluster, SystemClock(), "a")
    lock.acquire()
    kind = {"article-1.10": "ConfigMap", "handbuilt-1.20": "Lease"}[rehearsal.name]
    found = cluster.get(kind, NAME, NAMESPACE)
    assert found is not None
    content = found.get("spec") or found["data"]
    assert "run a" in content["holderIdentity"]
    assert int(content["leaseDurationSeconds"]) == room.DURATION_SECONDS
    lock.release()
    assert cluster.get(kind, NAME, NAMESPACE) is None
    lock.release()  # once more does no harm


def test_the_second_is_told_who_since_when_and_how_to_break_it(cluster: Cluster) -> None:
    first, second = Lock(cluster, SystemClock(), "first"), Lock(cluster, SystemClock(), "second")
    assert first.acquire() == ""
    assert first.acquire() == ""  # its own
    with pytest.raises(LockedError) as error:
        second.acquire()
    said = str(error.value)
    assert "run first, since 20" in said
    assert f"kubectl -n kube-system delete {lock_kind(cluster).lower()} kubeharden" in said
    assert not second.held
    second.release()  # what it does not have, it does not give up
    first.check()
    assert cluster.get(lock_kind(cluster), NAME, NAMESPACE) is not None
    first.release()
    assert second.acquire() == ""
    second.release()


def test_of_many_that_come_at_once_one_gets_it(cluster: Cluster) -> None:
    locks = [Lock(cluster, SystemClock(), f"run-{number}") for number in range(8)]
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


def test_it_is_renewed_while_the_run_goes_on(cluster: Cluster) -> None:
    lock = Lock(cluster, SystemClock(), "long", duration=1, renew=0.1)
    lock.acquire()
    versions = set()

    def renewed() -> bool:
        found = cluster.get(lock_kind(cluster), NAME, NAMESPACE)
        assert found is not None
        versions.add(found["metadata"]["resourceVersion"])
        return len(versions) > 3

    assert eventually(renewed)
    time.sleep(1.1)  # longer than it holds without being renewed
    with pytest.raises(LockedError, match="run long"):
        Lock(cluster, SystemClock(), "other", renew=0.1).acquire()
    lock.release()


def test_one_that_is_not_renewed_any_more_is_taken_over_and_its_run_stops(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    silent = Lock(cluster, SystemClock(), "silent", duration=1, renew=3.0)
    silent.acquire()
    time.sleep(1.2)
    other = Lock(cluster, SystemClock(), "other", renew=0.1)
    assert "run silent, not renewed since" in other.acquire()
    assert eventually(lambda: silent._taken_over)
    with pytest.raises(LockedError, match=r"has lost the cluster to .*run other"):
        silent.check()
    silent.release()
    assert other.held
    other.check()
    assert (
        cluster.get(lock_kind(cluster), NAME, NAMESPACE) is not None
    )  # it is not the silent one's to delete
    other.release()


def test_a_lock_whose_renewer_slept_is_found_lost_at_the_next_check(cluster: Cluster) -> None:
    asleep = Lock(cluster, SystemClock(), "asleep", duration=1, renew=600.0)
    asleep.acquire()
    time.sleep(1.2)
    other = Lock(cluster, SystemClock(), "other", renew=0.1)
    other.acquire()
    with pytest.raises(LockedError, match=r"has lost the cluster to .*run other"):
        asleep.check()
    asleep.release()
    other.check()
    other.release()


def test_a_lock_whose_renewer_slept_is_renewed_by_the_check_where_nobody_took_it(cluster: Cluster) -> None:
    asleep = Lock(cluster, SystemClock(), "asleep", duration=1, renew=600.0)
    asleep.acquire()
    before = cluster.get(lock_kind(cluster), NAME, NAMESPACE)
    time.sleep(1.2)
    asleep.check()
    after = cluster.get(lock_kind(cluster), NAME, NAMESPACE)
    assert before is not None
    assert after is not None
    assert after["metadata"]["resourceVersion"] != before["metadata"]["resourceVersion"]
    asleep.release()


def test_a_lapsed_lock_that_cannot_be_renewed_stops_its_run(
    cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    asleep = Lock(cluster, SystemClock(), "asleep", duration=1, renew=600.0)
    asleep.acquire()

    def unreachable(body: object) -> dict:
        raise ClusterError("no answer")

    with monkeypatch.context() as patch:
        patch.setattr(cluster, "replace", unreachable)
        asleep.check()  # it holds still
        time.sleep(1.2)
        with pytest.raises(ClusterError, match="not renewed for 1 seconds and cannot be renewed now"):
            asleep.check()
    asleep.check()
    asleep.release()


def test_one_that_is_late_by_our_clock_but_renewed_by_its_own_is_left_alone(cluster: Cluster) -> None:
    """The holder's clock is an hour slow."""
    slow = Lock(cluster, SystemClock(), "slow", duration=1, renew=0.2)
    slow.acquire()
    kind = lock_kind(cluster)

    ticks = itertools.count()

    def rewritten(there: dict) -> dict:
        at = f"2020-01-01T00:00:00.{next(ticks):06}Z"
        body = there.get("spec") or there["data"]
        return {
            **there,
            ("spec" if "spec" in there else "data"): {**body, "renewTime": at},
        }

    found = cluster.get(kind, NAME, NAMESPACE)
    assert found is not None
    real = slow._object
    slow._object = lambda there: rewritten(real(there))  # type: ignore[method-assign]
    assert eventually(lambda: "2020-01-01" in str(cluster.get(kind, NAME, NAMESPACE)))
    with pytest.raises(LockedError, match="run slow"):
        Lock(cluster, SystemClock(), "hasty", renew=0.3).acquire()
    slow.release()


def test_a_dead_process_of_this_machine_is_known_to_be_dead(rehearsal: Rehearsal, cluster: Cluster) -> None:
    script = (
        "import os, sys\n"
        "from kubeharden.edges.clock import SystemClock\n"
        "from kubeharden.edges.cluster import Cluster\n"
        "from kubeharden.rollout.lock import Lock\n"
        "Lock(Cluster(sys.argv[1]), SystemClock(), 'killed').acquire()\n"
        "os.kill(os.getpid(), 9)\n"
    )
    kubeconfig = str(rehearsal.directory / "admin.kubeconfig")
    subprocess.run([sys.executable, "-c", script, kubeconfig], check=False, timeout=60)
    lock = Lock(cluster, SystemClock(), "next")
    start = time.monotonic()
    assert "run killed" in lock.acquire()
    assert time.monotonic() - start < 5  # it is not waited for
    lock.release()


def test_a_run_that_changes_nothing_takes_no_lock_and_one_that_does_gives_it_back(tmp_path: Path) -> None:
    namespace = {
        "In": [""],
        "rehearsal": "handbuilt-1.20",
        "accept_breaking": ["shop/web"],
        "rehearsal_dir": str(tmp_path / "rehearsal"),
        "output_dir": str(tmp_path / "records"),
    }
    run = runbook.start(namespace)
    run.look()
    run.plan()
    assert run.cluster.get("Lease", NAME, NAMESPACE) is None
    run.apply("kube-scheduler")
    held = run.cluster.get("Lease", NAME, NAMESPACE)
    assert held is not None
    assert run.record.run in held["spec"]["holderIdentity"]
    other = Lock(run.cluster, SystemClock(), "other")
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
    assert run.cluster.get("Lease", NAME, NAMESPACE) is not None
    run.finish()
    objects = json.loads((tmp_path / "rehearsal/cluster.json").read_text())["items"]
    assert ("Lease", NAME) not in [(item["kind"], item["metadata"]["name"]) for item in objects]


def test_a_mode_that_only_looks_never_locks(tmp_path: Path) -> None:
    run = runbook.start(
        {
            "In": [""],
            "mode": "plan",
            "rehearsal_dir": str(tmp_path / "rehearsal"),
            "output_dir": str(tmp_path / "records"),
        }
    )
    run.look()
    run.plan()
    run.apply("kubelet")
    assert run.cluster.get("ConfigMap", NAME, NAMESPACE) is None
    run.close()
