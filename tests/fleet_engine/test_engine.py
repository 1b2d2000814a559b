"""A fleet under Airflow itself: waves, approval by digest, a plan that changed, and what is left after SIGKILL."""

from __future__ import annotations

import json
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow_here import Airflow, below, wait_for

from fleet_support import has_begun
from kubeharden.records.archive import is_sealed, runs_in
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import DONE, NONE, TO_DO
from kubeharden_fleet.records import states
from kubeharden_fleet.windows import DAYS
from kubeharden_rehearsal import Rehearsal
from support import ROOT

Clusters = dict[str, Rehearsal]


@pytest.fixture
def clusters(tmp_path: Path) -> Iterator[Clusters]:
    """Two clusters that live on, whatever becomes of the controller."""
    with (
        Rehearsal.start("article-1.10", tmp_path / "canary") as canary,
        Rehearsal.start("article-1.10", tmp_path / "rest") as rest,
    ):
        yield {"canary": canary, "rest": rest}


def fleet_of(folder: Path, name: str, clusters: Mapping[str, Rehearsal], steps: Sequence[str]) -> Path:
    """The fleet.yaml of these clusters, each in a wave of its own."""
    path = folder / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "fleet": name,
                "notebook": str(ROOT / "notebooks" / "harden.ipynb"),
                "records": f"records-{name}",
                "python": sys.executable,
                "pool": "kubeharden",
                "parameters": {"steps": list(steps), "confirm_timeout": 30},
                "clusters": [
                    {"name": each, "inventory": str(cluster.inventory)} for each, cluster in clusters.items()
                ],
                "soak_minutes": 0.1,
                "waves": [{"name": f"wave-{each}", "clusters": [each]} for each in clusters],
            }
        )
    )
    return path


def opens_soon(path: Path) -> datetime:
    """Let a fleet be changed from a few minutes on, each day; return from when on."""
    opens = datetime.now(UTC).replace(second=0, microsecond=0) + timedelta(minutes=3)
    window = {
        "days": list(DAYS),
        "opens": opens.strftime("%H:%M"),
        "closes": (opens - timedelta(minutes=30)).strftime("%H:%M"),
    }
    path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "windows": [window]}))
    return opens


def records(fleet: Fleet, cluster: str) -> list[dict[str, Any]]:
    return [json.loads((run / "record.json").read_text()) for run in runs_in(fleet.runs_of(cluster))]


def records_of_mode(fleet: Fleet, cluster: str, mode: str) -> int:
    """How many runs in a mode there are, those that go on among them."""
    started = (run / "journal.jsonl" for run in runs_in(fleet.runs_of(cluster)))
    return sum(
        f'"mode":"{mode}"' in path.read_text().replace(": ", ":") for path in started if path.is_file()
    )


def clear(airflow: Airflow, dag: str, run: str, **some: Any) -> None:
    """Clear all tasks of a run, or some, as a person does."""
    airflow.call("POST", f"/api/v2/dags/{dag}/clearTaskInstances", {
        "dag_run_id": run, "dry_run": False, "only_failed": False, "reset_dag_runs": True, **some,
    })  # fmt: skip


def end_approving(airflow: Airflow, dag: str, run: str) -> None:
    """Approve whatever is asked until a run has ended."""

    def has_ended() -> bool:
        for question in airflow.questions(dag):
            airflow.answer(question)
        return airflow.state(dag, run) in ("success", "failed")

    wait_for(has_ended, 600, f"{dag} does not end")


def digest_in(question: dict[str, Any]) -> str:
    found = re.search(r"plan `([0-9a-f]{64})`", question["body"])
    assert found, question["body"]
    assert found[1][:12] in question["subject"]
    assert question["params"]["plan"]["value"] == found[1]
    return found[1]


