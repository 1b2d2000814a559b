"""A kind of run is a module: one that is registered is started, walked, shown and recorded."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import World
from kubeharden import runbook
from kubeharden.errors import KubehardenError, ParameterError
from kubeharden.facts import Facts
from kubeharden.inputs.parameter_types import Text
from kubeharden.inputs.parameters import RunParameters
from kubeharden.plan import ObjectChange, Plan
from kubeharden.plan.events import Observed, RunStarted
from kubeharden.records.folder import read_run
from kubeharden.records.summary import build_record
from kubeharden.runs import kinds
from kubeharden.runs.kind import Backup, ChangeKind, Kind
from kubeharden.runs.verb import verb
from kubeharden.show.display import Message, View


class CensusParameters(RunParameters):
    namespace: Text = "kube-system"


@verb
def count(run: runbook.Run) -> View:
    """Count the pods of a namespace."""
    wanted = run.parameters.namespace
    pods = [pod for pod in run.facts.cluster.of("pods") if pod["metadata"]["namespace"] == wanted]
    return View([Message(f"{wanted} has {len(pods)} pods.")])


class Census(Kind[CensusParameters]):
    name = "census"
    parameters_model = CensusParameters
    verbs = (count,)


class Purge(ChangeKind):
    """Deletes the policies: a kind with a plan of its own."""

    name = "purge"
    steps = ("purge",)

    def make_plan(self, facts: Facts, backup: Backup) -> Plan:
        found = facts.cluster.of("podsecuritypolicies")
        changes = tuple(ObjectChange.deletion("purge", item) for item in found)
        return Plan(("purge",), object_changes=changes, cluster=facts.cluster.name)


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, object]:
    monkeypatch.setattr(kinds, "KINDS", (*kinds.KINDS, Census, Purge))
    return {"In": [""], "output_dir": str(tmp_path / "records")}


def test_a_registered_kind_that_only_looks_is_walked(given: dict[str, object], tmp_path: Path) -> None:
    world = World("article-1.10")
    given["inventory"] = str(world.inventory(tmp_path))
    run = runbook.start({**given, "namespace": "weave"}, "census", connect=world.ports)
    assert "none: it only looks" in str(run)
    assert "count" in dir(run)
    assert run.count.__doc__ == "Count the pods of a namespace."
    with pytest.raises(KubehardenError, match=r"run\.look\(\) first"):
        run.count()
    run.check()
    run.look()
    assert "weave has " in str(run.count())
    with pytest.raises(KubehardenError, match="census plans nothing: it only looks"):
        run.plan()
    with pytest.raises(AttributeError, match="a run of census has no roll_back"):
        run.roll_back()
    assert "this runbook only looks" in str(run.finish())
    with pytest.raises(KubehardenError, match="this run is over"):
        run.count()
    past = read_run(run.record.folder)
    assert past.folder.name.endswith("-census")
    start = past.last(RunStarted)
    assert start is not None
    assert (start.mode, start.steps, start.parameters["namespace"]) == ("plan", [], "weave")
    assert past.of(Observed)
    record = build_record(past)
    assert (record["result"], json.dumps(record)[:1]) == ("planned", "{")
    assert [error["verb"] for error in record["errors"]] == ["count", "plan"]


def test_a_registered_kind_with_a_plan_changes_what_it_plans(
    given: dict[str, object], tmp_path: Path
) -> None:
    world = World("psp-1.23")
    given["inventory"] = str(world.inventory(tmp_path))
    run = runbook.start({**given, "mode": "plan"}, "purge", connect=world.ports)
    run.look()
    assert "PodSecurityPolicy" in str(run.plan())
    assert "nothing was changed anywhere" in str(run.apply("purge"))
    run.close()
    run = runbook.start(given, "purge", connect=world.ports)
    run.look()
    run.plan()
    assert "carried out" in str(run.apply("purge"))
    assert run.cluster.observe(["PodSecurityPolicy"]).of("podsecuritypolicies") == ()
    run.prove()
    run.finish()
    assert build_record(read_run(run.record.folder))["result"] == "done"


def test_parameters_and_kinds_that_there_are_not_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(
        ParameterError, match="there is no kind of run 'hardn'; expected one of harden, rollback"
    ):
        runbook.start(given, "hardn")
    cell = "# Parameters\nmode = 'apply'\n"
    with pytest.raises(ParameterError, match="mode: there is no such parameter"):
        runbook.start({**given, "In": ["", cell], "mode": "apply"}, "census")
