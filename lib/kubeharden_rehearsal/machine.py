"""A simulated node: a file tree, accounts, systemd, a journal, and the components that run."""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from time import time as clock
from typing import Any

from kubeharden.components.programs import arguments, component_of
from kubeharden.releases import Release, feature
from kubeharden_rehearsal import apiserver_process, component_processes, loaded_units
from kubeharden_rehearsal.atomic import write_atomically
from kubeharden_rehearsal.behaviour import Klog, RefusedError, Started, Surroundings
from kubeharden_rehearsal.configz import configz
from kubeharden_rehearsal.manager import Launch, Manager, Outcome
from kubeharden_rehearsal.node_journal import Journal, JournalEntry
from kubeharden_rehearsal.owners import Owners
from kubeharden_rehearsal.processes import SHELL, Scripts
from kubeharden_rehearsal.scenario import Account, NodeSpec, Scenario

_ORDER = "docker containerd etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
BOOT_ORDER = [f"{name}.service" for name in _ORDER.split()]
ROOT = Account(uid=0, groups=("root",))
OPS = Account(uid=1000, groups=("ops",))
STARTERS = {
    "kubelet": component_processes.start_kubelet,
    "kube-proxy": component_processes.start_proxy,
    "kube-scheduler": component_processes.start_scheduler,
    "kube-apiserver": apiserver_process.start_apiserver,
}
# How long it takes until they serve, in seconds; they run whatever their command line is.
_OTHERS = {"etcd": 0.05, "dockerd": 0.05, "containerd": 0.05, "kube-controller-manager": 0.1}
# How long a component takes to find out that it cannot go on.
_LAST_WORDS_SECONDS = 0.2


@dataclass
class Component:
    """A process that serves: what ``proc`` and ``/configz`` say of it."""

    name: str
    argv: tuple[str, ...]
    started: float
    config: dict[str, Any] = field(default_factory=dict)


Hook = Callable[["Machine", Component], Awaitable[None]]


async def _nothing(*_: object) -> None:
    """Do nothing: the hook of a machine that is on its own."""


