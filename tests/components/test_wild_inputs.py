"""Command lines and config files as they are met on nodes that people have built: what becomes of each."""

from __future__ import annotations

import re
from typing import Any

import pytest

from kubeharden import KubehardenError, migrate, readiness
from kubeharden.components import paths
from kubeharden.components.mismatches import mismatches
from kubeharden.formats import as_yaml
from kubeharden.releases import release_table

SECURE = ["kubelet", "--client-ca-file=/ca.crt", "--kubeconfig=/k"]


def said(settings: list) -> str:
    return "\n".join(f"{s.flag or s.field}: {s.why}" for s in settings)


def config_of(text: str) -> dict[str, Any]:
    content = as_yaml(text, "a file", KubehardenError)
    assert isinstance(content, dict)
    return content


@pytest.mark.parametrize(
    "value", ["node-role.kubernetes.io/worker", "a,b=c", "a=", "a=b=c", "", ",", "a=b,", " a , b = c ", "=x"]
)
@pytest.mark.parametrize("release", ["1.10", "1.20", "1.36"])
def test_labels_of_a_node_may_have_no_value(release: str, value: str) -> None:
    made = migrate("kubelet", release, [*SECURE, f"--node-labels={value}"])
    assert not made.refused
    assert f"--node-labels={value}" in made.argv
    assert readiness("kubelet", release, "1.36", made.argv, made.config) is not None


@pytest.mark.parametrize(
    "flag", ["--feature-gates=A", "--system-reserved=cpu", "--eviction-hard=memory.available"]
)
def test_other_maps_have_a_value_for_each_key(flag: str) -> None:
    assert "is not a pair" in said(migrate("kubelet", "1.20", [*SECURE, flag]).refused)


@pytest.mark.parametrize("release", ["1.10", "1.20", "1.36"])
def test_a_gate_that_is_a_blank_stops_the_component(release: str) -> None:
    """Checked with kubelet 1.20.2: malformed pair. An empty item is passed over."""
    words = [*SECURE, "--feature-gates=RotateKubeletServerCertificate=true, ,"]
    assert "is not a pair" in said(migrate("kubelet", release, words).refused)
    assert not migrate(
        "kubelet", release, [*SECURE, "--feature-gates=RotateKubeletServerCertificate=true,,"]
    ).refused


@pytest.mark.parametrize("version", ["kubeadm.k8s.io/v1beta2", "kubelet.config.k8s.io/v1beta1", None])
def test_the_kind_of_a_file_is_judged_before_its_version(version: str | None) -> None:
    config = {"kind": "ClusterConfiguration", "apiVersion": version}
    [refused] = migrate("kubelet", "1.20", [*SECURE, "--config=/c"], config).refused
    assert refused.why == (
        "'ClusterConfiguration': it is the configuration of something else; expected KubeletConfiguration"
    )


NULLS = [
    ("kubelet", "authentication:"),
    ("kubelet", "authentication:\n  webhook: null\n  x509: {clientCAFile: /ca.crt}"),
    ("kubelet", "authentication:\n  anonymous:\n    enabled: ~"),
    ("kubelet", "logging: null"),
    ("kubelet", "logging:\n  options:\n    json: null"),
    ("kubelet", "authorization: null\nevictionHard: null\nfeatureGates:\nclusterDNS: null\nmaxPods: null"),
    ("kube-proxy", "clientConnection: null"),
    ("kube-proxy", "clientConnection:\n  kubeconfig: null\niptables: null\nconntrack:\n  min: null"),
    ("kube-scheduler", "leaderElection:\nclientConnection: ~"),
    ("kube-scheduler", "profiles: null\nextenders: null"),
]


@pytest.mark.parametrize(("component", "text"), NULLS)
@pytest.mark.parametrize("release", ["1.10", "1.14", "1.20", "1.30", "1.36"])
def test_null_is_unset(component: str, text: str, release: str) -> None:
    config = {"apiVersion": release_table(component, release).api_version, **config_of(text)}
    words = [*(SECURE if component == "kubelet" else [component]), "--config=/c"]
    made = migrate(component, release, words, config)
    without = migrate(
        component, release, words, {"apiVersion": config["apiVersion"], **paths.without_nulls(config)}
    )
    assert (made.refused, made.config) == ([], without.config)
    assert "null" not in made.yaml
    assert readiness(component, release, "1.36", words, config) is not None
    assert mismatches(release_table(component, release), config, {}) == mismatches(
        release_table(component, release), paths.without_nulls(config), {}
    )


