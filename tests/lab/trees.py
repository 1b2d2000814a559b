"""The files of each node: what a person put there by hand, and what the lab needs to run one here."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path

from images import write_image
from pki import TOKEN, kubeconfig
from places import ACCESS, CLUSTER, HERE, INVENTORY, LAB_RELEASE, PKI, ROOTFS, Node
from steps import run
from units import control_plane, node_units

# Before the runtime and the kubelet: systemd-nspawn gives cgroups read-only, and mounts that pods are not to share.
CGROUPS_UNIT = """[Unit]
Description=cgroups writable and mounts shared, as on a machine of its own
DefaultDependencies=no
After=local-fs.target
Before=containerd.service docker.service kubelet.service sysinit.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-cgroups

[Install]
WantedBy=sysinit.target
"""

IMAGE = "usr/local/share/lab-image.tar"
IMAGES_UNIT = f"""[Unit]
Description=Images of the lab
After={LAB_RELEASE.service}
Requires={LAB_RELEASE.service}
Before=kubelet.service
ConditionPathExists=!/var/lib/{LAB_RELEASE.runtime}/lab-images-are-there

[Service]
Type=oneshot
ExecStart=/bin/sh -ec '{LAB_RELEASE.load} </{IMAGE} && touch /var/lib/{LAB_RELEASE.runtime}/lab-images-are-there'
"""

MASTER_FILES = ("ca.key", "sa.key", "sa.pub", "front-proxy-ca.crt", "kube-apiserver.crt", "kube-apiserver.key",
                "apiserver-kubelet-client.crt", "apiserver-kubelet-client.key", "front-proxy-client.crt",
                "front-proxy-client.key")  # fmt: skip


def make_access(nodes: Sequence[Node]) -> None:
    """The key to log in with, the nodes' host keys, and the inventory for the runbook."""
    ACCESS.mkdir(parents=True, exist_ok=True)
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "lab", "-f", ACCESS / "id_ed25519")
    known = []
    for node in nodes:
        key = node.upper / "etc/ssh/ssh_host_ed25519_key"
        key.parent.mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", node.name, "-f", key)
        known.append(f"{node.address} {key.with_suffix('.pub').read_text()}")
    (ACCESS / "known_hosts").write_text("".join(known))
    rows = "".join(
        f"- {{name: {node.name}, host: {node.address}{'' if node.number else ', control_plane: true'}}}\n"
        for node in nodes
    )
    # Changes that fail have three seconds to fail in, or more (changes.py). In runs where nothing fails, three seconds
    # at each restart took a third of the time.
    INVENTORY.write_text(
        "# Written by `make lab`. Paths are relative to this file.\n"
        f"cluster: {CLUSTER}\nkubeconfig: admin.kubeconfig\nsettle_seconds: 1\n"
        f"ssh: {{user: ops, port: 22, identity_file: id_ed25519, known_hosts: known_hosts}}\nnodes:\n{rows}"
    )


def make_tree(node: Node, nodes: Sequence[Node]) -> None:
    """Everything in which this node differs from the shared root file system."""
    for path, text in _files(node, nodes).items():
        _write(node.upper / path, text)
    for path in (node.upper / "usr/local/sbin").iterdir():
        path.chmod(0o755)
    (node.upper / "etc/kubernetes/manifests").mkdir(parents=True, exist_ok=True)
    write_image(node.upper / IMAGE)
    for unit in (LAB_RELEASE.service, "lab-images.service"):
        _enable(node, unit)
    _enable(node, "lab-cgroups.service", "sysinit.target")
    _make_home(node)
    pki = node.upper / "etc/kubernetes/pki"
    for name in ("ca.crt", *(MASTER_FILES if node.number == 0 else ())):
        pki.mkdir(parents=True, exist_ok=True)
        shutil.copy(PKI / name, pki / name)
    if node.number == 0:
        for name, text in control_plane(node).items():
            _write(node.upper / f"etc/systemd/system/{name}.service", text)
            _enable(node, f"{name}.service")
    for path in (*pki.glob("*.key"), *(node.upper / "etc/kubernetes").glob("*.kubeconfig")):
        path.chmod(0o600)
    if node.number == 0:  # the user that the article runs the scheduler as can read what it needs
        path = node.upper / "etc/kubernetes/scheduler.kubeconfig"
        os.chown(path, 0, _id("group", "kubernetes"))
        path.chmod(0o640)


def _files(node: Node, nodes: Sequence[Node]) -> dict[str, str]:
    hosts = "".join(f"{other.address} {other.name}\n" for other in nodes)
    files = {
        "etc/hostname": f"{node.name}\n",
        "etc/default/locale": "LANG=C.UTF-8\n",
        "etc/hosts": f"127.0.0.1 localhost\n{hosts}",
        **LAB_RELEASE.files(node.number),
        "etc/cni/net.d/10-weave.conf": json.dumps(
            {
                "cniVersion": "0.3.1",
                "name": "weave",
                "type": "bridge",
                "bridge": "weave",
                "isGateway": True,
                "ipMasq": False,
                "hairpinMode": True,
                "ipam": {"type": "host-local", "subnet": node.pods, "routes": [{"dst": "0.0.0.0/0"}]},
            },
            indent=2,
        ),
        "etc/systemd/system/lab-cgroups.service": CGROUPS_UNIT,
        "etc/systemd/system/lab-images.service": IMAGES_UNIT,
        **{f"etc/systemd/system/{name}.service": text for name, text in node_units(node).items()},
        "usr/local/sbin/lab-cgroups": (HERE / "lab_cgroups.sh").read_text(),
        "usr/local/sbin/lab-runc": (HERE / "lab_runc.sh").read_text(),
        "etc/kubernetes/bootstrap.kubeconfig": kubeconfig("", "kubelet-bootstrap", TOKEN),
        "etc/kubernetes/kube-proxy.kubeconfig": kubeconfig("kube-proxy", "system:kube-proxy"),
    }
    if node.number == 0:
        files["etc/kubernetes/audit-policy.conf"] = (
            "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules:\n- level: Metadata\n"
        )
        for name in ("controller-manager", "scheduler"):
            files[f"etc/kubernetes/{name}.kubeconfig"] = kubeconfig(name, f"system:kube-{name}")
    return files


def _make_home(node: Node) -> None:
    home = node.upper / "home/ops"
    _write(home / ".ssh/authorized_keys", (ACCESS / "id_ed25519.pub").read_text())
    user, group = _id("passwd", "ops"), _id("group", "ops")
    for path, mode in ((home, 0o755), (home / ".ssh", 0o700), (home / ".ssh/authorized_keys", 0o600)):
        os.chown(path, user, group)
        path.chmod(mode)


def _id(table: str, name: str) -> int:
    """A user's or group's number on the nodes, from their own passwd or group file."""
    for line in (ROOTFS / "etc" / table).read_text().splitlines():
        words = line.split(":")
        if words[0] == name:
            return int(words[2])
    raise KeyError(f"{name} is not in the nodes' /etc/{table}")


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def _enable(node: Node, unit: str, target: str = "multi-user.target") -> None:
    wants = node.upper / f"etc/systemd/system/{target}.wants"
    wants.mkdir(parents=True, exist_ok=True)
    folder = "/etc" if (node.upper / f"etc/systemd/system/{unit}").exists() else "/usr/lib"
    (wants / unit).symlink_to(f"{folder}/systemd/system/{unit}")
