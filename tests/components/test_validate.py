"""What a config file must not say, each with the reason that a person reads."""

from __future__ import annotations

from typing import Any

import pytest

from kubeharden.components import paths
from kubeharden.components.validate import problems
from kubeharden.releases import release_table

GOOD: list[tuple[str, Any]] = [
    ("evictionHard", {"memory.available": "100Mi", "nodefs.available": "10%", "imagefs.inodesFree": "12.5%"}),
    ("evictionHard", {"memory.available": "0%"}),
    ("evictionMinimumReclaim", {"memory.available": "0Mi", "nodefs.available": "5%"}),
    ("evictionSoftGracePeriod", {"memory.available": "1m30s"}),
    ("evictionSoft", {"memory.available": "100%"}),
    ("kubeReserved", {"cpu": "100m", "memory": "0", "ephemeral-storage": "1Gi", "pid": "1000"}),
    ("systemReserved", {"cpu": "0.5"}),
    ("qosReserved", {"memory": "50%"}),
    (
        "registerWithTaints",
        [{"key": "a", "value": "b", "effect": "NoSchedule"}, {"key": "c", "effect": "NoExecute"}],
    ),
    ("reservedMemory", [{"numaNode": 0, "limits": {"memory": "1Gi", "hugepages-1Gi": 2}}]),
    ("logging.vmodule", [{"filePattern": "kubelet*", "verbosity": 5}]),
    ("shutdownGracePeriodByPodPriority", [{"priority": 100, "shutdownGracePeriodSeconds": 10}]),
    ("address", ""),
    ("maxPods", None),
    ("tlsCurvePreferences", [23, 29]),
    ("maxPods", 0),
    ("nodeStatusMaxImages", -1),
    ("oomScoreAdj", -1000),
    ("readOnlyPort", 65535),
    ("tlsCipherSuites", []),
    ("tlsCipherSuites", ["TLS_AES_128_GCM_SHA256", "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305"]),
]

BAD: list[tuple[str, Any, str]] = [
    ("evictionHard", {"memory.availible": "100Mi"}, "'memory.availible' is not an eviction signal"),
    ("evictionHard", {"memory.available": "100MB"}, "'100MB' is not a quantity"),
    ("evictionHard", {"memory.available": "0"}, "must be more than 0"),
    ("evictionHard", {"memory.available": "-1Mi"}, "must be more than 0"),
    ("evictionHard", {"memory.available": "ten%"}, "not a percentage"),
    ("evictionHard", {"memory.available": "-5%"}, "not a percentage"),
    ("evictionHard", {"memory.available": "101%"}, "not a percentage"),
    ("evictionHard", {"memory.available": 100}, "100 is not of type string"),
    ("evictionSoft", {"nodefs.available": "5%"}, "nodefs.available has no grace period"),
    ("evictionSoftGracePeriod", {"memory.available": "90"}, "'90' is not a duration"),
    ("evictionSoftGracePeriod", {"memory.available": "-1s"}, "must not be negative"),
    ("evictionMinimumReclaim", {"memory.available": "-1Mi"}, "must not be negative"),
    ("evictionMinimumReclaim", {"disk": "1Mi"}, "not an eviction signal"),
    ("kubeReserved", {"cpu": "half"}, "'half' is not a quantity"),
    ("kubeReserved", {"memory": "-1Gi"}, "must not be negative"),
    ("systemReserved", {"nvidia.com/gpu": "1"}, "not a resource that can be reserved"),
    ("systemReserved", {"memory": "10%"}, "'10%' is not a quantity"),
    ("qosReserved", {"cpu": "50%"}, "not a resource that can be reserved for QoS"),
    ("qosReserved", {"memory": "50"}, "not a whole percentage"),
    ("qosReserved", {"memory": "101%"}, "not a whole percentage"),
    ("registerWithTaints", ["a=b:NoSchedule"], "is not a taint"),
    ("registerWithTaints", [{"value": "b", "effect": "NoSchedule"}], "has no key"),
    ("registerWithTaints", [{"key": "a", "effect": "Never"}], "'Never' is not an effect of a taint"),
    ("registerWithTaints", [{"key": "a", "value": 1, "effect": "NoSchedule"}], "1 is not of type string"),
    ("registerWithTaints", [{"Key": "a", "effect": "NoSchedule"}], "a taint has no Key"),
    ("reservedMemory", [{"numaNode": "0", "limits": {"memory": "1Gi"}}], "'0' is not of type int32"),
    ("reservedMemory", [{"numaNode": 0, "limits": {"memory": "0"}}], "must be more than 0"),
    ("reservedMemory", [{"numaNode": 0, "limits": {"cpu": "1"}}], "'cpu' is not a type of memory"),
    ("reservedMemory", [{"limits": {"memory": "1"}}, {"limits": {"memory": "1"}}], "reserved twice"),
    ("reservedMemory", [{"node": 0}], "a reservation has no node"),
    ("logging.vmodule", [{"pattern": "a=1"}], "a pattern has no pattern"),
    ("logging.vmodule", [{"filePattern": "a", "verbosity": "1"}], "'1' is not of type uint32"),
    ("shutdownGracePeriodByPodPriority", [{"priority": 2**31}], "does not fit int32"),
    ("tlsCurvePreferences", ["X25519"], "is not of type int32"),
    ("authentication.webhok.enabled", True, "no such field"),
    ("authentication.webhook.enable", True, "no such field"),
    ("authentication", True, "True is a boolean; expected object"),
    ("authentication.webhook", "yes", "'yes' is not of type object"),
    ("maxPods", True, "is a boolean"),
    ("cpuManagerPolicy", "dynamic", "not one of none, static"),
    # kubelets of 1.20.2, 1.24.17, 1.30.14 and 1.37.2 end with "invalid configuration" at each of these.
    ("maxPods", -5, "-5 is out of range; expected 0 or more"),
    ("oomScoreAdj", -1001, "-1001 is out of range; expected -1000 to 1000"),
    ("imageGCHighThresholdPercent", 101, "expected 0 to 100"),
    ("iptablesDropBit", 32, "expected 0 to 31"),
    ("port", 65536, "expected 0 to 65535"),
    ("nodeStatusMaxImages", -2, "expected -1 or more"),
    ("nodeLeaseDurationSeconds", -1, "expected 0 or more"),
    ("registryPullQPS", -1, "expected 0 or more"),
    (
        "tlsCipherSuites",
        ["TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265"],
        "1.36 does not know TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA265; did you mean TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256?",
    ),
]


