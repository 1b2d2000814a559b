"""The order and the batches in which the nodes of a step are changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from kubeharden.facts import NodeFacts


def batches(nodes: Sequence[NodeFacts], wanted: Sequence[str], size: int) -> list[list[str]]:
    """Return the nodes that are changed, batch after batch; those of one batch are changed at the same time.

    The first batch is one node, the canary: what is wrong with a change shows there. Nodes of the control plane
    come last and one by one, so that the API server is never restarted on two of them at once, and what drains
    or proves the other nodes works until the end.

    Args:
        nodes: all of them, in the inventory's order.
        size: how many workers at a time.
    """
    chosen = [node for node in nodes if node.name in set(wanted)]
    workers = [node.name for node in chosen if not node.control_plane]
    masters = [node.name for node in chosen if node.control_plane]
    rest = [workers[start : start + size] for start in range(1, len(workers), size)]
    return [*([workers[:1]] if workers else []), *rest, *([name] for name in masters)]
