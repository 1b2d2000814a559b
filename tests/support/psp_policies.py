"""Random PodSecurityPolicies that a server takes, and random ways to let somebody use them."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

Object = dict[str, Any]

# Numbers at and beside the ends of ranges; 2**31 is one more than a user or group may have.
IDS = [0, 1, 9, 10, 11, 20, 21, 1000, 65534, 2**31 - 1]
CAPABILITIES = [
    "ALL",
    "CAP_SYS_ADMIN",
    "CHOWN",
    "KILL",
    "NET_ADMIN",
    "NET_BIND_SERVICE",
    "SYS_ADMIN",
    "chown",
]
PORTS = [1, 79, 80, 81, 443, 8079, 8080, 8081, 65535]
PATHS = ["/", "/foo", "/foo/", "/foo/bar", "/foo/barn", "/foobar", "/var/log", "/var/log/pods/"]
LEVELS = ["s0", "s0:c1,c2", "s0:c2,c1", "s0:c1", ""]
LABELS = ["", "container_t", "spc_t"]
SECCOMP = ["runtime/default", "docker/default", "unconfined", "localhost/a", "localhost/a/b"]
APPARMOR = ["runtime/default", "unconfined", "localhost/a", "localhost/ab"]
DRIVERS = ["example.com/a", "example.com/b", "example.com/ab"]
CLASSES = ["gvisor", "kata", "gvisor2"]
# No pattern may overlap with one on the other side, so each side has its own.
ALLOWED_SYSCTLS = ["kernel.msg*", "kernel.msgmax", "net.core.somaxconn", "net.core.*"]
FORBIDDEN_SYSCTLS = ["kernel.sem", "net.ipv4.*", "kernel.shm_rmid_forced", "net.ipv4.tcp_syncookies"]
VOLUMES = [
    "awsElasticBlockStore", "azureDisk", "azureFile", "cephFS", "cinder", "configMap", "csi", "downwardAPI",
    "emptyDir", "ephemeral", "fc", "flexVolume", "flocker", "gcePersistentDisk", "gitRepo", "glusterfs", "hostPath",
    "iscsi", "nfs", "persistentVolumeClaim", "photonPersistentDisk", "portworxVolume", "projected", "quobyte", "rbd",
    "scaleIO", "secret", "storageos", "vsphereVolume",
]  # fmt: skip

NAMESPACES = ("red", "blue")
ACCOUNTS = ("default", "builder", "web")
USERS = ("ann", "bob")
TEAMS = ("team-a", "team-b")

RBAC_API = "/apis/rbac.authorization.k8s.io/v1"
SECCOMP_KEYS = "seccomp.security.alpha.kubernetes.io/"
APPARMOR_KEYS = "apparmor.security.beta.kubernetes.io/"
STRICT = (0.03, 0.2, 0.3, 0.4)  # how often a policy is strict about a field: one of these for each policy


def policy(rng: random.Random, name: str) -> Object:
    """A policy that is strict about some fields and lets the rest be."""

    share = rng.choice(STRICT)

    def strict() -> bool:
        return rng.random() < share

    spec: Object = {
        "privileged": not strict(),
        **{key: not strict() for key in ("hostNetwork", "hostPID", "hostIPC")},
        "hostPorts": _port_ranges(rng) if strict() else [{"min": 0, "max": 65535}],
        "volumes": rng.sample(VOLUMES, rng.randint(0, 14)) if strict() else ["*"],
        "seLinux": _labels(rng) if strict() else {"rule": "RunAsAny"},
        "runAsUser": _users(rng) if strict() else {"rule": "RunAsAny"},
        "supplementalGroups": _groups(rng) if strict() else {"rule": "RunAsAny"},
        "fsGroup": _groups(rng) if strict() else {"rule": "RunAsAny"},
        **_capabilities(rng, strict),
        **_escalation(rng, strict),
    }
    if strict():
        spec["runAsGroup"] = _groups(rng, ranges_needed=True)
    if strict():
        spec["readOnlyRootFilesystem"] = True
    if strict() or strict():
        paths = rng.sample(PATHS, rng.randint(1, 4))
        spec["allowedHostPaths"] = [{"pathPrefix": path, **_maybe_read_only(rng)} for path in paths]
    if strict():
        spec["allowedFlexVolumes"] = [{"driver": rng.choice(DRIVERS)}]
        spec["allowedCSIDrivers"] = [{"name": rng.choice(DRIVERS).replace("/", "-")}]
    if strict():
        spec["forbiddenSysctls"] = rng.sample(FORBIDDEN_SYSCTLS, rng.randint(1, 2))
    if not strict():
        spec["allowedUnsafeSysctls"] = rng.choice([["*"], rng.sample(ALLOWED_SYSCTLS, rng.randint(1, 3))])
        if "forbiddenSysctls" in spec:  # the two may not overlap
            spec["allowedUnsafeSysctls"] = rng.sample(ALLOWED_SYSCTLS, rng.randint(1, 3))
    if not strict():
        spec["allowedProcMountTypes"] = ["Default", "Unmasked"]
    elif rng.random() < 0.3:
        spec["allowedProcMountTypes"] = ["Unmasked"]
    if strict():
        spec["runtimeClass"] = _classes(rng)
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {"name": name, "annotations": _profiles(rng, strict)},
        "spec": spec,
    }


def _maybe_read_only(rng: random.Random) -> Object:
    return rng.choice([{}, {"readOnly": True}, {"readOnly": False}])


def _port_ranges(rng: random.Random) -> list[Object]:
    pairs = (sorted(rng.choices(PORTS, k=2)) for _ in range(rng.randint(0, 2)))
    return [{"min": low, "max": high} for low, high in pairs]


def _ranges(rng: random.Random) -> list[Object]:
    if rng.random() < 0.05:
        return [{"min": 2**31, "max": 2**40}]
    pairs = (sorted(rng.choices(IDS, k=2)) for _ in range(rng.randint(1, 3)))
    return [{"min": low, "max": high} for low, high in pairs]


def _users(rng: random.Random) -> Object:
    if rng.random() < 0.4:
        return {"rule": "MustRunAsNonRoot"}
    return {"rule": "MustRunAs", "ranges": _ranges(rng) if rng.random() < 0.9 else []}


def _groups(rng: random.Random, ranges_needed: bool = False) -> Object:
    ranges = _ranges(rng) if ranges_needed or rng.random() < 0.9 else []
    return {"rule": rng.choice(["MustRunAs", "MayRunAs"]), "ranges": ranges}


def _labels(rng: random.Random) -> Object:
    if rng.random() < 0.1:
        return {"rule": "MustRunAs"}  # stored, and passed over
    options = {"level": rng.choice(LEVELS), "type": rng.choice(LABELS)}
    return {"rule": "MustRunAs", "seLinuxOptions": {key: value for key, value in options.items() if value}}


def _capabilities(rng: random.Random, strict: Callable[[], bool]) -> Object:
    if not strict():
        defaults = {"defaultAddCapabilities": ["KILL"]} if strict() else {}
        return {"allowedCapabilities": ["*"], **defaults}
    names = rng.sample(CAPABILITIES, len(CAPABILITIES))
    drop, add, allowed = rng.randint(0, 3), rng.randint(0, 2), rng.randint(0, 3)
    return {
        "requiredDropCapabilities": names[:drop],
        "defaultAddCapabilities": names[drop : drop + add],
        "allowedCapabilities": names[drop + add : drop + add + allowed],
    }


def _escalation(rng: random.Random, strict: Callable[[], bool]) -> Object:
    spec: Object = {}
    if strict():
        spec["allowPrivilegeEscalation"] = False
    elif rng.random() < 0.5:
        spec["allowPrivilegeEscalation"] = True
    if strict():  # the server takes no policy that by default sets what it does not allow
        forbidden = spec.get("allowPrivilegeEscalation") is False
        spec["defaultAllowPrivilegeEscalation"] = rng.choice([False, not forbidden])
    return spec


def _classes(rng: random.Random) -> Object:
    allowed = rng.choice([["*"], [], rng.sample(CLASSES, rng.randint(1, 2))])
    default = rng.choice(CLASSES if allowed == ["*"] else allowed) if allowed and rng.random() < 0.4 else None
    return {
        "allowedRuntimeClassNames": allowed,
        **({} if default is None else {"defaultRuntimeClassName": default}),
    }


def _profiles(rng: random.Random, strict: Callable[[], bool]) -> dict[str, str]:
    notes = {}
    if not strict():
        notes[f"{SECCOMP_KEYS}allowedProfileNames"] = "*"
    elif rng.random() < 0.7:
        allowed = rng.sample([*SECCOMP, "*"], rng.randint(0, 3))
        notes[f"{SECCOMP_KEYS}allowedProfileNames"] = ",".join(allowed)
    if strict():
        notes[f"{SECCOMP_KEYS}defaultProfileName"] = rng.choice(SECCOMP)
    if strict():
        notes[f"{APPARMOR_KEYS}allowedProfileNames"] = ",".join(rng.sample(APPARMOR, rng.randint(0, 3)))
    if strict():
        notes[f"{APPARMOR_KEYS}defaultProfileName"] = rng.choice(APPARMOR)
    return notes


def grant(rng: random.Random, names: list[str], mark: str) -> list[Object]:
    """A role and its binding: somebody may use some of the policies, or seems to."""
    rule: Object = {
        "apiGroups": [rng.choice(["policy", "policy", "extensions", "*", "apps"])],
        "resources": [rng.choice(["podsecuritypolicies"] * 4 + ["*", "podsecuritypolicy"])],
        "verbs": rng.choice([["use"], ["use"], ["get", "use"], ["*"], ["get"]]),
        "resourceNames": rng.sample(names, rng.randint(1, 4)),
    }
    if rng.random() < 0.03:
        del rule["resourceNames"]  # every policy
    kind, namespace = rng.choice(
        [("Role", rng.choice(NAMESPACES)), ("ClusterRole", rng.choice((*NAMESPACES, "")))]
    )
    role: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": kind,
        "metadata": {"name": mark, **({"namespace": namespace} if kind == "Role" else {})},
        "rules": [rule],
    }
    made = [role]
    if kind == "ClusterRole" and rng.random() < 0.3:
        role["metadata"]["labels"] = {"part-of": mark}
        aggregate = {"clusterRoleSelectors": [{"matchLabels": {"part-of": mark}}]}
        made.append({**role, "metadata": {"name": f"{mark}-all"}, "rules": [], "aggregationRule": aggregate})
    binding: Object = {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "RoleBinding" if namespace else "ClusterRoleBinding",
        "metadata": {"name": mark, **({"namespace": namespace} if namespace else {})},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": kind,
            "name": made[-1]["metadata"]["name"],
        },
        "subjects": [_subject(rng) for _ in range(rng.randint(1, 2))],
    }
    return [*made, binding]


def _subject(rng: random.Random) -> Object:
    namespace, account = rng.choice(NAMESPACES), rng.choice(ACCOUNTS)
    if rng.random() < 0.4:
        return {"kind": "ServiceAccount", "name": account, "namespace": namespace}
    users = [*USERS, f"system:serviceaccount:{namespace}:{account}"]
    groups = [*TEAMS, "system:serviceaccounts", f"system:serviceaccounts:{namespace}"]
    kind, names = rng.choice([("User", users), ("Group", groups)])
    if rng.random() < 0.05:
        kind, names = "Group", ["system:authenticated"]
    return {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": rng.choice(names)}


def anything(name: str) -> Object:
    """A policy that allows everything and fills in nothing."""
    return {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {
            "name": name,
            "annotations": {"seccomp.security.alpha.kubernetes.io/allowedProfileNames": "*"},
        },
        "spec": {
            **{
                key: {"rule": "RunAsAny"} for key in ("seLinux", "runAsUser", "supplementalGroups", "fsGroup")
            },
            **dict.fromkeys(("privileged", "hostNetwork", "hostPID", "hostIPC"), True),
            "hostPorts": [{"min": 0, "max": 65535}],
            "volumes": ["*"],
            "allowedCapabilities": ["*"],
            "allowedUnsafeSysctls": ["*"],
            "allowedProcMountTypes": ["Default", "Unmasked"],
        },
    }


def allow(name: str, rule: Object, group: str, namespace: str = "") -> list[tuple[str, Object]]:
    """A role and its binding to a group, in a namespace or in all, with where they are made."""
    kind, where = ("Role", f"namespaces/{namespace}/") if namespace else ("ClusterRole", "")
    role = {"metadata": {"name": name}, "rules": [rule]}
    binding = {
        "metadata": {"name": name},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": name},
        "subjects": [{"kind": "Group", "name": group, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    made = f"{RBAC_API}/{where}{kind.lower()}"
    return [(f"{made}s", role), (f"{made}bindings", binding)]


def use_of(policy_name: str) -> Object:
    return {
        "apiGroups": ["policy"],
        "resources": ["podsecuritypolicies"],
        "verbs": ["use"],
        "resourceNames": [policy_name],
    }
