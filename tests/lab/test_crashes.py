"""A transaction on the real cluster is cut in each of the ways that there are; the node mends itself, by systemd."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import leftovers
import pytest
from changes import Hands, hands
from cluster import wait_for_nodes
from machines import boot, ssh
from places import HERE, Node, existing
from steps import wait
from truth import differences, look, without_kubeharden

from kubeharden.edges.ports import TransactionResult
from kubeharden.errors import NodeError
from kubeharden.plan import NodeChange

CONFIRM_SECONDS = 6


@pytest.fixture
def hand(tmp_path: Path) -> Iterator[Hands]:
    with hands(tmp_path) as make:
        yield make()


def louder(unit: str) -> str:
    return unit.replace("--v=2", "--v=3") if "--v=2" in unit else unit.replace("--v=3", "--v=2")


def state(hand: Hands, node: Node, run: str) -> str:
    """The state of a transaction; empty while there is none, or while the node cannot be asked."""
    try:
        return next((t.state for t in hand.nodes.state([node.name])[node.name] if t.run == run), "")
    except NodeError:
        return ""


def until(what: str, check: Callable[[], bool], seconds: float = 120) -> None:
    wait(what, lambda: "" if check() else "not yet", seconds, every=0.3)


def mended(hand: Hands, node: Node, change: NodeChange, run: str, cut: Callable[[], None]) -> None:
    """Cut; the node puts itself back within two minutes, healthy; the next run converges."""
    before = look().files
    began = time.monotonic()
    cut()
    until(f"{run} to be put back", lambda: state(hand, node, run) == "reverted")
    assert time.monotonic() - began < 120
    assert without_kubeharden(look().files) == before
    until("the lock", lambda: not any(t.open for t in hand.nodes.state([node.name])[node.name]))
    wait_for_nodes(existing(), datetime.min.replace(tzinfo=UTC))
    until(f"the next run after {run}", lambda: begin(hand, change, f"{run}-next").outcome == "waiting")
    assert hand.nodes.confirm(node.name, f"{run}-next").outcome == "confirmed"
    assert node_has(node, change)
    assert ssh(node, "sudo flock -n /run/kubeharden.lock echo free") == "free\n"
    hand.nodes.clean([node.name])
    assert differences(before, look().files).keys() == {(node.name, file.path) for file in change.files}


def node_has(node: Node, change: NodeChange) -> bool:
    file = change.files[0]
    return ssh(node, f"sudo cat {file.path}") == file.after


def begin(hand: Hands, change: NodeChange, run: str) -> TransactionResult:
    return hand.nodes.begin(change, run, CONFIRM_SECONDS)


def in_the_background(hand: Hands, change: NodeChange, run: str) -> threading.Thread:
    def work() -> None:
        try:
            begin(hand, change, run)
        except NodeError:
            return  # its connection is what was cut

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def test_the_controller_is_killed(hand: Hands, worker: Node, tmp_path: Path) -> None:
    change = hand.edited(worker, "kubelet", louder)
    (tmp_path / "change").write_bytes(pickle.dumps((change, CONFIRM_SECONDS)))

    def cut() -> None:
        controller = subprocess.Popen([sys.executable, HERE / "controller.py", tmp_path / "change", "killed"])
        until("the change to be made", lambda: state(hand, worker, "killed") in ("restarting", "waiting"))
        os.kill(controller.pid, signal.SIGKILL)
        assert controller.wait() == -signal.SIGKILL

    mended(hand, worker, change, "killed", cut)


def test_the_connection_is_cut(hand: Hands, worker: Node, tmp_path: Path) -> None:
    change = hand.edited(worker, "kube-proxy", louder)

    def cut() -> None:
        thread = in_the_background(hand, change, "cut")
        until(
            "the node to be at work",
            lambda: ssh(worker, "sudo ls /var/lib/kubeharden/cut/held", check=False) != "",
        )
        # Every session of the user that is logged in, this one included.
        ssh(worker, "sudo pkill -KILL -u ops sshd", check=False)
        thread.join()

    mended(hand, worker, change, "cut", cut)


@pytest.mark.sample(1)
@pytest.mark.parametrize("signalled", ["restarting", "waiting"])
def test_the_script_is_killed(hand: Hands, worker: Node, tmp_path: Path, signalled: str) -> None:
    change, run = hand.edited(worker, "kubelet", louder), f"killed-{signalled}"

    def cut() -> None:
        thread = in_the_background(hand, change, run)
        until(f"the state {signalled}", lambda: state(hand, worker, run) == signalled)
        ssh(worker, f"sudo systemctl kill -s KILL kubeharden-apply@{run}.service")
        thread.join()

    mended(hand, worker, change, run, cut)


def test_the_node_is_rebooted(hand: Hands, worker: Node, tmp_path: Path) -> None:
    change = hand.edited(worker, "kubelet", louder)

    def cut() -> None:
        assert begin(hand, change, "rebooted").outcome == "waiting"
        ssh(worker, "sudo systemctl reboot", check=False)
        leftovers.switch_off(worker)
        boot([worker])

    mended(hand, worker, change, "rebooted", cut)
    assert "the node was restarted before anybody confirmed" in ssh(
        worker, "sudo journalctl -q -o cat -u kubeharden-revert@rebooted.service"
    )
