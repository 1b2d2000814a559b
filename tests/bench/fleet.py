"""What a fleet costs the controller: many rehearsal clusters in mode plan, beside papermill with an empty notebook.

    python tests/bench/fleet.py [--clusters 20] [--at-once 2]

Each run is what the DAG's task does: papermill with the engine that seals, in a process of its own. Printed for half of
the clusters and for all of them, so that growth is seen: wall time, CPU seconds a cluster (of papermill, its kernel and
what they start) and the memory of the largest process. The rehearsal cluster itself is a process beside
the kernel, and counts; what it costs alone is printed, too. What Airflow costs is not in it.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import nbformat
import yaml
from nbformat import v4

from kubeharden_fleet.fleet import read_fleet
from kubeharden_fleet.runs import Runner
from kubeharden_rehearsal import Rehearsal

ROOT = Path(__file__).parents[2]
SCENARIO = "article-1.10"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=2)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as text:
        folder = Path(text)
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        os.environ["KUBEHARDEN_SIGNING_KEY"] = str(key)
        empty = folder / "empty.ipynb"
        nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1")], metadata={"kernelspec": KERNEL}), empty)
        for count in sorted({max(1, given.clusters // 2), given.clusters}):
            report("an empty notebook", count, given.at_once, lambda number: floor(empty, folder, number))
            report("the rehearsal alone", count, given.at_once, lambda number: alone(folder, number))
            fleet = read_fleet(write_fleet(folder, count))
            report("harden.ipynb, mode plan", count, given.at_once, lambda n, f=fleet: plan(f, f"c{n}"))


def report(name: str, count: int, at_once: int, work: Callable[[int], None]) -> None:
    """Do some work for each cluster, and print what it took."""
    before, began = spent(), time.monotonic()
    with ThreadPoolExecutor(at_once) as pool:
        list(pool.map(work, range(count)))
    wall, cpu = time.monotonic() - began, spent() - before
    memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    sys.stdout.write(
        f"{name:24} {count:4} clusters, {at_once} at once: {wall:7.1f} s, {wall / count:5.2f} s a cluster; "
        f"CPU {cpu / count:5.2f} s a cluster; largest process so far {memory:4.0f} MiB\n"
    )
    sys.stdout.flush()


def spent() -> float:
    """CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def floor(empty: Path, folder: Path, number: int) -> None:
    """Run papermill on an empty notebook."""
    output = folder / f"empty-{number}.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", empty, output, "--no-progress-bar"],
        check=True,
        capture_output=True,
    )


def alone(folder: Path, number: int) -> None:
    """Start a rehearsal cluster and stop it."""
    with Rehearsal.start(SCENARIO, folder / f"alone-{number}-{time.monotonic_ns()}"):
        pass


def plan(fleet: object, cluster: str) -> None:
    """Run the notebook in mode plan, and end with an error where it failed."""
    ended = Runner(fleet, cluster, lambda _: None).run("plan")
    if ended.code or ended.folder is None:
        sys.exit(ended.words)
    if json.loads((ended.folder / "record.json").read_text())["result"] != "planned":
        sys.exit(f"{ended.folder} is not as it should be")


def write_fleet(folder: Path, count: int) -> Path:
    """Write the fleet.yaml of this many rehearsal clusters, which are new."""
    place = folder / f"fleet-{count}"
    place.mkdir()
    names = [f"c{number}" for number in range(count)]
    path = place / "fleet.yaml"
    path.write_text(
        yaml.safe_dump(
            {
                "fleet": "bench",
                "notebook": str(ROOT / "notebooks" / "harden.ipynb"),
                "records": "records",
                "clusters": [
                    {
                        "name": name,
                        "inventory": f"rehearsal:{SCENARIO}",
                        "parameters": {"rehearsal_dir": name},
                    }
                    for name in names
                ],
                "waves": [{"name": "all", "clusters": names}],
            }
        )
    )
    return path


if __name__ == "__main__":
    main()
