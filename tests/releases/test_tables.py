"""The release tables: facts that people know by heart, at the releases where they change."""

from __future__ import annotations

import pytest

from kubeharden.errors import UnknownReleaseError
from kubeharden.releases import FIRST, LAST, Decoding, Release, admission_plugins, release_table

ALL = [f"1.{minor}" for minor in range(FIRST.minor, LAST.minor + 1)]


@pytest.mark.parametrize(
    ("component", "flag", "first", "last"),
    [
        ("kubelet", "--allow-privileged", "1.10", "1.14"),
        ("kubelet", "--network-plugin", "1.10", "1.23"),
        ("kubelet", "--container-runtime", "1.10", "1.26"),
        ("kubelet", "--pod-infra-container-image", "1.10", "1.34"),
        ("kubelet", "--config-dir", "1.28", str(LAST)),
        ("kubelet", "--address", "1.10", str(LAST)),
        ("kube-proxy", "--resource-container", "1.10", "1.15"),
        ("kube-proxy", "--write-config-to", "1.10", str(LAST)),
        ("kube-scheduler", "--port", "1.10", "1.23"),
        ("kube-scheduler", "--v", "1.10", str(LAST)),
        ("kube-scheduler", "--algorithm-provider", "1.10", "1.21"),
    ],
)
def test_flags_come_and_go(component: str, flag: str, first: str, last: str) -> None:
    having = [release for release in ALL if release_table(component, release).flag(flag)]
    assert (having[0], having[-1]) == (first, last)
    assert having == ALL[ALL.index(first) : ALL.index(last) + 1]


@pytest.mark.parametrize(
    ("component", "flag", "release", "field"),
    [
        ("kubelet", "--rotate-certificates", "1.10", None),
        ("kubelet", "--rotate-certificates", "1.11", "rotateCertificates"),
        ("kubelet", "--register-with-taints", "1.22", None),
        ("kubelet", "--register-with-taints", "1.23", "registerWithTaints"),
        ("kubelet", "--container-runtime-endpoint", "1.26", None),
        ("kubelet", "--container-runtime-endpoint", "1.27", "containerRuntimeEndpoint"),
        ("kubelet", "--pod-manifest-path", "1.10", "staticPodPath"),
        ("kube-proxy", "--cluster-cidr", "1.10", "clusterCIDR"),
        ("kube-scheduler", "--scheduler-name", "1.17", "schedulerName"),
        ("kube-scheduler", "--scheduler-name", "1.20", "profiles[0].schedulerName"),
        ("kube-scheduler", "--address", "1.22", "healthzBindAddress"),
        ("kube-scheduler", "--address", "1.23", None),
        ("kube-scheduler", "--lock-object-name", "1.10", "leaderElection.lockObjectName"),
        ("kube-scheduler", "--lock-object-name", "1.20", "leaderElection.resourceName"),
    ],
)
def test_flags_become_fields(component: str, flag: str, release: str, field: str | None) -> None:
    known = release_table(component, release).flag(flag)
    assert known is not None
    assert known.field == field


@pytest.mark.parametrize(
    ("release", "version"),
    [
        ("1.10", "componentconfig/v1alpha1"),
        ("1.11", "componentconfig/v1alpha1"),
        ("1.12", "kubescheduler.config.k8s.io/v1alpha1"),
        ("1.17", "kubescheduler.config.k8s.io/v1alpha1"),
        ("1.18", "kubescheduler.config.k8s.io/v1alpha2"),
        ("1.19", "kubescheduler.config.k8s.io/v1beta1"),
        ("1.21", "kubescheduler.config.k8s.io/v1beta1"),
        ("1.22", "kubescheduler.config.k8s.io/v1beta2"),
        ("1.23", "kubescheduler.config.k8s.io/v1beta3"),
        ("1.24", "kubescheduler.config.k8s.io/v1beta3"),
        ("1.25", "kubescheduler.config.k8s.io/v1"),
        ("1.36", "kubescheduler.config.k8s.io/v1"),
    ],
)
def test_the_schedulers_api_version(release: str, version: str) -> None:
    assert release_table("kube-scheduler", release).api_version == version


