"""What stands between a node and a later release, and the form that both accept."""

from __future__ import annotations

from typing import Any

import pytest

from kubeharden import Effect, KubehardenError, ParameterError, UnknownReleaseError, migrate, readiness
from kubeharden.components import Finding
from kubeharden.releases import LAST, Release, feature_gates

SCHEDULER = "kubescheduler.config.k8s.io"
KIND = {"kind": "KubeSchedulerConfiguration"}


def named(findings: list[Finding]) -> set[tuple[str, str, str]]:
    return {(str(f.release), f.effect.name, f.setting) for f in findings}


@pytest.mark.parametrize(
    ("component", "running", "target", "words", "wanted"),
    [
        ("kubelet", "1.14", "1.15", ["--allow-privileged=true"], ("1.15", "STOPS", "--allow-privileged")),
        ("kubelet", "1.20", "1.24", ["--network-plugin=cni"], ("1.21", "WARNS", "--network-plugin")),
        ("kubelet", "1.20", "1.24", ["--network-plugin=cni"], ("1.24", "STOPS", "--network-plugin")),
        ("kubelet", "1.23", "1.24", [], ("1.24", "STOPS", "--container-runtime")),
        ("kubelet", "1.26", "1.27", [], ("1.27", "CHANGES", "eventRecordQPS")),
        ("kubelet", "1.26", "1.27", ["--container-runtime=remote"], ("1.27", "STOPS", "--container-runtime")),
        (
            "kubelet", "1.34", "1.36", ["--pod-infra-container-image=p:1"],
            ("1.35", "STOPS", "--pod-infra-container-image"),
        ),
        (
            "kubelet", "1.20", "1.21", ["--feature-gates=RotateKubeletClientCertificate=true"],
            ("1.21", "STOPS", "featureGates.RotateKubeletClientCertificate"),
        ),
        (
            "kubelet", "1.10", "1.11", ["--feature-gates=RotateKubeletServerCertificate=true"],
            ("1.11", "CHANGES", "featureGates.RotateKubeletServerCertificate"),
        ),
        ("kube-proxy", "1.25", "1.26", ["--proxy-mode=userspace"], ("1.26", "STOPS", "mode")),
        ("kube-proxy", "1.36", "1.37", [], ("1.37", "WARNS", "mode")),
        ("kube-proxy", "1.30", "1.31", ["--cluster-cidr="], ("1.31", "STOPS", "--cluster-cidr")),
        ("kube-scheduler", "1.20", "1.24", ["--port=0"], ("1.24", "STOPS", "--port")),
        (
            "kube-apiserver", "1.20", "1.25", ["--enable-admission-plugins=NodeRestriction,PodSecurityPolicy"],
            ("1.25", "STOPS", "--enable-admission-plugins: PodSecurityPolicy"),
        ),
        (
            "kube-apiserver", "1.20", "1.21", ["--enable-admission-plugins", "DenyEscalatingExec"],
            ("1.21", "STOPS", "--enable-admission-plugins: DenyEscalatingExec"),
        ),
        *(
            ("kubelet", "1.30", "1.34", [f"--enforce-node-allocatable={words}"],
             ("1.31", "STOPS", "enforceNodeAllocatable"))
            for words in ("pods,pods", "none,pods", "pod")
        ),
        ("kubelet", "1.30", "1.34", ["--runonce"], ("1.32", "STOPS", "runOnce")),
        ("kubelet", "1.30", "1.34", ["--container-log-max-files=1"], ("1.33", "STOPS", "containerLogMaxFiles")),
        ("kubelet", "1.34", "1.37", ["--minimum-image-ttl-duration=-1m"], ("1.36", "STOPS", "imageMinimumGCAge")),
        ("kubelet", "1.20", "1.24", ["--max-pods=-5"], ("1.21", "STOPS", "maxPods")),
        ("kube-proxy", "1.20", "1.24", ["--oom-score-adj=-2000"], ("1.21", "STOPS", "oomScoreAdj")),
        ("kube-apiserver", "1.24", "1.36", ["--goaway-chance=0.03"], ("1.31", "STOPS", "--goaway-chance")),
        ("kube-apiserver", "1.24", "1.36", ["--min-request-timeout=-1"], ("1.31", "STOPS", "--min-request-timeout")),
        ("kube-apiserver", "1.24", "1.36", ["--request-timeout=-1s"], ("1.31", "STOPS", "--request-timeout")),
        ("kube-apiserver", "1.24", "1.30", ["--storage-media-type=foo"], ("1.29", "STOPS", "--storage-media-type")),
        ("kube-apiserver", "1.24", "1.30", ["--oidc-username-claim=sub"], ("1.29", "STOPS", "--oidc-username-claim")),
        ("kube-apiserver", "1.24", "1.30", ["--goaway-chance=much"], ("1.25", "STOPS", "--goaway-chance")),
        ("kube-apiserver", "1.24", "1.30", ["--event-ttl=1"], ("1.25", "STOPS", "--event-ttl")),
        (
            "kube-apiserver", "1.24", "1.36", ["--strict-transport-security-directives=max-age=5,subdomains"],
            ("1.31", "STOPS", "--strict-transport-security-directives"),
        ),
        *(
            (name, "1.29", "1.32", ["--show-hidden-metrics-for-version=1.29"],
             ("1.31", "STOPS", "--show-hidden-metrics-for-version"))
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler")
        ),
        (
            "kube-proxy", "1.29", "1.32", ["--show-hidden-metrics-for-version=1.29"],
            ("1.31", "STOPS", "showHiddenMetricsForVersion"),
        ),
        *(
            ("kube-controller-manager", "1.24", "1.27", [f"--attach-detach-reconcile-sync-period={period}"],
             ("1.25", "STOPS", "--attach-detach-reconcile-sync-period"))
            for period in ("0", "0s", "999ms")
        ),
    ],
)  # fmt: skip
def test_it_is_reported_with_the_release_in_which_it_begins(
    component: str, running: str, target: str, words: list[str], wanted: tuple[str, str, str]
) -> None:
    assert wanted in named(readiness(component, running, target, [component, *words]))
    before = f"1.{int(wanted[0][2:]) - 1}"
    if before >= running:
        assert wanted not in named(readiness(component, running, before, [component, *words]))


