"""Questions to a kubelet at its own port, over a connection that ends on its node.

Who answers there may be a node that was taken over. So nothing that works elsewhere is sent to it: a client certificate
proves who asks without giving away its key, and what proves it (a signature over this handshake, the node's own
certificate among it) is worth nothing to anybody else; TLS 1.3 alone, which hides the certificate on its way. A token
would be the answerer's from then on, and is never sent.

A kubelet's certificate is mostly one that it made itself, which no authority vouches for. It must be one of those that
its node's own files have, which root read there over SSH: another process that listens at that port has none of them.
"""

from __future__ import annotations

import hashlib
import http.client
import io
import ssl
import threading
from collections.abc import Callable, Collection
from typing import Any

from kubeharden.edges.cluster.bounds import MOST_BYTES
from kubeharden.edges.ports import Stream
from kubeharden.errors import ClusterError, RetryableError

SECONDS = 15.0  # for a whole question
_CHUNK = 1 << 14


def ask(stream: Stream, path: str, context: ssl.SSLContext, certificates: Collection[str]) -> tuple[int, str]:
    """Return the status and the body of an answer.

    Args:
        stream: to the port; it is closed afterwards.
        path: such as ``/configz``.
        context: that of ``context_of``.
        certificates: the SHA-256 of each that may be shown there.

    Raises:
        RetryableError: there is no answer.
        ClusterError: it is not of somebody who has such a certificate, or is too long.
    """
    patience = threading.Timer(SECONDS, stream.close)
    patience.start()
    try:
        stream.settimeout(SECONDS)
        tls = _Tls(stream, context)
        if tls.certificate not in certificates:
            raise ClusterError(
                "who answers there shows a certificate that is not in the kubelet's files on its node"
            )
        tls.send(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
        response = http.client.HTTPResponse(tls)  # type: ignore[arg-type] # it needs makefile() alone
        response.begin()
        body = response.read(MOST_BYTES + 1)
    except (OSError, EOFError, ValueError, http.client.HTTPException) as error:  # an SSLError is an OSError
        words = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise RetryableError(f"no answer there: {words}") from error
    finally:
        patience.cancel()
        stream.close()
    if len(body) > MOST_BYTES:
        raise ClusterError(f"the answer there is longer than {MOST_BYTES // 1024**2} MiB")
    return response.status, body.decode("utf-8", errors="replace")


def context_of(certificate: str, key: str) -> ssl.SSLContext:
    """Return the settings of TLS for a user's certificate and its key, which are files."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # What the other side shows is held against the node's own files: see above.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.load_cert_chain(certificate, key)
    return context


class _Tls(io.RawIOBase):
    """TLS over a stream that is not a socket of the system, such as a channel of SSH."""

    def __init__(self, stream: Stream, context: ssl.SSLContext) -> None:
        self._stream, self._received, self._made = stream, ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._received, self._made)
        self._work(self._tls.do_handshake)

    @property
    def certificate(self) -> str:
        """The SHA-256 of the certificate of the other side."""
        return hashlib.sha256(self._tls.getpeercert(binary_form=True) or b"").hexdigest()

    def send(self, data: bytes) -> None:
        """Send all of it: what is written to memory is taken whole."""
        self._work(lambda: self._tls.write(data))

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what an HTTP response is read from."""
        del mode
        return io.BufferedReader(self, _CHUNK)

    def readable(self) -> bool:
        """Return that it is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read what there is; nothing at the end."""
        try:
            data = self._work(lambda: self._tls.read(len(buffer)))
        except (ssl.SSLEOFError, ssl.SSLZeroReturnError):
            return 0
        buffer[: len(data)] = data
        return len(data)

    def _work(self, step: Callable[[], Any]) -> Any:
        """Do a step of TLS, with what must be sent and received for it."""
        while True:
            try:
                done, wants = step(), False
            except ssl.SSLWantReadError:
                done, wants = None, True
            if made := self._made.read():
                self._stream.sendall(made)
            if not wants:
                return done
            if data := self._stream.recv(_CHUNK):
                self._received.write(data)
            else:
                self._received.write_eof()
