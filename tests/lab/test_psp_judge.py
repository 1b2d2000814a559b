"""PodSecurityPolicies judged by a real API server 1.20.2: random pods, policies, grants and users, and the examples.

KUBEHARDEN_PSP_PODS=20000 tries that many pods instead of 2,000. A disagreement names its seed;
KUBEHARDEN_PSP_SEED=SEED tries that round alone.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from apiserver import ApiServer, missing
from places import HERE
from psp_judging import Tally, judge_creation, judge_example, judge_least, judge_updates
from psp_rounds import Round, prepare, seeds

from psp_examples import examples


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    if absent := missing():
        pytest.skip(f"needs the lab's programs (make lab builds them): {absent}")
    with ApiServer(tmp_path_factory.mktemp("judge")) as running:
        prepare(running)
        yield running


KILLED = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from apiserver import ApiServer
with ApiServer(Path(sys.argv[2])) as server:
    print(*(process.pid for process in server.processes), flush=True)
    time.sleep(600)
"""
LEAST_POLICIES = 15  # for each round of the random pods
OUTCOMES = {
    "admitted as it is",
    "admitted filled in",
    "refused",
    "invalid once filled in",
    "updated",
    "update refused",
}


def test_the_server_agrees_about_random_pods(
    server: ApiServer, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    for seed in seeds():
        there = Round(server, seed)
        with there.on_server():
            judge_creation(there, tally)
            judge_updates(there, tally)
    record_property("seeds", seeds())
    record_property("judged", dict(tally.outcomes))
    found = tally.disagreements
    assert not found, f"{len(found)} disagreements, the first of them:\n" + "\n\n".join(found[:3])
    assert set(tally.outcomes) == OUTCOMES, "some outcome was never tried"


def test_the_server_agrees_with_the_examples(server: ApiServer) -> None:
    numbered = list(enumerate(examples()))
    found = server.each(numbered, lambda pair: judge_example(server, pair[1], pair[0]))
    wrong = [f"{example.name}: {words}" for (_, example), words in zip(numbered, found, strict=True) if words]
    assert not wrong, "\n\n".join(wrong)


def test_the_server_admits_by_the_least_privileged_policy_what_it_was_made_from(server: ApiServer) -> None:
    found = server.each(range(len(seeds()) * LEAST_POLICIES), lambda seed: judge_least(server, seed))
    wrong = [words for words in found if words]
    assert not wrong, "\n\n".join(wrong[:3])


def test_nothing_is_left_when_the_test_is_killed(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", KILLED, HERE, tmp_path], stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    processes = [Path("/proc") / word for word in child.stdout.readline().split()]
    child.kill()
    child.wait()
    assert len(processes) == 3, (tmp_path / "kube-apiserver.log").read_text()
    deadline = time.monotonic() + 30
    while any(map(_runs, processes)):
        assert time.monotonic() < deadline, f"still running: {processes}"
        time.sleep(0.1)


def _runs(process: Path) -> bool:
    """Whether it is there and not a zombie, which has no command line."""
    try:
        return (process / "cmdline").read_bytes() != b""
    except OSError:
        return False
