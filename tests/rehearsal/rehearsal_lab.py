"""Rehearsal clusters as tests use them: nodes over SSH, the API over HTTP, nothing else."""

from __future__ import annotations

import contextlib
import hashlib
import json
import shlex
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paramiko
import pytest
import yaml

from kubeharden.edges.nodes.session import script_text
from kubeharden.edges.nodes.transaction import archive
from kubeharden.facts import FileFact, observation_request
from kubeharden.plan import FileChange, NodeChange
from kubeharden_rehearsal import Rehearsal, available
from rehearsals import Rehearsals
from support import eventually


@dataclass
class Result:
    status: int
    out: str
    err: str


@dataclass
class Lab:
    """A running rehearsal with connections to its nodes."""

    rehearsal: Rehearsal
    _clients: dict[str, paramiko.SSHClient] = field(default_factory=dict)

    @property
    def nodes(self) -> list[dict[str, Any]]:
        return yaml.safe_load(self.rehearsal.inventory.read_text())["nodes"]

    def root(self, node: str) -> Path:
        return self.rehearsal.directory / "nodes" / node

    def connect(self, node: str, user: str = "ops", key: str | None = None) -> paramiko.SSHClient:
        place = self.rehearsal.directory
        client = paramiko.SSHClient()
        client.load_host_keys(str(place / "known_hosts"))
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        port = next(row["port"] for row in self.nodes if row["name"] == node)
        channel = socket.create_connection(("127.0.0.1", port), timeout=10)
        channel.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # 12 ms a command instead of 44
        client.connect(
            "127.0.0.1",
            port,
            sock=channel,
            username=user,
            key_filename=key or str(place / "id_ed25519"),
            look_for_keys=False,
            allow_agent=False,
            timeout=10,
        )
        return client

    def channel(self, node: str) -> paramiko.Channel:
        if node not in self._clients:
            self._clients[node] = self.connect(node)
        transport = self._clients[node].get_transport()
        assert transport is not None
        return transport.open_session(timeout=10)

    def raw(self, node: str, command: str, stdin: bytes = b"") -> tuple[int, bytes, bytes]:
        channel = self.channel(node)
        channel.settimeout(20)
        channel.exec_command(command)

        def feed() -> None:
            with contextlib.suppress(OSError):  # the command need not read it
                channel.sendall(stdin)
                channel.shutdown_write()

        feeder = threading.Thread(target=feed)
        feeder.start()
        out = channel.makefile("rb").read()
        err = channel.makefile_stderr("rb").read()
        feeder.join()
        return channel.recv_exit_status(), out, err

    def run(self, node: str, command: str, stdin: bytes = b"") -> Result:
        status, out, err = self.raw(node, command, stdin)
        return Result(status, out.decode(), err.decode())

    def script(self, node: str, name: str, arguments: str = "", stdin: bytes = b"") -> Result:
        command = f"sudo -n /bin/sh -c {shlex.quote(script_text(name))} {name} {arguments}"
        return self.run(node, command, stdin)

    def observe(self, node: str) -> dict[str, str]:
        """The sections of observe.sh: head (without file modes) to text."""
        result = self.script(node, "observe", " ".join(observation_request()))
        assert (result.status, result.err) == (0, "")
        mark = result.out.partition("\n")[0].removeprefix("@observation ")
        assert result.out.endswith(f"\n{mark} end\n")
        sections = {}
        for part in result.out.split(f"\n{mark} ")[1:]:
            head, _, body = part.partition("\n")
            words = head.split()
            key = f"file {words[-1]}" if words[0] == "file" else head
            sections[key] = body
        return sections

    def apply(self, node: str, path: str, text: str, service: str, owner: str = "root root") -> str:
        """Put one file in place with transaction.sh, restart a service, and confirm; what the script first said."""
        target = self.root(node) / path.lstrip("/")
        run = hashlib.sha256(text.encode()).hexdigest()[:12]
        before = FileFact(path, "644", *owner.split(), target.read_text()) if target.exists() else None
        file = FileChange(path, before, text, "644", *owner.split())
        said = self.begin(node, NodeChange(service, node, service, (file,), "a test changes it"), run)
        if said.startswith("@result waiting"):
            confirmed = self.script(node, "transaction", f"confirm {run}").out
            assert confirmed.startswith("@result confirmed"), confirmed
        return said

    def begin(self, node: str, change: NodeChange, run: str) -> str:
        """Begin a transaction; what the script said."""
        content = archive(change, run, "a test", 0.3, 20, script_text("transaction"))
        return self.script(node, "transaction", "begin", content).out

    def show(self, node: str, unit: str, name: str) -> str:
        return self.run(node, f"systemctl show -p {name} {unit}").out.strip().partition("=")[2]

    def edit(self, node: str, path: str, change: Callable[[str], str]) -> None:
        """Change a file by hand, as an editor does."""
        target = self.root(node) / path.lstrip("/")
        target.write_text(change(target.read_text()))

    def api(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        config = yaml.safe_load((self.rehearsal.directory / "admin.kubeconfig").read_text())
        request = urllib.request.Request(
            config["clusters"][0]["cluster"]["server"] + path,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {config['users'][0]['user']['token']}",
                "Content-Type": "application/json",
            },
            method=method,
        )
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                text, status = answer.read().decode(), answer.status
        except urllib.error.HTTPError as error:
            text, status = error.read().decode(), error.code
        try:
            return status, json.loads(text)
        except ValueError:
            return status, text

    def pods(self, namespace: str, owner: str) -> list[dict[str, Any]]:
        items = self.api("GET", f"/api/v1/namespaces/{namespace}/pods")[1]["items"]
        return [pod for pod in items if pod["metadata"]["name"].startswith(f"{owner}-")]

    def ready(self, node: str) -> dict[str, Any]:
        conditions = self.api("GET", f"/api/v1/nodes/{node}")[1]["status"]["conditions"]
        return next(c for c in conditions if c["type"] == "Ready")

    def reset(self) -> None:
        self.disconnect()
        self.rehearsal.reset()

    def close(self) -> None:
        self.disconnect()
        self.rehearsal.stop()

    def disconnect(self) -> None:
        for client in self._clients.values():
            client.close()
        self._clients.clear()


