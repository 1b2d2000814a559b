"""The verdict on every kind of setting."""

from __future__ import annotations

import pytest

from kubeharden import ParameterError, UnknownReleaseError, migrate
from kubeharden.components import paths
from kubeharden.releases import LAST, release_table

BASE = ["kubelet", "--client-ca-file=/ca.crt", "--authorization-mode=Webhook"]


def flags(settings: list) -> set[str]:
    return {setting.flag for setting in settings}


def test_profile_none_moves_and_hardens_nothing() -> None:
    made = migrate("kubelet", "1.20", ["kubelet", "--max-pods=50"], profile="none")
    assert made.hardened == []
    assert made.config["maxPods"] == 50
    # The defaults of a file differ from those of flags, so what holds now is written down.
    assert made.config["readOnlyPort"] == 10255
    assert made.config["authentication"] == {"webhook": {"enabled": False}, "anonymous": {"enabled": True}}
    assert made.config["authorization"] == {"mode": "AlwaysAllow"}


def test_an_unknown_profile_is_named() -> None:
    with pytest.raises(ParameterError, match=r"'cis'.*article, none"):
        migrate("kubelet", "1.20", BASE, profile="cis")


def test_an_unknown_release_is_named() -> None:
    with pytest.raises(UnknownReleaseError, match=rf"1\.9.*1\.10 to {LAST}"):
        migrate("kubelet", "v1.9.3", BASE)


def test_a_flag_that_nobody_knows_is_refused() -> None:
    made = migrate("kubelet", "1.20", [*BASE, "--adress=0.0.0.0"])
    assert flags(made.refused) == {"--adress"}


def test_a_flag_that_the_release_has_lost_is_dropped_with_the_release() -> None:
    made = migrate("kubelet", "1.24", [*BASE, "--network-plugin=cni"])
    [setting] = made.dropped
    assert setting.flag == "--network-plugin"
    assert "removed in 1.24" in setting.why
    assert not any("network-plugin" in word for word in made.argv)


@pytest.mark.parametrize(
    "word",
    [
        "--max-pods=many",
        "--sync-frequency=10",
        "--fail-swap-on=maybe",
        "--authorization-mode=RBAC",
        "--address=local",
    ],
)
def test_an_unreadable_value_is_refused(word: str) -> None:
    made = migrate("kubelet", "1.20", ["kubelet", "--client-ca-file=/ca.crt", word])
    assert flags(made.refused) == {word.partition("=")[0]}


def test_closing_a_kubelet_that_nobody_could_authenticate_to_is_refused() -> None:
    made = migrate("kubelet", "1.20", ["kubelet", "--v=2"])
    [setting] = made.refused
    assert "nobody could authenticate" in setting.why


def test_webhook_authentication_alone_is_not_enough_to_close_it() -> None:
    """The API server has a client certificate for kubelets, and no token."""
    [setting] = migrate("kubelet", "1.20", ["kubelet", "--authentication-token-webhook"]).refused
    assert setting.flag == "--client-ca-file"


def test_flags_win_over_the_file_and_gates_merge_per_key() -> None:
    config = {"maxPods": 10, "featureGates": {"A": True, "B": True}, "clusterDomain": "old"}
    made = migrate(
        "kubelet", "1.20", [*BASE, "--config=/c.yaml", "--max-pods=20", "--feature-gates=B=false"], config
    )
    assert made.config["maxPods"] == 20
    assert made.config["featureGates"] == {"A": True, "B": False}
    assert made.config["clusterDomain"] == "old"
    assert "--config=/c.yaml" in made.argv


def test_a_proxy_with_a_file_ignores_its_flags_already() -> None:
    made = migrate(
        "kube-proxy",
        "1.20",
        ["kube-proxy", "--config=/p.yaml", "--cluster-cidr=10.0.0.0/8"],
        {"mode": "ipvs"},
    )
    assert flags(made.dropped) == {"--cluster-cidr"}
    assert "clusterCIDR" not in made.config