@pytest.mark.parametrize(
    ("release", "text", "path", "value"),
    [
        ("1.14", 'nodefs.available: "10%"', '"nodefs.available"', "10%"),
        ("1.14", "authentication.anonymous.enabled: false", '"authentication.anonymous.enabled"', False),
        ("1.20", "authentication: {anonymous.enabled: false}", 'authentication."anonymous.enabled"', False),
        ("1.16", "evictionHard[0]: {a: b}", '"evictionHard[0]"', {"a": "b"}),
        ("1.16", 'my"key.: [1]', r'"my\"key."', [1]),
        ("1.16", '"": x', '""', "x"),
        ("1.16", "maxPods.: 3\nmaxPods: 7", '"maxPods."', 3),
    ],
)
def test_a_key_with_a_dot_is_no_path(release: str, text: str, path: str, value: Any) -> None:
    config = {"authentication": {"x509": {"clientCAFile": "/ca.crt"}}, **config_of(text)}
    if "authentication" in config_of(text):
        config["authentication"]["x509"] = {"clientCAFile": "/ca.crt"}
    made = migrate("kubelet", release, [*SECURE, "--config=/c"], config)
    assert not made.refused
    [dropped] = made.dropped
    assert (dropped.field, dropped.value) == (path, value)
    assert "never in effect" in dropped.why
    assert made.before["authentication"]["anonymous"]["enabled"] is False  # the default beside a file
    assert not paths.has(made.config, path)
    if "maxPods" in config_of(text):
        assert made.config["maxPods"] == 7


@pytest.mark.parametrize(
    ("component", "text", "words"),
    [
        ("kubelet", "syncFrequency: 60", "syncFrequency: 60 is not of type duration"),
        ("kubelet", 'syncFrequency: "60"', "syncFrequency: '60' is not a duration"),
        ("kubelet", "syncFrequency: 0", "syncFrequency: 0 is not of type duration"),
        ("kubelet", "authentication: true", "authentication: True is a boolean; expected object"),
        ("kubelet", "authentication: [a]", "authentication: ['a'] is not of type object"),
        ("kubelet", "authentication: {webhook: yes}", "authentication.webhook: True is a boolean"),
        ("kubelet", "maxPods: many", "maxPods: 'many' is not of type int32"),
        ("kubelet", "maxPods: 99999999999", "maxPods: 99999999999 does not fit int32"),
        ("kubelet", "evictionHard: {memory.available: null}", "evictionHard: memory.available is null"),
        ("kubelet", "evictionHard: {memory.available: 100}", "evictionHard: 100 is not of type string"),
        ("kubelet", "clusterDNS: 10.0.0.10", "clusterDNS: '10.0.0.10' is not of type list(string)"),
        ("kubelet", "clusterDNS: [null]", "clusterDNS: one of the list is null"),
        ("kubelet", "featureGates: {A: 'true'}", "featureGates: 'true' is not of type bool"),
        ("kube-proxy", "iptables: {syncPeriod: 30}", "iptables.syncPeriod: 30 is not of type duration"),
        ("kube-proxy", "clientConnection: /k", "clientConnection: '/k' is not of type object"),
        (
            "kube-scheduler",
            "leaderElection: {leaseDuration: 15}",
            "leaderElection.leaseDuration: 15 is not of type",
        ),
    ],
)
@pytest.mark.parametrize("release", ["1.10", "1.20"])
def test_a_value_of_another_type_is_refused_with_its_field(
    component: str, text: str, words: str, release: str
) -> None:
    config = config_of(text)
    argv = [*(SECURE if component == "kubelet" else [component]), "--config=/c"]
    assert words in said(migrate(component, release, argv, config).refused)
    with pytest.raises(KubehardenError) as error:
        readiness(component, release, "1.30", argv, config)
    assert words in str(error.value)
    assert mismatches(release_table(component, release), config, {}) is not None


