"""The transaction on a node, over real SSH: who decides, who is first, and what is left behind."""

from __future__ import annotations

import dataclasses
import fcntl
import os
import re
import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from pathlib import Path

import pytest

from kubeharden.edges.nodes.session import script_text
from kubeharden.edges.nodes.transaction import archive
from kubeharden.edges.ports import Transaction
from kubeharden.errors import NodeError
from rehearsals import Rehearsals
from support import eventually
from transactions import CONFIG, LOCK, SERVICE, TOOLS, UNIT, Site, give_shell, swapped

pytestmark = pytest.mark.sample(1, of="site")  # each test under one of the shells

NODE = "k8s-node1"
# The word between a shell's path and its arguments.
SH = {"dash": "", "bash": "", "busybox": "sh "}


SHELLS = [
    pytest.param(
        name,
        marks=[] if shutil.which(name) else pytest.mark.skip(reason=f"there is no {name} on this machine"),
    )
    for name in SH
]


@pytest.fixture(scope="module", params=SHELLS)
def site(request: pytest.FixtureRequest, rehearsals: Rehearsals) -> Iterator[Site]:
    """A node whose sh and tools are these, with kube-proxy on a config file."""
    shell = shutil.which(request.param)
    assert shell is not None
    rehearsal = rehearsals.fresh("article-1.10")
    give_shell(rehearsal, NODE, shell)
    found = Site(rehearsal, NODE)
    found.carry_out(found.change(1), "first")
    yield found
    found.nodes.close()


@pytest.fixture(autouse=True)
def run(request: pytest.FixtureRequest, site: Site) -> Iterator[str]:
    """A name for a transaction; afterwards the node is free again and runs version 1."""
    yield request.node.name.replace("[", ".").replace("]", "")
    for transaction in site.nodes.state([NODE])[NODE]:
        if transaction.open:
            site.nodes.undo(NODE, transaction.run)
    assert site.nodes.begin(site.change(1), f"after-{time.monotonic()}", 60).outcome in (
        "waiting",
        "unchanged",
    )
    for transaction in site.nodes.state([NODE])[NODE]:
        if transaction.open:
            assert site.nodes.confirm(NODE, transaction.run).outcome == "confirmed"
    assert site.is_clean()


def test_what_nobody_confirms_in_time_is_put_back_and_the_journal_says_so(site: Site, run: str) -> None:
    before = site.files()
    begun = site.nodes.begin(site.change(2), run, 3)
    assert begun.outcome == "waiting"
    assert "--v=2" in site.command_line()
    assert site.is_locked()
    assert eventually(lambda: "--v=1" in site.command_line() and site.files() == before)
    assert eventually(site.is_clean)
    words = "nobody confirmed it within 3.3 s; the files are as before, and kube-proxy runs as before"
    assert words in site.run(f"journalctl -u kubeharden-revert@{run}.service -o cat")
    late = site.nodes.confirm(NODE, run)
    assert late.outcome == "reverted"
    assert words in late.words


def test_what_is_confirmed_stays(site: Site, run: str) -> None:
    site.nodes.begin(site.change(2), run, 30)
    assert site.run(f"systemctl is-active kubeharden-revert@{run}.timer") == "active\n"
    assert site.nodes.confirm(NODE, run).outcome == "confirmed"
    assert site.is_clean()
    assert site.run(f"systemctl is-active kubeharden-revert@{run}.timer") == "inactive\n"
    assert "--v=2" in site.command_line()
    assert site.nodes.confirm(NODE, run).outcome == "confirmed"
    assert site.nodes.undo(NODE, run).outcome == "confirmed"


@contextmanager
def ends_with_its_file(site: Site) -> Iterator[None]:
    """The service ends as soon as its config file is another one, as kube-proxy does (initWatcher)."""
    over = threading.Event()

    def watch() -> None:
        known = site.path(CONFIG).stat().st_ino
        while not over.wait(0.01):
            if (now := site.path(CONFIG).stat().st_ino) != known:
                known = now
                site.run(f"systemctl kill -s KILL {SERVICE}")

    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(watch)
        yield
        over.set()
        done.result()


@pytest.mark.parametrize("restart", ["always", "no"])
def test_a_program_that_ends_with_its_file_is_changed_and_put_back(
    site: Site, run: str, restart: str
) -> None:
    first = site.change(2)
    unit = first.files[1].after.replace("Restart=always", f"Restart={restart}")
    site.carry_out(site.change(2, unit=unit), f"{run}-before")
    before = site.files()
    with ends_with_its_file(site):
        begun = site.nodes.begin(site.change(3, unit=unit.replace("--v=2", "--v=3")), run, 60)
        assert begun.outcome == "waiting", begun
        assert "--v=3" in site.command_line()
        assert site.nodes.undo(NODE, run).outcome == "reverted"
    assert site.files() == before
    assert eventually(lambda: "--v=2" in site.command_line())


