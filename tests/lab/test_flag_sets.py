"""Random flag sets of 1.20, judged by the 1.20.2 binaries: what they run with before and after the migration.

KUBEHARDEN_FLAG_SETS=300 tries that many command lines of each component instead of 40, and of a sample of these for the
kubelet. A failure names its seed; KUBEHARDEN_FLAG_SEED=SEED tries that one alone.
"""

from __future__ import annotations

import copy
import queue
from collections.abc import Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml
from binaries import COMPONENTS, RefusedError, says, usage, written
from flag_domains import (
    ALWAYS,
    KEY,
    KUBELET_BASE,
    NOWHERE,
    ONE,
    WINDOWS,
    command,
    kubelet_command,
    never_tried,
    profile_of,
    seeds,
    seeds_of_kubelets,
    table_of,
)
from flags_on_nodes import CONFIG, Ran, kube_proxy, kubelet, prepare
from places import Node, existing
from truth import differences, flat

from kubeharden import migrate
from kubeharden.components.flags import split_flags
from kubeharden.components.paths import put
from kubeharden.components.validate import problems
from kubeharden.components.values import parse_text
from kubeharden.releases import Flag
from usage_text import Shown

PROXIES = ("kube-proxy", "kube-scheduler")


# The tables against the usage of the binaries

# Type of pflag → types of the tables.
TYPES = {
    "bool": {"bool"},
    "colonSeparatedMultimapStringString": {"map(string,list(string))"},
    "duration": {"duration"},
    "float": {"float", "float64"},
    "float32": {"float", "float32"},
    "int": {"int32", "int64"},
    "int32": {"int32"},
    "ip": {"ip"},
    "ipport": {"address"},
    "Level": {"uint32"},
    "LocalMode": {"enum(string)"},
    "mapStringBool": {"map(string,bool)"},
    "mapStringString": {"map(string,string)"},
    "moduleSpec": {"list({filePattern,verbosity})"},
    "port-range": {"port range"},
    "ProxyMode": {"enum(string)"},
    "severity": {"string"},
    "string": {"string", "ip", "quantity", "list(string)"},
    "strings": {"list(string)"},
    "traceLocation": {"string"},
    "uint": {"uint32"},
    "version[=true]": {"bool"},
    "[]api.Taint": {"list(taint)"},
    "namedCertKey": {"string"},
}
# In the tables, but not in the usage; the binary itself is asked whether it takes them.
HIDDEN = {
    "kubelet": {"--experimental-dockershim-root-directory"},
    "kube-proxy": {"--cleanup-ipvs", "--healthz-port", "--metrics-port"},  # MarkDeprecated hides them
    "kube-scheduler": set(),
}