@pytest.mark.parametrize("value", ["0.0.0.0:²", "0.0.0.0:" + "9" * 5000, "[::", ":", "::1]:7"])
def test_a_port_has_the_digits_of_one(value: str) -> None:
    config = {"apiVersion": "kubescheduler.config.k8s.io/v1beta2", "healthzBindAddress": value}
    assert migrate("kube-scheduler", "1.22", ["kube-scheduler", "--config=/c"], config) is not None
    assert readiness("kube-scheduler", "1.22", "1.24", ["kube-scheduler", "--config=/c"], config) is not None


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("maxpods: 50", "maxPods"),
        ("MaxPods: 50\nmaxPods: 60", "maxPods"),
        ("Authentication: {anonymous: {enabled: true}}", "authentication"),
        ("authentication: {Anonymous: {enabled: true}}", "authentication.anonymous"),
    ],
)
def test_the_first_patch_levels_of_1_10_read_names_in_any_case(text: str, field: str) -> None:
    words = [*SECURE, "--config=/c"]
    [refused] = migrate("kubelet", "v1.10.3", words, config_of(text)).refused
    assert f"1.10.0 to 1.10.4 take it for {field}" in refused.why
    assert "never in effect" not in refused.why
    [found] = [
        f for f in readiness("kubelet", "1.10", "1.12", words, config_of(text)) if f.setting == refused.field
    ]
    assert found.why == f"1.10.0 to 1.10.4 take it for {field}, and 1.11 does not"
    later = migrate("kubelet", "1.11", words, config_of(text))
    assert [s.why for s in later.dropped] == [
        "KubeletConfiguration of 1.11 has no such field: it was never in effect"
    ]


@pytest.mark.parametrize(
    "words",
    [
        ["--authentication-token-webhook"],
        ["--authentication-token-webhook", "--authorization-mode=Webhook"],
        ["--authentication-token-webhook=true", "--client-ca-file="],
    ],
)
def test_the_api_server_needs_a_client_ca(words: list[str]) -> None:
    [refused] = migrate("kubelet", "1.20", ["kubelet", "--kubeconfig=/k", *words]).refused
    assert refused.flag == "--client-ca-file"


def test_what_is_closed_already_is_not_closed_again() -> None:
    """It has no client CA either, and nothing of this run makes that worse."""
    words = ["kubelet", "--kubeconfig=/k", "--anonymous-auth=false", "--authorization-mode=Webhook"]
    assert not migrate("kubelet", "1.20", [*words, "--authentication-token-webhook"]).refused


@pytest.mark.parametrize("words", [[], ["--kubeconfig="], ["--kubeconfig=/k", "--kubeconfig="]])
def test_a_kubelet_without_an_api_server_keeps_its_authorization(words: list[str]) -> None:
    made = migrate("kubelet", "1.20", ["kubelet", "--client-ca-file=/ca.crt", *words])
    assert not made.refused
    assert made.config["authorization"]["mode"] == "AlwaysAllow"
    assert made.config["authentication"]["anonymous"]["enabled"] is False
    assert "without --kubeconfig it has no API server to ask" in said(made.kept)


@pytest.mark.parametrize(
    ("component", "words", "path"),
    [
        ("kubelet", ["--kubeconfig=/etc/kubernetes/kubelet.conf"], "/etc/kubernetes/kubelet-config.yaml"),
        ("kubelet", ["--kubeconfig=/k", "--bootstrap-kubeconfig=//etc/kubernetes/./kubelet.conf"],
         "/etc/kubernetes/kubelet-config.yaml"),
        ("kubelet", ["--kubeconfig=etc/kubernetes/kubelet.conf"], "/etc/kubernetes/kubelet-config.yaml"),
        ("kubelet", ["--kubeconfig=kubelet.conf"], "/etc/kubernetes/kubelet-config.yaml"),
        ("kubelet", ["--kubeconfig=./kubernetes//kubelet.conf"], "/etc/kubernetes/kubelet-config.yaml"),
        ("kubelet", ["--kubeconfig=my-kubelet.conf"], "/etc/kubernetes/kubelet.conf"),
        ("kubelet", ["--kubeconfig=/k"], "/etc/kubernetes/kubelet.conf"),
        ("kube-proxy", ["--kubeconfig=/etc/kubernetes/kube-proxy.conf"], "/etc/kubernetes/kube-proxy-config.yaml"),
        ("kube-scheduler", ["--kubeconfig=/etc/kubernetes/kube-scheduler.conf"],
         "/etc/kubernetes/kube-scheduler-config.yaml"),
    ],
)  # fmt: skip
def test_a_config_file_does_not_take_the_place_of_another(
    component: str, words: list[str], path: str
) -> None:
    secure = ["--client-ca-file=/ca.crt"] if component == "kubelet" else []
    made = migrate(component, "1.20", [component, *words, *secure])
    assert not made.refused
    assert f"--config={path}" in made.argv