class Machine:
    """One node. Its ``Manager`` calls it as ``Processes``.

    Attributes:
        root: the folder that is its ``/``.
        running: the components that serve, by unit.
        on_off: called when its power goes: all logins end.
    """

    def __init__(self, scenario: Scenario, spec: NodeSpec, directory: Path) -> None:
        self.scenario, self.spec = scenario, spec
        self.root = directory / "nodes" / spec.name
        self._state = directory / "state/nodes" / spec.name
        self._state.mkdir(parents=True, exist_ok=True)
        self.accounts = {"root": ROOT, "ops": OPS, **spec.users}
        self.owners = Owners(self.root, self._state / "owners.json")
        self.journal = Journal(self._state / "journal.jsonl", spec.name)
        self.manager = Manager(self.root, self, clock)
        self.scripts = Scripts(self.root, self._state / "bin", self._log_output)
        self.running: dict[str, Component] = {}
        self._starting: dict[str, Component] = {}
        self.on_serving: Hook = _nothing
        self.on_ended: Hook = _nothing
        self.on_off: Callable[[], Awaitable[None]] = _nothing
        self.is_on = True
        self.booted, self.boot_id, self.machine_id = 0.0, "", uuid.uuid5(uuid.NAMESPACE_DNS, spec.name).hex

    @property
    def name(self) -> str:
        """Return the node's name."""
        return self.spec.name

    def boot(self, time: float) -> None:
        """Start the machine as if it had been at ``time``, in seconds since the epoch."""
        self._begin_boot(time)
        for path in sorted(p for p in self.root.rglob("*") if p.is_file() and not p.is_symlink()):
            rule = self.scenario.rule(str(path.relative_to(self.root)))
            if rule.owner != "root" or rule.group != "root":
                self.owners.set(path, rule.owner, rule.group)
        self.manager.boot(BOOT_ORDER, time + 11)

    def _begin_boot(self, time: float) -> None:
        self.booted, self.boot_id = time, str(uuid.uuid4())
        texts = {"proc/sys/kernel/random/boot_id": self.boot_id, "etc/machine-id": self.machine_id}
        for name, text in texts.items():
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            (self.root / name).write_text(f"{text}\n", encoding="utf-8")

    async def cut_power(self) -> None:
        """End everything that runs at once, and boot: what is enabled starts, scripts first."""
        self.is_on = False
        await self.on_off()
        await self.scripts.cut()
        await self.manager.cut()
        self._begin_boot(clock())
        self.manager.reload()
        enabled = self.manager.boot_units(BOOT_ORDER)
        commands = {name: self.manager.loaded[name].words("Service", "ExecStart") for name in enabled}
        scripts = [name for name in enabled if commands[name][:1] == [SHELL]]
        for name in scripts:
            limit = loaded_units.seconds(self.manager.loaded[name].value("Service", "TimeoutStartSec"), 0.0)
            await self.scripts.once(name, commands[name], limit or None)
        self.is_on = True
        await self.manager.start_all([name for name in enabled if name not in scripts])
        self.persist()

    def resume(self) -> None:
        """Go on where an earlier server stopped."""
        data = json.loads((self._state / "machine.json").read_text(encoding="utf-8"))
        self.booted, self.boot_id = data["booted"], data["boot_id"]
        self._starting = {unit: Component(**row) for unit, row in data["components"].items()}
        self.manager.resume(data["manager"])
        self.scripts.resume(data["timers"])

    def persist(self) -> None:
        """Put what has to outlive the server on disk."""
        known = {**self._starting, **self.running}
        data = {
            "booted": self.booted,
            "boot_id": self.boot_id,
            "components": {unit: vars(component) for unit, component in known.items()},
            "manager": self.manager.to_json(),
            "timers": self.scripts.to_json(),
        }
        write_atomically(self._state / "machine.json", json.dumps(data))

    async def close(self) -> None:
        """Stop, with the state on disk."""
        self.manager.close()
        self.persist()
        await self.scripts.cut()
        self.journal.close()

    def log(self, unit: str, message: str, time: float | None = None) -> None:
        """Log a message of systemd about a unit."""
        self._write(time or clock(), unit, 1, "systemd", message, "")

    def _log_output(self, unit: str, pid: int, text: str) -> None:
        self._write(clock(), unit, pid, "sh", text, "")

    def _write(
        self, time: float, unit: str, pid: int, identifier: str, message: str, invocation: str
    ) -> None:
        boot = self.boot_id.replace("-", "")
        self.journal.append(JournalEntry(time, unit, pid, identifier, message, invocation, boot))

    def launch(self, launch: Launch) -> Outcome:
        """Start a process: its ``/proc`` entry, its words in the journal, and what becomes of it."""
        program = launch.argv[0]
        name = component_of(launch.argv)
        if launch.user not in self.accounts:
            words = f"{launch.unit}: Failed to determine user credentials: No such process"
            self.log(launch.unit, words, launch.time)
            step = f"{launch.unit}: Failed at step USER spawning {program}: No such process"
            self.log(launch.unit, step, launch.time)
            return Outcome(0.02, status=217)
        if not (self.root / program.lstrip("/")).exists():
            step = f"{launch.unit}: Failed at step EXEC spawning {program}: No such file or directory"
            self.log(launch.unit, step, launch.time)
            return Outcome(0.02, status=203)
        proc = self.root / "proc" / str(launch.pid)
        proc.mkdir(parents=True, exist_ok=True)
        (proc / "cmdline").write_bytes(b"".join(word.encode() + b"\0" for word in launch.argv))
        (proc / "cgroup").write_text(f"0::/system.slice/{launch.unit}\n", encoding="utf-8")
        (proc / "comm").write_text(f"{name[:15]}\n", encoding="utf-8")
        try:
            started = self.begin(name, launch)
        except RefusedError as error:
            self._say(launch, name, error.lines)
            return Outcome(_LAST_WORDS_SECONDS, error.status)
        self._say(launch, name, started.lines)
        self._starting[launch.unit] = Component(name, launch.argv, launch.time, started.config)
        return Outcome(started.seconds)

    def begin(self, name: str, launch: Launch) -> Started:
        """Let a component read its command line and files; a RefusedError where it does not start."""
        around = Surroundings(
            version=self.scenario.release,
            node=self.name,
            user=launch.user,
            read=lambda path: self.read(path, launch.user),
            log=Klog(launch.pid, launch.time),
            cgroup_driver=self._cgroup_driver(),
            running=frozenset({*self.running, *self._starting}),
        )
        starter = STARTERS.get(name)
        if starter is not None:
            return starter(arguments(name, launch.argv), around)
        return Started([f"{name} started"], seconds=_OTHERS.get(name, 0.05))

    def _say(self, launch: Launch, name: str, lines: list[str]) -> None:
        for index, line in enumerate(lines):
            time = launch.time + index * 0.002
            self._write(time, launch.unit, launch.pid, name, line, launch.invocation)

    async def serving(self, unit: str) -> None:
        """Take notice that a started process serves from now on."""
        component = self._starting.pop(unit, None)
        if component is not None:
            self.running[unit] = component
            await self.on_serving(self, component)

    async def remove_process(self, unit: str) -> None:
        """Take notice that a process is gone."""
        pid = self.manager.state(unit).pid
        proc = self.root / "proc" / str(pid)
        if pid and proc.is_dir():
            for path in proc.iterdir():
                path.unlink()
            proc.rmdir()
        self._starting.pop(unit, None)
        component = self.running.pop(unit, None)
        if component is not None:
            await self.on_ended(self, component)

    @property
    def settled(self) -> bool:
        """Return whether every process that was started either serves or has ended."""
        return not self._starting

    def component(self, name: str) -> Component | None:
        """Return a component that serves, by the name of its program."""
        return next((c for c in self.running.values() if c.name == name), None)

    def read(self, path: str, user: str = "root") -> bytes:
        """Read a file as a user of the node; a FileNotFoundError or PermissionError as open() has it."""
        account = self.accounts.get(user, ROOT)
        self.owners.check_readable(path, user, account.groups)
        return (self.root / path.lstrip("/")).read_bytes()

    def _cgroup_driver(self) -> str:
        try:
            options = json.loads(self.read("/etc/docker/daemon.json")).get("exec-opts", [])
        except (FileNotFoundError, ValueError):
            return "cgroupfs"
        return "systemd" if "native.cgroupdriver=systemd" in options else "cgroupfs"

    def http(self, port: int, path: str) -> tuple[int, str] | None:
        """Ask a service on the node's loopback: status and body; None where nothing listens."""
        for component in self.running.values():
            answer = _answer(component, port, path, Release.parse(self.scenario.release))
            if answer is not None:
                return answer
        return None

    def https(self, port: int, path: str) -> tuple[int, str] | None:
        """Ask with TLS and without a credential; only an API server listens there."""
        server = self.component("kube-apiserver")
        if server is None or port != server.config.get("securePort"):
            return None
        if not server.config.get("anonymous", True):
            return 401, '{"kind":"Status","status":"Failure","message":"Unauthorized","code":401}\n'
        if path == "/healthz" and "etcd.service" not in self.running:
            return 500, "[+]ping ok\n[-]etcd failed: reason withheld\nhealthz check failed\n"
        return _health(path)