def test_a_wave_waits_for_approval_and_the_next_one_for_its_records(
    airflow: Airflow, clusters: Clusters, tmp_path: Path
) -> None:
    path = fleet_of(tmp_path, "waves", clusters, ["kube-scheduler"])
    airflow.add(path)
    fleet, run = read_fleet(path), airflow.trigger("waves")
    question = airflow.question("waves")
    assert digest_in(question) == records(fleet, "canary")[0]["plan"]["digest"]
    assert "kube-scheduler on k8s-master" in question["body"]
    assert question["task_instance"]["rendered_map_index"] == "canary"
    assert [state.word for state in states(fleet).values()] == [TO_DO, NONE]
    airflow.answer(question)

    question = airflow.question(
        "waves"
    )  # of the second wave, since the records of the first say that it is done
    assert question["task_instance"]["task_id"] == "wave-rest.approve"
    assert [state.word for state in states(fleet).values()] == [DONE, TO_DO]
    planned, applied, checked = records(fleet, "canary")
    assert [each["result"] for each in (planned, applied, checked)] == ["planned", "done", "planned"]
    assert applied["approval"]["plan"] == planned["plan"]["digest"] == applied["plan"]["digest"]
    assert re.match(r"chief, \d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ, in Airflow", applied["approval"]["approver"])

    airflow.answer(question, "Reject")
    assert airflow.end("waves", run) == "failed"
    assert [each["mode"] for each in records(fleet, "rest")] == ["plan"]  # nothing was carried out
    assert states(fleet)["rest"].word == TO_DO


def test_a_plan_that_changed_since_it_was_approved_is_asked_for_again(
    airflow: Airflow, clusters: Clusters, tmp_path: Path
) -> None:
    canary = clusters["canary"]
    path = fleet_of(tmp_path, "changed", {"canary": canary}, ["kube-proxy"])
    airflow.add(path)
    fleet, run = read_fleet(path), airflow.trigger("changed")
    first = airflow.question("changed")
    # The file that was to be written is taken now, so that another one is planned.
    taken = canary.directory / "nodes/k8s-node1/etc/kubernetes/kube-proxy.conf"
    taken.write_text("# by somebody else\n")
    opens = opens_soon(path)
    airflow.answer(first)
    wait_for(
        lambda: airflow.tasks("changed", run)["wave-canary.apply", 0]["state"] == "up_for_reschedule",
        170,
        "apply does not wait for its window",
    )
    assert len(records(fleet, "canary")) == 1
    second = airflow.question("changed")
    assert second["task_instance"]["task_id"] == "wave-canary.apply"
    assert digest_in(second) != digest_in(first)
    assert digest_in(first)[:12] in second["body"]
    assert taken.read_text() == "# by somebody else\n"
    refused = records(fleet, "canary")[-1]
    assert (refused["result"], refused["changes"]) == ("failed", [])
    assert datetime.fromisoformat(refused["started"]) >= opens
    airflow.answer(second)
    assert airflow.end("changed", run) == "success"
    applied = records(fleet, "canary")[-2]
    assert applied["approval"]["plan"] == digest_in(second)
    assert applied["parameters"]["window"].startswith(opens.strftime("%Y-%m-%dT%H:%M:00Z/"))
    assert states(fleet)["canary"].word == DONE


def test_a_run_that_is_cleared_in_the_middle_goes_on_from_what_the_cluster_is(
    airflow: Airflow, clusters: Clusters, tmp_path: Path
) -> None:
    canary = clusters["canary"]
    path = fleet_of(tmp_path, "cleared", {"canary": canary}, ["kubelet", "kube-proxy"])
    airflow.add(path)
    fleet, run = read_fleet(path), airflow.trigger("cleared")
    airflow.answer(airflow.question("cleared"))
    wait_for(lambda: has_begun(fleet.runs_of("canary")), 420, "nothing was carried out")
    clear(airflow, "cleared", run)
    wait_for(
        lambda: records_of_mode(fleet, "canary", "plan") > 1, 420, "the cluster is not looked at once more"
    )
    # Where something is left, Airflow shows the question of before once more, and an answer to that is refused.
    end_approving(airflow, "cleared", run)
    assert not [each for each in records(fleet, "canary")[2:] if each["mode"] == "apply"]
    run = airflow.trigger("cleared")
    end_approving(airflow, "cleared", run)
    found = records(fleet, "canary")
    done = [c["subject"] for each in found for c in each["changes"] if c["result"] == "completed"]
    assert sorted(done) == sorted(f"{s} on {n}" for s in ("kubelet", "kube-proxy") for n in canary.nodes)
    assert all(is_sealed(each) for each in runs_in(fleet.runs_of("canary")))
    assert states(fleet)["canary"].word == DONE

    # Cleared from apply on, it does not carry out once more what it has done.
    clear(airflow, "cleared", run, task_ids=["wave-canary.apply"], include_downstream=True)
    assert airflow.end("cleared", run) == "success"
    assert {each["mode"] for each in records(fleet, "canary")[len(found) :]} <= {"plan"}