@pytest.mark.parametrize(
    ("component", "running", "target", "config", "wanted"),
    [
        (
            "kubelet", "1.28", "1.31", {"memorySwap": {"swapBehavior": "UnlimitedSwap"}},
            ("1.30", "memorySwap.swapBehavior"),
        ),
        ("kubelet", "1.24", "1.27", {"cpuCFSQuotaPeriod": "500us"}, ("1.26", "cpuCFSQuotaPeriod")),
        (
            "kubelet", "1.35", "1.37", {"memoryThrottlingFactor": 0.8, "featureGates": {"MemoryQoS": False}},
            ("1.37", "memoryThrottlingFactor"),
        ),
        ("kubelet", "1.29", "1.32", {"showHiddenMetricsForVersion": "1.29"}, ("1.31", "showHiddenMetricsForVersion")),
        (
            "kube-scheduler", "1.25", "1.27",
            {**KIND, "apiVersion": f"{SCHEDULER}/v1beta3", "percentageOfNodesToScore": 200},
            ("1.26", "percentageOfNodesToScore"),
        ),
        ("kube-proxy", "1.24", "1.30", {"healthzBindAddress": "0.0.0.0:0"}, ("1.25", "healthzBindAddress")),
    ],
)  # fmt: skip
def test_a_value_of_a_file_that_a_release_refuses_is_named_with_it(
    component: str, running: str, target: str, config: dict[str, Any], wanted: tuple[str, str]
) -> None:
    found = named(readiness(component, running, target, [component, "--config=/c"], config))
    assert (wanted[0], "STOPS", wanted[1]) in found


@pytest.mark.parametrize(
    ("component", "running", "target", "words", "config"),
    [
        ("kube-apiserver", "1.30", "1.34", ["--goaway-chance=0.02", "--request-timeout=0"], None),
        ("kube-apiserver", "1.30", "1.31", ["--show-hidden-metrics-for-version=1.30"], None),
        ("kube-apiserver", "1.19", "1.20", ["--show-hidden-metrics-for-version=1.29"], None),
        (
            "kube-apiserver", "1.28", "1.30",
            ["--oidc-username-claim=sub", "--oidc-issuer-url=https://x", "--oidc-client-id=y", "--storage-media-type="],
            None,
        ),
        (
            "kube-apiserver", "1.30", "1.34",
            ["--strict-transport-security-directives=max-age=31536000,includeSubDomains,preload"], None,
        ),
        ("kube-controller-manager", "1.24", "1.27", ["--attach-detach-reconcile-sync-period=1s"], None),
        (
            "kubelet", "1.36", "1.37", ["--config=/c"],
            {"memoryThrottlingFactor": 0.8},
        ),
        ("kubelet", "1.30", "1.34", ["--config=/c"], {"containerLogMaxFiles": 2, "enforceNodeAllocatable": ["none"]}),
    ],
)  # fmt: skip
def test_a_value_that_a_release_takes_stops_nothing(
    component: str, running: str, target: str, words: list[str], config: dict[str, Any] | None
) -> None:
    given = {word.partition("=")[0] for word in words} | set(config or {})
    found = readiness(component, running, target, [component, *words], config)
    assert not [f for f in found if f.effect is Effect.STOPS and f.setting in given]


