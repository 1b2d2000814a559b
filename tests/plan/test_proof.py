"""What a component serves at /configz, against its file: no false alarm, and nothing missed."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.components.mismatches import mismatches, same_field
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.decide import make_plan
from kubeharden.plan.proof import compare
from kubeharden.podsecurity.policies import read_policies
from kubeharden.releases import release_table

POLICIES = Path(__file__).parents[2] / "parameters/pod-security.yaml"


def found(component: str, release: str, config: dict, configz: dict) -> list[str]:
    return [path for path, _, _ in mismatches(release_table(component, release), config, configz)]


def test_a_value_that_is_not_in_effect_is_found() -> None:
    assert found("kubelet", "1.20", {"maxPods": 50}, {"maxPods": 110}) == ["maxPods"]
    assert found("kubelet", "1.20", {"clusterDomain": "a"}, {}) == ["clusterDomain"]


def test_what_the_kubelet_leaves_out_is_empty() -> None:
    assert found("kubelet", "1.20", {"readOnlyPort": 0, "featureGates": {}}, {}) == []


def test_durations_are_compared_as_times() -> None:
    assert found("kubelet", "1.20", {"syncFrequency": "60s"}, {"syncFrequency": "1m0s"}) == []


def test_internal_names_differ_by_case_and_in_old_releases_altogether() -> None:
    config = {"bindAddress": "0.0.0.0", "clientConnection": {"kubeconfig": "/k"}}
    old = {"BindAddress": "0.0.0.0", "ClientConnection": {"KubeConfigFile": "/k"}}
    new = {"BindAddress": "0.0.0.0", "ClientConnection": {"Kubeconfig": "/k"}}
    assert found("kube-proxy", "1.10", config, old) == []
    assert found("kube-proxy", "1.20", config, new) == []
    wrong = {**old, "ClientConnection": {"KubeConfigFile": "/other"}}
    assert found("kube-proxy", "1.10", config, wrong) == ["clientConnection.kubeconfig"]


def test_a_field_that_an_internal_type_regrouped_is_passed_over() -> None:
    assert (
        found(
            "kube-proxy",
            "1.31",
            {"clusterCIDR": "10.0.0.0/8"},
            {"DetectLocal": {"ClusterCIDRs": ["10.0.0.0/8"]}},
        )
        == []
    )


def test_lists_of_objects_that_the_scheduler_fills_are_passed_over() -> None:
    config = {"profiles": [{"schedulerName": "mine"}]}
    assert (
        found("kube-scheduler", "1.20", config, {"Profiles": [{"SchedulerName": "mine", "Plugins": {}}]})
        == []
    )


@pytest.mark.parametrize(
    ("path", "served", "same"),
    [
        ("tlsMinVersion", "tlsMinVersion", True),
        ("clusterCIDR", "ClusterCIDR", True),
        ("clusterCIDR", "DetectLocal.ClusterCIDRs", True),
        ("clientConnection.kubeconfig", "ClientConnection.KubeConfigFile", True),
        ("tlsMinVersion", "tlsCipherSuites", False),
    ],
)
def test_the_names_of_one_field(path: str, served: str, same: bool) -> None:
    assert same_field(path, served) is same


def test_the_cpus_that_are_reserved_by_name_count_instead_of_the_amount() -> None:
    table = release_table("kubelet", "1.20")
    config = {"reservedSystemCPUs": "0-1", "systemReserved": {"cpu": "250m", "memory": "1Gi"}}
    served = {"reservedSystemCPUs": "0-1", "systemReserved": {"cpu": "2", "memory": "1Gi"}}
    assert mismatches(table, config, served) == []
    served["systemReserved"]["memory"] = "2Gi"
    assert [path for path, _, _ in mismatches(table, config, served)] == ["systemReserved"]


def test_what_could_not_be_read_is_called_unverified_with_the_reason() -> None:
    facts = read_facts(PLANS / "containerd-1.36")
    plan = make_plan(facts, Parameters(), read_policies(POLICIES))
    after = replace(
        facts, nodes=tuple(node.with_configz(None, "it forwards nothing") for node in facts.nodes)
    )
    notes = [
        note for note in compare(facts, after, plan, applied=True).notes if note.startswith("kubelet on")
    ]
    [unverified] = [note for note in notes if "not verified" in note]
    assert (
        "k8s-master, k8s-node1 does not serve its effective configuration (it forwards nothing):"
        in unverified
    )


@pytest.mark.parametrize(
    ("mode", "found_in"),
    [("iptables", ["iptables"]), ("ipvs", ["ipvs"]), ("nftables", ["nftables"])],
)
def test_what_kube_proxy_does_not_read_in_its_mode_is_not_missed(mode: str, found_in: list[str]) -> None:
    """As kube-proxy 1.37.2 serves it: of the modes that are not in use, the periods are 0s."""
    periods = {"syncPeriod": "45s", "minSyncPeriod": "5s"}
    config = {"mode": mode, "iptables": periods, "ipvs": periods, "nftables": periods}
    nothing = dict.fromkeys(periods, "0s")
    served = {"mode": mode, "iptables": nothing, "ipvs": nothing, "nftables": nothing}
    assert found("kube-proxy", "1.37", config, {**served, mode: periods}) == []
    assert {path.partition(".")[0] for path in found("kube-proxy", "1.37", config, served)} == {*found_in}
    everywhere = {path.partition(".")[0] for path in found("kube-proxy", "1.30", config, served)}
    assert everywhere == {"iptables", "ipvs", "nftables"}


@pytest.mark.parametrize(("release", "missed"), [("1.35", []), ("1.36", ["nodePortAddresses"])])
def test_what_is_not_served_is_missed_where_the_names_are_those_of_the_file(
    release: str, missed: list[str]
) -> None:
    """Up to 1.35, the internal type may have it under another name."""
    assert found("kube-proxy", release, {"nodePortAddresses": ["10.0.0.0/8"]}, {"mode": "iptables"}) == missed
