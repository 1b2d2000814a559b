"""A pod of the API as plain data: its readers, and what a change did to the pods of a node. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubeharden.kube.manifests import Objects, annotations_of, controller_of
from kubeharden.kube.names import MIRROR

Pod = Mapping[str, Any]
# The lists of containers in a pod's spec, in the order in which the server visits them (pkg/api/pod/util.go,
# VisitContainersWithPath), and what one of each is called.
CONTAINER_LISTS = {
    "initContainers": "init container",
    "containers": "container",
    "ephemeralContainers": "ephemeral container",
}
# Those that a pod has when it is made: ephemeral containers come later, by a request of their own.
TEMPLATE_LISTS = ("initContainers", "containers")
_FINISHED = ("Succeeded", "Failed")


def name_of(pod: Pod) -> str:
    """Return ``kube-system/weave-net-x7k2p``."""
    return f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"


def node_of(pod: Pod) -> str:
    """Return the name of its node; empty while it has none."""
    return str((pod.get("spec") or {}).get("nodeName") or "")


def service_account_of(pod: Pod) -> str:
    """Return the name of the service account that it runs as."""
    spec = pod.get("spec") or {}
    return str(spec.get("serviceAccountName") or spec.get("serviceAccount") or "default")


def containers(pod: Pod) -> Iterator[tuple[str, Any]]:
    """Yield every container with its path, in the server's order."""
    spec = pod["spec"]
    for key in CONTAINER_LISTS:
        for index, container in enumerate(spec.get(key) or ()):
            yield f"spec.{key}[{index}]", container


def phase_of(pod: Pod) -> str:
    """Return ``Pending``, ``Running``, ``Succeeded`` or ``Failed``; empty where the server has not said."""
    return str((pod.get("status") or {}).get("phase") or "")


def runs(pod: Pod) -> bool:
    """Return whether it has not ended."""
    return phase_of(pod) not in _FINISHED


def is_ready(pod: Pod) -> bool:
    """Return whether it has the condition Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_over(pod: Pod) -> bool:
    """Return whether it has done its work, or is being deleted."""
    return not runs(pod) or is_ending(pod)


def is_ending(pod: Pod) -> bool:
    """Return whether it is being deleted."""
    return "deletionTimestamp" in pod["metadata"]


def is_of_daemon_set(pod: Pod) -> bool:
    """Return whether a DaemonSet keeps it on its node."""
    return (controller_of(pod) or {}).get("kind") == "DaemonSet"


def is_mirror(pod: Pod) -> bool:
    """Return whether it is the mirror pod of a static pod, which the kubelet alone can end."""
    return MIRROR in annotations_of(pod)


def missing_pods(node: str, before: Sequence[Pod], now: Sequence[Pod]) -> list[str]:
    """Return in words which pods that were ready on a node neither run again nor were replaced.

    A pod is known by its uid. Where it is gone, its controller must have as many ready pods as it had before:
    a new pod has another name, and may be on another node.

    Args:
        before: the pods of the node, and all others of the same controllers, before the change.
        now: the same, now.
    """
    present = {pod["metadata"]["uid"]: pod for pod in now}
    ready_before, present_counts = _ready_by_owner(before), _ready_by_owner(now)
    problems = []
    for pod in before:
        if node_of(pod) != node or not is_ready(pod) or is_over(pod):
            continue
        pod_now, owner = present.get(pod["metadata"]["uid"]), controller_of(pod)
        if pod_now is not None and (is_ready(pod_now) or phase_of(pod_now) == "Succeeded"):
            continue
        if pod_now is None and owner is None and not is_mirror(pod):
            problems.append(f"{name_of(pod)} is gone, and nothing makes it anew")
        elif owner is None or present_counts.get(owner["uid"], 0) < ready_before[owner["uid"]]:
            problems.append(f"{name_of(pod)} was ready before and {'is not now' if pod_now else 'is gone'}")
    return problems


def single_replicas(objects: Objects) -> dict[str, list[str]]:
    """Return by node the workloads that run a single pod, and run it there: nothing replaces it meanwhile."""
    by_uid = {
        item["metadata"]["uid"]: item
        for items in objects.values()
        for item in items
        if item["metadata"].get("uid")
    }
    names: dict[str, list[str]] = {}
    for pod in objects.get("pods", ()):
        reference, node = controller_of(pod), node_of(pod)
        owner = by_uid.get(reference["uid"]) if reference else None
        while owner is not None and (above := controller_of(owner)) is not None:
            owner = by_uid.get(above["uid"])
        if node and owner is not None and owner.get("spec", {}).get("replicas") == 1 and not is_over(pod):
            meta = owner["metadata"]
            names.setdefault(node, []).append(f"{meta['namespace']}/{meta['name']} ({owner['kind']})")
    return names


def _ready_by_owner(pods: Iterable[Pod]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is not None:
            counts[owner["uid"]] = counts.get(owner["uid"], 0) + is_ready(pod)
    return counts
