"""A node that is the machine of the controller: the same scripts, without SSH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from kubeharden.edges.nodes import SUDO_PASSWORD_VARIABLE, Nodes, local
from kubeharden.errors import NodeError, ParameterError
from kubeharden.inputs.inventory import Inventory, read_inventory
from kubeharden_rehearsal import Rehearsal
from rolling import has_config, inventory_of, planned_run

MASTER = "k8s-master"


@pytest.fixture
def inventory(article: Rehearsal, monkeypatch: pytest.MonkeyPatch) -> tuple[Rehearsal, Path]:
    """A rehearsal of which one node is this machine: programs that are asked here are those of that node."""
    nodes = yaml.safe_load(article.inventory.read_text())["nodes"]
    nodes = [
        {"name": MASTER, "control_plane": True, "connection": "local"} if n["name"] == MASTER else n
        for n in nodes
    ]
    [shims] = article.directory.rglob(f"nodes/{MASTER}/bin")
    monkeypatch.setenv("KUBEHARDEN_ROOT", str(article.directory / "nodes" / MASTER))
    monkeypatch.setenv("USER", "root")
    monkeypatch.setenv("PATH", f"{shims}:{os.environ['PATH']}")
    return article, inventory_of(article, "local", nodes=nodes)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, as a local node does without sudo")
def test_a_run_goes_over_ssh_and_over_no_connection_alike(
    inventory: tuple[Rehearsal, Path], tmp_path: Path
) -> None:
    rehearsal, path = inventory
    run = planned_run(rehearsal, tmp_path / "records", path, steps=["kubelet"])
    assert run.nodes.logins()[MASTER] == {"user": "root", "key": "", "host_key": ""}
    run.apply("kubelet")
    assert all(has_config(rehearsal, node) for node in rehearsal.nodes)
    assert "✘" not in str(run.prove())
    run.finish()
    with Nodes(read_inventory(path)) as nodes:
        assert len(nodes.clean([MASTER])[MASTER]) > 3


def only_here(tmp_path: Path, **ssh: str) -> Inventory:
    (tmp_path / "kubeconfig").write_text("")
    content = {
        "cluster": "one",
        "kubeconfig": "kubeconfig",
        "ssh": ssh,
        "nodes": [{"name": MASTER, "control_plane": True, "connection": "local"}],
    }
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
    return read_inventory(tmp_path / "one.yaml")


def fake_sudo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> Path:
    """Put a sudo in front of the real one, for a user who is not root; what it was asked is in the file."""
    asked = tmp_path / "asked"
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/sudo"
    program.write_text(f'#!/bin/sh\necho "$*" | head -n 1 >>{asked}\n{text}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{os.environ['PATH']}")
    monkeypatch.setattr(local.os, "geteuid", lambda: 1000)
    return asked


def test_sudo_is_asked_without_a_password(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = fake_sudo(tmp_path, monkeypatch, "echo 'sudo: a password is required' >&2; exit 1")
    with (
        Nodes(only_here(tmp_path)) as nodes,
        pytest.raises(NodeError, match=r"may not become root there: sudo"),
    ):
        nodes.check()
    assert asked.read_text().startswith("-n -- sh -c :")


def test_sudo_gets_its_password_over_its_input_and_forgets_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f'case "$*" in "-S -v"*) cat >>{tmp_path}/input ;; "-n -- "*) shift 2; exec "$@" ;; esac'
    asked = fake_sudo(tmp_path, monkeypatch, text)
    monkeypatch.setenv(SUDO_PASSWORD_VARIABLE, "much-too-long-to-guess")
    with Nodes(only_here(tmp_path, sudo="password")) as nodes:
        nodes.check()
    assert (tmp_path / "input").read_text() == "much-too-long-to-guess\n"
    assert [line.split()[0] for line in asked.read_text().splitlines()] == ["-S", "-n", "-k"]
    assert "much-too-long" not in asked.read_text()


def test_a_script_that_does_not_end_is_ended_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(local, "script_text", lambda _: "sleep 5005 & wait")
    connection = local.Local(only_here(tmp_path), None, Nodes(only_here(tmp_path)).redactor)
    [node] = only_here(tmp_path).nodes
    with pytest.raises(NodeError, match=rf"{MASTER}: no answer within 1 s"):
        connection.run(node, "observe", [], b"", 1)
    assert subprocess.run(["pgrep", "-f", "sleep 5005"], check=False).returncode == 1


@pytest.mark.parametrize(
    ("node", "words"),
    [
        ({"host": "10.0.0.1"}, "has no host and no port"),
        ({"port": 22}, "has no host and no port"),
        ({"connection": "ssh"}, "has no host, the address that SSH goes to"),
        ({"connection": "telnet"}, "'ssh' or 'local'"),
    ],
    ids=["host", "port", "ssh", "telnet"],
)
def test_a_place_that_does_not_fit_its_connection_is_refused(
    node: dict[str, object], words: str, tmp_path: Path
) -> None:
    (tmp_path / "kubeconfig").write_text("")
    nodes = [{"name": MASTER, "control_plane": True, "connection": "local"} | node]
    content = {"cluster": "one", "kubeconfig": "kubeconfig", "nodes": nodes}
    (tmp_path / "one.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(ParameterError, match=words):
        read_inventory(tmp_path / "one.yaml")
