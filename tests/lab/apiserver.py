"""A real kube-apiserver 1.20.2 with etcd on the loopback, without nodes: a judge that is there in seconds.

It needs the lab's cached binaries and nothing of the lab that runs. Its processes die with the one that started them.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from places import BINARIES, ROOTFS

Object = dict[str, Any]
Item = TypeVar("Item")
Answer = TypeVar("Answer")

PROGRAMS = BINARIES / "usr" / "bin"
ETCD = ROOTFS / "usr" / "bin" / "etcd"
TOKEN = "known-to-this-test-alone"
# Of the plugins that are on by default, those that put something into pods, ask for other objects, or refuse.
OFF = (
    "DefaultTolerationSeconds,LimitRanger,MutatingAdmissionWebhook,NamespaceLifecycle,Priority,ResourceQuota,"
    "RuntimeClass,ServiceAccount,TaintNodesByCondition,ValidatingAdmissionWebhook"
)
# Off by default in 1.20; without them the server drops the fields before anybody could look at them.
GATES = "ProcMountType=true,GenericEphemeralVolume=true"
AUDIT_POLICY = """
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- {level: Metadata, verbs: [update], resources: [{resources: [pods]}]}
"""
KUBECONFIG = """
apiVersion: v1
kind: Config
clusters:
- {name: judge, cluster: {server: "https://127.0.0.1:PORT", certificate-authority: "FOLDER/tls/apiserver.crt"}}
users: [{name: admin, user: {token: TOKEN}}]
contexts: [{name: judge, context: {cluster: judge, user: admin}}]
current-context: judge
"""


def missing() -> str:
    """Which programs are not there; empty if all are."""
    wanted = (PROGRAMS / "kube-apiserver", PROGRAMS / "kube-controller-manager", ETCD)
    return ", ".join(str(path) for path in wanted if not path.exists())


@dataclass(frozen=True)
class Reply:
    """What the server answered."""

    code: int
    body: Object
    audit_id: str

    @property
    def message(self) -> str:
        return str(self.body.get("message", ""))


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for one in sockets:
        one.bind(("127.0.0.1", 0))
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


class ApiServer:
    """The server while the context lasts.

    Of the controllers there is the one that fills in aggregated ClusterRoles, and no other.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []
        self._here = threading.local()  # a connection for each thread
        self._port = 0

    def __enter__(self) -> Self:
        client, peer, self._port = free_ports(3)
        etcd = f"http://127.0.0.1:{client}"
        self._start(
            ETCD, f"--data-dir={self.folder}/etcd", "--log-level=error",
            f"--listen-client-urls={etcd}", f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
        )  # fmt: skip
        key = self.folder / "service-accounts.key"
        subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
        (self.folder / "tokens.csv").write_text(f"{TOKEN},admin,admin,system:masters\n")
        (self.folder / "audit.yaml").write_text(AUDIT_POLICY)
        kubeconfig = KUBECONFIG.replace("PORT", str(self._port)).replace("FOLDER", str(self.folder))
        (self.folder / "kubeconfig").write_text(kubeconfig.replace("TOKEN", TOKEN))
        self._start(
            PROGRAMS / "kube-apiserver", "--bind-address=127.0.0.1", f"--secure-port={self._port}", "--insecure-port=0",
            f"--cert-dir={self.folder}/tls", f"--etcd-servers={etcd}", f"--token-auth-file={self.folder}/tokens.csv",
            "--service-account-issuer=https://judge.invalid", f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}", "--service-cluster-ip-range=10.0.0.0/24",
            "--endpoint-reconciler-type=none", "--allow-privileged=true", "--authorization-mode=RBAC",
            "--enable-admission-plugins=PodSecurityPolicy", f"--disable-admission-plugins={OFF}",
            f"--feature-gates={GATES}", f"--audit-policy-file={self.folder}/audit.yaml",
            f"--audit-log-path={self.folder}/audit.log",
        )  # fmt: skip
        self._await("the API server", lambda: self.call("GET", "/readyz", text=True).code == 200)
        self._start(
            PROGRAMS / "kube-controller-manager", f"--kubeconfig={self.folder}/kubeconfig", "--leader-elect=false",
            "--controllers=clusterrole-aggregation", "--secure-port=0", "--port=0",
        )  # fmt: skip
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()

    def _start(self, program: Path, *words: str) -> None:
        alone = ["setpriv", "--pdeathsig", "KILL", program, *words]
        with (self.folder / f"{program.name}.log").open("wb") as log:
            process = subprocess.Popen(
                alone, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=self.folder
            )
        self.processes.append(process)

    def _await(self, what: str, done: Callable[[], bool], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while True:
            for process in self.processes:
                if process.poll() is not None:
                    name = Path(str(process.args[3])).name  # type: ignore[index]
                    log = (self.folder / f"{name}.log").read_text()[-2000:]
                    raise AssertionError(f"{name} ended:\n{log}")
            try:
                if done():
                    return
            except (OSError, http.client.HTTPException) as error:
                what = f"{what.partition(': ')[0]}: {error}"
            assert time.monotonic() < end, f"{seconds:.0f} s and still waiting for {what}"
            time.sleep(0.1)

    def await_true(self, what: str, done: Callable[[], bool]) -> None:
        """Wait until something holds; it fails after two minutes, or when a process has ended."""
        self._await(what, done)

    def call(
        self, verb: str, path: str, body: Object | None = None, *,
        user: str = "", groups: Iterable[str] = (), text: bool = False,
    ) -> Reply:  # fmt: skip
        """One request, as the administrator or as a user that he impersonates."""
        connection = getattr(self._here, "connection", None)
        if connection is None:
            tls = ssl.create_default_context(cafile=self.folder / "tls" / "apiserver.crt")
            connection = http.client.HTTPSConnection("127.0.0.1", self._port, context=tls, timeout=60)
            self._here.connection = connection
        try:
            connection.putrequest(verb, path)
            connection.putheader("Authorization", f"Bearer {TOKEN}")
            content = b"" if body is None else json.dumps(body).encode()
            connection.putheader("Content-Type", "application/json")
            connection.putheader("Content-Length", str(len(content)))
            if user:
                connection.putheader("Impersonate-User", user)
            for group in groups:
                connection.putheader("Impersonate-Group", group)
            connection.endheaders(content)
            answer = connection.getresponse()
            raw = answer.read()
        except (OSError, http.client.HTTPException):
            connection.close()
            self._here.connection = None
            raise
        return Reply(answer.status, {} if text else json.loads(raw), answer.getheader("Audit-Id") or "")

    def must(self, verb: str, path: str, body: Object | None = None) -> Object:
        """A request of the administrator that has to succeed."""
        reply = self.call(verb, path, body)
        assert reply.code < 300, f"{verb} {path}: {reply.code} {reply.message}\n{json.dumps(body)}"
        return reply.body

    def each(self, items: Sequence[Item], work: Callable[[Item], Answer]) -> list[Answer]:
        """Do something with every item, four at a time."""
        with ThreadPoolExecutor(4) as pool:
            return list(pool.map(work, items))

    def audited(self) -> dict[str, dict[str, str]]:
        """Audit-Id → the annotations that plugins left in the audit log."""
        lines = (self.folder / "audit.log").read_text().splitlines()
        events = (json.loads(line) for line in lines if line.endswith("}"))
        return {event["auditID"]: event.get("annotations") or {} for event in events}
