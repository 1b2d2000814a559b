"""The lab: a hand-built Kubernetes cluster on this machine, as the article begins with.

lab.py up [--nodes N]   make it, or say that it is there already (2 nodes, or as many as it has)
lab.py reset            back to the state it was in when it was made
lab.py down             remove every trace of it, but for the cache
lab.py packages         install what the lab needs of this machine
lab.py prepare          fill the cache and boot nothing: what needs processors and the mirror only
lab.py status           what there is
lab.py missing          why the release cannot be booted without a build: nothing, if it can

KUBEHARDEN_LAB_RELEASE=1.37 is that release (releases.yaml has them), or oldest, or newest; without it, the one that is
up, or the oldest.
KUBEHARDEN_LAB_NUMBER=1 is another lab beside the one without it, with a folder, a network and names of its own; it
builds nothing and takes what is in the cache.
"""

from __future__ import annotations

import argparse
import fcntl
import json
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import cluster
import host
import leftovers
import machines
import pki
import trees
from places import (
    BINARIES,
    CACHE,
    DNS_IP,
    INVENTORY,
    LAB,
    LAB_RELEASE,
    READY,
    VERSION,
    Node,
    existing,
    nodes,
    release_there,
)
from steps import LabError, say, step

UNFIT = 3  # exit status: this machine cannot run it


def up(count: int) -> None:
    """Make the lab, cleanly over whatever an earlier run left; or leave the one that runs as it is."""
    if release_there() == str(LAB_RELEASE.release) and len(existing()) == count and not _broken():
        say("the lab is up already; `make lab-reset` takes it back to the state it was made in")
        announce()
        return
    host.install_packages()
    leftovers.clear()
    host.make_kept_things()
    host.check_disk()
    lab = nodes(count)
    with step("writing certificates and the nodes' files"):
        pki.make_all()
        trees.make_access(lab)
        for node in lab:
            trees.make_tree(node, lab)
    with step(f"booting {', '.join(node.name for node in lab)}"):
        machines.make_network(lab)
        began = _now()
        machines.boot(lab)
    with step("the control plane"):
        cluster.wait_for_api_server()
        cluster.make_objects()
    with step("kubelets join"):
        cluster.join(lab)
        cluster.give_pod_networks(lab)
        cluster.wait_for_nodes(lab, began)
    with step("pods start"):
        cluster.add_static_pod(lab[-1])
        cluster.wait_for_pods(lab, began)
    with step("taking a snapshot"):
        machines.take_snapshot(lab)
    READY.write_text(json.dumps({"nodes": count, "release": str(LAB_RELEASE.release)}))
    announce()


def packages() -> None:
    """Install what the lab needs of this machine: apart from the rest, since it must not be cut off half-way."""
    host.install_packages()


def prepare() -> None:
    """Make what is made once and kept; whatever lab there is stays as it is."""
    host.install_packages()
    leftovers.end_build()
    host.make_kept_things()
    say(f"the cache is complete: {CACHE}")


def reset() -> None:
    """Back to the snapshot: stop everything, put the disks back, boot."""
    if not READY.exists():
        raise LabError("there is no lab to reset: run `make lab` first")
    if release_there() != str(LAB_RELEASE.release):
        raise LabError(f"the lab that is up is Kubernetes {release_there()}, not {LAB_RELEASE.release}")
    lab = existing()
    with step("back to the snapshot"):
        leftovers.stop_nodes()
        machines.restore_snapshot(lab)
        machines.make_network(lab)
        began = _now()
        machines.boot(lab)
    with step("nodes are Ready again"):
        cluster.wait_for_api_server()
        cluster.forget_leaders()
        cluster.wait_for_nodes(lab, began)
    with step("pods run again"):
        cluster.wait_for_pods(lab, began)


def down() -> None:
    """Remove every trace of the lab but the cache."""
    leftovers.clear()
    say(f"nothing of the lab is left but its cache, {CACHE}")


def _broken() -> str:
    """Why the lab that is there is not usable, if so."""
    if not leftovers.processes():
        return "its nodes do not run"
    return cluster.nodes_missing(existing(), datetime.min.replace(tzinfo=UTC))


def _count() -> int:
    """How many nodes, where nobody says: those of the lab that is up, or two."""
    return len(existing()) if READY.exists() else 2


def _now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


def announce() -> None:
    """What to do with it."""
    say(
        f"the lab is up: Kubernetes {VERSION}, {', '.join(_describe(node) for node in existing())}\n"
        f"  inventory  {INVENTORY}\n"
        f"  the runbook  .venv/bin/papermill notebooks/harden.ipynb /tmp/out.ipynb -p dns_ip {DNS_IP} "
        f"-p inventory {INVENTORY}\n"
        f"  look inside  cd {INVENTORY.parent} && ssh -i id_ed25519 -o UserKnownHostsFile=known_hosts "
        f"ops@{existing()[0].address}\n"
        "  afterwards  make lab-reset, make lab-down"
    )


def _describe(node: Node) -> str:
    return f"{node.name} {node.address}"


@contextmanager
def _alone() -> Iterator[None]:
    """One command at a time; the lock goes with the process that holds it."""
    lock = LAB.with_name(f".{LAB.name}.lock")
    with lock.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LabError(f"another lab command is running (it holds {lock}): wait for it") from None
        yield


def main(words: Sequence[str]) -> int:
    """Run one command; the exit status."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("up").add_argument("--nodes", type=int, choices=range(1, 10), metavar="1-9")
    for name in ("reset", "down", "packages", "prepare", "status", "missing"):
        commands.add_parser(name)
    given = parser.parse_args(words)
    if reason := host.unfit():
        sys.stderr.write(f"{reason}\n")
        return UNFIT
    os.environ["LC_ALL"] = "C.UTF-8"
    try:
        if given.command == "status":
            return _status()
        if given.command == "missing":
            return _missing()
        with _alone():
            {
                "up": lambda: up(given.nodes or _count()),
                "reset": reset,
                "down": down,
                "packages": packages,
                "prepare": prepare,
            }[given.command]()
    except LabError as error:
        sys.stderr.write(f"lab: {error}\n")
        return 1
    return 0


def _missing() -> int:
    if BINARIES.exists():
        return 0
    reason = host.unbuildable(LAB_RELEASE) or f"make lab-cache RELEASE={LAB_RELEASE.release} builds it"
    sys.stdout.write(f"Kubernetes {VERSION} is not in {CACHE}; {reason}\n")
    return 1


def _status() -> int:
    if READY.exists() and not (reason := _broken()):
        announce()
        return 0
    reason = reason if READY.exists() else "it is not up"
    sys.stdout.write(
        f"the lab is not usable: {reason}\n" + "".join(f"  {line}\n" for line in leftovers.remains())
    )
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
