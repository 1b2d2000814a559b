"""What the lab needs of the machine it runs on, and the two things that are made once and kept."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from places import BINARIES, BUILD_GROUP, CACHE, CONTROLLERS, HERE, ROOTFS, VERSION
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
    "openssl": "openssl",
    "ssh": "openssh-client",
    "/usr/share/keyrings/debian-archive-keyring.gpg": "debian-archive-keyring",
}


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


def make_kept_things() -> None:
    """Kubernetes' binaries and the nodes' root file system, unless they are in the cache already."""
    jobs = []
    if not ROOTFS.exists():
        jobs.append(
            lambda: _make("making the nodes' root file system (1-2 minutes)", "build_rootfs.sh", ROOTFS)
        )
    if not BINARIES.exists():
        title = f"building Kubernetes {VERSION} from Debian's source package (8 to 15 minutes)"
        jobs.append(lambda: _make(title, "build_binaries.sh", BINARIES))
    if jobs:
        CACHE.mkdir(parents=True, exist_ok=True)
        in_parallel(jobs)


def _make(title: str, script: str, target: Path) -> None:
    with step(title):
        mirror, suite = _mirror()
        # In a cgroup of the lab, so that a build whose lab.py was killed is ended by the next one.
        BUILD_GROUP.mkdir(parents=True, exist_ok=True)
        enter = 'echo $$ >"$0/cgroup.procs" && exec "$@"'
        run_long("sh", "-c", enter, BUILD_GROUP, "sh", HERE / script, mirror, suite, target)


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
