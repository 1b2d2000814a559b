"""Who breaks, on a cluster of this process: what the runbook foretells is what its API server then does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import World, planned
from kubeharden import runbook
from kubeharden.edges.ports import ApiPort
from kubeharden.errors import MigrationRefusedError
from kubeharden.plan import ObjectChange
from support import MINER


@pytest.fixture
def world() -> World:
    """A cluster with an ordinary Deployment and a privileged one, that no policy is for."""
    made = World("handbuilt-1.20")
    made.ports().cluster.apply(ObjectChange("", MINER))
    made.clock.sleep(1.0)
    return made


def policies_in_force(cluster: ApiPort) -> dict[str, str]:
    """By which policy the pods of each Deployment and DaemonSet are there."""
    found = {}
    for pod in cluster.observe(["Pod"]).of("pods"):
        owner, labels = pod["metadata"]["ownerReferences"][0]["name"], pod["metadata"]["labels"]
        name = owner.removesuffix(f"-{labels.get('pod-template-hash')}")
        found[name] = pod["metadata"].get("annotations", {}).get("kubernetes.io/psp", "")
    return found


@pytest.fixture
def run(world: World, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[runbook.Run]:
    """A run that has looked and planned; parametrized with its parameters."""
    made = planned(world, tmp_path, steps=["pod-security"], **request.param)
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
    assert "Smallest change that would admit it" in str(run.impact())


def test_where_nothing_breaks_the_table_has_no_columns_for_reasons(tmp_path: Path) -> None:
    good = planned(World("article-1.10"), tmp_path / "good", steps=["pod-security"], dns_ip="10.0.0.10")
    assert "once the admission plugin PodSecurityPolicy is on: nobody" in str(good.impact())
    assert "Smallest change" not in str(good.impact())
    good.close()


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
def test_what_was_foretold_is_what_happens(world: World, run: runbook.Run) -> None:
    foretold = {str(j): j.policy for j in run.current_plan.impacts[0].judged}
    assert "carried out" in str(run.apply("pod-security"))
    for pod in run.cluster.observe(["Pod"]).of("pods"):
        run.cluster.delete(
            {"kind": "Pod", "metadata": {k: pod["metadata"][k] for k in ("namespace", "name")}}
        )
    world.clock.sleep(5.0)
    wanted = {name.partition("/")[2]: policy for name, policy in foretold.items() if policy}
    assert policies_in_force(run.cluster) == wanted
    assert foretold["Deployment shop/miner"] == ""
