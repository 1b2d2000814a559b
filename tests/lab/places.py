"""Where the lab keeps its things, what its nodes are called and which addresses they have."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from lab_releases import LabRelease, find_release

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("KUBEHARDEN_LAB_CACHE") or Path.home() / ".cache" / "kubeharden-lab").absolute()
# Which lab of this machine: 0, unless several are up at once. What the whole machine sees of a lab has it in its name.
NUMBER_SWITCH = "KUBEHARDEN_LAB_NUMBER"
NUMBER = int(os.environ.get(NUMBER_SWITCH) or 0)
_BEHIND = f"-{NUMBER}" if NUMBER else ""
LAB = Path(os.environ.get("KUBEHARDEN_LAB_DIR") or "/var/tmp/kubeharden-lab").absolute()
LAB = LAB.with_name(f"{LAB.name}{_BEHIND}")
CLUSTER = f"lab{_BEHIND}"  # what its inventory calls it

MASTER = "k8s-master"
NETWORK = f"10.88.{NUMBER}"  # of the bridge and the nodes; the host is .1
SERVICES = "10.0.0.0/16"
POD_NETWORK = "10.32.0.0/16"
DNS_IP = "10.0.0.10"
API_SERVER = f"https://{NETWORK}.10:6443"
PREFIX = (
    f"khlab{NUMBER or ''}"  # of everything with a name that the whole machine sees: bridge, veths, namespaces
)
BRIDGE = f"{PREFIX}0"
CONTROLLERS = Path("/sys/fs/cgroup")
CGROUP = f"kubeharden-lab{_BEHIND}"
BUILD_GROUP = CONTROLLERS / "freezer" / CGROUP / "build"

ACCESS = LAB / "access"  # what somebody needs who uses the cluster
INVENTORY = ACCESS / "inventory.yaml"
ADMIN = ACCESS / "admin.kubeconfig"
PKI = LAB / "pki"
LOGS = LAB / "logs"
SNAPSHOT = LAB / "snapshot"
READY = LAB / "ready"  # written last: a lab without it was cut off while it was made
# Named after its recipe: another recipe, another root file system.
ROOTFS = CACHE / f"rootfs-{sha256((HERE / 'build_rootfs.sh').read_bytes()).hexdigest()[:10]}"
# Which release, or "oldest" or "newest"; without it, that of the lab that is there, or the oldest.
SWITCH = "KUBEHARDEN_LAB_RELEASE"


def release_there() -> str:
    """The release of the lab that is up; empty if none is."""
    return json.loads(READY.read_text()).get("release", "") if READY.exists() else ""


def binaries(release: LabRelease) -> Path:
    """Where the programs of a release are kept, or will be."""
    return CACHE / f"kubernetes-{release.version}"


LAB_RELEASE = find_release(os.environ.get(SWITCH) or release_there() or "oldest")
VERSION = LAB_RELEASE.version
BINARIES = binaries(LAB_RELEASE)
KUBECTL = BINARIES / "usr" / "bin" / "kubectl"


@dataclass(frozen=True)
class Node:
    """One machine of the lab: number 0 is the control plane."""

    number: int

    @property
    def name(self) -> str:
        return f"k8s-node{self.number}" if self.number else MASTER

    @property
    def address(self) -> str:
        return f"{NETWORK}.{10 + self.number}"

    @property
    def pods(self) -> str:
        """The part of the pod network that this node gives its pods."""
        return f"10.32.{self.number}.0/24"

    @property
    def machine(self) -> str:
        """Its name for systemd-nspawn and as a network namespace."""
        return f"{PREFIX}-{self.name}"

    @property
    def folder(self) -> Path:
        return LAB / "nodes" / self.name

    @property
    def upper(self) -> Path:
        """Every file in which it differs from the shared root file system."""
        return self.folder / "upper"

    @property
    def root(self) -> Path:
        """Where its file tree is mounted."""
        return self.folder / "root"

    @property
    def console(self) -> Path:
        return LOGS / f"{self.name}.console.log"


def nodes(count: int) -> list[Node]:
    return [Node(number) for number in range(count)]


def existing() -> list[Node]:
    """The nodes of the lab that is there."""
    return nodes(len(list((LAB / "nodes").glob("*"))))
