"""Random pods that are valid, and lie close to what random policies draw a line at."""

from __future__ import annotations

import random
from typing import Any

from psp_policies import (
    ACCOUNTS,
    APPARMOR,
    CAPABILITIES,
    CLASSES,
    DRIVERS,
    IDS,
    LABELS,
    LEVELS,
    PATHS,
    PORTS,
    SECCOMP,
)

Object = dict[str, Any]

ASKS = 0.18  # how often a pod says something about a field
SYSCTLS = [
    "kernel.shm_rmid_forced", "kernel.msgmax", "kernel.msgmnb", "kernel.sem", "net.core.somaxconn",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_unprivileged_port_start",
]  # fmt: skip
TOKEN = {"serviceAccountToken": {"path": "token"}}
ROOT_CA = {"configMap": {"name": "kube-root-ca.crt"}}
NAMESPACE = {
    "downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.namespace"}}]}
}
PROJECTED = [
    [TOKEN],
    [TOKEN, ROOT_CA, NAMESPACE],
    [TOKEN, {"secret": {"name": "s"}}],
    [{"serviceAccountToken": {"path": "token", "audience": "vault"}}],
    [{"serviceAccountToken": {"path": "other"}}],
    [{"configMap": {"name": "mine"}}],
    [{"downwardAPI": {"items": [{"path": "namespace", "fieldRef": {"fieldPath": "metadata.name"}}]}}],
]
CLAIM = {"spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}}
# Every source of volumes with what it needs; those whose contents matter are made below.
SOURCES: dict[str, Object] = {
    "awsElasticBlockStore": {"volumeID": "v"},
    "azureDisk": {"diskName": "d", "diskURI": "https://example.com/d"},
    "azureFile": {"secretName": "s", "shareName": "s"},
    "cephfs": {"monitors": ["192.0.2.1"]},
    "cinder": {"volumeID": "v"},
    "configMap": {"name": "c"},
    "downwardAPI": {},
    "emptyDir": {},
    "ephemeral": {"volumeClaimTemplate": CLAIM},
    "fc": {"wwids": ["w"]},
    "flocker": {"datasetName": "d"},
    "gcePersistentDisk": {"pdName": "p"},
    "gitRepo": {"repository": "https://example.com/r"},
    "glusterfs": {"endpoints": "e", "path": "p"},
    "iscsi": {"targetPortal": "192.0.2.1", "iqn": "iqn.2001-04.com.example:storage", "lun": 0},
    "nfs": {"server": "192.0.2.1", "path": "/"},
    "persistentVolumeClaim": {"claimName": "c"},
    "photonPersistentDisk": {"pdID": "p"},
    "portworxVolume": {"volumeID": "v"},
    "quobyte": {"registry": "r:1", "volume": "v"},
    "rbd": {"monitors": ["192.0.2.1"], "image": "i"},
    "scaleIO": {"gateway": "g", "system": "s", "volumeName": "v", "secretRef": {"name": "s"}},
    "secret": {"secretName": "s"},
    "storageos": {"volumeName": "v"},
    "vsphereVolume": {"volumePath": "v"},
}


def pod(rng: random.Random, name: str, namespace: str) -> Object:
    """A pod that says something about some of the fields."""
    builder = _Builder(rng)
    spec = builder.spec()
    if rng.random() < 0.9 or "serviceAccountToken" in str(builder.volumes):  # a token needs its account
        spec["serviceAccountName"] = rng.choice(ACCOUNTS)
    metadata: Object = {"name": name, "namespace": namespace}
    if builder.notes:
        metadata["annotations"] = builder.notes
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}


