"""A cluster in this process: fakes behind the ports of a run, with no socket, no process and no waiting.

The facts of ``fixtures/plans`` are its nodes, the rehearsal's control plane is its API, and its clock jumps: whoever
waits for something moves the time on to it, and what is due by then happens first. What is to go wrong is said with
``World.faults`` (requests to the API), ``World.lost`` (requests to nodes) and ``World.broken`` (services).
"""

from __future__ import annotations

import heapq
import itertools
import json
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from multidict import CIMultiDict
from yarl import URL

from facts_fixtures import PLANS, read_facts
from faults import ALWAYS, CUT, HANG, Faults
from kubeharden import runbook
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.cluster.client import TIMEOUT_SECONDS, Client, Response
from kubeharden.edges.ports import Ports, StopRequest, Stream, Transaction, TransactionResult
from kubeharden.errors import ForwardingError, NodeError
from kubeharden.facts import FileFact, NodeFacts, ServiceFacts
from kubeharden.inputs.inventory import Inventory, Node
from kubeharden.kube.rbac import Identity
from kubeharden.plan import NodeChange, sha256
from kubeharden.redaction import Redactor
from kubeharden.releases import Release
from kubeharden_rehearsal.api.server import ApiServer
from kubeharden_rehearsal.apiserver_process import configuration
from kubeharden_rehearsal.behaviour import RefusedError
from kubeharden_rehearsal.configz import configz
from kubeharden_rehearsal.control_plane import HEARTBEAT_SECONDS, ROUND_SECONDS, ControlPlane
from kubeharden_rehearsal.kubelets import UNREADY_SECONDS
from kubeharden_rehearsal.machine import Component
from kubeharden_rehearsal.scenario import load_scenario

ADMINISTRATOR = "kubernetes-admin"
# Times of the API are whole seconds: a heartbeat comes just after one.
FIRST_MOMENT = datetime(2026, 3, 1, 12, 0, 0, 20_000, UTC)
UPTIME = timedelta(days=3)


class FakeClock:
    """A clock that stands still until somebody waits."""

    def __init__(self) -> None:
        self._seconds = 0.0
        self._due: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._moving = threading.RLock()

    def now(self) -> datetime:
        return FIRST_MOMENT + timedelta(seconds=self._seconds)

    def monotonic(self) -> float:
        return self._seconds

    def time(self) -> float:
        return self.now().timestamp()

    def sleep(self, seconds: float) -> None:
        self._move(self._seconds + seconds, lambda: False)

    def wait(self, request: StopRequest, seconds: float) -> bool:
        self._move(self._seconds + seconds, request.is_set)
        return request.is_set()

    def skip_to(self, seconds: float) -> None:
        """Be at that time; what is due by then is done late."""
        self._seconds = seconds

    def after(self, seconds: float, work: Callable[[], object]) -> None:
        """Do some work once, after that time."""
        heapq.heappush(self._due, (self._seconds + seconds, next(self._order), work))

    def repeat(self, work: Callable[[], object], every: float) -> FakeRepetition:
        return FakeRepetition(self, work, every)

    def _move(self, end: float, is_enough: Callable[[], bool]) -> None:
        while not is_enough():
            with self._moving:
                if not self._due or self._due[0][0] > end:
                    self._seconds = max(self._seconds, end)
                    return
                at, _, work = heapq.heappop(self._due)
                self._seconds = max(self._seconds, at)
                work()


class FakeRepetition:
    """Work that a FakeClock does again and again; not while it is being done."""

    def __init__(self, clock: FakeClock, work: Callable[[], object], every: float) -> None:
        self._clock, self._work, self._every, self._is_over = clock, work, every, False
        self._working = threading.RLock()
        clock.after(every, self._once)

    def stop(self) -> None:
        with self._working:
            self._is_over = True

    def _once(self) -> None:
        with self._working:
            if not self._is_over:
                self._work()
        if not self._is_over:
            self._clock.after(self._every, self._once)


