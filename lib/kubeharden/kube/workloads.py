"""Workloads: everything that makes pods, once each, with its identity, its pods, and whether it is in use.

Admission looks at pods, and pods are made from templates by controllers. What a template says is what will be admitted
or refused tomorrow; a pod that runs today was mutated and filled in when it was made.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kubeharden.kube.manifests import Object, Objects, annotations_of, controller_of
from kubeharden.kube.pods import is_mirror, node_of, runs, service_account_of
from kubeharden.kube.rbac import Identity

Key = tuple[str, str, str]  # kind, namespace, name

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
KINDS = frozenset(kind for kind, _ in TEMPLATES.values())
# The controller that makes the pods of each kind, by the service account that it has where it has one
# (cmd/kube-controller-manager/app, pkg/controller/client_builder.go).
CONTROLLERS = {
    "DaemonSet": "daemon-set-controller",
    "Deployment": "replicaset-controller",
    "StatefulSet": "statefulset-controller",
    "ReplicaSet": "replicaset-controller",
    "ReplicationController": "replication-controller",
    "Job": "job-controller",
    "CronJob": "job-controller",
}
CONTROLLER_MANAGER = "system:kube-controller-manager"
# In the name of every annotation by which a pod is judged: seccomp's, AppArmor's, that of sysctls
# (pkg/apis/core/annotation_key_constants.go). Others may differ in every pod, such as the address that CNI gave it.
_JUDGED = "security."


@dataclass(frozen=True)
class Workload:
    """Something that makes pods, or a pod that nothing made.

    Attributes:
        kind: ``Deployment``; ``Pod`` for a pod of its own; the owner's kind where a custom resource makes pods.
        service_account: of its pods; empty for the mirror pod of a static pod, which has none.
        mirror: whether it is the mirror pod of a static pod.
        pods: how many of its pods have been made and have not ended.
        in_use: whether it has such pods, or would make some without anybody changing it.
        template: ``metadata`` and ``spec`` of the pods that it makes.
        askers: whose policies count for its pods: their service account, and the user who creates them.
    """

    kind: str
    namespace: str
    name: str
    service_account: str
    mirror: bool = False
    pods: int = 0
    in_use: bool = True
    template: Object = field(default_factory=dict, compare=False, repr=False)
    askers: tuple[Identity, ...] = field(default=(), compare=False, repr=False)

    @property
    def identity(self) -> str:
        """Return the subject that a binding must name: ``service account shop:default``, or a mirror pod's node."""
        if self.mirror:
            return f"node {self.askers[0].user.removeprefix('system:node:')}" if self.askers else "its node"
        return f"service account {self.namespace}:{self.service_account}"

    def __str__(self) -> str:
        who = self.identity if self.mirror else f"service account {self.service_account}"
        return f"{self.namespace}/{self.name} ({self.kind}, {who})"


def workloads(objects: Objects) -> list[Workload]:
    """Return everything that makes pods and is made by nothing else, by namespace and name."""
    items = _templates(objects)
    pods = _by_maker(objects.get("pods", ()), items)
    accounts = {_place(item) for item in objects.get("serviceaccounts", ())}
    result = [
        _of_template(key, item, pods.get(key, ()), accounts)
        for key, item in items.items()
        if _root(key, items) == key
    ]
    for key, own in pods.items():
        if key not in items:
            result += _of_pods(key, own)
    return sorted(result, key=lambda w: (w.namespace, w.name, w.kind))


def pods_by_maker(objects: Objects) -> dict[Key, list[Object]]:
    """Return all pods by what a person calls their maker: the Deployment, not its ReplicaSet; or the pod itself."""
    return _by_maker(objects.get("pods", ()), _templates(objects))


def static_pod_namespaces(objects: Objects) -> frozenset[str]:
    """Return the namespaces with mirror pods of static pods."""
    return frozenset(pod["metadata"]["namespace"] for pod in objects.get("pods", ()) if is_mirror(pod))


def names_of(kind: str, namespace: str, name: str) -> frozenset[str]:
    """Return how a person may name a workload: ``Deployment shop/web``, or ``shop/web`` whatever kind it is."""
    return frozenset({f"{kind} {namespace}/{name}", f"{namespace}/{name}"})


def template_of(kind: str, item: Object) -> dict[str, Any]:
    """Return the pod template of a workload; empty where it has none."""
    template: Any = item
    for step in dict(TEMPLATES.values())[kind]:
        template = (template or {}).get(step)
    return template or {}


