"""Objects through the kubernetes client, against the HTTP API of a rehearsal cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden.cluster import Cluster
from kubeharden.errors import StaleError
from kubeharden.facts import ClusterFacts, Facts
from kubeharden.inventory import read_inventory
from kubeharden.plan import ObjectChange, Plan
from kubeharden.proof import compare
from kubeharden.rehearsal import Rehearsal


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        made = Cluster(read_inventory(rehearsal.inventory).kubeconfig)
        yield made
        made.close()


def role(cluster: Cluster, name: str) -> dict:
    [found] = [item for item in cluster.observe(["Role"]).of("roles") if item["metadata"]["name"] == name]
    return dict(found)


def a_role(*verbs: str) -> dict:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": "spare", "namespace": "weave"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [*verbs]}],
    }


def proof(before: ClusterFacts, after: ClusterFacts, change: ObjectChange) -> tuple[str, ...]:
    plan = Plan(steps=("pod-security",), object_changes=(change,))
    return compare(Facts((), before), Facts((), after), plan, applied=True).problems


def test_an_object_is_deleted_once_and_that_is_proved(cluster: Cluster) -> None:
    cluster.apply(ObjectChange("pod-security", a_role("get")))
    before = cluster.observe()
    change = ObjectChange.deletion("pod-security", role(cluster, "spare"))
    assert proof(before, cluster.observe(), change) == ("Role weave/spare is still there",)
    cluster.apply(change)
    assert proof(before, cluster.observe(), change) == ()
    cluster.apply(change)  # gone already: that is what was wanted


def test_an_object_that_somebody_changed_since_is_not_deleted(cluster: Cluster) -> None:
    cluster.apply(ObjectChange("pod-security", a_role("get")))
    seen = role(cluster, "spare")
    cluster.apply(ObjectChange("pod-security", {**seen, "rules": a_role("list")["rules"]}, seen))
    with pytest.raises(StaleError, match=r"Role weave/spare: .*Somebody else changed it"):
        cluster.apply(ObjectChange.deletion("pod-security", seen))
    assert role(cluster, "spare")["rules"] == a_role("list")["rules"]


def test_the_diff_of_a_deletion_shows_what_goes() -> None:
    change = ObjectChange.deletion("pod-security", {**a_role("get"), "status": {}})
    assert (change.action, change.name) == ("delete", "Role weave/spare")
    assert change.diff.startswith("--- Role weave/spare (before)\n+++ /dev/null\n")
    assert "-  - get\n" in change.diff
    assert "rules" not in change.manifest