@dataclass
class Change:
    """A transaction of a fake node: the service as it was before, and what became of it."""

    run: str
    change: NodeChange
    before: ServiceFacts
    since: str
    until: str
    result: TransactionResult
    is_open: bool = False


@dataclass
class FakeMachine:
    """A node: what is seen on it, and its transactions. The control plane takes it for a machine of the rehearsal."""

    facts: NodeFacts
    spec: Any
    booted: float
    changes: dict[str, Change] = field(default_factory=dict)

    @property
    def boot_id(self) -> str:
        return self.facts.boot

    @property
    def machine_id(self) -> str:
        return self.facts.machine

    @property
    def name(self) -> str:
        return self.facts.name

    def read(self, path: str) -> bytes:
        assert path == "/etc/os-release"
        return f'PRETTY_NAME="{self.facts.os}"\n'.encode()

    def component(self, name: str) -> Component | None:
        service = self.facts.service(name)
        if service is None:  # what is not looked at, such as kube-controller-manager
            return Component(name, (), self.booted) if self.facts.control_plane else None
        return Component(name, service.cmdline, self._started(service)) if service.running else None

    def _started(self, service: ServiceFacts) -> float:
        if not service.started.endswith(" FAKE"):
            return self.booted
        return float(service.started.split()[0])

    def set(self, service: ServiceFacts) -> None:
        self.facts = replace(self.facts, services={**self.facts.services, service.name: service})


