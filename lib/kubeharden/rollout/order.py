"""The order and the batches in which the nodes of a step are changed. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Place:
    """A node, as far as the order depends on it."""

    name: str
    control_plane: bool


def batches(places: Sequence[Place], wanted: Sequence[str], size: int) -> list[list[str]]:
    """Return the nodes that are changed, batch after batch; those of one batch are changed at the same time.

    The first batch is one node, the canary: what is wrong with a change shows there. Nodes of the control plane
    come last and one by one, so that the API server is never restarted on two of them at once, and what drains
    or proves the other nodes works until the end.

    Args:
        places: all nodes, in the inventory's order.
        wanted: the names of those to change.
        size: how many workers at a time.
    """
    chosen = [place for place in places if place.name in set(wanted)]
    workers = [place.name for place in chosen if not place.control_plane]
    masters = [place.name for place in chosen if place.control_plane]
    rest = [workers[start : start + size] for start in range(1, len(workers), size)]
    return [*([workers[:1]] if workers else []), *rest, *([name] for name in masters)]
