"""A transaction that is cut at any of its commands leaves a node that is whole, healthy by itself, and free.

Every command that the script calls on a node is a point, in each of the roles that it runs in. At each, one of four
things happens: every process of the script is killed with SIGKILL, the connection is cut, the controller is killed with
SIGKILL, or the node loses its power and boots. What is cut is a change as a run carries it out, and what its record
and the node say of it must be what the files are. One point is tried of every other pair of a role and a kind, by the
seed of the samples of a run; every point in ``make soak``.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import yaml
from carrying import carry_out
from cutting import Cutter, Wire

import sampling
from kubeharden.errors import NodeError
from kubeharden.plan import NodeChange
from kubeharden.records.folder import read_run
from kubeharden.records.summary import CUT_OFF, build_record
from rehearsals import Rehearsals
from support import eventually
from transactions import CONFIG, SERVICE, UNIT, Site

NODE = "k8s-node1"
HERE = Path(__file__).parent
# How many commands further on the next kind begins, so that a run does not try all kinds at the same command.
SPREAD = 7
CONFIRM_SECONDS = 4
# A change that is to be put back is one that cannot be proved: the run gives up after most of this.
UNPROVED_SECONDS = 2.5
# The promise is two minutes. What counts here besides the timer is a machine that does other things too.
HEALTHY_SECONDS = 120
# What a crash can meet: the kind, and the role that the script is in. A controller and a connection have no part in
# what a node does by itself.
POINTS = [
    *(("script", role) for role in ("begin", "work", "confirm", "revert", "boot")),
    *(("connection", role) for role in ("begin", "work", "confirm", "revert")),
    *(("controller", role) for role in ("begin", "work", "confirm", "revert")),
    *(("power", role) for role in ("begin", "work", "confirm", "revert", "boot")),
]


@dataclass
class Stage:
    """A node with a cutter, reached over a wire that can be cut."""

    site: Site
    cutter: Cutter
    wire: Wire
    folder: Path
    version: int = 1
    runs: int = 0
    counts: dict[str, int] = field(default_factory=dict)

    def next_change(self) -> NodeChange:
        return self.site.change(1 if self.version == 2 else 2)

    def name(self) -> str:
        self.runs += 1
        return f"run-{self.runs}"

    def texts(self) -> tuple[str, str]:
        return self.site.path(CONFIG).read_text(), self.site.path(UNIT).read_text()


@pytest.fixture(scope="module")
def stage(rehearsals: Rehearsals, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    folder, rehearsal = tmp_path_factory.mktemp("crash"), rehearsals.fresh("article-1.10")
    raw = yaml.safe_load(rehearsal.inventory.read_text())
    raw["settle_seconds"] = 0.1
    node = next(row for row in raw["nodes"] if row["name"] == NODE)
    (folder / "wrappers").parent.mkdir(exist_ok=True)
    wire = Wire(node["port"], folder / "wrappers")
    known = rehearsal.directory / "known_hosts"
    line = next(row for row in known.read_text().splitlines() if f":{node['port']} " in row)
    known.write_text(f"{known.read_text()}{line.replace(str(node['port']), str(wire.port), 1)}\n")
    node["port"] = wire.port
    inventory = rehearsal.directory / "wired.yaml"
    inventory.write_text(yaml.safe_dump(raw))
    site = Site(rehearsal, NODE, inventory)
    site.carry_out(site.change(1), "first")
    site.nodes.close()  # its session has not seen the wrappers
    yield Stage(site, Cutter(site, folder / "wrappers"), wire, folder)
    site.nodes.close()
    wire.close()


def act(stage: Stage, role: str, kind: str, change: NodeChange, run: str) -> Path | None:
    """Do what calls the script in a role, whatever becomes of it; where its record is, if it leaves one."""
    nodes, records = stage.site.nodes, stage.folder / f"{run}-records"
    if role == "boot":  # the controller has no part in it
        assert nodes.begin(change, run, 600).outcome == "waiting"
        reboot(stage)
        return None
    seconds = CONFIRM_SECONDS
    if role == "revert":
        change, seconds = replace(change, expected_argv=("/usr/bin/kube-proxy", "--v=0")), UNPROVED_SECONDS
    if kind != "controller":
        carry_out(stage.site.inventory, nodes, change, records, seconds)
        return records
    file = stage.folder / run
    file.write_bytes(pickle.dumps(change))
    words = [stage.site.rehearsal.directory / "wired.yaml", stage.cutter.folder, str(seconds), file, records]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, HERE / "controller.py", *words]
    done = subprocess.run(command, timeout=120, check=False, env=environment)
    assert done.returncode in (0, -signal.SIGKILL)
    return records


def reboot(stage: Stage) -> None:
    stage.site.run("reboot -f")
    stage.site.nodes.close()


def crash(stage: Stage, role: str, kind: str, number: int) -> bool:
    """One point: cut there, look, and run again. Whether there was such a point."""
    site, old, run = stage.site, stage.texts(), stage.name()
    change = stage.next_change()
    new = tuple(file.after for file in change.files)
    stage.cutter.aim(role, number, kind)
    records = act(stage, role, kind, change, run)
    fired = stage.cutter.fired
    # Every file is old or new, and whole.
    assert all(text in both for text, both in zip(stage.texts(), zip(old, new, strict=True), strict=True))
    # Without help, the service runs what the files say, all old or all new.
    began = time.monotonic()
    assert eventually(lambda: is_healthy(stage, old, new), HEALTHY_SECONDS), describe(stage, run)
    assert time.monotonic() - began < HEALTHY_SECONDS
    # What the record and the node say became of it is what the files are.
    if records is not None:
        assert eventually(lambda: is_told(stage, records, old, new), HEALTHY_SECONDS), describe(stage, run)
    # The next run carries on, and leaves a node that is free.
    stage.cutter.aim("nobody", 0, "nothing")
    again = f"{run}-again"
    assert eventually(lambda: begins(stage, change, again), HEALTHY_SECONDS), describe(stage, run)
    assert stage.texts() == new, describe(stage, run)
    assert eventually(site.is_clean), describe(stage, run)
    stage.version = 3 - stage.version
    return fired


def is_healthy(stage: Stage, old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    texts = stage.texts()
    version = texts[1].partition("--v=")[2][:1]
    return texts in (old, new) and f"--v={version}" in stage.site.command_line()


def is_told(stage: Stage, records: Path, old: tuple[str, ...], new: tuple[str, ...]) -> bool:
    """Whether the transaction is over, or nothing is left of it; that what is said of it is true is asserted."""
    [folder] = records.iterdir()
    past = read_run(folder)
    try:
        known = stage.site.nodes.state([NODE])[NODE]
    except NodeError:
        return False  # it boots
    mine = [transaction for transaction in known if transaction.run.startswith(past.run)]
    if any(transaction.open for transaction in mine) or stage.texts() not in (old, new):
        return False
    texts = stage.texts()
    for transaction in mine:  # one that never came further than "begun" has changed nothing
        assert texts == (new if transaction.state == "confirmed" else old), transaction
    results = [change["result"] for change in build_record(past)["changes"]]
    possible = {"completed": {new}, "reverted": {old}}
    assert past.problems == ()
    assert results
    assert set(results) <= {"completed", "reverted", "failed", CUT_OFF}
    assert all(texts in possible.get(result, {old, new}) for result in results), (results, texts)
    return True


def begins(stage: Stage, change: NodeChange, run: str) -> bool:
    """A second run, as a person would call it: it looks again first, and waits where the node is still at it."""
    site = stage.site
    wanted = site.change(1 if stage.version == 2 else 2)
    try:
        begun = site.nodes.begin(wanted, run, 60)
        if begun.outcome == "waiting":
            begun = site.nodes.confirm(NODE, run)
    except NodeError:
        return False  # it boots
    # It is told so where the node is still at it, or has put something back since it looked.
    assert begun.outcome in ("confirmed", "unchanged", "busy", "stale"), begun
    return begun.outcome in ("confirmed", "unchanged")


def describe(stage: Stage, run: str) -> str:
    """What somebody needs to know who has to mend it."""
    base = stage.site.path("/var/lib/kubeharden")
    state = {
        str(p.relative_to(base)): p.read_text()[:200]
        for p in base.glob("*/*")
        if p.name in ("state", "why", "words", "held") and not p.read_text().endswith("\nconfirmed\n")
    }
    journal = stage.site.run("journalctl -o short -n 40")
    locked = f"locked: {stage.site.is_locked()}"
    return f"{run}: {state}\n{locked}\n{stage.site.run(f'systemctl show {SERVICE}')}\n{journal}"


def points_of(stage: Stage, role: str) -> int:
    """How many commands the script calls in a role."""
    if role not in stage.counts:
        stage.counts[role] = count_commands(stage, role)
    return stage.counts[role]


def count_commands(stage: Stage, role: str) -> int:
    """Let the script run in a role, and count. A session that waits calls the same commands again and again, as does a
    worker that watches: these are points once."""
    stage.cutter.aim(role, 10**6, "nothing")
    run, change = stage.name(), stage.next_change()
    assert stage.site.nodes.begin(change, run, 600).outcome == "waiting"
    count = stage.cutter.count
    if role in ("confirm", "revert"):
        stage.cutter.aim(role, 10**6, "nothing")
        {"confirm": stage.site.nodes.confirm, "revert": stage.site.nodes.undo}[role](NODE, run)
        count = stage.cutter.count
    if role == "boot":
        reboot(stage)
        assert eventually(lambda: stage.site.path(UNIT).read_text() == change.files[1].before.content)
        assert eventually(stage.site.is_clean)
        return stage.cutter.count
    if role == "confirm":
        stage.version = 3 - stage.version
    else:
        stage.site.nodes.undo(NODE, run)
    return count


@pytest.mark.sample(9)
@pytest.mark.parametrize(("kind", "role"), POINTS)
def test_cut_at_a_command(stage: Stage, kind: str, role: str, request: pytest.FixtureRequest) -> None:
    known = count = points_of(stage, role)
    points = [at + 1 for at in sampling.chosen(count, 1, POINTS.index((kind, role)) * SPREAD)]
    fired = [number for number in points if crash(stage, role, kind, number)]
    while not fired and count > 1:  # a session that waited longer when it was counted called more
        count //= 2
        fired = [count] if crash(stage, role, kind, count) else []
    assert fired, "not even the first point was reached"
    sampling.tell(request.node, "crash points", len(fired), known)
