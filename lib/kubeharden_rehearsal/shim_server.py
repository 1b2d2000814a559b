"""The server's end of the shims: a Unix socket in the rehearsal's state folder (see ``shim``)."""

from __future__ import annotations

import asyncio
import os
import re
import shlex
import sys
from pathlib import Path

from kubeharden.releases import known_components
from kubeharden_rehearsal import commands, shim
from kubeharden_rehearsal.machine import STARTERS, Machine
from kubeharden_rehearsal.systemctl import Reply

ETCD_VERSION = (
    "etcd Version: 3.2.24"  # the first of the lines that it prints; go.etcd.io/etcd, etcdmain/config.go
)


class ShimServer:
    """Answers the shims of all nodes."""

    def __init__(self, state: Path, machines: dict[str, Machine]) -> None:
        self._state, self._machines = state, machines
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listen. The server works in its state folder, so that the socket's path is short."""
        os.chdir(self._state)
        Path(shim.NODE_ADDRESS).unlink(missing_ok=True)
        self._server = await asyncio.start_unix_server(self._serve, shim.NODE_ADDRESS)
        Path(shim.NODE_ADDRESS).chmod(0o600)

    async def stop(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()
            Path(shim.NODE_ADDRESS).unlink(missing_ok=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            length = int.from_bytes(await reader.readexactly(4), "big")
            fields = (await reader.readexactly(length)).split(b"\0")
            node, user, here, *words = (field.decode(errors="surrogateescape") for field in fields)
            writer.write(_frames(await self._reply(node, user, Path(here), words)))
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return  # the shim was killed
        finally:
            writer.close()

    async def _reply(self, node: str, user: str, here: Path, words: list[str]) -> Reply:
        try:
            return await commands.run(self._machines[node], user, here, words)
        except Exception as error:
            words_ = f"{words[0]}: the rehearsal cannot do this: {type(error).__name__}: {error}"
            return Reply(error=f"{words_}\n", status=125)


def _frames(reply: Reply) -> bytes:
    frames = b""
    for kind, text in ((shim.OUTPUT, reply.output), (shim.ERROR, reply.error)):
        data = text.encode(errors="surrogateescape")
        if data:
            frames += bytes([kind]) + len(data).to_bytes(4, "big") + data
    return frames + bytes([shim.EXIT]) + reply.status.to_bytes(4, "big")


def install(machine: Machine, state: Path) -> Path:
    """Put a node's shims in place, and its components' binaries; returns the folder for its PATH."""
    folder = state / "nodes" / machine.name / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    python = shlex.quote(str(Path(sys.executable).resolve()))
    call = f"{python} -I -S -E {shlex.quote(shim.__file__)} {shlex.quote(str(state))} {machine.name}"
    for name in f"{commands.NAMES} {commands.REFUSED}".split():
        _script(folder / name, f'exec {call} {name} "$@"\n')
    binaries = machine.root / "usr/bin"
    binaries.mkdir(parents=True, exist_ok=True)
    known = {row.name for row in known_components()}
    for name in programs(machine):
        version = ETCD_VERSION if name == "etcd" else f"Kubernetes {machine.scenario.release}"
        answer = f'[ "$*" = --version ] && exec echo "{version}"\n' if name in known else ""
        rest = f"echo '{name} runs as a service of this rehearsal node only' >&2\nexit 1\n"
        if name in STARTERS:
            rest = f'exec {call} {name} "$@"\n'
        _script(binaries / name, answer + rest)
    return folder


def programs(machine: Machine) -> set[str]:
    """Return the programs in /usr/bin that the node's units run."""
    paths = [
        *machine.root.glob("*/systemd/system/*.service"),
        *machine.root.glob("usr/lib/systemd/system/*.service"),
    ]
    texts = (path.read_text(encoding="utf-8") for path in paths)
    return {name for text in texts for name in re.findall(r"^ExecStart=/usr/bin/(\S+)", text, re.MULTILINE)}


def _script(path: Path, text: str) -> None:
    path.write_text(f"#!/bin/sh\n{text}", encoding="utf-8")
    path.chmod(0o755)
