"""kubeharden's part of the bench: look at every node, change what differs, prove it, confirm it.

Prints the most memory that it had, in MiB, and the seconds from the first connection to the last answer. Settling is
none, as for the others.
"""

import json
import resource
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from kubeharden.edges.nodes import Nodes
from kubeharden.facts import NodeFacts
from kubeharden.inputs.inventory import Inventory, Node, Ssh
from kubeharden.plan import FileChange, NodeChange


def inventory_of(bench: dict[str, Any]) -> Inventory:
    """The inventory of the bench's servers."""
    return Inventory(
        cluster="bench",
        kubeconfig="/dev/null",
        ssh=Ssh(user="root", identity_file=bench["key"], known_hosts=bench["known_hosts"]),
        nodes=[
            Node(name=server["name"], host="127.0.0.1", port=server["port"], control_plane=number == 0)
            for number, server in enumerate(bench["servers"])
        ],
        settle_seconds=0,
    )


def change(seen: NodeFacts, bench: dict[str, Any]) -> NodeChange:
    """What has to be done on a node."""
    found = seen.services["kubelet"].files
    files = [
        FileChange(path, found.get(path), content, "644", "root", "root")
        for path, content in bench["files"].items()
        if path not in found or found[path].content != content
    ]
    return NodeChange(
        "kubelet", seen.name, "kubelet", tuple(files), restart="its files change" if files else ""
    )


def work(nodes: Nodes, needed: NodeChange, bench: dict[str, Any], run: str) -> None:
    """One node: the transaction, the second look from outside, the confirmation."""
    begun = nodes.begin(needed, run)
    if begun.outcome != "waiting":
        sys.exit(f"{needed.node}: {begun.outcome}: {begun.words}")
    [seen] = nodes.observe([needed.node], ["kubelet"])
    if change(seen, bench).files:
        sys.exit(f"{needed.node}: not as it should be")
    if (confirmed := nodes.confirm(needed.node, run)).outcome != "confirmed":
        sys.exit(f"{needed.node}: {confirmed.outcome}: {confirmed.words}")


def main() -> None:
    """Carry it out on all nodes, and print."""
    bench = json.loads(Path(sys.argv[1]).read_text())
    run = f"bench-{time.time_ns()}"
    with Nodes(inventory_of(bench)) as nodes:
        start = time.perf_counter()  # as for the floor, which has read its known_hosts by then too
        todo = [change(seen, bench) for seen in nodes.observe(services=["kubelet"])]
        with ThreadPoolExecutor(max_workers=32) as pool:
            list(pool.map(lambda needed: work(nodes, needed, bench, run), (n for n in todo if n.files)))
        seconds = time.perf_counter() - start
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, seconds)  # noqa: T201


if __name__ == "__main__":
    main()
