"""Where the time of kubeharden's runs in ``ssh_work.py`` goes: programs on a node, seconds of processor by part.

    python tests/bench/profile.py [--nodes 50]

Needs what ``ssh_work.py`` needs for kubeharden, and strace. It prints two tables as rows for ``results.yaml``:

- ``profile_programs``: the programs that a node starts in each part of a run, by name, counted with strace on one
  node. This does not depend on what else the machine does.
- ``profile_seconds``: the seconds of processor that a first run on so many nodes takes, and one that finds nothing to
  do: the controller's by part, the nodes', and of these what a login alone takes (``one_floor.py``). Other work on the
  machine makes them somewhat longer, but not by what they wait for it.
"""

from __future__ import annotations

import argparse
import collections
import ctypes
import functools
import json
import os
import re
import resource
import runpy
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from farm import Farm, farm

HERE = Path(__file__).resolve().parent
SUBREAPER = (
    36  # PR_SET_CHILD_SUBREAPER of prctl(2): what a node leaves to itself counts as a child of this process
)
CONTROLLER = "controller"
REPEATED = (
    4  # runs with nothing to do: what servers take by themselves differs more than what one of these does
)
STARTED = re.compile(r"^\d+ +([0-9.]+) execve\(\"([^\"]+)\".*(?:= 0|<unfinished \.\.\.>)$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One request to a node: when it began and ended, on the clock that strace has."""

    name: str
    began: float
    ended: float


def programs() -> Iterator[tuple[str, int, str]]:
    """What a node starts in each part of a first run and of a run with nothing to do, counted by name."""
    from one_kubeharden import change, inventory_of
    from ssh_work import facts

    from kubeharden.edges.nodes import Nodes

    with farm(1) as servers:
        bench = facts(servers)
        out, parts = servers.folder / "strace", list[Part]()

        def timed(name: str, work: Callable[[], Any]) -> Any:
            began = time.time()
            found = work()
            time.sleep(0.2)  # what goes on after the answer counts as well
            parts.append(Part(name, began, time.time()))
            return found

        with traced(servers, out):
            with Nodes(inventory_of(bench)) as nodes:
                [seen] = timed("log in, look", lambda: nodes.observe(services=["kubelet"]))
                needed = change(seen, bench)
                timed("change, until it waits", lambda: nodes.begin(needed, "profile"))
                timed("look again", lambda: nodes.observe(services=["kubelet"]))
                timed("confirm", lambda: nodes.confirm("node0", "profile"))
            with Nodes(inventory_of(bench)) as nodes:
                timed("nothing to do: log in, look", lambda: nodes.observe(services=["kubelet"]))
        started = [(float(at), Path(path).name) for at, path in STARTED.findall(out.read_text())]
    for part in parts:
        names = collections.Counter(name for at, name in started if part.began <= at < part.ended)
        told = ", ".join(f"{name} {count}" if count > 1 else name for name, count in names.most_common())
        yield part.name, sum(names.values()), told


@contextmanager
def traced(servers: Farm, out: Path) -> Iterator[None]:
    """Have strace note each program that the first server's sessions start."""
    [server] = servers.servers
    found = subprocess.run(
        ["pgrep", "-f", "--", f"-D -q -f {servers.folder}/{server.port}.conf"],
        capture_output=True,
        text=True,
        check=True,
    )
    words = [
        "strace",
        "-f",
        "-ttt",
        "-s",
        "200",
        "-e",
        "trace=execve",
        "-o",
        out,
        "-p",
        found.stdout.split()[0],
    ]
    with subprocess.Popen(words, stderr=subprocess.PIPE, text=True) as tracer:
        assert tracer.stderr is not None
        tracer.stderr.readline()  # it is there
        yield
        time.sleep(0.5)
        tracer.terminate()


def seconds(count: int) -> Iterator[tuple[str, float, float]]:
    """The seconds of processor of a first run and of one with nothing to do, by part."""
    ctypes.CDLL(None).prctl(SUBREAPER, 1, 0, 0, 0)
    idle = spent(count, [])[1]
    login = spent(count, [HERE / "one_floor.py"])[1] - idle
    # A run with nothing to do needs one before it that did it all.
    [first], once = spent(count, [CONTROLLER])
    [_, *others], more = spent(count, [CONTROLLER] * (1 + REPEATED))
    for name in first:
        yield f"controller: {name}", first[name], sum(run.get(name, 0.0) for run in others) / REPEATED
    yield "nodes: SSH servers and login shells", login, login
    yield "nodes: all else", once - idle - login, (more - once) / REPEATED - login


def spent(count: int, runs: Sequence[Path | str]) -> tuple[list[dict[str, float]], float]:
    """Start servers, carry out these runs, and end the servers.

    Returns:
        What each run of the controller itself took, by part, and what everything else took.
    """
    from ssh_work import facts

    before, own, parts = _children(), 0.0, []
    with farm(count) as servers:
        bench = servers.folder / "bench.json"
        bench.write_text(json.dumps(facts(servers)))
        for run in runs:
            words = (
                [sys.executable, __file__, "--controller", bench]
                if run == CONTROLLER
                else [sys.executable, run, bench]
            )
            done = subprocess.run(words, capture_output=True, text=True, check=True)
            if run == CONTROLLER:
                parts.append(json.loads(done.stdout.splitlines()[-1]))
                own += sum(parts[-1].values())
            time.sleep(1)
            with suppress(ChildProcessError):
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass  # a unit that has ended
    return parts, _children() - before - own


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def controller(bench: str) -> None:
    """One run of ``one_kubeharden.py`` in this process; prints what each part of it took of the processor."""
    import paramiko

    import kubeharden.edges.nodes.nodes as over
    from kubeharden.edges.nodes.ssh import Ssh

    parts = {"Python starts and imports": time.process_time()}
    threads: list[paramiko.Transport] = []
    lock = threading.Lock()

    def counted(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(function)
        def wrapper(*given: Any, **named: Any) -> Any:
            began = time.thread_time()
            try:
                return function(*given, **named)
            finally:
                took = time.thread_time() - began
                with lock:
                    parts[name] = parts.get(name, 0.0) + took

        return wrapper

    started = paramiko.Transport.start_client
    paramiko.Transport.start_client = lambda self, *given, **named: (
        threads.append(self),
        started(self, *given, **named),
    )[1]
    paramiko.Transport.run = counted("SSH: threads of connections", paramiko.Transport.run)
    Ssh._reach = counted("SSH: keys, host keys, login", Ssh._reach)
    over.parse_observation = counted("answers are read and judged", over.parse_observation)
    over.archive = counted("archives are made", over.archive)
    sys.argv = ["one_kubeharden.py", bench]
    runpy.run_path(str(HERE / "one_kubeharden.py"), run_name="__main__")
    for thread in threads:
        thread.join(2)
    parts["OpenSSH's own reading of its configuration (ssh -G)"] = _children()
    known = sum(parts.values()) - _children()
    parts["all else: threads, planning, waiting"] = time.process_time() - known
    sys.stdout.write(f"{json.dumps(parts)}\n")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, default=50)
    parser.add_argument("--controller", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.controller:
        controller(given.controller)
        return
    sys.stdout.write("profile_programs rows:\n")
    for name, count, told in programs():
        sys.stdout.write(f'  - ["{name}", {count}, "{told}"]\n')
    sys.stdout.write("profile_seconds rows:\n")
    rows = list(seconds(given.nodes))
    rows.append(("all", sum(row[1] for row in rows), sum(row[2] for row in rows)))
    for name, first, second in rows:
        sys.stdout.write(f'  - ["{name}", "{first:.2f}", "{second:.2f}"]\n')


if __name__ == "__main__":
    main()
