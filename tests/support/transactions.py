"""Transactions on a rehearsal node: changes made by hand, and what can be seen of a node past the library."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from kubeharden.edges.nodes import Nodes
from kubeharden.errors import NodeError
from kubeharden.facts import FileFact
from kubeharden.inputs.inventory import Inventory, read_inventory
from kubeharden.plan import FileChange, NodeChange
from kubeharden_rehearsal import Rehearsal
from kubeharden_rehearsal.processes import environment

SERVICE = "kube-proxy"
UNIT = f"/etc/systemd/system/{SERVICE}.service"
CONFIG = f"/etc/kubernetes/{SERVICE}.conf"
LOCK = "/run/kubeharden.lock"
# What the scripts call besides systemd's commands.
TOOLS = frozenset(
    "base64 cat cp date dd find flock grep install ln ls mkdir mv readlink rm sed sha256sum sleep stat "
    "sync tar timeout tr uname".split()
)
_UNIT = f"""[Unit]
Description=Kubernetes Kube Proxy

[Service]
ExecStart=/usr/bin/kube-proxy --config={CONFIG} --v={{}}
Restart=always
RestartSec=1s

[Install]
WantedBy=multi-user.target
"""
_CONFIG = """apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clusterCIDR: 10.{}.0.0/16
clientConnection:
  kubeconfig: /etc/kubernetes/kube-proxy.kubeconfig
"""


class Site:
    """One node of a rehearsal.

    Attributes:
        name: of the node.
        root: its file tree.
        nodes: the library's way to it.
    """

    def __init__(self, rehearsal: Rehearsal, name: str, inventory: Path | None = None) -> None:
        self.rehearsal, self.name = rehearsal, name
        self.root = rehearsal.directory / "nodes" / name
        self.inventory: Inventory = read_inventory(inventory or rehearsal.inventory)
        self.nodes = Nodes(self.inventory)

    def path(self, path: str) -> Path:
        """A file of the node, on the host."""
        return self.root / path.lstrip("/")

    def run(self, command: str) -> str:
        """What a command prints that root calls on the node's console."""
        shims = self.rehearsal.directory / "state/nodes" / self.name / "bin"
        done = subprocess.run(
            ["/bin/sh", "-c", command],
            capture_output=True,
            text=True,
            cwd=self.root,
            env=environment(self.root, shims, "root"),
            timeout=60,
            check=False,
        )
        return done.stdout + done.stderr

    def change(self, version: int, **instead: str) -> NodeChange:
        """From what is there to a unit and a config file of kube-proxy that differ with the version.

        Args:
            version: 1 to 9.
            instead: the text of ``unit`` or ``config``, where it is to be another one.
        """
        wanted = {
            CONFIG: instead.get("config", _CONFIG.format(30 + version)),
            UNIT: instead.get("unit", _UNIT.format(version)),
        }
        files = tuple(
            FileChange(path, self._fact(path), text, "644", "root", "root") for path, text in wanted.items()
        )
        argv = tuple(wanted[UNIT].partition("ExecStart=")[2].splitlines()[0].split())
        return NodeChange(SERVICE, self.name, SERVICE, files, "its files change", expected_argv=argv)

    def _fact(self, path: str) -> FileFact | None:
        place = self.path(path)
        return FileFact(path, "644", "root", "root", place.read_text()) if place.exists() else None

    def carry_out(self, change: NodeChange, run: str) -> None:
        """Begin a transaction and confirm it."""
        begun = self.nodes.begin(change, run, 30)
        assert begun.outcome == "waiting", begun
        assert self.nodes.confirm(self.name, run).outcome == "confirmed"

    def command_line(self) -> list[str]:
        """That of the process that systemd says runs; empty where none does."""
        pid = self.run(f"systemctl show -p MainPID {SERVICE}").strip().partition("=")[2]
        try:
            return self.path(f"/proc/{pid}/cmdline").read_text().rstrip("\0").split("\0")
        except FileNotFoundError:  # there is none, or it has just ended
            return []

    def files(self) -> dict[str, str]:
        """Every file below /etc."""
        etc = self.root / "etc"
        return {str(p.relative_to(self.root)): p.read_text() for p in etc.rglob("*") if p.is_file()}

    def is_clean(self) -> bool:
        """Whether nothing of a transaction is left that holds the node or would change it."""
        base = self.path("/var/lib/kubeharden")
        try:
            staged = [*self.root.rglob("*.kubeharden-new"), *base.glob(".incoming.*"), *base.glob("*/held")]
            states = {place.read_text().split()[-1] for place in base.glob("*/state")}
        except FileNotFoundError:  # a folder went while this looked: it is being cleared away
            return False
        return not staged and not self.is_locked() and states <= {"confirmed", "reverted", "failed"}

    def is_locked(self) -> bool:
        """Whether a process of the scripts has the node."""
        with self.path(LOCK).open("a") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def answers(self) -> bool:
        """Whether its node can be used."""
        try:
            self.nodes.check()
        except NodeError:
            return False
        return True


def swapped(change: NodeChange, index: int, **what: Any) -> NodeChange:
    """A change with one of its files replaced in part."""
    files = list(change.files)
    files[index] = replace(files[index], **what)
    return replace(change, files=tuple(files))


def with_programs_of_path(path: str) -> None:
    """Skip a shell that prefers programs of its own to those of PATH, as that of Debian's busybox-static does."""
    if Path(path).name != "busybox" or shutil.which(path) is None:
        return
    if subprocess.run([path, "sh", "-c", "PATH= ls /"], capture_output=True, check=False).returncode == 0:
        pytest.skip(
            "this busybox prefers programs of its own to those of PATH: install busybox, not busybox-static"
        )


def give_shell(rehearsal: Rehearsal, node: str, path: str) -> None:
    """Make a node's ``sh`` another program; with busybox, the tools that its scripts call are busybox' as well."""
    with_programs_of_path(path)
    shims = rehearsal.directory / f"state/nodes/{node}/bin"
    names = ["sh"]
    if Path(path).name == "busybox":
        listed = subprocess.run([path, "--list"], capture_output=True, text=True, check=True).stdout.split()
        names = [name for name in listed if name in TOOLS and not (shims / name).exists()] + names
    for name in names:
        (shims / name).symlink_to(path)
    said = subprocess.run([shims / "sh", "-c", "echo here"], capture_output=True, text=True, check=True)
    assert said.stdout == "here\n"
