"""SSH servers of a test: each login runs what the test says, whatever it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncssh

from kubeharden.inputs.inventory import Inventory, Node, Ssh

Handler = Callable[[asyncssh.SSHServerProcess[bytes]], Any]


@dataclass
class Server:
    """A server on loopback.

    Attributes:
        folder: has ``key``, which opens it, and ``known_hosts``, which names it.
        port: where it listens.
        host_key: its own.
    """

    folder: Path
    port: int
    host_key: asyncssh.SSHKey

    @property
    def public_key(self) -> str:
        """Type and key of the server, as known_hosts has them."""
        return " ".join(self.host_key.export_public_key().decode().split()[:2])

    def inventory(self, host: str = "127.0.0.1", **ssh: Any) -> Inventory:
        """An inventory with this server as its one node."""
        given = {"user": "ops", "identity_file": str(self.folder / "key"), **ssh}
        given.setdefault("known_hosts", str(self.folder / "known_hosts"))
        node = Node(name="node1", host=host, port=given.pop("port", self.port), control_plane=True)
        return Inventory(cluster="c", kubeconfig="/nowhere", ssh=Ssh(**given), nodes=[node])


class _Login(asyncssh.SSHServer):
    """Lets connections be forwarded."""

    def connection_requested(self, *where: object) -> bool:
        return True


@contextmanager
def ssh_server(folder: Path, handler: Handler | None = None, **options: Any) -> Iterator[Server]:
    """Run a server until the context ends.

    Args:
        folder: where its files go.
        handler: what each login runs; a shell with the command by default.
        options: those of ``asyncssh.listen``.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client, host = asyncssh.generate_private_key("ssh-ed25519"), asyncssh.generate_private_key("ssh-ed25519")
    client.write_private_key(folder / "key")
    client.write_public_key(folder / "authorized")
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()

    async def listen() -> asyncssh.SSHAcceptor:
        return await asyncssh.listen(
            "127.0.0.1",
            0,
            **{
                "server_factory": _Login,
                "server_host_keys": [host],
                "authorized_client_keys": str(folder / "authorized"),
                "process_factory": handler or run_command,
                "encoding": None,
                **options,
            },
        )

    server = asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
    made = Server(folder, server.get_port(), host)
    (folder / "known_hosts").write_text(f"[127.0.0.1]:{made.port} {made.public_key}\n")
    try:
        yield made
    finally:
        asyncio.run_coroutine_threadsafe(_end(server), loop).result(10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
        loop.close()


async def _end(server: asyncssh.SSHAcceptor) -> None:
    """Close a server, and wait until nothing of it is at work."""
    server.close()
    await server.wait_closed()
    await asyncio.sleep(0)  # what has just begun is at work then
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def run_command(process: asyncssh.SSHServerProcess[bytes]) -> None:
    """Run the command, as a server does."""
    await _run(process, "/bin/sh", "-c", process.command or "")


def login_shell(path: str, **environment: str) -> Handler:
    """Return what runs the command by a login shell."""

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        await _run(process, path, "-c", process.command or "", **environment)

    return run


async def _run(process: asyncssh.SSHServerProcess[bytes], *words: str, **environment: str) -> None:
    child = await asyncio.create_subprocess_exec(
        *words,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={"PATH": "/usr/bin:/bin", **environment},
    )
    feed = asyncio.create_task(_feed(process.stdin, child.stdin))
    await asyncio.gather(_drain(child.stdout, process.stdout), _drain(child.stderr, process.stderr))
    process.exit(await child.wait())
    feed.cancel()


async def _feed(source: Any, target: Any) -> None:
    with contextlib.suppress(OSError, asyncssh.Error):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    target.close()


async def _drain(source: Any, target: Any) -> None:
    while data := await source.read(65536):
        target.write(data)


def forced(output: str, status: int, complaints: str = "") -> Handler:
    """Return what prints something and ends, whatever it is told to do."""

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        process.stdout.write(output.encode())
        process.stderr.write(complaints.encode())
        process.exit(status)

    return run