def test_a_place_that_a_flag_has_is_refused() -> None:
    words = [*SECURE, "--bootstrap-kubeconfig=/etc/kubernetes/kubelet.conf"]
    made = migrate("kubelet", "1.20", words, config_path="/etc/kubernetes/kubelet.conf")
    assert "--bootstrap-kubeconfig: names /etc/kubernetes/kubelet.conf" in said(made.refused)


def test_the_last_config_counts() -> None:
    made = migrate("kubelet", "1.20", [*SECURE, "--config=/first", "--config=/last"], {"maxPods": 7})
    assert [word for word in made.argv if word.startswith("--config")] == ["--config=/last"]


@pytest.mark.parametrize(
    ("component", "release", "word", "words"),
    [
        ("kube-scheduler", "1.20", "--port=0", "kube-scheduler out of steps.*from 1.23 on it can be moved"),
        ("kube-scheduler", "1.10", "--port=0", "from 1.23 on"),
        (
            "kube-proxy",
            "1.20",
            "--healthz-port=0",
            "kube-proxy out of steps, or give it an address of its own node",
        ),
    ],
)
def test_a_refused_port_comes_with_a_way_out(component: str, release: str, word: str, words: str) -> None:
    [refused] = migrate(component, release, [component, word]).refused
    assert re.search(words, refused.why)


@pytest.mark.parametrize(("key", "name"), [(True, "true"), (None, "null"), (7, "7"), (1.5, '"1.5"')])
def test_a_key_that_is_no_text_is_the_text_that_json_has_for_it(key: Any, name: str) -> None:
    config = {"maxPods": 7, key: 3, "authentication": {key: {"a": 2}, "x509": {"clientCAFile": "/ca.crt"}}}
    made = migrate("kubelet", "1.16", [*SECURE, "--config=/c"], config)
    assert not made.refused
    assert [(s.field, s.value) for s in made.dropped] == [(name, 3), (f"authentication.{name}", {"a": 2})]
    assert name.strip('"') not in {*made.config, *made.config["authentication"]}
    found = readiness("kubelet", "1.16", "1.20", [*SECURE, "--config=/c"], config)
    assert name in [f.setting for f in found]


EMPTY = [  # flags that are empty, as of an empty variable
    *((release, "kube-proxy", flag, "dropped") for release in ("1.10", "1.20", "1.30", "1.36") for flag in
      ("--bind-address", "--healthz-bind-address", "--metrics-bind-address")),
    ("1.30", "kube-proxy", "--proxy-mode", "dropped"),
    ("1.36", "kube-proxy", "--detect-local-mode", "dropped"),
    ("1.20", "kube-scheduler", "--address", "dropped"),
    ("1.20", "kube-scheduler", "--kube-api-content-type", "refused"),
    ("1.20", "kubelet", "--address", "dropped"),
    ("1.20", "kubelet", "--healthz-bind-address", "dropped"),
]  # fmt: skip


@pytest.mark.parametrize(("release", "component", "flag", "verdict"), EMPTY)
def test_an_empty_flag_is_what_the_component_takes_it_for(
    release: str, component: str, flag: str, verdict: str
) -> None:
    """Checked with kube-proxy and kube-scheduler, 1.20.2 to 1.37.2: --write-config-to."""
    start = SECURE if component == "kubelet" else [component]
    made = migrate(component, release, [*start, f"{flag}="], profile="none")
    assert [s.flag for s in getattr(made, verdict) if s.flag == flag] == [flag]
    if verdict != "refused":
        assert made.after == migrate(component, release, start, profile="none").after
        assert not made.refused


@pytest.mark.parametrize("component", ["kube-proxy", "kube-scheduler"])
@pytest.mark.parametrize("release", ["1.10", "1.20", "1.36"])
def test_a_client_without_a_rate_has_the_default_one(component: str, release: str) -> None:
    """Checked with 1.20.2 to 1.37.2: --write-config-to."""
    table = release_table(component, release)
    config = {"apiVersion": table.api_version, "clientConnection": {"qps": 0, "burst": 0}}
    made = migrate(component, release, [component, "--config=/c"], config, profile="none")
    assert made.after["clientConnection"]["qps"] == table.fields["clientConnection.qps"].default
    served = {"ClientConnection": {"QPS": 5, "Burst": 10}}
    assert mismatches(table, config, served) == []
    [refused] = migrate(component, release, [component, "--kube-api-burst=0"]).refused
    assert refused.why.endswith("Write the value that is to hold, or take the flag out")


