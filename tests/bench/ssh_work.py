"""The same end state on the same SSH servers by kubeharden, pyinfra, Ansible and Ansible with Mitogen, and the floor.

    python tests/bench/ssh_work.py [--nodes 1 10 50] [--rounds 5] [--only NAME ...]

Needs an OpenSSH server (`sshd`) and root, for logins as root on loopback. pyinfra, ansible-core and Mitogen come into
an environment of their own (build/peers, from peers/requirements.lock), since pyinfra wants an older paramiko.

What is done on each node: three files with their modes, and, where one of them changed, `systemctl daemon-reload` and
`systemctl restart` (a stub that answers at once: restarts and settling are left out for everybody). First run: the
files differ. Second run: nothing is to be done. kubeharden does more in its first run than the others: it reads the
node first, backs up, puts everything on disk, arms its revert, proves, and confirms.

Equal for all: the servers, the key exchange, 32 at a time, a process of its own for each run, start-up of Python and
imports included. The contenders take turns, round by round; medians are printed, with the least and the most. The
column "processor" is what the controller itself computed, its children (ssh, workers) included and the servers not: the
rest of the time is waiting, and the work of the nodes. The column "connected" is the time within the process from the
first connection to the last answer, where the contender can tell it: for kubeharden and for the floor, which is bare
paramiko doing one connect and one exec.

What all the nodes do, this one machine does. "Answered" is the same run with the nodes' own work left out: what their
shells answer is what they answered in a run before, so that what is left is the SSH work: connections, commands,
payloads, answers, and what the contender makes of them. It is what the floor can be held against; the rest is the work
of the nodes, which each of them does for itself elsewhere. (Ansible's files have other names in each run, so it cannot
be answered for.)
"""

from __future__ import annotations

import argparse
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
import venv
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from farm import Farm, farm

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PEERS = ROOT / "build" / "peers"
THREADS = 32
FLOOR, KUBEHARDEN, PYINFRA, ANSIBLE, MITOGEN = (
    "floor",
    "kubeharden",
    "pyinfra",
    "ansible",
    "ansible with mitogen",
)
ANSWERED = ", answered"
FILES = {
    "/etc/kubernetes/kubelet.conf": "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n"
    + "".join(f"# a line like those of a config file, number {number}\n" for number in range(80)),
    "/etc/systemd/system/kubelet.service": "[Service]\n"
    "ExecStart=/usr/bin/kubelet --config=/etc/kubernetes/kubelet.conf\n",
    "/etc/systemd/system/kubelet.service.d/10-kubelet.conf": "[Service]\nRestartSec=10\n",
}


@dataclass
class Timings:
    """Seconds of one contender in one kind of run: whole processes, what they computed, the SSH work."""

    whole: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    ssh: list[float] = field(default_factory=list)

    def row(self) -> str:
        return f"{_spread(self.whole)}   {_spread(self.processor)}   {_spread(self.ssh)}"


def _spread(seconds: Sequence[float]) -> str:
    if not seconds:
        return f"{'–':>20}"
    return f"{statistics.median(seconds):6.2f} ({min(seconds):.2f}–{max(seconds):.2f})".rjust(20)


def command(name: str, bench: Path, fresh: Path) -> tuple[list[str | Path], dict[str, str]]:
    """The command line and the environment of one run of a contender."""
    name = name.removesuffix(ANSWERED)
    own = {KUBEHARDEN: HERE / "one_kubeharden.py", FLOOR: HERE / "one_floor.py"}
    if name in own:
        return [sys.executable, own[name], bench], {}
    if name == PYINFRA:
        words = [PEERS / "bin/pyinfra", "-y", "--parallel", str(THREADS)]
        return [*words, HERE / "peers/inventory.py", HERE / "peers/deploy.py"], {"BENCH": str(bench)}
    words = [PEERS / "bin/ansible-playbook", "-i", bench.with_name("hosts.json"), "-f", str(THREADS)]
    settings = {
        "ANSIBLE_PIPELINING": "1",
        "ANSIBLE_HOME": str(fresh),
        "ANSIBLE_SSH_CONTROL_PATH_DIR": str(fresh),
    }
    if name == MITOGEN:
        [plugins] = PEERS.glob("lib/python*/site-packages/ansible_mitogen/plugins/strategy")
        settings |= {"ANSIBLE_STRATEGY_PLUGINS": str(plugins), "ANSIBLE_STRATEGY": "mitogen_linear"}
    return [*words, HERE / "peers/playbook.yml"], settings


