"""The cluster on the nodes: objects, kubelets that join, and the question whether all of it runs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from machines import ssh
from places import ADMIN, API_SERVER, HERE, KUBECTL, Node
from steps import in_parallel, run, wait

# Workloads that must run before anybody looks: namespace → how many pods, on one node and on every node.
PODS = {"kube-system": (3, 1), "weave": (1, 1), "shop": (2, 0)}


def kubectl(*words: str, text: str | None = None, check: bool = True, timeout: float = 60) -> str:
    return run(KUBECTL, f"--kubeconfig={ADMIN}", *words, text=text, check=check, timeout=timeout)


def get(*words: str) -> dict[str, Any]:
    return json.loads(kubectl("get", *words, "-o", "json"))


def wait_for_api_server(seconds: float = 90) -> None:
    def missing() -> str:
        said = kubectl("get", "--raw", "/readyz", "--request-timeout=5s", check=False).strip()
        return "" if said == "ok" else f"{API_SERVER}/readyz is not ok"

    wait("the API server", missing, seconds)


def make_objects() -> None:
    """Bootstrapping rules first, then the workloads, before there is a node to run them on."""
    for name in ("bootstrap", "kube-system", "weave", "shop"):
        path = HERE / "objects" / f"{name}.yaml"
        # Right after the start, namespaces and default service accounts are still being made.
        wait(f"objects of {name}", lambda path=path: _apply_problem(path), seconds=30, every=1)


def _apply_problem(path: Any) -> str:
    said = kubectl("apply", "-f", str(path), check=False)
    wanted = path.read_text().count("\nkind: ")
    made = len(
        [line for line in said.splitlines() if line.endswith((" created", " unchanged", " configured"))]
    )
    return "" if made >= wanted else f"{made} of {wanted} objects of {path.name} are there"


def join(nodes: Sequence[Node]) -> None:
    """Switch the node's services on, as the article does at its end."""
    in_parallel(
        [
            lambda node=node: ssh(node, "sudo systemctl enable --now kubelet kube-proxy") and None
            for node in nodes
        ]
    )


def give_pod_networks(nodes: Sequence[Node]) -> None:
    """Say in each Node object which part of the pod network it has, as soon as its kubelet has made the object.

    Without that, a kubelet up to 1.25 that starts says that its node is Ready after 10 seconds, and not as soon as its
    runtime runs (fastStatusUpdateOnce in pkg/kubelet/kubelet.go).
    """
    in_parallel(
        [
            lambda node=node: wait(f"{node.name} to join", lambda: _unpatched(node), every=0.2)
            for node in nodes
        ]
    )


def _unpatched(node: Node) -> str:
    spec = json.dumps({"spec": {"podCIDR": node.pods, "podCIDRs": [node.pods]}})
    said = kubectl("patch", "node", node.name, "--patch", spec, check=False)
    return "" if "patched" in said else "its Node object is missing"


def add_static_pod(node: Node) -> None:
    """Once the node is known: a kubelet that cannot make the mirror pod tries again only after a minute."""
    text = (HERE / "objects" / "static-pod.yaml").read_text()
    ssh(node, "sudo tee /etc/kubernetes/manifests/node-monitor.yaml >/dev/null", text=text)


def forget_leaders() -> None:
    """Give up the leases that processes of before the snapshot hold, or their successors wait for 15 seconds."""
    for name in ("kube-scheduler", "kube-controller-manager"):
        kubectl(
            "-n",
            "kube-system",
            "delete",
            f"lease/{name}",
            f"endpoints/{name}",
            "--ignore-not-found",
            check=False,
        )


def wait_for_nodes(nodes: Sequence[Node], since: datetime, seconds: float = 120) -> None:
    """Every node is Ready, with a heartbeat after ``since``."""
    wait("the nodes", lambda: nodes_missing(nodes, since), seconds)


def wait_for_pods(nodes: Sequence[Node], since: datetime, seconds: float = 180) -> None:
    """Every container has been started after ``since``."""
    wait("the pods", lambda: pods_missing(len(nodes), since), seconds)


def nodes_missing(nodes: Sequence[Node], since: datetime) -> str:
    """Which nodes are not Ready, or were last heard of before ``since``."""
    try:
        items = {item["metadata"]["name"]: item for item in get("nodes")["items"]}
    except Exception as error:
        return str(error)
    late = []
    for node in nodes:
        conditions = items.get(node.name, {}).get("status", {}).get("conditions", [])
        ready = next((c for c in conditions if c["type"] == "Ready"), None)
        if not ready or ready["status"] != "True" or _time(ready["lastHeartbeatTime"]) < since:
            late.append(f"{node.name} ({ready['message'] if ready else 'has not joined'})")
    return ", ".join(late)


def pods_missing(count: int, since: datetime) -> str:
    """Which pods do not run yet, or not since then."""
    try:
        pods = get("pods", "-A")["items"]
    except Exception as error:
        return str(error)
    bad = []
    seen = dict.fromkeys(PODS, 0)
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        seen[namespace] = seen.get(namespace, 0) + 1
        states = pod["status"].get("containerStatuses", [])
        running = [status["state"].get("running") for status in states]
        if not running or not all(state and _time(state["startedAt"]) >= since for state in running):
            bad.append(f"{namespace}/{name} does not run ({pod['status'].get('phase')})")
    for namespace, (once, each) in PODS.items():
        wanted = once + each * count
        if seen[namespace] != wanted:
            bad.append(f"{namespace}: {seen[namespace]} pods of {wanted}")
    return ", ".join(bad)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)
