"""Kubeconfigs as they are met: each works, or is refused in a sentence that says what and where."""

from __future__ import annotations

import base64
import copy
import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from http_servers import Quiet, listening
from kubeharden.edges.cluster import Cluster, plugin
from kubeharden.errors import ClusterError
from kubeharden.redaction import Redactor
from support import wait_until

V1 = "client.authentication.k8s.io/v1"


class Api(Quiet):
    """Says its version, and remembers the headers of each request."""

    seen: list[list[tuple[str, str]]]

    def do_GET(self) -> None:  # noqa: N802 - the name that the base looks for
        self.seen.append(self.headers.items())
        self.answer(200, b'{"gitVersion": "v1.30.0"}')


@pytest.fixture
def api() -> Iterator[tuple[str, list[list[tuple[str, str]]]]]:
    """The address of a server, and the headers of each request to it."""
    seen: list[list[tuple[str, str]]] = []
    with listening(type("Handler", (Api,), {"seen": seen})) as address:
        yield address, seen


def config(server: str = "https://127.0.0.1:1", cluster: Any = None, **user: Any) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "u", "user": user}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }


def written(folder: Path, content: Any) -> str:
    path = folder / "kubeconfig"
    path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return str(path)


def exec_of(command: str, *args: str, **more: Any) -> dict[str, Any]:
    return {"apiVersion": V1, "interactiveMode": "Never", "command": command, "args": list(args), **more}


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": V1, "kind": "ExecCredential", "status": status})


def values(headers: list[tuple[str, str]], name: str) -> list[str]:
    return [value for key, value in headers if key.lower() == name.lower()]


def test_a_user_who_acts_as_another_does_so_in_every_request(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]]
) -> None:
    address, seen = api
    user = {
        "token": "t0ken-of-the-test",
        "as": "alice",
        "as-uid": "42-7",
        "as-groups": ["dev", "system:masters"],
        "as-user-extra": {"Scopes": ["a", "b"], "example.com/é%": ["c"]},
    }
    cluster = Cluster(written(tmp_path, config(address, **user)))
    assert cluster.user == "alice, impersonated by u"  # as the record has it: RunStarted.kubernetes_user
    cluster.version()
    cluster.close()
    [headers] = seen
    assert values(headers, "Authorization") == ["Bearer t0ken-of-the-test"]
    assert values(headers, "Impersonate-User") == ["alice"]
    assert values(headers, "Impersonate-Uid") == ["42-7"]
    assert values(headers, "Impersonate-Group") == ["dev", "system:masters"]
    assert values(headers, "Impersonate-Extra-Scopes") == ["a", "b"]
    assert values(headers, "Impersonate-Extra-example.com%2F%C3%A9%25") == ["c"]


def with_token(folder: Path, **more: Any) -> dict[str, Any]:
    (folder / "token").write_text("t0ken-of-the-test\n")
    return {"tokenFile": "token", **more}


def with_plugin(folder: Path) -> dict[str, Any]:
    (folder / "plugin").write_text(f"#!/bin/sh\necho '{credential(token='t0ken-of-the-test')}'\n")
    (folder / "plugin").chmod(0o755)
    return {"exec": exec_of("./plugin")}


def bom(path: str) -> None:
    Path(path).write_text("\ufeff" + Path(path).read_text())


@pytest.mark.parametrize(
    ("user", "change"),
    [
        (lambda folder: {"token": "t0ken-of-the-test"}, bom),
        (lambda folder: {"token": "t0ken-of-the-test\n"}, None),
        (with_token, None),
        (lambda folder: with_token(folder, token="older"), None),  # as client-go: the file counts
        (lambda folder: with_token(folder, token=""), None),
        (with_plugin, None),
    ],
    ids=["bom", "newline", "tokenFile", "both", "empty", "plugin"],
)
def test_what_works(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    api: tuple[str, list[list[tuple[str, str]]]],
    user: Callable[[Path], dict[str, Any]],
    change: Callable[[str], None] | None,
) -> None:
    address, seen = api
    path = written(tmp_path, config(address, **user(tmp_path)))
    if change is not None:
        change(path)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    for way, place in ((os.path.relpath(path), "."), (f"../{Path(path).name}", "elsewhere")):
        monkeypatch.chdir(tmp_path / place)
        redactor = Redactor()
        cluster = Cluster(way, None, redactor)
        assert cluster.version() == "v1.30.0"
        cluster.close()
        assert values(seen.pop(), "Authorization") == ["Bearer t0ken-of-the-test"]
        assert "t0ken-of-the-test" not in redactor.redact("it was t0ken-of-the-test")


