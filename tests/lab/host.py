"""What the lab needs of the machine it runs on, and the two things that are made once and kept."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

from lab_releases import LabRelease
from places import BUILD_GROUP, CACHE, CONTROLLERS, HERE, LAB, LAB_RELEASE, NUMBER, ROOTFS, binaries
from steps import LabError, in_parallel, run, run_long, say, step

# program (or file) that shows it is there → package
NEEDED = {
    "debootstrap": "debootstrap",
    "systemd-nspawn": "systemd-container",
    "dpkg-source": "dpkg-dev",
    "go": "golang-go",
    "gcc": "gcc",
    "make": "make",
    "rsync": "rsync",
    "/usr/include/stdlib.h": "libc6-dev",
    "ip": "iproute2",
    "curl": "curl",
    "openssl": "openssl",
    "ssh": "openssh-client",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}

# With which every release of the list was tried; an older one refuses the newest.
MODULE_GO = (1, 26)
NEEDED_SHARE = 0.15  # of the disk that must be free


def unfit() -> str:
    """Why the lab cannot run on this machine, in one sentence; empty if it can."""
    release = _os_release()
    if os.name != "posix" or release.get("ID") != "debian":
        return (
            f"the lab needs Debian (12 is tried) and this is {release.get('PRETTY_NAME', 'something else')}"
        )
    if os.geteuid():
        return "the lab needs root, since it makes mounts, network namespaces and cgroups: run it as root"
    if not (CONTROLLERS / "freezer" / "tasks").exists():
        return (
            f"the lab needs the cgroup hierarchies of version 1 below {CONTROLLERS}, and freezer is not there"
        )
    return ""


def _os_release() -> dict[str, str]:
    path = Path("/etc/os-release")
    lines = path.read_text().splitlines() if path.exists() else []
    return {name: value.strip('"') for name, _, value in (line.partition("=") for line in lines)}


def install_packages() -> None:
    """Install what is missing, and say so first."""
    missing = sorted(
        package
        for program, package in NEEDED.items()
        if not (Path(program).exists() if program.startswith("/") else shutil.which(program))
    )
    if not missing:
        return
    say(f"this machine lacks packages that the lab needs; apt-get installs them: {' '.join(missing)}")
    os.environ["DEBIAN_FRONTEND"] = "noninteractive"
    with step("installing packages"):
        run_long("apt-get", "-q", "update")
        run_long("apt-get", "-q", "-y", "install", "--no-install-recommends", *missing)


def check_disk() -> None:
    """Look whether kubelets would let pods run on this disk.

    They evict pods where less than 15 % of the disk of the images is free (``imagefs.available<15%``):
    https://kubernetes.io/docs/concepts/scheduling-eviction/node-pressure-eviction/.

    Raises:
        LabError: less is free.
    """
    disk = shutil.disk_usage(LAB.parent)
    if disk.free < disk.total * NEEDED_SHARE:
        raise LabError(
            f"{disk.free / 1e9:.0f} of {disk.total / 1e9:.0f} GB are free below {LAB.parent}: kubelets would evict the "
            f"lab's pods. Make room, until {disk.total * NEEDED_SHARE / 1e9:.0f} GB are free"
        )


def make_kept_things() -> None:
    """Kubernetes' binaries and the nodes' root file system, unless they are in the cache already."""
    jobs = []
    if not ROOTFS.exists():
        jobs.append(_make_rootfs)
    if not binaries(LAB_RELEASE).exists():
        jobs.append(lambda: _build(LAB_RELEASE))
    if jobs and NUMBER:  # one lab builds, or two would write to one folder
        raise LabError(f"lab {NUMBER} takes what is in {CACHE}, and Kubernetes {LAB_RELEASE.version} or the root file "
                       f"system is not there: make lab-cache RELEASE={LAB_RELEASE.release}")  # fmt: skip
    if jobs:
        CACHE.mkdir(parents=True, exist_ok=True)
        in_parallel(jobs)


def _make_rootfs() -> None:
    with step("making the nodes' root file system (1-2 minutes)"):
        _make("sh", HERE / "build_rootfs.sh", *_mirror(), ROOTFS)


def _build(release: LabRelease) -> None:
    target = binaries(release)
    if release.source == "debian":
        with step(f"building Kubernetes {release.version} from Debian's source package (8 to 15 minutes)"):
            _make("sh", HERE / "build_binaries.sh", *_mirror(), target)
        return
    if reason := unbuildable(release):
        raise LabError(reason)
    with step(f"building Kubernetes {release.version} from its Go module (15 to 20 minutes)"):
        tools = HERE.parents[1] / "tools"
        words = ("-m", "release_facts.module", f"v{release.version}", target)
        _make("env", f"PYTHONPATH={tools}", "nice", "-n", "5", sys.executable, *words)


def unbuildable(release: LabRelease) -> str:
    """Why a release cannot be built here that is not in the cache, in one sentence; empty if it can."""
    if release.source == "debian":
        return ""
    found = re.search(r"go(\d+)\.(\d+)", run("go", "version")) if shutil.which("go") else None
    if found is None or (int(found[1]), int(found[2])) < MODULE_GO:
        wanted, has = "go{}.{}".format(*MODULE_GO), found[0] if found else "no Go"
        return f"Kubernetes {release.version} is built with {wanted} or newer, and this machine has {has}"
    return ""


def _make(*command: str | Path) -> None:
    # In a cgroup of the lab, so that a build whose lab.py was killed is ended by the next one.
    BUILD_GROUP.mkdir(parents=True, exist_ok=True)
    run_long("sh", "-c", 'echo $$ >"$0/cgroup.procs" && exec "$@"', BUILD_GROUP, *command)


def _mirror() -> tuple[str, str]:
    """The mirror and suite that this machine's own apt uses for Debian itself."""
    suite = _os_release().get("VERSION_CODENAME", "")
    targets = run(
        "apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE) $(COMPONENT)", "Created-By: Packages"
    )
    for line in targets.splitlines():
        uri, release, component = line.split()
        if (release, component) == (suite, "main"):
            return uri, suite
    raise LabError(f"apt's configuration names no mirror for {suite} main (see: apt-get indextargets)")
