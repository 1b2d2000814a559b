"""Random flag sets of the kubelet of 1.20, and some of kube-proxy, on the lab's nodes: before and after the migration.

KUBEHARDEN_FLAG_SETS=300 tries that many command lines instead of a sample of 40. A failure names its seed;
KUBEHARDEN_FLAG_SEED=SEED tries that one alone.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable
from typing import Any

import pytest
import yaml
from flag_domains import (
    KEY,
    KUBELET_BASE,
    NOWHERE,
    kubelet_command,
    profile_of,
    seeds_of_kubelets,
    table_of,
)
from flag_verdicts import Verdicts, told, unlike
from flags_on_nodes import CONFIG, Ran, kube_proxy, kubelet, prepare
from places import Node, existing
from truth import differences, flat

from kubeharden import migrate
from kubeharden.components.flags import split_flags
from kubeharden.components.paths import put
from kubeharden.components.validate import problems


@pytest.fixture(scope="module")
def nodes(unhardened_lab: None) -> list[Node]:
    """The lab's nodes; whoever comes next takes them back to their before-state."""
    found = existing()
    for node in found:
        prepare(node)
    return found


CIPHERS = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
]


def hardened(profile: str, before: dict[str, Any]) -> dict[str, tuple[Any, Any]]:
    """What the profile changes in this kubelet, as /configz shows it: what is stricter already stays."""
    if profile == "none":
        return {}
    wanted = {
        "authentication.anonymous.enabled": False,
        "authorization.mode": "Webhook",
        "readOnlyPort": None,
        "tlsMinVersion": "VersionTLS12",
        "tlsCipherSuites": CIPHERS,
    }
    suites = before.get("tlsCipherSuites")
    if before.get("tlsMinVersion") == "VersionTLS13":  # which has suites of its own
        del wanted["tlsMinVersion"], wanted["tlsCipherSuites"]
    elif suites and set(suites) <= set(CIPHERS):
        del wanted["tlsCipherSuites"]
    return {
        path: (before.get(path), value) for path, value in sorted(wanted.items()) if before.get(path) != value
    }


def test_kubelets_run_with_the_same_afterwards_but_for_what_the_profile_hardens(
    nodes: list[Node], record_property: Callable[[str, object], None]
) -> None:
    free: queue.Queue[Node] = queue.Queue()
    for node in nodes:
        free.put(node)

    def judge(seed: int) -> str:
        node = free.get()
        try:
            return migrated(node, kubelet_command(seed), profile_of(seed))
        finally:
            free.put(node)

    record_property("seeds", seeds_of_kubelets())
    Verdicts().of(seeds_of_kubelets(), judge, len(nodes)).check()


@pytest.mark.sample(3)
@pytest.mark.parametrize(
    "words",
    [
        ["--logging-format=json"],
        ["--cgroups-per-qos=false", "--enforce-node-allocatable="],
        ["--eviction-hard="],
        ["--pod-manifest-path=manifests", "--resolv-conf=resolv.conf"],  # relative to where the kubelet runs
        ["--authentication-token-webhook-cache-ttl=10s", "--authentication-token-webhook-cache-ttl=0"],
        ["--authentication-token-webhook-cache-ttl=0", "--authentication-token-webhook-cache-ttl=10s"],
        ["--anonymous-auth=false", "--read-only-port=0"],
    ],
    ids=" ".join,
)
def test_a_kubelet_with_what_chance_seldom_brings(nodes: list[Node], words: list[str]) -> None:
    assert migrated(nodes[0], ["/usr/bin/kubelet", *KUBELET_BASE, *words], "article") == ""


def migrated(node: Node, argv: list[str], profile: str) -> str:
    """What is wrong with the migration of one command line; nothing, if it holds."""
    before = kubelet(node, argv)
    if before.configz is None:
        return f"the generator's fault: the kubelet does not start with {argv}: {before.end()}"
    migration = migrate("kubelet", "1.20", argv, profile=profile, config_path=CONFIG)
    lines = f"profile {profile} on {node.name}\n{argv}\n{migration.argv}\n{migration.yaml}"
    if migration.refused:
        return f"refused: {migration.refused}\n{lines}"
    after = kubelet(node, migration.argv, migration.yaml)
    if after.configz is None:
        return f"does not start afterwards: {after.end()}\n{lines}"
    wrong = {
        "changed otherwise than the profile says": _unexpected(profile, before, after),
        "before is not what we think": unlike(migration.before, before.configz, derived(before.configz)),
        "after is not what we think": unlike(migration.after, after.configz, derived(after.configz)),
        "lenient decoding": [line for line in before.log + after.log if "lenient decoding" in line],
        "warnings before": set(before.deprecated()) ^ _deprecated(argv),
        "warnings after": set(after.deprecated()) ^ _deprecated(migration.argv),
        "warnings of moved flags": set(after.deprecated()) & {s.flag for s in migration.moved},
    }
    return told(wrong, lines)


def derived(configz: dict[str, Any]) -> set[str]:
    """Fields that the kubelet sets by itself when it starts (cmd/kubelet/app/server.go), whatever was said of them.

    Its own certificate, where none is named; and with reserved CPUs, their number as what is reserved of them.
    """
    by_itself = {
        name for name in ("tlsCertFile", "tlsPrivateKeyFile") if configz.get(name, "").startswith(KEY)
    }
    return by_itself | (
        {"systemReserved.cpu", "kubeReserved.cpu"} if configz.get("reservedSystemCPUs") else set()
    )


