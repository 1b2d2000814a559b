"""Connections to the nodes, and scripts that run there as root. fabric lives here and nowhere else.

The text of a script is constant; what differs from run to run goes over standard input, so no value is ever part
of a command.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Sequence
from typing import Any

import paramiko
from fabric import Config, Connection

from kubeharden.edges.nodes.known_hosts import Reject, read_known_hosts
from kubeharden.edges.nodes.refusal import refusal
from kubeharden.edges.nodes.session import Session, scripts
from kubeharden.errors import HostKeyError, NodeError
from kubeharden.inputs.inventory import Inventory, Node
from kubeharden.redaction import Redactor

KEEPALIVE_SECONDS = 15
# paramiko's own thread logs tracebacks of connections that end; they are raised where they matter.
logging.getLogger("paramiko").addHandler(logging.NullHandler())


class Unshared(Connection):  # type: ignore[misc] # fabric has no types
    """A connection that writes nothing into the configuration that it shares with all others.

    fabric sets this one attribute of a new connection without declaring it, so that it ends up in the configuration,
    which is merged anew then: 5 ms for each node, in which a connection that another thread makes finds no settings.
    """

    inline_ssh_env = None


class Ssh:
    """Connections to the nodes of an inventory, made when they are first needed and kept.

    Args:
        inventory: which nodes there are and how to log in.
        password: sudo's, if it needs one.
        redactor: takes secrets out of what a node says.
    """

    def __init__(self, inventory: Inventory, password: str | None, redactor: Redactor) -> None:
        self.inventory, self._password, self._redactor = inventory, password, redactor
        self._known = read_known_hosts(inventory.ssh.known_hosts)
        # Read and put together once: with many nodes, doing so for each of them takes longer than connecting.
        self._config, self._scripts = Config(), scripts()
        self._connections: dict[str, Connection] = {}
        self._idle: dict[str, list[Session]] = {}
        self._lock = threading.Lock()
        self._gateway_lock = threading.Lock()
        self._shared: Connection | None = None

    def close(self) -> None:
        """Close all connections."""
        with self._lock:
            connections = list(self._connections.values())
            self._connections.clear()
            self._idle.clear()
        for connection in connections:
            _close(connection)

    def logins(self) -> dict[str, dict[str, str]]:
        """Return how each node with an open connection was logged in to; the gateway is among them by its name.

        Returns:
            ``user``; ``key``, the fingerprint of the key that proved it (empty for another way); ``host_key``,
            type and fingerprint of the key that the node showed.
        """
        with self._lock:
            connections = dict(self._connections)
        if self._shared is not None:
            connections[f"gateway {self._shared.host}"] = self._shared
        return {name: _login(connection) for name, connection in connections.items() if connection.transport}

    def run(self, node: Node, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> bytes:
        """Run one of the scripts on a node as root; what it printed.

        Args:
            node: where.
            name: the script, ``observe`` or ``transaction``; ``check`` for one that does nothing.
            arguments: constant words.
            payload: its standard input.
            seconds: how long it may take.

        Raises:
            NodeError: the node cannot be reached, refuses, or the script did not end well.
        """
        connection = self._connection(node)
        session = None
        try:
            session = self._session(node, connection)
            answer = session.ask(name, arguments, payload, seconds)
        except Exception as error:
            self._forget(node, connection, session)
            raise NodeError(f"{node.name}: the connection broke while it worked: {_short(error)}") from error
        self._keep(node, connection, session)
        if not answer.is_good:
            words = answer.complaints or answer.output.decode(errors="replace")
            said = self._redactor.redact(words.strip())[-500:]
            why = refusal(node.name, connection.user, answer.status, said, of_script=answer.is_of_script)
            raise NodeError(why)
        return answer.output

    def _session(self, node: Node, connection: Connection) -> Session:
        """Return one that nobody uses just now, or a new one."""
        with self._lock:
            idle = [session for session in self._idle.pop(node.name, []) if session.is_open]
            session = idle.pop() if idle else None
            self._idle[node.name] = idle
        if session is not None:
            return session
        sudo: list[str] = []
        if connection.user != "root":
            # In the C locale: a refusal is told by its words.
            asked = ["-S", "-k", "-p", ""] if self._password else ["-n"]
            sudo = ["env", "LC_ALL=C", "sudo", *asked, "--"]
        seconds = self.inventory.ssh.connect_timeout
        channel = connection.transport.open_session(timeout=seconds)
        return Session(channel, self._scripts, seconds, sudo, self._password if sudo else None)

    def _keep(self, node: Node, connection: Connection, session: Session) -> None:
        """Keep a session for the next request to its node, unless the node has a new connection by now."""
        with self._lock:
            if self._connections.get(node.name) is connection:
                self._idle.setdefault(node.name, []).append(session)
                return
        session.close()

    def _forget(self, node: Node, connection: Connection, session: Session | None) -> None:
        """Forget a connection that broke, with its sessions."""
        with self._lock:
            if self._connections.get(node.name) is connection:
                del self._connections[node.name]
                self._idle.pop(node.name, None)
        if session is not None:
            session.close()

    def _connection(self, node: Node) -> Connection:
        with self._lock:
            connection = self._connections.get(node.name)
        if connection is None or not connection.is_connected:
            connection = self._open(node)
            with self._lock:
                self._connections[node.name] = connection
                self._idle.pop(node.name, None)  # sessions of one that broke
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
        connection = Unshared(
            node.host,
            user=ssh.user,
            port=node.port or ssh.port,
            gateway=self._gateway(kwargs),
            config=self._config,
            connect_timeout=ssh.connect_timeout,
            connect_kwargs=kwargs,
        )
        self._reach(connection, node.name)
        return connection

    def _reach(self, connection: Connection, name: str) -> None:
        """Open a connection; every error names the node."""
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
        """Return the one connection to the gateway that all nodes share: sshd drops logins that come many at once."""
        ssh = self.inventory.ssh
        if ssh.gateway is None:
            return None
        with self._gateway_lock:
            if self._shared is None or not self._shared.is_connected:
                self._shared = Unshared(
                    ssh.gateway,
                    config=self._config,
                    connect_timeout=ssh.connect_timeout,
                    connect_kwargs=dict(kwargs),
                )
                self._reach(self._shared, f"gateway {self._shared.host}")
            return self._shared

    def _secure(self, connection: Connection, node: str, seconds: int) -> None:
        """Check host keys here and on every gateway; fabric by itself accepts any key."""
        connection.client.set_missing_host_key_policy(Reject(node))
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


def _short(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