def test_what_a_file_outdoes_is_not_named() -> None:
    words, config = ["kube-proxy", "--cluster-cidr=", "--config=/c"], {"clusterCIDR": "", "mode": "ipvs"}
    found = readiness("kube-proxy", "1.30", "1.31", words, config)
    assert not [f for f in found if f.effect is Effect.STOPS]


@pytest.mark.parametrize(
    ("component", "words", "flags"),
    [
        ("kube-apiserver", ["--audit-policy-file=/a", "--encryption-provider-config", "/e"],
         {"--audit-policy-file", "--encryption-provider-config"}),
        ("kube-apiserver", ["--audit-policy-file=", "--audit-log-path=/x"], set()),
        ("kubelet", ["--image-credential-provider-config=/c"], {"--image-credential-provider-config"}),
    ],
)  # fmt: skip
def test_a_file_that_is_not_read_is_named_as_not_judged(
    component: str, words: list[str], flags: set[str]
) -> None:
    found = readiness(component, "1.24", "1.26", [component, *words])
    assert {f.setting for f in found if "apiVersion of its own" in f.why} == flags
    assert {str(f.release) for f in found if f.setting in flags} <= {"1.26"}
    assert not [f for f in readiness(component, "1.24", "1.24", [component, *words]) if f.setting in flags]


@pytest.mark.parametrize(
    ("component", "running", "stops"),
    [
        ("kube-apiserver", "1.29", True),
        ("kube-apiserver", "1.30", False),
        ("kube-controller-manager", "1.30", False),
        ("kube-scheduler", "1.29", True),
        ("kube-scheduler", "1.33", False),
        ("kube-proxy", "1.33", True),
        ("kubelet", "1.33", True),
    ],
)
def test_a_prefix_of_a_gate_stops_whom_does_not_know_it(component: str, running: str, stops: bool) -> None:
    words = [component, "--feature-gates=kube:ContextualLogging=true"]
    found = readiness(component, running, f"1.{int(running[2:]) + 1}", words)
    assert any(f.effect is Effect.STOPS and "kube:" in f.setting for f in found) is stops


@pytest.mark.parametrize("config", [["a"], "a", 7])
def test_a_config_of_another_shape_is_refused_in_the_words_of_the_library(config: Any) -> None:
    with pytest.raises(KubehardenError, match="holds no mapping"):
        readiness("kubelet", "1.20", "1.21", ["kubelet"], config)
    with pytest.raises(KubehardenError, match="holds no mapping"):
        migrate("kubelet", "1.20", ["kubelet"], config)


def test_what_is_fine_is_not_named() -> None:
    words = ["kubelet", "--container-runtime-endpoint=unix:///run/containerd/containerd.sock", "--v=2"]
    assert readiness("kubelet", "1.24", "1.25", words) == []
    assert readiness("kubelet", "1.24", "1.24", words) == []


@pytest.mark.parametrize(
    ("cgroup", "config", "wanted"),
    [
        ("v1", {}, "STOPS"),
        ("v1", {"failCgroupV1": False}, ""),
        ("v2", {}, ""),
        ("", {}, "CHANGES"),  # nobody knows which it is: the default is named
    ],
)
def test_cgroup_v1_ends_at_1_35(cgroup: str, config: dict, wanted: str) -> None:
    found = readiness("kubelet", "1.34", "1.35", ["kubelet", "--config=/c"], config, cgroup=cgroup)
    assert [f.effect.name for f in found if f.setting == "failCgroupV1"] == ([wanted] if wanted else [])


def test_an_api_version_ends() -> None:
    config = {**KIND, "apiVersion": f"{SCHEDULER}/v1beta2"}
    found = readiness("kube-scheduler", "1.22", "1.28", ["kube-scheduler", "--config=/c"], config)
    assert ("1.28", "STOPS", "apiVersion") in named(found)
    [finding] = [f for f in found if f.setting == "apiVersion"]
    assert f"{SCHEDULER}/v1beta3 or {SCHEDULER}/v1" in finding.todo


