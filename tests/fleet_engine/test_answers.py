"""What counts as an approval, by the operator itself, in Airflow's environment and without its processes."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from airflow_here import ROOT, VENV

PLAN, OTHER = "a" * 64, "b" * 64
ANSWER = """
import json, sys
from datetime import datetime, timezone
from kubeharden_fleet.airflow_dag import Apply, Approve

task = Approve(task_id="approve", file="fleet.yaml", cluster="eu-1")
other = Apply(task_id="apply", file="fleet.yaml", cluster="eu-2", approval={})
event = {"responded_at": datetime(2026, 11, 29, 14, 20, 1, tzinfo=timezone.utc), **json.loads(sys.argv[2])}
try:
    about = event.pop("about", "eu-1")
    said = task.execute_complete({"run_id": "manual"}, event, sys.argv[1], about)
    if event.pop("of_another", False):
        other.approval = said
        other.execute({})
    print(json.dumps(said))
except Exception as error:
    print(json.dumps([type(error).__name__, str(error)]))
"""
# What Airflow's tasks make of what the records say of a cluster; ``fleet.yaml`` and the run are not theirs here.
PLANNED = """
import json, sys
from kubeharden_fleet.airflow_dag import Check, Plan
from kubeharden_fleet.judge import State

said = []
for kind in (Plan, Check):
    task = kind(task_id="a", file="fleet.yaml", cluster="eu-1")
    task._fleet = lambda: None
    task._run = lambda *given: State(sys.argv[1], "why")
    try:
        said.append(task.execute({}))
    except Exception as error:
        said.append([type(error).__name__, str(error)])
print(json.dumps(said))
"""
CHIEF = {"id": "7", "name": "chief"}


def answered(home: Path, **event: object) -> object:
    given = {
        "chosen_options": ["Approve"],
        "params_input": {"plan": PLAN},
        "responded_by_user": CHIEF,
        **event,
    }
    return airflow(home, ANSWER, PLAN, json.dumps(given))


def airflow(home: Path, script: str, *words: str) -> object:
    """What a script prints in Airflow's environment."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home), "PYTHONPATH": str(ROOT / "lib")}
    done = subprocess.run(
        [VENV / "bin" / "python", "-c", script, *words],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def test_an_approval_says_which_plan_and_who_and_when(tmp_path: Path) -> None:
    assert answered(tmp_path) == {
        "cluster": "eu-1",
        "approved_plan": PLAN,
        "approved_by": "chief, 2026-11-29T14:20:01Z, in Airflow (manual)",
    }


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (
            {"params_input": {"plan": OTHER}},
            f"approved the plan {OTHER}, and this is about {PLAN}: Airflow keeps the question",
        ),
        ({"params_input": {}}, r"approved the plan \(none was named\), and this is about"),
        # A cluster has left fleet.yaml since, so that its tasks in a wave are those of the one after it.
        (
            {"about": "eu-0"},
            "eu-1: what was asked and approved here is about eu-0: the clusters of fleet.yaml",
        ),
        (
            {"of_another": True},
            "eu-2: what was asked and approved here is about eu-1: the clusters of fleet.yaml",
        ),
        ({"chosen_options": ["Reject"]}, f"the plan {PLAN} was rejected by chief"),
    ],
)
def test_anything_else_ends_the_task_for_good(tmp_path: Path, event: dict, words: str) -> None:
    kind, said = answered(tmp_path, **event)
    assert kind == "AirflowFailException"  # which Airflow does not try again
    assert re.search(words, said)


@pytest.mark.parametrize(
    ("word", "kind"),
    # A change that another run has open is over by itself: Airflow tries the task again, and not for good.
    [
        ("not now", "AirflowException"),
        ("refused", "AirflowFailException"),
        ("failed", "AirflowFailException"),
    ],
)
def test_a_cluster_that_cannot_be_planned_now_is_tried_again(tmp_path: Path, word: str, kind: str) -> None:
    for found, said in airflow(tmp_path, PLANNED, word):
        assert found == kind
        assert said.startswith("eu-1: ")
        assert "why" in said
