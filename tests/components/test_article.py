"""The article's hand-written files are the specification: what is made from its cluster must say the same."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from kubeharden.components import migrate, paths
from kubeharden.components.flags import split_flags
from kubeharden.components.units import Service, Unit
from kubeharden.releases import release_table

ARTICLE = Path(__file__).parents[1] / "fixtures" / "article"

KUBELET = """
    /usr/bin/kubelet --feature-gates=RotateKubeletServerCertificate=true --address=0.0.0.0
    --bootstrap-kubeconfig=/etc/kubernetes/bootstrap.kubeconfig
    --kubeconfig=/etc/kubernetes/kubelet.kubeconfig --pod-manifest-path=/etc/kubernetes/manifests
    --network-plugin=cni --cni-conf-dir=/etc/cni/net.d --cni-bin-dir=/opt/cni/bin --cluster-dns=10.0.0.10
    --cluster-domain=cluster.local --authorization-mode=Webhook --client-ca-file=/etc/kubernetes/pki/ca.crt
    --cert-dir=/etc/kubernetes/pki --rotate-certificates=true --v=2 --cgroup-driver=cgroupfs
    --pod-infra-container-image=k8s.gcr.io/pause-amd64:3.1 --tls-min-version=VersionTLS10
    --allow-privileged=true
""".split()
PROXY = """
    /usr/bin/kube-proxy --feature-gates=RotateKubeletServerCertificate=true --bind-address 0.0.0.0
    --kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig --v=2
""".split()
SCHEDULER = """
    /usr/bin/kube-scheduler --feature-gates=RotateKubeletServerCertificate=true
    --kubeconfig=/etc/kubernetes/scheduler.kubeconfig --address=0.0.0.0 --v=2
""".split()


def article(name: str) -> dict:
    return yaml.safe_load((ARTICLE / name).read_text())


def article_flags(unit: str, component: str) -> set[str]:
    service = Service(((unit, Unit.parse((ARTICLE / unit).read_text())),), {})
    return {use.text for use in split_flags(service.argv()[1:], release_table(component, "1.10"))}


def leaves(config: dict, prefix: str = "") -> dict:
    found = {}
    for key, value in config.items():
        if isinstance(value, dict):
            found |= leaves(value, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = value
    return found


def test_the_kubelet_file_has_every_value_of_the_article() -> None:
    made = yaml.safe_load(migrate("kubelet", "1.10", KUBELET).yaml)
    wanted = leaves(article("kubelet.conf"))
    # The one departure: 0s means "unset" to every release, and 2m0s is what it then uses.
    assert wanted.pop("authentication.webhook.cacheTTL") == "0s"
    assert made["authentication"]["webhook"].pop("cacheTTL") == "2m0s"
    assert leaves(made) == wanted


def test_the_kubelet_file_lists_the_same_parameters_as_comments() -> None:
    def commented(text: str) -> dict:
        lines = [line[2:] for line in text.splitlines() if line.startswith("# ")]
        return yaml.safe_load("\n".join(lines))

    made = commented(migrate("kubelet", "1.10", KUBELET).yaml)
    assert made == commented((ARTICLE / "kubelet.conf").read_text())


def test_the_kubelet_file_has_the_fields_in_the_order_of_the_article() -> None:
    assert list(migrate("kubelet", "1.10", KUBELET).config) == list(article("kubelet.conf"))


def test_the_kubelet_keeps_exactly_the_flags_of_the_article() -> None:
    left = {
        use.text
        for use in split_flags(migrate("kubelet", "1.10", KUBELET).argv[1:], release_table("kubelet", "1.10"))
    }
    assert left == article_flags("kubelet.service", "kubelet")


def test_the_kubelet_is_hardened_in_four_values_and_nothing_else() -> None:
    hardened = {s.field: (s.old, s.value) for s in migrate("kubelet", "1.10", KUBELET).hardened}
    suites = article("kubelet.conf")["tlsCipherSuites"]
    assert hardened == {
        "authentication.anonymous.enabled": (True, False),
        "tlsMinVersion": ("VersionTLS10", "VersionTLS12"),
        "tlsCipherSuites": (None, suites),
        "readOnlyPort": (10255, 0),
    }


def test_the_proxy_file_has_every_value_of_the_article() -> None:
    made = migrate("kube-proxy", "1.10", PROXY, fields={"clusterCIDR": "10.32.0.0/16"})
    assert yaml.safe_load(made.yaml) == article("kube-proxy.conf")
    assert {*made.argv[1:]} == article_flags("kube-proxy.service", "kube-proxy")


def test_the_proxy_has_no_cluster_cidr_where_none_is_known() -> None:
    assert "clusterCIDR" not in migrate("kube-proxy", "1.10", PROXY).config


def test_the_scheduler_file_says_what_the_article_meant() -> None:
    made = migrate("kube-scheduler", "1.10", SCHEDULER)
    assert yaml.safe_load(made.yaml) == {
        "kind": "KubeSchedulerConfiguration",
        "apiVersion": "componentconfig/v1alpha1",
        # the article writes 0.0.0.0 without a port, which 1.10 replaces
        "healthzBindAddress": "0.0.0.0:10251",
        "metricsBindAddress": "0.0.0.0:10251",
        # the path that the unit has, not the one that the article's file names
        "clientConnection": {"kubeconfig": "/etc/kubernetes/scheduler.kubeconfig"},
    }
    # featureGates has never been a field of that file: the gate stays a flag
    assert made.argv[1:] == [
        "--feature-gates=RotateKubeletServerCertificate=true",
        "--config=/etc/kubernetes/kube-scheduler.conf",
        "--v=2",
    ]


@pytest.mark.parametrize(
    ("component", "argv"), [("kubelet", KUBELET), ("kube-proxy", PROXY), ("kube-scheduler", SCHEDULER)]
)
def test_migrating_the_result_changes_nothing(component: str, argv: list[str]) -> None:
    first = migrate(component, "1.10", argv)
    second = migrate(component, "1.10", first.argv, first.config)
    assert (second.config, second.argv, second.yaml) == (first.config, first.argv, first.yaml)
    assert not second.moved
    assert not second.hardened
    assert not second.refused


@pytest.mark.parametrize(
    ("release", "verdict"),
    [("1.10", "kept"), ("1.11", "dropped"), ("1.14", "dropped"), ("1.15", "dropped")],
)
def test_allow_privileged_goes_where_the_release_no_longer_needs_it(release: str, verdict: str) -> None:
    made = migrate("kubelet", release, KUBELET)
    assert [s.flag for s in getattr(made, verdict) if s.flag == "--allow-privileged"] == [
        "--allow-privileged"
    ]
    assert ("--allow-privileged=true" in made.argv) is (verdict == "kept")


def test_allow_privileged_false_is_not_lost() -> None:
    argv = [*KUBELET[:-1], "--allow-privileged=false"]
    assert "--allow-privileged=false" in migrate("kubelet", "1.13", argv).argv


def test_the_effective_configuration_changes_in_the_hardened_fields_only() -> None:
    made = migrate("kubelet", "1.20", [a for a in KUBELET if "allow-privileged" not in a])
    before, after = leaves(made.before), leaves(made.after)
    changed = {path for path in {**before, **after} if before.get(path) != after.get(path)}
    assert changed == {s.field for s in made.hardened}


def test_a_forgotten_flag_would_be_noticed() -> None:
    """The article's hand edit on a real 1.20 cluster forgot --fail-swap-on=false."""
    made = migrate("kubelet", "1.20", [*KUBELET[:-1], "--fail-swap-on=false"])
    assert paths.get(made.config, "failSwapOn") is False
