"""A pod as the PodSecurityPolicy plugin sees it: its shape, the API's defaults that matter, and its containers.

Sources: pkg/apis/core/v1/defaults.go (what is filled in before admission), pkg/apis/core/pods/helpers.go
(``VisitContainersWithPath``) and pkg/securitycontext/accessors.go (a container's settings before the pod's).
"""

from __future__ import annotations

from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.kube.pods import CONTAINER_LISTS, TEMPLATE_LISTS
from kubeharden.kube.shapes import find_mistake

Object = dict[str, Any]

_CAPABILITIES = {"add": [str], "drop": [str]}
_SECCOMP = {"type": str, "localhostProfile": str}
_SELINUX = {"level": str, "role": str, "type": str, "user": str}
_CONTAINER = {
    "name": str,
    "ports": [{"hostPort": int, "containerPort": int}],
    "volumeMounts": [{"name": str, "readOnly": bool}],
    "securityContext": {
        "allowPrivilegeEscalation": bool,
        "capabilities": _CAPABILITIES,
        "privileged": bool,
        "procMount": str,
        "readOnlyRootFilesystem": bool,
        "runAsGroup": int,
        "runAsNonRoot": bool,
        "runAsUser": int,
        "seLinuxOptions": _SELINUX,
        "seccompProfile": _SECCOMP,
    },
}
_PROJECTED = {
    "sources": [
        {
            "serviceAccountToken": {"path": str, "audience": str},
            "configMap": {"name": str},
            "downwardAPI": {
                "items": [{"path": str, "fieldRef": {"apiVersion": str, "fieldPath": str}}],
            },
        }
    ]
}
_SPEC = {
    **{key: [_CONTAINER] for key in CONTAINER_LISTS},
    "hostIPC": bool,
    "hostNetwork": bool,
    "hostPID": bool,
    "runtimeClassName": str,
    "securityContext": {
        "fsGroup": int,
        "runAsGroup": int,
        "runAsNonRoot": bool,
        "runAsUser": int,
        "seLinuxOptions": _SELINUX,
        "seccompProfile": _SECCOMP,
        "supplementalGroups": [int],
        "sysctls": [{"name": str}],
    },
    "volumes": [
        {
            "name": str,
            "csi": {"driver": str},
            "flexVolume": {"driver": str},
            "hostPath": {"path": str},
            "projected": _PROJECTED,
        }
    ],
}
# What a policy looks at, with its types; anything else in a pod is of no concern here.
_POD: Object = {"metadata": {"annotations": {"*": str}}, "spec": _SPEC}


def check_pod(pod: object) -> None:
    """Refuse a pod that the API server could not have read.

    Raises:
        ParameterError: naming the field, and what it must be.
    """
    if not isinstance(pod, dict) or not isinstance(pod.get("spec"), dict):
        raise ParameterError("pod: expected a mapping with metadata and spec, as the API has it")
    if mistake := find_mistake(pod, _POD, "pod"):
        raise ParameterError(mistake)


def with_defaults(pod: Object) -> Object:
    """Return the pod with the API's default that a policy sees: on the host's network, each port is a host port.

    Source: ``defaultHostNetworkPorts``. Ephemeral containers have no ports.
    """
    spec = pod["spec"]
    if not spec.get("hostNetwork"):
        return pod
    before = {key: spec[key] for key in TEMPLATE_LISTS if spec.get(key)}
    after = {key: [_with_host_ports(item) for item in items] for key, items in before.items()}
    return pod if after == before else {**pod, "spec": {**spec, **after}}


def _with_host_ports(container: Object) -> Object:
    ports = container.get("ports") or ()
    if not any(map(_lacks_host_port, ports)):
        return container
    filled = [{**p, "hostPort": p["containerPort"]} if _lacks_host_port(p) else p for p in ports]
    return {**container, "ports": filled}


def _lacks_host_port(port: Object) -> bool:
    return bool(port.get("containerPort") and not port.get("hostPort"))


def name_of(container: Object) -> str:
    """Return a container's name."""
    return container.get("name") or ""


def context(item: Object) -> Object:
    """Return the security context of a pod's spec or of a container; empty without one."""
    return item.get("securityContext") or {}


def effective(pod_context: Object, container_context: Object, key: str) -> Any:
    """Return a setting of a container, or else of its pod."""
    value = container_context.get(key)
    return pod_context.get(key) if value is None else value
