"""The kubelet's own port of a node, over TLS: its certificate vouches for itself, and so does that of who may ask."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from kubeharden_rehearsal.atomic import write_atomically

HOST = "127.0.0.1"
_YEARS = timedelta(days=3650)


def kept_certificate(path: Path, name: str) -> Path:
    """Return a file with a certificate; make it where there is none, with its key beside it (``.key``)."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        made = x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        signed = (
            made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + _YEARS).sign(key, SHA256())
        )
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        write_atomically(path.with_suffix(".key"), pem, 0o600)
        write_atomically(path, signed.public_bytes(Encoding.PEM).decode())
    return path


async def serve(
    certificate: Path, client: Path, answer: Callable[[str], Awaitable[tuple[int, str, bytes]]]
) -> tuple[web.ServerRunner, int]:
    """Listen on a free port of the loopback interface for the one client, and return what ends that, and the port."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=client)
    context.verify_mode = ssl.CERT_OPTIONAL
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))

    async def handle(request: web.BaseRequest) -> web.Response:
        if not request.get_extra_info("peercert"):
            return web.Response(status=401, text="Unauthorized\n")
        status, kind, body = await answer(request.path)
        return web.Response(status=status, body=body, headers={"Content-Type": kind})

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    await web.TCPSite(runner, HOST, 0, ssl_context=context).start()
    return runner, runner.addresses[0][1]