def _unexpected(profile: str, before: Ran, after: Ran) -> dict[str, tuple[Any, Any]]:
    """Where what changed is not what the profile hardens: path → (what changed, what was to)."""
    was = flat(before.configz)
    changed, wanted = differences(was, flat(after.configz)), hardened(profile, was)
    return {
        path: (changed.get(path), wanted.get(path))
        for path in {**changed, **wanted}
        if changed.get(path) != wanted.get(path)
    }


def _deprecated(argv: list[str]) -> set[str]:
    """The flags on a command line that the release's table calls deprecated."""
    table = table_of("kubelet")
    return {use.name for use in split_flags(argv[1:], table) if table.flags[use.name].deprecated}


@pytest.mark.sample(4)
@pytest.mark.parametrize(
    ("config", "outcome"),
    [
        ({"syncFrequency": "1m", "readOnlyPort": 0}, "starts"),
        ({"readOnlyPortt": 0}, "drops"),
        ({"readonlyport": 0}, "drops"),
        ({"authentication.anonymus.enabled": False}, "drops"),
        ({"syncFrequency": "one minute"}, "refuses"),
        ({"syncFrequency": 60}, "refuses"),
        ({"maxPods": "110"}, "refuses"),
        ({"failSwapOn": "false"}, "refuses"),
        ({"clusterDNS": "10.0.0.10"}, "refuses"),
        ({"authorization.mode": "RBAC"}, "refuses"),
        ({"tlsMinVersion": "TLS12"}, "refuses"),
    ],
    ids=str,
)
def test_the_kubelet_minds_what_validate_finds(
    nodes: list[Node], config: dict[str, Any], outcome: str
) -> None:
    table = table_of("kubelet")
    base = migrate("kubelet", "1.20", ["/usr/bin/kubelet", *KUBELET_BASE], profile="none", config_path=CONFIG)
    content = copy.deepcopy(base.config)
    for path, value in config.items():
        put(content, path, value)
    assert bool(problems(table, content)) == (outcome != "starts")
    ran = kubelet(nodes[0], base.argv, yaml.safe_dump(content))
    assert (ran.configz is None) == (outcome == "refuses"), ran.end()
    assert any("lenient decoding" in line for line in ran.log) == (outcome == "drops"), ran.end()


# Flags and the address that the metrics, and with them the configuration, are served at.
PROXY_ADDRESSES = [
    (["--bind-address=127.0.0.1"], "127.0.0.1:10249"),
    (["--bind-address=127.0.0.1", "--healthz-port=20256"], "127.0.0.1:10249"),
    (["--bind-address=127.0.0.1", "--metrics-port", "20249"], "127.0.0.1:10249"),
    (["--bind-address=127.0.0.1", "--healthz-bind-address=127.0.0.1"], "127.0.0.1:10249"),
    (
        ["--healthz-bind-address=127.0.0.1", "--bind-address=127.0.0.1", "--healthz-port=20256"],
        "127.0.0.1:10249",
    ),
    (
        ["--bind-address=127.0.0.1", "--metrics-port=20249", "--metrics-bind-address=10.1.2.3"],
        "10.1.2.3:20249",
    ),
    (["--bind-address=127.0.0.1", "--metrics-bind-address=[::1]:20249", "--metrics-port=7"], "[::1]:20249"),
    (["--bind-address=127.0.0.1", "--metrics-bind-address=fd00::12"], "[fd00::12]:10249"),
    (["--bind-address=::1"], "127.0.0.1:10249"),
    (["--bind-address=fd00::12", "--healthz-bind-address=::", "--healthz-port=20256"], "127.0.0.1:10249"),
]
PROXY_BASE = ["kube-proxy", "--kubeconfig=/run/flag-sets/nowhere", "--conntrack-max-per-core=0",
              "--conntrack-tcp-timeout-established=0", "--conntrack-tcp-timeout-close-wait=0"]  # fmt: skip


@pytest.mark.sample(4)
@pytest.mark.parametrize(("words", "address"), PROXY_ADDRESSES, ids=str)
def test_kube_proxy_serves_at_the_same_addresses_afterwards(
    nodes: list[Node], words: list[str], address: str
) -> None:
    config = "/run/flag-sets/its config.yaml"
    files = {"/run/flag-sets/nowhere": NOWHERE}
    argv = [*PROXY_BASE, *words]
    before = kube_proxy(nodes[-1], argv, address, files)
    assert before.configz is not None, before.end()
    migration = migrate("kube-proxy", "1.20", argv, config_path=config)
    assert migration.refused == []
    after = kube_proxy(nodes[-1], migration.argv, address, {**files, config: migration.yaml})
    assert after.configz is not None, after.end()
    assert differences(flat(before.configz), flat(after.configz)) == {}
    for name, served in (
        ("healthzBindAddress", "HealthzBindAddress"),
        ("metricsBindAddress", "MetricsBindAddress"),
    ):
        assert before.configz[served] == migration.before[name]
