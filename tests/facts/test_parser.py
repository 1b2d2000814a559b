"""The request to the node script, and what is read from its answer."""

from __future__ import annotations

import pytest

from kubeharden.facts import observation_request, parse_observation
from kubeharden.releases import known_components

ANSWER = """@observation m1

m1 host
hostname=k8s-master
kubernetes_user=kubernetes wheel
router_user=

m1 show {name}
LoadState=loaded
m1 version {name}
{version}
m1 end
"""


@pytest.mark.parametrize(
    ("name", "answer", "version"),
    [
        ("kubelet", "Kubernetes v1.20.2\n", "v1.20.2"),
        (
            "etcd",
            "etcd Version: 3.4.13\nGit SHA: ae9734ed2\nGo Version: go1.12.17\nGo OS/Arch: linux/amd64\n",
            "3.4.13",
        ),
        ("kube-proxy", "", ""),
    ],
)
def test_a_version_is_the_last_word_of_the_first_line(name: str, answer: str, version: str) -> None:
    node = parse_observation("k8s-master", True, ANSWER.format(name=name, version=answer))
    assert node.services[name].version == version


def test_groups_are_those_of_users_that_the_node_has() -> None:
    node = parse_observation("k8s-master", True, ANSWER.format(name="etcd", version=""))
    assert node.groups == {"kubernetes": ("kubernetes", "wheel")}


def test_all_components_are_asked_for_in_the_order_of_their_rows() -> None:
    admission = "/etc/kubernetes/admission.yaml=admission-control-config-file"
    shown = "tls-cert-file:tlsCertFile:cert-dir:/var/lib/kubelet/pki:kubelet.crt:kubelet-server-current.pem"
    assert observation_request() == [
        "user=kubernetes",
        f"kubelet,/etc/kubernetes/kubelet.conf,certificates={shown}",
        "kube-proxy,/etc/kubernetes/kube-proxy.conf,configz=http://127.0.0.1:10249/configz",
        "kube-scheduler,/etc/kubernetes/kube-scheduler.conf,configz:23=http://127.0.0.1:10251/configz",
        f"kube-apiserver,{admission},healthz=bind-address:secure-port:6443",
        "kube-controller-manager",
        "etcd",
    ]
    assert len(observation_request()) == 1 + len(known_components())
    assert observation_request(["etcd"]) == ["etcd"]


def test_no_word_of_the_request_is_taken_apart_by_a_shell() -> None:
    assert not [word for word in observation_request() if set(word) & set(" \t\n*?[]$`\\\"';&|<>()#~")]
