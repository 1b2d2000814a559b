"""The pods of a node: which ran before, whether they run again, and which have nobody to stand in. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from kubeharden.kube.workloads import controller_of, is_mirror

Pod = Mapping[str, Any]
Objects = Mapping[str, Iterable[Mapping[str, Any]]]


def name_of(pod: Pod) -> str:
    """``kube-system/weave-net-x7k2p``."""
    return f"{pod['metadata'].get('namespace', '')}/{pod['metadata']['name']}"


def is_ready(pod: Pod) -> bool:
    """Whether it has the condition Ready."""
    conditions = (pod.get("status") or {}).get("conditions") or ()
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def is_over(pod: Pod) -> bool:
    """Whether it has done its work, or is on its way out."""
    phase = (pod.get("status") or {}).get("phase")
    return phase in {"Succeeded", "Failed"} or is_ending(pod)


def is_ending(pod: Pod) -> bool:
    """Whether it is on its way out."""
    return "deletionTimestamp" in pod["metadata"]


def is_daemons(pod: Pod) -> bool:
    """Whether a DaemonSet keeps it on its node."""
    return (controller_of(pod) or {}).get("kind") == "DaemonSet"


def not_again(node: str, before: Sequence[Pod], now: Sequence[Pod]) -> list[str]:
    """Which of the pods that were ready on a node do not run again, and have nobody in their place.

    A pod is told by its uid. Where it is gone, its controller must have as many ready pods as it had before:
    a new pod has another name, and may be on another node.

    Args:
        node: its name.
        before: the pods of the node, and all others of the same controllers, before the change.
        now: the same, now.
    """
    present = {pod["metadata"]["uid"]: pod for pod in now}
    wanted, there = _ready_by_owner(before), _ready_by_owner(now)
    problems = []
    for pod in before:
        if pod["spec"].get("nodeName") != node or not is_ready(pod) or is_over(pod):
            continue
        found, owner = present.get(pod["metadata"]["uid"]), controller_of(pod)
        if found is not None and (is_ready(found) or _done(found)):
            continue
        if found is None and owner is None and not is_mirror(pod):
            problems.append(f"{name_of(pod)} is gone, and nothing makes it anew")
        elif owner is None or there.get(owner["uid"], 0) < wanted[owner["uid"]]:
            problems.append(f"{name_of(pod)} was ready before and {'is not now' if found else 'is gone'}")
    return problems


def singles(objects: Objects) -> dict[str, list[str]]:
    """By node, the workloads that run one pod only, and run it there: nothing stands in for it meanwhile.

    Args:
        objects: ``pods``, ``deployments``, ``replicasets``, ``statefulsets``, ``replicationcontrollers``.
    """
    by_uid = {item["metadata"]["uid"]: item for items in objects.values() for item in items if _uid(item)}
    found: dict[str, list[str]] = {}
    for pod in objects.get("pods", ()):
        reference, node = controller_of(pod), pod.get("spec", {}).get("nodeName")
        owner = by_uid.get(reference["uid"]) if reference else None
        while owner is not None and (above := controller_of(owner)) is not None:
            owner = by_uid.get(above["uid"])
        if node and owner is not None and owner.get("spec", {}).get("replicas") == 1 and not is_over(pod):
            meta = owner["metadata"]
            found.setdefault(node, []).append(f"{meta['namespace']}/{meta['name']} ({owner['kind']})")
    return found


def _uid(item: Mapping[str, Any]) -> str:
    return str(item["metadata"].get("uid") or "")


def _done(pod: Pod) -> bool:
    return (pod.get("status") or {}).get("phase") == "Succeeded"


def _ready_by_owner(pods: Iterable[Pod]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for pod in pods:
        owner = controller_of(pod)
        if owner is not None:
            counts[owner["uid"]] = counts.get(owner["uid"], 0) + is_ready(pod)
    return counts
