"""What the nodes and the API server themselves say, read without any code of kubeharden's."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Any, TypeVar

from cluster import get, kubectl
from machines import ssh
from places import LAB_RELEASE, PKI, Node, existing
from steps import in_parallel, run

from last_words import LEADERS, end_of, lost_its_lease, processes_since

Key = TypeVar("Key", str, tuple[str, str])

SERVICES = ("kubelet", "kube-proxy", "kube-scheduler")
# Kinds whose objects change while nobody does anything: heartbeats, leases, events, and what follows pods.
LIVING = {"events", "leases", "nodes", "componentstatuses", "endpoints", "endpointslices"}

SERVICE_SCRIPT = """
for name in kubelet kube-proxy kube-scheduler kube-apiserver kube-controller-manager etcd docker containerd; do
  eval "$(systemctl show -p LoadState -p MainPID -p NRestarts -p InvocationID $name)"
  [ "$LoadState" = loaded ] || continue
  echo "service $name $MainPID $(awk '{ print $22 }' /proc/$MainPID/stat) $NRestarts"
  echo "invocation $name $InvocationID"
  sudo journalctl -q --no-pager -o cat _SYSTEMD_INVOCATION_ID=$InvocationID |
    grep -E 'has been deprecated|are deprecated' | sed "s/^/warning $name /"
done
"""
CONFIGZ_SCRIPT = "curl -sf --max-time 3 {} || true"
JOURNAL_SCRIPT = (
    "sudo journalctl --sync; sudo journalctl -q --no-pager --all -o json "
    "--output-fields=MESSAGE,_SYSTEMD_INVOCATION_ID _SYSTEMD_UNIT={}.service"
)
# Kubelets rotate their own certificates, and docker and systemd keep files of their own.
FILES_SCRIPT = "sudo find /etc /var/lib/kubeharden -type f -exec sha256sum {} + 2>/dev/null | sort -k 2"


@dataclass
class Truth:
    """One look at everything.

    Attributes:
        warnings: (node, service) → the deprecation warnings of the process that runs.
        configz: (node, service) → the effective configuration that it serves, flat: path → value.
        starts: (node, service) → process, start time, and how often systemd itself has started it again.
        invocations: (node, service) → what systemd calls this run of it.
        files: (node, path) → digest, of every file under /etc and of what kubeharden keeps.
        versions: kind/namespace/name → resourceVersion, of what does not live by itself.
        containers: namespace/pod/container → id and restarts.
    """

    warnings: dict[tuple[str, str], list[str]] = field(default_factory=dict)
    configz: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    starts: dict[tuple[str, str], str] = field(default_factory=dict)
    invocations: dict[tuple[str, str], str] = field(default_factory=dict)
    files: dict[tuple[str, str], str] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    containers: dict[str, str] = field(default_factory=dict)


def look() -> Truth:
    truth = Truth()

    def look_at_objects() -> None:
        truth.versions = versions()
        truth.containers = containers()

    in_parallel([look_at_objects, *(partial(_look_at, node, truth) for node in existing())])
    return truth


def _look_at(node: Node, truth: Truth) -> None:
    _services(node, truth)
    raw = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node.name}/proxy/configz"))
    truth.configz[node.name, "kubelet"] = flat(raw["kubeletconfig"])
    for line in ssh(node, FILES_SCRIPT).splitlines():
        digest, _, path = line.partition("  ")
        truth.files[node.name, path] = digest


def _services(node: Node, truth: Truth) -> None:
    for line in ssh(node, SERVICE_SCRIPT).splitlines():
        kind, _, rest = line.partition(" ")
        name, _, text = rest.partition(" ")
        if kind == "service":
            truth.starts[node.name, name] = text
            truth.warnings.setdefault((node.name, name), [])
        elif kind == "invocation":
            truth.invocations[node.name, name] = text
        elif kind == "warning":
            truth.warnings[node.name, name].append(text)
    for component, url, by_admin in LAB_RELEASE.configz():
        if truth.starts.get((node.name, component), "0").split()[0] == "0":
            continue
        at = url.format(address=node.address)
        said = as_admin(at) if by_admin else ssh(node, CONFIGZ_SCRIPT.format(at))
        if said:
            [content] = json.loads(said).values()
            truth.configz[node.name, component] = flat(content)


def as_admin(url: str) -> str:
    """What a component serves to the administrator's certificate; empty where it does not answer."""
    keys = ("--cert", PKI / "admin.crt", "--key", PKI / "admin.key")
    return run("curl", "-skf", "--max-time", "3", *keys, url, check=False)


