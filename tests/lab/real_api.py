"""Real API servers of any release that the lab has built, alone with etcd on the loopback."""

from __future__ import annotations

import http.client
import json
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from apiserver import free_ports
from places import CACHE, ROOTFS

TOKEN = "known-to-this-test-alone"
ETCD = ROOTFS / "usr" / "bin" / "etcd"
# A pod needs an account that no controller makes here, and nobody reports the state of nodes; a rehearsal adds no
# tolerations.
OFF = "ServiceAccount,TaintNodesByCondition,DefaultTolerationSeconds"


def programs() -> list[Path]:
    """The API servers that there are, by release."""
    return sorted(CACHE.glob("kubernetes-1.*[0-9]/usr/bin/kube-apiserver")) if ETCD.exists() else []


@dataclass(frozen=True)
class Answer:
    """What a server answered."""

    code: int
    kind: str  # of its content
    text: str
    body: Any = field(default=None)


@dataclass
class Api:
    """A server at a port of the loopback.

    Args:
        port: where it listens.
        authority: its certificate; None for one that speaks plain HTTP.
    """

    port: int
    authority: Path | None = None

    def call(
        self, method: str, path: str, body: Any = None, content: str = "application/json", token: str = TOKEN
    ) -> Answer:
        """Send a request; a body that is a text goes as it is."""
        if self.authority is None:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        else:
            tls = ssl.create_default_context(cafile=self.authority)
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, context=tls, timeout=60)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": content, "Accept": "application/json"}
        data = body if isinstance(body, str | None) else json.dumps(body)
        try:
            connection.request(method, path, data, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        finally:
            connection.close()
        kind = answer.getheader("Content-Type") or ""
        return Answer(
            answer.status, kind, text, json.loads(text) if kind.startswith("application/json") else None
        )


@contextmanager
def real_api(program: Path, folder: Path) -> Iterator[Api]:
    """Run an API server while the context lasts; its processes die with this one."""
    client, peer, port = free_ports(3)
    etcd, peers = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    key = folder / "accounts.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    (folder / "tokens.csv").write_text(f"{TOKEN},kubernetes-admin,admin,system:masters\n")
    commands = [
        [
            ETCD, f"--data-dir={folder}/etcd", f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls={peers}", f"--initial-advertise-peer-urls={peers}",
            f"--initial-cluster=default={peers}", "--unsafe-no-fsync", "--log-level=error",
        ],
        [
            program, f"--etcd-servers={etcd}", "--bind-address=127.0.0.1", f"--secure-port={port}",
            "--advertise-address=10.255.0.1", f"--cert-dir={folder}/tls", f"--token-auth-file={folder}/tokens.csv",
            f"--service-account-key-file={key}", f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://judge.invalid", "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--authorization-mode=RBAC",
            f"--disable-admission-plugins={OFF}",
        ],
    ]  # fmt: skip
    processes = []
    try:
        for words in commands:
            with (folder / f"{words[0].name}.log").open("wb") as log:  # type: ignore[union-attr]
                alone = ["setpriv", "--pdeathsig", "KILL", *words]
                processes.append(
                    subprocess.Popen(alone, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder)
                )
        api = Api(port, folder / "tls/apiserver.crt")
        _await(api, processes, folder)
        yield api
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()


def _await(api: Api, processes: list[subprocess.Popen[bytes]], folder: Path, seconds: float = 180) -> None:
    """Wait until it is ready, with its own namespaces and roles."""
    end, last = time.monotonic() + seconds, ""
    while True:
        ended = [process.args for process in processes if process.poll() is not None]
        assert not ended, f"{ended} ended:\n{(folder / 'kube-apiserver.log').read_text()[-2000:]}"
        try:
            paths = ("/readyz", "/api/v1/namespaces/kube-system", "/api/v1/namespaces/kube-node-lease")
            codes = [api.call("GET", path).code for path in paths]
            if codes == [200, 200, 200]:
                return
            last = str(codes)
        except (OSError, http.client.HTTPException) as error:
            last = str(error)
        assert time.monotonic() < end, f"not ready after {seconds:.0f} s: {last}"
        time.sleep(0.2)