def found(path: str, value: object, release: str = "1.36") -> list[tuple[str, str]]:
    config: dict[str, Any] = {}
    paths.put(config, path, value)
    return problems(release_table("kubelet", release), config)


@pytest.mark.parametrize(("path", "value"), GOOD)
def test_what_the_kubelet_takes_is_no_problem(path: str, value: object) -> None:
    assert found(path, value) == []


@pytest.mark.parametrize(("path", "value", "why"), BAD)
def test_what_the_kubelet_refuses_is_named_with_its_field(path: str, value: object, why: str) -> None:
    [(where, reason)] = found(path, value)
    assert path.startswith(where)
    assert why in reason


def test_cipher_suites_are_those_of_the_release() -> None:
    """component-base v0.18.19 and v0.19.16, cli/flag/ciphersuites_flag.go: TLS 1.3 has names from 1.19 on."""
    assert not found("tlsCipherSuites", ["TLS_AES_128_GCM_SHA256"], "1.19")
    [(_, why)] = found("tlsCipherSuites", ["TLS_AES_128_GCM_SHA256"], "1.18")
    assert why == "1.18 does not know TLS_AES_128_GCM_SHA256"
    assert not found("maxParallelImagePulls", 1, "1.27")
    [(_, why)] = found("maxParallelImagePulls", 0, "1.27")
    assert "expected 1 or more" in why


def test_a_soft_threshold_with_a_grace_period_is_no_problem() -> None:
    config = {
        "evictionSoft": {"memory.available": "5%"},
        "evictionSoftGracePeriod": {"memory.available": "90s"},
    }
    assert problems(release_table("kubelet", "1.20"), config) == []


def test_the_kubelets_rules_are_not_those_of_other_components() -> None:
    """kube-proxy has no evictionHard: one problem, and no look into its value."""
    [(where, reason)] = problems(release_table("kube-proxy", "1.20"), {"evictionHard": {"x": "y"}})
    assert (where, "no such field" in reason) == ("evictionHard", True)


@pytest.mark.parametrize("minor", range(10, 37))
def test_the_defaults_of_every_release_are_no_problem(minor: int) -> None:
    table = release_table("kubelet", f"1.{minor}")
    for path, field in table.fields.items():
        if field.default is not None and field.type != "object":
            assert found(path, field.default, f"1.{minor}") == []
