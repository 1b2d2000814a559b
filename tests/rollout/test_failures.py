"""What counts against ``max_failures``: nodes, each once, whatever is mended and however much fails there."""

from __future__ import annotations

from kubeharden.errors import ClusterError, NodeError
from kubeharden.rollout.failures import Failures


def test_a_node_counts_once_however_much_fails_there() -> None:
    failures = Failures()
    failures.add("kubelet on n1", NodeError("no"), "n1")
    failures.add("kube-proxy on n1", NodeError("no"), "n1")
    failures.add("uncordoning n1", ClusterError("no"), "n1")
    assert failures.count == 1
    failures.add("kubelet on n2", NodeError("no"), "n2")
    assert failures.count == 2


def test_an_object_is_no_node() -> None:
    failures = Failures()
    failures.add("PodSecurityPolicy privileged", ClusterError("no"))
    assert (failures.count, list(failures.left)) == (0, ["PodSecurityPolicy privileged"])


def test_what_is_mended_is_not_left_and_its_node_still_counts() -> None:
    failures = Failures()
    failures.add("kubelet on n1", NodeError("no"), "n1")
    failures.repair(["kubelet on n1", "kube-proxy on n1"])
    assert (failures.count, failures.left) == (1, {})
    failures.add("kubelet on n1", NodeError("again"), "n1")
    assert (failures.count, list(failures.left)) == (1, ["kubelet on n1"])
