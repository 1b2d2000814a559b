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
        """Read a certificate as it goes over the wire (RFC 4251, section 5).

        What is missing at its end reads as zeros; such a one bears no signature.

        Raises:
            ValueError: it is not one.
        """
        reader = paramiko.Message(data)
        name = reader.get_binary().decode("ascii")
        kind = name.removesuffix(SUFFIX)
        if kind == name or kind not in _FIELDS:
            raise ValueError(f"its type is {name[:60]!r}")
        reader.get_binary()  # a nonce
        fields = [kind.encode(), *(reader.get_binary() for _ in range(_FIELDS[kind]))]
        reader.get_int64()  # a serial number
        role = reader.get_int()
        reader.get_binary()  # the name of the certificate, for logs
        names, principals = paramiko.Message(reader.get_binary()), []
        while names.get_remainder():
            principals.append(names.get_binary().decode("utf-8", errors="replace"))
        after, before = reader.get_int64(), reader.get_int64()
        critical = reader.get_binary()
        # Extensions, which a host's certificate has none of, and a reserved field.
        (reader.get_binary(), reader.get_binary())
        authority = reader.get_binary()
        signed = reader.get_so_far()
        signature = reader.get_binary()
        if reader.get_remainder():
            raise ValueError("something comes after it")
        key = b"".join(len(field).to_bytes(4, "big") + field for field in fields)
        return cls(key, role, tuple(principals), after, before, critical, authority, signed, signature)

    def problem(self, key: Any, name: str, authorities: Collection[bytes], now: float) -> str:
        """Return why it does not vouch for a host's key, in words; empty where it does.

        Args:
            key: paramiko's, which the host has proved that it has.
            name: of the host, in small letters and without a port.
            authorities: the keys that are trusted to vouch for it.
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
            kind = paramiko.Message(self.authority).get_binary().decode("ascii")
            algorithm = paramiko.Message(self.signature).get_binary().decode("ascii")
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
