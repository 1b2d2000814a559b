"""What a power cut could lose is on disk before anything that relies on it is done.

A rehearsal node's power cut loses nothing that was written, so this is seen by the order of the calls: on this node
the commands that write, rename and restart are noted before they are carried out.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pytest

from kubeharden_rehearsal import Rehearsal
from transactions import CONFIG, SERVICE, UNIT, Site

NODE = "k8s-node1"
RUN = "traced"
BASE = "/var/lib/kubeharden"
FOLDER = f"{BASE}/{RUN}"
UNITS = "/etc/systemd/system"
BOOT = "kubeharden-boot.service"
WRAPPER = """#!/bin/sh
printf '%s\\n' "{name} $*" >>{log}
exec {real} "$@"
"""


@dataclass
class Trace:
    """A node whose commands are noted, with version 1 in place."""

    site: Site
    log: Path

    def calls(self) -> list[list[str]]:
        """The words of what was called since this was asked last, with the node's paths."""
        lines = self.log.read_text().replace(str(self.site.root), "").splitlines()
        self.log.write_text("")
        return [line.split(" ") for line in lines]


@pytest.fixture
def trace(article: Rehearsal, tmp_path: Path) -> Trace:
    site = Site(article, NODE)
    site.carry_out(site.change(1), "first")
    shims = article.directory / f"state/nodes/{NODE}/bin"
    log = tmp_path / "log"
    log.touch()
    for name in ("sync", "mv", "rm", "systemctl", "systemd-run"):
        real = shutil.which(name)
        if (shims / name).exists():
            real = str((shims / name).rename(shims / f"real-{name}"))
        (shims / name).write_text(WRAPPER.format(name=name, log=log, real=real))
        (shims / name).chmod(0o755)
    return Trace(site, log)


def staged(path: str) -> str:
    folder, _, name = path.rpartition("/")
    return f"{folder}/.{name}.kubeharden-new"


def at(calls: list[list[str]], *words: str) -> int:
    """Where these words were called first, among others."""
    return next(number for number, call in enumerate(calls) if set(words) <= set(call))


def are_synced(calls: Iterable[list[str]], *paths: str) -> bool:
    """Whether each of the paths was brought to disk in one of these calls."""
    return set(paths) <= {word for call in calls if call[0] == "sync" for word in call[1:]}


def test_forth_and_confirmed(trace: Trace) -> None:
    site = trace.site
    assert site.nodes.begin(site.change(2), RUN, 60).outcome == "waiting"
    calls = trace.calls()
    first = at(calls, "mv", staged(CONFIG), CONFIG)
    last = at(calls, "mv", staged(UNIT), UNIT)
    armed = at(calls, "systemd-run", f"--unit=kubeharden-revert@{RUN}.service")
    restarted = at(calls, "systemctl", "restart", f"{SERVICE}.service")
    assert armed < first < last < restarted

    needed = ("old.1", "old.2", "settings", "files", "reversed", "boot", "held", "state")
    before = calls[armed:first]
    assert are_synced(before, *(f"{FOLDER}/{name}" for name in needed), FOLDER, BASE)
    assert are_synced(before, staged(CONFIG), staged(UNIT))
    assert are_synced(calls[last:restarted], "/etc/kubernetes", UNITS, f"{FOLDER}/state")
    waiting = (FOLDER, *(f"{FOLDER}/{name}" for name in ("state", "restarted", "process", "words")))
    assert are_synced(calls[restarted:], *waiting)

    assert site.nodes.confirm(NODE, RUN).outcome == "confirmed"
    calls = trace.calls()
    cleared = at(calls, "rm", f"{FOLDER}/held")
    stopped = at(calls, "systemctl", "stop", f"kubeharden-revert@{RUN}.timer")
    assert cleared < stopped
    assert are_synced(calls[:cleared], f"{FOLDER}/state", FOLDER)
    site.nodes.close()


def test_back(trace: Trace) -> None:
    site = trace.site
    site.nodes.begin(site.change(2), RUN, 60)
    trace.calls()
    assert site.nodes.undo(NODE, RUN).outcome == "reverted"
    calls = trace.calls()
    unit, config = at(calls, "mv", staged(UNIT), UNIT), at(calls, "mv", staged(CONFIG), CONFIG)
    restarted = at(calls, "systemctl", "restart", f"{SERVICE}.service")
    cleared = at(calls, "rm", f"{FOLDER}/held")
    assert unit < config < restarted < cleared

    assert are_synced(calls[:unit], f"{FOLDER}/why", f"{FOLDER}/state", FOLDER, staged(UNIT))
    assert are_synced(calls[unit:config], UNITS, staged(CONFIG))
    assert are_synced(calls[config:restarted], "/etc/kubernetes")
    assert are_synced(calls[restarted:cleared], f"{FOLDER}/words", f"{FOLDER}/state", FOLDER)
    site.nodes.close()


@pytest.mark.parametrize(
    "place", [f"{BASE}/transaction.sh", f"{UNITS}/kubeharden-revert@.service", f"{UNITS}/{BOOT}"]
)
def test_what_a_reboot_needs_is_there_before_the_work_begins(trace: Trace, place: str) -> None:
    """It is put in place where it is not as it should be, and nowhere else."""
    site = trace.site
    whole = site.path(place).read_text()
    site.path(place).write_text(whole[:40])
    site.path(f"{UNITS}/multi-user.target.wants/{BOOT}").unlink()
    assert site.nodes.begin(site.change(2), RUN, 60).outcome == "waiting"
    calls = trace.calls()
    reloaded = at(calls, "systemctl", "daemon-reload")
    assert reloaded < at(calls, "systemctl", "start", f"kubeharden-apply@{RUN}.service")
    assert are_synced(calls[:reloaded], BASE, UNITS, f"{UNITS}/multi-user.target.wants")
    assert are_synced(
        calls[:reloaded], *(f"{UNITS}/kubeharden-{name}.service" for name in ("apply@", "revert@", "boot"))
    )
    assert site.path(place).read_text() == whole
    assert site.run(f"systemctl is-enabled {BOOT}") == "enabled\n"
    assert site.nodes.confirm(NODE, RUN).outcome == "confirmed"
    site.carry_out(site.change(3), f"{RUN}-next")
    assert [call for call in trace.calls() if call[0] == "mv" and f"{BASE}/transaction.sh" in call] == []
    site.nodes.close()
