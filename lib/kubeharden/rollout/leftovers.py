"""Left-overs of a run that died: changes that nobody confirmed, nodes that are cordoned."""

from __future__ import annotations

from collections.abc import Callable

from kubeharden.edges.ports import Clock, NodePort
from kubeharden.errors import NodeError
from kubeharden.rollout.drain import Drain

POLL_SECONDS = 1.0


def open_changes(nodes: NodePort) -> dict[str, str]:
    """Return the changes that wait to be confirmed or put back, in words, by node; log in to every node for it.

    Raises:
        NodeError: a node cannot be reached, or does not let the user become root.
    """
    return {
        node: f"{found.service}, {found.state}, begun at {found.since} by {found.holder} (run {found.run})"
        for node, transactions in nodes.state().items()
        for found in transactions
        if found.open
    }


def wait_for_open_changes(
    nodes: NodePort, clock: Clock, seconds: float, say: Callable[[str], None]
) -> list[str]:
    """Wait until no node has a change that is open: each puts itself back when nobody confirms it.

    Args:
        seconds: how long to wait at the most.
        say: called once, with what is waited for.

    Returns:
        The nodes that were waited for.

    Raises:
        NodeError: a node cannot be reached, or its change is still open after that time.
    """
    end = clock.monotonic() + seconds
    waited: list[str] = []
    while found := open_changes(nodes):
        lines = "\n".join(f"  {node}: {words}" for node, words in found.items())
        if not waited:
            say(
                f"A change is still open; it is waited for until it is over (at most {seconds:g} s):\n{lines}"
            )
        waited += [node for node in found if node not in waited]
        if clock.monotonic() > end:
            raise NodeError(
                f"a change that another run began is still open:\n{lines}\nIs that run still going on? If not, "
                "put its change back on the node, and run again: sudo sh /var/lib/kubeharden/transaction.sh undo RUN"
            )
        clock.sleep(POLL_SECONDS)
    return waited


def uncordon_left_overs(drain: Drain, say: Callable[[str], None]) -> list[str]:
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
