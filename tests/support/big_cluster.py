"""A big cluster: generated objects of the size that real ones have, served by a rehearsal API in a process of its own.

    python tests/support/big_cluster.py PODS TEMPLATES FOLDER      # serves until standard input ends

It is 1.23, where both PodSecurityPolicy and Pod Security Admission are, and where every pod has a token volume with a
name of its own, so that no two specs are equal.
"""

from __future__ import annotations

import asyncio
import json
import random
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from kubeharden.kube.rbac import Identity
from kubeharden_rehearsal.api.server import ApiServer
from kubeharden_rehearsal.api.store import ObjectStore

Object = dict[str, Any]
VERSION = "v1.23.17"
NAMESPACES, NODES = 200, 250
TOKEN = "big-cluster"
SYSTEM = "kube-system"  # whose service accounts may use a policy that allows everything
STARTED = "2026-01-05T08:00:00Z"
# How many of a hundred templates are of each kind. A Rollout is a custom resource: its pods are all that is seen of it.
SHARES = {
    "Deployment": 62,
    "CronJob": 10,
    "StatefulSet": 8,
    "Job": 6,
    "ReplicationController": 3,
    "ReplicaSet": 3,
    "Pod": 3,
    "DaemonSet": 3,
    "Rollout": 2,
}
API_VERSIONS = {"Job": "batch/v1", "CronJob": "batch/v1", "ReplicationController": "v1", "Pod": "v1"}
BAD_ONE_IN, IDLE_ONE_IN, SYSTEM_ONE_IN = 12, 9, 30


@dataclass
class BigCluster:
    """What was generated.

    Attributes:
        objects: all of it, as an API server has it.
        psp_breaks: ``Deployment ns-001/app-00017`` of all that is in use and no policy would admit.
        pss_breaks: the same of what the level baseline would refuse.
        templates: how many workloads there are.
        pods: how many pods.
    """

    objects: list[Object] = field(default_factory=list)
    psp_breaks: set[str] = field(default_factory=set)
    pss_breaks: set[str] = field(default_factory=set)
    templates: int = 0
    pods: int = 0


def generate(pods: int, templates: int, seed: int = 6) -> BigCluster:
    """A cluster with so many pods and templates; the same for the same numbers and seed."""
    return _Generator(random.Random(seed)).make(pods, templates)


