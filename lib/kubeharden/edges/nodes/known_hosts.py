"""Host keys: what known_hosts says, as OpenSSH reads it, and the refusal of every key that it does not name."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import paramiko

from kubeharden.components.commands import in_order
from kubeharden.edges import programs
from kubeharden.edges.nodes.host_certificates import SUFFIX, HostCertificate
from kubeharden.errors import HostKeyError
from kubeharden.inputs.inventory import SSH_PORT

AUTHORITY, REVOKED = "@cert-authority", "@revoked"
# A line: a marker or none, names, the type of the key, the key, a comment (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT). A key
# of SSH1 has numbers in the place of its type.
_LINE = re.compile(r"[ \t]*(?:(@\S+)[ \t]+)?([^ \t]+)[ \t]+([^ \t]+)(?:[ \t]+([^ \t]+))?")
_KRL = b"SSHKRL\n\0"  # PROTOCOL.krl
_KEYGEN_SECONDS = 10.0
_SIGNATURES = {"ssh-rsa": ("rsa-sha2-512", "rsa-sha2-256")}  # a type of key, and what it signs with


@dataclass(frozen=True)
class KnownKey:
    """A line of known_hosts.

    Attributes:
        marker: ``@revoked``, ``@cert-authority`` or nothing.
        names: patterns with commas between, or one name that is hashed.
        kind: the type of the key, such as ``ssh-ed25519``.
        key: as it goes over the wire; nothing where the line cannot be read.
    """

    place: str
    marker: str
    names: str
    kind: str
    key: bytes

    def matches(self, name: str) -> bool:
        """Check whether the line is about a host: as OpenSSH calls it, in small letters."""
        if self.names.startswith("|"):
            return _is_hash_of(self.names, name)
        matches = False
        for pattern in self.names.lower().split(","):
            if pattern.startswith("!"):
                if _pattern(pattern[1:]).fullmatch(name):
                    return False
            else:
                matches = matches or bool(_pattern(pattern).fullmatch(name))
        return matches


class KnownHosts:
    """The lines of some known_hosts files; a line that cannot be read is about nobody's key, as for OpenSSH.

    Args:
        paths: those that are not there, or cannot be read, are left out.
    """

    def __init__(self, paths: Iterable[str]) -> None:
        self._plain: dict[str, list[KnownKey]] = defaultdict(list)  # by name; the others are looked through
        self._others: list[KnownKey] = []
        self.paths = tuple(paths)
        for path in self.paths:
            for entry in _read(Path(path)):
                if re.search(r"[*?!|]", entry.names):
                    self._others.append(entry)
                else:
                    for name in set(entry.names.lower().split(",")):
                        self._plain[name].append(entry)

    def of(
        self,
        host: str,
        port: int,
        alias: str,
        revoked: str = "",
        ask: Callable[[str], tuple[KnownKey, ...]] | None = None,
    ) -> HostKeys:
        """Return what is known of a host.

        Args:
            alias: ``HostKeyAlias``; empty for none.
            revoked: ``RevokedHostKeys``; empty for none.
            ask: what else there is to know of a name: ``KnownHostsCommand``; None for nothing.
        """
        plain = (alias or host).lower()
        name = plain if alias or port == SSH_PORT else f"[{plain}]:{port}"
        paths, ask = (self.paths, _nothing) if ask is None else ((*self.paths, "KnownHostsCommand"), ask)
        own = (*self._about(name), *ask(name))
        without_port = () if name == plain else (*self._about(plain), *(() if own else ask(plain)))
        return HostKeys(name, own, without_port, paths, plain, revoked)

    def _about(self, name: str) -> tuple[KnownKey, ...]:
        return (*self._plain.get(name, ()), *(entry for entry in self._others if entry.matches(name)))


def _nothing(_name: str) -> tuple[KnownKey, ...]:
    return ()


@dataclass(frozen=True)
class HostKeys:
    """The keys that are known of one host.

    Attributes:
        name: by which it is looked for.
        entries: the lines about it.
        without_port: those about its name alone, which count for every port where no key is known of the one that is
            meant (hostfile.c, sshconnect.c: OpenSSH looks for the bare name only then).
        paths: where was looked.
        bare: the name without a port, which a certificate must have.
        revoked: a file of keys that no host may show; empty for none.
    """

    name: str
    entries: Sequence[KnownKey]
    without_port: Sequence[KnownKey]
    paths: Sequence[str]
    bare: str = ""
    revoked: str = ""

    @property
    def _everywhere(self) -> tuple[KnownKey, ...]:
        return (*self.entries, *self.without_port)

    @property
    def authorities(self) -> frozenset[bytes]:
        """The keys that are trusted to vouch for the host: those for its port, else those for its name alone."""
        own = frozenset(entry.key for entry in self.entries if entry.marker == AUTHORITY and entry.key)
        return own or frozenset(e.key for e in self.without_port if e.marker == AUTHORITY and e.key)

    def order(self, supported: Sequence[str]) -> tuple[str, ...]:
        """Return algorithms of host keys: with certificates where an authority is known, then those of known keys."""
        kinds = {entry.kind for entry in self._everywhere if not entry.marker and entry.key}
        first = {name for kind in kinds for name in _SIGNATURES.get(kind, (kind,))}
        plain = tuple(sorted(supported, key=lambda name: name not in first))
        return (*(f"{name}{SUFFIX}" for name in plain), *plain) if self.authorities else plain

    def check(self, node: str, key: Any) -> None:
        """Check the key that a host shows.

        Raises:
            HostKeyError: it is revoked, another one than that which is known, or not known.
        """
        blob, key_text = key.asbytes(), f"{key.get_name()} {key.fingerprint}"
        everywhere = self._everywhere
        certificate, why_not = self._certificate(key)
        # That of an authority is revoked for all that it has signed.
        shows = {blob, certificate.authority} if certificate is not None else {blob}
        revoked = [entry.place for entry in everywhere if entry.marker == REVOKED and entry.key in shows]
        if revoked:
            raise HostKeyError(
                f"{node}: the SSH host key of {self.name} is revoked ({revoked[0]}): it shows {key_text}"
            )
        if self.revoked and (why := _in_list(self.revoked, key, shows)):
            raise HostKeyError(f"{node}: the SSH host key of {self.name} {why}: it shows {key_text}")
        if certificate is not None and not why_not:
            return
        note = f"{why_not}. " if why_not else ""
        known_here = any(not entry.marker and entry.key for entry in self.entries)
        counting = self.entries if known_here else everywhere
        if any(not entry.marker and entry.key == blob for entry in counting):
            return
        same_kind = [e for e in self.entries if not e.marker and e.key and e.kind == key.get_name()]
        if same_kind:
            known = (
                f"SHA256:{base64.b64encode(hashlib.sha256(same_kind[0].key).digest()).decode().rstrip('=')}"
            )
            raise HostKeyError(
                f"{node}: the SSH host key of {self.name} has CHANGED: known_hosts has {known} ({same_kind[0].place}), "
                f"it shows {key.fingerprint}. Somebody may be in between, or the machine was rebuilt; find out which "
                f"before you edit known_hosts. {note}".rstrip()
            )
        raise HostKeyError(
            f"{node}: the SSH host key of {self.name} is not in known_hosts ({', '.join(self.paths) or 'none'}). It "
            f"shows {key_text}. {note}{self._others()}Compare that with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` "
            "on the node's console; if it is the same, add it with ssh-keyscan"
        )

    def _certificate(self, key: Any) -> tuple[HostCertificate | None, str]:
        """Return the certificate that comes with a key, if any, and why it does not count."""
        places = [entry.place for entry in self._everywhere if entry.marker == AUTHORITY]
        if key.public_blob is None:
            missing = f"It shows no certificate, which {AUTHORITY} ({', '.join(places)}) is for"
            return None, missing if places else ""
        try:
            certificate = HostCertificate.parse(key.public_blob.key_blob)
        except ValueError as error:
            return None, f"Its certificate cannot be read: {error}"
        why_not = certificate.problem(key, self.bare, self.authorities, time.time())
        return certificate, f"Its certificate does not count: {why_not}" if why_not else ""

    def _others(self) -> str:
        """Return what else the files have of the host."""
        words = ""
        kinds = sorted({entry.kind for entry in self.entries if not entry.marker and entry.key})
        unread = [entry.place for entry in self.entries if not entry.key]
        if kinds:
            words += f"Only keys of other types are known of it ({', '.join(kinds)}). "
        if unread:
            words += f"A line about it cannot be read ({', '.join(unread)}). "
        return words


def _in_list(path: str, key: Any, shows: Collection[bytes]) -> str:
    """Return why a file of revoked keys forbids one, as the end of a sentence; empty where it does not.

    One that cannot be read forbids every key, as for OpenSSH. It is a list of keys, or a KRL, which OpenSSH reads.

    Args:
        shows: the key, and that of the authority which signed its certificate.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        return f"cannot be looked for in RevokedHostKeys ({path}): {error.strerror}"
    if content.startswith(_KRL):
        return _in_krl(path, key)
    for line in content.decode(errors="replace").splitlines():
        kind, text, *_ = (*line.split(None, 2), "", "")
        if (blob := wire_key(kind, text)) and blob in shows:
            return f"is revoked (RevokedHostKeys {path})"
    return ""


