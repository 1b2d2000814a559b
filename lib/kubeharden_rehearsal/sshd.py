"""The SSH servers of a rehearsal's nodes: one port on loopback each, commands as real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from pathlib import Path
from typing import Any

import asyncssh

from kubeharden_rehearsal.atomic import write_atomically
from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.processes import environment

USER = "ops"
HOST = "127.0.0.1"
KUBELET_PORT = 10250
_CHUNK = 65536
# One key exchange, the cheapest that every client has: five times as quick as OpenSSH's newest default.
_KEX = ["curve25519-sha256", "curve25519-sha256@libssh.org"]


class _Login(asyncssh.SSHServer):
    """Lets in the user ops with the rehearsal's key and nobody else, and nobody at all while the power is off."""

    def __init__(self, server: NodeServer, key: asyncssh.SSHKey) -> None:
        self._server, self._key = server, key.public_data

    def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
        self._server.connections.add(conn)
        self._connection = conn
        if not self._server.machine.is_on:
            conn.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self._server.connections.discard(self._connection)

    def connection_requested(self, dest_host: str, dest_port: int, *origin: object) -> Any:
        del dest_host, origin
        if dest_port != KUBELET_PORT or not self._server.has_kubelet:
            raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, "Connection refused")
        return self._connection.forward_connection(HOST, self._server.kubelet_port)

    def begin_auth(self, username: str) -> bool:
        del username
        return True

    def public_key_auth_supported(self) -> bool:
        return True

    def validate_public_key(self, username: str, key: asyncssh.SSHKey) -> bool:
        return username == USER and key.public_data == self._key


class NodeServer:
    """The SSH server of one node, which one key opens.

    Attributes:
        kubelet_port: where its kubelet listens in truth; 0 where nobody asks it there.
    """

    def __init__(
        self, machine: Machine, host_key: asyncssh.SSHKey, client_key: asyncssh.SSHKey, shims: Path
    ) -> None:
        self.machine, self._host_key, self._client_key = machine, host_key, client_key
        self.connections: set[asyncssh.SSHServerConnection] = set()
        self._shims, self.kubelet_port = shims, 0
        self._children: set[asyncio.subprocess.Process] = set()
        self._acceptor: asyncssh.SSHAcceptor | None = None

    @property
    def has_kubelet(self) -> bool:
        """True if its kubelet can be asked at its own port."""
        return self.kubelet_port > 0 and self.machine.component("kubelet") is not None

    async def start(self) -> int:
        """Listen on a free port of the loopback interface, and return it."""
        self._acceptor = await asyncssh.listen(
            HOST,
            0,
            server_factory=lambda: _Login(self, self._client_key),
            server_host_keys=[self._host_key],
            process_factory=self._run,
            encoding=None,
            kex_algs=_KEX,
            compression_algs=["none"],
            allow_pty=False,
            agent_forwarding=False,
            x11_forwarding=False,
            gss_host=None,
            login_timeout=30,
            config=(),
        )
        return self._acceptor.get_port()

    async def stop(self) -> None:
        """Listen no more, close every connection, and end what runs for them."""
        if self._acceptor is not None:
            self._acceptor.close()
        await self.drop()

    async def drop(self) -> None:
        """Cut every connection, and kill what runs for them."""
        for connection in list(self.connections):
            connection.abort()
        self._kill_children()

    def _kill_children(self) -> None:
        for child in list(self._children):
            _signal(child, signal.SIGKILL)

    async def _run(self, process: asyncssh.SSHServerProcess[bytes]) -> None:
        command = process.command
        argv = ["/bin/sh", "-c", command] if command is not None else ["/bin/sh"]
        home = self.machine.root / "home" / USER
        home.mkdir(parents=True, exist_ok=True)
        child = await asyncio.create_subprocess_exec(
            *argv,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=home,
            env=environment(self.machine.root, self._shims, USER),
            start_new_session=True,
        )
        self._children.add(child)
        hangup = asyncio.create_task(self._hang_up(process, child))
        feed = asyncio.create_task(_feed(process, child))
        try:
            await asyncio.gather(_drain(child.stdout, process.stdout), _drain(child.stderr, process.stderr))
            status = await child.wait()
            if status < 0:
                process.exit_with_signal(signal.Signals(-status).name.removeprefix("SIG"))
            else:
                process.exit(status)
        finally:
            feed.cancel()
            hangup.cancel()
            self._children.discard(child)

    async def _hang_up(
        self, process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process
    ) -> None:
        await process.wait_closed()
        _signal(child, signal.SIGHUP)


async def _feed(process: asyncssh.SSHServerProcess[bytes], child: asyncio.subprocess.Process) -> None:
    """From the client to the command, until either has enough."""
    if child.stdin is None:
        return
    with contextlib.suppress(ConnectionError):
        while data := await process.stdin.read(_CHUNK):
            child.stdin.write(data)
            await child.stdin.drain()
    child.stdin.close()


async def _drain(source: asyncio.StreamReader | None, target: asyncssh.SSHWriter[bytes]) -> None:
    """From the command to the client, all of it; what a client that has gone would get is dropped."""
    if source is None:
        return
    connected = True
    while data := await source.read(_CHUNK):
        if connected:
            try:
                target.write(data)
                await target.drain()
            except (OSError, asyncssh.Error):
                connected = False


def _signal(child: asyncio.subprocess.Process, number: signal.Signals) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, number)


def kept_key(path: Path) -> asyncssh.SSHKey:
    """Return the key in a file; make a new one where there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"rehearsal {path.name}")
        write_atomically(path, key.export_private_key().decode(), 0o600)
    return asyncssh.read_private_key(path)


def public_line(key: asyncssh.SSHKey) -> str:
    """Return the public half as known_hosts has it."""
    return key.export_public_key().decode().strip()
