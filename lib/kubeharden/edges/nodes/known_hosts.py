"""Host keys: what known_hosts says, and the refusal of every host that it does not name."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import paramiko
from paramiko.hostkeys import HostKeyEntry, HostKeys

from kubeharden.errors import HostKeyError, ParameterError


class Reject(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses a host that known_hosts does not name, and says which key it showed."""

    def __init__(self, node: str) -> None:
        self.node = node

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko's signature
        """Refuse.

        Raises:
            HostKeyError: always.
        """
        raise HostKeyError(
            f"{self.node}: the SSH host key of {hostname} is not in known_hosts. It shows {key.get_name()} "
            f"{key.fingerprint}. Compare that with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the node's "
            "console; if it is the same, add it with ssh-keyscan"
        )


def read_known_hosts(path: str | None) -> HostKeys:
    """Return the keys of a known_hosts file. Revoked keys are left out, and certificate authorities are not used.

    Raises:
        ParameterError: a line cannot be read.
    """
    file = Path(path) if path else Path("~/.ssh/known_hosts").expanduser()
    lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
    marked = [line.strip().partition(" ") for line in lines]
    revoked = {_entry(file, rest).key.asbytes() for marker, _, rest in marked if marker == "@revoked"}
    keys = HostKeys()
    for line in lines:
        if not line.strip() or line.lstrip()[0] in "#@":
            continue
        entry = _entry(file, line)
        if entry.key.asbytes() not in revoked:
            for name in entry.hostnames:
                keys.add(name, entry.key.get_name(), entry.key)
    return keys


def _entry(file: Path, line: str) -> Any:
    try:
        entry = HostKeyEntry.from_line(line)
    except (ValueError, paramiko.SSHException) as error:
        raise ParameterError(
            f"inventory: {file} has a line that is not a host key ({error}): {line[:60]}"
        ) from None
    if entry is None:
        raise ParameterError(f"inventory: {file} has a line that is not a host key: {line[:60]}")
    return entry