@pytest.fixture(name="eventually")
def _eventually() -> Callable[..., Any]:
    return eventually


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Lab]]:
    """Start a rehearsal of one's own; all of them end with the test."""
    labs: list[Lab] = []

    def started(name: str = "article-1.10", directory: Path | None = None) -> Lab:
        place = directory or tmp_path / f"rehearsal-{len(labs)}"
        labs.append(Lab(Rehearsal.start(name, place)))
        return labs[-1]

    yield started
    for lab in labs:
        lab.close()


@pytest.fixture
def fresh(rehearsals: Rehearsals) -> Iterator[Callable[[str], Lab]]:
    """The shared rehearsal of a scenario as it is when it starts."""
    labs: list[Lab] = []

    def lab(name: str) -> Lab:
        labs.append(Lab(rehearsals.fresh(name)))
        return labs[-1]

    yield lab
    for made in labs:
        made.disconnect()


@pytest.fixture(scope="session")
def untouched(rehearsals: Rehearsals) -> Iterator[Callable[[str], Lab]]:
    """One rehearsal of each scenario for tests that change nothing."""
    labs: dict[str, Lab] = {}

    def lab(name: str) -> Lab:
        return labs.setdefault(name, Lab(rehearsals.untouched(name)))

    yield lab
    for made in labs.values():
        made.disconnect()


@pytest.fixture(params=sorted(available()))
def every(request: pytest.FixtureRequest, untouched: Callable[[str], Lab]) -> Lab:
    return untouched(request.param)


@pytest.fixture(scope="session")
def observed(untouched: Callable[[str], Lab]) -> dict[str, str]:
    """What observe.sh finds on the article's master."""
    return untouched("article-1.10").observe("k8s-master")


@pytest.fixture
def handbuilt(untouched: Callable[[str], Lab]) -> Lab:
    """To be looked at only."""
    return untouched("handbuilt-1.20")


@pytest.fixture(scope="module")
def article_lab(rehearsals: Rehearsals) -> Iterator[Lab]:
    """One for the tests of a module, which leave its services running."""
    lab = Lab(rehearsals.fresh("article-1.10"))
    yield lab
    lab.disconnect()
