"""The server's end of the commands of nodes: named pipes in the rehearsal's state folder (see ``ask.sh``)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shlex
from collections.abc import Awaitable, Callable, Mapping
from importlib.resources import files
from pathlib import Path

from kubeharden.releases import known_components
from kubeharden_rehearsal import commands
from kubeharden_rehearsal.machine import STARTERS, Machine
from kubeharden_rehearsal.systemctl import Reply

# The first of the lines that it prints; go.etcd.io/etcd, etcdmain/config.go.
ETCD_VERSION = "etcd Version: 3.2.24"

ASK = "ask.sh"
# As many may ask at once. One that waits for a unit to start has its pipe until then, and the unit asks as well; a run
# works on 32 nodes (ports.MAX_THREADS).
PIPES = 80
PIPE_HOLDS = 4096  # bytes at least, without anybody who reads: pipe(7)
PLAIN = frozenset(range(ord(" "), ord("~") + 1)) - {ord("\\")} | {ord("\n")}


async def reply(machines: Mapping[str, Machine], node: str, user: str, here: Path, words: list[str]) -> Reply:
    """Do a command of a node."""
    try:
        return await commands.run(machines[node], user, here, words)
    except Exception as error:
        complaint = f"{words[0]}: the rehearsal cannot do this: {type(error).__name__}: {error}"
        return Reply(error=f"{complaint}\n", status=125)


class Pipes:
    """The named pipes over which ``ask.sh`` asks, and is answered; the name of their folder may be long."""

    def __init__(self, folder: Path, reply: Callable[[str, str, Path, list[str]], Awaitable[Reply]]) -> None:
        self._folder, self._reply = folder, reply
        self._requests: int | None = None
        self._unread = b""
        # Descriptors by number: open for both, so that a caller who opens one never waits.
        self._free: dict[int, int] = {}
        self._working: dict[int, asyncio.Task[None]] = {}

    def open(self) -> None:
        """Make them, and listen."""
        self._folder.mkdir(mode=0o700, exist_ok=True)
        for path in self._folder.iterdir():
            path.unlink()
        for number in range(PIPES):
            self._make(number)
        place = self._folder / "requests"
        os.mkfifo(place, 0o600)
        self._requests = os.open(place, os.O_RDWR | os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._requests, self._read)

    def close(self) -> None:
        """End them: who waits for an answer sees that there is none."""
        if self._requests is None:
            return
        asyncio.get_running_loop().remove_reader(self._requests)
        for task in self._working.values():
            task.cancel()
        for descriptor in (self._requests, *self._free.values()):
            os.close(descriptor)
        self._requests = None
        self._free.clear()
        for path in self._folder.iterdir():
            path.unlink()

    def _take_back(self) -> None:
        """Free the pipes of those who were killed before they asked."""
        for number in self._free.keys() - self._working.keys():
            taken = self._folder / f"{number}.taken"
            with contextlib.suppress(FileNotFoundError, ValueError):
                if not Path(f"/proc/{int(taken.read_text(encoding='ascii'))}").exists():
                    taken.unlink()

    def _make(self, number: int) -> None:
        place = self._folder / str(number)
        place.unlink(missing_ok=True)
        os.mkfifo(place, 0o600)
        self._free[number] = os.open(place, os.O_RDWR | os.O_NONBLOCK)

    def _read(self) -> None:
        if self._requests is None:
            return
        self._unread += os.read(self._requests, 1 << 16)
        while True:
            count, found, rest = self._unread.partition(b"\0")
            fields = rest.split(b"\0", int(count)) if found else []
            if not found or len(fields) <= int(count):
                return
            self._unread = fields.pop()
            if not fields:
                self._take_back()
                continue
            if len(fields) == 1:  # too many words for a pipe
                words = self._folder / f"{int(fields[0])}.words"
                fields += words.read_bytes().split(b"\0")[:-1]
            slot, *request = (field.decode(errors="surrogateescape") for field in fields)
            self._working[int(slot)] = asyncio.ensure_future(self._answer(int(slot), *request))

    async def _answer(self, number: int, node: str, user: str, here: str, *words: str) -> None:
        script = b""  # where a second reboot cancels this one, the caller sees the end
        try:
            script = _script_of(await self._reply(node, user, Path(here), list(words)))
        finally:
            del self._working[number]
            if number in self._free:  # else all are closed
                writing = self._renew(number)
                if len(script) > PIPE_HOLDS:
                    await asyncio.to_thread(_give, writing, script)
                else:
                    _give(writing, script)

    def _renew(self, number: int) -> int:
        """Return the end of a pipe that its caller reads; the next caller with that number gets another one."""
        place, old = self._folder / str(number), self._free[number]
        writing = os.open(place, os.O_WRONLY | os.O_NONBLOCK)
        os.close(old)
        # The next caller with that number gets a pipe of its own, whatever is left in this one.
        self._make(number)
        (self._folder / f"{number}.taken").unlink(missing_ok=True)
        return writing


def _give(descriptor: int, data: bytes) -> None:
    """Write it all and close; the caller may have been killed."""
    os.set_blocking(descriptor, True)
    with contextlib.suppress(BrokenPipeError), os.fdopen(descriptor, "wb", buffering=0) as pipe:
        while data:
            data = data[pipe.write(data) or 0 :]


def _script_of(reply: Reply) -> bytes:
    """Return the script that says what a command says."""
    outputs = ((reply.output, ""), (reply.error, " >&2"))
    lines = [f"printf %b {shlex.quote(_escape(text))}{to}" for text, to in outputs if text]
    return "\n".join([*lines, reply.script or f"exit {reply.status}", ""]).encode(errors="surrogateescape")


def _escape(text: str) -> str:
    """Return a text for ``printf %b``, of characters that each shell reads as they are."""
    return "".join(
        chr(byte) if byte in PLAIN else f"\\0{byte:03o}" for byte in text.encode(errors="surrogateescape")
    )


def install(machine: Machine, state: Path) -> Path:
    """Put a node's shims in place, and its components' binaries; returns the folder for its PATH."""
    folder = state / "nodes" / machine.name / "bin"
    folder.mkdir(parents=True, exist_ok=True)
    asking = f"state={shlex.quote(str(state))} node={machine.name} server={os.getpid()}\n"
    asking = f"{asking}. {shlex.quote(str(state / ASK))}\n"
    (state / ASK).write_bytes((files(__package__) / ASK).read_bytes())
    for name in f"{commands.NAMES} {commands.REFUSED}".split():
        _script(folder / name, f"name={name} {asking}")
    binaries = machine.root / "usr/bin"
    binaries.mkdir(parents=True, exist_ok=True)
    known = {row.name for row in known_components()}
    for name in programs(machine):
        version = ETCD_VERSION if name == "etcd" else f"Kubernetes {machine.scenario.release}"
        answer = f'[ "$*" = --version ] && exec echo "{version}"\n' if name in known else ""
        rest = f"echo '{name} runs as a service of this rehearsal node only' >&2\nexit 1\n"
        if name in STARTERS:
            rest = f"name={name} {asking}"
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
