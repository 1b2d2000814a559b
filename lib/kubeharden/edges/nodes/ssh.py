"""Connections to the nodes, and scripts that run there as root. fabric lives here and nowhere else.

The text of a script is constant; what differs from run to run goes over standard input, so no value is ever part
of a command.
"""

from __future__ import annotations

import logging
import os
import socket
import subprocess
import threading
from collections.abc import Sequence
from functools import partial
from typing import Any

import paramiko
from fabric import Config, Connection
from paramiko.config import SSHConfig

from kubeharden.edges.nodes import known_command
from kubeharden.edges.nodes.client_answers import ClientAnswers
from kubeharden.edges.nodes.client_config import Target, resolve
from kubeharden.edges.nodes.known_hosts import HostKeys, KnownHosts, Verify
from kubeharden.edges.nodes.login_keys import KeyFiles, LoginKeys
from kubeharden.edges.nodes.refusal import refusal
from kubeharden.edges.nodes.session import Session, scripts
from kubeharden.errors import ForwardingError, NodeError
from kubeharden.inputs.inventory import Inventory, Node, split_host
from kubeharden.redaction import Redactor

KEEPALIVE_SECONDS = 15
MOST_COMPLAINTS = 1 << 16  # characters of which the last are shown: all of them are redacted first
MOST_JUMPS = 8
LOOPBACK = "127.0.0.1"  # where a channel is said to come from
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
        password: sudo's, if it needs one.
        redactor: takes secrets out of what a node says.
    """

    def __init__(self, inventory: Inventory, password: str | None, redactor: Redactor) -> None:
        self.inventory, self._password, self._redactor = inventory, password, redactor
        # Put together once, which takes longer than connecting. It is empty: OpenSSH resolves its configuration.
        self._config, self._scripts = Config(ssh_config=SSHConfig()), scripts()
        self._key_files, self._answers = KeyFiles(), ClientAnswers()
        self._known: dict[tuple[str, ...], KnownHosts] = {}
        self._connections: dict[str, Connection] = {}
        self._idle: dict[str, list[Session]] = {}
        self._jumps: dict[tuple[str, ...], Connection] = {}
        self._proxies: list[subprocess.Popen[bytes]] = []
        self._lock = threading.Lock()
        self._jump_lock = threading.RLock()

    def close(self) -> None:
        """Close all connections, those to gateways last."""
        with self._lock:
            connections = [*self._connections.values(), *reversed(self._jumps.values())]
            proxies = list(self._proxies)
            for collection in (self._connections, self._idle, self._jumps, self._proxies):
                collection.clear()
        for connection in connections:
            connection.close()
        for process in proxies:
            process.terminate()
            process.wait()

    def logins(self) -> dict[str, dict[str, str]]:
        """Return how each node with an open connection was logged in to; gateways are among them by their names.

        Returns:
            ``user``; ``key``, the fingerprint of the key that proved it (empty for another way); ``host_key``,
            type and fingerprint of the key that the node showed.
        """
        with self._lock:
            connections = dict(self._connections)
            connections |= {f"gateway {jump.host}": jump for jump in self._jumps.values()}
        return {name: _login(connection) for name, connection in connections.items() if connection.transport}

    def run(self, node: Node, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> bytes:
        """Run one of the scripts on a node; see ``Connection``."""
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
            complaints = answer.complaints or answer.output.decode(errors="replace")
            output = self._redactor.redact(complaints.strip()[-MOST_COMPLAINTS:])[-500:]
            why = refusal(node.name, connection.user, answer.status, output, of_script=answer.is_of_script)
            raise NodeError(why)
        return answer.output

    def reach(self, node: Node, host: str, port: int) -> paramiko.Channel:
        """Connect to a port as from the node itself, in a channel of the connection to it (direct-tcpip, RFC 4254)."""
        connection = self._connection(node)
        try:
            return connection.transport.open_channel(
                "direct-tcpip", (host, port), (LOOPBACK, 0), timeout=self.inventory.ssh.connect_timeout
            )
        except paramiko.ChannelException as error:
            if error.code == paramiko.OPEN_FAILED_ADMINISTRATIVELY_PROHIBITED:
                raise ForwardingError(
                    f"{node.name}: its SSH server does not forward to {host} port {port} (AllowTcpForwarding, "
                    "PermitOpen and DisableForwarding in its sshd_config, or options of the key)"
                ) from None
            raise NodeError(f"{node.name}: nothing answers at {host} port {port} there") from None
        except (OSError, EOFError, paramiko.SSHException) as error:
            raise NodeError(f"{node.name}: cannot reach {host} port {port} there: {_short(error)}") from error

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
            options = ["-S", "-k", "-p", ""] if self._password else ["-n"]
            sudo = ["env", "LC_ALL=C", "sudo", *options, "--"]
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
        user, host, port = split_host(node.host)
        target = self._resolve(node.name, host, user or ssh.user, node.port or port or ssh.port)
        via = (ssh.gateway,) if ssh.gateway else target.jumps
        return self._reach(node.name, target, via, "" if ssh.gateway else target.proxy_command)

    def _resolve(self, name: str, host: str, user: str | None, port: int | None) -> Target:
        """Return how a host is reached; every error names the node."""
        ssh = self.inventory.ssh
        try:
            return resolve(
                host, user, port, ssh.identity_file, ssh.known_hosts, ssh.connect_timeout, self._answers
            )
        except NodeError as error:
            raise NodeError(f"{name}: {error}") from None

    def _reach(self, name: str, target: Target, via: Sequence[str], proxy_command: str) -> Connection:
        """Open a connection; every error names the node.

        Args:
            name: of the node, or what the gateway is called.
            via: the hosts through which it goes, the first one first.
            proxy_command: what makes the connection, where none of these does; empty for nothing.
        """
        seconds = self.inventory.ssh.connect_timeout
        keys, known = LoginKeys(target, self._key_files), self._known_hosts(name, target)
        settings = {
            **dict.fromkeys(("banner_timeout", "auth_timeout", "channel_timeout"), seconds),
            "auth_strategy": keys,
            "transport_factory": partial(_transport, known),
        }
        connection = Unshared(
            target.host,
            user=target.user,
            port=target.port,
            config=self._config,
            connect_timeout=seconds,
            connect_kwargs=settings,
        )
        connection.client.set_missing_host_key_policy(Verify(known, name))
        try:
            connection.connect_kwargs["sock"] = self._socket(target, via, proxy_command)
            connection.open()
            connection.transport.set_keepalive(KEEPALIVE_SECONDS)
        except NodeError:
            connection.close()
            raise
        except paramiko.AuthenticationException:
            connection.close()
            raise NodeError(_login_refused(name, target, keys, connection)) from None
        except (OSError, paramiko.SSHException, EOFError) as error:
            connection.close()
            raise NodeError(
                f"{name}: cannot reach {target.host} port {target.port} by SSH: {_short(error)}"
            ) from None
        if not connection.transport.is_authenticated():
            connection.close()
            raise NodeError(
                f"{name}: {target.host} wants more from {target.user} than a key (AuthenticationMethods in its "
                "sshd_config); name a user for which a key is enough (ssh.user)"
            )
        return connection

    def _known_hosts(self, name: str, target: Target) -> HostKeys:
        """Return what is known of a host; each file is read once. Every error names the node."""
        with self._lock:
            if target.known_hosts not in self._known:
                self._known[target.known_hosts] = KnownHosts(target.known_hosts)
            known = self._known[target.known_hosts]
        command, seconds = target.known_command, self.inventory.ssh.connect_timeout
        ask = (lambda wanted: known_command.ask(command, wanted, seconds)) if command else None
        try:
            return known.of(target.host, target.port, target.alias, target.revoked, ask)
        except NodeError as error:
            raise NodeError(f"{name}: {error}") from None

    def _socket(self, target: Target, via: Sequence[str], proxy_command: str) -> Any:
        """Return what the connection goes over."""
        seconds = self.inventory.ssh.connect_timeout
        if via:
            jump = self._jump(tuple(via))
            return jump.transport.open_channel(
                "direct-tcpip", (target.host, target.port), ("", 0), timeout=seconds
            )
        if proxy_command:
            return self._proxy(proxy_command)
        return _connect(target, seconds)

    def _jump(self, via: tuple[str, ...], below: tuple[tuple[str, ...], ...] = ()) -> Connection:
        """Return the one connection to a gateway that all nodes share: sshd drops logins that come many at once.

        Args:
            via: the gateway, behind those through which it is reached.
        """
        *before, last = via
        user, host, port = split_host(last.removeprefix("ssh://"))
        name = f"gateway {host}"
        with self._jump_lock:
            jump = self._jumps.get(via)
            if jump is not None and jump.is_connected:
                return jump
            target = self._resolve(name, host, user or None, port)
            # What the configuration says of its own way counts for the first one alone; "Host *" may name itself there.
            own = target.jumps if not before and target.jumps != via else ()
            if via in below or len(below) > MOST_JUMPS:
                raise NodeError(f"{name}: the ProxyJump of the SSH client configuration goes in a circle")
            further = tuple(before) or own
            if further:
                self._jump(further, (*below, via))
            jump = self._reach(name, target, further, "" if before else target.proxy_command)
            with self._lock:
                self._jumps[via] = jump
            return jump

    def _proxy(self, command: str) -> socket.socket:
        """Return a socket whose other end is a program."""
        our_end, their_end = socket.socketpair()
        shell = os.environ.get("SHELL") or "/bin/sh"
        with their_end:
            process = subprocess.Popen(
                [shell, "-c", f"exec {command}"],
                stdin=their_end.fileno(),
                stdout=their_end.fileno(),
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        with self._lock:
            self._proxies.append(process)
        return our_end


class _Transport(paramiko.Transport):  # type: ignore[misc]
    """A transport that asks for what is known of its host: a key, or a certificate of an authority."""

    known: HostKeys

    @property
    def preferred_keys(self) -> tuple[str, ...]:
        """The algorithms of host keys, in their order; paramiko's own asks for certificates last of all."""
        return self.known.order(self._filter_algorithm("keys"))


