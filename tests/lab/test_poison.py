"""Poisoned changes on the real cluster: each is put back by the node itself, and nothing else is touched."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime

from changes import Hands
from cluster import forget_leaders, kubectl
from machines import ssh
from places import MASTER, Node, existing
from poison import poisoned
from steps import wait
from truth import Truth, leaders_missing, look, restarted, services_missing, unexplained

from last_words import LEADERS

CONFIG = "/etc/kubernetes/kubelet.conf"
GOOD = """apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
authentication: {x509: {clientCAFile: /etc/kubernetes/pki/ca.crt}}
authorization: {mode: Webhook}
"""


def test_a_config_that_the_kubelet_rejects(worker: Node, at: Callable[..., Hands]) -> None:
    hand = at()
    words = poisoned(hand, hand.kubelet_on_a_file(worker, CONFIG, f"{GOOD}maxPods: many\n"))
    assert "kubelet did not come up; the files are as before, and kubelet runs as before" in words


def test_a_kubelet_that_crashes_after_eight_seconds(worker: Node, at: Callable[..., Hands]) -> None:
    hand = at(settle=12)

    def doomed(unit: str) -> str:
        return unit.replace("ExecStart=/usr/bin/kubelet", "ExecStart=/usr/bin/timeout 8 /usr/bin/kubelet")

    words = poisoned(hand, hand.edited(worker, "kubelet", doomed))
    assert "kubelet did not come up; the files are as before, and kubelet runs as before" in words


def test_a_kubelet_that_runs_and_whose_node_is_not_ready(worker: Node, at: Callable[..., Hands]) -> None:
    """Its kubeconfig names a certificate authority that has not signed the API server's certificate."""
    ssh(
        worker,
        "sudo sh -c 'cd /etc/kubernetes && openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=wrong -days 2 "
        '-keyout /dev/null -out wrong-ca.crt 2>/dev/null && sed "s#certificate-authority-data:.*#'
        "certificate-authority: /etc/kubernetes/wrong-ca.crt#\" kubelet.kubeconfig >wrong.kubeconfig'",
    )
    hand = at(confirm_timeout=20)

    def misled(unit: str) -> str:
        return unit.replace("kubernetes/kubelet.kubeconfig", "kubernetes/wrong.kubeconfig")

    words = poisoned(hand, hand.edited(worker, "kubelet", misled))
    assert "the files are as before, and kubelet runs as before" in words


@contextmanager
def mounted(node: Node, *commands: str, undone: str) -> Iterator[None]:
    for command in commands:
        ssh(node, f"sudo sh -c '{command}'")
    try:
        yield
    finally:
        ssh(node, f"sudo sh -c '{undone}'")


def test_a_full_disk(worker: Node, at: Callable[..., Hands]) -> None:
    hand = at()
    change = hand.kubelet_on_a_file(worker, CONFIG, GOOD + "# filling\n" * 20_000)
    with mounted(
        worker,
        "cp -a /etc/kubernetes /run/kept && mount -t tmpfs -o size=256k tmpfs /etc/kubernetes",
        "cp -a /run/kept/. /etc/kubernetes/",
        "dd if=/dev/zero of=/etc/kubernetes/full bs=4k 2>/dev/null || true",
        undone="umount -l /etc/kubernetes && rm -rf /run/kept",
    ):
        words = poisoned(hand, change)
    assert f"cannot write {CONFIG}" in words
    assert "No space left on device" in words
    assert "nothing was changed" in words


def test_a_read_only_etc(worker: Node, at: Callable[..., Hands]) -> None:
    hand = at()
    with mounted(worker, "mount --bind /etc /etc && mount -o remount,ro,bind /etc", undone="umount -l /etc"):
        words = poisoned(hand, hand.edited(worker, "kube-proxy", lambda unit: f"{unit}# more\n"))
    assert "Read-only file system" in words
    assert "nothing was changed" in words


def test_an_api_server_whose_flags_are_wrong(unhardened_lab: None, at: Callable[..., Hands]) -> None:
    hand = at()
    master = next(node for node in existing() if node.name == MASTER)

    def wrong(unit: str) -> str:
        return unit.replace("--admission-control=", "--admission-control=NoSuchPlugin,")

    words = poisoned(hand, hand.edited(master, "kube-apiserver", wrong))
    assert (
        "kube-apiserver did not come up; the files are as before, and kube-apiserver runs as before" in words
    )
    assert "NoSuchPlugin" in words
    assert kubectl("get", "--raw", "/readyz").strip() == "ok"


def test_who_lost_a_lease_is_told_apart_from_who_was_killed(unhardened_lab: None) -> None:
    """What the test above lets pass, and what it does not."""
    master = next(node for node in existing() if node.name == MASTER)

    def restarts(*commands: str) -> tuple[Truth, Truth]:
        before = look()
        for command in commands:
            ssh(master, f"sudo {command}")
        wait(
            "the API server", lambda: "" if kubectl("get", "--raw", "/readyz", check=False) == "ok" else "no"
        )
        forget_leaders()
        came_back = datetime.now(UTC)
        wait("the leaders", lambda: leaders_missing(came_back), seconds=90)
        wait("every service", lambda: services_missing(before), seconds=60)
        return before, look()

    leaders = {(MASTER, name) for name in LEADERS}
    before, after = restarts(
        "systemctl kill -s KILL kube-apiserver",  # it waits a minute for its watches where it may
        "systemctl stop kube-apiserver",
        "sleep 15",
        "systemctl start kube-apiserver",
    )
    assert restarted(before, after) == leaders | {(MASTER, "kube-apiserver")}
    assert unexplained(before, after, leaders) == {}
    assert set(unexplained(before, after, {(MASTER, "kube-apiserver")})) == {(MASTER, "kube-apiserver")}
    before, after = restarts(
        "systemctl kill -s KILL kube-scheduler", "systemctl restart kube-controller-manager"
    )
    assert restarted(before, after) == leaders
    assert set(unexplained(before, after, leaders)) == leaders
