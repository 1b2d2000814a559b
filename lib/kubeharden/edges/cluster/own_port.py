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
from collections.abc import Collection
from types import SimpleNamespace

from urllib3.util.ssltransport import SSLTransport

from kubeharden.edges.cluster.bounds import MOST_BYTES
from kubeharden.edges.ports import Stream
from kubeharden.errors import ClusterError, RetryableError

SECONDS = 15.0  # for a whole question
_CHUNK = 1 << 14


def ask(stream: Stream, path: str, context: ssl.SSLContext, certificates: Collection[str]) -> tuple[int, str]:
    """Return the status and the body of an answer.

    Args:
        stream: to the port; it is closed afterwards.
        certificates: the SHA-256 of each that may be shown there.

    Raises:
        RetryableError: there is no answer.
        ClusterError: it is not of somebody who has such a certificate, or is too long.
    """
    patience = threading.Timer(SECONDS, stream.close)
    patience.start()
    try:
        stream.settimeout(SECONDS)
        tls = SSLTransport(stream, context)  # type: ignore[arg-type] # a channel of SSH does as well as a socket
        if hashlib.sha256(tls.getpeercert(binary_form=True) or b"").hexdigest() not in certificates:
            raise ClusterError(
                "who answers there shows a certificate that is not in the kubelet's files on its node"
            )
        tls.sendall(f"GET {path} HTTP/1.0\r\nHost: localhost\r\nAccept: application/json\r\n\r\n".encode())
        answer = bytearray()
        while len(answer) <= MOST_BYTES and (piece := bytes(tls.recv(_CHUNK))):
            answer += piece
        received = SimpleNamespace(makefile=lambda _mode: io.BytesIO(answer))
        response = http.client.HTTPResponse(received)  # type: ignore[arg-type] # it needs makefile() alone
        response.begin()
        body = response.read()
    except (OSError, EOFError, ValueError, http.client.HTTPException) as error:  # an SSLError is an OSError
        words = getattr(error, "reason", None) or str(error) or type(error).__name__
        raise RetryableError(f"no answer there: {words}") from error
    finally:
        patience.cancel()
        stream.close()
    if len(answer) > MOST_BYTES:
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