class World:
    """A cluster in this process.

    Args:
        name: a folder of ``fixtures/plans`` and the rehearsal of that name.

    Attributes:
        faults: what goes wrong with requests to the API.
        lost: what goes wrong with requests to nodes: by verb and node, the errors of the next ones.
        broken: services that do not start any more, by node and service, with the words for it.
        exchanged: by node, another one whose machine is at its address.
        healthz: by node, what its API server says to ``/healthz`` there, each time anew.
        delays: how long a service takes from its restart until it runs.
    """

    def __init__(self, name: str = "handbuilt-1.20") -> None:
        facts, self.scenario = read_facts(PLANS / name), load_scenario(name)
        self.name, self.clock, self.guard = name, FakeClock(), threading.RLock()
        booted = (FIRST_MOMENT - UPTIME).timestamp()
        specs = {spec.name: spec for spec in self.scenario.nodes}
        self.machines = {node.name: FakeMachine(node, specs[node.name], booted) for node in facts.nodes}
        machines: list[Any] = list(self.machines.values())
        self.control_plane = ControlPlane(self.scenario, machines, self.clock.time)
        self.store = self.control_plane.store
        self.api = ApiServer(
            self.store,
            users={"token": Identity(ADMINISTRATOR, frozenset({"system:masters"}))},
            admit=self.control_plane.admit,
            node_proxy=self._answer_as_kubelet,
            version=self.scenario.release,
        )
        self.faults = Faults(Path("/nowhere"), clock=self.clock.monotonic)
        self.lost: dict[tuple[str, str], list[Exception]] = {}
        self.broken: dict[tuple[str, str], str] = {}
        self.exchanged: dict[str, str] = {}
        self.healthz: dict[str, Callable[[], str]] = {}
        self._pids, self._reconciled = itertools.count(5000), -1
        self.control_plane.create(booted)
        for machine in self.machines.values():
            self.serve(machine, "kube-apiserver")
        self.clock.repeat(self._reconcile, ROUND_SECONDS)
        self.clock.repeat(self._beat, HEARTBEAT_SECONDS)
        self._beat()

    def copy(self) -> World:
        """Return another cluster in the state of this one, where no change is open."""
        made = World(self.name)
        made.clock.skip_to(self.clock.monotonic())
        for name, machine in self.machines.items():
            changes = {run: replace(change) for run, change in machine.changes.items()}
            made.machines[name].facts, made.machines[name].changes = machine.facts, changes
        made.store._objects = {kind: dict(objects) for kind, objects in self.store._objects.items()}
        made.store._keys = {kind: list(keys) for kind, keys in self.store._keys.items()}
        made.store.generation, made._pids = self.store.generation, itertools.count(next(self._pids))
        for machine in made.machines.values():
            made.serve(machine, "kube-apiserver")
        return made

    def inventory(self, folder: Path, **given: Any) -> Path:
        """Write an inventory that leads to nothing: ``connect`` leads here."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "kubeconfig").write_text("")
        nodes = [
            {"name": name, "host": name, "control_plane": machine.facts.control_plane}
            for name, machine in self.machines.items()
        ]
        made = {"cluster": self.name, "kubeconfig": "kubeconfig", "nodes": nodes, "settle_seconds": 0.2}
        path = folder / "inventory.yaml"
        path.write_text(yaml.safe_dump(made | given))
        return path

    def ports(self, inventory: Inventory | None = None, redactor: Redactor | None = None) -> Ports:
        """Return the ports of a run that this cluster is handed to."""
        chosen = inventory or Inventory(
            cluster=self.name,
            kubeconfig="/nowhere",
            settle_seconds=0.2,
            nodes=[
                Node(name=n, host=n, control_plane=m.facts.control_plane) for n, m in self.machines.items()
            ],
        )
        known = redactor or Redactor()
        return Ports(FakeNodes(self, chosen, known), FakeCluster(self, known), self.clock)

    def serve(self, machine: FakeMachine, name: str) -> None:
        """Let the control plane notice that a component serves, or does not any more."""
        with self.guard:
            component = machine.component(name) if machine.facts.service(name) else None
            if component is None:
                if name == "kube-apiserver" and machine.facts.service(name):
                    self.control_plane.component_ended(machine, Component(name, (), 0.0))
                return
            if name == "kube-apiserver":
                component.config = self._plugins(machine, component.argv)
            self.control_plane.component_started(machine, component)

    @property
    def is_served(self) -> bool:
        """Whether an API server runs."""
        return any(
            m.facts.service("kube-apiserver") and m.component("kube-apiserver")
            for m in self.machines.values()
        )

    def _plugins(self, machine: FakeMachine, argv: Sequence[str]) -> dict[str, Any]:
        files = machine.facts.services["kube-apiserver"].files
        return configuration(
            argv[1:],
            Release.parse(self.scenario.release),
            lambda path: files[path].content.encode(),
            lambda words: RefusedError([words], 1),
        )

    def restart(self, machine: FakeMachine, service: ServiceFacts, **changed: Any) -> ServiceFacts:
        """Start a service anew, as another process; it may be broken."""
        runs = (machine.name, service.name) not in self.broken
        show = {
            **changed.pop("show", service.show),
            "MainPID": str(next(self._pids)) if runs else "0",
            "ActiveState": "active" if runs else "failed",
            "ExecMainStartTimestamp": f"{self.clock.time():.3f} FAKE",
            "NRestarts": "0",
        }
        made = replace(service, show=show, **changed)
        with self.guard:
            machine.set(made)
        self.serve(machine, service.name)
        self.clock.after(UNREADY_SECONDS, self._beat)
        return made

    def _beat(self) -> None:
        with self.guard:
            was_idle = self.store.generation == self._reconciled
            if not self.control_plane.beat() and was_idle:
                self._reconciled = self.store.generation

    def _reconcile(self) -> None:
        with self.guard:
            if self.store.generation != self._reconciled:
                self._reconciled = self.store.generation
                self.control_plane.reconcile()

    async def _answer_as_kubelet(self, node: str, path: str) -> tuple[int, str, bytes]:
        kubelet = self.machines[node].facts.service("kubelet")
        if kubelet is None or not kubelet.running:
            raise ConnectionRefusedError(f"dial tcp {node}:10250: connect: connection refused")
        if path == "/configz":
            shown = configz("kubelet", Release.parse(self.scenario.release), dict(kubelet.configz or {}))
            return 200, "application/json", shown.encode()
        return 200, "text/plain; charset=utf-8", b"ok"


@dataclass
class FakeRequest:
    """A request as aiohttp would hand it to the API server."""

    method: str
    rel_url: URL
    headers: Mapping[str, str]
    body: bytes

    @property
    def path(self) -> str:
        return self.rel_url.path

    @property
    def query(self) -> Mapping[str, str]:
        return self.rel_url.query

    @property
    def content(self) -> FakeRequest:
        return self

    async def read(self) -> bytes:
        return self.body


class FakeClient(Client):
    """A client whose requests reach the API server of a world by a call."""

    def __init__(self, world: World, redactor: Redactor) -> None:
        self._world, self._redactor, self._clock, self.user = world, redactor, world.clock, ADMINISTRATOR
        self._impersonation, self._context = [], None

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def _send(
        self, method: str, path: str, body: Mapping[str, Any] | None, query: list[tuple[str, str]]
    ) -> Response:
        url = URL(path).with_query(query) if query else URL(path)
        fault = self._world.faults.take(method, str(url))
        if fault is not None and fault.status > 0:
            after = fault.headers.get("Retry-After")
            return Response(fault.status, fault.body.decode(), float(after) if after else None)
        if not self._world.is_served:
            return Response(0, "Connection refused", sent=False)
        kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
        headers = CIMultiDict({"Authorization": "Bearer token", "Content-Type": kind})
        request: Any = FakeRequest(method, url, headers, b"" if body is None else json.dumps(body).encode())
        with self._world.guard:
            answer = _driven(self._world.api._handle(request))
        if fault is not None:
            self._clock.sleep(TIMEOUT_SECONDS[1] if fault.status == HANG else 0)
            assert fault.status in {CUT, HANG}
            return Response(0, "the connection was cut")
        warnings = [value.split('"')[1] for value in answer.headers.getall("Warning", ())]
        return Response(answer.status, (answer.body or b"").decode(), warnings=tuple(warnings))


def _driven(work: Any) -> Any:
    """Return the result of a coroutine that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise AssertionError("the API server waits for something that is not there")