@pytest.mark.parametrize("token", ["!!binary dDBrZW4=", "!own t0ken", "!!str t0ken"])
def test_a_kubeconfig_is_read_as_kubectl_reads_it(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]], token: str
) -> None:
    """Held against kubectl 1.37.2."""
    address, seen = api
    text = yaml.safe_dump(config(address, {"insecure-skip-tls-verify": "YES-NO"}, token="T0KEN"))
    cluster = Cluster(written(tmp_path, text.replace("YES-NO", "y").replace("T0KEN", token)))
    cluster.version()
    cluster.close()
    assert values(seen.pop(), "Authorization") == ["Bearer t0ken"]


@pytest.mark.parametrize("token", ["1e3", "0o17", "y", "08", "2_0"])
def test_a_token_that_is_no_text_for_kubectl_is_none_here(tmp_path: Path, token: str) -> None:
    text = yaml.safe_dump(config(token="T0KEN")).replace("T0KEN", token)
    with pytest.raises(ClusterError, match="token of the user 'u' is not a text"):
        Cluster(written(tmp_path, text))


def basic(login: str) -> str:
    return f"Basic {base64.b64encode(login.encode()).decode()}"


def plugin_beside(**own: str) -> dict[str, Any]:
    return {"exec": exec_of("/bin/sh", "-c", "exit 7"), **own}


@pytest.mark.parametrize(
    ("user", "sent"),
    [
        (plugin_beside(token="t0ken"), "Bearer t0ken"),
        (plugin_beside(username="admin", password="pw"), basic("admin:pw")),
        ({"username": "admin"}, basic("admin:")),
        ({"username": "admin", "password": "pässwörd-密码"}, basic("admin:pässwörd-密码")),
        ({"tokenFile": "gone", "token": "t0ken"}, "Bearer t0ken"),
    ],
    ids=["plugin", "plugin and password", "no password", "no ASCII", "no file"],
)
def test_who_asks_is_who_kubectl_would_ask_as(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]], user: dict[str, Any], sent: str
) -> None:
    """Held against kubectl 1.37.2."""
    address, seen = api
    cluster = Cluster(written(tmp_path, config(address, **user)))
    cluster.version()
    cluster.close()
    assert values(seen.pop(), "Authorization") == [sent]


def test_a_plugin_beside_a_certificate_is_not_asked(tmp_path: Path) -> None:
    words = "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=x -keyout key -out certificate".split()
    subprocess.run(words, check=True, capture_output=True, cwd=tmp_path)
    user = plugin_beside(**{"client-certificate": "certificate", "client-key": "key"})
    Cluster(written(tmp_path, config(**user))).close()


def test_how_the_address_of_a_server_is_written_makes_no_difference(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]]
) -> None:
    address, seen = api
    cluster = Cluster(written(tmp_path, config(address.replace("http", "HTTP") + "?a=b#c")))
    assert cluster.version() == "v1.30.0"
    cluster.close()
    assert len(seen) == 1


def test_a_token_file_that_changes_is_read_again(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]]
) -> None:
    address, seen = api
    cluster = Cluster(written(tmp_path, config(address, **with_token(tmp_path))))
    cluster.version()
    (tmp_path / "token").write_text("another-t0ken\n")
    cluster.version()
    cluster.close()
    said = [values(headers, "Authorization") for headers in seen]
    assert said == [["Bearer t0ken-of-the-test"], ["Bearer another-t0ken"]]


@pytest.mark.parametrize(("ends", "runs"), [(timedelta(hours=1), 1), (timedelta(seconds=5), 3)])
def test_a_plugins_token_is_used_until_it_ends(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]], ends: timedelta, runs: int
) -> None:
    address, _ = api
    end = f"{datetime.now(UTC) + ends:%Y-%m-%dT%H:%M:%SZ}"
    script = f"echo run >>{tmp_path}/runs; echo '{credential(token='t0ken', expirationTimestamp=end)}'"
    cluster = Cluster(written(tmp_path, config(address, exec=exec_of("/bin/sh", "-c", script))))
    before = len((tmp_path / "runs").read_text().split())
    for _ in range(2):
        cluster.version()
    cluster.close()
    after = len((tmp_path / "runs").read_text().split())
    assert after - before == (0 if runs == 1 else 2)


