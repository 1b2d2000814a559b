"""The webhook: a real HTTP server is told of a run on a cluster of this process."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from cells import Cells
from fakes import World
from kubeharden.edges import webhook
from kubeharden.errors import KubehardenError, ParameterError
from kubeharden.redaction import Redactor

SECRET = "T0123456789/B0123456789/abcdefghijklmnop"


class Server:
    """What was posted to it, and what it answers."""

    def __init__(self) -> None:
        self.bodies: list[str] = []
        self.status, self.go_on = 200, threading.Event()
        self.go_on.set()
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                outer.bodies.append(self.rfile.read(int(self.headers["Content-Length"])).decode())
                outer.go_on.wait(10)
                self.send_response(outer.status)
                self.send_header("Location", "/elsewhere")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.http = HTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/services/{SECRET}"


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    made = Server()
    threading.Thread(target=made.http.serve_forever, args=(0.01,), daemon=True).start()
    monkeypatch.setenv(webhook.VARIABLE, made.url)
    yield made
    made.go_on.set()
    made.http.shutdown()
    made.http.server_close()


def test_the_end_of_a_run_is_posted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Cells(
        "harden",
        World("article-1.10"),
        tmp_path,
        monkeypatch,
        mode="plan",
        change_id="CHG-7",
        dns_ip="10.0.0.10",
    )
    (body,) = map(json.loads, server.bodies)
    assert (body["event"], body["mode"], body["change_id"]) == ("finished", "plan", "CHG-7")
    assert body["text"].startswith(
        f"kubeharden: {body['run']}: finished (mode plan); changed: nothing; not carried out: "
    )
    kept = [path.read_text() for path in (tmp_path / "records").rglob("*") if path.is_file()]
    assert kept
    assert not any(SECRET in text for text in kept)


def test_a_verb_that_fails_is_posted(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World("article-1.10")
    with pytest.raises(ParameterError, match="dns_ip"):  # before there is a run, there is nothing to tell
        Cells("harden", world, tmp_path, monkeypatch, dns_ip="x")
    assert server.bodies == []
    with pytest.raises(KubehardenError):  # another plan was approved
        Cells("harden", world, tmp_path, monkeypatch, dns_ip="10.0.0.10", approved_plan="0" * 64)
    found = [json.loads(body) for body in server.bodies]
    assert [body["event"] for body in found] == ["error"]
    assert " failed (" in found[0]["text"]


@pytest.mark.parametrize("how", ["slow", "refusing", "redirecting"])
def test_a_server_that_does_not_take_it_ends_no_run(
    server: Server,
    how: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(webhook, "SECONDS", 0.3)
    if how == "slow":
        server.go_on.clear()
    server.status = {"refusing": 500, "redirecting": 302}.get(how, 200)
    Cells("harden", World("article-1.10"), tmp_path, monkeypatch, mode="plan", dns_ip="10.0.0.10")
    said = capsys.readouterr().out
    assert "The webhook at 127.0.0.1 was not told of this" in said
    assert SECRET not in said
    assert len(server.bodies) == 1


@pytest.mark.parametrize(
    "url", ["http://chat.example/x", "ftp://127.0.0.1/", "https://", "chat", "http://127.0.0.1.example/"]
)
def test_a_url_that_others_can_read_along_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(webhook.VARIABLE, url)
    with pytest.raises(
        ParameterError, match="nothing was touched, because of the environment: KUBEHARDEN_WEBHOOK"
    ):
        webhook.find_webhook(Redactor())
    for allowed in ("https://chat.example/x", "http://[::1]:8/x", "http://localhost/x"):
        monkeypatch.setenv(webhook.VARIABLE, allowed)
        assert webhook.find_webhook(Redactor()) == allowed