def test_something_stricter_is_kept() -> None:
    made = migrate("kubelet", "1.20", [*BASE, "--tls-min-version=VersionTLS13"])
    assert made.config["tlsMinVersion"] == "VersionTLS13"
    assert "tlsCipherSuites" not in made.config
    suite = "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"
    made = migrate("kubelet", "1.20", [*BASE, f"--tls-cipher-suites={suite}"])
    assert made.config["tlsCipherSuites"] == [suite]


def test_a_duration_of_zero_stays_a_flag_because_the_file_cannot_say_it() -> None:
    made = migrate("kubelet", "1.20", [*BASE, "--authentication-token-webhook-cache-ttl=0s"])
    assert "--authentication-token-webhook-cache-ttl=0s" in made.argv
    assert not made.refused


@pytest.mark.parametrize(
    ("release", "version", "fields"),
    [
        ("1.10", "componentconfig/v1alpha1", True),
        ("1.17", "kubescheduler.config.k8s.io/v1alpha1", True),
        ("1.20", "kubescheduler.config.k8s.io/v1beta1", True),
        ("1.22", "kubescheduler.config.k8s.io/v1beta2", True),
        ("1.24", "kubescheduler.config.k8s.io/v1beta3", False),
        ("1.30", "kubescheduler.config.k8s.io/v1", False),
    ],
)
def test_the_scheduler_gets_the_version_of_its_release(release: str, version: str, fields: bool) -> None:
    made = migrate("kube-scheduler", release, ["kube-scheduler", "--kubeconfig=/s.kubeconfig"])
    assert made.config["apiVersion"] == version
    assert ("healthzBindAddress" in made.config) is fields


def test_a_parameter_that_asks_for_what_holds_is_no_change() -> None:
    made = migrate(
        "kubelet", "1.20", [*BASE, "--cluster-dns=10.0.0.10"], fields={"clusterDNS": ["10.0.0.10"]}
    )
    assert "clusterDNS" not in {s.field for s in made.hardened}


def test_a_parameter_replaces_a_value_and_a_flag() -> None:
    made = migrate(
        "kubelet",
        "1.20",
        [*BASE, "--cluster-dns=10.0.0.10", "--pod-infra-container-image=old:1"],
        fields={"clusterDNS": ["10.0.0.53"]},
        flags={"--pod-infra-container-image": "new:2"},
    )
    assert {(s.flag, str(s.old), str(s.value)) for s in made.hardened if "parameter" in s.why} == {
        ("--cluster-dns", "['10.0.0.10']", "['10.0.0.53']"),
        ("--pod-infra-container-image", "old:1", "new:2"),
    }
    assert "--pod-infra-container-image=new:2" in made.argv


def test_a_parameter_for_a_flag_that_is_gone_is_refused() -> None:
    made = migrate("kubelet", "1.35", BASE, flags={"--pod-infra-container-image": "new:2"})
    assert flags(made.refused) == {"--pod-infra-container-image"}


@pytest.mark.parametrize(
    ("word", "field", "value"),
    [
        (
            "--eviction-hard=memory.available<100Mi,nodefs.available<5%",
            "evictionHard",
            {"memory.available": "100Mi", "nodefs.available": "5%"},
        ),
        ("--system-reserved=cpu=100m,memory=1Gi", "systemReserved", {"cpu": "100m", "memory": "1Gi"}),
        ("--sync-frequency=90s", "syncFrequency", "1m30s"),
        (
            "--enforce-node-allocatable=pods,system-reserved",
            "enforceNodeAllocatable",
            ["pods", "system-reserved"],
        ),
        ("--event-qps=0", "eventRecordQPS", 0),
        ("--pod_manifest_path=/m", "staticPodPath", "/m"),
    ],
)
def test_values_are_converted_with_their_types(word: str, field: str, value: object) -> None:
    assert paths.get(migrate("kubelet", "1.20", [*BASE, word]).config, field) == value