def test_a_plugin_is_told_what_its_version_promises(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]]
) -> None:
    address, _ = api
    script = f'echo "$KUBERNETES_EXEC_INFO" >{tmp_path}/told; echo "$MORE" >>{tmp_path}/told; cat >>{tmp_path}/told'
    script += f"; echo '{credential(token='t0ken')}'"
    more = {"provideClusterInfo": True, "env": [{"name": "MORE", "value": "more"}]}
    Cluster(written(tmp_path, config(address, exec=exec_of("/bin/sh", "-c", script, **more)))).close()
    told, own = (tmp_path / "told").read_text().splitlines()
    assert json.loads(told) == {
        "apiVersion": V1,
        "kind": "ExecCredential",
        "spec": {"interactive": False, "cluster": {"server": address}},
    }
    assert own == "more"


def sh(script: str, **more: Any) -> dict[str, Any]:
    return config(exec=exec_of("/bin/sh", "-c", script, **more))


PLUGIN = "the credential plugin '/bin/sh' of the user 'u'"
NOT_PEM = base64.b64encode(b"not a certificate").decode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("a: [", "is not YAML"),
        ("just a text", "it holds no mapping"),
        ("- a\n- b\n", "it holds no mapping"),
        ("", "it holds no mapping"),
        ("a: 1\n---\nb: 2\n", "has more than one document, of which one is expected: .*line 2"),
        ("\tclusters: []\n", "is not YAML"),
        ({**config(), "current-context": ""}, "it has no current-context"),
        ({**config(), "current-context": "z"}, "it has no context 'z'; it has x"),
        ({**config(), "current-context": 5}, "its current-context is not a text"),
        ({**config(), "contexts": []}, "it has no context 'x'; it has none"),
        ({**config(), "clusters": None}, "it has no cluster 'c', which the context 'x' names"),
        ({**config(), "users": 2 * config()["users"]}, "the name 'u' stands twice in its users"),
        (config(""), "server of the cluster 'c' is ''; expected an address such as https://"),
        (config("10.0.0.1:6443"), "server of the cluster 'c' is '10.0.0.1:6443'"),
        (config("https://:6443"), "server of the cluster 'c'"),
        (config(" https://h:6443"), "server of the cluster 'c' is ' https://h:6443'"),
        ({**config(), "contexts": [{"name": "x", "context": {"user": "u"}}]}, "its context 'x' names no cluster"),
        (config("https://h:port"), "server of the cluster 'c'"),
        (config(cluster={"server": 7}), "server of the cluster 'c' is not a text"),
        (config(cluster={"proxy-url": "socks5://127.0.0.1:1080"}), "proxy-url of the cluster 'c'.*'socks5'.*ssh -L"),
        (config(cluster={"proxy-url": "proxy:3128"}), "proxy-url of the cluster 'c': the proxy has no kind.*http://"),
        (config(cluster={"proxy-url": "10.0.0.1"}), "proxy-url of the cluster 'c': the proxy has no kind"),
        (config(cluster={"proxy-url": "http://"}), "proxy-url of the cluster 'c': the proxy has no host, or a port"),
        (config(cluster={"proxy-url": "http://p:99999"}), "proxy-url of the cluster 'c': the proxy has no host, or a"),
        (config(cluster={"proxy-url": "ftp://p:21"}), "a proxy of the kind 'ftp' cannot.*or https://$"),
        ({**config(), "clusters": [{"cluster": {}}]}, "number 1 of its clusters has no name that is a text"),
        ({**config(), "clusters": ["c"]}, "number 1 of its clusters is not a mapping"),
        ({**config(), "clusters": {"c": {}}}, "its clusters are not a list"),
        ({**config(), "users": [*config()["users"], {"name": "v", "user": 7}]}, "number 2 of its users has a"),
        ({**config(), "clusters": [{"name": "c", "cluster": {}}]}, "server of the cluster 'c' is ''"),
        (config(cluster={"certificate-authority-data": "%%%"}), "certificate-authority-data of the cluster 'c' is not"),
        (config(cluster={"certificate-authority-data": "QUJ"}), "certificate-authority-data.*is not base64"),
        (config(cluster={"certificate-authority-data": NOT_PEM}), "certificate-authority of the cluster 'c'.*PEM"),
        (config(cluster={"certificate-authority": "gone.crt"}), "does not exist: .*gone.crt"),
        (config(**{"client-certificate-data": "é"}), "client-certificate-data of the user 'u' is not base64"),
        (config(**{"client-certificate-data": NOT_PEM, "client-key-data": NOT_PEM}), "client-key of the user 'u'.*PEM"),
        (config(**{"client-certificate-data": NOT_PEM}), "client-certificate and client-key of the user 'u'"),
        (config(tokenFile="gone"), "the tokenFile of the kubeconfig .*cannot read '.*gone'"),
        (config(tokenFile="/dev/null"), "the tokenFile of .* is not a regular file"),
        (config(token="a", username="b"), "the user 'u' has a token and a password, of which kubectl takes one"),
        (config(**{"exec": exec_of("sh"), "auth-provider": {"name": "oidc"}}), "has an exec and an auth-provider"),
        (
            config(username="b", **{"exec": exec_of("sh"), "auth-provider": {"name": "oidc"}}),
            "has an exec and an auth-provider",
        ),
        ({**config(), "kind": "List"}, "is not a kubeconfig: it is a List; expected Config"),
        (config(token="a\nb"), "the user 'u': its token has a line break"),
        (config(token=7), "token of the user 'u' is not a text"),
        (config(**{"as-groups": ["a"]}), "as-groups, as-uid or as-user-extra, and not the as"),
        (config(**{"as": "a", "as-groups": "b"}), "as-groups or as-user-extra of the user 'u' has another shape"),
        (config(**{"as": "a", "as-user-extra": {"b": "c"}}), "as-groups or as-user-extra"),
        (config(**{"as": "a\r\nX: y"}), "no header carries unchanged"),
        (config(**{"auth-provider": {"name": "azure", "config": {}}}), "auth-provider 'azure' gives no credential"),
        (config(**{"auth-provider": {"name": "gcp", "config": {"cmd-path": "/bin/false"}}}),
         "auth-provider 'gcp' gives no credential here; use a plugin"),
        (config("https://me:hunter2@h:6443"), "server of the cluster 'c' has a user before its host"),
        (sh("echo 'login first' >&2; exit 3"), f"{PLUGIN} ended with status 3. It says: login first"),
        (sh("exit 3"), f"{PLUGIN} ended with status 3, without a word"),
        (sh("echo hello"), "what the credential plugin '/bin/sh' of the user 'u' printed is not JSON"),
        (sh("echo []"), f"{PLUGIN} printed something else than an ExecCredential"),
        (sh(f"echo '{credential()}'"), f"{PLUGIN} printed neither a token nor a certificate with its key"),
        (sh(f"echo '{credential(clientCertificateData='x')}'"), "neither a token nor a certificate"),
        (sh(f"echo '{credential(token='x', expirationTimestamp='soon')}'"), "expirationTimestamp that is not a time"),
        (sh(f"echo '{credential(token='x').replace('/v1', '/v1beta1')}'"), "answers in another apiVersion than"),
        (sh(f"echo '{credential(clientCertificateData='x', clientKeyData='y')}'"), "cannot be read as PEM"),
        (
            config(exec=exec_of("kubelogin-none", installHint="Install it from example.com")),
            "plugin 'kubelogin-none' of the user 'u' cannot be run.*No such file.*Install it from example.com",
        ),
        (config(exec={"apiVersion": V1}), "names no command"),
        (config(exec={"command": "sh"}), "names no apiVersion"),
    ],
)  # fmt: skip
def test_what_does_not_work_says_what_and_where(tmp_path: Path, content: Any, words: str) -> None:
    path = written(tmp_path, copy.deepcopy(content))
    with pytest.raises(ClusterError, match=f"(?s){words}") as error:
        Cluster(path)
    assert path in str(error.value)
    assert "hunter2" not in str(error.value)


