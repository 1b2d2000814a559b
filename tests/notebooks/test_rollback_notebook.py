"""What a run changed is put back, byte for byte, and what somebody else changed since is not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.edges.nodes.units import node_files
from kubeharden.errors import MigrationRefusedError, ParameterError, RecordError, StaleError
from kubeharden.records.folder import read_run
from kubeharden.runs.kinds.rollback import check_past
from kubeharden_rehearsal import Rehearsal
from rolling import fails, planned_run
from support import ROOT, Papermill

DNS = "10.0.0.10"


def files_of(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Mode and content of every file in the nodes' /etc, without the units that stay there between runs."""
    units = {place for path in node_files("") for place in folder.glob(f"nodes/*/{path}")}
    return {
        str(path.relative_to(folder)): (path.stat().st_mode, path.read_bytes())
        for path in folder.glob("nodes/*/etc/**/*")
        if path.is_file() and not path.is_symlink() and path not in units
    }


def decided(folder: Path) -> dict[tuple[str, ...], object]:
    """What people decide of the objects that the runbook writes."""
    kinds = ("PodSecurityPolicy", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding", "Namespace")
    return {
        (item["kind"], item["metadata"].get("namespace", ""), item["metadata"]["name"]): (
            item.get("spec") if item["kind"] != "Namespace" else item["metadata"].get("labels"),
            item.get("rules"),
            item.get("subjects"),
        )
        for item in json.loads((folder / "cluster.json").read_text())["items"]
        if item["kind"] in kinds
    }


@pytest.fixture(params=["article-1.10"])
def hardened(
    request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[tuple[Rehearsal, Path, dict[str, tuple[int, bytes]], dict[tuple[str, ...], object]]]:
    """A hardened rehearsal, the folder of the run that did it, and what was there before."""
    folder = tmp_path / "rehearsal"
    Rehearsal.start(request.param, folder).stop()
    files, objects = files_of(folder), decided(folder)
    with Rehearsal.start(request.param, folder) as rehearsal:
        accepted = ["shop/web"] if request.param == "handbuilt-1.20" else []
        run = planned_run(rehearsal, tmp_path / "records", dns_ip=DNS, accept_breaking=accepted)
        for step in run.parameters.steps:
            run.apply(step)
        run.prove()
        run.finish()
        assert files_of(folder) != files
        yield rehearsal, run.record.folder, files, objects


@pytest.fixture
def roll_back(tmp_path: Path) -> Iterator[Callable[..., runbook.Run]]:
    """Start a rollback that has looked and planned."""
    runs: list[runbook.Run] = []

    def begun(rehearsal: Rehearsal, record: Path, **given: object) -> runbook.Run:
        given |= {
            "In": [""],
            "record": str(record),
            "inventory": str(rehearsal.inventory),
            "output_dir": str(tmp_path / "rollbacks"),
        }
        runs.append(runbook.start(given, "rollback"))
        runs[-1].check()
        runs[-1].look()
        runs[-1].plan()
        return runs[-1]

    yield begun
    for run in runs:
        run.close()


@pytest.mark.parametrize("hardened", ["article-1.10", "handbuilt-1.20", "psp-1.23"], indirect=True)
def test_everything_is_as_it_was_and_a_second_time_finds_nothing_to_do(
    hardened: tuple, roll_back: Callable[..., runbook.Run]
) -> None:
    rehearsal, record, files, objects = hardened
    run = roll_back(rehearsal, record, batch_size="50%")
    run.show_all()
    run.roll_back()
    assert "✘" not in str(run.prove())
    run.finish()
    assert files_of(rehearsal.directory) == files
    again = roll_back(rehearsal, record)
    assert "There is nothing to do" in str(again.plan())
    assert "nothing was changed, nothing restarted" in str(again.roll_back())
    again.finish()
    rehearsal.stop()
    assert decided(rehearsal.directory) == objects


def test_mode_plan_shows_and_changes_nothing(hardened: tuple, roll_back: Callable[..., runbook.Run]) -> None:
    rehearsal, record, _, _ = hardened
    before = files_of(rehearsal.directory)
    run = roll_back(rehearsal, record, mode="plan")
    assert "remove /etc/kubernetes/kubelet.conf" in str(run.plan())
    assert "was not carried out" in str(run.roll_back())
    assert "Nothing has changed" in str(run.prove())
    run.finish()
    assert files_of(rehearsal.directory) == before


def test_what_somebody_else_changed_since_is_refused_with_the_difference(
    hardened: tuple, roll_back: Callable[..., runbook.Run]
) -> None:
    rehearsal, record, _, _ = hardened
    path = rehearsal.directory / "nodes/k8s-node1/etc/kubernetes/kubelet.conf"
    path.write_text(path.read_text() + "maxPods: 42\n")
    before = files_of(rehearsal.directory)
    run = roll_back(rehearsal, record)
    with pytest.raises(MigrationRefusedError, match="changed since by somebody else") as error:
        run.roll_back()
    assert "+maxPods: 42" in str(error.value)
    assert files_of(rehearsal.directory) == before


def test_another_cluster_of_the_same_name_is_left_alone(
    hardened: tuple, roll_back: Callable[..., runbook.Run]
) -> None:
    """Files and objects to the letter as that run left them, on a cluster that it never saw."""
    rehearsal, record, _, _ = hardened
    rehearsal.stop()
    path = rehearsal.directory / "cluster.json"
    content = json.loads(path.read_text())
    [meta] = [i["metadata"] for i in content["items"] if i["metadata"]["name"] == "kube-system"]
    was, meta["uid"] = meta["uid"], "11111111-2222-3333-4444-555555555555"
    path.write_text(json.dumps(content))
    with Rehearsal.start("article-1.10", rehearsal.directory) as other:
        before = files_of(other.directory)
        run = roll_back(other, record)
        with pytest.raises(
            MigrationRefusedError,
            match=f"cluster article-1.10: is another cluster than .*{meta['uid']}, and that one's had {was}",
        ):
            run.roll_back()
        assert files_of(other.directory) == before
        run.close()


def test_an_object_that_somebody_changed_since_is_refused_with_the_difference(
    tmp_path: Path, roll_back: Callable[..., runbook.Run]
) -> None:
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        run = planned_run(rehearsal, tmp_path / "records", steps=["pod-security"])
        run.apply("pod-security")
        run.finish()
        back = roll_back(rehearsal, run.record.folder)
        role = back.cluster.get("Role", "psp:privileged", "weave")
        assert role is not None
        role["rules"][0]["resourceNames"] = ["privileged", "another"]
        back.cluster.replace(role)
        back.look()
        assert "Role weave/psp:privileged: was changed since by somebody else" in str(back.plan())
        with pytest.raises(MigrationRefusedError, match=r"\+  - another"):
            back.roll_back()
        found = back.cluster.get("Role", "psp:privileged", "weave")
        assert found is not None
        assert found["rules"][0]["resourceNames"] == ["privileged", "another"]


def test_what_somebody_else_had_made_first_is_left_alone(
    tmp_path: Path, roll_back: Callable[..., runbook.Run]
) -> None:
    """The run meant to create the very same object, and was refused: it is not the run's to delete."""
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        run = planned_run(rehearsal, tmp_path / "records", steps=["pod-security"])
        theirs = run.current_plan.object_changes[0].manifest
        run.cluster.create(dict(theirs))
        with fails(StaleError, match="already exists"):
            run.apply("pod-security")
        run.close()
        back = roll_back(rehearsal, run.record.folder)
        back.roll_back()
        assert back.cluster.get(theirs["kind"], theirs["metadata"]["name"]) is not None


def test_a_rollback_can_be_rolled_back(tmp_path: Path, roll_back: Callable[..., runbook.Run]) -> None:
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        files = files_of(rehearsal.directory)
        run = planned_run(rehearsal, tmp_path / "records", dns_ip=DNS, steps=["kubelet", "kube-scheduler"])
        for step in run.parameters.steps:
            run.apply(step)
        run.finish()
        hard = files_of(rehearsal.directory)
        first = roll_back(rehearsal, run.record.folder)
        first.roll_back()
        first.finish()
        assert files_of(rehearsal.directory) == files
        second = roll_back(rehearsal, first.record.folder)
        second.roll_back()
        second.finish()
        assert files_of(rehearsal.directory) == hard


def test_a_record_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        given = {"In": [""], "inventory": str(rehearsal.inventory), "output_dir": str(tmp_path / "records")}
        with pytest.raises(ParameterError, match="record: '' is empty"):
            runbook.start(given, "rollback")
        with pytest.raises(RecordError, match="is not the record of a run"):
            runbook.start({**given, "record": str(tmp_path)}, "rollback")
        other = planned_run(rehearsal, tmp_path / "records", mode="plan")
        with pytest.raises(ParameterError, match="still goes on"):
            check_past(read_run(other.record.folder), "article-1.10")
        other.finish()
        with pytest.raises(
            ParameterError, match=r"is a run on article-1\.10, and the inventory is of elsewhere"
        ):
            check_past(read_run(other.record.folder), "elsewhere")


def test_the_notebook_itself(tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    Rehearsal.start("article-1.10", folder).stop()
    files = files_of(folder)
    hard = Papermill(tmp_path)("-p", "dns_ip", DNS, "-p", "steps", "kubelet", rehearsal_dir=str(folder))
    assert hard.status == 0, hard.output
    [record] = hard.records.iterdir()
    back = Papermill(tmp_path, "rollback.ipynb")(
        rehearsal_dir=str(folder), record=str(record), output_dir=str(tmp_path / "rollbacks"), cwd=ROOT
    )
    assert back.status == 0, back.output
    assert files_of(folder) == files
    assert "Carried out: kubelet" in back.shown("run.finish()")
