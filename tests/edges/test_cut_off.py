"""Whatever state a transaction was cut off in, with all that works on it: the next run finds a node that is free."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from kubeharden.edges.clock import SystemClock
from kubeharden.edges.nodes import Nodes
from kubeharden.errors import NodeError
from kubeharden.rollout.leftovers import wait_for_open_changes
from kubeharden_rehearsal import Rehearsal
from support import eventually
from transactions import SERVICE, Site

NODE = "k8s-node1"
# The state that it is cut off in: the command of the worker that is its last, by its words.
LAST = {
    "begun": ("systemd-analyze", "*verify*"),
    "arming": ("systemd-run", "*revert@*"),
    "armed": ("mv", "*kubeharden-new*"),
    "restarting": ("systemctl", f"restart {SERVICE}.service"),
    "waiting": ("sleep", "2"),
    "reverting": ("cp", "*old.*kubeharden-new*"),
}


@contextmanager
def standing_still(site: Site, command: str, words: str, note: Path) -> Iterator[None]:
    """The first such command does nothing for a minute, and notes its process."""
    shim = site.rehearsal.directory / f"state/nodes/{NODE}/bin/{command}"
    aside = shim.with_name(f"real-{command}")
    if shim.exists():
        shim.rename(aside)
    else:
        aside.symlink_to(shutil.which(command) or command)
    waits = f"mkdir {note}.once 2>/dev/null && echo $$ >{note} && exec /bin/sleep 60"
    shim.write_text(
        f'#!/bin/sh\ncase "$*" in {words.replace(" ", "?")}) {waits} ;; esac\nexec {aside} "$@"\n'
    )
    shim.chmod(0o755)
    yield
    shim.unlink()
    if aside.is_symlink():
        aside.unlink()
    else:
        aside.rename(shim)


def kill_group(pid: int) -> None:
    os.killpg(os.getpgid(pid), signal.SIGKILL)


def begin_and_give_up(site: Site, run: str, state: str) -> None:
    """What a run does until it is cut off, and what it is told then."""
    with Nodes(site.inventory) as nodes:
        try:
            nodes.begin(site.change(2), run, 600)
            if state == "reverting":
                nodes.undo(NODE, run)
        except NodeError:
            return  # its session was killed


@pytest.mark.sample(1, of="rebooted")
@pytest.mark.parametrize("rebooted", [False, True])
@pytest.mark.parametrize("state", LAST)
def test_the_next_run_finds_a_free_node(
    article: Rehearsal, tmp_path: Path, state: str, *, rebooted: bool
) -> None:
    site, run, note = Site(article, NODE), "cut", tmp_path / "note"
    site.carry_out(site.change(1), "first")
    before = site.files()
    folder = site.path(f"/var/lib/kubeharden/{run}")
    with standing_still(site, *LAST[state], note), ThreadPoolExecutor(1) as pool:
        doing = pool.submit(begin_and_give_up, site, run, state)
        assert eventually(lambda: note.exists() and note.read_text())
        assert (folder / "state").read_text().split()[-1] == state
        if state == "waiting":
            doing.result()  # from now on, systemd knows the process that watches
        else:  # nobody follows any more
            kill_group(int((folder / "session").read_text()))
        kill_group(int(note.read_text()))
        doing.result()
    if rebooted:
        site.nodes.close()
        site.run("reboot -f")
        assert eventually(site.answers)

    assert wait_for_open_changes(site.nodes, SystemClock(), 30, lambda words: None)[1] == ()
    assert site.files() == before
    assert "--v=1" in site.command_line()
    site.carry_out(site.change(3), "next")
    assert eventually(site.is_clean)
    site.nodes.close()


@pytest.mark.parametrize("state", ["begun", "arming"])
def test_work_that_a_person_stops_before_it_is_armed_is_put_back(
    article: Rehearsal, tmp_path: Path, state: str
) -> None:
    site, run, note = Site(article, NODE), "stopped", tmp_path / "note"
    site.carry_out(site.change(1), "first")
    before = site.files()
    with standing_still(site, *LAST[state], note), ThreadPoolExecutor(1) as pool:
        doing = pool.submit(begin_and_give_up, site, run, state)
        assert eventually(lambda: note.exists() and note.read_text())
        kill_group(int((site.path(f"/var/lib/kubeharden/{run}") / "session").read_text()))
        site.run(f"systemctl stop kubeharden-apply@{run}.service")
        doing.result()
    assert wait_for_open_changes(site.nodes, SystemClock(), 30, lambda words: None)[1] == ()
    assert site.files() == before
    assert eventually(site.is_clean)
    site.nodes.close()
