"""The units of a rehearsal node that run scripts: transient ones, their timers, and the keeper of a transaction.

They are real children of the rehearsal's server, in sessions of their own, so that they outlive the SSH session that
started them, as those of systemd-run do.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import time as clock
from typing import Any

SHELL = "/bin/sh"
TERM_SECONDS = 2.0
Say = Callable[[str, int, str], None]


@dataclass
class Script:
    """A unit that runs a script: what it runs, and how it is."""

    argv: tuple[str, ...]
    active: str = "inactive"
    process: asyncio.subprocess.Process | None = None
    done: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass
class Timer:
    """A timer, in seconds since the epoch and seconds; it starts the script of the same name."""

    due: float
    again: float = 0.0


class ScriptError(Exception):
    """A unit cannot be started; the text is that of systemd."""


def environment(root: Path, shims: Path, user: str) -> dict[str, str]:
    """Return the environment of a process on a node."""
    home = "/root" if user == "root" else str(root / "home" / user)
    return {
        "KUBEHARDEN_ROOT": str(root),
        "PATH": f"{shims}:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        "HOME": home,
        "USER": user,
        "LOGNAME": user,
        "SHELL": SHELL,
        "LANG": "C.UTF-8",
    }


class Scripts:
    """The script units of one node, by name; names are with ``.service`` or ``.timer``.

    Args:
        root: the node's file tree.
        shims: the folder with the commands that are the node's own.
        say: called with unit, process and text for each line that a script prints.
    """

    def __init__(self, root: Path, shims: Path, say: Say) -> None:
        self._root, self._shims, self._say = root, shims, say
        self._scripts: dict[str, Script] = {}
        self._timers: dict[str, Timer] = {}
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def knows(self, name: str) -> bool:
        """Return whether there is a unit of that name."""
        return name in self._scripts or name in self._timers

    def state(self, name: str) -> str:
        """Return ``active``, ``failed`` or ``inactive``."""
        if name in self._timers:
            return "active"
        return self._scripts[name].active if name in self._scripts else "inactive"

    async def run(self, name: str, argv: tuple[str, ...]) -> None:
        """Start a transient service: ``systemd-run --unit=NAME``.

        Raises:
            ScriptError: there is one of that name.
        """
        if name in self._scripts:
            raise ScriptError(f"Unit {name} was already loaded or has a fragment file.")
        self._scripts[name] = Script(argv)
        await self.start(name)

    async def start(self, name: str) -> None:
        """Start a unit that there is, unless it runs."""
        script = self._scripts[name]
        if script.active == "active":
            return
        script.active = "active"
        script.done = asyncio.Event()
        reading, writing = os.pipe()
        script.process = await asyncio.create_subprocess_exec(
            *self._words(script.argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            cwd=self._root,
            env=environment(self._root, self._shims, "root"),
            start_new_session=True,
        )
        os.close(writing)
        self._keep(self._follow(name, script, script.process, reading))

    async def stop(self, name: str) -> None:
        """Stop a unit, with all of its processes; a timer goes off no more."""
        if name in self._timers:
            self._forget(name)
        script = self._scripts.get(name)
        if script is None or script.process is None or script.active != "active":
            return
        _signal(script.process, signal.SIGTERM)
        try:
            await asyncio.wait_for(script.done.wait(), TERM_SECONDS)
        except TimeoutError:
            _signal(script.process, signal.SIGKILL)
            await script.done.wait()
        script.active = "inactive"
        self._collect(name)

    def reset_failed(self, name: str) -> None:
        """Forget a unit that failed."""
        if self._scripts[name].active == "failed":
            self._scripts[name].active = "inactive"
            self._collect(name)

    def set_timer(self, name: str, seconds: float, again: float, argv: tuple[str, ...]) -> None:
        """Do ``systemd-run --unit=NAME --on-active=… --on-unit-inactive=…``.

        Args:
            name: without ``.timer``.
            seconds: after how many it goes off.
            again: how long after the service has ended it goes off again; 0 for once only.
            argv: what it starts.

        Raises:
            ScriptError: there is such a unit.
        """
        if self.knows(f"{name}.timer") or self.knows(f"{name}.service"):
            raise ScriptError(f"Unit {name}.timer was already loaded or has a fragment file.")
        self._scripts[f"{name}.service"] = Script(argv)
        self._arm(f"{name}.timer", Timer(clock() + seconds, again))

    async def once(self, name: str, argv: tuple[str, ...]) -> None:
        """Run a unit to its end: a service of ``Type=oneshot``."""
        await self.run(name, argv)
        await self._scripts[name].done.wait()
        self._scripts.pop(name, None)

    async def cut(self) -> None:
        """End everything at once, as a power cut does."""
        for name in list(self._timers):
            self._forget(name)
        running = [s for s in self._scripts.values() if s.process is not None and s.active == "active"]
        for script in running:
            if script.process is not None:
                _signal(script.process, signal.SIGKILL)
        for script in running:
            await script.done.wait()
        self._scripts.clear()

    def to_json(self) -> dict[str, Any]:
        """Return the timers, which have to outlive the server, as plain data."""
        return {
            name: {**asdict(timer), "argv": self._scripts[_service(name)].argv}
            for name, timer in self._timers.items()
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Go on from ``to_json``; what is overdue goes off at once."""
        for name, row in data.items():
            self._scripts[_service(name)] = Script(tuple(row["argv"]))
            self._arm(name, Timer(row["due"], row["again"]))

    def _words(self, argv: tuple[str, ...]) -> list[str]:
        """Return a command line of the node as one of the host: its shell, and paths below its tree."""
        own = self._shims / "sh"
        shell = str(own) if own.exists() else SHELL
        rest = [
            str(self._root / word.lstrip("/")) if (self._root / word.lstrip("/")).is_file() else word
            for word in argv[1:]
        ]
        return [shell if argv[0] == SHELL else argv[0], *rest]

    async def _follow(
        self, name: str, script: Script, process: asyncio.subprocess.Process, output: int
    ) -> None:
        listener = asyncio.create_task(self._listen(name, process.pid, output))
        status = await process.wait()
        _signal(process, signal.SIGKILL)  # systemd ends what is left in the unit's control group
        await listener
        script.active = "inactive" if status == 0 else "failed"
        script.done.set()
        timer = self._timers.get(f"{name.removesuffix('.service')}.timer")
        if timer is not None and timer.again:
            self._arm(f"{name.removesuffix('.service')}.timer", Timer(clock() + timer.again, timer.again))
        self._collect(name)

    async def _listen(self, name: str, pid: int, output: int) -> None:
        lines = asyncio.StreamReader()
        with os.fdopen(output, "rb", buffering=0) as file:
            loop = asyncio.get_running_loop()
            pipe, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), file)
            async for line in lines:
                self._say(name, pid, line.decode(errors="replace").rstrip("\n"))
            pipe.close()

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _arm(self, name: str, timer: Timer) -> None:
        if name in self._alarms:
            self._alarms[name].cancel()
        self._timers[name] = timer
        loop = asyncio.get_running_loop()
        self._alarms[name] = loop.call_later(max(0.0, timer.due - clock()), self._go_off, name)

    def _go_off(self, name: str) -> None:
        self._keep(self.start(_service(name)))

    def _forget(self, name: str) -> None:
        self._timers.pop(name)
        self._alarms.pop(name).cancel()
        self._collect(_service(name))

    def _collect(self, name: str) -> None:
        """Forget a transient unit that has ended well and that no timer holds, as systemd does."""
        timed = f"{name.removesuffix('.service')}.timer" in self._timers
        if name in self._scripts and self._scripts[name].active == "inactive" and not timed:
            del self._scripts[name]


def _service(timer: str) -> str:
    return f"{timer.removesuffix('.timer')}.service"


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to every process of its session's group, those that outlived the first one included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)