class _Builder:
    """One pod; what its containers may use only once is remembered."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.notes: dict[str, str] = {}
        self.ports = rng.sample(PORTS, len(PORTS))
        self.volumes = self._volumes()
        self.host_network = self._asks()

    def _asks(self) -> bool:
        return self.rng.random() < ASKS

    def spec(self) -> Object:
        spec: Object = {"containers": [self._container("main")]}
        if self.rng.random() < 0.3:
            spec["containers"].append(self._container("side"))
        if self.rng.random() < 0.3:
            spec["initContainers"] = [self._container("before")]
        if self.host_network:
            spec["hostNetwork"] = True
        for key in ("hostPID", "hostIPC"):
            if self._asks():
                spec[key] = self.rng.choice([True, True, False])
        if self.volumes:
            spec["volumes"] = self.volumes
        if self._asks():
            spec["runtimeClassName"] = self.rng.choice(CLASSES)
        context = {
            **self._ids(),
            **self._pod_context(),
            **self._seccomp("seccomp.security.alpha.kubernetes.io/pod"),
        }
        if context or self._asks():
            spec["securityContext"] = context
        return spec

    def _pod_context(self) -> Object:
        context: Object = {}
        if self._asks():
            context["fsGroup"] = self.rng.choice(IDS)
        if self._asks():
            context["supplementalGroups"] = self.rng.choices(IDS, k=self.rng.randint(0, 3))
        if self._asks():
            names = self.rng.sample(SYSCTLS, self.rng.randint(0, 2))
            context["sysctls"] = [{"name": name, "value": "1"} for name in names]
        return context

    def _ids(self) -> Object:
        """What a pod and a container both may say."""
        context: Object = {}
        for key in ("runAsUser", "runAsGroup"):
            if self._asks():
                context[key] = self.rng.choice(IDS)
        if self._asks():
            context["runAsNonRoot"] = self.rng.choice([True, False])
        if self._asks():
            options = {"level": self.rng.choice(LEVELS), "type": self.rng.choice(LABELS)}
            context["seLinuxOptions"] = {key: value for key, value in options.items() if value}
        return context

    def _seccomp(self, key: str) -> Object:
        """A profile as an annotation, as a field, or as both, which must say the same."""
        if not self._asks():
            return {}
        profile = self.rng.choice(SECCOMP)
        how = self.rng.choice(["annotation", "field", "both"])
        if how != "field":
            self.notes[key] = profile
        if how == "annotation":
            return {}
        kinds = {
            "unconfined": "Unconfined",
            "runtime/default": "RuntimeDefault",
            "docker/default": "RuntimeDefault",
        }
        field = {"type": kinds.get(profile, "Localhost")}
        if field["type"] == "Localhost":
            field["localhostProfile"] = profile.removeprefix("localhost/")
        return {"seccompProfile": field}

    def _container(self, name: str) -> Object:
        container: Object = {"name": name, "image": "app"}
        context = {
            **self._ids(),
            **self._container_context(),
            **self._seccomp(f"container.seccomp.security.alpha.kubernetes.io/{name}"),
        }
        if context or self._asks():
            container["securityContext"] = context
        if self._asks():
            self.notes[f"container.apparmor.security.beta.kubernetes.io/{name}"] = self.rng.choice(APPARMOR)
        if self.rng.random() < 0.3:
            container["ports"] = [self._port()]
        mounts = [self._mount(volume["name"]) for volume in self.volumes if self.rng.random() < 0.6]
        if mounts:
            container["volumeMounts"] = mounts
        return container

    def _container_context(self) -> Object:
        context: Object = {}
        if self._asks():
            context["privileged"] = self.rng.choice([True, True, False])
        if self._asks():
            context["readOnlyRootFilesystem"] = self.rng.choice([True, False])
        if self._asks():
            context["procMount"] = self.rng.choice(["Default", "Unmasked", "Unmasked"])
        if self.rng.random() < 2 * ASKS:
            lists = {key: self.rng.choices(CAPABILITIES, k=self.rng.randint(0, 3)) for key in ("add", "drop")}
            context["capabilities"] = {key: names for key, names in lists.items() if names or self._asks()}
        root = context.get("privileged") or "CAP_SYS_ADMIN" in context.get("capabilities", {}).get("add", ())
        if self._asks():
            context["allowPrivilegeEscalation"] = True if root else self.rng.choice([True, False])
        return context

    def _port(self) -> Object:
        number = self.ports.pop()
        if self.host_network:  # the two have to be the same there
            return {"containerPort": number, **({"hostPort": number} if self.rng.random() < 0.5 else {})}
        return {"containerPort": 8000, **({"hostPort": number} if self.rng.random() < 0.7 else {})}

    def _mount(self, volume: str) -> Object:
        mount: Object = {"name": volume, "mountPath": f"/mnt/{volume}"}
        if self.rng.random() < 0.5:
            mount["readOnly"] = self.rng.random() < 0.8
        return mount

    def _volumes(self) -> list[Object]:
        count = self.rng.choice([0, 0, 0, 1, 1, 2])
        return [{"name": f"v{number}", **self._source()} for number in range(count)]

    def _source(self) -> Object:
        driver = self.rng.choice(DRIVERS)
        return self.rng.choice([
            {},
            {"csi": {"driver": driver.replace("/", "-")}},
            {"flexVolume": {"driver": driver}},
            {"hostPath": {"path": self.rng.choice(PATHS)}},
            {"hostPath": {"path": self.rng.choice(PATHS)}},
            {"projected": {"sources": self.rng.choice(PROJECTED)}},
            {name: SOURCES[name] for name in [self.rng.choice(sorted(SOURCES))]},
            {name: SOURCES[name] for name in [self.rng.choice(sorted(SOURCES))]},
        ])  # fmt: skip