def _transport(known: HostKeys, sock: Any, **settings: Any) -> paramiko.Transport:
    """Return a transport that asks for a host key of a type that is known."""
    transport = _Transport(sock, **settings)
    transport.known = known
    return transport


def _connect(target: Target, seconds: float) -> socket.socket:
    """Return a socket to the first address of a host that answers."""
    trouble: OSError = OSError("it has no address")
    for family, kind, _, _, address in socket.getaddrinfo(
        target.host, target.port, target.family, socket.SOCK_STREAM
    ):
        sock = socket.socket(family, kind)
        try:
            # paramiko leaves Nagle's algorithm on, which costs 30 ms on every command.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.settimeout(seconds)
            if target.bind_address:
                sock.bind((target.bind_address, 0))
            sock.connect(address)
        except OSError as error:
            sock.close()
            trouble = error
        else:
            return sock
    raise trouble


def _login_refused(name: str, target: Target, keys: LoginKeys, connection: Connection) -> str:
    """Return why a login was refused, with the server's own words."""
    transport = connection.client.get_transport()
    banner = transport.get_banner() if transport is not None else None
    banner_text = f". It says: {banner.decode(errors='replace').strip()[-500:]}" if banner else ""
    trouble = "".join(f"; {words}" for words in keys.trouble)
    return (
        f"{name}: {target.host} refuses the login as {target.user} ({keys.offered} keys offered{trouble}); check "
        f"ssh.user and ssh.identity_file in the inventory, and the agent{banner_text}"
    )


def _login(connection: Connection) -> dict[str, str]:
    transport = connection.transport
    used = getattr(transport.auth_handler, "private_key", None)
    host_key = transport.get_remote_server_key()
    return {
        "user": connection.user,
        "key": used.fingerprint if used is not None else "",
        "host_key": f"{host_key.get_name()} {host_key.fingerprint}",
    }


def _short(error: BaseException) -> str:
    """Return the first line of an error's message."""
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
