"""The nodes: SSH, sessions, and transactions as text and data."""

from kubeharden.edges.nodes.nodes import (
    CONFIRM_SECONDS,
    MAX_THREADS,
    OBSERVE_SECONDS,
    SUDO_PASSWORD_VARIABLE,
    Nodes,
    Transaction,
    TransactionResult,
)

__all__ = [
    "CONFIRM_SECONDS",
    "MAX_THREADS",
    "OBSERVE_SECONDS",
    "SUDO_PASSWORD_VARIABLE",
    "Nodes",
    "Transaction",
    "TransactionResult",
]
