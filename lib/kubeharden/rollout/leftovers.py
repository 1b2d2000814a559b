"""Leftovers of a run that died: changes that nobody confirmed, nodes that are cordoned."""

from __future__ import annotations

from collections.abc import Callable

from kubeharden.edges.ports import Clock, NodePort
from kubeharden.facts import OpenChange
from kubeharden.plan.open_changes import open_lines
from kubeharden.rollout.drain import Drain

POLL_SECONDS = 1.0


def open_changes(nodes: NodePort) -> tuple[OpenChange, ...]:
    """Return the changes that wait to be confirmed or put back; log in to every node for it.

    Raises:
        NodeError: a node cannot be reached, or does not let the user become root.
    """
    return tuple(
        OpenChange(node, change.service, change.run, change.state, change.since, change.until, change.holder)
        for node, transactions in nodes.state().items()
        for change in transactions
        if change.open
    )


def wait_for_open_changes(
    nodes: NodePort, clock: Clock, seconds: float, say: Callable[[str], None]
) -> tuple[tuple[OpenChange, ...], tuple[OpenChange, ...]]:
    """Wait until the changes that are open now are over: each node puts its own back when nobody confirms it.

    Args:
        seconds: how long to wait at the most.
        say: called once, with what is waited for.

    Returns:
        Those that were waited for, and those of them that are open after that time.

    Raises:
        NodeError: a node cannot be reached.
    """
    end = clock.monotonic() + seconds
    left = waiting = open_changes(nodes)
    if waiting:
        say(
            f"A change is still open; it is waited for until it is over (at most {seconds:g} s):\n{open_lines(waiting)}"
        )
    known = {(change.node, change.run) for change in waiting}
    while left and clock.monotonic() <= end:
        clock.sleep(POLL_SECONDS)
        left = tuple(change for change in open_changes(nodes) if (change.node, change.run) in known)
    return waiting, left


def uncordon_leftovers(drain: Drain, say: Callable[[str], None]) -> list[str]:
    """Uncordon the nodes that dead runs have left cordoned, say so, and return their names.

    Only the run that has the cluster's lock may call this: a run that goes on has its nodes cordoned, too. A node that
    somebody has cordoned since stays cordoned.

    Raises:
        ClusterError: the server refuses, or cannot be reached.
    """
    uncordoned = [node for node in drain.marks() if drain.uncordon(node)]
    if uncordoned:
        say(
            f"An earlier run had left these nodes cordoned; they are uncordoned now: {', '.join(uncordoned)}."
        )
    if drain.recordoned:
        say(
            "An earlier run had cordoned these nodes, and somebody has cordoned them again since: they stay "
            f"cordoned: {', '.join(drain.recordoned)}."
        )
    return uncordoned
