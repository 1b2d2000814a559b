"""What a fleet costs the controller: many rehearsal clusters in mode plan, beside papermill with an empty notebook.

    python tests/bench/fleet.py [--clusters 20] [--at-once 2] [--write]

Each run is what the DAG's task does: papermill with the engine that seals, in a process of its own. Printed when an
eighth, a quarter, half and all of the clusters are done, so that growth is seen: wall time, CPU seconds a cluster since
the line before (of papermill, its kernel and what they start), the memory of all processes together at its highest, and
that of the one process which starts them all. The rehearsal cluster is a process beside the kernel, and counts; what it
costs alone is printed first, and what papermill costs with an empty notebook. What Airflow costs is not in it.

--write puts the result into fleet.yaml, for docs/fleet.md (make pages).
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import nbformat
import yaml
from nbformat import v4

from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.runs import Runner
from kubeharden_rehearsal import Rehearsal

ROOT = Path(__file__).parents[2]
RESULT = Path(__file__).with_name("fleet.yaml")
SCENARIO = "article-1.10"
KERNEL = {"name": "python3", "display_name": "Python 3", "language": "python"}
COMPARED = 20  # runs of what the clusters are compared with
COLUMNS = (
    "what", "done", "wall time", "CPU a cluster", "all processes, most memory", "the one that starts them",
)  # fmt: skip
PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> None:
    """Measure, print, and write where that is wanted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--clusters", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    others = ", which worked on other things as well" if os.getloadavg()[0] > 1 else ""
    few, many = min(COMPARED, given.clusters), given.clusters
    rows: list[tuple[str, ...]] = []
    sys.stdout.write(f"{' | '.join(COLUMNS)}\n")
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as text:
        folder = Path(text)
        key = folder / "key"
        subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
        os.environ["KUBEHARDEN_SIGNING_KEY"] = str(key)
        empty = folder / "empty.ipynb"
        nbformat.write(v4.new_notebook(cells=[v4.new_code_cell("1")], metadata={"kernelspec": KERNEL}), empty)
        fleet = read_fleet(write_fleet(folder, many))
        for name, work, count, marks in (
            ("papermill, an empty notebook", lambda n: floor(empty, folder, n), few, (few,)),
            ("a rehearsal cluster alone", lambda n: alone(folder, n), few, (few,)),
            ("`harden.ipynb`, mode `plan`", lambda n: plan(fleet, f"c{n}"), many, marks_of(many)),
        ):
            for row in measured(name, work, count, marks, given.at_once):
                rows.append(row)
                sys.stdout.write(f"{' | '.join(row)}\n")
                sys.stdout.flush()
    if given.write:
        write(rows, given.at_once, f"one virtual machine with {os.cpu_count()} cores{others}")


def marks_of(count: int) -> tuple[int, ...]:
    """Return after how many clusters a line is printed."""
    return tuple(sorted({max(1, count // part) for part in (8, 4, 2, 1)}))


def measured(
    name: str, work: Callable[[int], None], count: int, marks: Sequence[int], at_once: int
) -> Iterator[tuple[str, ...]]:
    """Do some work for each cluster, and yield a row of the result at each mark.

    The CPU of a run counts once it has ended; so does that of the runs that go on at a mark, in the next row.
    """
    began, before, last = time.monotonic(), spent(), 0
    with memory() as most, ThreadPoolExecutor(at_once) as pool:
        for done, future in enumerate(as_completed([pool.submit(work, n) for n in range(count)]), 1):
            future.result()
            if done in marks:
                now = spent()
                yield (
                    name,
                    str(done),
                    f"{time.monotonic() - began:.0f} s",
                    f"{(now - before) / (done - last):.2f} s",
                    f"{most.all:.0f} MiB",
                    f"{most.own:.0f} MiB",
                )
                before, last = now, done


def spent() -> float:
    """CPU seconds of all processes that were started and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


@dataclass
class Memory:
    """MiB that were resident: at the highest of all processes together, and of this one."""

    all: float = 0.0
    own: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def watch(self) -> None:
        """Look each second until it is over."""
        while not self.over.wait(1):
            found = {pid: resident(pid) for pid in (os.getpid(), *below(os.getpid()))}
            self.all, self.own = max(self.all, sum(found.values())), found[os.getpid()]


@contextmanager
def memory() -> Iterator[Memory]:
    """Watch memory; pages that processes share count for each of them."""
    most = Memory()
    thread = threading.Thread(target=most.watch)
    thread.start()
    try:
        yield most
    finally:
        most.over.set()
        thread.join()


def resident(pid: int) -> float:
    """MiB of a process; nothing of one that has ended."""
    with suppress(OSError):
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE / 2**20
    return 0.0


def below(pid: int) -> list[int]:
    """The processes that a process has started, and those that they have, and so on."""
    found: list[int] = []
    with suppress(OSError):
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in map(int, (task / "children").read_text().split()):
                found += [child, *below(child)]
    return found


def floor(empty: Path, folder: Path, number: int) -> None:
    """Run papermill on an empty notebook."""
    output = folder / f"empty-{number}.ipynb"
    subprocess.run(
        [sys.executable, "-m", "papermill", empty, output, "--no-progress-bar"],
        check=True,
        capture_output=True,
    )


def alone(folder: Path, number: int) -> None:
    """Start a rehearsal cluster in a process of its own, as a run does, and stop it."""
    with Rehearsal.start(SCENARIO, folder / f"alone-{number}"):
        pass


def plan(fleet: Fleet, cluster: str) -> None:
    """Run the notebook in mode plan.

    Raises:
        RuntimeError: it failed.
    """
    ended = Runner(fleet, cluster, lambda _: None).run("plan")
    if ended.code or ended.folder is None:
        raise RuntimeError(ended.words)
    if json.loads((ended.folder / "record.json").read_text())["result"] != "planned":
        raise RuntimeError(f"{ended.folder} is not as it should be")


def write_fleet(folder: Path, count: int) -> Path:
    """Write the fleet.yaml of this many rehearsal clusters, which are new."""
    names = [f"c{number}" for number in range(count)]
    path = folder / "fleet.yaml"
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


def write(rows: Sequence[Sequence[str]], at_once: int, machine: str) -> None:
    """Write the result down."""
    content = {
        "script": f"python tests/bench/fleet.py --clusters {rows[-1][1]} --at-once {at_once} --write",
        "measured": datetime.now(UTC).date().isoformat(),
        "machine": machine,
        "how": f"{at_once} runs at once; the CPU of a line is that since the line before",
        "columns": list(COLUMNS),
        "rows": [list(row) for row in rows],
    }
    RESULT.write_text(yaml.safe_dump(content, sort_keys=False, width=120, allow_unicode=True))


if __name__ == "__main__":
    main()