def run(name: str, bench: Path, fresh: Path, timings: Timings) -> None:
    """One run of a contender; what it printed is shown where it failed."""
    words, settings = command(name, bench, fresh)
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(words, env={**os.environ, **settings}, capture_output=True, text=True, check=False)
    timings.whole.append(time.perf_counter() - start)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    timings.processor.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    if done.returncode:
        sys.exit(f"{name} failed:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    if name.removesuffix(ANSWERED) in (FLOOR, KUBEHARDEN):
        timings.ssh.append(float(done.stdout.split()[-1]))


def check(servers: Farm, name: str) -> None:
    """Whether the end state is what it should be, on every node."""
    for server in servers.servers:
        for path, content in FILES.items():
            if (server.root / path.lstrip("/")).read_text() != content:
                sys.exit(f"{name}: {path} on {server.name} is not what it should be")


def measure(count: int, rounds: int, names: Sequence[str]) -> dict[tuple[str, str], Timings]:
    """Timings by contender and kind of run, the contenders taking turns; the first round does not count."""
    with farm(count) as servers:
        bench = servers.folder / "bench.json"
        for name in names:
            bench.with_name(f"{name}.json").write_text(
                json.dumps(facts(servers, answered=name.endswith(ANSWERED)))
            )
        bench.with_name("hosts.json").write_text(json.dumps(_hosts(servers)))
        for number in range(rounds + 1):
            if number <= 1:
                results = {(name, kind): Timings() for name in names for kind in ("first", "second")}
            for name in names:
                servers.reset()
                if name.endswith(ANSWERED):
                    keep_answers(servers, name)
                fresh = servers.folder / f"{name[:3]}{number}"
                for kind in ("first", "second"):
                    run(name, bench.with_name(f"{name}.json"), fresh, results[name, kind])
                if name != FLOOR and not name.endswith(ANSWERED):
                    check(servers, name)
    return results


def keep_answers(servers: Farm, name: str) -> None:
    """Two runs of a contender whose answers are kept, and given from then on."""
    folders = [server.root / "answers" for server in servers.servers]
    for folder in folders:
        folder.mkdir()
        (folder / "keep").touch()
    for _ in ("first", "second"):
        run(name, servers.folder / f"{name}.json", servers.folder, Timings())
    for folder in folders:
        for kept in (path for path in folder.iterdir() if path.name.isdigit()):
            for number, answer in enumerate(_answers(kept.read_bytes()), start=1):
                kept.with_name(f"{kept.name}.{number}").write_bytes(answer)
        (folder / "keep").rename(folder / "give")
        (folder / "number").unlink()


def _answers(said: bytes) -> list[bytes]:
    """What the scripts printed in a session of kubeharden, one answer after the other: see session.sh."""
    return [answer for answer, _ in re.findall(rb"(?s)(.*?)\n([0-9a-f]{32}) 0\n\n\2 end\n", said)]


def facts(servers: Farm, *, answered: bool = False) -> dict[str, object]:
    """What a contender needs to know of the servers."""
    return {
        "key": str(servers.key),
        "known_hosts": str(servers.known_hosts),
        "files": FILES,
        "servers": [
            {"name": s.name, "port": s.answered if answered else s.port, "root": str(s.root)}
            for s in servers.servers
        ],
    }


def _hosts(servers: Farm) -> dict[str, object]:
    hosts = {
        s.name: {"ansible_host": "127.0.0.1", "ansible_port": s.port, "root": str(s.root)}
        for s in servers.servers
    }
    shared = {
        "ansible_user": "root",
        "ansible_ssh_private_key_file": str(servers.key),
        "ansible_ssh_common_args": f"-o UserKnownHostsFile={servers.known_hosts}",
        "ansible_python_interpreter": "/usr/bin/python3",
        "files": FILES,
    }
    return {"all": {"hosts": hosts, "vars": shared}}


def make_peers() -> None:
    """The environment of pyinfra, ansible-core and Mitogen, where there is none yet."""
    if not (PEERS / "bin/pyinfra").exists():
        venv.create(PEERS, with_pip=True)
        lock = HERE / "peers" / "requirements.lock"
        pip = [PEERS / "bin/pip", "install", "--quiet", "--require-hashes", "-r", lock]
        subprocess.run(pip, check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nodes", type=int, nargs="+", default=[1, 10, 50])
    parser.add_argument("--rounds", type=int, default=5)
    names = [FLOOR, KUBEHARDEN + ANSWERED, PYINFRA + ANSWERED, KUBEHARDEN, PYINFRA, ANSIBLE, MITOGEN]
    parser.add_argument("--only", nargs="+", choices=names, default=names)
    given = parser.parse_args()
    make_peers()
    for count in given.nodes:
        results = measure(count, given.rounds, given.only)
        sys.stdout.write(
            f"\n{count} nodes, {given.rounds} rounds; seconds: median (least–most)\n"
            f"{'':32}{'whole process':>20}   {'processor':>20}   {'connected':>20}\n"
        )
        for (name, kind), timings in results.items():
            sys.stdout.write(f"{name:<21}{kind + ' run':<11}{timings.row()}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
