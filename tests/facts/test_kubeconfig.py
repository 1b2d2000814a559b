"""What a kubeconfig holds is known before any program runs that it names, and any kubeconfig can be read or refused."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import sampling
from kubeharden.edges.cluster import Cluster, plugin
from kubeharden.errors import ClusterError
from kubeharden.facts.kubeconfig import Kubeconfig
from kubeharden.redaction import Redactor

PLUGIN = {
    "apiVersion": "client.authentication.k8s.io/v1",
    "interactiveMode": "Never",
    "command": "/bin/sh",
    "args": [
        "-c",
        "echo $0 $@ $NOTE >&2; exit 3",
        "planted-word-1",
        "--client-secret=planted-flag-2",
        "--password",
        "plantedthree",
        "--cluster-name",
        "prod-eu-1",
        "code=planted-4",
    ],
    "env": [{"name": "NOTE", "value": "planted-note-5"}, {"name": "DB_TOKEN", "value": "plantedsix"}],
}
CONFIG: dict[str, Any] = {
    "clusters": [{"name": "prod-eu-1", "cluster": {"server": "https://127.0.0.1:1"}}],
    "users": [
        {"name": "ops-1", "user": {"exec": PLUGIN}},
        {
            "name": "other",
            "user": {"auth-provider": {"name": "oidc", "config": {"id-token": "planted-note-5"}}},
        },
    ],
    "contexts": [{"name": "x-1", "context": {"cluster": "prod-eu-1", "user": "ops-1"}}],
    "current-context": "x-1",
}
SECRETS = ("planted-word-1", "planted-flag-2", "plantedthree", "planted-4", "planted-note-5", "plantedsix")


def said_by(path: str) -> str:
    """What is said when the kubeconfig is refused; nothing when it is not."""
    try:
        Cluster(path, None, Redactor()).close()
    except ClusterError as error:
        return str(error)
    return ""


def written(folder: Path, content: object) -> str:
    path = folder / "kubeconfig"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_a_plugin_runs_only_after_what_it_is_told_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    redactor = Redactor()
    shown: list[str] = []

    def started(*_: Any, **named: Any) -> None:
        shown.append(redactor.redact(" ".join(SECRETS)))
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(plugin.programs, "run", started)
    with pytest.raises(ClusterError, match="cannot use the kubeconfig"):
        Cluster(written(tmp_path, {**CONFIG, "users": [CONFIG["users"][0]]}), None, redactor)
    assert not [secret for secret in SECRETS if secret in shown[0]]


def test_a_plugin_that_says_what_it_was_told_says_nothing(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    redactor = Redactor()
    try:
        Cluster(written(tmp_path, CONFIG), None, redactor).close()
        said = ""
    except ClusterError as error:
        said = str(error)
    printed = capfd.readouterr()
    said += redactor.redact(printed.out + printed.err)
    assert not [secret for secret in SECRETS if secret in said], said
    harmless = "ops-1 at prod-eu-1 in x-1"
    assert redactor.redact(harmless) == harmless


def test_the_user_is_that_of_the_context() -> None:
    config = Kubeconfig.parse(json.dumps(CONFIG), "x")
    assert (config.choose(None).acts_as, config.choose("x-1").acts_as) == ("ops-1", "ops-1")
    with pytest.raises(ClusterError, match="cannot use x: it has no context 'nowhere'; it has x-1"):
        config.choose("nowhere")


@pytest.mark.parametrize(
    "content",
    [
        "",
        "just text",
        "[]",
        "users: text\n",
        "users: [text]\n",
        "users: [{user: {}}]\n",
        "users: [{name: x, user: text}]\n",
        "users: [{name: x, user: {exec: text}}]\n",
        "users: [{name: x, user: {exec: {env: {a: b}}}}]\n",
        "users: [{name: x, user: {exec: {env: [a]}}}]\n",
        "users: [{name: x, user: {auth-provider: {config: [a]}}}]\n",
        "contexts: [{name: x, context: []}]\n",
        "clusters: {a: b}\n",
        "a: &a [*a]\n",
        "[" * 10_000,
        "<html>",
        "current-context: x\n",
        "contexts: [{name: x, context: {cluster: c, user: u}}]\ncurrent-context: x\n",
        json.dumps({**CONFIG, "clusters": [{"name": "prod-eu-1", "cluster": {"server": 5}}]}),
        json.dumps({**CONFIG, "users": [{"name": "ops-1", "user": {"client-key-data": "%%%", "token": []}}]}),
        json.dumps({**CONFIG, "users": [{"name": "ops-1", "user": {"exec": {"command": 5, "args": 5}}}]}),
    ],
)
def test_a_kubeconfig_of_another_shape_is_refused_by_name(tmp_path: Path, content: str) -> None:
    path = written(tmp_path, content)
    said = said_by(path)
    assert not said or path in said


def test_a_kubeconfig_that_is_not_a_file_is_refused(tmp_path: Path) -> None:
    for path in (str(tmp_path), "/dev/zero", str(tmp_path / "nowhere"), "x" * 5000):
        with pytest.raises(ClusterError, match="kubeconfig"):
            Cluster(path, None, Redactor())


NAMES = st.sampled_from(["name", "value", "config", "env", "args"])
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text("ab -=:", max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["name", "value", "config", "env", "args"]), inner, max_size=3)
    ),
    max_leaves=6,
)


@given(
    st.dictionaries(
        st.sampled_from(["clusters", "users", "contexts", "current-context"]),
        VALUES
        | st.lists(
            st.fixed_dictionaries(
                {"name": VALUES | st.just("x")},
                optional={
                    "cluster": VALUES,
                    "context": VALUES,
                    "user": VALUES
                    | st.dictionaries(st.sampled_from(["token", "exec", "auth-provider"]), VALUES),
                },
            ),
            max_size=3,
        ),
    )
)
@settings(max_examples=sampling.examples(200))
def test_no_kubeconfig_raises_anything_else(content: dict) -> None:
    redactor = Redactor()
    try:
        config = Kubeconfig.parse(json.dumps(content), "x")
    except ClusterError:
        return
    for credential in config.credentials():
        redactor.remember(credential)
    redactor.withhold(config.secrets())
    try:
        chosen = config.choose(None)
    except ClusterError:
        return
    assert isinstance(chosen.acts_as, str)
    assert chosen.impersonation() == []


def test_a_password_in_an_address_is_whole_and_found_in_time() -> None:
    start = time.process_time()
    config = one_context({"server": "https://u:one:two@x", "proxy-url": "//" + "0:" * 300_000}, {})
    assert "one:two" in list(config.credentials())
    assert time.process_time() - start < 5


def one_context(cluster: dict[str, Any], user: dict[str, Any] | None) -> Kubeconfig:
    """A kubeconfig with one context; without a user there is no entry of its name."""
    content = {
        "clusters": [{"name": "c", "cluster": {"server": "https://h:6443", **cluster}}],
        "users": [] if user is None else [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    return Kubeconfig.parse(json.dumps(content), "the kubeconfig")


@pytest.mark.parametrize("value", ["false", "no", "true", 1, [False], {"a": 1}])
def test_what_switches_the_check_of_certificates_off_is_a_truth_value(value: object) -> None:
    with pytest.raises(ClusterError, match=r"insecure-skip-tls-verify .*expected true or false"):
        one_context({"insecure-skip-tls-verify": value}, {"token": "t"}).choose(None)


def test_an_authority_goes_with_a_check(tmp_path: Path) -> None:
    cluster = {"insecure-skip-tls-verify": True, "certificate-authority": "/a"}
    with pytest.raises(ClusterError, match="leave one out"):
        one_context(cluster, {"token": "t"}).choose(None)


def test_a_user_who_is_not_there_is_not_asked_for_as_nobody() -> None:
    with pytest.raises(ClusterError, match="no user 'u'"):
        one_context({}, None).choose(None)


@pytest.mark.parametrize("name", ["日本", "é", " a", "a ", "a\nb"])
def test_a_name_that_no_header_carries_unchanged_is_refused(name: str) -> None:
    with pytest.raises(ClusterError, match="no header carries unchanged"):
        one_context({}, {"token": "t", "as": name}).choose(None)