def test_undo_puts_back_at_once(site: Site, run: str) -> None:
    before = site.files()
    site.nodes.begin(site.change(2), run, 60)
    undone = site.nodes.undo(NODE, run)
    assert undone.outcome == "reverted"
    assert "it was undone" in undone.words
    assert site.files() == before
    assert "--v=1" in site.command_line()
    assert site.is_clean()


def test_each_verb_is_one_round_trip(site: Site, run: str) -> None:
    change = site.change(2)
    start = site.nodes.round_trips[NODE]
    site.nodes.observe([NODE])
    site.nodes.begin(change, run, 30)
    site.nodes.observe([NODE])
    site.nodes.confirm(NODE, run)
    assert site.nodes.round_trips[NODE] - start == 4


def test_the_same_content_again_is_nothing_to_do(site: Site, run: str) -> None:
    change = site.change(2)
    site.carry_out(change, run)
    pid = site.run(f"systemctl show -p MainPID {SERVICE}")
    before = {path.name for path in site.path("/var/lib/kubeharden").iterdir()}
    again = site.nodes.begin(change, f"{run}-again", 30)
    assert again.outcome == "unchanged"
    assert site.run(f"systemctl show -p MainPID {SERVICE}") == pid
    assert {path.name for path in site.path("/var/lib/kubeharden").iterdir()} == before
    # The same files with a process that is older than they are: it must be restarted.
    site.run(f"systemctl restart {SERVICE}")
    assert site.nodes.begin(site.change(2), f"{run}-restart", 30).outcome == "waiting"


def test_a_second_run_is_told_who_holds_the_node(site: Site, run: str) -> None:
    site.nodes.begin(site.change(2), run, 60)
    busy = site.nodes.begin(site.change(3), f"{run}-second", 60)
    assert busy.outcome == "busy"
    [transaction] = [t for t in site.nodes.state([NODE])[NODE] if t.open]
    assert transaction.run == run
    open_for = datetime.fromisoformat(transaction.until) - datetime.fromisoformat(transaction.since)
    assert abs(open_for.total_seconds() - 60 - site.inventory.settle_seconds) <= 1
    assert transaction.state == "waiting"
    assert f"this node is held by {transaction.holder} since {transaction.since}" in busy.words
    assert f"sudo sh /var/lib/kubeharden/transaction.sh undo {run}" in busy.words
    script = site.path("/var/lib/kubeharden/transaction.sh")
    assert "@result reverted" in site.run(f"sh {script} undo {run}")
    assert site.nodes.begin(site.change(3), f"{run}-third", 60).outcome == "waiting"


def test_of_two_that_begin_at_once_one_has_the_node(site: Site, run: str) -> None:
    changes = [site.change(2), site.change(3)]
    with ThreadPoolExecutor(2) as pool:
        begun = list(pool.map(lambda at: site.nodes.begin(changes[at], f"{run}-{at}", 30), (0, 1)))
    outcomes = [one.outcome for one in begun]
    assert sorted(outcomes) == ["busy", "waiting"], begun


def test_a_node_without_flock_is_refused_by_name(site: Site, run: str, tmp_path: Path) -> None:
    before = site.files()
    shims = site.rehearsal.directory / f"state/nodes/{NODE}/bin"
    shell = (shims / "sh").readlink()
    (shims / "sh").unlink()
    (shims / "sh").write_text(
        f'#!/bin/sh\ncase "$*" in *work*) PATH={tmp_path} ;; esac\nexec {shell} {SH[shell.name]}"$@"\n'
    )
    (shims / "sh").chmod(0o755)
    for name in TOOLS - {"flock"}:
        (tmp_path / name).symlink_to(shutil.which(name) or name)
    said = site.nodes.begin(site.change(2), run, 60)
    (shims / "sh").unlink()
    (shims / "sh").symlink_to(shell)
    assert said.outcome == "failed"
    assert said.words == 'this node has no program "flock" (of util-linux or busybox); nothing was changed'
    assert site.files() == before


