"""Inventories: strict, and every mistake is named with its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeharden.errors import ParameterError
from kubeharden.inputs.inventory import read_inventory

GOOD = """\
cluster: lab
kubeconfig: admin.kubeconfig
ssh: {user: ops, identity_file: id, known_hosts: known}
nodes:
- {name: k8s-master, host: 10.88.0.10, control_plane: true}
- {name: k8s-node1, host: 10.88.0.11, port: 2222}
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("admin.kubeconfig", "id", "known"):
        (tmp_path / name).write_text("")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "lab.yaml"
    path.write_text(text)
    return path


def test_paths_are_relative_to_the_file(folder: Path) -> None:
    inventory = read_inventory(write(folder, GOOD))
    assert inventory.kubeconfig == str(folder / "admin.kubeconfig")
    assert inventory.ssh.identity_file == str(folder / "id")
    assert [(node.name, node.port) for node in inventory.nodes] == [("k8s-master", None), ("k8s-node1", 2222)]


def test_units_have_names_for_all_nodes_and_for_one(folder: Path) -> None:
    text = GOOD.replace("port: 2222", "services: {kubelet: my-kubelet}")
    services = "services: {kubelet: k8s-kubelet.service, kube-proxy: k8s-kube-proxy}\n"
    inventory = read_inventory(write(folder, text + services))
    odd = GOOD.replace("port: 2222", "services: {kubelet: k@1.service, kube-proxy: a.timer.service}")
    assert read_inventory(write(folder, odd)).nodes[1].services == {"kubelet": "k@1", "kube-proxy": "a.timer"}
    assert [inventory.units_of(node) for node in inventory.nodes] == [
        {"kubelet": "k8s-kubelet", "kube-proxy": "k8s-kube-proxy"},
        {"kubelet": "my-kubelet", "kube-proxy": "k8s-kube-proxy"},
    ]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("cluster: lab", "clustr: lab", r"clustr: there is no such key"),
        ("cluster: lab\n", "", r"cluster: is missing"),
        ("user: ops", "user: 7", r"ssh.user: expected the name of a user"),
        ("port: 2222", "port: 70000", r"nodes.1.port: .*65535"),
        ("port: 2222", "port: '22'", r"nodes.1.port: .*integer"),
        ("name: k8s-node1", "name: k8s-master", r"named twice: k8s-master"),
        ("name: k8s-node1", "name: K8S_NODE", r"nodes.1.name"),
        ("host: 10.88.0.11", "host: -oProxyCommand=x", r"nodes.1.host"),
        (", control_plane: true", "", r"none has control_plane"),
        *(
            (
                "{name: k8s-node1, host: 10.88.0.11, port: 2222}",
                text,
                r"one machine: .*\(k8s-master, k8s-node1\)",
            )
            for text in (
                "{name: k8s-node1, host: 10.88.0.10}",
                "{name: k8s-node1, host: 10.88.0.10, port: 22}",
                "{name: k8s-node1, host: '10.88.0.10:22'}",
                "{name: k8s-node1, host: '[10.88.0.10]:22'}",
                "{name: k8s-node1, host: root@10.88.0.10}",
                "{name: k8s-node1, host: 10.88.0.10.}",
            )
        ),
        (
            "cluster: lab",
            "cluster: lab\nservices: {kublet: k8s-kubelet}",
            r"services: kublet is not known; .*kubelet",
        ),
        ("cluster: lab", "cluster: lab\nservices: {kubelet: a b}", r"services.kubelet: .*pattern"),
        (
            "port: 2222",
            "services: {kubelet: k@.service}",
            r"services.kubelet: is the name of a template; .* instance",
        ),
        ("port: 2222", "services: {kubelet: k@}", r"services.kubelet: is the name of a template"),
        (
            "port: 2222",
            "services: {kubelet: x.timer}",
            r"services.kubelet: is the name of a timer; .*service itself",
        ),
        ("port: 2222", "services: {kubelet: k.socket}", r"services.kubelet: is the name of a socket"),
        ("port: 2222", "services: {kubelet: -H}", r"services.kubelet: .*pattern"),
        (
            "name: k8s-node1",
            "name: Node1",
            r"nodes.1.name: expected the name of its Node object: small letters",
        ),
        (
            "control_plane: true",
            "control-plane: true",
            r"control-plane: there is no such key; did you mean control_plane",
        ),
        # Of the keys of the same place one is meant, or the same key in another place: never a key that is wrong, too.
        ("user: ops", "usr: ops", r"ssh.usr: there is no such key; did you mean user\?"),
        ("user: ops", "hostt: x", r"ssh.hostt: there is no such key$"),
        (
            "host: 10.88.0.11",
            "user: ops, host: 10.88.0.11",
            r"nodes.1.user: there is no such key here; there is one of ssh$",
        ),
        (
            "user: ops",
            "cluster: x",
            r"ssh.cluster: there is no such key here; there is one of the file itself$",
        ),
        (
            "host: 10.88.0.11",
            "host: ssh://ops@10.88.0.11",
            r"k8s-node1: its host is not a name or an address",
        ),
        ("host: 10.88.0.11", "host: '10.88.0.11:22:22'", r"k8s-node1: its host is not .*\[::1\]:22"),
        ("host: 10.88.0.11", "host: 'a;b'", r"k8s-node1: its host is not a name"),
        (
            "host: 10.88.0.11",
            "host: '10.88.0.11 '",
            r"nodes.1.host: expected a name or an address, with user@",
        ),
        ("user: ops", "user: ops, sudo: yes", r"ssh.sudo: expected nopasswd, or password"),
        ("user: ops", "user: 'a b'", r"ssh.user: expected the name of a user"),
        ("user: ops", "user: ops, gateway: 'a,b'", r"ssh.gateway: expected one host"),
        (
            "identity_file: id",
            "identity_file: $HOME/id",
            r"identity_file names .*Variables are not filled in",
        ),
        ("port: 2222", "services: {kubelet: 7}", r"nodes.1.services.kubelet: .*string"),
        ("known_hosts: known", "known_hosts: nowhere", r"ssh.known_hosts names .*nowhere"),
        ("identity_file: id", "identity_file: nokey", r"ssh.identity_file names .*nokey"),
        ("admin.kubeconfig", "other.kubeconfig", r"kubeconfig names .*other.kubeconfig"),
        ("admin.kubeconfig", "admin.kubeconfig:other", r"no such file. Are these several, .* view --flatten"),
        ("user: ops", "user: ops, sudo: maybe", r"ssh.sudo: expected nopasswd"),
        ("cluster: lab", "cluster: [", r"not YAML"),
        (GOOD, "just text", r"holds no mapping"),
    ],
)
def test_mistakes_are_named(folder: Path, old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ParameterError, match=message):
        read_inventory(write(folder, GOOD.replace(old, new)))


