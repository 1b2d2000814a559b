"""What creates pods in a cluster, and under which service account."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.podsecurity.authorization import usable_policies

Object = Mapping[str, Any]

# Resource name and kind of everything with a pod template, with the path to the template.
TEMPLATES = {
    "daemonsets": ("DaemonSet", ("spec", "template")),
    "deployments": ("Deployment", ("spec", "template")),
    "statefulsets": ("StatefulSet", ("spec", "template")),
    "replicasets": ("ReplicaSet", ("spec", "template")),
    "replicationcontrollers": ("ReplicationController", ("spec", "template")),
    "jobs": ("Job", ("spec", "template")),
    "cronjobs": ("CronJob", ("spec", "jobTemplate", "spec", "template")),
}
MIRROR_ANNOTATION = "kubernetes.io/config.mirror"


@dataclass(frozen=True)
class Workload:
    """Something that creates pods, or a pod that nothing created."""

    kind: str
    namespace: str
    name: str
    service_account: str
    mirror: bool = False

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name} ({self.kind}, service account {self.service_account})"


def workloads(objects: Mapping[str, Iterable[Object]]) -> list[Workload]:
    """Everything that creates pods and is created by nothing else, by namespace and name.

    Args:
        objects: the resources of ``TEMPLATES`` and ``pods``, as plain dicts.
    """
    found = list(_templates(objects))
    found += [
        _workload("Pod", pod, pod.get("spec", {})) for pod in objects.get("pods", ()) if not _owned(pod)
    ]
    return sorted(found, key=lambda w: (w.namespace, w.name, w.kind))


def static_pod_namespaces(objects: Mapping[str, Iterable[Object]]) -> frozenset[str]:
    """The namespaces with mirror pods of static pods."""
    pods = (pod["metadata"] for pod in objects.get("pods", ()))
    return frozenset(
        meta["namespace"] for meta in pods if MIRROR_ANNOTATION in (meta.get("annotations") or {})
    )


def uncovered(objects: Mapping[str, Iterable[Object]]) -> list[Workload]:
    """The workloads whose service account may use no policy at all: they run on, and will not start again.

    Mirror pods of static pods are left out: the kubelet creates them as the node's user.
    """
    policies: dict[tuple[str, str], frozenset[str]] = {}
    result = []
    for workload in workloads(objects):
        account = (workload.namespace, workload.service_account)
        if account not in policies:
            policies[account] = usable_policies(objects, *account)
        if not policies[account] and not workload.mirror:
            result.append(workload)
    return result


def _templates(objects: Mapping[str, Iterable[Object]]) -> Iterator[Workload]:
    for resource, (kind, path) in TEMPLATES.items():
        for item in objects.get(resource, ()):
            if _owned(item):
                continue
            template: Any = item
            for key in path:
                template = (template or {}).get(key)
            yield _workload(kind, item, (template or {}).get("spec") or {})


def _workload(kind: str, item: Object, spec: Object) -> Workload:
    meta = item["metadata"]
    return Workload(
        kind=kind,
        namespace=meta.get("namespace", "default"),
        name=meta["name"],
        service_account=spec.get("serviceAccountName") or spec.get("serviceAccount") or "default",
        mirror=MIRROR_ANNOTATION in (meta.get("annotations") or {}),
    )


def _owned(item: Object) -> bool:
    """Whether another workload made it; what a custom resource made stands for itself."""
    kinds = {kind for kind, _ in TEMPLATES.values()}
    owners = item["metadata"].get("ownerReferences") or ()
    return any(owner.get("controller") and owner.get("kind") in kinds for owner in owners)
