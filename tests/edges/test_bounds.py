"""What an API server or a node may send at the most: bytes, seconds, pages, and only what has the shape of its kind."""

from __future__ import annotations

import gzip
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from fakes import ALWAYS, World
from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster, bounds, objects
from kubeharden.edges.cluster.client import _warning
from kubeharden.edges.nodes import session
from kubeharden.edges.nodes.session import Session
from kubeharden.errors import ClusterError
from kubeharden.kube.shapes import mistake_in

Send = Callable[[socket.socket], None]


@contextmanager
def server(folder: Path, send: Send) -> Iterator[Cluster]:
    """A client of a server that answers each request with whatever ``send`` sends."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                link, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=answer, args=[link], daemon=True).start()

    def answer(link: socket.socket) -> None:
        with link:
            try:
                link.recv(65536)
                send(link)
            except OSError:
                return  # the client had enough

    threading.Thread(target=serve, daemon=True).start()
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{listener.getsockname()[1]}"}}],
        "users": [{"name": "u", "user": {"token": "a-token-of-a-test"}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    (folder / "kubeconfig").write_text(yaml.safe_dump(config))
    cluster = Cluster(str(folder / "kubeconfig"), clock=SystemClock())
    try:
        yield cluster
    finally:
        cluster.close()
        listener.close()


def head(*lines: str) -> bytes:
    return "\r\n".join(["HTTP/1.1 200 OK", "Content-Type: application/json", *lines, "", ""]).encode()


def endless(link: socket.socket) -> None:
    link.sendall(head("Connection: close"))
    while True:
        link.sendall(b" " * 65536)


def a_byte_at_a_time(link: socket.socket) -> None:
    link.sendall(head("Content-Length: 100000"))
    while True:
        link.sendall(b" ")
        time.sleep(0.05)


def headers_without_end(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 200 OK\r\nX: ")
    while True:
        link.sendall(b"a")
        time.sleep(0.05)


CHUNKED = head("Transfer-Encoding: chunked") + b"2\r\n{}\r\n"


def in_pieces(first: bytes, piece: bytes) -> Send:
    """Send the beginning of an answer, and then the same without end."""

    def send(link: socket.socket) -> None:
        link.sendall(CHUNKED + first)
        while True:
            link.sendall(piece)
            time.sleep(0.01)

    return send


def elsewhere(link: socket.socket) -> None:
    link.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\nContent-Length: 0\r\n\r\n")


def packed(link: socket.socket) -> None:
    body = gzip.compress(b" " * 10_000_000)
    link.sendall(head("Content-Encoding: gzip", f"Content-Length: {len(body)}") + body)


def text(body: str) -> Send:
    def send(link: socket.socket) -> None:
        link.sendall(head(f"Content-Length: {len(body.encode())}") + body.encode())

    return send


@pytest.mark.parametrize(
    ("send", "words"),
    [
        (endless, "GET /version: its answer is longer than 0 MiB"),
        (a_byte_at_a_time, "GET /version: its answer took longer than 0.5 s"),
        (headers_without_end, "its answer did not begin within 0.5 s"),
        (in_pieces(b"", b"0"), "GET /version: its answer took longer than 0.5 s"),
        (in_pieces(b"2;", b"x"), "GET /version: its answer took longer than 0.5 s"),
        (in_pieces(b"0\r\n", b"X: y\r\n"), "GET /version: its answer took longer than 0.5 s"),
        (elsewhere, "cannot reach the API server: Invalid IPv6 URL"),
        (packed, r"GET /version: its answer is compressed \(gzip\)"),
        (
            text("<html><body>Sign in</body></html>"),
            "/version: the server's answer is not an object in JSON: <html>",
        ),
        (text("[1, 2]"), "the server's answer is not an object in JSON"),
        (text("[" * 100_000), "the server's answer is not an object in JSON"),
        (text("{}"), "GET /version: the answer has no gitVersion"),
        (text('{"gitVersion": 7}'), "GET /version: the answer has no gitVersion"),
    ],
    ids=[
        "endless",
        "slow",
        "headers",
        "length",
        "extension",
        "trailer",
        "address",
        "gzip",
        "html",
        "list",
        "deep",
        "empty",
        "number",
    ],
)
def test_an_answer_is_bounded_and_what_it_answers_is_named(
    send: Send, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounds, "MOST_BYTES", 1_000_000)
    monkeypatch.setattr(bounds, "MOST_SECONDS", 0.5)
    monkeypatch.setattr("kubeharden.edges.cluster.client.RETRIES", 1)
    start = time.monotonic()
    with server(tmp_path, send) as cluster, pytest.raises(ClusterError, match=words):
        cluster.version()
    assert time.monotonic() - start < 15


def page(**metadata: object) -> bytes:
    return json.dumps({"apiVersion": "v1", "metadata": metadata, "items": []}).encode()


def test_a_list_that_goes_on_for_ever_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("article-1.10")
    world.faults.add("GET", "^/api/v1/pods", 200, ALWAYS, page(**{"continue": "again"}))
    with pytest.raises(ClusterError, match="GET /api/v1/pods: the list does not end"):
        world.ports().cluster.items("Pod")
    monkeypatch.setattr(objects, "MOST_PAGES", 5)
    world.faults.faults.clear()
    for number in range(10):
        world.faults.add("GET", "^/api/v1/pods", 200, 1, page(**{"continue": str(number)}))
    with pytest.raises(ClusterError, match="it goes on after 6 pages"):
        world.ports().cluster.items("Pod")


@pytest.mark.parametrize(
    "body",
    [
        b"{}",
        b'{"kind": "Status", "status": "Failure"}',
        b'{"kind": "NodeList", "items": []}',
        b'{"kind": "PodList", "items": [{"kind": "Node", "metadata": {"name": "a"}}]}',
        b'{"items": {"a": {}}}',
        b'{"items": [1]}',
        b'{"items": [], "metadata": [1]}',
        b'{"items": [{}]}',
        page(**{"continue": 7}),
        page(remainingItemCount="many", **{"continue": "x"}),
    ],
)
def test_a_list_of_another_shape_is_refused(body: bytes) -> None:
    world = World("article-1.10")
    world.faults.add("GET", "^/api/v1/pods", 200, 1, body)
    with pytest.raises(ClusterError, match="GET /api/v1/pods: the "):
        world.ports().cluster.items("Pod")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'{"resources": [{"name": 7}]}', r"resources\[0\].name is not a text"),
        (b"{}", "resources is not a list"),
        (b'{"kind": "Status", "code": 500}', "resources is not a list"),
    ],
)
def test_discovery_of_another_shape_is_refused(body: bytes, words: str) -> None:
    """Or a kind would pass for one that the server does not have, and none of its objects would be looked at."""
    world = World("article-1.10")
    world.faults.add("GET", "^/apis/apps/v1$", 200, 1, body)
    with pytest.raises(ClusterError, match=f"not a list of resources: {words}"):
        world.ports().cluster.serves("Deployment")


def test_every_object_of_a_real_looking_cluster_has_its_shape() -> None:
    for name in ("article-1.10", "handbuilt-1.20", "psp-1.23", "containerd-1.36"):
        found = World(name).store.objects()
        assert len(found) > 30
        assert {mistake_in(item, item["kind"]) for item in found} == {""}


OBJECTS = Path(__file__).parents[1] / "fixtures" / "objects"


@pytest.mark.parametrize("path", sorted(OBJECTS.glob("*.jsonl")), ids=lambda path: path.stem)
def test_objects_of_a_real_cluster_have_their_shape(path: Path) -> None:
    items = [json.loads(line) for line in path.read_text().splitlines()]
    assert len({item["kind"] for item in items}) > 10
    assert {
        item["kind"]: mistake_in(item, item["kind"]) for item in items if mistake_in(item, item["kind"])
    } == {}


@pytest.mark.parametrize(
    ("item", "kind", "words"),
    [
        ("a text", "Pod", "it is not a mapping"),
        ({"metadata": {"name": 7}}, "Pod", "metadata.name is not a text"),
        ({"metadata": {}}, "Pod", "metadata.name is missing"),
        ({"metadata": {"labels": {"a": {}}}}, "Node", "metadata.name is missing"),
        ({"metadata": {"name": "a", "labels": {"a": {}}}}, "Node", "metadata.labels.a is not a text"),
        ({"metadata": {"name": "a"}, "spec": []}, "Pod", "spec is not a mapping"),
        ({"metadata": {"name": "a"}, "spec": {"containers": {}}}, "Pod", "spec.containers is not a list"),
        ({"metadata": {"name": "a"}, "spec": {"containers": [None]}}, "Pod", "spec.containers[0] is null"),
        (
            {"metadata": {"name": "a"}, "spec": {"containers": [{"name": "b", "securityContext": 1}]}},
            "Pod",
            "spec.containers[0].securityContext is not a mapping",
        ),
        ({"metadata": {"name": "a"}, "rules": [{"verbs": "get"}]}, "Role", "rules[0].verbs is not a list"),
        ({"metadata": {"name": "a"}, "subjects": [{}]}, "RoleBinding", "subjects[0].kind is missing"),
        ({"metadata": {"name": "a"}, "spec": {"leaseDurationSeconds": "x"}}, "Lease", "is not a number"),
    ],
)
def test_the_first_mistake_is_named(item: Any, kind: str, words: str) -> None:
    assert words in mistake_in(item, kind)


class Endless:
    """A channel of a node that does not stop."""

    closed = eof_received = False

    def exec_command(self, command: str) -> None:
        """Start."""

    def settimeout(self, seconds: float) -> None:
        """Wait for nothing."""

    def sendall(self, data: bytes) -> None:
        """Take it."""

    def recv(self, size: int) -> bytes:
        return b"x" * size

    def close(self) -> None:
        self.closed = True


def test_the_answer_of_a_node_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_BYTES", 2**20)
    channel: Any = Endless()
    with pytest.raises(OverflowError, match="its answer is longer than 1 MiB"):
        Session(channel, b"", 5).ask("observe", [], b"", 60)
    assert channel.closed


@pytest.mark.parametrize("status", ["x", "", "-1", "²", "9" * 5000, "1 2"])
def test_a_status_that_a_script_cannot_end_with_is_a_failure(status: str) -> None:
    class Lying(Endless):
        def sendall(self, data: bytes) -> None:
            self.mark = data.split()[1].decode()

        def recv(self, size: int) -> bytes:
            return f"x\n{self.mark} {status}\n\n{self.mark} end\n".encode()

    channel: Any = Lying()
    assert not Session(channel, b"", 5).ask("observe", [], b"", 60).is_good


def test_a_warning_of_the_server_is_read_in_time() -> None:
    start = time.process_time()
    for _ in range(100):  # of an answer
        assert _warning('"\\' * 32_000)
    assert _warning('299 - "say \\"so\\"" "day"') == 'say "so"'
    assert time.process_time() - start < 5