class FakeCluster(Cluster):
    """The API of a world, as one user."""

    def __init__(self, world: World, redactor: Redactor) -> None:
        self._redactor, self._clock = redactor, world.clock
        self._client: Client = FakeClient(world, redactor)
        self._served = {}
        self.user = self._client.user


class FakeNodes:
    """The nodes of a world."""

    def __init__(self, world: World, inventory: Inventory, redactor: Redactor) -> None:
        self._world, self.inventory, self.redactor = world, inventory, redactor
        self.round_trips: dict[str, int] = {}

    def logins(self) -> dict[str, dict[str, str]]:
        return {node: {"user": "root", "key": "", "host_key": ""} for node in self.round_trips}

    def close(self) -> None:
        """Do nothing: there is no connection."""

    def check(self) -> None:
        for name in self._names(None):
            self._reach("check", name)

    def observe(
        self, names: Iterable[str] | None = None, services: Sequence[str] | None = None
    ) -> list[NodeFacts]:
        seen = ((name, self._seen(self._reach("observe", name), services)) for name in self._names(names))
        return [replace(found, name=name) for name, found in seen]

    def _seen(self, machine: FakeMachine, wanted: Sequence[str] | None) -> NodeFacts:
        found = {
            name: service
            for name, service in machine.facts.services.items()
            if wanted is None or name in wanted
        }
        server = found.get("kube-apiserver")
        if server is not None and server.loaded:
            says = self._world.healthz.get(machine.name, lambda: "200")
            found["kube-apiserver"] = replace(server, healthz=says() if server.running else "000")
        role = next(node.control_plane for node in self.inventory.nodes if node.name == machine.name)
        return replace(machine.facts, services=found, control_plane=role)

    def reach(self, node: str, host: str, port: int) -> Stream:
        raise ForwardingError(f"{node}: nothing is forwarded to {host} port {port}")

    def forwards(self) -> dict[str, str]:
        return dict.fromkeys(self._names(None), "nothing is forwarded")

    def begin(self, change: NodeChange, run: str, confirm_timeout: float = 120.0) -> TransactionResult:
        machine = self._reach("begin", change.node)
        known = machine.changes.get(run)
        if known is not None and known.is_open:
            return known.result
        holder = next((made.run for made in machine.changes.values() if made.is_open), "")
        if holder:
            return TransactionResult("busy", f"run {holder} has this node")
        service = machine.facts.services[change.service]
        for file in change.files:
            there = service.files.get(file.path)
            found = "absent" if there is None else sha256(there.content)
            if found != file.before_digest:
                return TransactionResult("stale", f"{file.path} is another one than the plan was made for")
        times = self._time(), self._time(self.inventory.settle_seconds + confirm_timeout)
        made = Change(run, change, service, *times, TransactionResult("failed", ""), is_open=True)
        machine.changes[run] = made
        made.result = self._restart(machine, made)
        made.is_open = made.result.outcome == "waiting"
        if made.is_open:
            self._world.clock.after(confirm_timeout, lambda: self._expire(machine, made))
        self._raise_lost("answer", change.node)
        return made.result

    def _restart(self, machine: FakeMachine, made: Change) -> TransactionResult:
        restarted = self._time()
        service = self._world.restart(machine, made.before, **_changed(made.before, made.change))
        self._world.clock.sleep(self.inventory.settle_seconds)
        if service.running:
            words = f"{made.change.service} runs as process {service.main_pid}"
            return TransactionResult("waiting", words, restarted)
        words = self._world.broken[machine.name, made.change.service]
        return self._put_back(machine, made, f"{words}; ")

    def _put_back(self, machine: FakeMachine, made: Change, words: str = "") -> TransactionResult:
        service = self._world.restart(machine, made.before)
        self._world.clock.sleep(self.inventory.settle_seconds)
        made.is_open = False
        if service.running:
            made.result = TransactionResult("reverted", f"{words}the files are as before")
        else:
            made.result = TransactionResult("failed", f"{words}the files are as before, and it does not run")
        return made.result

    def _expire(self, machine: FakeMachine, made: Change) -> None:
        if made.is_open:
            self._put_back(machine, made, "nobody confirmed it in time; ")

    def confirm(self, node: str, run: str) -> TransactionResult:
        made = self._reach("confirm", node).changes.get(run)
        if made is None:
            return TransactionResult("failed", "this node knows no such change")
        if made.is_open:
            made.is_open, made.result = False, TransactionResult("confirmed", made.result.words)
        return made.result

    def undo(self, node: str, run: str) -> TransactionResult:
        machine = self._reach("undo", node)
        made = machine.changes.get(run)
        if made is None:
            return TransactionResult("failed", "this node knows no such change")
        return self._put_back(machine, made) if made.is_open else made.result

    def state(self, names: Iterable[str] | None = None) -> dict[str, tuple[Transaction, ...]]:
        return {
            name: tuple(
                Transaction(
                    made.run,
                    made.is_open,
                    made.result.outcome or "begun",
                    made.change.service,
                    made.since,
                    made.until,
                    "a test",
                )
                for made in self._reach("state", name).changes.values()
            )
            for name in self._names(names)
        }

    def backup(self, node: str, run: str, digest: str) -> str | None:
        made = self._reach("backup", node).changes.get(run)
        files = made.before.files.values() if made is not None else ()
        return next((file.content for file in files if sha256(file.content) == digest), None)

    def clean(self, names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(self._names(names), ())

    def _names(self, names: Iterable[str] | None) -> list[str]:
        wanted = None if names is None else set(names)
        return [node.name for node in self.inventory.nodes if wanted is None or node.name in wanted]

    def _reach(self, verb: str, node: str) -> FakeMachine:
        self.round_trips[node] = self.round_trips.get(node, 0) + 1
        self._raise_lost(verb, node)
        return self._world.machines[self._world.exchanged.get(node, node)]

    def _raise_lost(self, verb: str, node: str) -> None:
        errors = self._world.lost.get((verb, node))
        if errors:
            raise errors.pop(0)

    def _time(self, later: float = 0.0) -> str:
        return f"{self._world.clock.now() + timedelta(seconds=later):%Y-%m-%dT%H:%M:%SZ}"


def files_of(world: World) -> dict[str, tuple[str, str, str]]:
    """Mode, owner and content of every file that a service of a node uses."""
    return {
        f"{name}{path}": (file.mode, file.owner, file.content)
        for name, machine in world.machines.items()
        for service in machine.facts.services.values()
        for path, file in service.files.items()
    }


def decided(world: World) -> dict[tuple[str, ...], object]:
    """What people decide of the objects that the runbook writes."""
    kinds = {"PodSecurityPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Namespace"}
    return {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): (
            item.get("spec"),
            item.get("rules"),
            item.get("subjects"),
            item["metadata"].get("labels"),
        )
        for item in world.store.objects()
        if item["kind"] in kinds
    }


