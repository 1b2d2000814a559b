"""The nodes: SSH, sessions, and transactions as text and data."""

from kubeharden.edges.nodes.client_config import missing_ssh
from kubeharden.edges.nodes.nodes import CONFIRM_SECONDS, OBSERVE_SECONDS, SUDO_PASSWORD_VARIABLE, Nodes

__all__ = ["CONFIRM_SECONDS", "OBSERVE_SECONDS", "SUDO_PASSWORD_VARIABLE", "Nodes", "missing_ssh"]
