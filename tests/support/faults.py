"""An HTTP server between a client and a rehearsal's API server, which answers wrongly when it is told to."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import yaml

from http_servers import Quiet, listening

CUT = -1  # the request is carried out, and the connection ends without an answer
HANG = -2  # the request is carried out, and the answer does not come in time
ALWAYS = 1_000_000  # times


@dataclass
class Fault:
    """What is to go wrong: with which requests (each, or every third …), how, and how often."""

    method: str
    path: str
    status: int
    times: int = 1
    body: bytes = b'{"message": "as the test wants it"}'
    every: int = 1
    headers: dict[str, str] = field(default_factory=dict)
    met: int = 0  # requests that it is about
    last: float = 0.0  # when it went wrong last

    def now(self, method: str, path: str) -> bool:
        if self.times <= 0 or self.method != method or not re.search(self.path, path):
            return False
        self.met += 1
        if self.met % self.every:
            return False
        self.times -= 1
        return True


@dataclass
class Faults:
    """The faults that are still to come, and every request that came."""

    kubeconfig: Path
    faults: list[Fault] = field(default_factory=list)
    requests: list[tuple[float, str, str]] = field(default_factory=list)
    clock: Callable[[], float] = time.monotonic

    def add(
        self,
        method: str,
        path: str,
        status: int,
        times: int = 1,
        body: bytes = Fault.body,
        *,
        every: int = 1,
        **headers: str,
    ) -> None:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.faults.append(Fault(method, path, status, times, body, every, named))

    def count(self, method: str, path: str) -> int:
        return sum(m == method and re.search(path, p) is not None for _, m, p in self.requests)

    def take(self, method: str, path: str) -> Fault | None:
        self.requests.append((self.clock(), method, path))
        found = next((fault for fault in self.faults if fault.now(method, path)), None)
        if found is not None:
            found.last = self.clock()
        return found


@contextmanager
def between(kubeconfig: Path, hang_seconds: float = 1.0) -> Iterator[Faults]:
    """A server that passes requests on to the one that a kubeconfig names; ``faults.kubeconfig`` leads to it."""
    config = yaml.safe_load(kubeconfig.read_text())
    target = urlsplit(config["clusters"][0]["cluster"]["server"])
    faults = Faults(kubeconfig.with_name("faults.kubeconfig"))

    class Handler(Quiet):
        protocol_version = "HTTP/1.1"

        def pass_on(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            fault = faults.take(self.command, self.path)
            if fault is not None and fault.status > 0:
                self.answer(fault.status, fault.body, **fault.headers)
                return
            link = http.client.HTTPConnection(target.hostname or "", target.port, timeout=30)
            kept = {k: v for k, v in self.headers.items() if k.lower() not in ("host", "connection")}
            try:
                link.request(self.command, self.path, body or None, kept)
                answer = link.getresponse()
                text = answer.read()
            except OSError:
                self.close_connection = True
                return
            finally:
                link.close()
            if fault is not None:
                time.sleep(hang_seconds if fault.status == HANG else 0)
                self.close_connection = True
                return
            self.answer(answer.status, text, **{"Content-Type": answer.getheader("Content-Type") or ""})

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815 - the names that the base looks for

    with listening(Handler) as address:
        config["clusters"][0]["cluster"]["server"] = address
        faults.kubeconfig.write_text(yaml.safe_dump(config))
        yield faults