def test_decoding_grows_stricter() -> None:
    assert release_table("kubelet", "1.16").decoding is Decoding.SILENT
    assert release_table("kubelet", "1.17").decoding is Decoding.LENIENT
    assert release_table("kube-scheduler", "1.18").decoding is Decoding.LENIENT
    assert release_table("kube-scheduler", "1.19").decoding is Decoding.STRICT


def test_defaults_change() -> None:
    def default(path: str, release: str) -> object:
        field = release_table("kubelet", release).field(path)
        assert field is not None
        return field.default

    assert (default("eventRecordQPS", "1.26"), default("eventRecordQPS", "1.27")) == (5, 50)
    assert (default("failCgroupV1", "1.34"), default("failCgroupV1", "1.35")) == (False, True)
    assert default("evictionHard", "1.10") == {
        "memory.available": "100Mi",
        "nodefs.available": "10%",
        "nodefs.inodesFree": "5%",
        "imagefs.available": "15%",
    }


def test_the_four_legacy_defaults_of_a_kubelet_without_a_file() -> None:
    legacy = {
        f.name: f.legacy_default
        for f in release_table("kubelet", "1.20").flags.values()
        if f.legacy_default is not None
    }
    assert legacy == {
        "--anonymous-auth": True,
        "--authentication-token-webhook": False,
        "--authorization-mode": "AlwaysAllow",
        "--read-only-port": 10255,
    }


def test_tls_1_3_is_known_from_1_15_on() -> None:
    def versions(release: str) -> tuple[str, ...]:
        flag = release_table("kubelet", release).flag("--tls-min-version")
        assert flag is not None
        assert flag.enum is not None
        return flag.enum

    assert "VersionTLS13" not in versions("1.14")
    assert "VersionTLS13" in versions("1.15")


def test_deprecations_begin_and_end() -> None:
    def said(flag: str, release: str) -> str | None:
        known = release_table("kubelet", release).flag(flag)
        assert known is not None
        return known.deprecated

    assert "config file" in str(said("--address", "1.10"))
    assert said("--allow-privileged", "1.10") == "will be removed in a future version"
    assert said("--network-plugin", "1.20") is None
    assert said("--network-plugin", "1.21") == "will be removed along with dockershim."
    assert said("--cloud-provider", "1.28") is not None
    assert said("--cloud-provider", "1.29") is None
    assert said("--v", "1.30") is None


@pytest.mark.parametrize("component", ["kubelet", "kube-proxy", "kube-scheduler"])
@pytest.mark.parametrize("release", ALL)
def test_every_flag_with_a_field_names_one_that_the_release_has(component: str, release: str) -> None:
    table = release_table(component, release)
    for flag in table.flags.values():
        for path in flag.fields:
            assert path.partition("[")[0] in table.fields, (flag.name, path)


def test_admission_plugins_on_by_default() -> None:
    assert set(admission_plugins("1.10").default_on) == {
        "NamespaceLifecycle",
        "LimitRanger",
        "ServiceAccount",
        "PersistentVolumeLabel",
        "DefaultStorageClass",
        "DefaultTolerationSeconds",
        "MutatingAdmissionWebhook",
        "ValidatingAdmissionWebhook",
        "ResourceQuota",
    }
    assert "PersistentVolumeLabel" not in admission_plugins("1.11").default_on
    assert "PodSecurity" in admission_plugins("1.24").default_on
    assert "PodSecurityPolicy" not in admission_plugins("1.24").removed
    assert "PodSecurityPolicy" in admission_plugins("1.25").removed


@pytest.mark.parametrize("text", ["1.9", "0.9", "latest", ""])
def test_a_release_without_a_table_says_which_have_one(text: str) -> None:
    with pytest.raises(UnknownReleaseError, match=rf"1\.10 to {LAST}|one like 1\.20"):
        release_table("kubelet", text)


def test_releases_are_read_and_compared_as_numbers() -> None:
    assert Release.parse("Kubernetes v1.20.2-gke.1") == Release(1, 20)
    assert Release.parse("1.10") < Release.parse("1.20") < Release.parse("v1.21.0-rc.1")


def test_a_component_without_a_table_is_an_error() -> None:
    with pytest.raises(UnknownReleaseError, match="kubelet, kube-proxy, kube-scheduler"):
        release_table("etcd", "1.20")
