"""The ways to a node. One more is a module with such a class, a row here, and its name in the inventory's schema."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from kubeharden.edges.nodes.local import Local
from kubeharden.edges.nodes.ssh import Ssh
from kubeharden.edges.ports import Stream
from kubeharden.inputs.inventory import Inventory, Node
from kubeharden.redaction import Redactor


class Connection(Protocol):
    """A way to nodes: it runs scripts there as root."""

    def run(self, node: Node, name: str, arguments: Sequence[str], payload: bytes, seconds: float) -> bytes:
        """Run one of the scripts on a node as root; return what it printed.

        Args:
            name: the script, ``observe`` or ``transaction``; ``check`` for one that does nothing.
            arguments: constant words.
            payload: its standard input.

        Raises:
            NodeError: the node cannot be reached, refuses, or the script did not end well.
        """

    def reach(self, node: Node, host: str, port: int) -> Stream:
        """Connect to a port as from the node itself.

        Raises:
            NodeError: the node cannot be reached, does not forward, or nothing listens there.
        """

    def logins(self) -> dict[str, dict[str, str]]:
        """Return how each node that was reached was logged in to: ``user``, ``key`` and ``host_key``."""

    def close(self) -> None:
        """End everything that is open."""


CONNECTIONS: Mapping[str, Callable[[Inventory, str | None, Redactor], Connection]] = {
    "ssh": Ssh,
    "local": Local,
}
