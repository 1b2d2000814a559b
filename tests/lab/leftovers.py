"""Takes down everything that a lab made on this machine, whatever state it was left in.

Nothing here relies on what an earlier run remembers: processes are found by the lab's cgroups, mounts by
where they are, namespaces and links by their names. So it also cleans up after a run that was killed.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from places import BRIDGE, BUILD_GROUP, CACHE, CGROUP, CONTROLLERS, LAB, NUMBER, PREFIX, Node
from steps import LabError, run, step, wait


def cgroups() -> Iterator[Path]:
    """The lab's own cgroup in each hierarchy that has one."""
    return CONTROLLERS.glob(f"*/{CGROUP}")


def processes(node: Node | None = None) -> set[int]:
    """Every process of the lab or of one node: systemd, what runs there, and containers."""
    groups = [group / node.name if node else group for group in cgroups()]
    return {pid for group in groups for pid in _in(group)}


def _in(group: Path) -> set[int]:
    """Every process of a cgroup and of those below it."""
    found: set[int] = set()
    for folder, _, _ in os.walk(group):
        with contextlib.suppress(OSError):
            found.update(map(int, (Path(folder) / "cgroup.procs").read_text().split()))
    return found - {0, os.getpid()}


def switch_off(node: Node) -> None:
    """Take away what a node leaves that was told to reboot: systemd-nspawn ends here, and does not start it again."""
    wait(f"{node.name} to go down", lambda: _still("systemd-nspawn", processes(node)), seconds=90)
    for pid in processes(node):  # containers' own
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    wait(f"{node.name} to be off", lambda: "some processes still run" if processes(node) else "", seconds=30)
    for place in mounts():
        if place.startswith(f"{node.folder}/"):
            run("umount", "--lazy", place, check=False)
    for group in cgroups():
        for folder, _, _ in os.walk(group / node.name, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()
    _remove_marks(node.machine)


def _still(name: str, pids: set[int]) -> str:
    for pid in pids:
        with contextlib.suppress(OSError):
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return f"{name} runs as process {pid}"
    return ""


def mounts() -> list[str]:
    """Every mount below the lab's folder, and below the cache what a killed build left; innermost first.

    Lab 0 builds, and no other: what is mounted below the cache is nothing of theirs.
    """
    ours = (f"{LAB}/",) if NUMBER else (f"{LAB}/", f"{CACHE}/")
    places = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    # \040 and the like stand for characters that do not occur in folders of ours.
    return [at for at in reversed(places) if at.startswith(ours)]


def namespaces() -> list[str]:
    folder = Path("/run/netns")
    return sorted(path.name for path in folder.glob(f"{PREFIX}-*")) if folder.exists() else []


def links() -> list[str]:
    found = [link["ifname"] for link in json.loads(run("ip", "-json", "link", "show") or "[]")]
    return [name for name in found if name == BRIDGE or name.startswith(f"{PREFIX}-")]


def remains() -> list[str]:
    """What there still is of a lab outside its folder, in words."""
    return [
        *(f"process {pid}" for pid in sorted(processes())),
        *(f"mount {place}" for place in mounts()),
        *(f"network namespace {name}" for name in namespaces()),
        *(f"network link {name}" for name in links()),
        *(f"cgroup {path}" for path in cgroups()),
        *(f"{path}" for path in _marks()),
    ]


def _marks(machine: str = f"{PREFIX}-*") -> list[Path]:
    """What systemd-nspawn leaves in /run when it is killed."""
    run_folder = Path("/run/systemd/nspawn")
    return [*run_folder.glob(f"*/{machine}"), *run_folder.glob(f"*/.#{machine}")]


def stop_nodes() -> None:
    """Stop all processes at once, as a power cut would, and take away what they ran in."""
    _kill(processes)
    for place in mounts():
        run("umount", "--lazy", place, check=False)
    for name in namespaces():
        run("ip", "netns", "delete", name)
    for name in links():
        run("ip", "link", "delete", name, check=False)  # the other end of a veth goes with the first
    wait("the lab's cgroups to be empty", _remove_cgroups, seconds=20, every=0.1)
    _remove_marks()


def end_build() -> None:
    """End a build whose lab.py was killed: two builds at once would write to the same folder."""
    _kill(lambda: _in(BUILD_GROUP))


def _kill(living: Callable[[], set[int]]) -> None:
    end = time.monotonic() + 60
    while alive := living():
        _thaw()  # again each time: a runc may have frozen its container between two rounds
        for pid in alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        if time.monotonic() > end:
            raise LabError(f"processes that do not end after SIGKILL: {sorted(alive)}; see /proc/PID/stack")
        time.sleep(0.1)


def _remove_marks(machine: str = f"{PREFIX}-*") -> None:
    for path in _marks(machine):
        run("umount", "--lazy", path, check=False)
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


def _thaw() -> None:
    """The frozen do not die: a run that was killed while it took its snapshot left everything frozen, and a runc
    that was killed while it changed a container left that one."""
    for frozen in (CONTROLLERS / "freezer" / CGROUP).rglob("freezer.state"):
        with contextlib.suppress(OSError):
            frozen.write_text("THAWED")


def _remove_cgroups() -> str:
    left = ""
    for group in cgroups():
        for folder, _, _ in os.walk(group, topdown=False):
            try:
                Path(folder).rmdir()
            except OSError as error:
                left = f"{folder}: {error.strerror}"
    return left


def clear() -> None:
    """Remove every trace of a lab but the cache.

    Raises:
        StepError: something does not go away; its name is in the message.
    """
    with step("removing what there is of an earlier lab") if remains() else contextlib.nullcontext():
        stop_nodes()
        if left := remains():
            raise LabError(f"these do not go away: {', '.join(left)}")
    if LAB.exists():
        shutil.rmtree(LAB)
