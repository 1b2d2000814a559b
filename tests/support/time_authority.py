"""A time-stamp authority of the tests' own: ``openssl ts`` behind an HTTP server on this machine."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from http_servers import Quiet, Server, listening

_CONFIG = """
[tsa]
default_tsa = one
[one]
serial = {folder}/serial
crypto_device = builtin
signer_cert = {folder}/tsa.pem
certs = {folder}/ca.pem
signer_key = {folder}/tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = {digests}
accuracy = secs:1
ordering = yes
tsa_name = yes
ess_cert_id_chain = no
[req]
distinguished_name = dn
prompt = no
[dn]
CN = {name}
[ca_ext]
basicConstraints = critical,CA:TRUE
keyUsage = critical,keyCertSign
[tsa_ext]
basicConstraints = critical,CA:FALSE
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
"""
Answer = tuple[int, str, bytes]


def _openssl(*words: str | Path) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True, timeout=60)


class TimeAuthority:
    """Its certificates, and the answers that it gives."""

    def __init__(self, folder: Path, name: str = "Test Authority", digests: str = "sha256") -> None:
        folder.mkdir()
        self.folder, self.ca, self.asked = folder, folder / "ca.pem", 0
        self.config = folder / "openssl.cnf"
        self.config.write_text(_CONFIG.format(folder=folder, name=name, digests=digests))
        (folder / "serial").write_text("01")
        common = (
            "-config",
            self.config,
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:prime256v1",
        )
        _openssl(
            "req", "-x509", *common, "-keyout", folder / "ca.key", "-out", self.ca, "-extensions", "ca_ext",
            "-subj", f"/CN={name} CA",
        )  # fmt: skip
        _openssl("req", "-new", *common, "-keyout", folder / "tsa.key", "-out", folder / "tsa.csr")
        _openssl(
            "x509", "-req", "-in", folder / "tsa.csr", "-CA", self.ca, "-CAkey", folder / "ca.key", "-CAcreateserial",
            "-out", folder / "tsa.pem", "-extfile", self.config, "-extensions", "tsa_ext",
        )  # fmt: skip

    def answer(self, query: bytes) -> Answer:
        """Status, type and content of the answer to a request."""
        self.asked += 1
        (self.folder / "query").write_bytes(query)
        _openssl(
            "ts", "-reply", "-config", self.config, "-section", "one", "-queryfile", self.folder / "query",
            "-out", self.folder / "reply",
        )  # fmt: skip
        return 200, "application/timestamp-reply", (self.folder / "reply").read_bytes()


@contextmanager
def serving(answer: Callable[[bytes], Answer | bytes]) -> Iterator[str]:
    """Serve answers on this machine; the URL. Bytes are sent as they are, in place of an answer of HTTP."""

    class Handler(Quiet):
        def do_POST(self) -> None:  # noqa: N802 - the name that the base looks for
            query = self.rfile.read(int(self.headers["Content-Length"]))
            made = answer(query)
            if isinstance(made, bytes):
                self.wfile.write(made)
                return
            status, kind, content = made
            self.send_response(status)
            self.send_header("Content-Type", kind)
            if status == 302:
                self.send_header("Location", "/elsewhere")
            self.end_headers()
            self.wfile.write(content)

    class Patient(Server):
        def handle_error(self, *_: Any) -> None:
            """A client that goes away before its answer is what some tests are about."""

    with listening(Handler, Patient) as address:
        yield f"{address}/tsa"
