"""Cordon and drain a node before its kubelet is changed, and uncordon it afterwards, whatever happened.

As `kubectl drain --ignore-daemonsets --delete-emptydir-data` does, with evictions, which respect
PodDisruptionBudgets. Pods of DaemonSets and mirror pods stay. A pod that nothing would make anew ends the drain
before any other is evicted.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubeharden.cluster import Cluster
from kubeharden.errors import ClusterError, StaleError, StoppedError
from kubeharden.interrupts import Stop
from kubeharden.pods import is_daemons, is_over, name_of
from kubeharden.podsecurity.workloads import controller_of, is_mirror

CORDONED_BY = "kubeharden/cordoned-by"  # the annotation with the run that cordoned the node
RETRY_SECONDS = 1.0
STALE_RETRIES = 20  # a kubelet writes its node's status in between


class Drain:
    """Cordons, drains and uncordons nodes for one run.

    Args:
        cluster: the API server.
        run: the run's id.
        timeout: how many seconds draining one node may take.
        stop: set when the run is to end.
        event: called with what happens: an action, and the node.
    """

    def __init__(
        self, cluster: Cluster, run: str, timeout: float, stop: Stop, event: Callable[..., None]
    ) -> None:
        self.cluster, self.run, self.timeout, self.stop = cluster, run, timeout, stop
        self.event = event

    @contextmanager
    def of(self, node: str) -> Iterator[None]:
        """Have a node without pods that others could run, and uncordoned again afterwards if it was before.

        Raises:
            ClusterError: it cannot be drained in time; the message names the pods that are left.
            StoppedError: the run is to end.
        """
        cordoned = self._cordon(node)
        try:
            self._evict_all(node)
            self.event("drained", node=node)
            yield
        finally:
            if cordoned:
                self.uncordon(node)

    def uncordon(self, node: str) -> None:
        """Let pods come to a node again that a run had cordoned; any other is left as it is.

        Raises:
            ClusterError: the server refuses, or cannot be reached.
        """
        for _ in range(STALE_RETRIES):
            item = self._node(node)
            if CORDONED_BY not in (item["metadata"].get("annotations") or {}):
                return
            if self._patched(item, unschedulable=None, mark=None):
                self.event("uncordoned", node=node)
                return
        raise ClusterError(f"{node} stays cordoned: it changes too often. Run: kubectl uncordon {node}")

    def left_cordoned(self) -> list[str]:
        """The nodes that a run has cordoned and not uncordoned: it was killed, or goes on."""
        return [
            item["metadata"]["name"]
            for item in self.cluster.items("Node")
            if CORDONED_BY in (item["metadata"].get("annotations") or {})
        ]

    def _cordon(self, node: str) -> bool:
        """Keep new pods away; whether it is this run that does. A node that was cordoned stays so."""
        for _ in range(STALE_RETRIES):
            item = self._node(node)
            if item.get("spec", {}).get("unschedulable"):
                return CORDONED_BY in (item["metadata"].get("annotations") or {})
            if self._patched(item, unschedulable=True, mark=self.run):
                self.event("cordoned", node=node)
                return True
        raise ClusterError(f"{node} cannot be cordoned: it changes too often")

    def _patched(self, item: Mapping[str, Any], unschedulable: bool | None, mark: str | None) -> bool:
        """Write both at once over what was read; False where somebody else wrote meanwhile."""
        meta = {
            "resourceVersion": item["metadata"]["resourceVersion"],
            "annotations": {CORDONED_BY: mark},
        }
        patch = {"metadata": meta, "spec": {"unschedulable": unschedulable}}
        try:
            self.cluster.patch("Node", item["metadata"]["name"], patch)
        except StaleError:
            return False
        return True

    def _node(self, node: str) -> dict[str, Any]:
        item = self.cluster.get("Node", node)
        if item is None:
            raise ClusterError(f"the API has no Node {node}")
        return item

    def _evict_all(self, node: str) -> None:
        lonely = [name_of(pod) for pod in self._to_go(node) if controller_of(pod) is None]
        if lonely:
            raise ClusterError(
                f"{node} is not drained: nothing would make these pods anew: {', '.join(lonely)}. Delete or move them "
                "first, or run with drain off"
            )
        end = time.monotonic() + self.timeout
        asked: set[str] = set()
        while left := self._to_go(node):
            for pod in left:
                uid = pod["metadata"]["uid"]
                if uid not in asked and self.cluster.evict(pod):
                    asked.add(uid)
            if time.monotonic() > end:
                raise ClusterError(
                    f"{node} is not drained after {self.timeout:g} seconds; these pods are still there: "
                    f"{', '.join(_waiting_for(pod, asked) for pod in left)}"
                )
            if self.stop.wait(RETRY_SECONDS):
                raise StoppedError("the run was stopped while this node was drained; it is as before")

    def _to_go(self, node: str) -> list[dict[str, Any]]:
        """What must leave the node; a pod that is being deleted is waited for, one that has ended is not."""
        return [
            pod
            for pod in self.cluster.pods_on(node)
            if not is_daemons(pod)
            and not is_mirror(pod)
            and ("deletionTimestamp" in pod["metadata"] or not is_over(pod))
        ]


def _waiting_for(pod: Mapping[str, Any], asked: set[str]) -> str:
    why = "is ending" if pod["metadata"]["uid"] in asked else "its PodDisruptionBudget allows no eviction"
    return f"{name_of(pod)} ({why})"