def test_a_field_that_is_dropped_in_silence_stops_a_strict_release() -> None:
    config = {
        "kind": "KubeSchedulerConfiguration",
        "apiVersion": f"{SCHEDULER}/v1alpha1",
        "featureGates": {"A": True},
    }
    found = readiness("kube-scheduler", "1.16", "1.17", ["kube-scheduler", "--config=/c"], config)
    assert ("1.17", "CHANGES", "featureGates") in named(found)


def test_an_insecure_port_in_the_file_stops_1_23() -> None:
    config = {**KIND, "apiVersion": f"{SCHEDULER}/v1beta2", "healthzBindAddress": "0.0.0.0:10251"}
    found = named(readiness("kube-scheduler", "1.22", "1.23", ["kube-scheduler", "--config=/c"], config))
    assert ("1.23", "STOPS", "healthzBindAddress") in found
    config["healthzBindAddress"] = "0.0.0.0:0"
    found = named(readiness("kube-scheduler", "1.22", "1.23", ["kube-scheduler", "--config=/c"], config))
    assert ("1.23", "STOPS", "healthzBindAddress") not in found


def test_a_target_that_is_newer_than_the_tables_is_judged_as_the_newest_and_each_verdict_says_so() -> None:
    newer = Release(LAST.major, LAST.minor + 2)
    findings = readiness("kubelet", LAST, newer, ["kubelet", "--v=2"])
    assert [(f.effect, f.release) for f in findings] == [(Effect.NOT_JUDGED, newer)]
    assert findings[0].why == f"{newer} is newer than the tables: judged as {LAST}, the newest that they know"


def test_a_target_that_is_older_than_the_tables_is_named() -> None:
    with pytest.raises(UnknownReleaseError, match=rf"1\.9.*1\.10 to {LAST}"):
        readiness("kubelet", "1.9", "1.20", ["kubelet"])


# The form that both releases accept


def test_defaults_that_would_change_are_written_down() -> None:
    made = migrate("kubelet", "1.26", ["kubelet"], profile="none", target_release="1.27")
    assert made.config["eventRecordQPS"] == 5
    assert {s.field for s in made.defaults} == {
        "eventRecordQPS", "eventBurst", "kubeAPIQPS", "kubeAPIBurst", "memoryThrottlingFactor",
    }  # fmt: skip
    assert not any(
        f.effect is Effect.CHANGES for f in readiness("kubelet", "1.26", "1.27", made.argv, made.config)
    )
    assert "eventRecordQPS" not in migrate("kubelet", "1.26", ["kubelet"], profile="none").config


def test_a_default_that_a_flag_overrides_is_not_written_down() -> None:
    made = migrate("kubelet", "1.26", ["kubelet", "--event-qps=7"], profile="none", target_release="1.27")
    assert made.config["eventRecordQPS"] == 7
    assert "eventRecordQPS" not in {s.field for s in made.defaults}


def test_what_would_stop_the_target_and_holds_anyway_is_left_unsaid() -> None:
    words = ["kube-scheduler", "--kubeconfig=/k", "--address=0.0.0.0", "--port=10251"]
    made = migrate("kube-scheduler", "1.22", words, target_release="1.23")
    assert "healthzBindAddress" not in made.config
    assert {s.flag for s in made.dropped} == {"--address", "--port"}
    assert not any(
        f.effect is Effect.STOPS for f in readiness("kube-scheduler", "1.22", "1.23", made.argv, made.config)
    )
    assert "healthzBindAddress" in migrate("kube-scheduler", "1.22", words).config


def test_the_remote_runtime_goes_where_it_is_the_default() -> None:
    words = ["kubelet", "--container-runtime=remote", "--container-runtime-endpoint=unix:///run/c.sock"]
    assert "--container-runtime=remote" in migrate("kubelet", "1.23", words, profile="none").argv
    made = migrate("kubelet", "1.24", words, profile="none", target_release="1.27")
    assert "--container-runtime=remote" not in made.argv
    left = readiness("kubelet", "1.24", "1.27", made.argv, made.config)
    assert {f.effect for f in left} == {Effect.WARNS}


