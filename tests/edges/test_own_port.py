"""The kubelet's own port: over the connection to its node, with a certificate and never a token, or said why not."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import asyncssh
import pytest
import yaml

from kubeharden.edges.cluster import Cluster, own_port
from kubeharden.edges.connect import connect
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.nodes.session import script_text
from kubeharden.edges.observe import kubelet_health, observe_nodes
from kubeharden.edges.ports import Ports
from kubeharden.errors import ClusterError, NodeError, RetryableError
from kubeharden.inputs.inventory import Inventory, Node, read_inventory
from kubeharden.redaction import Redactor
from kubeharden_rehearsal import Rehearsal
from kubeharden_rehearsal.kubelet_port import kept_certificate
from rehearsals import Rehearsals
from ssh_servers import ssh_server

MODERN = "containerd-1.36"
SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]


def answered(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


SERVED = answered(b'{"kubeletconfig": {"maxPods": 42}}')


class Port:
    """A TLS port on loopback that answers each question alike.

    Attributes:
        asked: every byte that it was sent after the handshake, a text for each connection.
        users: the names in the certificates that it was shown.
        digest: of its certificate.
    """

    def __init__(self, folder: Path, answer: bytes | Callable[[ssl.SSLSocket], None]) -> None:
        self._certificate = kept_certificate(folder / "kubelet.crt", "node1")
        self._client = kept_certificate(folder / "admin.crt", "admin")
        self.digest = sha256(ssl.PEM_cert_to_DER_cert(self._certificate.read_text())).hexdigest()
        self._answer, self._listener = answer, socket.create_server(("127.0.0.1", 0))
        self.number: int = self._listener.getsockname()[1]
        self.asked: list[str] = []
        self.users: list[str] = []
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(self._client))
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_cert_chain(self._certificate, self._certificate.with_suffix(".key"))
        with suppress(OSError):
            while True:
                taken, _ = self._listener.accept()
                with suppress(OSError), taken, context.wrap_socket(taken, server_side=True) as tls:
                    subject: Any = (tls.getpeercert() or {})["subject"]
                    self.users.append(subject[0][0][1])
                    self.asked.append("")
                    while data := tls.recv(4096):
                        self.asked[-1] += data.decode()
                        if self.asked[-1].endswith("\r\n\r\n"):
                            break
                    else:
                        continue
                    if callable(self._answer):
                        self._answer(tls)
                    else:
                        tls.sendall(self._answer)


@contextmanager
def port(folder: Path, answer: bytes | Callable[[ssl.SSLSocket], None] = SERVED) -> Iterator[Port]:
    made = Port(folder, answer)
    try:
        yield made
    finally:
        made.close()


def cluster(folder: Path, **user: Any) -> Cluster:
    """The API as a user who has a certificate and a token; nothing answers there."""
    kept_certificate(folder / "admin.crt", "admin")
    proof = {
        "client-certificate": "admin.crt",
        "client-key": "admin.key",
        "token": "secret-token-1234",
        **user,
    }
    config = {
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "u", "user": {key: value for key, value in proof.items() if value}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    return Cluster(str(folder / "kubeconfig"), redactor=Redactor())


def stream_to(found: Port) -> socket.socket:
    return socket.create_connection(("127.0.0.1", found.number))


@pytest.mark.parametrize("forwards", [True, False])
def test_it_is_asked_in_a_channel_of_the_connection_to_its_node(tmp_path: Path, forwards: bool) -> None:
    class Login(asyncssh.SSHServer):
        def connection_requested(self, *where: object) -> bool:
            if not forwards:  # as OpenSSH says it: server_request_direct_tcpip, serverloop.c
                raise asyncssh.ChannelOpenError(asyncssh.OPEN_ADMINISTRATIVELY_PROHIBITED, "open failed")
            return True

    with (
        port(tmp_path) as found,
        ssh_server(tmp_path / "ssh", server_factory=Login) as server,
        Nodes(server.inventory()) as nodes,
    ):
        refused = {} if forwards else {"node1": "its SSH server does not forward to 127.0.0.1 port 10250"}
        assert {name: why.partition(" (")[0] for name, why in nodes.forwards().items()} == refused
        if not forwards:
            with pytest.raises(
                NodeError, match=r"node1: its SSH server does not forward .*AllowTcpForwarding"
            ):
                nodes.reach("node1", "127.0.0.1", found.number)
            return
        stream = nodes.reach("node1", "127.0.0.1", found.number)
        assert cluster(tmp_path).kubelet_config_at(stream, [found.digest]) == {"maxPods": 42}
        assert found.users == ["admin"]
        found.close()
        with pytest.raises(
            NodeError, match=r"node1: (nothing answers at|cannot reach) 127\.0\.0\.1 port 1 there"
        ):
            nodes.reach("node1", "127.0.0.1", 1)


def test_a_node_that_is_this_machine_is_asked_without_ssh(tmp_path: Path) -> None:
    here = Inventory(
        cluster="c", kubeconfig="/nowhere", nodes=[Node(name="here", connection="local", control_plane=True)]
    )
    with port(tmp_path) as found, Nodes(here) as nodes:
        stream = nodes.reach("here", "127.0.0.1", found.number)
        assert cluster(tmp_path).kubelet_config_at(stream, [found.digest]) == {"maxPods": 42}
        assert nodes.forwards() == {}
        with pytest.raises(
            NodeError, match=r"here: nothing answers at 127\.0\.0\.1 port 1 there: Connection refused"
        ):
            nodes.reach("here", "127.0.0.1", 1)


def test_a_token_is_never_sent_to_a_node(tmp_path: Path) -> None:
    with port(tmp_path) as found:
        cluster(tmp_path).kubelet_config_at(stream_to(found), [found.digest])
        [asked] = found.asked
        assert asked.startswith("GET /configz HTTP/1.0\r\n")
        assert "secret-token" not in asked
        assert "authorization" not in asked.lower()
        only_token = cluster(tmp_path, **{"client-certificate": "", "client-key": ""})
        assert "a token is never sent to a node" in only_token.certificate_problem()
        with pytest.raises(ClusterError, match="a token is never sent to a node"):
            only_token.kubelet_config_at(stream_to(found), [found.digest])
        other = cluster(tmp_path, **{"as": "jane"})
        with pytest.raises(ClusterError, match="impersonates another user"):
            other.kubelet_config_at(stream_to(found), [found.digest])
        assert len(found.asked) == 1


def test_who_shows_a_certificate_that_the_node_does_not_have_is_not_asked(tmp_path: Path) -> None:
    with port(tmp_path) as found:
        with pytest.raises(ClusterError, match="shows a certificate that is not in the kubelet's files"):
            cluster(tmp_path).kubelet_config_at(stream_to(found), ["0" * 64])
        assert found.asked in ([], [""])


def never(tls: ssl.SSLSocket) -> None:
    with suppress(OSError):
        while tls.recv(1):
            pass


def for_ever(tls: ssl.SSLSocket) -> None:
    tls.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    with suppress(OSError):
        while True:
            tls.sendall(b"x" * 65536)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (
            answered(b"Forbidden (user=admin)", "403 Forbidden"),
            r"it refuses /configz \(403\): Forbidden \(user=admin\)",
        ),
        (answered(b"not found", "404 Not Found"), "answers /configz with 404, and with no configuration"),
        (answered(b'{"kubeletconfig": []}'), "answers /configz with 200, and with no configuration"),
        (answered(b"[1"), "/configz"),
        (b"SSH-2.0-OpenSSH\r\n", "no answer there"),
        (never, "no answer there"),
        (for_ever, "the answer there is longer than 1 MiB"),
    ],
)
def test_another_answer_is_reported_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: Any, words: str
) -> None:
    monkeypatch.setattr(own_port, "SECONDS", 2.0)
    monkeypatch.setattr(own_port, "MOST_BYTES", 1 << 20)
    with port(tmp_path, answer) as found, pytest.raises(ClusterError, match=words):
        cluster(tmp_path).kubelet_config_at(stream_to(found), [found.digest])


def test_what_is_not_tls_is_reported_in_words(tmp_path: Path) -> None:
    ours, theirs = socket.socketpair()
    theirs.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    with theirs, pytest.raises(ClusterError, match="no answer there"):
        cluster(tmp_path).kubelet_config_at(ours, ["0" * 64])
    ours, theirs = socket.socketpair()
    theirs.close()
    with pytest.raises(ClusterError, match="no answer there"):
        cluster(tmp_path).kubelet_config_at(ours, ["0" * 64])


def requests_of(ports: Ports, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The requests to the API server from here on."""
    found, client = [], ports.cluster._client  # type: ignore[attr-defined]
    send = client._send

    def noted(method: str, path: str, *more: Any) -> Any:
        found.append(f"{method} {path}")
        return send(method, path, *more)

    monkeypatch.setattr(client, "_send", noted)
    return found


