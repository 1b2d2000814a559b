"""Nodes over SSH. fabric lives here and nowhere else.

Two scripts run on a node, each in one round trip: ``scripts/observe.sh`` and ``scripts/apply.sh``. Their text
is constant; what differs from run to run goes over standard input, so no value is ever part of a command.
"""

from __future__ import annotations

import base64
import logging
import os
import shlex
import socket
import threading
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any, TypeVar

import paramiko
from fabric import Config, Connection
from fabric.runners import Remote
from paramiko.hostkeys import HostKeyEntry, HostKeys

from kubeharden.errors import HostKeyError, NodeError, ParameterError
from kubeharden.facts import SERVICES, NodeFacts, parse_observation
from kubeharden.inventory import Inventory, Node
from kubeharden.plan import NodeChange
from kubeharden.redact import redact, remember

T = TypeVar("T")

MAX_THREADS = 32
OBSERVE_SECONDS = 120
APPLY_SECONDS = 300
KEEPALIVE_SECONDS = 15
SUDO_PASSWORD_VARIABLE = "KUBEHARDEN_SUDO_PASSWORD"  # noqa: S105 - the name of a variable, not a password
PAYLOAD_MARK = "kubeharden-payload\n"

# paramiko's own thread logs tracebacks of connections that end; they are raised where they matter.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


@dataclass(frozen=True)
class Applied:
    """What became of a change, with the node's own words.

    Attributes:
        outcome: ``applied``, ``stale`` or ``failed``.
        words: what the node says of it.
        restarted: when the service was restarted, by the node's own clock (RFC 3339, UTC).
    """

    outcome: str
    words: str
    restarted: str = ""


class _Runner(Remote):  # type: ignore[misc]
    """Runs a command with its standard input sent at once; invoke itself sends it byte by byte."""

    payload = b""

    def start(self, command: str, shell: str, env: dict[str, str], timeout: int | None = None) -> None:
        super().start(command, shell, env, timeout)
        self.channel.sendall(self.payload)
        self.channel.shutdown_write()


class _Reject(paramiko.MissingHostKeyPolicy):  # type: ignore[misc]
    """Refuses a host that known_hosts does not name, and says which key it showed."""

    def __init__(self, node: str) -> None:
        self.node = node

    def missing_host_key(self, client: Any, hostname: str, key: Any) -> None:  # noqa: ARG002 - paramiko's signature
        raise HostKeyError(
            f"{self.node}: the SSH host key of {hostname} is not in known_hosts. It shows {key.get_name()} "
            f"{key.fingerprint}. Compare that with `ssh-keygen -lf /etc/ssh/ssh_host_*_key.pub` on the node's "
            "console; if it is the same, add it with ssh-keyscan"
        )