def test_what_a_session_is_about_to_start_is_left_to_it_and_goes_once_the_session_is_gone(
    site: Site, run: str
) -> None:
    site.carry_out(site.change(2), run)
    folder = site.path(f"/var/lib/kubeharden/{run}-slow")
    with subprocess.Popen(["/bin/sh", "-c", "sleep 60; : kubeharden-session"]) as session:
        folder.mkdir()
        (folder / "session").write_text(f"{session.pid}\n")
        (folder / "state").write_text("begun\n")
        site.carry_out(site.change(3), f"{run}-second")
        assert folder.exists()
        session.kill()
    site.carry_out(site.change(2), f"{run}-third")
    assert not folder.exists()


def test_units_of_the_version_before_are_followed_and_then_replaced(site: Site, run: str) -> None:
    """To start those is not to wait: a controller has to ask."""
    units = site.path("/etc/systemd/system")
    names = [f"kubeharden-{name}@.service" for name in ("apply", "revert")]
    now = {name: (units / name).read_text() for name in names}
    site.nodes.begin(site.change(2), run, 60)
    for name, text in now.items():
        (units / name).write_text(text.replace("Type=forking\nTimeoutStartSec=0\n", ""))
        assert "Type=" not in (units / name).read_text()
    assert site.nodes.undo(NODE, run).outcome == "reverted"
    assert site.is_clean()
    site.carry_out(site.change(2), f"{run}-next")
    assert {name: (units / name).read_text() for name in names} == now


def test_the_same_call_again_follows_what_it_began(site: Site, run: str) -> None:
    change = site.change(2)
    first = site.nodes.begin(change, run, 60)
    again = site.nodes.begin(change, run, 60)
    assert again == first
    assert again.outcome == "waiting"


def test_a_service_that_dies_while_it_waits_is_put_back_before_anybody_asks(site: Site, run: str) -> None:
    site.nodes.begin(site.change(2), run, 60)
    site.run(f"systemctl restart {SERVICE}")
    assert eventually(lambda: "--v=1" in site.command_line())
    answer = site.nodes.confirm(NODE, run)
    assert answer.outcome == "reverted"
    assert "kube-proxy did not stay up while this waited to be confirmed" in answer.words


def test_a_service_that_was_restarted_is_not_confirmed(site: Site, run: str) -> None:
    site.nodes.begin(site.change(2), run, 60)
    site.run(f"systemctl stop kubeharden-apply@{run}.service")  # so that only confirm can see it
    site.run(f"systemctl restart {SERVICE}")
    answer = site.nodes.confirm(NODE, run)
    assert answer.outcome == "reverted"
    assert "was restarted since it was proved" in answer.words


def test_after_a_reboot_the_node_has_its_old_files_before_the_service_starts(site: Site, run: str) -> None:
    before = site.files()
    site.nodes.begin(site.change(2), run, 600)
    boot = site.path("/proc/sys/kernel/random/boot_id").read_text()
    site.run("reboot -f")
    assert eventually(lambda: site.path("/proc/sys/kernel/random/boot_id").read_text() != boot)
    assert eventually(lambda: "--v=1" in site.command_line())
    assert site.files() == before
    assert site.is_clean()
    journal = site.run(
        f"journalctl -u kubeharden-revert@{run}.service -u kube-proxy.service -o cat"
    ).splitlines()
    put_back = [at for at, line in enumerate(journal) if "the node was restarted before anybody" in line]
    started = [at for at, line in enumerate(journal) if line.startswith("Started")]
    assert put_back
    assert put_back[-1] < started[-1]


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_path_that_is_not_a_file_is_stale_and_holds_nobody_up(
    site: Site, run: str, make: Callable[[Path], None]
) -> None:
    change, place = site.change(2), site.path(CONFIG)
    text = place.read_text()
    place.unlink()
    make(place)
    said = site.nodes.begin(change, run, 60)
    place.rmdir() if place.is_dir() else place.unlink()
    place.write_text(text)
    assert said.outcome == "stale"
    assert f"{CONFIG} has changed since it was read" in said.words


