"""Words for how much a plan changes, and in which order. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.plan import Plan

BATCHES = 8  # that are named before the rest is counted


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


def order_words(plan: Plan, batches: Sequence[Sequence[str]]) -> str:
    """Return the order in which a plan reaches objects and nodes: ``the objects, then n1, then n2 with n3``."""
    parts = ["the objects"] if plan.object_changes else []
    parts += [" with ".join(batch) for batch in batches[:BATCHES]]
    rest = sum(len(batch) for batch in batches[BATCHES:])
    return ", then ".join([*parts, *([f"{count_words(rest, 'more node')}"] if rest else [])])