@pytest.mark.parametrize(
    ("running", "present", "target", "wanted"),
    [
        ("1.22", "v1beta1", None, "v1beta1"),  # what is accepted stays
        ("1.22", "v1beta1", "1.23", "v1beta2"),
        ("1.22", "v1beta2", "1.27", "v1beta2"),
        ("1.25", "v1beta2", "1.29", "v1"),
        ("1.23", "v1beta2", "1.29", "v1beta2"),  # no form that both accept: left as it is
        ("1.22", "", "1.23", "v1beta2"),
        ("1.25", "", "1.28", "v1"),
    ],
)
def test_the_api_version_is_one_that_both_accept(
    running: str, present: str, target: str | None, wanted: str
) -> None:
    config = (
        {**KIND, "apiVersion": f"{SCHEDULER}/{present}", "percentageOfNodesToScore": 50} if present else None
    )
    words = ["kube-scheduler", "--config=/c" if present else "--kubeconfig=/k"]
    made = migrate("kube-scheduler", running, words, config, profile="none", target_release=target)
    assert not made.refused
    assert made.config["apiVersion"] == f"{SCHEDULER}/{wanted}"
    assert made.config.get("percentageOfNodesToScore") == (50 if present else None)


def test_renamed_fields_are_carried_over() -> None:
    config = {**KIND, "apiVersion": f"{SCHEDULER}/v1alpha1", "schedulerName": "mine",
              "leaderElection": {"lockObjectName": "lock"}}  # fmt: skip
    with_own = migrate("kube-scheduler", "1.18", ["kube-scheduler", "--config=/c"], config, profile="none")
    assert with_own.config["schedulerName"] == "mine"
    # 1.18 accepts v1alpha1 and v1alpha2, 1.19 v1beta1 alone: there is no form for both.
    assert with_own.config["apiVersion"].endswith("v1alpha1")


def test_plugins_are_not_rewritten_by_guessing() -> None:
    config = {**KIND, "apiVersion": f"{SCHEDULER}/v1beta1", "profiles": [{"plugins": {"score": {}}}]}
    made = migrate("kube-scheduler", "1.22", ["kube-scheduler", "--config=/c"], config, target_release="1.23")
    [refused] = made.refused
    assert "by hand" in refused.why


def test_a_file_that_the_release_does_not_accept_is_refused() -> None:
    config = {**KIND, "apiVersion": f"{SCHEDULER}/v1"}
    [refused] = migrate("kube-scheduler", "1.22", ["kube-scheduler", "--config=/c"], config).refused
    assert f"accepts {SCHEDULER}/v1beta1, {SCHEDULER}/v1beta2" in refused.why


def test_the_same_text_that_means_something_else_is_named_as_that() -> None:
    found = readiness("kubelet", "1.36", "1.37", ["kubelet", "--event-qps=0"])
    assert [(f.effect, f.setting) for f in found if f.setting == "eventRecordQPS"] == [
        (Effect.MEANS_OTHER, "eventRecordQPS")
    ]
    assert Effect.MEANS_OTHER not in {f.effect for f in readiness("kubelet", "1.36", "1.37", ["kubelet"])}


def test_feature_gates_that_are_gone_or_locked_stop_a_component() -> None:
    words = ["kube-apiserver", "--feature-gates=EphemeralContainers=true,kube:JobBackoffLimitPerIndex=true"]
    found = named(readiness("kube-apiserver", "1.25", "1.37", words))
    assert ("1.27", "STOPS", "--feature-gates: EphemeralContainers") in found
    assert ("1.37", "STOPS", "--feature-gates: JobBackoffLimitPerIndex") in found
    file = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1"}
    file["featureGates"] = {"SidecarContainers": True}
    assert ("1.37", "STOPS", "featureGates.SidecarContainers") in named(
        readiness("kubelet", "1.36", "1.37", ["kubelet", "--config=/c"], file)
    )
    assert ("1.37", "STOPS", "--container-hints") in named(
        readiness("kubelet", "1.36", "1.37", ["kubelet", "--container-hints=x"])
    )


def test_flags_of_components_without_a_config_file_are_judged() -> None:
    words = ["kube-apiserver", "--insecure-port=0", "--made-up=1"]
    found = named(readiness("kube-apiserver", "1.22", "1.25", words))
    assert ("1.24", "STOPS", "--insecure-port") in found
    assert ("1.23", "NOT_JUDGED", "--made-up") in found
    assert named(readiness("etcd", "1.22", "1.25", ["etcd", "--x=1"])) == {
        ("1.25", "NOT_JUDGED", "its flags")
    }