class Nodes:
    """The nodes of an inventory. Connections are made when they are first needed and kept; use it in a ``with``.

    Args:
        inventory: which nodes there are and how to log in.
        ask_password: called once, if the inventory says ``sudo: password``.
    """

    def __init__(self, inventory: Inventory, ask_password: Callable[[], str] | None = None) -> None:
        self.inventory = inventory
        self._known = _read_known_hosts(inventory.ssh.known_hosts)
        self._connections: dict[str, Connection] = {}
        self._lock = threading.Lock()
        self._gateway_lock = threading.Lock()
        self._shared: Connection | None = None
        self._password = _password(ask_password) if inventory.ssh.sudo == "password" else None

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            _close(connection)
        self._connections.clear()

    def check(self) -> None:
        """Log in to every node and become root there, and do nothing else.

        Raises:
            NodeError: that does not work on one or more of them; all are named.
        """
        _all(lambda node: self._run(node, "exit 0", ["check"], "", OBSERVE_SECONDS), self.inventory.nodes)

    def logins(self) -> dict[str, dict[str, str]]:
        """How each node with an open connection was logged in to; the gateway is among them by its name.

        Returns:
            ``user``; ``key``, the fingerprint of the key that proved it (empty for another way); ``host_key``,
            type and fingerprint of the key that the node showed.
        """
        with self._lock:
            connections = dict(self._connections)
        if self._shared is not None:
            connections[f"gateway {self._shared.host}"] = self._shared
        return {name: _login(connection) for name, connection in connections.items() if connection.transport}

    def observe(
        self, names: Iterable[str] | None = None, services: Sequence[str] = SERVICES
    ) -> list[NodeFacts]:
        """Look at the nodes, all at once, one round trip each.

        Args:
            names: which nodes; all of the inventory by default.
            services: which services on them.

        Raises:
            NodeError: one or more cannot be reached or do not answer; all of them are named.
        """
        wanted = None if names is None else set(names)
        nodes = [node for node in self.inventory.nodes if wanted is None or node.name in wanted]
        script = _script("observe")

        def look(node: Node) -> NodeFacts:
            answer = self._run(node, script, ["observe", *services], "", OBSERVE_SECONDS)
            return parse_observation(node.name, node.control_plane, answer)

        return _all(look, nodes)

    def apply(self, change: NodeChange, run: str) -> Applied:
        """Carry out one change on its node; the node is left as it was unless that succeeds.

        Args:
            change: from a plan.
            run: the name of the folder with the backups, below ``/var/lib/kubeharden`` on the node.

        Raises:
            NodeError: the node cannot be reached, or did not say what became of it.
        """
        node = next(node for node in self.inventory.nodes if node.name == change.node)
        settle = self.inventory.settle_seconds
        seconds = round(2 * settle) + APPLY_SECONDS  # it may settle twice: forth and back
        answer = self._run(node, _script("apply"), ["apply"], _payload(change, run, settle), seconds)
        # A login shell may print something of its own before.
        _, found, result = answer.rpartition("@result ")
        if not found:
            raise NodeError(
                f"{node.name}: did not say what became of the change to {change.service}: {redact(answer[-500:])}"
            )
        head, _, words = result.partition("\n")
        outcome, _, restarted = head.partition(" ")
        return Applied(outcome, redact(words.strip()), restarted)

    def _run(self, node: Node, script: str, arguments: list[str], payload: str, seconds: int) -> str:
        connection = self._connection(node)
        command = f"/bin/sh -c {shlex.quote(script)} {shlex.join(arguments)}"
        lines = payload
        if connection.user != "root":
            command = f"{'sudo -S -k -p ' + shlex.quote('') if self._password else 'sudo -n'} -- {command}"
            lines = f"{self._password}\n{payload}" if self._password else payload
        runner = _Runner(context=connection)
        runner.payload = lines.encode("utf-8", errors="surrogateescape")
        try:
            result = runner.run(
                command, hide=True, warn=True, in_stream=False, timeout=seconds, encoding="utf-8"
            )
        except Exception as error:
            self._connections.pop(node.name, None)
            raise NodeError(f"{node.name}: the connection broke while it worked: {_short(error)}") from error
        if result.exited != 0:
            raise NodeError(_refusal(node, connection.user, result.exited, result.stderr or result.stdout))
        return str(result.stdout)

    def _connection(self, node: Node) -> Connection:
        with self._lock:
            connection = self._connections.get(node.name)
        if connection is None or not connection.is_connected:
            connection = self._open(node)
            with self._lock:
                self._connections[node.name] = connection
        return connection

    def _open(self, node: Node) -> Connection:
        ssh = self.inventory.ssh
        kwargs: dict[str, Any] = {
            "banner_timeout": ssh.connect_timeout,
            "auth_timeout": ssh.connect_timeout,
            "channel_timeout": ssh.connect_timeout,
        }
        if ssh.identity_file:
            kwargs |= {"key_filename": ssh.identity_file, "look_for_keys": False}
        connection = Connection(
            node.host,
            user=ssh.user,
            port=node.port or ssh.port,
            gateway=self._gateway(kwargs),
            config=Config(),
            connect_timeout=ssh.connect_timeout,
            connect_kwargs=kwargs,
        )
        self._reach(connection, node.name)
        return connection

    def _reach(self, connection: Connection, name: str) -> None:
        """Open a connection; whatever is wrong is said with the name."""
        try:
            self._secure(connection, name, self.inventory.ssh.connect_timeout)
            connection.open()
            connection.transport.set_keepalive(KEEPALIVE_SECONDS)
        except HostKeyError:
            raise
        except paramiko.BadHostKeyException as error:
            raise HostKeyError(
                f"{name}: the SSH host key of {error.hostname} has CHANGED: known_hosts has "
                f"{error.expected_key.fingerprint}, it shows {error.key.fingerprint}. Somebody may be in between, "
                "or the machine was rebuilt; find out which before you edit known_hosts"
            ) from None
        except paramiko.AuthenticationException as error:
            raise NodeError(
                f"{name}: {connection.host} refuses the login as {connection.user} ({_short(error)}); check "
                "ssh.user and ssh.identity_file in the inventory, and the agent"
            ) from None
        except (OSError, paramiko.SSHException, EOFError) as error:
            raise NodeError(
                f"{name}: cannot reach {connection.host} port {connection.port} by SSH: {_short(error)}"
            ) from None

    def _gateway(self, kwargs: dict[str, Any]) -> Connection | None:
        """The one connection to the gateway that all nodes share: sshd drops logins that come many at once."""
        ssh = self.inventory.ssh
        if ssh.gateway is None:
            return None
        with self._gateway_lock:
            if self._shared is None or not self._shared.is_connected:
                self._shared = Connection(
                    ssh.gateway, connect_timeout=ssh.connect_timeout, connect_kwargs=dict(kwargs)
                )
                self._reach(self._shared, f"gateway {self._shared.host}")
            return self._shared

    def _secure(self, connection: Connection, node: str, seconds: int) -> None:
        """Check host keys here and on every gateway; fabric by itself accepts any key."""
        connection.client.set_missing_host_key_policy(_Reject(node))
        name = connection.host if connection.port == 22 else f"[{connection.host}]:{connection.port}"  # noqa: PLR2004
        for key in (self._known.lookup(name) or {}).values():
            connection.client.get_host_keys().add(name, key.get_name(), key)
        if isinstance(connection.gateway, Connection):
            if not connection.gateway.is_connected:  # a ProxyJump of ~/.ssh/config
                self._secure(connection.gateway, f"{node}, gateway {connection.gateway.host}", seconds)
        elif connection.gateway is None:
            sock = socket.create_connection((connection.host, connection.port), timeout=seconds)
            # paramiko leaves Nagle's algorithm on, which costs 30 ms on every command.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection.connect_kwargs["sock"] = sock