def _in_krl(path: str, key: Any) -> str:
    blobs = [(key.get_name(), key.asbytes())]
    if key.public_blob is not None:
        blobs.append((key.public_blob.key_type, key.public_blob.key_blob))
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as folder:
        files = [Path(folder, f"{number}.pub") for number in range(len(blobs))]
        for file, (kind, blob) in zip(files, blobs, strict=True):
            file.write_text(f"{kind} {base64.b64encode(blob).decode()} host\n", encoding="ascii")
        try:
            done = programs.run(["ssh-keygen", "-Q", "-f", path, *map(str, files)], _KEYGEN_SECONDS)
        except (OSError, subprocess.TimeoutExpired) as error:
            return f"cannot be looked for in RevokedHostKeys ({path}): {type(error).__name__}"
    if done.returncode == 0:
        return ""
    if b"REVOKED" in done.stdout:
        return f"is revoked (RevokedHostKeys {path})"
    complaint = done.stderr.decode(errors="replace").strip()[-200:]
    return f"cannot be looked for in RevokedHostKeys ({path}): {complaint}"


class Verify(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Has every host key checked; paramiko itself is given none to know."""

    def __init__(self, keys: HostKeys, node: str) -> None:
        self._keys, self._node = keys, node

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko's signature
        """Check the key that a host shows."""
        self._keys.check(self._node, key)


def _read(path: Path) -> Iterable[KnownKey]:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return
    yield from entries_in(text, str(path))


def entries_in(text: str, source: str) -> Iterable[KnownKey]:
    """Yield the lines of known_hosts in the text of a file, or in what a program printed; ``source`` says which."""
    for number, line in enumerate(text.split("\n"), start=1):
        match = _LINE.match(line.rstrip("\r"))
        if match is None or match[2].startswith("#") or match[1] not in (None, AUTHORITY, REVOKED):
            continue
        yield KnownKey(
            f"{source}, line {number}", match[1] or "", match[2], match[3], wire_key(match[3], match[4] or "")
        )


def wire_key(kind: str, text: str) -> bytes:
    """Return a key as it goes over the wire, which begins with its type; nothing where that is not one."""
    try:
        key = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return b""
    return key if key[4 : 4 + len(kind)] == kind.encode() else b""


def _is_hash_of(names: str, name: str) -> bool:
    """Check a hashed name: ``|1|SALT|HASH``, both in base64."""
    _, version, salt, wanted, *_ = (*names.split("|", 3), "", "", "")
    try:
        digest = hmac.digest(base64.b64decode(salt, validate=True), name.encode(), "sha1")
        return version == "1" and hmac.compare_digest(digest, base64.b64decode(wanted, validate=True))
    except (binascii.Error, ValueError):
        return False


@cache
def _pattern(pattern: str) -> re.Pattern[str]:
    """Return a pattern of OpenSSH, in which ``*`` and ``?`` alone mean something."""
    parts = [re.escape(part).replace(r"\?", ".") for part in pattern.split("*")]
    return re.compile(in_order(parts, "."))