@pytest.mark.parametrize(
    ("release", "words", "period"),
    [
        ("1.30", [], None),
        ("1.31", [], "1s"),
        ("1.36", [], "1s"),
        ("1.36", ["--ipvs-min-sync-period=7s"], "7s"),
        ("1.36", ["--iptables-min-sync-period=5s"], "1s"),
        ("1.36", ["--ipvs-min-sync-period=0s"], "0s"),
    ],
)
def test_ipvs_without_a_file_has_the_period_of_iptables(
    release: str, words: list[str], period: str | None
) -> None:
    """Checked with kube-proxy 1.30.14 to 1.37.2: --write-config-to, before and after."""
    made = migrate("kube-proxy", release, ["kube-proxy", "--proxy-mode=ipvs", *words], profile="none")
    assert not made.refused
    assert made.config.get("ipvs", {}).get("minSyncPeriod") == period
    other = migrate("kube-proxy", release, ["kube-proxy", "--proxy-mode=iptables"], profile="none")
    assert "ipvs" not in other.config


@pytest.mark.parametrize(
    "word",
    [
        "--algorithm-provider=DefaultProvider",
        "--hard-pod-affinity-symmetric-weight=1",
        "--policy-config-file=",
        "--policy-configmap=",
        "--use-legacy-policy-config=false",
        "--policy-configmap-namespace=kube-system",
    ],
)
@pytest.mark.parametrize("release", ["1.19", "1.20", "1.21"])
def test_a_policy_that_says_nothing_has_nothing_to_be_rewritten(release: str, word: str) -> None:
    made = migrate("kube-scheduler", release, ["kube-scheduler", word], profile="none")
    assert not made.refused
    assert [s.flag for s in made.dropped] == [word.partition("=")[0]]
    name, _, value = word.partition("=")
    other = {"false": "true", "1": "5"}.get(value, "/etc/kubernetes/other")
    assert migrate("kube-scheduler", release, ["kube-scheduler", f"{name}={other}"]).refused


def test_lists_of_objects_that_are_empty_are_filled_with_defaults_too() -> None:
    table = release_table("kube-scheduler", "1.20")
    config = {"apiVersion": table.api_version, "profiles": []}
    assert mismatches(table, config, {"Profiles": [{"SchedulerName": "default-scheduler"}]}) == []


@pytest.mark.parametrize(
    ("component", "release", "word", "why"),
    [
        ("kube-scheduler", "1.20", "--port=70000", "70000 is not a port"),
        ("kube-scheduler", "1.20", "--port=-1", "'0.0.0.0:-1' is not an IP address"),
        ("kube-proxy", "1.20", "--healthz-bind-address=0.0.0.0:0", "has the port 0"),
        ("kube-proxy", "1.30", "--metrics-bind-address=127.0.0.1:0", "has the port 0"),
        ("kube-proxy", "1.30", "--conntrack-min=-1", "-1 is out of range"),
        ("kube-proxy", "1.30", "--iptables-masquerade-bit=32", "32 is out of range"),
        ("kubelet", "1.30", "--enforce-node-allocatable=pod", "'pod' is not an enforcement"),
        ("kubelet", "1.30", "--enforce-node-allocatable=none,pods", "none stands beside others"),
    ],
)
def test_what_the_component_itself_refuses_is_not_written(
    component: str, release: str, word: str, why: str
) -> None:
    """Checked with the programs, 1.20.2 to 1.37.2."""
    start = SECURE if component == "kubelet" else [component]
    assert why in said(migrate(component, release, [*start, word], profile="none").refused)


def test_a_port_of_0_switches_the_insecure_server_of_1_23_off() -> None:
    config = {"apiVersion": "kubescheduler.config.k8s.io/v1beta2", "healthzBindAddress": "0.0.0.0:0"}
    assert not migrate("kube-scheduler", "1.23", ["kube-scheduler", "--config=/c"], config).refused


def test_a_config_that_is_in_itself_is_refused_in_the_words_of_the_library() -> None:
    config: dict[str, Any] = {"maxPods": 7}
    config |= {
        "authentication": config,
        "authorization": {"webhook": config, "mode": config},
        "clusterDNS": [config],
    }
    with pytest.raises(KubehardenError, match="nested too deeply"):
        migrate("kubelet", "1.20", [*SECURE, "--config=/c"], config)
    with pytest.raises(KubehardenError, match="nested too deeply"):
        readiness("kubelet", "1.20", "1.24", [*SECURE, "--config=/c"], config)