def test_taints_become_objects_where_the_release_has_the_field() -> None:
    word = "--register-with-taints=dedicated=infra:NoSchedule"
    assert word in migrate("kubelet", "1.20", [*BASE, word]).argv
    made = migrate("kubelet", "1.23", [*BASE, word])
    assert made.config["registerWithTaints"] == [
        {"key": "dedicated", "value": "infra", "effect": "NoSchedule"}
    ]


def test_the_last_of_a_repeated_flag_wins_and_lists_grow() -> None:
    made = migrate(
        "kubelet",
        "1.20",
        [*BASE, "--max-pods=1", "--max-pods=2", "--cluster-dns=10.0.0.1", "--cluster-dns=10.0.0.2"],
    )
    assert made.config["maxPods"] == 2
    assert made.config["clusterDNS"] == ["10.0.0.1", "10.0.0.2"]


@pytest.mark.parametrize("component", ["kubelet", "kube-proxy", "kube-scheduler"])
@pytest.mark.parametrize("minor", range(10, 37))
def test_no_release_refuses_its_own_defaults(component: str, minor: int) -> None:
    made = migrate(component, f"1.{minor}", [component, "--v=2"], profile="none")
    assert not made.refused
    assert made.config["apiVersion"] in release_table(component, f"1.{minor}").api_versions


def test_a_default_that_hangs_on_another_field_is_written_down() -> None:
    """nodeStatusUpdateFrequency in the file would make nodeStatusReportFrequency follow it (1.13+)."""
    made = migrate("kubelet", "1.20", [*BASE, "--node-status-update-frequency=10s"])
    assert made.config["nodeStatusReportFrequency"] == "5m0s"
    assert not made.refused
    assert (
        "nodeStatusReportFrequency"
        not in migrate("kubelet", "1.12", [*BASE, "--node-status-update-frequency=10s"]).config
    )


@pytest.mark.parametrize(
    ("component", "release", "word", "kept"),
    [
        ("kube-proxy", "1.12", "--hostname-override=a", False),
        ("kube-proxy", "1.13", "--hostname-override=a", True),
        ("kube-scheduler", "1.21", "--leader-elect=false", False),
        ("kube-scheduler", "1.23", "--leader-elect=false", True),
        ("kube-scheduler", "1.19", "--policy-config-file=/p", False),
        ("kube-scheduler", "1.20", "--policy-config-file=/p", True),
        ("kube-proxy", "1.20", "--master=https://a", True),
    ],
)
def test_flags_that_count_beside_a_file_are_kept(component: str, release: str, word: str, kept: bool) -> None:
    made = migrate(component, release, [component, "--config=/c", word], {})
    assert (word in made.argv) is kept
    assert (word.partition("=")[0] in flags(made.dropped)) is not kept


def test_a_flag_that_counts_beside_a_file_in_some_patch_releases_alone_is_refused() -> None:
    """1.22.0 to 1.22.3 ignore it, 1.22.4 and later do not."""
    words = ["kube-scheduler", "--leader-elect=false"]
    made = migrate("kube-scheduler", "v1.22.17", [*words, "--config=/c"], {})
    assert [(s.flag, s.why.partition(" it ")[0]) for s in made.refused] == [
        ("--leader-elect", "some patch releases of 1.22 ignore")
    ]
    assert not migrate("kube-scheduler", "v1.22.17", words).refused


@pytest.mark.parametrize(
    ("release", "target", "words", "config", "mode"),
    [
        ("1.36", None, [], None, None),
        ("1.37", None, [], None, "iptables"),
        ("1.37", None, ["--proxy-mode=nftables"], None, "nftables"),
        ("1.37", None, ["--config=/c"], {"mode": ""}, "iptables"),
        ("1.37", None, ["--config=/c"], {"mode": "ipvs"}, "ipvs"),
        ("1.36", "1.37", [], None, "iptables"),
        ("1.39", None, [], None, "iptables"),
    ],
)
def test_kube_proxy_says_its_mode_where_the_release_asks_for_it(
    release: str, target: str | None, words: list[str], config: dict | None, mode: str | None
) -> None:
    made = migrate("kube-proxy", release, ["kube-proxy", *words], config, target_release=target)
    assert not made.refused
    assert made.config.get("mode") == mode


