"""Certificates of hosts: whether an authority vouches for the key that a host shows (PROTOCOL.certkeys of OpenSSH).

paramiko negotiates them and proves that the host has the key in them; who signed them, for which host and until when is
judged here, as ``sshkey_cert_check_host`` (sshkey.c) does, and more strictly: one without names is good for no host.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import paramiko

SUFFIX = "-cert-v01@openssh.com"
_HOST = 2  # SSH_CERT_TYPE_HOST
_FOREVER = 2**64 - 1
# How many fields the key itself has in a certificate, by the type of the key.
_FIELDS = {
    "ssh-ed25519": 1,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "ssh-rsa": 2,
}
# What an authority may sign with, by the type of its key: not SHA-1 (CASignatureAlgorithms, ssh_config(5)).
_SIGNS = {kind: (kind,) for kind in _FIELDS} | {"ssh-rsa": ("rsa-sha2-256", "rsa-sha2-512")}


class _Reader:
    """Reads SSH's wire format (RFC 4251, section 5); a text that ends too early is a ValueError."""

    def __init__(self, data: bytes) -> None:
        self._data, self.at = data, 0

    @property
    def is_at_end(self) -> bool:
        """True if nothing is left."""
        return self.at == len(self._data)

    def take(self, count: int) -> bytes:
        """Return the next bytes."""
        found = self._data[self.at : self.at + count]
        if len(found) < count:
            raise ValueError("it ends too early")
        self.at += count
        return found

    def number(self, count: int) -> int:
        """Return a number of that many bytes."""
        return int.from_bytes(self.take(count), "big")

    def string(self) -> bytes:
        """Return the next string."""
        return self.take(self.number(4))


@dataclass(frozen=True)
class HostCertificate:
    """A certificate.

    Attributes:
        key: the key that it is about, as it goes over the wire without a certificate.
        kind: 2 for that of a host.
        principals: the names of hosts for which it is good.
        after: when it begins to be good, in seconds since 1970.
        before: when it ends.
        critical: options that nobody may ignore.
        authority: the key of who signed it.
        signed: what is signed.
        signature: over that.
    """

    key: bytes
    kind: int
    principals: tuple[str, ...]
    after: int
    before: int
    critical: bytes
    authority: bytes
    signed: bytes
    signature: bytes

    @classmethod
    def parse(cls, data: bytes) -> HostCertificate:
        """Read a certificate as it goes over the wire.

        Raises:
            ValueError: it is not one.
        """
        reader = _Reader(data)
        name = reader.string().decode("ascii")
        kind = name.removesuffix(SUFFIX)
        if kind == name or kind not in _FIELDS:
            raise ValueError(f"its type is {name[:60]!r}")
        reader.string()  # a nonce
        fields = [kind.encode(), *(reader.string() for _ in range(_FIELDS[kind]))]
        reader.number(8)  # a serial number
        role = reader.number(4)
        reader.string()  # the name of the certificate, for logs
        names, principals = _Reader(reader.string()), []
        while not names.is_at_end:
            principals.append(names.string().decode("utf-8", errors="replace"))
        after, before = reader.number(8), reader.number(8)
        critical = reader.string()
        # Extensions, which a host's certificate has none of, and a reserved field.
        (reader.string(), reader.string())
        authority = reader.string()
        signed = data[: reader.at]
        signature = reader.string()
        if not reader.is_at_end:
            raise ValueError("something comes after it")
        key = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        return cls(key, role, tuple(principals), after, before, critical, authority, signed, signature)

    def problem(self, key: Any, name: str, authorities: Collection[bytes], now: float) -> str:
        """Return why it does not vouch for a host's key, in words; empty where it does.

        Args:
            key: paramiko's, which the host has proved that it has.
            name: of the host, in small letters and without a port.
            authorities: the keys that are trusted to vouch for it.
            now: the time in seconds since 1970.
        """
        if self.key != key.asbytes():
            return "it is about another key"
        if self.authority not in authorities:
            return "no @cert-authority line about the host has the key that signed it"
        if self.kind != _HOST:
            return "it is not one of a host"
        if name not in map(str.lower, self.principals):
            return f"it is good for {', '.join(self.principals)[:200] or 'no host'}, and not for {name}"
        if not self.after <= now < self.before:
            return f"it is good from {_time(self.after)} to {_time(self.before)}"
        if self.critical:
            return "it has critical options, which nobody knows for hosts"
        return "" if self._is_signed() else "its signature is wrong, or made with SHA-1"

    def _is_signed(self) -> bool:
        try:
            kind = _Reader(self.authority).string().decode("ascii")
            algorithm = _Reader(self.signature).string().decode("ascii")
            if algorithm not in _SIGNS.get(kind, ()):
                return False
            authority = paramiko.PKey.from_type_string(kind, self.authority)
            return bool(authority.verify_ssh_sig(self.signed, paramiko.Message(self.signature)))
        except (ValueError, paramiko.SSHException):
            return False


def _time(seconds: int) -> str:
    if seconds >= _FOREVER:
        return "forever"
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
    except (ValueError, OverflowError, OSError):
        return f"second {seconds}"
