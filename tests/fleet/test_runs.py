"""A run of the notebook in a process of its own is sealed, ends as its record says, and may outlive who began it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from fleet_support import has_begun
from kubeharden.records.archive import is_sealed, runs_in
from kubeharden.records.folder import is_open
from kubeharden_fleet import __main__ as command
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import APPLIED, CHANGED, DONE, TO_DO, State, state_of
from kubeharden_fleet.records import read, signers_of, states
from kubeharden_fleet.runs import NOTEBOOKS, Ended, Runner
from kubeharden_rehearsal import Rehearsal
from record_support import make_key
from support import ROOT, environment, wait_until

BEGIN = """
import sys
from pathlib import Path
from kubeharden_fleet.fleet import read_fleet
from kubeharden_fleet.runs import Runner
Runner(read_fleet(Path(sys.argv[1])), "a", print).run(sys.argv[2])
"""


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(make_key(tmp_path)))
    monkeypatch.delenv("KUBEHARDEN_ALLOWED_SIGNERS", raising=False)
    monkeypatch.setenv("PYTHONPATH", environment()["PYTHONPATH"])


@pytest.fixture
def path(tmp_path: Path, article: Rehearsal) -> Path:
    found = tmp_path / "fleet.yaml"
    content = {
        "fleet": "europe",
        "notebook": str(ROOT / "notebooks" / "harden.ipynb"),
        "records": "records",
        # A plan after a run that was killed waits so long until a node has put back what was open there.
        "parameters": {"steps": ["kube-proxy", "kube-scheduler"], "confirm_timeout": 30},
        "clusters": [{"name": "a", "inventory": str(article.inventory)}],
        "waves": [{"name": "all", "clusters": ["a"]}],
    }
    found.write_text(yaml.safe_dump(content))
    return found


def state(fleet: Fleet, ended: Ended) -> State:
    assert ended.folder is not None, ended.words
    with signers_of(fleet) as signers:
        return state_of(read(ended.folder, signers))


def left_in(fleet: Fleet) -> list[str]:
    return sorted(p.name for p in (fleet.runs_of("a") / NOTEBOOKS).iterdir())


def test_plan_apply_with_the_approved_digest_and_nothing_left_to_do(path: Path) -> None:
    fleet = read_fleet(path)
    runner = Runner(fleet, "a", print)
    planned = state(fleet, runner.run("plan"))
    assert planned.word == TO_DO
    other = state(fleet, runner.run("apply", approved_plan="0" * 64, approved_by="chief, today"))
    assert (other.word, other.run.digest, other.run.record["changes"]) == (CHANGED, planned.run.digest, [])
    applied = state(fleet, runner.run("apply", approved_plan=planned.run.digest, approved_by="chief, today"))
    assert (applied.word, applied.run.record["approval"]["approver"]) == (APPLIED, "chief, today")
    assert state(fleet, runner.run("plan")).word == DONE
    assert states(fleet)["a"].word == DONE
    assert command.main(["judge", str(path), "all"]) == 0
    assert left_in(fleet) == []  # the records have the notebooks


def test_a_run_that_came_to_no_record_says_why_and_keeps_its_notebook(path: Path) -> None:
    path.write_text(path.read_text().replace("kube-scheduler", "kube-schedular"))
    fleet = read_fleet(path)
    ended = Runner(fleet, "a", print).run("plan")
    assert (ended.code, ended.folder) == (1, None)
    assert "names the step 'kube-schedular'" in ended.words
    assert [name.rpartition("-")[2] for name in left_in(fleet)] == ["plan.ipynb", "plan.log"]


def begin(path: Path, mode: str) -> tuple[subprocess.Popen[bytes], Path]:
    """Begin a run as an engine's worker does, and wait until something was done."""
    worker = subprocess.Popen([sys.executable, "-c", BEGIN, path, mode], stdout=subprocess.DEVNULL)
    runs = path.parent / "records" / "a"
    wait_until(lambda: has_begun(runs), 120)
    return worker, runs_in(runs)[-1]


def goes_on_and_is_waited_for(path: Path) -> None:
    worker, run = begin(path, "apply")
    worker.kill()
    worker.wait()
    assert is_open(run)
    fleet, said = read_fleet(path), []
    again = state(fleet, Runner(fleet, "a", said.append).run("apply"))
    assert "waiting for its end" in said[0]
    assert is_sealed(run)
    with signers_of(fleet) as signers:
        assert read(run, signers).record["result"] == "done"
    assert again.run.record["result"] == "nothing to do"


def was_killed_too_and_is_sealed_and_what_is_left_is_done_once(path: Path) -> None:
    worker, run = begin(path, "apply")
    [papermill] = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    worker.kill()
    os.kill(int(papermill), signal.SIGKILL)
    worker.wait()
    wait_until(lambda: not is_open(run))  # its kernel ends by itself
    fleet, said = read_fleet(path), []
    runner = Runner(fleet, "a", said.append)
    first = runner.run("plan")
    assert is_sealed(run), said
    assert f"{run.name} was cut off" in said[0]
    assert state(fleet, first).word == TO_DO
    wait_until(
        lambda: state(fleet, runner.run("apply")).word == APPLIED, 180
    )  # the node puts back what it had open
    assert state(fleet, runner.run("plan")).word == DONE
    records = [json.loads((each / "record.json").read_text()) for each in runs_in(run.parent)]
    done = [c["subject"] for r in records for c in r["changes"] if c["result"] == "completed"]
    assert len(done) == len(set(done))
    assert set(done) == {
        "kube-proxy on k8s-node1",
        "kube-proxy on k8s-master",
        "kube-scheduler on k8s-master",
    }
    assert left_in(fleet) == []


@pytest.mark.sample(1)
@pytest.mark.parametrize(
    "check", [goes_on_and_is_waited_for, was_killed_too_and_is_sealed_and_what_is_left_is_done_once]
)
def test_a_run_whose_worker_was_killed(check: Callable[[Path], None], path: Path) -> None:
    check(path)


def test_an_interrupted_run_ends_what_it_has_in_hand(path: Path) -> None:
    fleet = read_fleet(path)
    runner = Runner(fleet, "a", print)
    found: list[Ended] = []
    thread = threading.Thread(target=lambda: found.append(runner.run("apply")))
    thread.start()
    runs = fleet.runs_of("a")
    wait_until(lambda: has_begun(runs), 120)
    runner.interrupt()
    thread.join(60)
    assert not thread.is_alive()
    assert found[0].code != 0
    assert is_sealed(found[0].folder)
    assert not any(c["result"].startswith("unknown") for c in state(fleet, found[0]).run.record["changes"])
