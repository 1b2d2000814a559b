"""systemd of a rehearsal node: starts, stops and restarts services, and knows what it has loaded."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

from kubeharden.components.programs import started_program
from kubeharden.errors import UnitError
from kubeharden_rehearsal import loaded_units
from kubeharden_rehearsal.loaded_units import LoadedUnit

# DefaultRestartSec, DefaultStartLimitIntervalSec and DefaultStartLimitBurst of systemd-system.conf(5).
RESTART_SECONDS, LIMIT_SECONDS, LIMIT_BURST = 0.1, 10.0, 5
# Above the kernel's PID_MAX_LIMIT of 2^22, so that no kill typed on a node can reach a process of the host.
FIRST_PID = 4_195_000
# systemd.exec(5), "Process Exit Codes".
EXIT_NAMES = {203: "EXEC", 217: "USER"}
Now = Callable[[], float]


class JobError(Exception):
    """A job failed; the text and exit status are those of systemctl."""

    def __init__(self, message: str, status: int = 1) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Launch:
    """A process that systemd starts."""

    unit: str
    argv: tuple[str, ...]
    user: str
    pid: int
    invocation: str
    time: float


@dataclass(frozen=True)
class Outcome:
    """The outcome of a start: it serves after ``seconds``, or has exited by then with ``status``."""

    seconds: float
    status: int | None = None


class Processes(Protocol):
    """The functions of its machine that the manager needs."""

    def launch(self, launch: Launch) -> Outcome:
        """Start a process."""

    async def serving(self, unit: str) -> None:
        """Take notice that a started process serves from now on."""

    async def remove_process(self, unit: str) -> None:
        """Take notice that a process is gone."""

    def log(self, unit: str, message: str, time: float | None = None) -> None:
        """Log a message of systemd about a unit."""

    def persist(self) -> None:
        """Put on disk what has changed."""


@dataclass
class UnitState:
    """A service at run time, in the words of ``systemctl show``."""

    active: str = "inactive"
    sub: str = "dead"
    result: str = "success"
    pid: int = 0
    restarts: int = 0
    invocation: str = ""
    started: float = 0.0
    exit_status: int = 0
    starts: list[float] = field(default_factory=list)


class Manager:
    """The services of one node; names are with ``.service``."""

    def __init__(self, root: Path, processes: Processes, now: Now) -> None:
        self.root, self._processes, self._now = root, processes, now
        self.loaded: dict[str, LoadedUnit] = {}
        self.states: dict[str, UnitState] = {}
        self._next_pid = FIRST_PID
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def boot(self, order: list[str], time: float) -> None:
        """Start every service that has a unit file, as if it had been at ``time`` (seconds since the epoch)."""
        self.reload()
        for name in _sort(self.loaded, order):
            if not self.loaded[name].masked:
                self._spawn(name, time)
                time += 0.7

    def boot_units(self, order: list[str]) -> list[str]:
        """Return the services that start at boot: those that a target wants, as ``systemctl enable`` has it."""
        wanted = {link.name for link in self.root.glob("etc/systemd/system/*.target.wants/*.service")}
        names = [name for name, unit in self.loaded.items() if name in wanted and not unit.masked]
        return _sort(names, order)

    async def start_all(self, order: list[str]) -> None:
        """Start services in that order; one that fails does not keep the others from it."""
        for name in order:
            with contextlib.suppress(JobError):
                await self.start(name)

    async def cut(self) -> None:
        """End all services at once and without a word, as a power cut does."""
        for name in list(self.states):
            self._cancel(name)
            await self._processes.remove_process(name)
        self.states.clear()

    def reload(self) -> None:
        """Read all unit files again: ``systemctl daemon-reload``."""
        names = {*loaded_units.names(self.root), *self.loaded}
        found = {name: loaded_units.load(self.root, name) for name in names}
        self.loaded = {name: unit for name, unit in found.items() if unit is not None}
        self._processes.persist()

    def find(self, name: str) -> LoadedUnit | None:
        """Return a unit as it was loaded; read one that was never looked at."""
        if name not in self.loaded:
            unit = loaded_units.load(self.root, name)
            if unit is None:
                return None
            self.loaded[name] = unit
        return self.loaded[name]

    def reset_failed(self, name: str) -> None:
        """Forget that a service failed, and how often it was started."""
        state = self.state(name)
        state.starts = []
        if state.active == "failed":
            state.active, state.sub, state.result = "inactive", "dead", "success"
        self._processes.persist()

    def state(self, name: str) -> UnitState:
        """Return the state of a unit."""
        return self.states.setdefault(name, UnitState())

    async def start(self, name: str) -> None:
        """Start a service and what it requires.

        Raises:
            JobError: there is no such unit, it cannot be read, or (``Type=notify``) it did not come up.
        """
        unit = self._startable(name, "start")
        if self.state(name).active in ("active", "reloading"):
            return
        for required in unit.words("Unit", "Requires"):
            if self.find(required) is not None:
                await self.start(required)
        self._cancel(name)
        self.state(name).restarts = 0
        self._spawn(name, self._now())
        if unit.value("Service", "Type") in ("notify", "oneshot") and name in self._tasks:
            await asyncio.shield(self._tasks[name])
        if self.state(name).active not in ("active", "activating"):
            raise JobError(
                f"Job for {name} failed because the control process exited with error code.\n"
                f'See "systemctl status {name}" and "journalctl -xe" for details.'
            )

    async def stop(self, name: str) -> list[str]:
        """Stop a service and those that require it, and return the ones that ran. A JobError without such a unit."""
        unit = self.find(name)
        if unit is None:
            raise JobError(f"Failed to stop {name}: Unit {name} not loaded.", 5)
        stopped = []
        for other in list(self.loaded):
            if name in self.loaded[other].words("Unit", "Requires") and self.state(other).pid:
                stopped += await self.stop(other)
        self._cancel(name)
        state = self.state(name)
        if state.pid:
            self._processes.log(name, f"Stopping {_description(unit, name)}...")
            await self._clear(name)
            stopped.append(name)
            self._processes.log(name, f"Stopped {_description(unit, name)}.")
        state.active, state.sub, state.result = "inactive", "dead", "success"
        self._processes.persist()
        return stopped

    async def restart(self, name: str) -> None:
        """Stop a service if it runs, and start it and those that were stopped with it; errors as of ``start``."""
        self._startable(name, "restart")
        stopped = await self.stop(name)
        for unit in dict.fromkeys([name, *reversed(stopped)]):
            await self.start(unit)

    def _startable(self, name: str, verb: str) -> LoadedUnit:
        unit = self.find(name)
        if unit is None:
            raise JobError(f"Failed to {verb} {name}: Unit {name} not found.", 5)
        if unit.masked:
            raise JobError(f"Failed to {verb} {name}: Unit {name} is masked.")
        if not unit.values("Service", "ExecStart"):
            raise JobError(
                f"Failed to {verb} {name}: Unit {name} has a bad unit file setting.\n"
                f"See system logs and 'systemctl status {name}' for details."
            )
        return unit

    def _spawn(self, name: str, time: float) -> None:
        unit, state = self.loaded[name], self.state(name)
        state.starts = [t for t in state.starts if time - t < _limit(unit)[0]] + [time]
        state.invocation, state.started, state.exit_status = uuid.uuid4().hex, time, 0
        if len(state.starts) > _limit(unit)[1] > 0:
            self._processes.log(name, f"{name}: Start request repeated too quickly.", time)
            self._fail(name, "start-limit-hit")
            return
        try:
            argv = started_program(unit.service(self.root).argv())
        except UnitError as error:
            self._processes.log(name, f"{name}: Failed to load environment files: {error}", time)
            self._fail(name, "resources")
            return
        self._next_pid += 7
        state.pid = self._next_pid
        notify = unit.value("Service", "Type") in ("notify", "oneshot")
        state.active, state.sub = ("activating", "start") if notify else ("active", "running")
        state.result = "success"
        if not notify:
            self._processes.log(name, f"Started {_description(unit, name)}.", time)
        user = unit.value("Service", "User") or "root"
        launch = Launch(name, argv, user, state.pid, state.invocation, time)
        outcome = self._processes.launch(launch)
        self._processes.persist()
        self._tasks[name] = asyncio.ensure_future(self._watch(name, outcome, notify))

    async def _watch(self, name: str, outcome: Outcome, notify: bool) -> None:
        state = self.state(name)
        await asyncio.sleep(max(0.0, state.started + outcome.seconds - self._now()))
        if outcome.status is None:
            await self._processes.serving(name)
            if notify:
                self._processes.log(name, f"Started {_description(self.loaded[name], name)}.", state.started)
            state.active, state.sub = "active", "running"
            self._processes.persist()
            return
        await self.handle_exit(name, outcome.status)

    async def handle_exit(self, name: str, status: int) -> None:
        """Restart a process that has exited by itself, as the unit says."""
        state, unit = self.state(name), self.loaded[name]
        await self._clear(name)
        state.exit_status = status
        words = f"{name}: Main process exited, code=exited, status={status}/{EXIT_NAMES.get(status, 'n/a')}"
        self._processes.log(name, words)
        result = "success" if status == 0 else "exit-code"
        if result != "success":
            self._processes.log(name, f"{name}: Failed with result '{result}'.")
        policy = unit.value("Service", "Restart", "no")
        if policy == "always" or (policy in ("on-failure", "on-abnormal") and status):
            state.active, state.sub, state.result = "activating", "auto-restart", result
            self._processes.persist()
            self._tasks[name] = asyncio.ensure_future(self._restart_later(name))
        else:
            self._fail(name, result)

    async def _restart_later(self, name: str) -> None:
        unit, state = self.loaded[name], self.state(name)
        await asyncio.sleep(loaded_units.seconds(unit.value("Service", "RestartSec"), RESTART_SECONDS))
        state.restarts += 1
        self._processes.log(name, f"{name}: Service hold-off time over, scheduling restart.")
        self._processes.log(name, f"{name}: Scheduled restart job, restart counter is at {state.restarts}.")
        self._spawn(name, self._now())

    def _fail(self, name: str, result: str) -> None:
        state = self.state(name)
        failed = result != "success"
        state.active, state.sub = ("failed", "failed") if failed else ("inactive", "dead")
        state.result, state.pid = result, 0
        self._processes.persist()

    async def _clear(self, name: str) -> None:
        await self._processes.remove_process(name)
        self.state(name).pid = 0

    def _cancel(self, name: str) -> None:
        task = self._tasks.pop(name, None)
        if task is not None and task is not asyncio.current_task():
            task.cancel()

    def to_json(self) -> dict[str, Any]:
        """Return what has to outlive the server, as plain data."""
        return {
            "next_pid": self._next_pid,
            "loaded": {name: asdict(unit) for name, unit in self.loaded.items()},
            "states": {name: asdict(state) for name, state in self.states.items()},
        }

    def resume(self, data: dict[str, Any]) -> None:
        """Go on from ``to_json``; services that waited for a restart wait again."""
        self._next_pid = data["next_pid"]
        self.loaded = {name: LoadedUnit.from_json(unit) for name, unit in data["loaded"].items()}
        self.states = {name: UnitState(**state) for name, state in data["states"].items()}
        for name, state in self.states.items():
            if state.sub == "auto-restart":
                self._tasks[name] = asyncio.ensure_future(self._restart_later(name))
            elif state.pid:
                self._tasks[name] = asyncio.ensure_future(self._watch(name, Outcome(0.0), notify=False))

    def close(self) -> None:
        """Stop all timers."""
        for task in self._tasks.values():
            task.cancel()


def _sort(names: Iterable[str], order: list[str]) -> list[str]:
    return sorted(names, key=lambda name: order.index(name) if name in order else len(order))


def _description(unit: LoadedUnit, name: str) -> str:
    return unit.value("Unit", "Description") or name


def _limit(unit: LoadedUnit) -> tuple[float, int]:
    interval = unit.value("Unit", "StartLimitIntervalSec") or unit.value("Service", "StartLimitInterval")
    burst = unit.value("Unit", "StartLimitBurst") or unit.value("Service", "StartLimitBurst")
    return loaded_units.seconds(interval, LIMIT_SECONDS), int(burst or LIMIT_BURST)
