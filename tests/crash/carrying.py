"""Carries one change out as a run does: with its lock, its proof and its record."""

from __future__ import annotations

from pathlib import Path

from kubeharden.edges.clock import SystemClock
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.edges.ports import Ports
from kubeharden.errors import KubehardenError
from kubeharden.facts import ClusterFacts, Facts
from kubeharden.inputs.inventory import Inventory
from kubeharden.plan import NodeChange, Plan
from kubeharden.plan.events import Error, Planned
from kubeharden.records.folder import Record
from kubeharden.rollout.lock import Lock
from kubeharden.rollout.rollout import Pace, Rollout


def carry_out(inventory: Inventory, nodes: Nodes, change: NodeChange, records: Path, seconds: float) -> None:
    """Carry it out; what becomes of it is in the only folder below ``records`` then.

    Args:
        inventory: where the API server is.
        nodes: the way to the node.
        change: what to do.
        records: a folder that is not there yet.
        seconds: how long the node waits to be confirmed.
    """
    ports = Ports(nodes, Cluster(inventory.kubeconfig), SystemClock())
    record = Record(records, inventory.cluster, change.node)
    lock = Lock(ports.cluster, ports.clock, record.run)
    plan = Plan((change.step,), node_changes=(change,))
    record(Planned.of(plan))
    try:
        lock.acquire()
        seen = Facts(tuple(nodes.observe([change.node], [change.service])), ClusterFacts("", "", {}))
        rollout = Rollout(ports, record, lock, Pace(confirm_timeout=seconds, settle=0.1))
        rollout.apply(plan, seen)
    except KubehardenError as error:
        record(Error("apply", type(error).__name__, str(error)))
    finally:
        lock.release()
        record.close()
        ports.cluster.close()
