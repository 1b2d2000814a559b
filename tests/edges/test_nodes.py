"""Nodes over real SSH: what is refused, what is put back, and that nothing is half-written."""

from __future__ import annotations

import dataclasses
import random
import re
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import asyncssh
import pytest
import yaml

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import SUDO_PASSWORD_VARIABLE, Nodes
from kubeharden.edges.nodes.nodes import _all
from kubeharden.errors import HostKeyError, NodeError
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Inventory, Node, read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import NodeChange
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden_rehearsal import Rehearsal
from record_support import make_key
from rehearsals import Rehearsals
from ssh_servers import ssh_server
from support import on_node, wait_until

ROOT = Path(__file__).parents[2]


def edited(rehearsal: Rehearsal, name: str, **ssh: object) -> Inventory:
    """The rehearsal's inventory with other SSH settings."""
    raw = yaml.safe_load(rehearsal.inventory.read_text())
    raw["ssh"] |= ssh
    path = rehearsal.inventory.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(raw))
    return read_inventory(path)


def planned(inventory: Inventory, nodes: Nodes, service: str, node: str) -> NodeChange:
    cluster = Cluster(inventory.kubeconfig)
    facts = Facts(nodes=tuple(nodes.observe()), cluster=cluster.observe())
    cluster.close()
    plan = make_plan(facts, Parameters(), read_policies(ROOT / "parameters" / "pod-security.yaml"))
    return next(c for c in plan.node_changes if (c.service, c.node) == (service, node))


def with_config(change: NodeChange, text: str) -> NodeChange:
    """The change with another text for its config file."""
    files = tuple(dataclasses.replace(f, after=text) if f.path.endswith(".conf") else f for f in change.files)
    return dataclasses.replace(change, files=files)


def carry_out(nodes: Nodes, change: NodeChange, run: str) -> None:
    """Begin a transaction and confirm it."""
    begun = nodes.begin(change, run)
    assert begun.outcome == "waiting", begun
    assert nodes.confirm(change.node, run).outcome == "confirmed"


def etc(rehearsal: Rehearsal, node: str) -> dict[str, bytes]:
    """Every file below /etc but the units of transactions, which stay."""
    folder = rehearsal.directory / "nodes" / node / "etc"
    files = (path for path in folder.rglob("*") if path.is_file())
    return {str(path): path.read_bytes() for path in files if not path.name.startswith("kubeharden-")}


