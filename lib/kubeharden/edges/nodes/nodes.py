"""Nodes over their connections: look at them, and change them in transactions.

Two scripts run on a node, each in one round trip: ``observe.sh`` and ``transaction.sh``. One SSH
session answers for both, as often as they are asked (``session.sh``).
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from kubeharden.edges.login import login_or_uid
from kubeharden.edges.nodes.connections import CONNECTIONS
from kubeharden.edges.nodes.session import script_text
from kubeharden.edges.nodes.transaction import (
    archive,
    naming,
    read_backup,
    read_removed,
    read_result,
    read_transactions,
)
from kubeharden.edges.ports import MAX_THREADS, Stream, Transaction, TransactionResult
from kubeharden.errors import ForwardingError, HostKeyError, NodeError
from kubeharden.facts import NodeFacts, observation_request, parse_observation
from kubeharden.inputs.inventory import Inventory, Node
from kubeharden.plan import NodeChange
from kubeharden.redaction import Redactor

__all__ = ["CONFIRM_SECONDS", "SUDO_PASSWORD_VARIABLE", "Nodes"]

A = TypeVar("A")
T = TypeVar("T")

OBSERVE_SECONDS = 120
TRANSACTION_SECONDS = 300
KUBELET = ("127.0.0.1", 10250)  # where it is tried whether a node forwards
SUDO_PASSWORD_VARIABLE = "KUBEHARDEN_SUDO_PASSWORD"  # noqa: S105 - the name of a variable, not a password
# How long a node waits to be confirmed before it puts itself back, where nobody says otherwise.
CONFIRM_SECONDS = 120.0


class Nodes:
    """The nodes of an inventory. Connections are made when they are first needed and kept; use it in a ``with``.

    Attributes:
        round_trips: how many scripts have been run on each node, by its name.

    Args:
        ask_password: called once, if the inventory says ``sudo: password``.
        redactor: the run's; it learns the password and what the nodes' files hold, and redacts what the nodes say.
    """

    def __init__(
        self,
        inventory: Inventory,
        ask_password: Callable[[], str] | None = None,
        redactor: Redactor | None = None,
    ) -> None:
        self.inventory = inventory
        self.redactor = redactor or Redactor()
        password = _password(ask_password) if inventory.ssh.sudo == "password" else None
        self.redactor.remember(password)
        used = {node.connection for node in inventory.nodes}
        self._connections = {
            name: connect(inventory, password, self.redactor)
            for name, connect in CONNECTIONS.items()
            if name in used
        }
        self.round_trips: dict[str, int] = {}
        self._script = script_text("transaction")

    def __enter__(self) -> Nodes:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        """Close all connections."""
        for connection in self._connections.values():
            connection.close()

    def logins(self) -> dict[str, dict[str, str]]:
        """Return how each node with an open connection was logged in to; the gateway is among them by its name."""
        return {node: login for c in self._connections.values() for node, login in c.logins().items()}

    def check(self) -> None:
        """Log in to every node and become root there, and do nothing else."""
        _all(
            lambda node: self._run(node, "check", [], b"", OBSERVE_SECONDS),
            self.inventory.nodes,
            lambda _node, _answer: None,
        )

    def observe(
        self, names: Iterable[str] | None = None, services: Sequence[str] | None = None
    ) -> list[NodeFacts]:
        """Look at the nodes, all at once, one round trip each."""

        def ask(node: Node) -> bytes:
            request = observation_request(services, self.inventory.units_of(node))
            return self._run(node, "observe", request, b"", OBSERVE_SECONDS)

        def read(node: Node, answer: bytes) -> NodeFacts:
            text = answer.decode("utf-8", errors="surrogateescape")  # files are written back as they were
            return parse_observation(node.name, node.control_plane, text)

        return list(_all(ask, self._select(names), read).values())

    def reach(self, node: str, host: str, port: int) -> Stream:
        """Connect to a port as from the node itself, over the connection to it; nothing runs there for that."""
        target = self._node(node)
        return self._connections[target.connection].reach(target, host, port)

    def forwards(self) -> dict[str, str]:
        """Return why nothing can be reached from a node, by its name, for those where that is so."""

        def ask(node: Node) -> str:
            try:
                self.reach(node.name, *KUBELET).close()
            except ForwardingError as error:
                return str(error).partition(": ")[2]
            except NodeError:  # nothing listens there, which says that it would have been forwarded
                return ""
            return ""

        reasons = _all(ask, self._select(None), lambda _node, why: why)
        return {name: why for name, why in reasons.items() if why}

    def begin(
        self, change: NodeChange, run: str, confirm_timeout: float = CONFIRM_SECONDS
    ) -> TransactionResult:
        """Carry out one change on its node, up to the point where somebody must confirm it; one round trip.

        The node works on whatever becomes of this connection. The same call once more follows the transaction that
        it began, if that is still open.

        Args:
            run: the name of the transaction, of letters, digits, ``.``, ``_`` and ``-``; also that of the folder
                with the backups, below ``/var/lib/kubeharden`` on the node.
            confirm_timeout: how many seconds after the service had time to settle the node puts everything back
                unless it is confirmed.
        """
        settle = self.inventory.settle_seconds
        deadline = settle + confirm_timeout
        content = archive(change, run, _holder(), settle, deadline, self._script)
        seconds = 2 * settle + confirm_timeout + TRANSACTION_SECONDS  # it may settle twice: forth and back
        answer = self._transaction(self._node(change.node), ["begin"], content, seconds)
        return read_result(change.node, change.service, answer, self.redactor)

    def confirm(self, node: str, run: str) -> TransactionResult:
        """Say that a change stays; one round trip. The node may have been quicker and put it back."""
        return self._verdict(node, "confirm", run)

    def undo(self, node: str, run: str) -> TransactionResult:
        """Put the change back at once; one round trip. It may have been confirmed, or be over already."""
        return self._verdict(node, "undo", run)

    def state(self, names: Iterable[str] | None = None) -> dict[str, tuple[Transaction, ...]]:
        """Return the transactions that each node knows, those of long ago left out; one round trip each."""
        return _all(
            lambda node: self._transaction(node, ["state"], b"", OBSERVE_SECONDS),
            self._select(names),
            lambda node, answer: read_transactions(node.name, answer, self.redactor),
        )

    def backup(self, node: str, run: str, digest: str) -> str | None:
        """Return what a transaction backed up on its node, by the SHA-256 of the content; None where there is none."""
        wanted = f"run {run}\n{digest}\n".encode()
        answer = self._transaction(self._node(node), ["old"], wanted, OBSERVE_SECONDS)
        return read_backup(node, digest, answer)

    def clean(self, names: Iterable[str] | None = None) -> dict[str, tuple[str, ...]]:
        """Remove all that kubeharden keeps on the nodes between runs, backups included; one round trip each."""
        return _all(
            lambda node: self._transaction(node, ["clean"], b"", OBSERVE_SECONDS),
            self._select(names),
            lambda node, answer: read_removed(node.name, answer, self.redactor),
        )

    def _verdict(self, node: str, verb: str, run: str) -> TransactionResult:
        seconds = self.inventory.settle_seconds + TRANSACTION_SECONDS
        answer = self._transaction(self._node(node), [verb, naming(run)], b"", seconds)
        return read_result(node, "", answer, self.redactor)

    def _transaction(self, node: Node, words: Sequence[str], payload: bytes, seconds: float) -> str:
        return self._run(node, "transaction", words, payload, seconds).decode(errors="replace")

    def _run(self, node: Node, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> bytes:
        self.round_trips[node.name] = self.round_trips.get(node.name, 0) + 1
        return self._connections[node.connection].run(node, name, arguments, payload, seconds)

    def _node(self, name: str) -> Node:
        return next(node for node in self.inventory.nodes if node.name == name)

    def _select(self, names: Iterable[str] | None) -> list[Node]:
        wanted = None if names is None else set(names)
        return [node for node in self.inventory.nodes if wanted is None or node.name in wanted]


def _password(ask: Callable[[], str] | None) -> str:
    password = os.environ.pop(SUDO_PASSWORD_VARIABLE, None) or (ask() if ask else None)
    if not password:
        raise NodeError(
            "the inventory says sudo: password, but nobody can be asked for it here; put it into the environment "
            f"for this one run: read -rs {SUDO_PASSWORD_VARIABLE} && export {SUDO_PASSWORD_VARIABLE}"
        )
    return password


def _holder() -> str:
    """Return who has a node while a change is open, for somebody who finds it held."""
    return f"{login_or_uid()}@{socket.gethostname()}, process {os.getpid()}"


def _all(ask: Callable[[Node], A], nodes: list[Node], read: Callable[[Node, A], T]) -> dict[str, T]:
    """Ask all nodes at once, and return what their answers say, by the names of the nodes in their order.

    Answers are read in this thread, as they come in: threads that compute take turns, and those that need a table first
    would each make their own.

    Raises:
        NodeError: it failed on some nodes; a HostKeyError where one of the failures is.
    """
    results: dict[str, T] = {}
    failures: dict[str, NodeError] = {}
    with ThreadPoolExecutor(max_workers=min(MAX_THREADS, len(nodes)) or 1) as pool:
        futures = {pool.submit(ask, node): node for node in nodes}
        for future in as_completed(futures):
            node = futures.pop(future)  # an answer that was read is not kept
            try:
                results[node.name] = read(node, future.result())
            except NodeError as error:
                failures[node.name] = error
    if failures:
        failures = {node.name: failures[node.name] for node in nodes if node.name in failures}
        first = next(
            (e for e in failures.values() if isinstance(e, HostKeyError)), next(iter(failures.values()))
        )
        raise type(first)("\n".join(map(str, failures.values())), failures) from first
    return {node.name: results[node.name] for node in nodes}
