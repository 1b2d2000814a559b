"""A rehearsal cluster as one process: the nodes, their SSH servers, and the API server."""

from __future__ import annotations

import asyncio
import json
import socket
from functools import partial
from pathlib import Path
from time import time as clock

import asyncssh
from aiohttp import web

from kubeharden.components.admission_plugins import flag_value
from kubeharden.kube.rbac import Identity
from kubeharden.releases import Release, feature
from kubeharden_rehearsal import shim_server
from kubeharden_rehearsal.api.server import ApiServer
from kubeharden_rehearsal.atomic import write_atomically
from kubeharden_rehearsal.configz import configz
from kubeharden_rehearsal.control_plane import ControlPlane
from kubeharden_rehearsal.directory import Directory
from kubeharden_rehearsal.kubelet_port import kept_certificate, serve
from kubeharden_rehearsal.machine import Component, Machine, shown_config
from kubeharden_rehearsal.scenario import Scenario, lay_out
from kubeharden_rehearsal.shim_server import Pipes
from kubeharden_rehearsal.sshd import HOST, NodeServer, kept_key, public_line

# A new cluster has been up for three days, and its files are older than that.
UPTIME_SECONDS = 3 * 24 * 3600.0
ADMINISTRATOR = Identity("kubernetes-admin", frozenset({"system:masters"}))
_SAVE_SECONDS = 1.0


class RehearsalServer:
    """Everything that runs, from ``start`` to ``stop``."""

    def __init__(self, scenario: Scenario, directory: Directory) -> None:
        self._scenario, self._directory = scenario, directory
        self._state = directory.path / "state"
        self.machines = {spec.name: Machine(scenario, spec, directory.path) for spec in scenario.nodes}
        self._control_plane = ControlPlane(scenario, list(self.machines.values()))
        self._api = ApiServer(
            self._control_plane.store,
            users={directory.token(): ADMINISTRATOR},
            admit=self._control_plane.admit,
            node_proxy=self.proxy,
            version=scenario.release,
        )
        self._pipes = Pipes(self._state / "pipes", partial(shim_server.reply, self.machines))
        self._servers: dict[str, NodeServer] = {}
        self._runners: list[web.ServerRunner] = []
        self._host_keys: dict[str, asyncssh.SSHKey] = {}
        self._api_lock = asyncio.Lock()
        self._api_address = _reserved_address()
        self._save: asyncio.TimerHandle | None = None

    async def start(self) -> Path:
        """Start everything, and return the path of the inventory."""
        self._pipes.open()
        for machine in self.machines.values():
            machine.on_serving, machine.on_ended = self._serving, self._end_component
        if self._directory.resumed:
            self._resume()
        else:
            self._create()
        ports = await self._open_nodes()
        await self._wait_for_services()
        await self._open_kubelets()
        self._directory.write_kubeconfig(self._scenario, self._api_address.getsockname()[1])
        hosts = {name: public_line(key) for name, key in self._host_keys.items()}
        inventory = self._directory.write_inventory(self._scenario, ports, hosts)
        self._control_plane.store.changed.append(self._save_soon)
        self._control_plane.start()
        self.save()
        self._directory.mark(self._scenario, complete=True)
        return inventory

    async def stop(self) -> None:
        """Stop everything, with the state on disk."""
        self._control_plane.stop()
        for server in self._servers.values():
            await server.stop()
        for runner in self._runners:
            await runner.cleanup()
        self._pipes.close()
        if self._save is not None:
            self._save.cancel()
        for machine in self.machines.values():
            await machine.close()
        await self._api.stop()
        self._api_address.close()
        self.save()

    def _create(self) -> None:
        booted = clock() - UPTIME_SECONDS
        for machine in self.machines.values():
            lay_out(self._scenario, machine.spec, machine.root, booted - 3600)
            shim_server.install(machine, self._state)
            machine.boot(booted)
        self._control_plane.create(booted)

    def _resume(self) -> None:
        objects = json.loads((self._directory.path / "cluster.json").read_text(encoding="utf-8"))
        self._control_plane.store.load(objects["items"])
        for machine in self.machines.values():
            shim_server.install(machine, self._state)
            machine.resume()

    async def _open_nodes(self) -> dict[str, int]:
        client_key = kept_key(self._directory.path / "id_ed25519")
        for name, machine in self.machines.items():
            place = self._state / "nodes" / name
            self._host_keys[name] = kept_key(place / "ssh_host_ed25519_key")
            self._servers[name] = NodeServer(machine, self._host_keys[name], client_key, place / "bin")
            machine.on_off = self._servers[name].drop
        ports = await asyncio.gather(*(server.start() for server in self._servers.values()))
        return dict(zip(self._servers, ports, strict=True))

    async def _open_kubelets(self) -> None:
        """Let the kubelets answer at their own ports, with the certificates that each makes where it has none."""
        if not feature("nodes/configz").in_release(Release.parse(self._scenario.release)):
            return
        client = kept_certificate(self._state / "admin.crt", ADMINISTRATOR.user)
        for name, machine in self.machines.items():
            kubelet = machine.component("kubelet")
            folder = flag_value(kubelet.argv, "--cert-dir") if kubelet is not None else ""
            place = machine.root / (folder or "/var/lib/kubelet/pki").lstrip("/")
            shown = kept_certificate(place / "kubelet.crt", name)
            runner, port = await serve(shown, client, partial(self.proxy, name))
            self._runners.append(runner)
            self._servers[name].kubelet_port = port

    async def _wait_for_services(self) -> None:
        """Wait until the timers of what has long been running have gone off."""
        for _ in range(100):
            if all(machine.settled for machine in self.machines.values()):
                return
            await asyncio.sleep(0.005)

    async def _serving(self, machine: Machine, component: Component) -> None:
        if component.name == "kube-apiserver":
            async with self._api_lock:
                await self._api.start(*self._api_address.getsockname())
        self._control_plane.component_started(machine, component)

    async def _end_component(self, machine: Machine, component: Component) -> None:
        if component.name == "kube-apiserver":
            async with self._api_lock:
                await self._api.stop()
        self._control_plane.component_ended(machine, component)

    async def proxy(self, node: str, path: str) -> tuple[int, str, bytes]:
        """Answer the API server as a node's kubelet; a ConnectionError where that does not run."""
        machine = self.machines.get(node)
        kubelet = machine.component("kubelet") if machine is not None else None
        if machine is None or kubelet is None:
            address = machine.spec.address if machine is not None else node
            raise ConnectionRefusedError(f"dial tcp {address}:10250: connect: connection refused")
        if path.rstrip("/") == "/configz":
            release = Release.parse(self._scenario.release)
            body = configz("kubelet", release, shown_config(kubelet.config))
            return 200, "application/json", body.encode()
        if path.rstrip("/") == "/healthz":
            return 200, "text/plain; charset=utf-8", b"ok"
        return 404, "text/plain; charset=utf-8", b"404 page not found\n"

    def _save_soon(self) -> None:
        if self._save is None:
            self._save = asyncio.get_running_loop().call_later(_SAVE_SECONDS, self.save)

    def save(self) -> None:
        """Write ``cluster.json``, an object in each line: every second, so that it must be quick."""
        self._save = None
        items = ",\n".join(map(json.dumps, self._control_plane.store.objects()))
        text = f'{{"apiVersion": "v1", "kind": "List", "items": [\n{items}\n]}}\n'
        write_atomically(self._directory.path / "cluster.json", text)


def _reserved_address() -> socket.socket:
    """Return a socket that holds a free port, so that nobody else gets it while the API server is down."""
    holder = socket.socket()
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((HOST, 0))
    return holder
