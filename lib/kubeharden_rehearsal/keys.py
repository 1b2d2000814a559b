"""SSH keys of a rehearsal: made once, kept in its folder."""

from __future__ import annotations

from pathlib import Path

import asyncssh

from kubeharden_rehearsal.files import write_atomically


def kept_key(path: Path) -> asyncssh.SSHKey:
    """The key in a file; a new one if there is none."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        key = asyncssh.generate_private_key("ssh-ed25519", comment=f"rehearsal {path.name}")
        write_atomically(path, key.export_private_key().decode(), 0o600)
    return asyncssh.read_private_key(path)


def public_line(key: asyncssh.SSHKey) -> str:
    """The public half as known_hosts has it."""
    return key.export_public_key().decode().strip()