def test_the_key_of_a_client_that_is_encrypted_is_not_asked_for(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key", tmp_path / "certificate"
    words = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:P-256",
        "-subj",
        "/CN=x",
    ]
    words += ["-passout", "pass:hunter2", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(words, check=True, capture_output=True)
    user = {"client-certificate": "certificate", "client-key": "key"}
    with pytest.raises(
        ClusterError, match="client-key of the user 'u' cannot be read as PEM without a passphrase"
    ):
        Cluster(written(tmp_path, config(**user)))


def test_a_plugin_that_hangs_is_ended_with_what_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plugin, "PLUGIN_SECONDS", 0.3)
    start = time.monotonic()
    hang = sh("echo 'visit example.com/device' >&2; sleep 60 & echo $! >pid; sleep 60")
    with pytest.raises(
        ClusterError, match=r"(?s)did not end within 0\.3 s.*by hand. It says: visit example.com/device"
    ):
        Cluster(written(tmp_path, hang))
    assert time.monotonic() - start < 10
    line = ["ps", "-o", "stat=", "-p", (tmp_path / "pid").read_text().strip()]
    # A process that is killed while it runs ends a moment later.
    wait_until(lambda: subprocess.run(line, capture_output=True, check=False).stdout[:1] in (b"", b"Z"), 10)


