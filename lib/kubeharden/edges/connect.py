"""Connect to what an inventory names: nodes over SSH, and its API server."""

from __future__ import annotations

import getpass

from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.ports import Ports
from kubeharden.inputs.inventory import Inventory
from kubeharden.redaction import Redactor


def connect(inventory: Inventory, redactor: Redactor) -> Ports:
    """Return the ports of a run. Connections are made when they are first needed.

    Raises:
        NodeError: a sudo password is needed, and nobody can be asked for it.
        ClusterError: the kubeconfig cannot be used.
    """
    clock = SystemClock()
    cluster = Cluster(inventory.kubeconfig, inventory.context, redactor, clock)
    return Ports(connect_nodes(inventory, redactor), cluster, clock)


def connect_nodes(inventory: Inventory, redactor: Redactor) -> Nodes:
    """Return the nodes of an inventory, without its API server; use it in a ``with``. ``connect`` says the errors."""
    return Nodes(inventory, _ask_password, redactor)


def _ask_password() -> str:
    """Ask for the sudo password; return nothing where nobody can answer."""
    try:
        return getpass.getpass("sudo password on the nodes: ")
    except Exception:  # ipykernel raises its own kind when nobody can answer
        return ""
