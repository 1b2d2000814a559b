"""The units of a hand-built cluster: the article's before-state, as far as a release has its flags (releases.yaml)."""

from __future__ import annotations

from places import DNS_IP, LAB_RELEASE, MASTER, NETWORK, POD_NETWORK, SERVICES, Node

DESCRIPTIONS = {
    "kubelet": "Kubernetes Kubelet",
    "kube-proxy": "Kubernetes Kube Proxy",
    "kube-apiserver": "Kubernetes API Server",
    "kube-controller-manager": "Kubernetes Controller Manager",
    "kube-scheduler": "Kubernetes Scheduler",
}
# No TLS, and on the loopback only: nothing of it is looked at.
ETCD = [
    "/usr/bin/etcd",
    f"--name={MASTER}",
    "--listen-client-urls=http://127.0.0.1:2379",
    "--advertise-client-urls=http://127.0.0.1:2379",
    "--data-dir=/var/lib/etcd",
]


def unit(description: str, words: list[str], after: str = "After=network.target", service: str = "") -> str:
    """A unit file as the article writes them: one flag on a line."""
    command = " \\\n  ".join(words)
    return (
        f"[Unit]\nDescription={description}\nDocumentation=https://github.com/kubernetes/kubernetes\n{after}\n\n"
        f"[Service]\n{service}ExecStart={command}\nRestart=always\nRestartSec=10s\n\n"
        "[Install]\nWantedBy=multi-user.target\n"
    )


def component_unit(component: str, node: Node) -> str:
    """The unit of a component of Kubernetes on a node."""
    words = LAB_RELEASE.words(
        component, node.number, name=node.name, address=node.address, master=f"{NETWORK}.10",
        services=SERVICES, dns=DNS_IP, pods=POD_NETWORK,
    )  # fmt: skip
    after = "After=network.target"
    if component == "kubelet":
        after = f"After={LAB_RELEASE.service}\nRequires={LAB_RELEASE.service}"
    return unit(DESCRIPTIONS[component], [f"/usr/bin/{component}", *words], after=after)


def node_units(node: Node) -> dict[str, str]:
    """Unit name → text of what every node has."""
    return {name: component_unit(name, node) for name in ("kubelet", "kube-proxy")}


def control_plane(node: Node) -> dict[str, str]:
    """Unit name → text, for the master."""
    return {
        "etcd": unit("etcd key-value store", ETCD, service="Type=notify\n"),
        **{
            name: component_unit(name, node)
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        },
    }
