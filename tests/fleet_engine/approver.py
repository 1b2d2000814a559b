"""The person who approves, where there is no server: asks Airflow's API in this process, and approves every plan.

Runs in Airflow's own environment, until its standard input ends.
"""

from __future__ import annotations

import logging
import select
import sys
import urllib.parse
import warnings

warnings.filterwarnings("ignore")
logging.disable(logging.INFO)

from airflow.api_fastapi.app import create_app  # noqa: E402 - after its warnings are off
from fastapi.testclient import TestClient  # noqa: E402

SECONDS = 2.0


def main() -> None:
    """Approve until there is nobody left to ask."""
    user, password = sys.argv[1:]
    with TestClient(create_app(apps="core")) as client:
        said = client.post("/auth/token", json={"username": user, "password": password}).json()
        client.headers["Authorization"] = f"Bearer {said['access_token']}"
        while not select.select([sys.stdin], [], [], SECONDS)[0]:
            said = client.get("/api/v2/dags/~/dagRuns/~/hitlDetails?state=awaiting_input").json()
            for question in said["hitl_details"]:
                if not question["response_received"]:
                    approve(client, question)


def approve(client: TestClient, question: dict) -> None:
    task = question["task_instance"]
    run = urllib.parse.quote(task["dag_run_id"])
    path = f"/api/v2/dags/{task['dag_id']}/dagRuns/{run}/taskInstances/{task['task_id']}/{task['map_index']}"
    answer = {
        "chosen_options": ["Approve"],
        "params_input": {"plan": question["params"]["plan"]["value"]},
    }
    done = client.patch(f"{path}/hitlDetails", json=answer)
    done.raise_for_status()
    sys.stderr.write(f"{question['subject']}: approved\n")


if __name__ == "__main__":
    main()
