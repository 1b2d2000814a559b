"""Objects through the kubernetes client, against a rehearsal cluster: what goes, and what is warned of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.cluster.cluster import MOST_CONFIG_MAPS
from kubeharden.errors import ClusterError, StaleError
from kubeharden.facts import ClusterFacts, ConfigMapPorts, Facts
from kubeharden.plan import ObjectChange, Plan
from kubeharden.plan.proof import compare
from kubeharden.podsecurity.levels import with_labels
from rehearsals import Rehearsals


@pytest.fixture(scope="module")
def cluster(rehearsals: Rehearsals) -> Iterator[Cluster]:
    made = Cluster(str(rehearsals.fresh("containerd-1.25").directory / "admin.kubeconfig"))
    yield made
    made.close()


def one(cluster: Cluster, kind: str, plural: str, name: str) -> dict:
    [found] = [item for item in cluster.observe([kind]).of(plural) if item["metadata"]["name"] == name]
    return dict(found)


def a_role(name: str, *verbs: str) -> dict:
    return {
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "Role",
        "metadata": {"name": name, "namespace": "weave"},
        "rules": [{"apiGroups": [""], "resources": ["pods"], "verbs": [*verbs]}],
    }


def problems(before: ClusterFacts, after: ClusterFacts, change: ObjectChange) -> tuple[str, ...]:
    plan = Plan(steps=("pod-security",), object_changes=(change,))
    return compare(Facts((), before), Facts((), after), plan, applied=True).problems


def test_an_object_is_deleted_once_and_that_is_proved(cluster: Cluster) -> None:
    cluster.apply(ObjectChange("pod-security", a_role("spare", "get")))
    before = cluster.observe()
    change = ObjectChange.deletion("pod-security", one(cluster, "Role", "roles", "spare"))
    assert problems(before, cluster.observe(), change) == ("Role weave/spare is still there",)
    cluster.apply(change)
    assert problems(before, cluster.observe(), change) == ()
    cluster.apply(change)  # gone already: that is what was wanted


def test_the_diff_of_a_deletion_shows_what_goes() -> None:
    change = ObjectChange.deletion("pod-security", {**a_role("spare", "get"), "status": {}})
    assert (change.action, change.name) == ("delete", "Role weave/spare")
    assert change.diff.startswith("--- Role weave/spare (before)\n+++ /dev/null\n")
    assert "-  - get\n" in change.diff
    assert "rules" not in change.manifest


def test_what_the_server_warns_of_comes_back_and_other_labels_stay(cluster: Cluster) -> None:
    seen = one(cluster, "Namespace", "namespaces", "weave")
    wanted = with_labels(seen, {"enforce": "baseline", "enforce-version": "v1.25"})
    warnings = cluster.apply(ObjectChange("pod-security", wanted, seen)).warnings
    assert warnings[0] == (
        'existing pods in namespace "weave" violate the new PodSecurity enforce level "baseline:v1.25"'
    )
    assert warnings[1].startswith("weave-scope-agent-")
    assert "(and 1 other pod): host namespaces, hostPath volumes, privileged" in warnings[1]
    labels = one(cluster, "Namespace", "namespaces", "weave")["metadata"]["labels"]
    assert labels["kubernetes.io/metadata.name"] == "weave"
    assert labels["pod-security.kubernetes.io/enforce"] == "baseline"
    with pytest.raises(StaleError):
        cluster.apply(ObjectChange("pod-security", wanted, seen))


def test_of_config_maps_the_ports_alone_are_kept(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    meta = {"namespace": "weave", "name": "scrape"}
    said = {"prometheus.yml": "password: hunter2\nreplacement: '$1:10255'\n", "other": "110250"}
    cluster.create({"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "data": said})
    names = [("weave", "none"), ("weave", "scrape"), ("kube-system", "gone")]
    found = cluster.ports_in_config_maps(names, {10250, 10255})
    assert found == ConfigMapPorts({("weave", "scrape"): frozenset({10255})})
    many = cluster.ports_in_config_maps(
        [*names, *[("weave", f"m{n}") for n in range(MOST_CONFIG_MAPS)]], {10255}
    )
    assert many == ConfigMapPorts(found.named, f"3 of {MOST_CONFIG_MAPS + 3} of workloads were not read")

    def refuse(*_: object) -> None:
        raise ClusterError("403: forbidden")

    monkeypatch.setattr(cluster, "get", refuse)
    assert cluster.ports_in_config_maps(names, {10255}).unread == (
        "those of workloads were not all read (403: forbidden)"
    )


@pytest.mark.parametrize("name", ["a/b", "..", ".", "a%2fb", "../../secrets/x", ""])
def test_a_name_that_leads_elsewhere_is_refused(cluster: Cluster, name: str) -> None:
    """Nothing is asked of the server, and least of all to delete what a shorter path stands for."""
    item = {**a_role(name, "get"), "metadata": {"name": name, "namespace": "weave", "uid": "x"}}
    for act in (
        lambda: cluster.get("Role", name, "weave"),
        lambda: cluster.delete(item),
        lambda: cluster.replace(item),
        lambda: cluster.patch("Role", name, {}, "weave"),
        lambda: cluster.node_status(name),
        lambda: cluster.evict({"metadata": {"name": name, "namespace": "weave", "uid": "x"}}),
        *([lambda: cluster.get("Role", "a", name), lambda: cluster.items("Role", name)] if name else []),
    ):
        with pytest.raises(ClusterError, match="cannot be the name of an object"):
            act()
    assert cluster.kubelet_config(name) is None


@pytest.mark.parametrize("name", ["a b?limit=1#x", "system:a@b", "é;=,$&'()*+!~", "a..b", "\ud800"])
def test_a_name_is_a_part_of_the_path_as_it_is(cluster: Cluster, name: str) -> None:
    assert cluster.get("Role", name, "weave") is None