def test_a_kubelet_without_a_file_keeps_that_it_has_no_thresholds() -> None:
    """By experiment (1.26 and later): with a file that says nothing, five of them hold."""
    for release, there in (("1.25", False), ("1.26", True), ("1.37", True)):
        made = migrate(
            "kubelet", release, ["kubelet", "--kubeconfig=/k", "--client-ca-file=/ca"], profile="none"
        )
        assert (made.config.get("evictionHard") == {}) is there, release


def test_sync_periods_of_kube_proxy_go_where_its_mode_reads_them() -> None:
    words = ["kube-proxy", "--proxy-mode=nftables", "--iptables-sync-period=17s", "--ipvs-sync-period=9s"]
    made = migrate("kube-proxy", "1.34", words, profile="none")
    assert made.config["nftables"]["syncPeriod"] == "17s"
    assert "iptables" not in made.config
    assert [setting.flag for setting in made.dropped] == ["--ipvs-sync-period"]
    older = migrate("kube-proxy", "1.30", words[:1] + words[2:], profile="none")
    assert older.config["iptables"]["syncPeriod"] == "17s"


def test_defaults_of_the_kubelet_that_changed_are_named_in_their_release() -> None:
    """kubernetes/kubernetes PR 84007 (1.17) and PR 121834 (1.30)."""
    assert ("1.17", "CHANGES", "nodeStatusReportFrequency") in named(
        readiness("kubelet", "1.16", "1.17", ["kubelet", "--kubeconfig=/k"])
    )
    file = {"kind": "KubeletConfiguration", "apiVersion": "kubelet.config.k8s.io/v1beta1"}
    [found] = [
        f
        for f in readiness("kubelet", "1.29", "1.30", ["kubelet", "--config=/c"], file)
        if "eviction" in f.setting
    ]
    assert '"imagefs.inodesFree": "5%"' in found.why
    assert not [f for f in readiness("kubelet", "1.29", "1.30", ["kubelet"]) if "eviction" in f.setting]


def test_what_cannot_be_asked_is_refused_in_the_words_of_the_library() -> None:
    for release, target in (("1.37", "1.36"), ("1.20", "latest"), (1.20, "1.21")):
        with pytest.raises(UnknownReleaseError):
            readiness("kubelet", release, target, ["kubelet"])
    with pytest.raises(UnknownReleaseError, match=r"no component .nope.*kubelet"):
        readiness("nope", "1.20", "1.21", [])
    with pytest.raises(ParameterError, match="cgroup"):
        readiness("kubelet", "1.20", "1.36", ["kubelet"], cgroup="v3")


@pytest.mark.parametrize("target", ["1.9999", "2.0"])
def test_releases_far_beyond_the_tables_are_one_step(target: str) -> None:
    found = readiness("kubelet", "1.20", target, ["kubelet", "--network-plugin=cni"])
    assert ("1.24", "STOPS", "--network-plugin") in named(found)
    assert found[-1].effect is Effect.NOT_JUDGED


def test_flags_that_become_needed_and_plugins_that_nobody_knows_are_named() -> None:
    words = ["kube-apiserver", "--insecure-port=8080", "--enable-admission-plugins=NodeRestriction,Made"]
    found = named(readiness("kube-apiserver", "1.19", "1.20", words))
    assert found == {
        ("1.20", "STOPS", "--service-account-issuer"),
        ("1.20", "STOPS", "--service-account-signing-key-file"),
        ("1.20", "STOPS", "--insecure-port"),
        ("1.20", "NOT_JUDGED", "--enable-admission-plugins: Made"),
    }
    both = ["--service-account-issuer=i", "--service-account-signing-key-file=k", "--insecure-port=0"]
    assert named(readiness("kube-apiserver", "1.19", "1.20", ["kube-apiserver", *both])) == set()
    assert ("1.35", "WARNS", "mode") in named(
        readiness("kube-proxy", "1.34", "1.35", ["kube-proxy", "--proxy-mode=ipvs"])
    )


