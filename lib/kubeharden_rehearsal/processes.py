"""The units of a rehearsal node that run scripts: instances of templates, timers that start them, and oneshot services.

They are real children of the rehearsal's server, in sessions of their own, so that they outlive the SSH session that
started them. A service of ``Type=forking`` is up once its first process has ended well; what that one leaves is its
main process then.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from time import time as clock
from typing import Any

from kubeharden_rehearsal import loaded_units, orphans
from kubeharden_rehearsal.loaded_units import LoadedUnit

SHELL = "/bin/sh"
TERM_SECONDS = 2.0
Say = Callable[[str, int, str], None]


@dataclass
class Script:
    """A unit that runs a script, and how it is.

    Attributes:
        decided: set once it is up, or will not be.
        done: set once all of its processes are gone.
    """

    active: str = "inactive"
    process: asyncio.subprocess.Process | None = None
    is_up: bool = False
    is_stopped: bool = False
    decided: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def runs(self) -> bool:
        """True while it has processes."""
        return self.active in ("active", "activating")


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
        say: called with unit, process and text for each line that a script prints.
    """

    def __init__(self, root: Path, shims: Path, say: Say) -> None:
        self._root, self._shims, self._say = root, shims, say
        self._scripts: dict[str, Script] = {}
        self._timers: dict[str, float] = {}  # when they go off, in seconds since the epoch
        self._alarms: dict[str, asyncio.TimerHandle] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def knows(self, name: str) -> bool:
        """Return whether there is a unit of that name: a timer, or an instance of a template."""
        return name in self._timers or self._unit(name) is not None

    def state(self, name: str) -> str:
        """Return ``active``, ``activating``, ``failed`` or ``inactive``."""
        if name in self._timers:
            return "active"
        return self._scripts[name].active if name in self._scripts else "inactive"

    def _unit(self, name: str) -> LoadedUnit | None:
        """Return the unit file of an instance, ``apply@one.service``; None where there is no such template."""
        template, at, _ = name.partition("@")
        return loaded_units.load(self._root, f"{template}@.service") if at else None

    async def start(self, name: str) -> None:
        """Start an instance of a template, unless it runs, and wait until it is up.

        A ScriptError where there is no such template, or where it does not come up.
        """
        unit = self._unit(name)
        if unit is None:
            raise ScriptError(f"Unit {name} not found.")
        instance = name.partition("@")[2].removesuffix(".service")
        argv = [word.replace("%i", instance) for word in unit.words("Service", "ExecStart")]
        script = await self._run(name, argv, unit.value("Service", "Type"))
        await script.decided.wait()
        if not script.is_up:
            why = (
                "canceled"
                if script.is_stopped
                else "failed because the control process exited with error code"
            )
            raise ScriptError(f"Job for {name} {why}.")

    def begin(self, name: str) -> None:
        """Start a unit, as ``start``, and do not wait for it."""
        self._keep(self._start_quietly(name))

    async def _start_quietly(self, name: str) -> None:
        with contextlib.suppress(ScriptError):
            await self.start(name)

    async def _run(self, name: str, argv: list[str], kind: str) -> Script:
        found = self._scripts.get(name)
        if found is not None and found.runs:
            return found
        script = self._scripts[name] = Script("activating" if kind == "forking" else "active")
        if kind != "forking":
            _decide(script, is_up=True)
        reading, writing = os.pipe()
        script.process = await asyncio.create_subprocess_exec(
            *self._host_command(argv),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=writing,
            stderr=writing,
            cwd=self._root,
            env=environment(self._root, self._shims, "root"),
            start_new_session=True,
        )
        os.close(writing)
        self._keep(self._follow(name, script, script.process, reading))
        return script

    async def stop(self, name: str) -> None:
        """Stop a unit, with all of its processes; a timer goes off no more."""
        if name in self._timers:
            self._forget(name)
        script = self._scripts.get(name)
        if script is None or script.process is None or not script.runs:
            return
        script.is_stopped = True
        _signal(script.process, signal.SIGTERM)
        try:
            await asyncio.wait_for(script.done.wait(), TERM_SECONDS)
        except TimeoutError:
            _signal(script.process, signal.SIGKILL)
            await script.done.wait()

    def reset_failed(self, name: str) -> None:
        """Forget a unit that failed."""
        if self.state(name) == "failed":
            self._scripts.pop(name, None)

    def set_timer(self, name: str, seconds: float) -> None:
        """Do ``systemd-run --unit=NAME --on-active=…``: a timer that starts the service of its name, once.

        A ScriptError where there is such a timer, or no such service.
        """
        timer = f"{name.removesuffix('.service')}.timer"
        if timer in self._timers:
            raise ScriptError(f"Unit {timer} was already loaded or has a fragment file.")
        if self._unit(name) is None:
            raise ScriptError(f"Unit {name} not found.")
        self._arm(timer, clock() + seconds)

    async def once(self, name: str, argv: list[str], seconds: float | None) -> None:
        """Run a service of ``Type=oneshot`` to its end, or stop it after that time."""
        script = await self._run(name, argv, "oneshot")
        try:
            await asyncio.wait_for(script.done.wait(), seconds)
        except TimeoutError:
            await self.stop(name)
        self._scripts.pop(name, None)

    async def cut(self) -> None:
        """End everything at once, as a power cut does."""
        for name in list(self._timers):
            self._forget(name)
        running = [s for s in self._scripts.values() if s.process is not None and s.runs]
        for script in running:
            if script.process is not None:
                _signal(script.process, signal.SIGKILL)
        self._scripts.clear()
        for script in running:
            await script.done.wait()

    def to_json(self) -> dict[str, float]:
        """Return the timers, which have to outlive the server: when each goes off."""
        return self._timers

    def resume(self, data: dict[str, float]) -> None:
        """Go on from ``to_json``; what is overdue goes off at once."""
        for name, due in data.items():
            self._arm(name, due)

    def _host_command(self, argv: list[str]) -> list[str]:
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
        if status == 0 and not script.decided.is_set():
            _decide(script, is_up=True)
            script.active = "active"
            status = await orphans.end_of(process.pid)
        _signal(process, signal.SIGKILL)  # systemd ends what is left in the unit's control group
        await listener
        orphans.reap()
        is_good = status == 0 or (script.is_stopped and status < 0)
        script.active = "inactive" if is_good else "failed"
        _decide(script, is_up=script.is_up)
        script.done.set()
        if self._scripts.get(name) is not script:
            return  # the power was cut
        if is_good:
            del self._scripts[name]
        elif unit := self._unit(name):
            await self._after_failure(name, script, unit)

    async def _after_failure(self, name: str, script: Script, unit: LoadedUnit) -> None:
        """Start what the unit wants then: itself, unless it was stopped, or others."""
        if unit.value("Service", "Restart") == "on-failure" and not script.is_stopped:
            await asyncio.sleep(loaded_units.seconds(unit.value("Service", "RestartSec"), 0.1))
            if self.state(name) == "failed":
                self.begin(name)
        instance = name.partition("@")[2].removesuffix(".service")
        for other in unit.words("Unit", "OnFailure"):
            self.begin(other.replace("%i", instance))

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

    def _arm(self, name: str, due: float) -> None:
        self._timers[name] = due
        loop = asyncio.get_running_loop()
        self._alarms[name] = loop.call_later(max(0.0, due - clock()), self._go_off, name)

    def _go_off(self, name: str) -> None:
        self.begin(f"{name.removesuffix('.timer')}.service")

    def _forget(self, name: str) -> None:
        self._timers.pop(name)
        self._alarms.pop(name).cancel()


def _signal(process: asyncio.subprocess.Process, number: signal.Signals) -> None:
    """Send a signal to every process of its session's group, those that outlived the first one included."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


def _decide(script: Script, *, is_up: bool) -> None:
    script.is_up = is_up
    script.decided.set()
