"""The connection to the machine that this process runs on, which is one of the nodes."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Sequence

from kubeharden.edges import programs
from kubeharden.edges.login import login_or_uid
from kubeharden.edges.nodes.refusal import refusal
from kubeharden.edges.nodes.session import script_text
from kubeharden.errors import NodeError
from kubeharden.inputs.inventory import Inventory, Node
from kubeharden.redaction import Redactor


class Local:
    """Runs the scripts in processes of this machine, as root; the arguments are those of ``Ssh``."""

    def __init__(self, inventory: Inventory, password: str | None, redactor: Redactor) -> None:
        self.inventory = inventory
        self._names = [node.name for node in inventory.nodes if node.connection == "local"]
        self._password, self._redactor = password, redactor
        self._sudo: list[str] = [] if os.geteuid() == 0 else ["env", "LC_ALL=C", "sudo"]

    def run(self, node: Node, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> bytes:
        """Run one of the scripts; see ``Connection``."""
        command = [*self._sudo, *(["-n", "--"] if self._sudo else []), "sh", "-c"]
        text = ":" if name == "check" else script_text(name)
        if self._sudo and self._password is not None:
            # It remembers the password for this process.
            ask = [*self._sudo, "-S", "-v", "-p", ""]
            self._execute(node, ask, f"{self._password}\n".encode(), seconds)
        return self._execute(node, [*command, text, f"kubeharden-{name}", *arguments], payload, seconds)

    def reach(self, node: Node, host: str, port: int) -> socket.socket:
        """Connect to a port of this machine."""
        try:
            return socket.create_connection((host, port), self.inventory.ssh.connect_timeout)
        except OSError as error:
            raise NodeError(
                f"{node.name}: nothing answers at {host} port {port} there: {error.strerror}"
            ) from None

    def logins(self) -> dict[str, dict[str, str]]:
        """Return the user of this process; there is no key."""
        return {name: {"user": login_or_uid(), "key": "", "host_key": ""} for name in self._names}

    def close(self) -> None:
        """Let sudo forget the password."""
        if self._sudo and self._password is not None:
            subprocess.run([*self._sudo, "-k"], check=False, stdin=subprocess.DEVNULL)

    def _execute(self, node: Node, command: Sequence[str], payload: bytes, seconds: float) -> bytes:
        try:
            done = programs.run(command, seconds, payload)
        except subprocess.TimeoutExpired as error:
            raise NodeError(f"{node.name}: no answer within {seconds:.0f} s") from error
        except OSError as error:
            raise NodeError(f"{node.name}: {command[0]} cannot be run there: {error.strerror}") from None
        if done.returncode != 0:
            complaint = self._redactor.redact((done.stderr or done.stdout).decode(errors="replace").strip())[
                -500:
            ]
            raise NodeError(refusal(node.name, login_or_uid(), done.returncode, complaint))
        return done.stdout