@pytest.mark.parametrize("component", ["kubelet", "kube-controller-manager"])
@pytest.mark.parametrize(
    ("provider", "gone"),
    [("openstack", "1.26"), ("aws", "1.27"), ("azure", "1.29"), ("gce", "1.29"), ("vsphere", "1.29")],
)
def test_a_provider_that_is_a_part_of_kubernetes_goes(component: str, provider: str, gone: str) -> None:
    before = str(Release.parse(gone).previous)
    words = [component, f"--cloud-provider={provider}"]
    assert (gone, "STOPS", "--cloud-provider") in named(readiness(component, "1.25", "1.31", words))
    assert not [
        f
        for f in readiness(component, "1.24", before, words)
        if f.setting == "--cloud-provider" and f.effect is Effect.STOPS
    ]
    for other in ("external", ""):
        words = [component, f"--cloud-provider={other}"]
        assert ("STOPS", "--cloud-provider") not in [
            row[1:] for row in named(readiness(component, "1.25", "1.31", words))
        ]


@pytest.mark.parametrize("component", ["kubelet", "kube-controller-manager", "kube-apiserver"])
def test_a_gate_keeps_such_a_provider_until_its_code_goes(component: str) -> None:
    words = [component, "--cloud-provider=gce", "--feature-gates=DisableCloudProviders=false"]
    found = named(readiness(component, "1.28", "1.31", words))
    assert ("1.29", "STOPS", "--cloud-provider") not in found
    assert ("1.31", "STOPS", "--cloud-provider") in found


def test_an_api_server_does_not_start_with_a_provider_that_is_gone() -> None:
    for provider in ("aws", "gce"):
        found = named(
            readiness("kube-apiserver", "1.28", "1.30", ["kube-apiserver", f"--cloud-provider={provider}"])
        )
        assert ("1.29", "STOPS", "--cloud-provider") in found


@pytest.mark.parametrize("item", ["A", "A=", "A=maybe", "A=tRUE", "=", "A=true=true"])
def test_what_is_not_a_pair_is_named_among_the_gates(item: str) -> None:
    words = ["kube-apiserver", f"--feature-gates=AllAlpha=false,{item}"]
    assert ("1.21", "STOPS", f"--feature-gates: {item}") in named(
        readiness("kube-apiserver", "1.20", "1.21", words)
    )
    with pytest.raises(KubehardenError, match="--feature-gates"):
        readiness("kubelet", "1.20", "1.21", ["kubelet", f"--feature-gates={item}"])


@pytest.mark.parametrize(
    ("words", "config", "is_said"),
    [
        (["--proxy-mode=iptables"], None, True),
        (["--proxy-mode="], None, False),
        (["--config=/c"], {"mode": "nftables"}, True),
        (["--config=/c"], {"mode": ""}, False),
    ],
)
def test_a_mode_that_is_given_is_not_asked_for(words: list[str], config: dict | None, is_said: bool) -> None:
    found = named(readiness("kube-proxy", "1.36", "1.37", ["kube-proxy", *words], config))
    assert (("1.37", "WARNS", "mode") not in found) is is_said


@pytest.mark.parametrize(
    ("lock", "gone"),
    [
        ("endpoints", "1.24"),
        ("configmaps", "1.24"),
        ("endpointsleases", "1.27"),
        ("configmapsleases", "1.27"),
        ("leases", ""),
    ],
)
def test_a_lock_that_goes_is_named(lock: str, gone: str) -> None:
    flag = f"--leader-elect-resource-lock={lock}"
    for component, setting in (
        ("kube-scheduler", "leaderElection.resourceLock"),
        ("kube-controller-manager", "--leader-elect-resource-lock"),
    ):
        found = named(readiness(component, "1.22", "1.28", [component, flag]))
        assert {row[0] for row in found if row[1:] == ("STOPS", setting)} == ({gone} if gone else set())
        for word in ("--leader-elect=false", "--leader-elect=F"):
            alone = readiness(component, "1.22", "1.28", [component, flag, word])
            assert ("STOPS", setting) not in [row[1:] for row in named(alone)]
        both = readiness(component, "1.22", "1.28", [component, "--leader-elect=T", flag])
        assert (("STOPS", setting) in [row[1:] for row in named(both)]) is bool(gone)


