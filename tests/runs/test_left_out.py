"""One service that cannot be changed does not stop the others, and everything says that it was left as it is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World, planned
from kubeharden.errors import MigrationRefusedError
from kubeharden.records.folder import read_run
from kubeharden.records.summary import build_record, check_form

WHY = "--port: 0 switches the server off, which the file cannot say"


@pytest.fixture
def world() -> World:
    """A cluster whose kube-scheduler has ``--port=0``."""
    world = World("article-1.10")
    machine = world.machines["k8s-master"]
    service = machine.facts.services["kube-scheduler"]
    path = service.show["FragmentPath"]
    fact = service.files[path]
    assert "--kubeconfig=" in fact.content
    changed = {
        **service.files,
        path: replace(fact, content=fact.content.replace("--kubeconfig=", "--port=0 --kubeconfig=")),
    }
    service = replace(service, files=changed)
    service = replace(service, cmdline=tuple(service.unit_argv()))
    machine.facts = replace(machine.facts, services={**machine.facts.services, "kube-scheduler": service})
    return world


def test_the_others_go_on(world: World, tmp_path: Path) -> None:
    run = planned(world, tmp_path)
    before = world.machines["k8s-master"].facts.services["kube-scheduler"]
    left = f"kube-scheduler on k8s-master is left as it is, and the others go on without it: {WHY}"
    assert left in str(run.plan())
    for step in run.kind.steps:
        shown = str(run.apply(step))
        assert (left in shown) == (step == "kube-scheduler")
        assert ("carried out, proved and confirmed" in shown) == (step != "kube-scheduler")
    run.look()
    assert f"kube-scheduler on k8s-master was left as it is: {WHY}" in str(run.prove())
    end = str(run.finish())
    assert left in end
    assert world.machines["k8s-master"].facts.services["kube-scheduler"] == before
    assert (
        "--config=/etc/kubernetes/kubelet.conf"
        in world.machines["k8s-node1"].facts.services["kubelet"].cmdline
    )
    record = build_record(read_run(run.record.folder))
    check_form(record)
    assert record["result"] == "partly done"
    [row] = record["not_done"]
    assert (row["step"], row["subject"]) == ("kube-scheduler", "kube-scheduler on k8s-master")
    assert WHY in row["why"]


def test_a_second_run_finds_nothing_to_do_but_for_that(world: World, tmp_path: Path) -> None:
    first = planned(world, tmp_path)
    for step in first.kind.steps:
        first.apply(step)
    first.finish()
    again = planned(world, tmp_path)
    assert "everything is as it should be" not in str(again.plan())
    assert "is left as it is" in str(again.apply("kube-scheduler"))
    assert "Nothing else had to be done" in str(again.finish())


def test_where_all_is_refused_nothing_is_done(world: World, tmp_path: Path) -> None:
    run = planned(world, tmp_path, steps=["kube-scheduler"])
    assert "go on without it" not in str(run.plan())
    with pytest.raises(MigrationRefusedError, match="nothing was changed"):
        run.apply("kube-scheduler")
    run.close()
