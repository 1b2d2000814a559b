"""Who breaks, on a rehearsal cluster: what the runbook foretells is what its API server then does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.edges.cluster import Cluster
from kubeharden.errors import MigrationRefusedError
from kubeharden.inputs.inventory import read_inventory
from kubeharden.plan import ObjectChange
from kubeharden_rehearsal import Rehearsal
from support import MINER, wait_until


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A rehearsal cluster with an ordinary Deployment and a privileged one, that no policy is for."""
    place = tmp_path / "rehearsal"
    with Rehearsal.start("handbuilt-1.20", place) as rehearsal:
        cluster = Cluster(read_inventory(rehearsal.inventory).kubeconfig)
        cluster.apply(ObjectChange("", MINER))
        wait_until(lambda: len(pods_of(cluster, "miner")) == 1)
        cluster.close()
    return place


def pods_of(cluster: Cluster, app: str) -> list[dict]:
    pods = cluster.observe(["Pod"]).of("pods")
    return [dict(pod) for pod in pods if (pod["metadata"].get("labels") or {}).get("app") == app]


def policies_in_force(cluster: Cluster) -> dict[str, str]:
    """By which policy the pods of each Deployment and DaemonSet are there."""
    found = {}
    for pod in cluster.observe(["Pod"]).of("pods"):
        owner, labels = pod["metadata"]["ownerReferences"][0]["name"], pod["metadata"]["labels"]
        name = owner.removesuffix(f"-{labels.get('pod-template-hash')}")
        found[name] = pod["metadata"].get("annotations", {}).get("kubernetes.io/psp", "")
    return found


@pytest.fixture
def run(folder: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[runbook.Run]:
    """A run that has looked and planned; parametrized with its parameters."""
    names = {
        "rehearsal": "handbuilt-1.20",
        "rehearsal_dir": str(folder),
        "output_dir": str(tmp_path / "records"),
    }
    made = runbook.start({"In": [""], "steps": ["pod-security"], **names, **request.param})
    made.look()
    made.plan()
    yield made
    made.close()


def breaking(run: runbook.Run) -> list[str]:
    """The first column of the rows of the table that say so."""
    table = str(run.impact()).partition("Who breaks")[2]
    return [line.split("  ")[0] for line in table.splitlines() if "WILL NOT START" in line]


@pytest.mark.parametrize(
    ("run", "named"),
    [
        ({"mode": "plan"}, ["Deployment shop/web", "Deployment shop/miner"]),
        ({"mode": "plan", "default_policy": "baseline"}, ["Deployment shop/miner"]),
    ],
    indirect=["run"],
)
def test_the_table_names_what_breaks_and_nothing_else(run: runbook.Run, named: list[str]) -> None:
    assert breaking(run) == named


@pytest.mark.parametrize(
    ("run", "named"),
    [
        ({}, ["shop/web", "shop/miner"]),
        ({"accept_breaking": "[shop/web]"}, ["shop/miner"]),
        ({"default_policy": "baseline"}, ["shop/miner"]),
    ],
    indirect=["run"],
)
def test_nothing_is_switched_on_while_something_would_break(run: runbook.Run, named: list[str]) -> None:
    before = run.cluster.observe(["PodSecurityPolicy", "RoleBinding", "ClusterRoleBinding"])
    with pytest.raises(MigrationRefusedError, match="nothing was changed") as error:
        run.apply("pod-security")
    for name in ("shop/web", "shop/miner"):
        assert (f"Deployment {name} (" in str(error.value)) == (name in named)
    assert run.cluster.observe(["PodSecurityPolicy", "RoleBinding", "ClusterRoleBinding"]) == before


@pytest.mark.parametrize(
    "run", [{"default_policy": "baseline", "accept_breaking": ["Deployment shop/miner"]}], indirect=True
)
def test_what_was_foretold_is_what_happens(run: runbook.Run) -> None:
    foretold = {str(j): j.policy for j in run.current_plan.impacts[0].judged}
    assert "carried out" in str(run.apply("pod-security"))
    for pod in run.cluster.observe(["Pod"]).of("pods"):
        meta = pod["metadata"]
        run.cluster._client.call("DELETE", f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}")
    wanted = {name.partition("/")[2]: policy for name, policy in foretold.items() if policy}
    wait_until(lambda: policies_in_force(run.cluster) == wanted)
    assert foretold["Deployment shop/miner"] == ""
