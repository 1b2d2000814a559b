"""Cordon and drain a node before its kubelet is changed, and uncordon it afterwards, whatever happened.

As `kubectl drain --ignore-daemonsets --delete-emptydir-data` does, with evictions, which respect
PodDisruptionBudgets. Pods of DaemonSets and mirror pods stay. A pod that nothing would recreate ends the drain
before any other is evicted.

A node that is cordoned here gets two annotations: by which run, and when. Only that cordon is removed again.
A later one, of a person who had uncordoned the node, is told by its time: from 1.12 on, the node lifecycle controller
gives a cordoned node a taint with the time when it was added, and takes that away when the node is uncordoned
(TaintNodesByCondition; SwapNodeControllerTaint in pkg/controller/util/node). Where there is no such taint, the first
annotation alone counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from kubeharden.edges.ports import ApiPort, Clock
from kubeharden.errors import ClusterError, StaleError, StoppedError
from kubeharden.kube.manifests import annotations_of, controller_of
from kubeharden.kube.names import UNSCHEDULABLE
from kubeharden.kube.pods import is_ending, is_mirror, is_of_daemon_set, is_over, name_of
from kubeharden.plan.event import Listener
from kubeharden.plan.events import Cordoned, Drained, LeftCordoned, Uncordoned
from kubeharden.releases import Release, feature
from kubeharden.rollout.interrupts import Stop

CORDONED_BY = "kubeharden/cordoned-by"  # the annotation with the run that cordoned the node
CORDONED_AT = "kubeharden/cordoned-at"  # the one with the time of the taint that came of it
TAINT_SECONDS = 3.0  # how long the controller may take
RETRY_SECONDS = 1.0
STALE_RETRIES = 20  # a kubelet writes its node's status in between
UNCORDON_SECONDS = 60.0  # how long it is tried
_ENDING = "is ending"


class Drain:
    """Cordons, drains and uncordons nodes for one run.

    Args:
        timeout: how many seconds draining one node may take.

    Attributes:
        stuck: by node, why it could not be uncordoned after it was drained.
        recordoned: the nodes that stay cordoned, because somebody cordoned them again after a run did.
    """

    def __init__(
        self, cluster: ApiPort, clock: Clock, run: str, timeout: float, stop: Stop, emit: Listener
    ) -> None:
        self.cluster, self.clock, self.run, self.timeout = cluster, clock, run, timeout
        self.stop, self.emit = stop, emit
        self.stuck: dict[str, ClusterError] = {}
        self.recordoned: list[str] = []

    @contextmanager
    def of(self, node: str) -> Iterator[None]:
        """Cordon and drain a node in this context, and uncordon it afterwards if it was not cordoned before.

        A node that cannot be uncordoned is in ``stuck`` afterwards, and hides nothing of what else went wrong, or well.

        Raises:
            ClusterError: it cannot be drained in time; the message names the pods that are left.
            StoppedError: the run is to end.
        """
        try:
            self._cordon(node)
            self._evict_all(node)
            self.emit(Drained(node))
            yield
        finally:
            try:
                self.uncordon(node)
            except ClusterError as error:
                self.stuck[node] = error

    def uncordon(self, node: str) -> bool:
        """Uncordon a node that a run had cordoned; any other is left as it is.

        It is tried for a minute. A node that somebody has uncordoned since, or cordoned again, only loses its marks.

        Returns:
            Whether it was cordoned by a run until now.

        Raises:
            ClusterError: the server refuses, or cannot be reached; the message has the command that is left to do.
        """
        end = self.clock.monotonic() + UNCORDON_SECONDS
        is_ours = False
        while True:
            try:
                item = self.cluster.get("Node", node)
                if item is None or CORDONED_BY not in annotations_of(item):
                    break  # it never was, or only the answer to what was asked is lost
                is_ours = _is_cordoned(item) and annotations_of(item).get(CORDONED_AT) in (
                    None,
                    _tainted_at(item),
                )
                wanted = {"unschedulable": None} if is_ours else {}
                if self._patch(item, wanted, {CORDONED_BY: None, CORDONED_AT: None}):
                    self.recordoned += [node] if _is_cordoned(item) and not is_ours else []
                    break
                problem = "it changes too often"
            except ClusterError as error:
                problem = str(error)
            if self.clock.monotonic() > end:
                raise ClusterError(f"{node} could not be uncordoned: {problem}. Run: kubectl uncordon {node}")
            self.clock.sleep(RETRY_SECONDS)
        if is_ours:
            self.emit(Uncordoned(node))
        elif node in self.recordoned:
            self.emit(LeftCordoned(node))
        return is_ours

    def marks(self) -> list[str]:
        """Return the nodes with the mark of a run: it goes on, or was killed, or could not uncordon them."""
        return [
            item["metadata"]["name"]
            for item in self.cluster.items("Node")
            if CORDONED_BY in annotations_of(item)
        ]

    def _cordon(self, node: str) -> None:
        """Cordon a node and mark it; one that is cordoned already stays as it is."""
        for _ in range(STALE_RETRIES):
            item = self._node(node)
            if _is_cordoned(item):
                return
            if self._patch(item, {"unschedulable": True}, {CORDONED_BY: self.run, CORDONED_AT: None}):
                self.emit(Cordoned(node))
                self._note_time(node)
                return
        raise ClusterError(f"{node} cannot be cordoned: it changes too often")

    def _note_time(self, node: str) -> None:
        """Write when the controller saw this cordon, which tells it from a later one."""
        if not feature("taint of cordoned nodes").in_release(Release.parse(self.cluster.version())):
            return
        end = self.clock.monotonic() + TAINT_SECONDS
        while self.clock.monotonic() < end and not self.clock.wait(self.stop, RETRY_SECONDS / 10):
            item = self._node(node)
            added = _tainted_at(item)
            if added and self._patch(item, {}, {CORDONED_AT: added}):
                return

    def _patch(self, item: Mapping[str, Any], spec: Mapping[str, Any], marks: Mapping[str, Any]) -> bool:
        """Write all at once over what was read; return False where somebody else wrote meanwhile."""
        meta = {"resourceVersion": item["metadata"]["resourceVersion"], "annotations": marks}
        try:
            self.cluster.patch("Node", item["metadata"]["name"], {"metadata": meta, "spec": spec})
        except StaleError:
            return False
        return True

    def _node(self, node: str) -> dict[str, Any]:
        item = self.cluster.get("Node", node)
        if item is None:
            raise ClusterError(f"the API has no Node {node}")
        return item

    def _evict_all(self, node: str) -> None:
        unmanaged = [
            name_of(pod) for pod in self._to_go(node) if controller_of(pod) is None and not is_ending(pod)
        ]
        if unmanaged:
            raise ClusterError(
                f"{node} is not drained: nothing would recreate these pods: {', '.join(unmanaged)}. Delete or move "
                "them first, or run with drain off"
            )
        end = self.clock.monotonic() + self.timeout
        waiting_for: dict[str, str] = {}  # by uid: why a pod is still there
        while left := self._to_go(node):
            for pod in left:
                uid = pod["metadata"]["uid"]
                if is_ending(pod):
                    waiting_for[uid] = _ENDING
                elif waiting_for.get(uid) != _ENDING and self.clock.monotonic() <= end:
                    waiting_for[uid] = self.cluster.evict(pod) or _ENDING
            if self.clock.monotonic() > end:
                pods = ", ".join(
                    f"{name_of(pod)} ({waiting_for.get(pod['metadata']['uid'], 'not asked yet')})"
                    for pod in left
                )
                raise ClusterError(
                    f"{node} is not drained after {self.timeout:g} seconds; these pods are still there: {pods}"
                )
            if self.clock.wait(self.stop, RETRY_SECONDS):
                raise StoppedError("the run was stopped while this node was drained; it is as before")

    def _to_go(self, node: str) -> list[dict[str, Any]]:
        """Return the pods that must leave the node: those that have not ended, and those that are being deleted."""
        return [
            pod
            for pod in self.cluster.pods_on(node)
            if not is_of_daemon_set(pod) and not is_mirror(pod) and (is_ending(pod) or not is_over(pod))
        ]


def _is_cordoned(node: Mapping[str, Any]) -> bool:
    return bool(node.get("spec", {}).get("unschedulable"))


def _tainted_at(node: Mapping[str, Any]) -> str:
    """Return when a node got the taint of a cordoned one; empty where it has none, or none with a time."""
    taints = node.get("spec", {}).get("taints") or ()
    return next((str(taint.get("timeAdded") or "") for taint in taints if taint["key"] == UNSCHEDULABLE), "")