@pytest.fixture
def modern(rehearsals: Rehearsals) -> Rehearsal:
    return rehearsals.fresh(MODERN)


def test_a_run_needs_no_right_to_run_commands_where_the_release_has_another(
    modern: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Over real SSH; the same facts as through the API server."""
    ports = connect(read_inventory(modern.inventory), Redactor())
    sent = requests_of(ports, monkeypatch)
    seen = observe_nodes(ports.nodes, ports.cluster)
    assert not [path for path in sent if "/proxy/" in path]
    for node in seen:
        assert node.effective_config("kubelet") == ports.cluster.kubelet_config(node.name)
    ports.close()


def test_without_forwarding_it_is_asked_through_the_api_server_or_the_reason_is_reported(
    modern: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = connect(read_inventory(modern.inventory), Redactor())

    def refuses(node: Node, host: str, number: int) -> None:
        raise NodeError(f"{node.name}: its SSH server does not forward to {host} port {number}")

    [over] = ports.nodes._connections.values()  # type: ignore[attr-defined]
    monkeypatch.setattr(over, "reach", refuses)
    sent = requests_of(ports, monkeypatch)
    assert all(node.effective_config("kubelet") for node in observe_nodes(ports.nodes, ports.cluster))
    assert len([path for path in sent if path.endswith("/proxy/configz")]) == len(modern.nodes)
    monkeypatch.setattr(ports.cluster, "kubelet_config", lambda _: None)
    for node in observe_nodes(ports.nodes, ports.cluster):
        assert node.effective_config("kubelet") is None
        assert node.services["kubelet"].unread == "its SSH server does not forward to 127.0.0.1 port 10250"
    ports.close()


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("words", "config", "shown"),
    [
        ("/usr/bin/kubelet", "", "default server"),
        ("/usr/bin/kubelet\n--cert-dir=/other", "", "other"),
        ("/usr/bin/kubelet\n--tls-cert-file\n/named.crt", "", "named default server"),
        ("/usr/bin/kubelet\n--config=/etc/k.yaml", "tlsCertFile: /named.crt", "named default server"),
        (
            "/usr/bin/kubelet\n--config=/etc/k.yaml",
            '{"a": 1,\n "tlsCertFile": "pki/own.crt"}',
            "own default server",
        ),
        ("/usr/bin/kubelet\n--cert-dir=/nowhere", "", ""),
    ],
)
def test_the_certificates_of_a_kubelet_are_read_and_never_their_keys(
    tmp_path: Path, shell: list[str], words: str, config: str, shown: str
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    texts = {
        "var/lib/kubelet/pki/kubelet.crt": "default",
        "var/lib/kubelet/pki/kubelet-server-current.pem": "server",
        "other/kubelet.crt": "other",
        "named.crt": "named",
        "etc/pki/own.crt": "own",
        "etc/k.yaml": config,
    }
    for path, text in texts.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        key = "-----BEGIN EC PRIVATE KEY-----\nswordfish\n-----END EC PRIVATE KEY-----\n"
        made = f"{key}-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n{key}"
        (tmp_path / path).write_text(text if path.endswith("yaml") else made)
    script = script_text("observe").partition("printf '@observation")[0]
    place = "tls-cert-file:tlsCertFile:cert-dir:/var/lib/kubelet/pki:kubelet.crt:kubelet-server-current.pem"
    call = f"name=kubelet shown_at={place} words='{words}\n' config=''\nargument config; config=$value\ncertificates"
    done = subprocess.run(
        [*shell, "-c", f"{script}\n{call}"],
        env={"PATH": "/usr/bin:/bin", "KUBEHARDEN_ROOT": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    lines = [line for line in done.stdout.splitlines() if line and "CERTIFICATE" not in line]
    assert [line for line in lines if " certificates " not in line] == shown.split()
    assert "swordfish" not in done.stdout


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (answered(b"ok"), "ok"),
        (answered(b"[-]syncloop failed", "500 Internal Server Error"), "[-]syncloop failed"),
        (answered(b"", "500 Internal Server Error"), "nothing, with 500"),
        (answered(b"Forbidden", "403 Forbidden"), ""),
        (answered(b"Unauthorized", "401 Unauthorized"), ""),
    ],
)
def test_its_health_is_its_own_word(tmp_path: Path, answer: bytes, words: str) -> None:
    with port(tmp_path, answer) as found:
        assert cluster(tmp_path).kubelet_health_at(stream_to(found), [found.digest]) == words
        assert found.asked[0].startswith("GET /healthz ")


def test_its_health_is_asked_at_its_own_port_and_through_the_api_server_where_that_cannot_be(
    modern: Rehearsal, monkeypatch: pytest.MonkeyPatch
) -> None:
    ports = connect(read_inventory(modern.inventory), Redactor())
    [node, *_] = observe_nodes(ports.nodes, ports.cluster)
    sent = requests_of(ports, monkeypatch)
    assert kubelet_health(ports.nodes, ports.cluster, node) == "ok"
    assert sent == []
    kubelet = replace(node.services["kubelet"], certificates=("0" * 64,))
    renewed = replace(node, services={"kubelet": kubelet})
    assert kubelet_health(ports.nodes, ports.cluster, renewed) == "ok"
    assert [path for path in sent if path.endswith("/proxy/healthz")]
    monkeypatch.setattr(own_port, "SECONDS", 0.5)
    silent, _ = socket.socketpair()
    monkeypatch.setattr(ports.nodes, "reach", lambda *_: silent)
    with pytest.raises(RetryableError, match="no answer there"):
        kubelet_health(ports.nodes, ports.cluster, node)
    ports.close()