def test_a_cluster_that_leaves_the_file_between_plan_and_apply_is_not_changed(
    airflow: Airflow, clusters: Clusters, tmp_path: Path
) -> None:
    path = fleet_of(tmp_path, "left", clusters, ["kube-scheduler"])
    content = yaml.safe_load(path.read_text())
    both = {**content, "waves": [{"name": "all", "clusters": list(clusters)}]}
    path.write_text(yaml.safe_dump(both))
    airflow.add(path)
    fleet, run = read_fleet(path), airflow.trigger("left")
    wait_for(lambda: len(airflow.questions("left")) == 2, 420, "nobody is asked about both")
    questions = airflow.questions("left")
    path.write_text(
        yaml.safe_dump(
            {
                **both,
                "clusters": content["clusters"][1:],
                "waves": [{"name": "all", "clusters": ["rest"]}],
            }
        )
    )
    time.sleep(40)  # Airflow reads its DAGs again
    for question in questions:
        airflow.answer(question)
    assert airflow.end("left", run) == "failed"
    assert [each["mode"] for each in records(fleet, "canary")] == ["plan"]
    assert {each["result"] for each in records(fleet, "rest")} <= {"planned"}
    # A new run of the DAG knows the one that is left.
    run = airflow.trigger("left")
    end_approving(airflow, "left", run)
    assert airflow.state("left", run) == "success"
    assert [each["mode"] for each in records(fleet, "canary")] == ["plan"]
    assert states(fleet)["rest"].word == DONE


def test_after_sigkill_nothing_is_done_twice_and_nothing_is_left(
    airflow: Airflow, clusters: Clusters, tmp_path: Path
) -> None:
    canary = clusters["canary"]
    path = fleet_of(tmp_path, "killed", {"canary": canary}, ["kubelet", "kube-proxy"])
    airflow.add(path)
    fleet, run = read_fleet(path), airflow.trigger("killed")
    approved = digest_in(question := airflow.question("killed"))
    airflow.answer(question)

    wait_for(lambda: has_begun(fleet.runs_of("canary")), 420, "nothing was carried out")
    killed = runs_in(fleet.runs_of("canary"))[-1]
    scheduler = airflow.processes["scheduler"].pid
    assert any("papermill" in Path(f"/proc/{pid}/cmdline").read_text() for pid in below(scheduler))
    airflow.kill("scheduler")  # with its workers, papermill and the kernel
    assert not is_sealed(killed)
    airflow.begin("scheduler")

    # The worker is missed, the task is tried again, and what is left is another plan than the one that was approved.
    question = airflow.question("killed", 600)
    assert question["task_instance"]["try_number"] > 1
    assert digest_in(question) != approved
    airflow.answer(question)
    assert airflow.end("killed", run, 600) == "success"

    found = records(fleet, "canary")
    done = [c["subject"] for each in found for c in each["changes"] if c["result"] == "completed"]
    wanted = [f"{service} on {node}" for service in ("kubelet", "kube-proxy") for node in canary.nodes]
    assert sorted(done) == sorted(wanted)  # each of them once
    assert {each["result"] for each in found} >= {"cut off", "done"}
    assert all(is_sealed(each) for each in runs_in(fleet.runs_of("canary")))
    assert states(fleet)["canary"].word == DONE
    assert list((fleet.runs_of("canary") / "notebooks").iterdir()) == []
    for node in canary.nodes:  # no transaction is open
        folders = (canary.directory / "nodes" / node / "var/lib/kubeharden").glob("*/state")
        assert {folder.read_text().split()[-1] for folder in folders} <= {"confirmed", "reverted"}

    # Cleared from the start, the run finds nothing to do, asks nobody and changes nothing.
    clear(airflow, "killed", run)
    assert airflow.end("killed", run) == "success"
    again = records(fleet, "canary")[len(found) :]
    assert [(each["mode"], each["not_done"], each["changes"]) for each in again] == [("plan", [], [])]
