"""Services whose units have names of their own: found by what runs or named in the inventory."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.nodes.session import script_text
from kubeharden.facts import Facts, NodeFacts, observation_request, parse_observation
from kubeharden.inputs.inventory import Inventory, read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import NodeChange
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden_rehearsal import Rehearsal
from support import on_node

ROOT = Path(__file__).parents[2]
SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]
NODE = "k8s-node1"


def rename_kubelet(rehearsal: Rehearsal) -> None:
    folder = rehearsal.directory / "nodes" / NODE / "etc/systemd/system"
    on_node(rehearsal, NODE, "sudo systemctl stop kubelet")
    (folder / "kubelet.service").rename(folder / "k8s-kubelet.service")
    on_node(rehearsal, NODE, "sudo systemctl daemon-reload && sudo systemctl start k8s-kubelet")


def with_services(rehearsal: Rehearsal, services: Mapping[str, str], *, of_node: bool) -> Inventory:
    raw = yaml.safe_load(rehearsal.inventory.read_text())
    place = next(node for node in raw["nodes"] if node["name"] == NODE) if of_node else raw
    place["services"] = dict(services)
    path = rehearsal.inventory.with_name("named.yaml")
    path.write_text(yaml.safe_dump(raw))
    return read_inventory(path)


def planned(inventory: Inventory, nodes: Nodes) -> NodeChange:
    cluster = Cluster(inventory.kubeconfig)
    facts = Facts(nodes=tuple(nodes.observe()), cluster=cluster.observe())
    cluster.close()
    plan = make_plan(facts, Parameters(), read_policies(ROOT / "parameters" / "pod-security.yaml"))
    return next(c for c in plan.node_changes if (c.service, c.node) == ("kubelet", NODE))


@pytest.mark.parametrize("way", ["found", "named on its node", "named for all"])
def test_a_unit_of_another_name_is_read_changed_and_restarted(article: Rehearsal, way: str) -> None:
    inventory = read_inventory(article.inventory)
    rename_kubelet(article)
    if way != "found":
        inventory = with_services(
            article, {"kubelet": "k8s-kubelet.service"}, of_node=way == "named on its node"
        )
    with Nodes(inventory) as nodes:
        seen = next(node for node in nodes.observe() if node.name == NODE).services["kubelet"]
        assert (seen.unit, seen.running) == ("k8s-kubelet", True)
        if way == "named for all":
            return
        change = planned(inventory, nodes)
        assert change.unit == "k8s-kubelet"
        assert "/etc/systemd/system/k8s-kubelet.service" in [file.path for file in change.files]
        begun = nodes.begin(change, "one")
        assert begun.outcome == "waiting", begun
        assert nodes.confirm(NODE, "one").outcome == "confirmed"
        then = next(node for node in nodes.observe([NODE])).services["kubelet"]
        assert list(then.cmdline) == list(change.expected_argv)
        boot = article.directory / "nodes" / NODE / "etc/systemd/system/kubeharden-boot.service"
        assert " k8s-kubelet.service " in boot.read_text()


SYSTEMCTL = """for name in "$@"; do
  case $name in
  k8s-kubelet.service) printf 'Id=%s\\nLoadState=loaded\\nMainPID=7\\nFragmentPath=/u\\n\\n' "$name" ;;
  *.service) printf 'Id=%s\\nLoadState=not-found\\nActiveState=inactive\\nMainPID=0\\n\\n' "$name" ;;
  esac
