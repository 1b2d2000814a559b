"""The kubelets and the scheduler as the API sees them: heartbeats of nodes, and pods that start."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any

from kubeharden.kube.names import UNSCHEDULABLE
from kubeharden.kube.pods import containers, is_ready, node_of
from kubeharden.releases import feature
from kubeharden_rehearsal.admission import is_privileged
from kubeharden_rehearsal.api.store import ObjectStore
from kubeharden_rehearsal.machine import Component, Machine
from kubeharden_rehearsal.scenario import Scenario

# How long a node stays NotReady after its kubelet has started, and Ready after its last heartbeat. On real
# nodes these are some seconds and 40 s (node-monitor-grace-period); heartbeats here come ten times as often.
UNREADY_SECONDS, GRACE_SECONDS = 0.3, 2.0
LEASES = feature("Leases of nodes")
TAINTS = feature("taint of cordoned nodes")
_TAINT = {"key": UNSCHEDULABLE, "effect": "NoSchedule"}
Clock = Callable[[], float]  # tells the seconds since the epoch
LEASE_NAMESPACE = "kube-node-lease"
_CONDITIONS = {
    "MemoryPressure": ("KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    "DiskPressure": ("KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    "PIDPressure": ("KubeletHasSufficientPID", "kubelet has sufficient PID available"),
}


def stamp(at: float) -> str:
    """Return a time as metav1.Time has it: whole seconds, cut off."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S}Z"


def micro_stamp(at: float) -> str:
    """Return a time as metav1.MicroTime has it."""
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%dT%H:%M:%S.%f}Z"


