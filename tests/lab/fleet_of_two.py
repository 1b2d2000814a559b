"""``make lab-fleet``: two real clusters, of the lab's oldest and newest release, as a fleet under Airflow's DAG.

fleet_of_two.py            boot both, run the DAG twice, judge the nodes past the runbook, take both down
fleet_of_two.py --keep     likewise, and leave both up
fleet_of_two.py judge N    judge the lab of this environment, after the DAG's run number N

The labs are 1 and 2, beside any that is up. In its first run the DAG hardens the canary, then the other one, whose
levels of pod security it announces; in its second run it finds nothing to do on the canary, and enforces the levels on
the other one. Each plan is approved by a process that stands for a person, by its digest. What was found is written to
fleet_of_two.yaml, for docs/fleet.md (make pages). Needs what the lab needs and Airflow's environment; everything else
is below build/lab-fleet.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import yaml
from airflow_here import Airflow, make_key
from lab_releases import LabRelease, find_release
from places import HERE, INVENTORY, LAB, NUMBER_SWITCH, SWITCH
from rehearse import expect, run_dag, say

from kubeharden.records.archive import read_record, runs_in
from kubeharden.records.verify import verify_folder
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import DONE, SO_FAR
from kubeharden_fleet.page import not_ready_seconds
from kubeharden_fleet.records import read, signers_of
from support import ROOT

BUILD = ROOT / "build" / "lab-fleet"
RESULT = HERE / "fleet_of_two.yaml"
LABS = {"canary": ("1", find_release("oldest")), "second": ("2", find_release("newest"))}
COLUMNS = [
    "run of the DAG", "cluster", "Kubernetes", "runs of the notebook", "changes", "not Ready", "took", "then",
]  # fmt: skip
HOW = (
    "one node and a control plane each; the plan, the approval of its digest, the run with it and the second look are "
    "the DAG's own; what nodes and API server say was held against what was wanted, past the runbook"
)


def main() -> None:
    """Boot, run, judge and write down what was found."""
    if sys.argv[1:2] == ["judge"]:
        judge(int(sys.argv[2]))
        return
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    variables = {"KUBEHARDEN_SIGNING_KEY": str(make_key(BUILD)), "KUBEHARDEN_ALLOWED_SIGNERS": ""}
    os.environ.update(variables)
    try:
        for number, release in LABS.values():
            in_lab(number, release, HERE / "lab.py", "up", "--nodes", "2")
        rows: list[list[str]] = []
        for row in runs(write_fleet(), Airflow(BUILD / "airflow", variables)):
            rows.append(row)
            write(rows)
    finally:
        if "--keep" not in sys.argv:
            for number, release in LABS.values():
                in_lab(number, release, HERE / "lab.py", "down")


def write(rows: list[list[str]]) -> None:
    """Write down what was found so far."""
    result = {
        "script": "make lab-fleet",
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": "one virtual machine with two cores, which worked on other things as well",
        "how": HOW,
        "columns": COLUMNS,
        "rows": rows,
    }
    RESULT.write_text(yaml.safe_dump(result, sort_keys=False, width=120))


def in_lab(number: str, release: LabRelease, *words: object) -> None:
    """Run a command on one of the labs, and end with an error where it failed."""
    environment = {**os.environ, NUMBER_SWITCH: number, SWITCH: str(release.release)}
    subprocess.run([sys.executable, *map(str, words)], env=environment, check=True)


def write_fleet() -> Path:
    """Write fleet.yaml: the canary in a wave of its own."""
    path = BUILD / "two.yaml"
    clusters = [
        {
            "name": name,
            "inventory": str(LAB.with_name(f"{LAB.name}-{number}") / INVENTORY.relative_to(LAB)),
            # The lab has an ordinary Deployment that no policy of the article is for.
            "parameters": {"accept_breaking": ["shop/web"]} if release.pod_security[0] == "psp" else {},
        }
        for name, (number, release) in LABS.items()
    ]
    content = {
        "fleet": "two",
        "notebook": str(ROOT / "notebooks" / "harden.ipynb"),
        "records": "records",
        "python": sys.executable,
        "pool": "kubeharden",
        "parameters": {"dns_ip": "10.0.0.10", "change_id": "CHG-4711"},
        "clusters": clusters,
        "waves": [{"name": name, "clusters": [name]} for name in LABS],
    }
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def runs(path: Path, airflow: Airflow) -> Iterator[list[str]]:
    """Run the DAG twice, judge both clusters each time, and yield what is to be written down."""
    airflow.run("db", "migrate")
    airflow.run("pools", "set", "kubeharden", "2", "runs of kubeharden at once")
    fleet = read_fleet(path)
    for number, wanted in enumerate(
        ({"canary": DONE, "second": SO_FAR}, {"canary": DONE, "second": DONE}), 1
    ):
        since, began = datetime.now(UTC).strftime("%Y%m%dT%H%M%S"), time.monotonic()
        run_dag(airflow, path)
        say(f"run {number} of the DAG took {time.monotonic() - began:.0f} s")
        expect(path, wanted)
        for name, (lab, release) in LABS.items():
            in_lab(lab, release, __file__, "judge", number)
            yield row_of(fleet, number, name, since, wanted[name])


def row_of(fleet: Fleet, number: int, name: str, since: str, word: str) -> list[str]:
    """Return a line of the result, from the sealed records of this run of the DAG.

    Raises:
        AssertionError: a seal does not hold.
    """
    with signers_of(fleet) as signers:
        verdicts = verify_folder(fleet.runs_of(name), signers)
        assert all(verdict.good for verdict in verdicts), verdicts
        runs = [read(run, signers) for run in runs_in(fleet.runs_of(name)) if run.name >= since]
    applied = [each for each in runs if each.mode == "apply"]
    approved = {each.record["approval"]["plan"] for each in applied}
    assert approved <= {each.digest for each in runs if each.mode == "plan"}, (
        "the approved digest is that of the plan"
    )
    done = [change for each in applied for change in each.record["changes"]]
    assert {change["result"] for change in done} <= {"completed"}, done
    seconds = not_ready_seconds(runs)
    times = [datetime.fromisoformat(each.record[key]) for each in runs for key in ("started", "ended")]
    return [
        str(number),
        name,
        read_record(runs_in(fleet.runs_of(name))[-1])["api_server"],
        ", ".join(f"{each.mode}: {each.record['result']}" for each in runs),
        str(len(done)),
        "" if seconds is None else f"{seconds:.1f} s",
        f"{(max(times) - min(times)).total_seconds():.0f} s",
        word,
    ]


def judge(number: int) -> None:
    """Hold one cluster against what it must be after a run of the DAG, by what it says itself.

    Raises:
        AssertionError: it is otherwise.
    """
    from declared import DECLARED
    from places import LAB_RELEASE
    from test_releases import pod_security_holds
    from truth import look

    truth = look()
    for (node, service), config in truth.configz.items():
        if service == "kubelet":
            assert {path: config.get(path) for path in DECLARED} == DECLARED, (node, config)
    [way] = LAB_RELEASE.pod_security
    for line in pod_security_holds(way, enforced=way == "psp" or number > 1):
        say(f"Kubernetes {LAB_RELEASE.version}: {line}")


if __name__ == "__main__":
    main()
