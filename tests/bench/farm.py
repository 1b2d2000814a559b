"""Real SSH servers on loopback for the benches, each with a node's file tree of its own.

Every contender meets the same servers: OpenSSH, one key exchange (curve25519, so that nobody pays for another's
default), login by one key, and an empty home: the start-up files of root's shell, whatever they do here, would be read
anew for every command. What these benches leave out, systemd restarting a service, is a stub that answers at once
(``stubs/``); the files, the shells and the connections are real. Each server listens on a second port too, where a
node's scripts may be answered for (``answers/``).
"""

from __future__ import annotations

import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STUBS = Path(__file__).parent / "stubs"
ANSWERS = Path(__file__).parent / "answers"
FIRST_PORT = 22000  # below the ports that outgoing connections get
FIRST_ANSWERED = 26000
START_SECONDS = 30
UNIT = """[Unit]
Description=Kubernetes Kubelet

[Service]
ExecStart=/usr/bin/kubelet --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --address=0.0.0.0
Restart=on-failure
"""
SSHD_CONFIG = """HostKey {folder}/host_key
AuthorizedKeysFile {folder}/client_key.pub
PidFile none
ListenAddress 127.0.0.1
Port {port}
KexAlgorithms curve25519-sha256,curve25519-sha256@libssh.org
Subsystem sftp internal-sftp
StrictModes no
UsePAM no
MaxStartups 1000
PermitRootLogin yes
LogLevel ERROR
SetEnv HOME={root}/root KUBEHARDEN_ROOT={root} PATH={path}/usr/sbin:/usr/bin:/sbin:/bin
"""


@dataclass(frozen=True)
class Server:
    """One SSH server, and the file tree of the node that it stands for."""

    name: str
    port: int
    answered: int  # the port where its scripts may be answered for
    root: Path


@dataclass(frozen=True)
class Farm:
    """The servers, and what is needed to log in to them."""

    folder: Path
    servers: list[Server]

    @property
    def key(self) -> Path:
        return self.folder / "client_key"

    @property
    def known_hosts(self) -> Path:
        return self.folder / "known_hosts"

    def reset(self) -> None:
        """Every node as it was before the first run."""
        for server in self.servers:
            shutil.rmtree(server.root, ignore_errors=True)
            for path in (
                "etc/kubernetes",
                "etc/systemd/system/kubelet.service.d",
                "proc",
                "root",
                "run/units",
                "var/lib",
            ):
                (server.root / path).mkdir(parents=True)
            (server.root / "etc/systemd/system/kubelet.service").write_text(UNIT)
            (server.root / "etc/hostname").write_text(f"{server.name}\n")
            boot_id = server.root / "proc/sys/kernel/random/boot_id"
            boot_id.parent.mkdir(parents=True)
            boot_id.write_text(f"{server.name}\n")
            subprocess.run(
                [STUBS / "systemctl", "restart", "kubelet.service"],
                env={"KUBEHARDEN_ROOT": str(server.root), "PATH": "/usr/bin:/bin"},
                check=True,
            )


@contextmanager
def farm(count: int) -> Iterator[Farm]:
    """Start that many SSH servers, and end them all."""
    sshd = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin") or "sshd"
    folder = Path(tempfile.mkdtemp(prefix="kubeharden-bench-"))
    Path("/run/sshd").mkdir(exist_ok=True)  # where OpenSSH separates privileges
    processes = []
    try:
        for name in ("host_key", "client_key"):
            subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name], check=True)
        servers = [
            Server(
                f"node{number}", FIRST_PORT + number, FIRST_ANSWERED + number, folder / f"nodes/node{number}"
            )
            for number in range(count)
        ]
        public = (folder / "host_key.pub").read_text().split()[:2]
        ports = [port for server in servers for port in (server.port, server.answered)]
        lines = [f"[127.0.0.1]:{port} {' '.join(public)}\n" for port in ports]
        (folder / "known_hosts").write_text("".join(lines))
        made = Farm(folder, servers)
        made.reset()
        for server in servers:
            for port, path in ((server.port, f"{STUBS}:"), (server.answered, f"{ANSWERS}:{STUBS}:")):
                config = folder / f"{port}.conf"
                config.write_text(SSHD_CONFIG.format(folder=folder, port=port, root=server.root, path=path))
                processes.append(subprocess.Popen([sshd, "-D", "-q", "-f", config]))
        for port in ports:
            _wait_for(port)
        yield made
    finally:
        for process in processes:
            process.terminate()
        for process in processes:
            process.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int) -> None:
    end = time.monotonic() + START_SECONDS
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        if time.monotonic() > end:
            sys.exit(f"sshd does not listen on port {port} after {START_SECONDS} s")
        time.sleep(0.05)