def shown_config(config: dict[str, Any]) -> dict[str, Any]:
    """Return the effective configuration without what is only kept beside it."""
    return {key: value for key, value in config.items() if not key.startswith("_")}


def _answer(component: Component, port: int, path: str, release: Release) -> tuple[int, str] | None:
    config = component.config
    if component.name == "kubelet":
        return _health(path) if port == config.get("healthzPort") else None
    if component.name == "kube-proxy":
        if port == _port(config.get("healthzBindAddress")):
            return _health(path)
        pages = {"/configz": configz("kube-proxy", release, config)}
        return _page(path, pages) if port == _port(config.get("metricsBindAddress")) else None
    if component.name == "kube-scheduler" and feature("kube-scheduler insecure port").in_release(release):
        pages = {"/healthz": "ok", "/configz": configz("kube-scheduler", release, config)}
        return _page(path, pages) if port == _port(config.get("healthzBindAddress")) else None
    return None


def _port(address: object) -> int:
    port = str(address or "").rpartition(":")[2]
    return int(port) if port.isdigit() else 0


def _health(path: str) -> tuple[int, str]:
    return _page(path, {"/healthz": "ok"})


def _page(path: str, pages: dict[str, str]) -> tuple[int, str]:
    return (200, pages[path]) if path in pages else (404, "404 page not found\n")