@pytest.fixture(scope="module", params=COMPONENTS)
def component(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def used(component: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Shown]:
    return usage(component, tmp_path_factory.mktemp("usage"))


def test_the_table_has_the_flags_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    flags = set(table_of(component).flags)
    assert set(used) - flags == set()
    assert flags - set(used) == HIDDEN[component] | WINDOWS[component]
    assert len(used) > 50


def test_the_binary_takes_what_it_does_not_show(component: str, tmp_path: Path) -> None:
    table = table_of(component)
    for name in HIDDEN[component]:
        said = says(component, f"{name}=1", tmp_path)
        assert "unknown flag" not in said
        assert (f"Flag {name} has been deprecated" in said) == bool(table.flags[name].deprecated), said
    for name in WINDOWS[component]:
        assert "unknown flag" in says(component, f"{name}=1", tmp_path), (
            f"{name} is said to be of Windows only"
        )


def test_the_types_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    wrong = {
        name: (flag.type, table_of(component).flags[name].type)
        for name, flag in used.items()
        if table_of(component).flags[name].type not in TYPES[flag.type]
    }
    assert wrong == {}


def test_the_deprecated_flags_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    """The kubelet's usage says so; kube-proxy hides such flags, and kube-scheduler has none that warns."""
    table = table_of(component)
    assert {name for name, flag in used.items() if flag.deprecated} == {
        name for name in used if table.flags[name].deprecated
    }


def test_the_defaults_are_those_of_the_usage(component: str, used: dict[str, Shown]) -> None:
    table = table_of(component)
    compared = 0
    wrong = {}
    for name, shown in used.items():
        flag = table.flags[name]
        known = table.field(flag.field) if flag.field else None
        default = flag.legacy_default if flag.legacy_default is not None else known and known.default
        if shown.default is None or default is None:
            continue
        compared += 1
        if _shown_default(shown.default, flag) != _default_of(default, flag):
            wrong[name] = (shown.default, default)
    assert wrong == {}
    assert compared >= {"kubelet": 55, "kube-proxy": 15, "kube-scheduler": 12}[component]


def _shown_default(text: str, flag: Flag) -> Any:
    """A default as pflag prints it: strings in quotes, lists in brackets, each in its flag's notation."""
    text = text.strip('"')
    if flag.type == "list(string)":
        text = text.strip("[]")
    separator = "<" if flag.name == "--eviction-hard" else "="
    return parse_text(flag.type, text, separator)


def _default_of(default: Any, flag: Flag) -> Any:
    """A field's default as far as the flag gives it: ``--port`` is the second part of an address."""
    if flag.part == "port":
        return int(str(default).rpartition(":")[2])
    return str(default).rpartition(":")[0] if flag.part == "host" else default


# Random flag sets


@dataclass
class Verdicts:
    """What became of the sets: seed → what is wrong."""

    tried: int = 0
    wrong: dict[int, str] = field(default_factory=dict)

    def of(self, all_seeds: list[int], judge: Callable[[int], str], workers: int = 2) -> Verdicts:
        with ThreadPoolExecutor(workers) as pool:
            for seed, said in zip(all_seeds, pool.map(judge, all_seeds), strict=True):
                self.tried += 1
                if said:
                    self.wrong[seed] = said
        return self

    def check(self) -> None:
        if self.wrong:
            told = "".join(f"\n{ONE}={seed}: {said}" for seed, said in self.wrong.items())
            pytest.fail(f"{len(self.wrong)} of {self.tried} command lines:{told}", pytrace=False)
        assert self.tried


@pytest.mark.parametrize("component", PROXIES)
def test_kube_proxy_and_the_scheduler_run_with_the_same_afterwards(component: str, tmp_path: Path) -> None:
    def judge(seed: int) -> str:
        folder = tmp_path / str(seed)
        folder.mkdir()
        argv = command(component, seed, folder)
        try:
            before = written(component, argv[1:], folder)
        except RefusedError as error:
            return f"the generator's fault: {component} does not start with {argv}: {error}"
        migration = migrate(
            component, "1.20", argv, profile=profile_of(seed), config_path=str(folder / "its config.yaml")
        )
        unsaid = [s for s in migration.refused if s.flag in CANNOT_BE_SAID[component] and _is_zero(s.value)]
        if migration.refused:
            return "" if unsaid == migration.refused else f"refused: {migration.refused} of {argv}"
        (folder / "its config.yaml").write_text(migration.yaml)
        try:
            after = written(component, migration.argv[1:], folder)
        except RefusedError as error:
            return f"does not start afterwards: {error}\n{argv}\n{migration.argv}\n{migration.yaml}"
        wrong = {
            "changed": differences(flat(before), flat(after)),
            "before is not what we think": unlike(migration.before, before),
            "after is not what we think": unlike(migration.after, after),
        }
        return _told(wrong, f"{argv}\n{migration.argv}\n{migration.yaml}")

    Verdicts().of(seeds(), judge).check()


# Flags whose zero has no equal in the file, so that migrate refuses them; that it does right in that is tested below.
CANNOT_BE_SAID = {"kube-proxy": {"--iptables-min-sync-period"}, "kube-scheduler": {"--port"}}


@pytest.mark.parametrize(
    ("component", "words", "says", "becomes"),
    [
        ("kube-proxy", ["--iptables-min-sync-period=0"], {"iptables": {"minSyncPeriod": "0s"}}, "1s"),
        ("kube-scheduler", ["--port=0"], {"healthzBindAddress": ""}, "0.0.0.0:10251"),
        ("kube-scheduler", ["--port=0"], {"healthzBindAddress": "0.0.0.0:0"}, "must be between 1 and 65535"),
    ],
)
def test_what_migrate_refuses_cannot_be_said(
    component: str, words: list[str], says: dict[str, Any], becomes: str, tmp_path: Path
) -> None:
    table = table_of(component)
    [path] = flat(says)
    (tmp_path / "nowhere").write_text(NOWHERE)
    content = {
        "kind": table.kind,
        "apiVersion": table.api_version,
        "clientConnection": {"kubeconfig": str(tmp_path / "nowhere")},
        **says,
    }
    (tmp_path / "config").write_text(yaml.safe_dump(content))
    argv = [component, f"--kubeconfig={tmp_path / 'nowhere'}", *words]
    assert [s.flag for s in migrate(component, "1.20", argv).refused] == [words[0].partition("=")[0]]
    assert flat(written(component, argv[1:], tmp_path))[path] in ("0s", "")
    try:
        got = str(flat(written(component, [f"--config={tmp_path / 'config'}"], tmp_path))[path])
    except RefusedError as error:
        got = str(error)
    assert becomes in got


def _told(wrong: dict[str, Any], rest: str) -> str:
    """What is wrong, if anything is, and then the rest."""
    said = "".join(f"{what}: {found}\n" for what, found in wrong.items() if found)
    return said and f"{said}{rest}"


def _is_zero(value: Any) -> bool:
    return value in {0, "0s", ""}


def unlike(
    ours: dict[str, Any], theirs: dict[str, Any], passed_over: Collection[str] = ()
) -> dict[str, tuple[Any, Any]]:
    """Where our idea of what runs differs from what runs: fields that we have a value for."""
    known, real = flat(ours), flat(theirs)
    return {
        path: (value, real.get(path))
        for path, value in known.items()
        if value != real.get(path)
        and (value or real.get(path))
        and path not in passed_over
        and not _holds_objects(value)
    }


def _holds_objects(value: Any) -> bool:
    """Such as the scheduler's profiles, which it fills with defaults that no table has."""
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


# Kubelets on the nodes


@pytest.fixture(scope="module")
def nodes(fresh_lab: None) -> list[Node]:
    """The lab's nodes in their before-state; whoever comes next takes them back to it."""
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


def test_kubelets_run_with_the_same_afterwards_but_for_what_the_profile_hardens(nodes: list[Node]) -> None:
    free: queue.Queue[Node] = queue.Queue()
    for node in nodes:
        free.put(node)

    def judge(seed: int) -> str:
        node = free.get()
        try:
            return migrated(node, kubelet_command(seed), profile_of(seed))
        finally:
            free.put(node)

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
    told = f"profile {profile} on {node.name}\n{argv}\n{migration.argv}\n{migration.yaml}"
    if migration.refused:
        return f"refused: {migration.refused}\n{told}"
    after = kubelet(node, migration.argv, migration.yaml)
    if after.configz is None:
        return f"does not start afterwards: {after.end()}\n{told}"
    wrong = {
        "changed otherwise than the profile says": _unexpected(profile, before, after),
        "before is not what we think": unlike(migration.before, before.configz, derived(before.configz)),
        "after is not what we think": unlike(migration.after, after.configz, derived(after.configz)),
        "lenient decoding": [line for line in before.log + after.log if "lenient decoding" in line],
        "warnings before": set(before.deprecated()) ^ _deprecated(argv),
        "warnings after": set(after.deprecated()) ^ _deprecated(migration.argv),
        "warnings of moved flags": set(after.deprecated()) & {s.flag for s in migration.moved},
    }
    return _told(wrong, told)


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


def test_no_flag_is_forgotten(tmp_path: Path) -> None:
    """Every flag of each table is on one of the command lines, or it is said why not."""
    for component in COMPONENTS:
        tried = set()
        for seed in range(ALWAYS):
            argv = kubelet_command(seed) if component == "kubelet" else command(component, seed, tmp_path)
            tried |= {use.name for use in split_flags(argv[1:], table_of(component))}
        assert never_tried(component, tried) == set(), component


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