@pytest.mark.parametrize(
    ("component", "release", "words", "setting"),
    [
        ("kube-apiserver", "1.17", ["--runtime-config=api/all"], "--runtime-config: api/all"),
        ("kube-apiserver", "1.20", ["--runtime-config", "settings.k8s.io/v1alpha1=true"],
         "--runtime-config: settings.k8s.io/v1alpha1"),
        ("kube-apiserver", "1.21", ["--runtime-config=api/all=true,batch/v2alpha1=false"],
         "--runtime-config: batch/v2alpha1"),
        ("kube-apiserver", "1.21", ["--runtime-config=batch/v2alpha1/cronjobs=true", "--runtime-config=api/all=true"],
         "--runtime-config: batch/v2alpha1"),
        ("kube-apiserver", "1.36", ["--runtime-config=autoscaling/v2beta2=true"],
         "--runtime-config: autoscaling/v2beta2"),
        ("kube-apiserver", "1.24", ["--audit-log-path=-", "--audit-log-version=audit.k8s.io/v1beta1"],
         "--audit-log-version"),
        ("kube-apiserver", "1.31", ["--cors-allowed-origins=//a$,.*"], "--cors-allowed-origins"),
        ("kube-apiserver", "1.13", ["--storage-backend=etcd2"], "--storage-backend"),
        ("kube-apiserver", "1.22", ["--max-requests-inflight=0", "--max-mutating-requests-inflight=0"],
         "--max-requests-inflight"),
        ("kube-controller-manager", "1.32", ["--cidr-allocator-type=CloudAllocator"], "--cidr-allocator-type"),
        ("kube-controller-manager", "1.37", ["--controllers=*,-route,bootstrapsigner"], "--controllers: route"),
    ],
)  # fmt: skip
def test_an_item_of_a_list_that_is_gone_is_named_in_its_release(
    component: str, release: str, words: list[str], setting: str
) -> None:
    """Held against kube-apiserver and kube-controller-manager, 1.20.2 to 1.37.2."""
    before = str(Release.parse(release).previous)
    found = readiness(component, before, release, [component, *words])
    assert [f.setting for f in found if f.effect is Effect.STOPS and f.setting[:9] == setting[:9]] == [
        setting
    ]
    assert not readiness(component, before, before, [component, *words])


@pytest.mark.parametrize(
    ("component", "words"),
    [
        ("kube-apiserver", ["--runtime-config=api/all=true,batch/v1beta1=true,extensions/v1beta1=true,batch/v2=true"]),
        ("kube-apiserver", ["--audit-log-version=audit.k8s.io/v1beta1"]),  # nothing is written
        ("kube-apiserver", ["--cors-allowed-origins=^https://a$,//b(:|$)"]),
        ("kube-apiserver", ["--max-requests-inflight=0", "--max-mutating-requests-inflight=9"]),
        ("kube-controller-manager", ["--controllers=*,-nodeipam,-serviceaccount,-service-cidr-controller"]),
    ],
)  # fmt: skip
def test_items_that_are_still_there_are_not_named(component: str, words: list[str]) -> None:
    found = readiness(component, "1.20", "1.37", [component, *words])
    names = {word.partition("=")[0] for word in words}
    assert not [f for f in found if f.effect is Effect.STOPS and f.setting.partition(":")[0] in names]


@pytest.mark.parametrize(
    ("release", "gates", "named_gate"),
    [
        ("1.35", {"GracefulNodeShutdown": False}, "GracefulNodeShutdown"),
        ("1.36", {"GangScheduling": True}, "GangScheduling"),
        ("1.37", {"AllAlpha": True}, "AllAlpha"),
        ("1.37", {"PodLevelResources": False, "InPlacePodLevelResourcesVerticalScaling": True}, "PodLevelResources"),
        ("1.34", {"GracefulNodeShutdown": False}, ""),
        ("1.36", {"GangScheduling": True, "GenericWorkload": True}, ""),
        ("1.36", {"GracefulNodeShutdown": False, "GracefulNodeShutdownBasedOnPodPriority": False,
                  "WindowsGracefulNodeShutdown": False}, ""),
        ("1.36", {"AllBeta": False}, ""),
    ],
)  # fmt: skip
def test_a_gate_that_depends_on_one_that_is_off_stops_a_component(
    release: str, gates: dict[str, bool], named_gate: str
) -> None:
    """Held against kube-proxy 1.36.3 and 1.37.2, with each gate by itself."""
    config = {
        "kind": "KubeletConfiguration",
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "featureGates": gates,
    }
    before = str(Release.parse(release).previous)
    found = readiness("kubelet", before, release, ["kubelet", "--config=/c"], config, cgroup="v2")
    stops = [f.setting for f in found if f.effect is Effect.STOPS]
    assert stops == ([f"featureGates.{named_gate}"] if named_gate else [])


def test_each_gate_of_the_dependencies_is_in_the_table_of_its_releases() -> None:
    for release in ("1.35", "1.36", "1.37"):
        known = feature_gates(Release.parse(release))
        needed = {need for gate in known.values() for need in gate.needs}
        assert needed
        assert needed <= known.keys(), release
