"""``make fleet``: Airflow runs the runbook on three rehearsal clusters in two waves, and again where the first fails.

Needs no server: ``airflow dags test`` runs the DAG in one process, on SQLite. Each plan is approved by a process that
stands for a person. Everything is below build/fleet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from airflow_here import ROOT, USER, VENV, Airflow, make_key

from kubeharden_fleet.fleet import read_fleet
from kubeharden_fleet.records import states
from kubeharden_rehearsal import Rehearsal

HERE = ROOT / "build" / "fleet"
WAVES = {"canary": ["canary"], "rest": ["one", "two"]}
SCENARIOS = {"canary": "article-1.10", "one": "article-1.10", "two": "handbuilt-1.20"}
STEPS = ["kubelet", "kube-scheduler"]


def main() -> None:
    """Run both fleets, and say what became of them."""
    shutil.rmtree(HERE, ignore_errors=True)
    HERE.mkdir(parents=True)
    variables = {"KUBEHARDEN_SIGNING_KEY": str(make_key(HERE)), "KUBEHARDEN_ALLOWED_SIGNERS": ""}
    os.environ.update(variables)
    airflow = Airflow(HERE / "airflow", variables)
    say("Airflow's database is made")
    airflow.run("db", "migrate")
    airflow.run("pools", "set", "kubeharden", "2", "runs of kubeharden at once")
    good = fleet("rehearsal")
    run_dag(airflow, good)
    expect(good, {"canary": "done", "one": "done", "two": "done"})
    bad = fleet("rehearsal-fails")
    break_node(bad.parent)
    run_dag(airflow, bad)
    expect(bad, {"canary": "failed", "one": "no run", "two": "no run"})
    say("the first wave failed, and the second one did not begin: as it should be")


def fleet(name: str) -> Path:
    """Write the fleet.yaml of three rehearsal clusters in a folder of its own."""
    folder = HERE / name
    folder.mkdir()
    path = folder / f"{name}.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "fleet": name,
                "notebook": str(ROOT / "notebooks" / "harden.ipynb"),
                "records": "records",
                "python": sys.executable,
                "pool": "kubeharden",
                "parameters": {"steps": STEPS, "change_id": "CHG-4711"},
                "clusters": [
                    {
                        "name": cluster,
                        "inventory": f"rehearsal:{scenario}",
                        "parameters": {"rehearsal_dir": cluster},
                    }
                    for cluster, scenario in SCENARIOS.items()
                ],
                "waves": [{"name": wave, "clusters": clusters} for wave, clusters in WAVES.items()],
            },
            sort_keys=False,
        )
    )
    return path


def break_node(folder: Path) -> None:
    """Put a file where the canary's node would keep its transactions: nothing can be changed there."""
    with Rehearsal.start(SCENARIOS["canary"], folder / "canary") as canary:
        place = canary.directory / "nodes" / canary.nodes[-1] / "var/lib/kubeharden"
    shutil.rmtree(place, ignore_errors=True)
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text("somebody's notes\n")


def run_dag(airflow: Airflow, path: Path) -> None:
    """Run the DAG of a fleet, while somebody approves, and write its page."""
    say(f"{path.stem}: airflow dags test begins; its log is {airflow.home / path.stem}.log")
    airflow.add(path)
    approver = subprocess.Popen(
        [VENV / "bin" / "python", Path(__file__).with_name("approver.py"), USER, airflow.password],
        env=airflow.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    try:
        with (airflow.home / f"{path.stem}.log").open("wb") as log:
            subprocess.run(
                ["airflow", "dags", "test", path.stem],
                env=airflow.environment(),
                stdout=log,
                stderr=log,
                check=False,
            )
    finally:
        approver.communicate()
    fleet_command(airflow, "page", path)


def expect(path: Path, wanted: dict[str, str]) -> None:
    """End with an error where the records say anything else."""
    for cluster, state in states(read_fleet(path)).items():
        say(f"{path.stem}: {cluster}: {state.word}{state.why and f' ({state.why})'}")
        if state.word != wanted[cluster]:
            sys.exit(f"{cluster} is not {wanted[cluster]}: see {path.parent / 'records' / 'fleet.html'}")


def fleet_command(airflow: Airflow, *words: object) -> None:
    subprocess.run(
        [sys.executable, "-m", "kubeharden_fleet", *map(str, words)], env=airflow.environment(), check=True
    )


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