def test_what_a_plugin_complains_of_is_redacted(tmp_path: Path) -> None:
    told = sh('echo "tried $CODE" >&2; exit 1', env=[{"name": "CODE", "value": "xk-94-Qpz7"}])
    with pytest.raises(ClusterError, match="It says: tried") as error:
        Cluster(written(tmp_path, told))
    assert "xk-94-Qpz7" not in str(error.value)


@pytest.fixture
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("name", ["HTTPS_PROXY", "https_proxy"])
def test_a_proxy_that_the_environment_names_is_refused_by_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.setenv(name, "socks5h://me:hunter2@127.0.0.1:1080")
    path = written(tmp_path, config("https://10.0.0.1:6443", token="t0ken"))
    with pytest.raises(
        ClusterError, match=r"environment names a proxy for https://10\.0\.0\.1:6443.*socks5h"
    ) as error:
        Cluster(path)
    assert "hunter2" not in str(error.value)
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8")
    Cluster(path).close()


@pytest.mark.usefixtures("no_proxies")
@pytest.mark.parametrize("form", ["{}", "http://{}", "me:hunter2%21x@{}", "http://me:hunter2%21x@{}/"])
def test_a_proxy_of_the_environment_is_found_as_kubectl_finds_it(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]], monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    """The server of the fixture is the proxy: it gets what is meant for another one."""
    address, seen = api
    monkeypatch.setenv("ALL_PROXY", "socks5://127.0.0.1:1080")  # which Go does not read
    monkeypatch.setenv("HTTP_PROXY", form.format(address.removeprefix("http://")))
    redactor = Redactor()
    cluster = Cluster(written(tmp_path, config("http://203.0.113.7:8080", token="t0ken")), redactor=redactor)
    assert cluster.version() == "v1.30.0"
    cluster.close()
    [headers] = seen
    assert values(headers, "Host") == ["203.0.113.7:8080"]
    login = [f"Basic {base64.b64encode(b'me:hunter2!x').decode()}"] if "@" in form else []
    assert values(headers, "Proxy-Authorization") == login
    if login:
        assert "hunter2" not in redactor.redact("hunter2!x and hunter2%21x")


@pytest.mark.usefixtures("no_proxies")
def test_the_proxy_of_a_kubeconfig_counts_before_the_environment(
    tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    address, seen = api
    monkeypatch.setenv("HTTP_PROXY", "socks5://127.0.0.1:1")
    monkeypatch.setenv("NO_PROXY", "*")
    cluster = Cluster(written(tmp_path, config("http://203.0.113.7:8080", {"proxy-url": address})))
    cluster.version()
    cluster.close()
    assert len(seen) == 1


def test_null_is_unset_in_a_kubeconfig(tmp_path: Path, api: tuple[str, list[list[tuple[str, str]]]]) -> None:
    """As kubectl has it; tools write such fields."""
    address, seen = api
    cluster = dict.fromkeys(
        ("proxy-url", "certificate-authority", "tls-server-name", "insecure-skip-tls-verify", "extensions")
    )
    user = dict.fromkeys(
        ("exec", "auth-provider", "tokenFile", "client-key", "as", "as-groups", "as-user-extra", "username")
    )
    made = Cluster(written(tmp_path, config(address, cluster, token="t0ken", **user)))
    assert made.version() == "v1.30.0"
    made.close()
    assert values(seen[0], "Authorization") == ["Bearer t0ken"]
