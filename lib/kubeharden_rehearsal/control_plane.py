"""The API side of a rehearsal: objects, admission, and the controllers' rounds."""

from __future__ import annotations

import asyncio
from pathlib import Path
from time import time
from typing import Any

import yaml

from kubeharden.kube.rbac import Identity
from kubeharden.podsecurity.admission_config import PLUGIN
from kubeharden.releases import Release, feature
from kubeharden.releases.files import LOADER
from kubeharden_rehearsal import admission
from kubeharden_rehearsal.api.rules import Object
from kubeharden_rehearsal.api.store import ObjectStore
from kubeharden_rehearsal.controllers import Controllers
from kubeharden_rehearsal.kubelets import LEASE_NAMESPACE, LEASES, UNREADY_SECONDS, Clock, Kubelets, stamp
from kubeharden_rehearsal.machine import Component, Machine
from kubeharden_rehearsal.pod_security_plugin import PodSecurity
from kubeharden_rehearsal.scenario import Scenario

# A round of the controllers after a change, and the kubelets' heartbeat, in seconds. The heartbeat comes just
# after the full second: a Node's times have no fractions, so this is when a new one can be told from the old.
ROUND_SECONDS, HEARTBEAT_SECONDS, AFTER_THE_SECOND = 0.1, 1.0, 0.02
ADMISSION = feature("Pod Security Admission")


class ControlPlane:
    """The objects of a rehearsal cluster, their admission, and the controllers that act on them."""

    def __init__(self, scenario: Scenario, machines: list[Machine], clock: Clock = time) -> None:
        self._scenario, self._machines, self._clock = scenario, machines, clock
        self.store = ObjectStore(str(Release.parse(scenario.release)))
        self._kubelets = Kubelets(scenario, self.store, machines, clock)
        names = [machine.name for machine in machines]
        self._controllers = Controllers(self.store, self._create, names, scenario.name)
        self._api: Component | None = None
        self._created: float | None = None
        self._dirty = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    def create(self, booted: float) -> None:
        """Load the scenario's objects, with all workloads running since ``booted`` (seconds since the epoch)."""
        self._created = booted
        objects = [*_bootstrap(self.store.release), *self._scenario.objects()]
        for obj in objects:
            obj["metadata"].setdefault("creationTimestamp", stamp(booted))
        self.store.load(objects)
        for machine in self._machines:
            # Registered as they were at boot; the first true heartbeat follows at once.
            self._kubelets.heartbeat(machine, Component("kubelet", (), booted))
        self._controllers.reconcile()
        self._kubelets.schedule()
        for machine in self._machines:
            self._kubelets.run_pods(machine, Component("kubelet", (), booted), booted)
        self._controllers.reconcile()
        self._created = None

    def start(self) -> None:
        """Start the heartbeats and the controllers."""
        self.store.changed.append(self._dirty.set)
        self._tasks = [asyncio.create_task(work) for work in (self._beat(), self._control())]

    def stop(self) -> None:
        """Stop them; what is still due finds the API gone."""
        self._api = None
        for task in self._tasks:
            task.cancel()

    def admit(self, user: Identity, operation: str, obj: dict[str, Any]) -> list[str]:
        """Ask the admission plugins that are on, in the API server's order, and return their warnings.

        A plugin that refuses the object raises Forbidden, one that finds it invalid an ApiError.
        """
        if self._api is None:
            return []
        config = self._api.config
        if obj["kind"] == "PodSecurityPolicy":
            admission.check_policy(obj)
        if obj["kind"] == "Pod" and operation == "CREATE":
            if "ServiceAccount" in config["plugins"]:
                admission.give_service_account(self.store, obj)
            if "PodSecurityPolicy" in config["plugins"]:
                admission.apply_pod_security_policy(self.store, user, obj)
            if not config["allowPrivileged"]:
                admission.refuse_privileged(self.store, obj)
        if PLUGIN not in config["plugins"] or not ADMISSION.in_release(self.store.release):
            return []
        return PodSecurity(self.store, config["podSecurity"]).admit(user, operation, obj)

    def component_started(self, machine: Machine, component: Component) -> None:
        """Take notice that a component of a node serves."""
        if component.name == "kube-apiserver":
            self._api = component
        if component.name == "kubelet" and self._api is not None and self._tasks:
            self._kubelets.heartbeat(machine, component)
            asyncio.get_running_loop().call_later(UNREADY_SECONDS, self.beat)
        self._dirty.set()

    def component_ended(self, _: Machine, component: Component) -> None:
        """Take notice that a component of a node is gone."""
        if component.name == "kube-apiserver":
            self._api = None

    def _create(self, obj: Object, user: Identity) -> None:
        namespace = obj["metadata"]["namespace"]
        if self._created is None:
            self.store.create(obj["kind"], obj, namespace, lambda new: self.admit(user, "CREATE", new))
            return
        obj["metadata"]["creationTimestamp"] = stamp(self._created)
        if obj["kind"] == "Pod":
            admission.give_service_account(self.store, obj)
        self.store.load([obj])

    async def _beat(self) -> None:
        while True:
            self.beat()
            now = self._clock()
            await asyncio.sleep(HEARTBEAT_SECONDS - now % HEARTBEAT_SECONDS + AFTER_THE_SECOND)

    def beat(self) -> bool:
        """Post the heartbeat of each kubelet that runs, once; return whether that makes work for the controllers."""
        if self._api is None:
            return False
        was_dirty = self._dirty.is_set()
        kubelets = [(each, kubelet) for each in self._machines if (kubelet := each.component("kubelet"))]
        changed = [self._kubelets.heartbeat(*each) for each in kubelets]
        if not was_dirty and not any(changed):
            self._dirty.clear()
        before = self.store.generation
        if self._runs("kube-controller-manager"):
            self._kubelets.lose_silent_nodes()
        return any(changed) or self.store.generation != before

    async def _control(self) -> None:
        while True:
            await self._dirty.wait()
            await asyncio.sleep(ROUND_SECONDS)
            before = self.store.generation
            self.reconcile()
            if self.store.generation == before:
                self._dirty.clear()

    def reconcile(self) -> None:
        """Let the controllers, the scheduler and the kubelets that run do what the objects ask for, once."""
        if self._api is None:
            return
        if self._runs("kube-controller-manager"):
            self._controllers.reconcile()
            self._kubelets.taint_cordoned_nodes()
        if self._runs("kube-scheduler"):
            self._kubelets.schedule()
        for machine in self._machines:
            kubelet = machine.component("kubelet")
            if kubelet is not None:
                self._kubelets.run_pods(machine, kubelet)

    def _runs(self, component: str) -> bool:
        return any(machine.component(component) is not None for machine in self._machines)


def _bootstrap(release: Release) -> list[dict[str, Any]]:
    text = (Path(__file__).parent / "bootstrap.yaml").read_text(encoding="utf-8")
    objects = list(yaml.load_all(text, Loader=LOADER))
    if LEASES.in_release(release):
        objects.append({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": LEASE_NAMESPACE}})
    return objects
