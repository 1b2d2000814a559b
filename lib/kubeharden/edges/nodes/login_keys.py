"""The keys that prove a login: those that inventory and configuration name, then others that the agent has."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paramiko
from paramiko.auth_strategy import AuthSource, AuthStrategy, InMemoryPrivateKey, OnDiskPrivateKey

from kubeharden.edges.nodes.client_config import Target
from kubeharden.edges.nodes.known_hosts import wire_key


class _Agent(paramiko.Agent):  # type: ignore[misc]
    """The agent at a socket; paramiko's own knows no other than that of its environment."""

    def __init__(self, path: str) -> None:
        paramiko.agent.AgentSSH.__init__(self)
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(path)
        except OSError:  # it is gone: as if there were none
            connection.close()
        else:
            self._connect(connection)


class KeyFiles:
    """Keys in files, each read once: of a cluster's nodes, all are opened by the same few, and RSA takes its time."""

    def __init__(self) -> None:
        self._read: dict[Path, tuple[Any, str]] = {}
        self._lock = threading.Lock()

    def read(self, path: Path) -> tuple[Any, str]:
        """Return the key in a file, or nothing and why not."""
        with self._lock:
            if path not in self._read:
                self._read[path] = _read_key(path)
            return self._read[path]


def _read_key(path: Path) -> tuple[Any, str]:
    try:
        return paramiko.PKey.from_path(path), ""
    except TypeError:  # of cryptography, which paramiko passes on
        return None, f"{path} has a passphrase: ssh-add it"
    except Exception as error:  # whatever its format is, another key may do
        return None, f"{path} cannot be read: {str(error) or type(error).__name__}"


class LoginKeys(AuthStrategy):  # type: ignore[misc]
    """Offers keys: those of files, through the agent where it has them; then the others of the agent.

    Attributes:
        trouble: why files of keys could not be used.
        offered: how many keys were offered.
    """

    def __init__(self, target: Target, files: KeyFiles) -> None:
        super().__init__(ssh_config=None)
        self._files = files
        self._target, self.trouble, self.offered = target, list[str](), 0

    def authenticate(self, transport: Any) -> Any:
        """Offer one key after the other; see ``AuthStrategy``."""
        self._agent = _Agent(self._target.agent) if self._target.agent else None
        try:
            return super().authenticate(transport)
        finally:
            if self._agent is not None:
                self._agent.close()

    def get_sources(self) -> Iterator[AuthSource]:
        """Yield the keys."""
        for source in self._sources(self._target.user):
            self.offered += 1
            yield source

    def _sources(self, user: str) -> Iterator[AuthSource]:
        offered = {key.asbytes(): key for key in (self._agent.get_keys() if self._agent else ())}
        for path in map(Path, self._target.identities):
            public = _public_key(path)
            if public in offered:
                yield InMemoryPrivateKey(user, _with_certificate(offered.pop(public), path))
            elif path.is_file():
                key, trouble = self._files.read(path)
                if trouble:
                    self.trouble.append(trouble)
                else:
                    offered.pop(key.asbytes(), None)
                    yield OnDiskPrivateKey(user, "ssh-config", path, key)
        if not self._target.identities_only:
            for key in offered.values():
                yield InMemoryPrivateKey(user, key)


def _with_certificate(key: Any, path: Path) -> Any:
    """Return a key of the agent, with the certificate that lies beside its file."""
    certificate = Path(f"{path}-cert.pub")
    if certificate.is_file():
        key.load_certificate(str(certificate))
    return key


def _public_key(path: Path) -> bytes:
    """Return the public half of a key in a file, where it lies beside it or in its place; nothing where it does not."""
    for place in (Path(f"{path}.pub"), path):
        try:
            kind, text, *_ = (*place.read_text(encoding="utf-8", errors="replace").split(None, 2), "", "")
        except OSError:
            continue
        if key := wire_key(kind, text):
            return key
    return b""