def _login(connection: Connection) -> dict[str, str]:
    transport = connection.transport
    used = getattr(transport.auth_handler, "private_key", None)
    shown = transport.get_remote_server_key()
    return {
        "user": connection.user,
        "key": used.fingerprint if used is not None else "",
        "host_key": f"{shown.get_name()} {shown.fingerprint}",
    }


def _close(connection: Connection) -> None:
    """Close a connection and the gateways that it went through, which fabric leaves open."""
    connection.close()
    if isinstance(connection.gateway, Connection):
        _close(connection.gateway)


def _all(work: Callable[[Node], T], nodes: list[Node]) -> list[T]:
    """Do it for all nodes at once; if any fails, say of all that failed."""
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(nodes)) or 1) as pool:
        futures = [pool.submit(work, node) for node in nodes]
    failed = [error for future in futures if (error := future.exception()) is not None]
    for error in failed:
        if not isinstance(error, NodeError):
            raise error
    if len(failed) == 1:
        raise failed[0]
    if failed:
        kind = HostKeyError if any(isinstance(error, HostKeyError) for error in failed) else NodeError
        raise kind("\n".join(str(error) for error in failed))
    return [future.result() for future in futures]


def _script(name: str) -> str:
    text = (files(__package__) / "scripts" / f"{name}.sh").read_text(encoding="utf-8")
    return "\n".join(line for line in text.splitlines() if not line.startswith("#"))


def _payload(change: NodeChange, run: str, settle: float) -> str:
    lines = [f"run {run}"]
    for file in change.files:
        content = base64.encodebytes(file.after.encode("utf-8", errors="surrogateescape")).decode("ascii")
        lines.append(f"file {file.mode} {file.owner} {file.group} {file.before_digest} {file.path}")
        lines.append(content + ".")
    lines += [f"restart {change.service}", f"settle {settle:g}", "end"]
    return PAYLOAD_MARK + "\n".join(lines) + "\n"


def _read_known_hosts(path: str | None) -> HostKeys:
    """The keys of a known_hosts file. Revoked keys are left out, and certificate authorities are not used.

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
            f"inventory: {file} has a line that is no host key ({error}): {line[:60]}"
        ) from None
    if entry is None:
        raise ParameterError(f"inventory: {file} has a line that is no host key: {line[:60]}")
    return entry


def _password(ask: Callable[[], str] | None) -> str:
    password = os.environ.pop(SUDO_PASSWORD_VARIABLE, None) or (ask() if ask else None)
    if not password:
        raise NodeError(
            "the inventory says sudo: password, but nobody can be asked for it here; put it into the environment "
            f"for this one run: read -rs {SUDO_PASSWORD_VARIABLE} && export {SUDO_PASSWORD_VARIABLE}"
        )
    remember(password)
    return password


def _refusal(node: Node, user: str, status: int, words: str) -> str:
    said = redact(words.strip())[-500:]
    if "sudo" in said or "password is required" in said:
        return (
            f"{node.name}: {user} may not become root there: {said}. Give {user} sudo on the node, or say "
            "sudo: password in the inventory"
        )
    return f"{node.name}: the script ended with status {status}: {said or 'without a word'}"


def _short(error: BaseException) -> str:
    return redact(str(error).strip().splitlines()[0]) if str(error).strip() else type(error).__name__
