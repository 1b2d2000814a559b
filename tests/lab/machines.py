"""The nodes as machines: overlay, network namespace, cgroups, and systemd-nspawn that boots systemd in them."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

from places import (
    ACCESS,
    BINARIES,
    BRIDGE,
    CGROUP,
    CONTROLLERS,
    LOGS,
    NETWORK,
    PREFIX,
    ROOTFS,
    SERVICES,
    SNAPSHOT,
    Node,
)
from steps import LabError, in_parallel, run, wait

# On the real disk, since docker's overlays cannot stand on the node's own overlay.
DATA = {"docker": "/var/lib/docker", "containerd": "/var/lib/containerd", "kubelet": "/var/lib/kubelet",
        "etcd": "/var/lib/etcd"}  # fmt: skip

# The process that becomes systemd-nspawn first goes into a cgroup of its own in every hierarchy, so that the
# node's cgroup namespace is rooted there: two kubelets would delete one another's "kubepods" otherwise.
BOOT = """
for group in "$@"; do
  [ "$group" != -- ] || break
  shift
  echo $$ >"$group/cgroup.procs" || exit 1
done
shift
exec "$@"
"""


def make_network(nodes: Sequence[Node]) -> None:
    """A bridge on the host, and a network namespace for each node; no way leads anywhere else."""
    taken = [line for line in run("ip", "-o", "-4", "addr").splitlines() if f" {NETWORK}." in line]
    if taken:
        raise LabError(
            f"addresses of the lab's network {NETWORK}.0/24 are in use on this machine: {taken[0]}"
        )
    run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "addr", "add", f"{NETWORK}.1/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")
    for node in nodes:
        outside, space = f"{PREFIX}-v{node.number}", node.machine
        run("ip", "netns", "add", space)
        run("ip", "link", "add", outside, "type", "veth", "peer", "name", "eth0", "netns", space)
        run("ip", "link", "set", outside, "master", BRIDGE, "up")
        inside = ("ip", "-n", space)
        run(*inside, "link", "set", "lo", "up")
        run(*inside, "addr", "add", f"{node.address}/24", "dev", "eth0")
        run(*inside, "link", "set", "eth0", "up")
        # kube-proxy's rules send these on, but only if there is a route at all.
        run(*inside, "route", "add", SERVICES, "dev", "eth0")
        for other in nodes:
            if other != node:
                run(*inside, "route", "add", other.pods, "via", other.address)
        run("ip", "netns", "exec", space, "sysctl", "-qw", "net.ipv4.ip_forward=1")


def boot(nodes: Sequence[Node]) -> None:
    """Start every node's systemd, and wait until SSH answers."""
    for node in nodes:
        _start(node)
    in_parallel([lambda node=node: wait(f"SSH on {node.name}", lambda: _ssh_missing(node)) for node in nodes])


def _start(node: Node) -> None:
    for folder in (node.root, node.folder / "work", *(node.folder / "data" / name for name in DATA)):
        folder.mkdir(parents=True, exist_ok=True)
    layers = f"lowerdir={BINARIES}:{ROOTFS},upperdir={node.upper},workdir={node.folder / 'work'}"
    run("mount", "-t", "overlay", "-o", layers, f"{PREFIX}-{node.name}", node.root)
    groups = _make_cgroups(node)
    LOGS.mkdir(parents=True, exist_ok=True)
    with node.console.open("a") as console:
        subprocess.Popen(
            ["sh", "-c", BOOT, "boot", *groups, "--", "env", "SYSTEMD_NSPAWN_API_VFS_WRITABLE=1",
             "SYSTEMD_NSPAWN_LOCK=0", "systemd-nspawn", "--quiet", "--boot", "--keep-unit", "--register=no",
             f"--machine={node.machine}", f"--hostname={node.name}", f"--directory={node.root}",
             "--capability=all", "--system-call-filter=@known", "--rlimit=NOFILE=1048576",
             f"--network-namespace-path=/run/netns/{node.machine}", "--resolv-conf=off", "--timezone=off",
             "--link-journal=no", "--bind-ro=/dev/kmsg", "--console=pipe",
             *(f"--bind={node.folder / 'data' / name}:{place}" for name, place in DATA.items())],
            stdin=subprocess.DEVNULL, stdout=console, stderr=console, start_new_session=True,
        )  # fmt: skip


def _make_cgroups(node: Node) -> list[str]:
    made = []
    for controller in sorted(CONTROLLERS.iterdir()):
        if not (controller / "cgroup.procs").exists():
            continue
        parent = controller
        for name in (CGROUP, node.name):
            group = parent / name
            group.mkdir(exist_ok=True)
            for setting in (
                "cpuset.cpus",
                "cpuset.mems",
            ):  # empty in a new cgroup, which then takes no process
                if controller.name == "cpuset":
                    (group / setting).write_text((parent / setting).read_text())
            parent = group
        made.append(str(parent))
    return made


def ssh(
    node: Node, command: str, *, text: str | None = None, timeout: float = 120, check: bool = True
) -> str:
    """Run a command on a node as the runbook does: over SSH, with the lab's key."""
    return run(
        "ssh", "-F", "none", "-i", ACCESS / "id_ed25519", "-o", f"UserKnownHostsFile={ACCESS / 'known_hosts'}",
        "-o", "BatchMode=yes", "-o", "ConnectTimeout=5", f"ops@{node.address}", command,
        text=text, timeout=timeout, check=check,
    )  # fmt: skip


def _ssh_missing(node: Node) -> str:
    return "" if ssh(node, "echo here", check=False, timeout=20).strip() == "here" else f"see {node.console}"


def take_snapshot(nodes: Sequence[Node]) -> None:
    """Copy what every node has on disk, at one moment: everything stands still while that is done."""
    freezer = CONTROLLERS / "freezer" / CGROUP / "freezer.state"
    try:
        wait("the nodes to stand still", lambda: _moving(freezer), seconds=20, every=0.1)
        for node in nodes:
            _copy(node.folder, SNAPSHOT / node.name)
    finally:
        freezer.write_text("THAWED")


def _moving(freezer: Path) -> str:
    """Freeze a group, and return what it says if some of it still moves.

    What forks meanwhile can keep a group FREEZING for good. To thaw it and try again helps (runc does the same, in
    its fs/freezer.go).
    """
    freezer.write_text("THAWED")
    freezer.write_text("FROZEN")
    time.sleep(0.1)
    return _not("FROZEN", freezer)


def restore_snapshot(nodes: Sequence[Node]) -> None:
    """Put every node's disk back; the nodes must be stopped."""
    for node in nodes:
        if not (SNAPSHOT / node.name).exists():
            raise LabError(f"there is no snapshot of {node.name} in {SNAPSHOT}: run `make lab-down lab`")
        shutil.rmtree(node.folder)
        _copy(SNAPSHOT / node.name, node.folder)


def _not(word: str, file: Path) -> str:
    state = file.read_text().strip()
    return "" if state == word else f"{file} says {state}"


def _copy(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    for part in ("upper", "data"):
        run("cp", "--archive", "--one-file-system", source / part, target)