def test_an_unknown_host_key_is_refused(article: Rehearsal, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    with (
        Nodes(edited(article, "x", known_hosts=str(tmp_path / "empty"))) as nodes,
        pytest.raises(HostKeyError, match=r"k8s-master: .*not in known_hosts.*SHA256:"),
    ):
        nodes.observe()


def test_a_changed_host_key_is_refused(article: Rehearsal, tmp_path: Path) -> None:
    lines = (article.directory / "known_hosts").read_text().splitlines()
    keys = [line.split(" ", 1) for line in lines]
    swapped = tmp_path / "swapped"
    swapped.write_text(f"{keys[0][0]} {keys[1][1]}\n{keys[1][0]} {keys[0][1]}\n")
    with (
        Nodes(edited(article, "x", known_hosts=str(swapped))) as nodes,
        pytest.raises(HostKeyError, match="has CHANGED"),
    ):
        nodes.observe()


def test_certificate_authority_lines_do_no_harm_and_revoked_keys_are_not_trusted(
    article: Rehearsal, tmp_path: Path
) -> None:
    text = (article.directory / "known_hosts").read_text()
    first = text.splitlines()[0]
    mixed = tmp_path / "mixed"
    mixed.write_text(f"# note\n\n@cert-authority *.example {first.split(' ', 1)[1]}\n{text}")
    with Nodes(edited(article, "x", known_hosts=str(mixed))) as nodes:
        assert len(nodes.observe()) == 2
    mixed.write_text(f"@revoked * {first.split(' ', 1)[1]}\n{text}")
    with Nodes(edited(article, "y", known_hosts=str(mixed))) as nodes, pytest.raises(HostKeyError):
        nodes.observe()


def test_a_login_that_is_refused_and_a_node_that_is_not_there(article: Rehearsal, tmp_path: Path) -> None:
    other = make_key(article.directory, "other_key")
    with (
        Nodes(edited(article, "x", identity_file=str(other))) as nodes,
        pytest.raises(NodeError, match="refuses the login") as error,
    ):
        nodes.observe()
    assert list(error.value.failures) == ["k8s-master", "k8s-node1"]
    assert [str(failure) for failure in error.value.failures.values()] == str(error.value).split("\n")
    assert error.value.__cause__ is error.value.failures["k8s-master"]
    article.stop()
    with (
        Nodes(read_inventory(article.inventory)) as nodes,
        pytest.raises(NodeError, match=r"cannot reach 127\.0\.0\.1"),
    ):
        nodes.observe()


@pytest.fixture
def jump_host(article: Rehearsal, tmp_path: Path) -> Iterator[tuple[int, str]]:
    """An SSH server that forwards connections: its port, and its known_hosts line."""
    client = asyncssh.read_private_key(article.directory / "id_ed25519")
    authorized = tmp_path / "authorized-at-the-jump-host"
    authorized.write_bytes(client.export_public_key())
    with ssh_server(tmp_path / "jump-host", authorized_client_keys=str(authorized)) as server:
        yield server.port, f"[127.0.0.1]:{server.port} {server.public_key}"


def test_a_gateway_is_used_and_its_host_key_is_checked(
    article: Rehearsal, jump_host: tuple[int, str]
) -> None:
    port, line = jump_host
    gateway = f"ops@127.0.0.1:{port}"
    with (
        Nodes(edited(article, "x", gateway=gateway)) as nodes,
        pytest.raises(HostKeyError, match="gateway 127"),
    ):
        nodes.observe()
    known = article.directory / "known_hosts"
    known.write_text(known.read_text() + line)
    with Nodes(edited(article, "y", gateway=gateway)) as nodes:
        assert len(nodes.observe()) == 2


def test_a_change_is_carried_out_once_and_never_over_what_somebody_changed_since(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kube-proxy", "k8s-node1")
        carry_out(nodes, change, "r1")
        before = etc(article, "k8s-node1")
        again = nodes.begin(change, "r2")
        unit = article.directory / "nodes/k8s-node1/etc/systemd/system/kube-proxy.service"
        unit.write_text(unit.read_text() + "# by hand\n")
        stale = nodes.begin(change, "r3")
    assert again.outcome == "unchanged"
    assert stale.outcome == "stale"
    assert "has changed since it was read" in stale.words
    unit.write_text(unit.read_text().removesuffix("# by hand\n"))
    assert etc(article, "k8s-node1") == before


def test_a_service_that_does_not_come_up_is_put_back(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kubelet", "k8s-node1")
        before = etc(article, "k8s-node1")
        result = nodes.begin(with_config(change, "kind: Nonsense\napiVersion: v1\n"), "r1")
        after = nodes.observe(["k8s-node1"])[0]
    assert result.outcome == "reverted"
    assert "the files are as before, and kubelet runs as before" in result.words
    assert etc(article, "k8s-node1") == before
    assert after.services["kubelet"].running
    assert not any("--config" in word for word in after.services["kubelet"].cmdline)


def test_modes_are_kept_and_new_files_are_private(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    unit = article.directory / "nodes/k8s-node1/etc/systemd/system/kubelet.service"
    unit.chmod(0o640)
    with Nodes(inventory) as nodes:
        carry_out(nodes, planned(inventory, nodes, "kubelet", "k8s-node1"), "r1")
    assert oct(unit.stat().st_mode)[-3:] == "640"
    assert (
        oct((article.directory / "nodes/k8s-node1/etc/kubernetes/kubelet.conf").stat().st_mode)[-3:] == "600"
    )


def test_a_link_is_followed_and_stays_a_link(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    units = article.directory / "nodes/k8s-node1/etc/systemd/system"
    (units.parent / "kept").mkdir()
    real = (units / "kubelet.service").rename(units.parent / "kept/kubelet.service")
    (units / "kubelet.service").symlink_to("../kept/kubelet.service")
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kubelet", "k8s-node1")
        carry_out(nodes, change, "r1")
    assert (units / "kubelet.service").is_symlink()
    assert "--config=/etc/kubernetes/kubelet.conf" in real.read_text()


def test_a_file_that_cannot_be_replaced_leaves_the_others_as_they_were(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kubelet", "k8s-node1")
        [config, unit] = change.files
        # A folder in the way: it can be staged beside, but not replaced by a rename.
        blocked = dataclasses.replace(unit, path="/etc/kubernetes/blocked", before=None)
        before = etc(article, "k8s-node1")
        (article.directory / "nodes/k8s-node1/etc/kubernetes/blocked").mkdir()
        (article.directory / "nodes/k8s-node1/etc/kubernetes/blocked/full").touch()
        result = nodes.begin(dataclasses.replace(change, files=(config, blocked)), "r1")
        after = nodes.observe(["k8s-node1"])[0]
    assert result.outcome in ("stale", "failed")
    (article.directory / "nodes/k8s-node1/etc/kubernetes/blocked/full").unlink()
    assert etc(article, "k8s-node1") == before
    assert after.services["kubelet"].running


def test_nothing_is_left_beside_the_files(article: Rehearsal) -> None:
    inventory = read_inventory(article.inventory)
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kubelet", "k8s-node1")
        nodes.begin(with_config(change, "kind: Nonsense\n"), "r1")
        carry_out(nodes, change, "r2")
    assert not list((article.directory / "nodes").rglob("*.kubeharden-new"))


def test_a_sudo_password_is_used_and_never_shown(
    article: Rehearsal, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """With NOPASSWD on the node, sudo does not read the password: it must not end up in the payload."""
    monkeypatch.setenv(SUDO_PASSWORD_VARIABLE, "hunter2horse")
    inventory = edited(article, "x", sudo="password")
    with Nodes(inventory) as nodes:
        change = planned(inventory, nodes, "kube-proxy", "k8s-node1")
        carry_out(nodes, change, "r1")
    shown = "".join(capfd.readouterr())
    written = b"".join(etc(article, "k8s-node1").values())
    assert "hunter2horse" not in shown
    assert b"hunter2horse" not in written


SUDO = """#!/bin/sh
while [ "$1" != -- ]; do shift; done
shift
for try in 1 2 3; do
  IFS= read -r given || exit 1
  echo "$given" >>{log}
  [ "$given" != correct-horse ] || USER=root exec "$@"
  echo 'Sorry, try again.' >&2
done
echo 'sudo: 3 incorrect password attempts' >&2
exit 1
"""


@pytest.mark.parametrize("given", ["battery-staple", "correct-horse"])
def test_a_sudo_password_is_tried_once(
    article: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str
) -> None:
    """Three failures can lock an account: what follows a wrong password is not sent."""
    monkeypatch.setenv(SUDO_PASSWORD_VARIABLE, given)
    log = tmp_path / "log"
    sudo = article.directory / "state/nodes/k8s-node1/bin/sudo"
    sudo.write_text(SUDO.format(log=log))
    with Nodes(edited(article, "x", sudo="password")) as nodes:
        if given == "correct-horse":
            assert [found.name for found in nodes.observe(["k8s-node1"])] == ["k8s-node1"]
        else:
            with pytest.raises(NodeError, match="ops may not become root there: sudo: the password is wrong"):
                nodes.observe(["k8s-node1"])
    assert log.read_text() == f"{given}\n"


def test_without_anybody_to_ask_the_way_out_is_named(
    article: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(SUDO_PASSWORD_VARIABLE, raising=False)
    with pytest.raises(NodeError, match=re.escape(f"read -rs {SUDO_PASSWORD_VARIABLE}")):
        Nodes(edited(article, "x", sudo="password"))


def test_an_api_server_is_asked_on_its_own_node(rehearsals: Rehearsals) -> None:
    rehearsal = rehearsals.fresh("handbuilt-1.20")
    with Nodes(read_inventory(rehearsal.inventory)) as nodes:
        root = rehearsal.directory / "nodes/k8s-master"

        def said() -> str:
            [node] = nodes.observe(["k8s-master"], ["kube-apiserver"])
            return node.services["kube-apiserver"].healthz

        def systemctl(words: str) -> None:
            on_node(rehearsal, "k8s-master", f"systemctl {words}")

        assert said() == "200"
        systemctl("stop etcd")
        assert said() == "500"
        systemctl("start etcd")
        unit = root / "etc/systemd/system/kube-apiserver.service"
        text = unit.read_text()
        unit.write_text(
            text.replace("kube-apiserver \\", "kube-apiserver \\\n  --anonymous-auth=false \\", 1)
        )
        systemctl("daemon-reload")
        systemctl("restart kube-apiserver")
        wait_until(lambda: said() == "401")
        [curl] = rehearsal.directory.rglob("nodes/k8s-master/bin/curl")
        curl.write_text("#!/bin/sh\nprintf 000\n")
        assert said() == "000"
        curl.write_text("#!/bin/sh\nexit 127\n")
        assert said() == ""


def test_answers_are_read_in_the_order_of_the_nodes_by_the_thread_that_asked_for_them() -> None:
    """Threads that need a table would each make it."""
    nodes = [Node(name=f"n{number}", host="h", control_plane=False) for number in range(40)]

    def ask(node: Node) -> tuple[str, int]:
        time.sleep(random.Random(node.name).random() / 50)
        return node.name, threading.get_ident()

    found = _all(ask, nodes, lambda _node, answer: (*answer, threading.get_ident()))
    assert [(name, row[0]) for name, row in found.items()] == [(node.name, node.name) for node in nodes]
    assert {row[2] for row in found.values()} == {threading.get_ident()}
    assert threading.get_ident() not in {row[1] for row in found.values()}