@contextmanager
def serving(pods: int, templates: int, folder: Path) -> Iterator[Object]:
    """Such a cluster, served by a child process: ``kubeconfig``, ``psp_breaks``, ``pss_breaks``, ``bytes_a_pod`` …"""
    command = [sys.executable, __file__, str(pods), str(templates), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield json.loads(process.stdout.readline())  # type: ignore[union-attr]
        finally:
            process.stdin.close()  # type: ignore[union-attr]


class _Generator:
    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.made = BigCluster()
        self.namespaces = [SYSTEM, *(f"ns-{n:03}" for n in range(1, NAMESPACES))]

    def make(self, pods: int, templates: int) -> BigCluster:
        add = self.made.objects.append
        for name in self.namespaces:
            add(_item("v1", "Namespace", name))
            add(_item("v1", "ServiceAccount", "app", name))
        for name in range(NODES):
            add(_item("v1", "Node", f"node-{name:03}"))
        self.made.objects += _policies()
        kinds = self.rng.choices([*SHARES], [*SHARES.values()], k=templates)
        counts = self._counts(kinds, pods)
        for n, (kind, count) in enumerate(zip(kinds, counts, strict=True)):
            self._workload(n, kind, count)
        self.made.templates = templates
        return self.made

    def _counts(self, kinds: list[str], pods: int) -> list[int]:
        """How many pods each workload has: as many as are wanted in all, one of what is one pod only."""
        weights = [
            0.0 if kind == "Pod" else self.rng.paretovariate(1.5) * (4 if kind == "DaemonSet" else 1)
            for kind in kinds
        ]
        left = pods - kinds.count("Pod")
        counts = [int(left * weight / sum(weights)) if weight else 1 for weight in weights]
        growing = [n for n, weight in enumerate(weights) if weight]
        for n in range(pods - sum(counts)):
            counts[growing[n % len(growing)]] += 1
        return counts

    def _workload(self, n: int, kind: str, count: int) -> None:
        rng = self.rng
        system = n % SYSTEM_ONE_IN == 0
        namespace = SYSTEM if system else rng.choice(self.namespaces[1:])
        name = f"app-{n:05}"
        bad = rng.randrange(BAD_ONE_IN) == 0
        # Nothing runs of it, and nothing will: a scaled-down Deployment, a Job that is done.
        idle = kind not in ("Pod", "Rollout", "DaemonSet") and (count == 0 or rng.randrange(IDLE_ONE_IN) == 0)
        template = self._template(name, bad)
        phase = "Succeeded" if idle else "Running"
        owner = self._owner(kind, name, namespace, template, idle=idle, count=count)
        if kind == "Pod":
            self._pod(name, namespace, template, owner, phase)
        for index in range(count if kind != "Pod" else 0):
            suffix = str(index) if kind == "StatefulSet" else _letters(rng, 5)
            pod_name = f"{owner['name'] if owner else name}-{suffix}"
            self._pod(pod_name, namespace, template, owner, phase)
        if bad and not idle and (count or kind != "Rollout"):
            self.made.pss_breaks.add(f"{kind} {namespace}/{name}")
            if not system:
                self.made.psp_breaks.add(f"{kind} {namespace}/{name}")

    def _owner(
        self, kind: str, name: str, namespace: str, template: Object, *, idle: bool, count: int
    ) -> Object | None:
        """What has the template; what its pods name as their controller."""
        if kind == "Pod":
            return None
        if kind == "Rollout":
            return _reference("example.com/v1", kind, name, _uid(self.rng))
        version = API_VERSIONS.get(kind, "apps/v1")
        if kind == "CronJob":
            spec: Object = {"schedule": "*/5 * * * *", "suspend": idle}
            spec["jobTemplate"] = {"spec": {"template": template}}
        elif kind == "Job":
            spec = {"parallelism": 1, "template": template}
        else:
            spec = {"replicas": 0 if idle else max(count, 1), "template": template}
            selector = {"app": name}
            spec["selector"] = selector if kind == "ReplicationController" else {"matchLabels": selector}
        if kind == "DaemonSet":
            del spec["replicas"]
        ended = [{"type": "Complete", "status": "True"}] if kind == "Job" and idle else []
        item = self._add(version, kind, name, namespace, spec, status={"conditions": ended})
        reference = _reference(version, kind, name, item["metadata"]["uid"])
        if kind not in ("Deployment", "CronJob"):
            return reference
        below = "ReplicaSet" if kind == "Deployment" else "Job"
        owned_version = API_VERSIONS.get(below, "apps/v1")
        for old in range(3 if kind == "Deployment" else 1):  # the last one is what there are pods of
            owned_name = f"{name}-{_letters(self.rng, 9)}"
            replicas = {"replicas": spec.get("replicas", 0) if old == 2 else 0}
            owned = {**(replicas if below == "ReplicaSet" else {}), "template": template}
            made = self._add(owned_version, below, owned_name, namespace, owned, owner=reference)
        return _reference(owned_version, below, owned_name, made["metadata"]["uid"])

    def _add(
        self,
        version: str,
        kind: str,
        name: str,
        namespace: str,
        spec: Object,
        *,
        status: Object | None = None,
        owner: Object | None = None,
    ) -> Object:
        item = _item(version, kind, name, namespace, spec=spec, status=status or {})
        item["metadata"] |= {"uid": _uid(self.rng), "labels": {"app": name}, "managedFields": _managed(name)}
        if owner:
            item["metadata"]["ownerReferences"] = [owner]
        self.made.objects.append(item)
        return item

    def _template(self, name: str, bad: bool) -> Object:
        rng = self.rng
        containers = [self._container(name, n) for n in range(rng.choice((1, 1, 2)))]
        spec: Object = {
            "containers": containers,
            "dnsPolicy": "ClusterFirst",
            "restartPolicy": "Always",
            "schedulerName": "default-scheduler",
            "securityContext": {},
            "serviceAccount": "app",
            "serviceAccountName": "app",
            "terminationGracePeriodSeconds": 30,
            "volumes": [
                {"name": "config", "configMap": {"name": f"{name}-config", "defaultMode": 420}},
                {"name": "tmp", "emptyDir": {}},
            ],
        }
        match rng.randrange(4) if bad else None:
            case 0:
                spec["hostNetwork"] = True
            case 1:
                spec["volumes"].append({"name": "host", "hostPath": {"path": "/var/log", "type": ""}})
            case 2:
                containers[0]["securityContext"] = {"privileged": True}
            case 3:
                containers[0]["securityContext"] = {"capabilities": {"add": ["NET_ADMIN"]}}
        return {"metadata": {"labels": {"app": name}, "annotations": {"checksum": _uid(rng)}}, "spec": spec}

    def _container(self, name: str, n: int) -> Object:
        rng = self.rng
        return {
            "name": f"{name}-{n}",
            "image": f"registry.example.com/team/{name}:{rng.randrange(100)}",
            "imagePullPolicy": "IfNotPresent",
            "args": ["--config=/etc/app/config.yaml", f"--shard={rng.randrange(10)}"],
            "env": [{"name": f"SETTING_{i}", "value": f"value-{rng.randrange(1000)}"} for i in range(6)],
            "ports": [{"containerPort": 8080 + n, "name": f"http-{n}", "protocol": "TCP"}],
            "livenessProbe": {"httpGet": {"path": "/healthz", "port": 8080 + n, "scheme": "HTTP"}},
            "resources": {"limits": {"memory": "256Mi"}, "requests": {"cpu": "100m", "memory": "128Mi"}},
            "terminationMessagePath": "/dev/termination-log",
            "terminationMessagePolicy": "File",
            "volumeMounts": [
                {"name": "config", "mountPath": "/etc/app", "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }

    def _pod(self, name: str, namespace: str, template: Object, owner: Object | None, phase: str) -> None:
        rng = self.rng
        self.made.pods += 1
        spec = json.loads(json.dumps(template["spec"]))
        token = f"kube-api-access-{_letters(rng, 5)}"
        spec["nodeName"] = f"node-{rng.randrange(NODES):03}"
        spec["tolerations"] = _TOLERATIONS
        spec["volumes"].append({"name": token, "projected": {"defaultMode": 420, "sources": _TOKEN_SOURCES}})
        mount = {
            "name": token,
            "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount",
            "readOnly": True,
        }
        for container in spec["containers"]:
            container["volumeMounts"].append(mount)
        pod = _item("v1", "Pod", name, namespace, spec=spec)
        pod["metadata"] |= {
            "uid": _uid(rng),
            "labels": {**template["metadata"]["labels"], "pod-template-hash": "6d4b9c7f5d"},
            "annotations": {**template["metadata"]["annotations"], "cni.example.com/podIP": _ip(rng)},
            "ownerReferences": [owner] if owner else [],
            "managedFields": _managed(name),
        }
        pod["status"] = _status(rng, spec, phase)
        self.made.objects.append(pod)


_TOLERATIONS = [
    {
        "effect": "NoExecute",
        "key": f"node.kubernetes.io/{key}",
        "operator": "Exists",
        "tolerationSeconds": 300,
    }
    for key in ("not-ready", "unreachable")
]
_TOKEN_SOURCES: list[Object] = [
    {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
    {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
    {
        "downwardAPI": {
            "items": [
                {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}
            ]
        }
    },
]


def _policies() -> list[Object]:
    """A policy that everybody may use, and one for kube-system that allows everything."""
    strategy = {"rule": "RunAsAny"}
    rules = dict.fromkeys(("seLinux", "runAsUser", "supplementalGroups", "fsGroup"), strategy)
    ordinary = {**rules, "volumes": ["configMap", "emptyDir", "projected", "secret"]}
    everything = {
        **rules,
        "privileged": True,
        "hostNetwork": True,
        "hostPorts": [{"min": 0, "max": 65535}],  # those of a pod on the host's network are its containers'
        "hostPID": True,
        "hostIPC": True,
        "allowedCapabilities": ["*"],
        "volumes": ["*"],
    }
    group = "rbac.authorization.k8s.io"
    found = []
    for name, spec in (("ordinary", ordinary), ("everything", everything)):
        found.append(_item("policy/v1beta1", "PodSecurityPolicy", name, spec=spec))
        rule = {"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "verbs": ["use"]}
        role = _item(f"{group}/v1", "ClusterRole", f"psp:{name}")
        found.append({**role, "rules": [{**rule, "resourceNames": [name]}]})
    for name, who in (
        ("ordinary", "system:authenticated"),
        ("everything", f"system:serviceaccounts:{SYSTEM}"),
    ):
        binding = _item(f"{group}/v1", "ClusterRoleBinding", f"psp:{name}")
        if name == "everything":
            # In kube-system only: everywhere, it would let the controllers there make any pod.
            binding = _item(f"{group}/v1", "RoleBinding", f"psp:{name}", SYSTEM)
        binding["roleRef"] = {"apiGroup": group, "kind": "ClusterRole", "name": f"psp:{name}"}
        binding["subjects"] = [{"apiGroup": group, "kind": "Group", "name": who}]
        found.append(binding)
    return found


def _item(version: str, kind: str, name: str, namespace: str = "", **parts: Object) -> Object:
    metadata = {"name": name, "creationTimestamp": STARTED, **({"namespace": namespace} if namespace else {})}
    return {"apiVersion": version, "kind": kind, "metadata": metadata, **parts}


def _reference(version: str, kind: str, name: str, uid: str) -> Object:
    return {
        "apiVersion": version,
        "kind": kind,
        "name": name,
        "uid": uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _status(rng: random.Random, spec: Object, phase: str) -> Object:
    conditions = [
        {"lastProbeTime": None, "lastTransitionTime": STARTED, "status": "True", "type": kind}
        for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")
    ]
    statuses = [
        {
            "containerID": f"containerd://{rng.getrandbits(256):064x}",
            "image": container["image"],
            "imageID": f"registry.example.com/team/app@sha256:{rng.getrandbits(256):064x}",
            "lastState": {},
            "name": container["name"],
            "ready": True,
            "restartCount": 0,
            "started": True,
            "state": {"running": {"startedAt": STARTED}},
        }
        for container in spec["containers"]
    ]
    address = _ip(rng)
    return {
        "conditions": conditions,
        "containerStatuses": statuses,
        "hostIP": _ip(rng),
        "phase": phase,
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": STARTED,
    }


def _managed(name: str) -> list[Object]:
    """What the controller manager and the kubelet own of a pod: half of its size."""
    container: Object = {
        f"f:{key}": {}
        for key in (
            "args",
            "image",
            "imagePullPolicy",
            "name",
            "terminationMessagePath",
            "terminationMessagePolicy",
        )
    }
    container["f:env"] = {
        f'k:{{"name":"SETTING_{i}"}}': {".": {}, "f:name": {}, "f:value": {}} for i in range(6)
    }
    spec = {
        "f:containers": {f'k:{{"name":"{name}"}}': container},
        **{f"f:{key}": {} for key in ("dnsPolicy", "restartPolicy", "schedulerName", "securityContext")},
    }
    status = {
        f'k:{{"type":"{kind}"}}': {".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}}
        for kind in ("ContainersReady", "Initialized", "Ready")
    }
    return [
        {
            "manager": manager,
            "operation": "Update",
            "apiVersion": "v1",
            "time": STARTED,
            "fieldsType": "FieldsV1",
            "fieldsV1": fields,
        }
        for manager, fields in (
            ("kube-controller-manager", {"f:metadata": {"f:labels": {".": {}, "f:app": {}}}, "f:spec": spec}),
            (
                "kubelet",
                {"f:status": {"f:conditions": status, "f:phase": {}, "f:podIP": {}, "f:startTime": {}}},
            ),
        )
    ]


def _letters(rng: random.Random, count: int) -> str:
    return "".join(rng.choices("bcdfghjklmnpqrstvwxz2456789", k=count))


def _uid(rng: random.Random) -> str:
    text = f"{rng.getrandbits(128):032x}"
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))


def _ip(rng: random.Random) -> str:
    return f"10.{rng.randrange(256)}.{rng.randrange(256)}.{rng.randrange(1, 255)}"


async def _serve(made: BigCluster, folder: Path) -> None:
    store = ObjectStore("1.23")
    store.load(made.objects)
    sizes = []
    for kind in ("Pod", "ReplicaSet", "Deployment"):  # what an API server would have ready in its cache
        page = store.page(store.catalog.by_kind(kind))
        sizes += [len(stored.json) for stored in page.items if kind == "Pod"]
    made.objects.clear()
    api = ApiServer(store, users={TOKEN: Identity("admin", frozenset({"system:masters"}))}, version=VERSION)
    kubeconfig = folder / "big.kubeconfig"
    kubeconfig.write_text(yaml.safe_dump(_kubeconfig(await api.start())), encoding="utf-8")
    ready = {
        "kubeconfig": str(kubeconfig),
        "pods": made.pods,
        "templates": made.templates,
        "psp_breaks": sorted(made.psp_breaks),
        "pss_breaks": sorted(made.pss_breaks),
        "bytes_a_pod": round(sum(sizes) / len(sizes)),
    }
    sys.stdout.write(json.dumps(ready) + "\n")
    sys.stdout.flush()
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    await api.stop()


def _kubeconfig(port: int) -> Object:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "big", "cluster": {"server": f"http://127.0.0.1:{port}"}}],
        "users": [{"name": "admin", "user": {"token": TOKEN}}],
        "contexts": [{"name": "big", "context": {"cluster": "big", "user": "admin"}}],
        "current-context": "big",
    }


if __name__ == "__main__":
    asyncio.run(_serve(generate(int(sys.argv[1]), int(sys.argv[2])), Path(sys.argv[3])))