def planned(world: World, folder: Path, inventory: Path | None = None, **given: Any) -> runbook.Run:
    """Return a run on a world that has looked and planned.

    Args:
        world: the cluster.
        folder: where the inventory and the records go.
        inventory: another inventory than the usual one.
        given: its parameters.
    """
    parameters = {
        "In": [""],
        "inventory": str(inventory or world.inventory(folder)),
        "output_dir": str(folder / "records"),
    }
    run = runbook.start(parameters | given, connect=world.ports)
    run.check()
    run.look()
    run.plan()
    return run


def no_connection(node: str, times: int = 1) -> list[Exception]:
    """Return the errors of a node that cannot be reached."""
    return [NodeError(f"{node}: the connection broke while it worked: cut by the test")] * times


def _changed(service: ServiceFacts, change: NodeChange) -> dict[str, Any]:
    """Return what another process of a service runs with, after a change."""
    files = dict(service.files)
    drop_ins = service.show.get("DropInPaths", "").split()
    for file in change.files:
        if file.gone:
            del files[file.path]
        else:
            files[file.path] = FileFact(file.path, file.mode, file.owner, file.group, file.after)
    folder = f"/etc/systemd/system/{service.name}.service.d/"
    drop_ins += [path for path in files if path.startswith(folder) and path not in drop_ins]
    shown = {**service.show, "DropInPaths": " ".join(path for path in drop_ins if path in files)}
    argv = change.expected_argv or service.cmdline
    return {
        "files": files,
        "cmdline": argv,
        "configz": _merged(service.configz, change.expected_config or {}),
        "warnings": tuple(
            w for w in service.warnings if any(f"Flag {word.partition('=')[0]} " in w for word in argv)
        ),
        "show": shown,
    }


def _merged(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> dict[str, Any] | None:
    if old is None:
        return None
    made = dict(old)
    names = {key.lower(): key for key in made}  # kube-proxy and kube-scheduler show the names of Go
    for name, value in new.items():
        if name in {"apiVersion", "kind"}:
            continue
        key = names.get(name.lower(), name)
        below = made.get(key)
        deeper = isinstance(value, Mapping) and value and isinstance(below, Mapping)
        made[key] = _merged(below, value) if deeper else value
    return made


__all__ = ["ALWAYS", "CUT", "HANG", "FakeClock", "FakeCluster", "World", "no_connection", "planned"]