def services_missing(before: Truth) -> str:
    """Which services of an earlier look do not run now, or do not serve their configuration."""
    now = Truth()
    in_parallel([partial(_services, node, now) for node in existing()])
    ran = {
        key for key, start in before.starts.items() if start.split()[0] != "0"
    }  # a worker has an idle etcd, too
    away = {key for key in ran if now.starts.get(key, "0").split()[0] == "0"}
    silent = {key for key in before.configz if key[1] != "kubelet" and key not in now.configz}
    return ", ".join(f"{service} on {node}" for node, service in sorted(away | silent))


def leaders_missing(since: datetime) -> str:
    """Which leader-elected components have not renewed their lease after ``since``: they may yet end themselves."""
    said = kubectl("-n", "kube-system", "get", "leases", "-o", "json", "--request-timeout=5s", check=False)
    renewed = {
        item["metadata"]["name"]: datetime.fromisoformat(item["spec"]["renewTime"])
        for item in (json.loads(said)["items"] if said else [])
    }
    return ", ".join(name for name in sorted(LEADERS) if name not in renewed or renewed[name] < since)


def restarted(before: Truth, after: Truth) -> set[tuple[str, str]]:
    """(node, service) of every service whose process is another one."""
    return {key for key in before.starts if after.starts.get(key) != before.starts[key]}


def unexplained(before: Truth, after: Truth, services: set[tuple[str, str]]) -> dict[tuple[str, str], str]:
    """How they ended: those of these services that not only ended themselves because they had lost their lease."""
    found = {}
    for node in existing():
        for service in sorted(service for name, service in services if name == node.name):
            key = node.name, service
            journal = ssh(node, JOURNAL_SCRIPT.format(service))
            runs = after.starts[key].split()[0] != "0"
            now = after.invocations[key] if runs else ""
            ended = processes_since(journal, before.invocations[key], now)
            if not ended or not all(lost_its_lease(service, lines) for lines in ended):
                found[key] = "; ".join(map(end_of, ended)) or "its journal names no process that has ended"
    return found


def without_kubeharden(files: dict[tuple[str, str], str]) -> dict[tuple[str, str], str]:
    """The files without those that kubeharden keeps on a node between runs."""
    kept = ("/etc/systemd/system/kubeharden-", "/var/lib/kubeharden/")
    return {key: digest for key, digest in files.items() if not key[1].startswith(kept)}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    """``{"a": {"b": 1}}`` as ``{"a.b": 1}``."""
    if not isinstance(value, dict):
        return {path: value}
    return {
        name: leaf
        for key, part in value.items()
        for name, leaf in flat(part, f"{path}.{key}".strip(".")).items()
    }


def differences(before: dict[Key, Any], after: dict[Key, Any]) -> dict[Key, tuple[Any, Any]]:
    return {
        name: (before.get(name), after.get(name))
        for name in sorted(before.keys() | after.keys())
        if before.get(name) != after.get(name)
    }


def versions() -> dict[str, str]:
    """The resourceVersion of every object of every kind that can be listed."""
    kinds = set(kubectl("api-resources", "--verbs=list", "-o", "name").split())
    wanted = sorted(kind for kind in kinds if kind.split(".")[0] not in LIVING)
    items = json.loads(kubectl("get", ",".join(wanted), "-A", "-o", "json"))["items"]
    return {
        "/".join((i["kind"], i["metadata"].get("namespace", ""), i["metadata"]["name"])): i["metadata"][
            "resourceVersion"
        ]
        for i in items
        # The leaders' locks are kept as endpoints too.
        if "control-plane.alpha.kubernetes.io/leader" not in i["metadata"].get("annotations", {})
    }


def containers() -> dict[str, str]:
    return {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}/{status['name']}": (
            f"{status.get('containerID')} {status['restartCount']}"
        )
        for pod in get("pods", "-A")["items"]
        for status in pod["status"].get("containerStatuses", [])
    }