class Kubelets:
    """The kubelets of all nodes, as far as the API sees them."""

    def __init__(self, scenario: Scenario, store: ObjectStore, machines: list[Machine], clock: Clock) -> None:
        self._scenario, self._store, self._clock = scenario, store, clock
        self._machines = {machine.name: machine for machine in machines}

    def heartbeat(self, machine: Machine, kubelet: Component) -> bool:
        """Post a node's status as its kubelet, registered if need be; return whether its Ready has changed."""
        name, now = machine.name, self._clock()
        ready = now - kubelet.started >= UNREADY_SECONDS
        self._register(machine)
        node = self._store.get("Node", name)
        was_ready = is_ready(node)
        node["status"] = self._status(machine, node.get("status") or {}, now, ready=ready)
        self._store.put("Node", node, subresource="status")
        if LEASES.in_release(self._store.release):
            self._renew(name, now)
        return is_ready(node) != was_ready

    def _register(self, machine: Machine) -> None:
        if self._store.exists("Node", machine.name):
            return
        labels = {
            "beta.kubernetes.io/arch": "amd64",
            "beta.kubernetes.io/os": "linux",
            "kubernetes.io/hostname": machine.name,
        }
        if LEASES.in_release(self._store.release):
            labels |= {"kubernetes.io/arch": "amd64", "kubernetes.io/os": "linux"}
        if machine.spec.control_plane:
            labels["node-role.kubernetes.io/master"] = ""
        metadata = {"name": machine.name, "labels": labels, "creationTimestamp": stamp(machine.booted)}
        spec = {"podCIDR": f"10.244.{list(self._machines).index(machine.name)}.0/24"}
        self._store.load([{"apiVersion": "v1", "kind": "Node", "metadata": metadata, "spec": spec}])

    def _status(
        self, machine: Machine, before: Mapping[str, Any], now: float, *, ready: bool
    ) -> dict[str, Any]:
        old = {c["type"]: c for c in before.get("conditions") or ()}
        conditions = [_condition(old, kind, "False", words, now) for kind, words in _CONDITIONS.items()]
        words = ("KubeletReady", "kubelet is posting ready status")
        if not ready:
            words = ("KubeletNotReady", "container runtime status check may not have completed yet")
        conditions.append(_condition(old, "Ready", "True" if ready else "False", words, now))
        return {
            "addresses": [
                {"type": "InternalIP", "address": machine.spec.address},
                {"type": "Hostname", "address": machine.name},
            ],
            "allocatable": {"cpu": "2", "memory": "3926Mi", "pods": "110"},
            "capacity": {"cpu": "2", "memory": "4026Mi", "pods": "110"},
            "conditions": conditions,
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
            "nodeInfo": {
                "architecture": "amd64",
                "bootID": machine.boot_id,
                "containerRuntimeVersion": self._scenario.runtime,
                "kernelVersion": "4.15.0-20-generic",
                "kubeProxyVersion": self._scenario.release,
                "kubeletVersion": self._scenario.release,
                "machineID": machine.machine_id,
                "operatingSystem": "linux",
                "osImage": os_name(machine),
                "systemUUID": machine.boot_id,
            },
        }

    def _renew(self, name: str, now: float) -> None:
        spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": micro_stamp(now)}
        if self._store.exists("Lease", name, LEASE_NAMESPACE):
            self._store.put("Lease", {**self._store.get("Lease", name, LEASE_NAMESPACE), "spec": spec})
            return
        lease = {"metadata": {"name": name, "namespace": LEASE_NAMESPACE}, "spec": spec}
        self._store.create("Lease", lease, LEASE_NAMESPACE)

    def lose_silent_nodes(self) -> None:
        """Mark nodes without a heartbeat Unknown, as the node controller does."""
        limit = stamp(self._clock() - GRACE_SECONDS)
        for node in self._store.items("Node"):
            conditions = (node.get("status") or {}).get("conditions") or []
            silent = [c for c in conditions if c["lastHeartbeatTime"] < limit and c["status"] != "Unknown"]
            if not silent:
                continue
            for condition in conditions:
                condition |= {
                    "status": "Unknown",
                    "reason": "NodeStatusUnknown",
                    "message": "Kubelet stopped posting node status.",
                    "lastTransitionTime": stamp(self._clock()),
                }
            self._store.put("Node", node, subresource="status")

    def taint_cordoned_nodes(self) -> None:
        """Taint cordoned nodes and no others, as the node lifecycle controller does from 1.12 on."""
        for node in self._store.items("Node") if TAINTS.in_release(self._store.release) else ():
            others = [t for t in node["spec"].get("taints") or () if t["key"] != UNSCHEDULABLE]
            tainted = len(others) < len(node["spec"].get("taints") or ())
            cordoned = bool(node["spec"].get("unschedulable"))
            if cordoned == tainted:
                continue
            added = [{**_TAINT, "timeAdded": stamp(self._clock())}] if cordoned else []
            node["spec"]["taints"] = others + added
            self._store.put("Node", node)

    def schedule(self) -> None:
        """Give each pod without a node the one with the fewest pods that is Ready and not cordoned."""
        nodes = [node for node in self._store.items("Node") if not node["spec"].get("unschedulable")]
        ready = [node["metadata"]["name"] for node in nodes if is_ready(node)]
        unbound = self._store.items("Pod", matches=lambda pod: not node_of(pod))
        for pod in unbound if ready else ():
            node = min(ready, key=[node_of(each) for each in self._store.items("Pod")].count)
            pod["spec"]["nodeName"] = node
            self._store.put("Pod", pod)

    def run_pods(self, machine: Machine, kubelet: Component, started: float | None = None) -> None:
        """Run the pods of a node that may run, as its kubelet."""
        for pod in self._store.items("Pod", matches=lambda pod: node_of(pod) == machine.name):
            blocked = self._reason_not_to_run(pod, kubelet)
            wanted = "Pending" if blocked else "Running"
            if (pod.get("status") or {}).get("phase") == wanted and (blocked or is_ready(pod)):
                continue
            pod["status"] = (
                self._blocked_status(pod, blocked) if blocked else self._running(machine, pod, started)
            )
            self._store.put("Pod", pod, subresource="status")

    def _reason_not_to_run(self, pod: Mapping[str, Any], kubelet: Component) -> str:
        """Return why a kubelet does not run a pod; empty where it does (canRunPod, up to 1.14)."""
        if kubelet.config.get("_allowPrivileged", True):
            return ""
        if not any(is_privileged(container) for _, container in containers(pod)):
            return ""
        uid = pod["metadata"]["uid"]
        return f'pod with UID "{uid}" specified privileged container, but is disallowed'

    def _running(self, machine: Machine, pod: Mapping[str, Any], started: float | None) -> dict[str, Any]:
        since = stamp(started or self._clock())
        spec = pod["spec"]
        index = list(self._machines).index(machine.name)
        number = sum(map(ord, pod["metadata"]["uid"])) % 250 + 2
        address = machine.spec.address if spec.get("hostNetwork") else f"10.32.{index}.{number}"
        kinds = ("Initialized", "Ready", "ContainersReady", "PodScheduled")
        return {
            "phase": "Running",
            "hostIP": machine.spec.address,
            "podIP": address,
            "startTime": since,
            "conditions": [{"type": kind, "status": "True", "lastTransitionTime": since} for kind in kinds],
            "containerStatuses": _container_statuses(pod, {"running": {"startedAt": since}}, ready=True),
        }

    def _blocked_status(self, pod: Mapping[str, Any], message: str) -> dict[str, Any]:
        now = stamp(self._clock())
        return {
            "phase": "Pending",
            "reason": "Forbidden",
            "message": message,
            "conditions": [{"type": "Ready", "status": "False", "lastTransitionTime": now}],
            "containerStatuses": _container_statuses(pod, {"waiting": {"reason": "Blocked"}}, ready=False),
        }


def _condition(
    old: Mapping[str, Any], kind: str, status: str, words: tuple[str, str], now: float
) -> dict[str, Any]:
    before = old.get(kind, {})
    changed = before.get("status") != status
    return {
        "type": kind,
        "status": status,
        "reason": words[0],
        "message": words[1],
        "lastHeartbeatTime": stamp(now),
        "lastTransitionTime": stamp(now) if changed else before["lastTransitionTime"],
    }


def _container_statuses(
    pod: Mapping[str, Any], state: dict[str, Any], *, ready: bool
) -> list[dict[str, Any]]:
    common = {"imageID": "", "ready": ready, "restartCount": 0, "state": state}
    return [{"name": c["name"], "image": c["image"], **common} for c in pod["spec"]["containers"]]


def os_name(machine: Machine) -> str:
    """Return PRETTY_NAME of a node's os-release."""
    for line in machine.read("/etc/os-release").decode().splitlines():
        if line.startswith("PRETTY_NAME="):
            return line.partition("=")[2].strip('"')
    return "Linux"