@pytest.mark.parametrize(
    ("release", "words", "config"),
    [
        ("1.14", ["--healthz-port=10300"], {"healthzBindAddress": "0.0.0.0:10300"}),
        # From 1.18 on the port only completes an address (AppendPortIfNeeded).
        ("1.20", ["--healthz-port=10300"], {"healthzBindAddress": "0.0.0.0:10256"}),
        ("1.20", ["--metrics-bind-address=127.0.0.1:10249"], {"metricsBindAddress": "127.0.0.1:10249"}),
        ("1.20", ["--healthz-bind-address=10.0.0.1"], {"healthzBindAddress": "10.0.0.1:10256"}),
        (
            "1.20",
            ["--bind-address=::"],
            {
                "bindAddress": "::",
                "healthzBindAddress": "0.0.0.0:10256",
                "metricsBindAddress": "127.0.0.1:10249",
            },
        ),
    ],
)
def test_addresses_of_kube_proxy(release: str, words: list[str], config: dict) -> None:
    made = migrate("kube-proxy", release, ["kube-proxy", *words])
    assert not made.refused
    assert {key: made.config[key] for key in config} == config


def test_a_port_of_0_cannot_be_said_in_kube_proxys_file() -> None:
    assert flags(migrate("kube-proxy", "1.20", ["kube-proxy", "--healthz-port=0"]).refused) == {
        "--healthz-port"
    }


def test_an_existing_file_with_an_address_and_a_port_is_valid() -> None:
    made = migrate(
        "kube-proxy", "1.20", ["kube-proxy", "--config=/c"], {"healthzBindAddress": "0.0.0.0:10256"}
    )
    assert not made.refused


def test_drop_ins_that_are_not_read_are_refused() -> None:
    assert flags(migrate("kubelet", "1.30", [*BASE, "--config-dir=/d"]).refused) == {"--config-dir"}


def test_a_scheduler_name_goes_into_the_first_profile() -> None:
    made = migrate("kube-scheduler", "1.20", ["kube-scheduler", "--scheduler-name=mine"])
    assert made.config["profiles"] == [{"schedulerName": "mine"}]


def test_a_relative_path_stays_a_flag() -> None:
    made = migrate("kubelet", "1.20", ["kubelet", "--client-ca-file=ca.crt", "--pod-manifest-path=manifests"])
    assert not made.refused
    assert {"--client-ca-file=ca.crt", "--pod-manifest-path=manifests"} <= set(made.argv)
    assert "staticPodPath" not in made.config


def test_a_mode_that_exits_is_refused() -> None:
    for component in ("kubelet", "kube-proxy", "kube-scheduler"):
        assert flags(migrate(component, "1.20", [component, "--version"]).refused) == {"--version"}


def test_what_the_release_never_read_is_dropped_from_the_file() -> None:
    kind = {"kind": "KubeSchedulerConfiguration"}
    old = {**kind, "apiVersion": "componentconfig/v1alpha1", "featureGates": {"A": True}}
    made = migrate("kube-scheduler", "1.10", ["kube-scheduler", "--config=/c"], old)
    assert "featureGates" not in made.config
    [setting] = made.dropped
    assert "--feature-gates" in setting.why
    strict = {**kind, "apiVersion": "kubescheduler.config.k8s.io/v1beta1", "featureGates": {"A": True}}
    [setting] = migrate("kube-scheduler", "1.20", ["kube-scheduler", "--config=/c"], strict).refused
    assert setting.field == "featureGates"


def test_port_0_cannot_be_said_in_the_schedulers_file() -> None:
    assert flags(migrate("kube-scheduler", "1.20", ["kube-scheduler", "--port=0"]).refused) == {"--port"}
