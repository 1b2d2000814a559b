"""The answers of components at /configz.

The kubelet converts its configuration to the versioned type, whose keys are those of the file. kube-proxy
and kube-scheduler show their internal types up to 1.35, which have no JSON names, so the keys are Go's: ``ClusterCIDR``
for ``clusterCIDR``. Source: configz.New in cmd/kube-proxy/app/server.go, cmd/kube-scheduler/app/server.go
and cmd/kubelet/app/server.go (initConfigz); pkg/proxy/apis/config/types.go.
"""

from __future__ import annotations

import json
import re
from typing import Any

from kubeharden.releases import Release, feature

# The name under which each registers.
SECTIONS = {
    "kubelet": "kubeletconfig",
    "kube-proxy": "kubeproxy.config.k8s.io",
    "kube-scheduler": "componentconfig",
}
# Where Go's name is not the file's with a capital letter.
_GO_NAMES = {"iptables": "IPTables", "excludeCIDRs": "ExcludeCIDRs"}
_INITIALS = re.compile("^(ipvs|oom|qps|tcp|udp)")
# Maps whose keys are data.
_MAPS = {"featureGates"}


def configz(component: str, release: Release, config: dict[str, Any]) -> str:
    """Return the answer of /configz; ``config`` is the effective configuration, with the keys of the file."""
    if component == "kubelet" or feature("the names of files in /configz").in_release(release):
        return json.dumps({SECTIONS[component]: config})
    shown = _go(config)
    renamed = feature("ClientConnection.kubeconfig in Go").in_release(release)
    if not renamed and "ClientConnection" in shown:
        connection = shown["ClientConnection"]
        shown["ClientConnection"] = {**connection, "KubeConfigFile": connection.pop("Kubeconfig", "")}
    return json.dumps({SECTIONS[component]: shown})


def _go(config: dict[str, Any]) -> dict[str, Any]:
    return {
        _go_name(key): _go(value) if isinstance(value, dict) and key not in _MAPS else value
        for key, value in config.items()
    }


def _go_name(key: str) -> str:
    name = _INITIALS.sub(lambda match: match[0].upper(), key)
    return _GO_NAMES.get(key, name[:1].upper() + name[1:])
