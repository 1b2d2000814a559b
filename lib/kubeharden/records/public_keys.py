"""Public keys of SSH as they go over the wire (RFC 4251 and 4253), and the fingerprint of a key."""

from __future__ import annotations

import base64
import hashlib

# A certificate has the fields of its key behind its type and a nonce; how many, by what the type begins with
# (PROTOCOL.certkeys and PROTOCOL.u2f of OpenSSH).
_CERTIFICATE = "-cert-v01@openssh.com"
_KEY_FIELDS = {"ssh-ed25519": 1, "ssh-rsa": 2, "ecdsa-": 2, "sk-ssh-ed25519": 2, "sk-ecdsa-": 3}


def wire_string(data: bytes) -> bytes:
    """Return the first string of SSH's wire format: four bytes of length, then the bytes (RFC 4251, section 5)."""
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def fingerprint_of(blob: bytes) -> tuple[str, str]:
    """Return the type of a key, and its ``SHA256:…`` as ``ssh-keygen -l`` shows it.

    A certificate has those of its key: one key may have any number of certificates, and stays the key of one person.
    """
    kind = wire_string(blob).decode("ascii", errors="replace")
    count = next((count for begin, count in _KEY_FIELDS.items() if kind.startswith(begin)), 0)
    if kind.endswith(_CERTIFICATE) and count:
        kind = kind.removesuffix(_CERTIFICATE) + ("@openssh.com" if kind.startswith("sk-") else "")
        rest, fields = blob, list[bytes]()
        for _ in range(2 + count):  # the type and the nonce, too
            fields.append(wire_string(rest))
            rest = rest[4 + len(fields[-1]) :]
        blob = b"".join(len(part).to_bytes(4, "big") + part for part in (kind.encode(), *fields[2:]))
    return kind, f"SHA256:{base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip('=')}"