def controller_identity(kind: str, accounts: Collection[tuple[str, str]]) -> Identity:
    """Return the user that makes the pods of a kind of workload.

    With ``--use-service-account-credentials``, the controller manager makes a service account for each controller and
    acts as it; without, there is none, and all of them act as the controller manager.
    """
    name = CONTROLLERS[kind]
    if ("kube-system", name) in accounts:
        return Identity.of_service_account("kube-system", name)
    return Identity.of_user(CONTROLLER_MANAGER)


def _of_template(key: Key, item: Object, pods: Iterable[Object], accounts: set[tuple[str, str]]) -> Workload:
    kind, namespace, name = key
    template = template_of(kind, item)
    account, running = service_account_of(template), sum(map(runs, pods))
    return Workload(
        kind=kind,
        namespace=namespace,
        name=name,
        service_account=account,
        pods=running,
        in_use=bool(running) or _makes_pods(kind, item),
        template=template,
        askers=(Identity.of_service_account(namespace, account), controller_identity(kind, accounts)),
    )


def _of_pods(key: Key, pods: Iterable[Object]) -> list[Workload]:
    """Return pods whose maker has no template to look at: as many workloads as there are different pods."""
    alike: dict[str, list[Object]] = {}
    for pod in pods:
        alike.setdefault(likeness(pod), []).append(pod)
    return [_of_pod(key, same) for same in alike.values()]


def _of_pod(key: Key, same: list[Object]) -> Workload:
    kind, namespace, name = key
    pod, running = same[0], sum(map(runs, same))
    mirror, account = is_mirror(pod), service_account_of(pod)
    asker = Identity.of_node(node_of(pod)) if mirror else Identity.of_service_account(namespace, account)
    return Workload(
        kind=kind,
        namespace=namespace,
        name=name,
        service_account="" if mirror else account,
        mirror=mirror,
        pods=running,
        in_use=bool(running),
        template=pod,
        askers=(asker,),
    )


def _templates(objects: Objects) -> dict[Key, Object]:
    return {
        (kind, *_place(item)): item
        for resource, (kind, _) in TEMPLATES.items()
        for item in objects.get(resource, ())
    }


def _by_maker(pods: Iterable[Object], items: Mapping[Key, Object]) -> dict[Key, list[Object]]:
    groups: dict[Key, list[Object]] = {}
    for pod in pods:
        groups.setdefault(_maker(pod, items), []).append(pod)
    return groups


def _maker(pod: Object, items: Mapping[Key, Object]) -> Key:
    """Return what a person calls the maker of a pod: the Deployment, not its ReplicaSet; the pod itself without one."""
    owner = None if is_mirror(pod) else controller_of(pod)
    namespace, name = _place(pod)
    if owner is None:
        return "Pod", namespace, name
    return _root((owner["kind"], namespace, owner.get("name") or name), items)


def _root(key: Key, items: Mapping[Key, Object]) -> Key:
    """Return the workload at the end of a chain of owners; what a custom resource owns stands for itself."""
    while key in items and (owner := controller_of(items[key])) is not None:
        above = (owner["kind"], key[1], owner.get("name", ""))
        if owner["kind"] not in KINDS or above not in items:
            break
        key = above
    return key


def _makes_pods(kind: str, item: Object) -> bool:
    """Return whether pods will be made of this without anybody changing it."""
    spec, status = item.get("spec") or {}, item.get("status") or {}
    if kind == "CronJob":
        return not spec.get("suspend")
    if kind == "Job":
        ended = {c.get("type") for c in status.get("conditions") or () if c.get("status") == "True"}
        return not (spec.get("suspend") or ended & {"Complete", "Failed"})
    if kind == "DaemonSet":
        return bool(status.get("desiredNumberScheduled", 1))
    return bool(spec.get("replicas", 1))


def likeness(pod: Object) -> str:
    """Return a text that is equal for two pods of one maker if one answer is enough for both."""
    spec = {
        key: value for key, value in (pod.get("spec") or {}).items() if key not in ("nodeName", "hostname")
    }
    return repr((spec, [(key, value) for key, value in annotations_of(pod).items() if _JUDGED in key]))


def _place(item: Object) -> tuple[str, str]:
    return str(item["metadata"].get("namespace", "default")), str(item["metadata"]["name"])