done"""
PROCESSES = {
    # Its cgroup, and whether that is a service.
    "a service": ("0::/system.slice/k8s-kubelet.service", "k8s-kubelet", ""),
    "a service, cgroup v1": (
        "3:cpu:/x.service\n1:name=systemd:/system.slice/k8s-kubelet.service",
        "k8s-kubelet",
        "",
    ),
    "a container": ("0::/system.slice/docker-0a1b.scope", "kubelet", "/system.slice/docker-0a1b.scope"),
    "docker's own group": ("1:name=systemd:/docker/0a1b", "kubelet", "/docker/0a1b"),
    "a pod": ("0::/kubepods/burstable/pod1/0a1b", "kubelet", ""),
    "a pod below a service": ("0::/system.slice/containerd.service/kubepods-x.slice:cri:1", "kubelet", ""),
    "a user's service": ("0::/user.slice/user-0.slice/user@0.service/x.service", "kubelet", ""),
}
COMMANDS = {
    "kubelet": ("kubelet", "/usr/bin/kubelet\0--v=2\0"),
    "hyperkube": ("hyperkube", "/opt/hyperkube\0kubelet\0--v=2\0"),
    "a name of its own": ("site-kubelet", "/opt/site-kubelet\0--v=2\0"),
}


def process(
    folder: Path, number: int, command: tuple[str, str], cgroup: str = "", children: str = ""
) -> Path:
    made = folder / "root/proc" / str(number)
    (made / "task" / str(number)).mkdir(parents=True)
    (made / "task" / str(number) / "children").write_text(children)
    (made / "comm").write_text(f"{command[0]}\n")
    (made / "cmdline").write_text(command[1])
    (made / "cgroup").write_text(f"{cgroup}\n")
    return made


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def look(
    folder: Path,
    shell: list[str],
    systemctl: str = SYSTEMCTL,
    services: Sequence[str] | None = ("kubelet", "kube-proxy"),
) -> NodeFacts:
    tools = folder / "bin"
    program(tools / "systemctl", systemctl)
    program(tools / "journalctl", "")
    words = [*shell, "-c", script_text("observe"), "observe", *observation_request(services)]
    env = {"PATH": f"{tools}:/usr/bin:/bin", "KUBEHARDEN_ROOT": str(folder / "root")}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    assert not done.stderr
    return parse_observation("n1", control_plane=False, answer=done.stdout)


def seen_on(
    folder: Path, shell: list[str], cgroup: str, command: tuple[str, str]
) -> tuple[str, Mapping[str, str]]:
    process(folder, 7, command, cgroup)
    node = look(folder, shell)
    assert not node.services["kube-proxy"].loaded
    return node.services["kubelet"].unit, node.elsewhere


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("place", PROCESSES)
def test_a_service_is_found_by_the_control_group_of_what_runs(
    tmp_path: Path, shell: list[str], place: str
) -> None:
    cgroup, unit, elsewhere = PROCESSES[place]
    found = seen_on(tmp_path, shell, cgroup, COMMANDS["kubelet"])
    assert found == (unit, {"kubelet": elsewhere} if elsewhere else {})


@pytest.mark.parametrize("command", COMMANDS)
def test_a_service_is_found_by_its_program(tmp_path: Path, command: str) -> None:
    cgroup, unit, _ = PROCESSES["a service"]
    assert seen_on(tmp_path, SHELLS[0], cgroup, COMMANDS[command]) == (unit, {})


def test_another_program_of_that_name_is_left_alone(tmp_path: Path) -> None:
    cgroup, _, _ = PROCESSES["a service"]
    assert seen_on(tmp_path, SHELLS[0], cgroup, ("kubelet-watch", "/bin/sh\0/opt/kubelet-watch\0")) == (
        "kubelet",
        {},
    )


NAMES = {
    # The file of the program, its comm (15 characters), and whether it is the kubelet or kube-proxy.
    "kubelet-v1.20.2": True,
    "kubelet_1.20.2-00": True,
    "kubelet1.20": True,
    "kubelet.real": True,
    "kubelet-linux-amd64": True,
    "kubelet-arm64": True,
    "acme-production-site-kubelet": True,
    "kubelet-exporter": False,
    "kubelet_exporter": False,
    "kubelet-csr-approver": False,
    "kubelet-summary-collector": False,
    "kubelets": False,
    "kubeletctl": False,
}


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_known_by_its_name(tmp_path: Path, name: str) -> None:
    found = seen_on(tmp_path, SHELLS[0], PROCESSES["a service"][0], (name[:15], f"/opt/{name}\0--v=2\0"))
    assert found == ("k8s-kubelet" if NAMES[name] else "kubelet", {})


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_each_service_that_runs_a_component_is_named(tmp_path: Path, shell: list[str]) -> None:
    for number, unit in ((7, "k8s-kubelet"), (8, "k8s-kubelet"), (9, "a-kubelet"), (10, "kubelet@b")):
        process(tmp_path, number, COMMANDS["kubelet"], f"0::/x.slice/{unit}.service")
    process(tmp_path, 11, COMMANDS["kubelet"], PROCESSES["a pod"][0])
    process(tmp_path, 12, ("my program", "/opt/my program\0kubelet\0"), "0::/system.slice/other.service")
    node = look(tmp_path, shell)
    assert sorted(node.other_units("kubelet")) == ["a-kubelet", "k8s-kubelet", "kubelet@b"]
    assert not node.services["kubelet"].loaded
    assert (node.elsewhere, node.other_units("kube-proxy")) == ({}, ())


def test_a_service_beside_the_one_of_its_name_is_named_for_a_plan(tmp_path: Path) -> None:
    process(tmp_path, 7, COMMANDS["kubelet"], "0::/system.slice/kubelet.service")
    process(tmp_path, 8, COMMANDS["kubelet"], "0::/system.slice/docker-0a1b.scope")
    process(tmp_path, 9, COMMANDS["hyperkube"], "0::/system.slice/second.service")
    systemctl = SYSTEMCTL.replace("k8s-kubelet.service", "kubelet.service")
    node = look(tmp_path, SHELLS[0], systemctl, services=None)
    assert node.services["kubelet"].unit == "kubelet"
    assert (node.other_units("kubelet"), node.elsewhere) == (("second",), {})
    assert not look(tmp_path, SHELLS[0], systemctl).other_units(
        "kubelet"
    )  # after each restart: it takes time


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_the_version_is_that_of_the_program_and_of_no_other(tmp_path: Path, shell: list[str]) -> None:
    group = PROCESSES["a service"][0]
    program(tmp_path / "root/usr/bin/tini", "echo tini version 0.19.0")
    first = process(tmp_path, 7, ("tini", "/usr/bin/tini\0--\0/usr/bin/kubelet\0"), group, children="8")
    kubelet = process(tmp_path, 8, ("kubelet", "/usr/bin/kubelet\0--v=2\0"), group)
    program(kubelet / "exe", "echo Kubernetes v1.20.2")
    assert look(tmp_path, shell).services["kubelet"].version == "v1.20.2"
    (first / "task/7/children").write_text("")
    assert look(tmp_path, shell).services["kubelet"].version == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_hyperkube_is_asked_for_the_version_of_what_it_runs(tmp_path: Path, shell: list[str]) -> None:
    process(tmp_path, 7, COMMANDS["hyperkube"], PROCESSES["a service"][0])
    program(tmp_path / "root/opt/hyperkube", '[ "$1 $2" = "kubelet --version" ] && echo Kubernetes v1.18.3')
    assert look(tmp_path, shell).services["kubelet"].version == "v1.18.3"
