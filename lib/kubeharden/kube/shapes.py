"""The shapes of API objects that the library relies on: what is a mapping, a list, a text.

An API server keeps to its schema. What else may answer under its address is held against this before anything reads
it. Source of the fields: the types of k8s.io/api (core/v1, apps/v1, batch/v1, rbac/v1) and apimachinery (meta/v1).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

# A mapping names the fields that are read, and their shapes; one with "*" has any keys. A list has the shape of each of
# its items. A name with "!" must be there; null is otherwise as good as absent.
Shape = Any
_TEXTS: Shape = {"*": str}
_META: Shape = {
    "namespace": str,
    "uid": str,
    "resourceVersion": str,
    "deletionTimestamp": str,
    "labels": _TEXTS,
    "annotations": _TEXTS,
    "ownerReferences": [{"!kind": str, "!name": str, "!uid": str}],
}
_CONTAINER: Shape = {
    "!name": str,
    "image": str,
    "ports": [{"*": object}],
    "env": [{"*": object}],
    "volumeMounts": [{"*": object}],
    "lifecycle": {"*": {"*": object}},
    **{probe: {"*": object} for probe in ("livenessProbe", "readinessProbe", "startupProbe")},
    "securityContext": {
        "capabilities": {"add": [str], "drop": [str]},
        **{
            name: {"*": object}
            for name in ("seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions")
        },
    },
}
_POD_SPEC: Shape = {
    "nodeName": str,
    "serviceAccountName": str,
    "serviceAccount": str,
    **{name: [_CONTAINER] for name in ("containers", "initContainers", "ephemeralContainers")},
    "volumes": [{"!name": str, "hostPath": {"path": str}}],
    "securityContext": {
        "sysctls": [{"!name": str}],
        "supplementalGroups": [int],
        **{
            name: {"*": object}
            for name in ("seLinuxOptions", "seccompProfile", "appArmorProfile", "windowsOptions")
        },
    },
}
_TEMPLATE: Shape = {"metadata": _META, "spec": _POD_SPEC}
_CONDITIONS: Shape = [{"!type": str, "!status": str, "lastHeartbeatTime": str}]
_WORKLOAD: Shape = {"spec": {"template": _TEMPLATE, "selector": {"*": object}, "replicas": int}}
_RULES: Shape = {
    "rules": [
        {name: [str] for name in ("verbs", "apiGroups", "resources", "resourceNames", "nonResourceURLs")}
    ],
    "aggregationRule": {"clusterRoleSelectors": [{"*": object}]},
}
_BINDING: Shape = {
    "roleRef": {"!kind": str, "!name": str},
    "subjects": [{"!kind": str, "!name": str, "namespace": str}],
}
_SHAPES: Mapping[str, Shape] = {
    "Pod": {"spec": _POD_SPEC, "status": {"phase": str, "conditions": _CONDITIONS}},
    **dict.fromkeys(
        ("ReplicationController", "DaemonSet", "Deployment", "ReplicaSet", "StatefulSet", "Job"), _WORKLOAD
    ),
    "CronJob": {"spec": {"jobTemplate": {"metadata": _META, "spec": {"template": _TEMPLATE}}}},
    "Node": {
        "spec": {"taints": [{"!key": str, "timeAdded": str}], "unschedulable": bool},
        "status": {
            "conditions": _CONDITIONS,
            "addresses": [{"!type": str, "!address": str}],
            # Not all of it is text: runningInUserNamespace of 1.37 is true or false.
            "nodeInfo": dict.fromkeys(("machineID", "bootID", "kubeletVersion"), str),
        },
    },
    "PodSecurityPolicy": {"spec": {"*": object}},
    **dict.fromkeys(("Role", "ClusterRole"), _RULES),
    **dict.fromkeys(("RoleBinding", "ClusterRoleBinding"), _BINDING),
    "ConfigMap": {"data": _TEXTS},
    "Lease": {
        "spec": {"holderIdentity": str, "renewTime": str, "acquireTime": str, "leaseDurationSeconds": int}
    },
}
_NAMES = {str: "a text", int: "a number", bool: "true or false"}


def mistake_in(item: object, kind: str) -> str:
    """Return the first thing in an object that is not of its kind's shape, in words; empty where all is.

    Args:
        kind: such as ``Pod``; of a kind that is not known here, the metadata is looked at.
    """
    return find_mistake(item, {"!metadata": {"!name": str, **_META}, **_SHAPES.get(kind, {})})


def mistake_in_resources(resources: object) -> str:
    """Return the first thing in a discovery document's ``resources`` that is not as it must be; empty where all is."""
    return find_mistake(resources, [{"!name": str, "version": str}], "resources")


def find_mistake(value: object, shape: Shape, path: str = "") -> str:
    """Return the first thing in a value, which stands at a path, that is not of a shape; empty where all is."""
    if shape is object or value is None:
        return ""
    if isinstance(shape, type):
        is_good = isinstance(value, shape) and not (shape is int and isinstance(value, bool))
        return "" if is_good else f"{path} is not {_NAMES[shape]}"
    if not isinstance(value, type(shape)):
        return f"{path or 'it'} is not {'a list' if isinstance(shape, list) else 'a mapping'}"
    return next(filter(None, _mistakes_in_parts(value, shape, path)), "")


def _mistakes_in_parts(value: Any, shape: Shape, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for index, item in enumerate(value):
            # A list of objects has no holes.
            yield (
                f"{path}[{index}] is null"
                if item is None
                else find_mistake(item, shape[0], f"{path}[{index}]")
            )
        return
    dot = f"{path}." if path else ""
    for name, wanted in shape.items():
        key = name.removeprefix("!")
        if name == "*":
            for other, part in value.items():
                yield find_mistake(part, wanted, f"{dot}{other}")
        elif value.get(key) is not None:
            yield find_mistake(value[key], wanted, dot + key)
        elif name != key:
            yield f"{dot}{key} is missing"