def test_the_name_of_a_host_has_no_case_and_the_usual_port_is_that_of_the_inventory(folder: Path) -> None:
    text = GOOD.replace("10.88.0.10", "Master").replace("user: ops", "user: ops, port: 2222")
    with pytest.raises(ParameterError, match="one machine"):
        read_inventory(write(folder, text.replace("10.88.0.11", "master")))
    assert read_inventory(write(folder, text.replace("10.88.0.11, port: 2222", "master, port: 22")))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"cannot read .*nowhere.yaml.*inventory.example.yaml"):
        read_inventory(tmp_path / "nowhere.yaml")


def test_the_shipped_example_is_right(folder: Path) -> None:
    example = Path(__file__).parents[2] / "parameters" / "inventory.example.yaml"
    (folder / "id_ed25519").write_text("")
    (folder / "known_hosts").write_text("")
    assert read_inventory(write(folder, example.read_text())).cluster == "lab"


@pytest.mark.parametrize(
    "host",
    ["n1", "10.0.0.1:22", "ops@n1.example", "fe80::1%eth0", "[2001:db8::1]:22", "a@b@n1", "m\u00fcnchen"],
)
def test_a_host_is_a_name_or_an_address(folder: Path, host: str) -> None:
    text = GOOD.replace("host: 10.88.0.11, port: 2222", f"host: '{host}'")
    assert read_inventory(write(folder, text)).nodes[1].host == host


@pytest.mark.parametrize("user", ["ops", "DOM\\ops", "ops@corp.example", "o_p.s-1"])
def test_a_user_may_be_of_a_domain(folder: Path, user: str) -> None:
    assert read_inventory(write(folder, GOOD.replace("user: ops", f"user: '{user}'"))).ssh.user == user


@pytest.mark.parametrize(
    ("said", "found"),
    [
        ("10.0.0.0/16", ["10.0.0.0/16"]),
        ("10.0.0.0/16,fd00:10::/112", ["10.0.0.0/16", "fd00:10::/112"]),
        ("[fd00:10::/112, 10.0.0.0/16]", ["fd00:10::/112", "10.0.0.0/16"]),
    ],
)
def test_a_service_range_is_one_network_or_one_of_each_family(
    folder: Path, said: str, found: list[str]
) -> None:
    inventory = read_inventory(write(folder, f"{GOOD}service_cluster_ip_range: {said}\n"))
    assert [str(network) for network in inventory.service_cluster_ip_range or ()] == found


@pytest.mark.parametrize(
    "said",
    [
        "10.0.0.0/16,10.1.0.0/16",
        "10.0.0.7/16",
        "10.0.0.0/16,",
        "x",
        "7",
        "[]",
        "[7]",
        "10.0.0.0/16, fd00::/112",
        "{a: b}",
    ],
)
def test_another_service_range_is_refused(folder: Path, said: str) -> None:
    with pytest.raises(ParameterError, match="service_cluster_ip_range"):
        read_inventory(write(folder, f"{GOOD}service_cluster_ip_range: {said}\n"))
