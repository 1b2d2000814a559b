"""An Airflow of its own below one folder: SQLite, no examples, one user, and its processes."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
VENV = ROOT / "build" / "fleet-venv"
USER = "chief"
READING_SECONDS = 20
# Airflow looks into files only that have both words in them, dag and airflow.
DAG = 'from kubeharden_fleet import dag  # for Airflow\n\nfleet = dag("{file}")\n'


@dataclass
class Airflow:
    """An Airflow below ``home``; ``processes`` are those that run now, by what they are."""

    home: Path
    variables: dict[str, str] = field(default_factory=dict)
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    password: str = field(default_factory=lambda: secrets.token_urlsafe(12))
    port: int = 0
    _token: str = ""

    def __post_init__(self) -> None:
        self.port = _free_port()
        (self.home / "dags").mkdir(parents=True, exist_ok=True)
        passwords = self.home / "passwords.json"
        passwords.write_text(json.dumps({USER: self.password}))

    def environment(self) -> dict[str, str]:
        """The variables of each of its processes."""
        place = f"http://127.0.0.1:{self.port}"
        own = {
            "AIRFLOW_HOME": self.home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": self.home / "dags",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{place}/execution/",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": f"{USER}:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": self.home / "passwords.json",
            "AIRFLOW__API__BASE_URL": place,
            "AIRFLOW__API__PORT": self.port,
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": self.password * 3,
            "AIRFLOW__API_AUTH__JWT_SECRET": self.password * 4,
            # A task whose worker is dead is found in seconds, not in minutes.
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
            "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
            "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "15",
            # Likewise a new DAG.
            "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "5",
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PYTHONPATH": ROOT / "lib",
            "PATH": f"{VENV / 'bin'}{os.pathsep}{os.environ['PATH']}",
            **self.variables,
        }
        return {**os.environ, **{name: str(value) for name, value in own.items()}}

    def run(self, *words: str) -> None:
        """Run a command of Airflow to its end."""
        with self._log("commands") as log:
            subprocess.run(["airflow", *words], env=self.environment(), stdout=log, stderr=log, check=True)

    def begin(self, name: str, *words: str) -> None:
        """Start a process of Airflow, in a group of its own."""
        with self._log(name) as log:
            self.processes[name] = subprocess.Popen(
                ["airflow", *(words or (name,))],
                env=self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, name: str) -> None:
        """Kill a process and all that it has started, as when its machine dies."""
        process = self.processes.pop(name)
        tree = [process.pid, *below(process.pid)]
        for each in tree:
            with contextlib.suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        process.wait()

    def stop(self) -> None:
        """End everything."""
        for name in tuple(self.processes):
            self.kill(name)

    def add(self, fleet: Path) -> None:
        """Make the DAG of a fleet known."""
        (self.home / "dags" / f"{fleet.stem}.py").write_text(DAG.format(file=fleet))

    @contextlib.contextmanager
    def _log(self, name: str) -> Iterator[Any]:
        with (self.home / f"{name}.log").open("ab") as log:
            yield log

    # What a person does in the browser, over the API.

    def call(self, method: str, path: str, content: Any = None) -> Any:
        """Send a request and return the answer."""
        token = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}{path}",
            data=None if content is None else json.dumps(content).encode(),
            headers={"Content-Type": "application/json", **token},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)

    def log_in(self) -> None:
        """Log in, as soon as the API server answers."""

        def answers() -> bool:
            with contextlib.suppress(OSError):
                said = self.call("POST", "/auth/token", {"username": USER, "password": self.password})
                self._token = said["access_token"]
            return bool(self._token)

        wait_for(answers, 240, "the API server does not answer")

    def trigger(self, dag: str) -> str:
        """Start a run of a DAG as soon as it is known; its id."""

        def known() -> bool:
            with contextlib.suppress(urllib.error.HTTPError):
                self.call("PATCH", f"/api/v2/dags/{dag}", {"is_paused": False})
                return True
            return False

        wait_for(known, 240, f"{dag} is not known to Airflow")
        return self.call("POST", f"/api/v2/dags/{dag}/dagRuns", {"logical_date": None})["dag_run_id"]

    def state(self, dag: str, run: str) -> str:
        return self.call("GET", f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run)}")["state"]

    def tasks(self, dag: str, run: str) -> dict[tuple[str, int], dict[str, Any]]:
        """The tasks of a run, by name and number in the mapping."""
        said = self.call(
            "GET", f"/api/v2/dags/{dag}/dagRuns/{urllib.parse.quote(run)}/taskInstances?limit=1000"
        )
        return {(task["task_id"], task["map_index"]): task for task in said["task_instances"]}

    def questions(self, dag: str) -> list[dict[str, Any]]:
        """What a person is asked now."""
        said = self.call("GET", f"/api/v2/dags/{dag}/dagRuns/~/hitlDetails?state=awaiting_input")
        return [each for each in said["hitl_details"] if not each["response_received"]]

    def question(self, dag: str, seconds: float = 420) -> dict[str, Any]:
        """Wait until a person is asked something, and return it."""
        wait_for(lambda: bool(self.questions(dag)), seconds, f"nobody is asked anything by {dag}")
        return self.questions(dag)[0]

    def answer(self, question: dict[str, Any], option: str = "Approve") -> None:
        """Answer as a person does, who reads first: Airflow 3.3.2 tries a task again that is answered in a second."""
        time.sleep(READING_SECONDS)
        task = question["task_instance"]
        self.call(
            "PATCH",
            f"/api/v2/dags/{task['dag_id']}/dagRuns/{urllib.parse.quote(task['dag_run_id'])}/taskInstances/"
            f"{task['task_id']}/{task['map_index']}/hitlDetails",
            {"chosen_options": [option], "params_input": {"plan": question["params"]["plan"]["value"]}},
        )

    def end(self, dag: str, run: str, seconds: float = 420) -> str:
        """Wait for the end of a run and return its state."""
        wait_for(lambda: self.state(dag, run) in ("success", "failed"), seconds, f"{dag} does not end")
        return self.state(dag, run)


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have, and so on."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(entry.name))
    found, left = [], [pid]
    while left:
        left.extend(children.get(left.pop(), ()))
        found = [*found, *(each for each in left if each not in found)]
    return found


def wait_for(holds: Callable[[], bool], seconds: float, why: str) -> None:
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{why} within {seconds:.0f} s")
        time.sleep(0.5)


def make_key(folder: Path) -> Path:
    """A key to seal with."""
    path = folder / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", path], check=True)
    return path


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
