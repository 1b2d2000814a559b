"""The verbs, called as an interactive notebook calls them: twice, out of order, and after the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fakes import World
from kubeharden import runbook
from kubeharden.edges.ports import Ports
from kubeharden.errors import KubehardenError, ParameterError, UnexpectedError
from kubeharden.inputs.inventory import Inventory
from kubeharden.redaction import Redactor
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals


@pytest.fixture
def namespace(tmp_path: Path, rehearsals: Rehearsals) -> dict[str, object]:
    return {"In": [""], "rehearsal_dir": str(tmp_path / "rehearsal"), "output_dir": str(tmp_path / "records")}


@pytest.fixture
def world() -> World:
    return World("article-1.10")


@pytest.fixture
def run(world: World, tmp_path: Path) -> Iterator[runbook.Run]:
    given = {"In": [""], "inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    made = runbook.start(given, connect=world.ports)
    yield made
    made.close()


def test_verbs_out_of_order_are_refused_with_a_sentence(run: runbook.Run) -> None:
    with pytest.raises(KubehardenError, match=r"run the cell with run\.look\(\) first"):
        run.plan()
    with pytest.raises(KubehardenError, match=r"run the cell with run\.plan\(\) first"):
        run.apply("kubelet")
    run.look()
    with pytest.raises(KubehardenError, match=r"run\.plan\(\) first"):
        run.prove()


def test_a_reason_with_a_password_of_the_run_is_refused(world: World, tmp_path: Path) -> None:
    def connect(inventory: Inventory, redactor: Redactor) -> Ports:
        redactor.remember("correct-horse-7")
        return world.ports(inventory, redactor)

    given = {"In": [""], "inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    with pytest.raises(ParameterError, match="reason: has what looks like a secret") as raised:
        runbook.start({**given, "reason": "log in with correct-horse-7"}, connect=connect)
    assert "correct-horse" not in str(raised.value)
    assert not (tmp_path / "records").exists()


def test_a_step_is_carried_out_once(run: runbook.Run) -> None:
    run.look()
    run.plan()
    assert "carried out, proved and confirmed" in str(run.apply("kube-proxy"))
    assert "was carried out in this run already" in str(run.apply("kube-proxy"))
    run.look()
    run.plan()
    assert "nothing was changed, nothing restarted" in str(run.apply("kube-proxy"))


def test_the_end_says_what_was_and_what_was_not_carried_out(run: runbook.Run) -> None:
    run.look()
    run.plan()
    run.apply("kube-scheduler")
    end = str(run.finish())
    assert "NOT carried out: kubelet, pod-security, kube-proxy" in end
    assert "Carried out: kube-scheduler" in end
    assert "kube-scheduler.conf" in end
    assert "kubelet.conf" not in end
    for verb in (run.look, run.plan, run.prove, run.finish):
        with pytest.raises(KubehardenError, match="this run is over"):
            verb()


def test_an_inventory_may_name_a_rehearsal_in_full(namespace: dict[str, object]) -> None:
    run = runbook.start({**namespace, "inventory": "rehearsal:psp-1.23", "mode": "plan"})
    run.close()
    assert run.inventory.cluster == "psp-1.23"
    assert "this one" in next(line for line in str(run).splitlines() if "psp-1.23 " in line)


def test_the_runbook_loads_the_rehearsal_only_for_a_run() -> None:
    code = "import sys, kubeharden.runbook; sys.exit('kubeharden_rehearsal' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


def test_starting_again_ends_the_run_before(namespace: dict[str, object], tmp_path: Path) -> None:
    first = runbook.start(namespace)
    second = runbook.start({**namespace, "mode": "plan"})  # the same folder: the first one let go of it
    assert second.parameters.mode == "plan"
    second.close()
    first.close()
    assert len(list((tmp_path / "records").iterdir())) == 2


def test_a_broken_start_leaves_no_rehearsal_running(namespace: dict[str, object], tmp_path: Path) -> None:
    (tmp_path / "records").write_text("a file where a folder must be")
    with pytest.raises(ParameterError, match="output_dir: cannot write records"):
        runbook.start(namespace)
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal"):
        pass  # the folder is free again


def test_an_unexpected_error_is_shown_without_secrets(
    run: runbook.Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise RuntimeError("cannot parse token: abcdef.0123456789abcdef")

    monkeypatch.setattr(run.nodes, "observe", fails)
    with pytest.raises(UnexpectedError) as error:
        run.look()
    assert "abcdef.0123456789abcdef" not in str(error.value)
    assert "RuntimeError: cannot parse token" in str(error.value)
    assert "in fails" in str(error.value)


def test_the_record_is_private_and_holds_plan_and_journal(run: runbook.Run) -> None:
    run.look()
    run.plan()
    folder = run.record.folder
    assert oct(folder.stat().st_mode)[-3:] == "700"
    assert {path.name: oct(path.stat().st_mode)[-3:] for path in folder.iterdir()} == {
        "plan.json": "600",
        "journal.jsonl": "600",
    }
