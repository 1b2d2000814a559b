"""Words for how much a plan changes, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.plan import Plan

BATCHES = 8  # that are named before the rest is counted
# The pieces of a step in the order in which they are carried out, each with the batches of its nodes.
Order = Sequence[tuple[Plan, Sequence[Sequence[str]]]]


def amount_words(plan: Plan) -> str:
    """Return how much a plan changes: ``6 restarts, 9 objects, 11 files on 2 nodes``; empty where it is nothing."""
    changes = [change for change in plan.node_changes if change.needed]
    nodes = len({change.node for change in changes})
    counts = (
        (sum(bool(change.restart) for change in changes), "restart"),
        (len(plan.object_changes), "object"),
        (sum(len(change.files) for change in changes), "file"),
    )
    words = ", ".join(count_words(count, name) for count, name in counts if count)
    return f"{words} on {count_words(nodes, 'node')}" if nodes else words


def count_words(count: int, name: str) -> str:
    """Return ``1 node`` or ``2 nodes``."""
    return f"{count} {name}{'' if count == 1 else 's'}"


def order_words(order: Order) -> str:
    """Return the order in which objects and nodes are reached: ``the objects, then n1, then n2 with n3``."""
    parts: list[str] = []
    for piece, batches in order:
        parts += ["the objects"] if piece.object_changes else []
        parts += [" with ".join(batch) for batch in batches[:BATCHES]]
        rest = sum(len(batch) for batch in batches[BATCHES:])
        parts += [count_words(rest, "more node")] if rest else []
    return ", then ".join(parts)