def test_a_config_that_the_program_refuses_changes_nothing(site: Site, run: str) -> None:
    before, pid = site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")
    said = site.nodes.begin(site.change(2, config="kind: Other\napiVersion: v1\n"), run, 5)
    assert said.outcome == "failed"
    assert "kube-proxy refuses the new configuration" in said.words
    assert "nothing was changed" in said.words
    assert (site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")) == (before, pid)


def test_a_unit_that_systemd_refuses_changes_nothing(site: Site, run: str) -> None:
    before, pid = site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")
    said = site.nodes.begin(site.change(2, unit="[Service]\nExecStart=/usr/bin/nothing-here\n"), run, 5)
    assert said.outcome == "failed"
    assert "systemd-analyze verify refuses the new unit" in said.words
    assert (site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")) == (before, pid)


def test_a_unit_that_starts_and_dies_is_put_back_with_the_words_of_its_journal(site: Site, run: str) -> None:
    before = site.files()
    unit = site.path(UNIT).read_text().replace("--v=1", "--nonsense=1")
    said = site.nodes.begin(dataclasses.replace(site.change(2, unit=unit), expected_argv=()), run, 30)
    assert said.outcome == "reverted"
    assert "did not come up" in said.words
    assert "unknown flag: --nonsense" in said.journal
    assert "--nonsense" not in said.words
    assert "Started" not in said.journal.splitlines()[0]  # what it said before its restart is not in it
    assert site.files() == before
    assert "--v=1" in site.command_line()


def test_what_may_outlive_its_transaction_does_not_have_the_lock(
    site: Site, run: str, tmp_path: Path
) -> None:
    """The timeout of busybox leaves a process for a second, with all that was open: the next found the node taken."""
    unit = site.path(UNIT).read_text().replace("--v=1", "--nonsense=1")
    with shim(site, "timeout", tmp_path / "timeout", f'echo "$*" "$(ls -l /proc/$$/fd)" >>{tmp_path}/open'):
        said = site.nodes.begin(dataclasses.replace(site.change(2, unit=unit), expected_argv=()), run, 30)
    assert said.outcome == "reverted"
    calls = (tmp_path / "open").read_text()
    assert "journalctl --sync" in calls
    assert LOCK not in calls


def test_who_has_the_lock_for_a_moment_only_makes_nobody_busy(site: Site, run: str) -> None:
    with site.path(LOCK).open("a") as lock, ThreadPoolExecutor(1) as pool:
        fcntl.flock(lock, fcntl.LOCK_EX)
        begun = pool.submit(site.nodes.begin, site.change(2), run, 60)
        assert eventually(lambda: at(site, run) is not None)
        time.sleep(0.3)  # until the work has met the lock
        lock.close()
    assert begun.result().outcome == "waiting"


def test_mode_and_owner_come_back_and_a_third_content_is_kept(site: Site, run: str) -> None:
    place = site.path(CONFIG)
    place.chmod(0o640)
    change = swapped(site.change(2), 0, mode="600")
    site.nodes.begin(change, run, 60)
    assert oct(place.stat().st_mode)[-3:] == "600"
    old = change.files[0].before
    assert old is not None
    place.write_text("# by hand\n")
    said = site.nodes.undo(NODE, run)
    assert f"somebody had changed {CONFIG} meanwhile" in said.words
    assert place.read_text() == old.content
    assert oct(place.stat().st_mode)[-3:] == "640"
    assert site.path(f"/var/lib/kubeharden/{run}/found.1").read_text() == "# by hand\n"


@pytest.mark.parametrize(
    ("command", "state"), [("flock", "begun"), ("systemd-analyze", "begun"), ("mv", "armed")]
)
def test_a_service_that_was_not_restarted_yet_is_not_restarted_by_undoing(
    site: Site, run: str, command: str, state: str, tmp_path: Path
) -> None:
    """The worker is stopped in the middle of the first such command for one of the files or the lock."""
    change = site.change(2)
    before, pid = site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")
    with slow(site, command, tmp_path / command), ThreadPoolExecutor(1) as pool:
        begun = pool.submit(site.nodes.begin, change, run, 60)
        assert eventually(lambda: (seen := at(site, run)) is not None and seen.state == state)
        time.sleep(0.3)  # until the command waits
        if command == "flock":  # somebody else's, since: it is none of this run's business
            site.path(CONFIG).write_text("# by hand\n")
            before = site.files()
        undone = site.nodes.undo(NODE, run)
    assert undone == begun.result()
    assert undone.outcome == "reverted"
    assert "the files are as before, and kube-proxy was not restarted" in undone.words
    assert (site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")) == (before, pid)


def slow(site: Site, command: str, aside: Path) -> AbstractContextManager[None]:
    """A command that waits for a minute, the first time that it is about one of the files, or the lock."""
    waits = f"*kubeharden-new* | *verify* | -n?9) mkdir {aside}-waited 2>/dev/null && sleep 60 ;;"
    return shim(site, command, aside, f'case "$*" in {waits} esac')


@contextmanager
def shim(site: Site, command: str, aside: Path, first: str) -> Iterator[None]:
    """A command that does something else first; it is kept aside meanwhile."""
    place = site.rehearsal.directory / f"state/nodes/{NODE}/bin/{command}"
    was_there = place.is_symlink() or place.exists()
    if was_there:
        place.rename(aside)
    else:
        aside.symlink_to(shutil.which(command) or command)
    place.write_text(f'#!/bin/sh\n{first}\nexec {aside} "$@"\n')
    place.chmod(0o755)
    try:
        yield
    finally:
        place.unlink()
        if was_there:
            aside.rename(place)


def at(site: Site, run: str) -> Transaction | None:
    """What the node says of a transaction."""
    return next((t for t in site.nodes.state([NODE])[NODE] if t.run == run), None)


def test_a_file_that_cannot_be_put_back_keeps_the_node_until_somebody_mends_it(site: Site, run: str) -> None:
    before = site.files()
    site.nodes.begin(site.change(2), run, 60)
    place = site.path(UNIT)
    new, next_change = place.read_text(), site.change(3)
    place.unlink()
    place.mkdir()  # a folder in the way cannot be replaced by a rename
    (place / "full").touch()
    said = site.nodes.undo(NODE, run)
    assert said.outcome == "failed"
    assert f"THESE FILES COULD NOT BE PUT BACK: {UNIT}" in said.words
    assert site.nodes.begin(next_change, f"{run}-next", 60).outcome == "busy"
    shutil.rmtree(place)
    place.write_text(new)
    assert site.nodes.undo(NODE, run).outcome == "reverted"
    assert site.files() == before


def test_backups_are_private_and_those_of_long_ago_go(site: Site, run: str) -> None:
    base = site.path("/var/lib/kubeharden")
    for number in range(25):
        old = base / f"old-{number:02d}"
        old.mkdir()
        (old / "state").write_text("confirmed\n")
    foreign = base / "not-ours"
    foreign.mkdir()
    old = site.path(UNIT).read_text()
    site.carry_out(site.change(2), run)
    assert foreign.exists()
    assert len([p for p in base.iterdir() if (p / "state").exists()]) == 20
    mine = base / run
    assert oct(mine.stat().st_mode)[-3:] == "700"
    assert (mine / "old.2").read_text() == old
    foreign.rmdir()


@pytest.mark.parametrize("name", ["", "..", "a/b", "a b", "a;b", "-"])
def test_a_run_with_a_strange_name_is_refused(site: Site, name: str) -> None:
    said = site.nodes.begin(site.change(2), name, 30)
    if name == "-":
        assert said.outcome == "waiting"
    else:
        assert said.outcome == "failed"
        assert "cannot be called" in said.words


def test_an_archive_that_was_cut_off_or_torn_changes_nothing(site: Site, run: str) -> None:
    before = sorted(p.name for p in site.path("/var/lib/kubeharden").iterdir())
    copy = site.path("/root/transaction.sh")
    copy.parent.mkdir(exist_ok=True)
    copy.write_text(script_text("transaction"))
    whole = archive(site.change(2), run, "a test", 0.1, 30, script_text("transaction"))
    members = whole.rstrip(b"\0")
    flipped = whole.replace(b"--v=2", b"--v=3")
    for content in (b"", whole[:700], whole[: len(members) // 2], members[:-20], flipped):
        site.path("/root/payload").write_bytes(content)
        said = site.run(f"sh {copy} begin <{site.path('/root/payload')}")
        assert "@result failed" in said
        assert "what was sent did not arrive whole" in said
        assert said.rstrip().endswith("nothing was changed")
        assert sorted(p.name for p in site.path("/var/lib/kubeharden").iterdir()) == before


def test_clean_removes_all_that_stays_but_not_while_a_transaction_is_open(site: Site, run: str) -> None:
    site.nodes.begin(site.change(2), run, 60)
    with pytest.raises(NodeError, match=f"k8s-node1: this node is held by .* undo {re.escape(run)}"):
        site.nodes.clean([NODE])
    assert site.nodes.undo(NODE, run).outcome == "reverted"
    before = {name for name in site.files() if "kubeharden" not in name}
    [(_, removed)] = site.nodes.clean([NODE]).items()
    assert "/var/lib/kubeharden" in removed
    assert "/etc/systemd/system/kubeharden-boot.service" in removed
    assert set(site.files()) == before
    assert not site.path("/var/lib/kubeharden").exists()
    assert site.nodes.state([NODE]) == {NODE: ()}
    assert site.nodes.clean([NODE]) == {NODE: ()}
    site.carry_out(site.change(3), f"{run}-next")
