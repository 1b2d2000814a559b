"""The verbs, called as an interactive notebook calls them: twice, out of order, and after the end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from fakes import World
from kubeharden import runbook
from kubeharden.edges.ports import Ports
from kubeharden.errors import KubehardenError, ParameterError, ProofError, StoppedError, UnexpectedError
from kubeharden.inputs.inventory import Inventory
from kubeharden.plan.events import Asked, Started
from kubeharden.records.folder import read_run
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


def test_nothing_is_planned_from_what_was_seen_before_a_step(run: runbook.Run) -> None:
    run.look()
    run.plan()
    run.apply("kube-proxy")
    digest = run.current_plan.digest
    with pytest.raises(
        KubehardenError, match=r"from before kube-proxy: run the cell with run\.look\(\) first"
    ):
        run.plan()
    assert run.current_plan.digest == digest
    assert "carried out in this run already" in str(run.apply("kube-proxy"))
    run.apply("kube-scheduler")
    run.look()
    run.plan()
    assert "kube-proxy" not in {change.service for change in run.current_plan.node_changes if change.needed}


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


INTERRUPT = "the button that interrupts the kernel"


class Somebody:
    """A person who is there, and answers what the test says."""

    is_there = True

    def __init__(self, *answers: str) -> None:
        self.answers, self.asked = list(answers), 0

    def ask(self, question: str) -> str:
        self.asked += 1
        assert "Type apply" in question
        answer = self.answers.pop(0)
        if answer == INTERRUPT:
            raise KeyboardInterrupt("Interrupted by user")
        return answer


def planned(world: World, folder: Path, person: Somebody | None = None, **given: object) -> runbook.Run:
    """A run in which the cells up to the plan were run."""
    run = runbook.start(namespace_of(world, folder, **given), connect=world.ports, person=person)
    run.look()
    run.plan()
    return run


def namespace_of(world: World, folder: Path, **given: object) -> dict[str, object]:
    folders = {"inventory": str(world.inventory(folder)), "output_dir": str(folder / "records")}
    return {"In": [""], **folders, **given}


def test_a_parameter_that_is_edited_after_the_start_is_refused_by_name(world: World, tmp_path: Path) -> None:
    namespace = namespace_of(world, tmp_path, mode="apply", steps=["kube-proxy"])
    run = runbook.start(namespace, connect=world.ports)
    run.look()
    run.plan()
    namespace |= {"mode": "plan", "batch_size": "2"}
    for verb in (run.plan, lambda: run.apply("kube-proxy")):
        with pytest.raises(
            ParameterError, match="mode: was 'apply' when this run began, and is 'plan' now"
        ) as raised:
            verb()
        assert "batch_size: was '1'" in str(raised.value)
        assert "steps" not in str(raised.value).splitlines()[1:3]
    namespace["mode"] = "aply"
    with pytest.raises(ParameterError, match="expected one of apply, plan"):
        run.apply("kube-proxy")
    assert not read_run(run.record.folder).of(Started)
    namespace |= {"mode": "apply", "batch_size": 1}  # as papermill's -p writes it: it is the same
    assert "carried out, proved and confirmed" in str(run.apply("kube-proxy"))
    run.close()


def test_a_person_is_asked_once_for_all_that_is_put_back(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Who has answered the first of several questions and left would find the cluster half way."""
    run = planned(world, tmp_path, change_id="CHG-1", steps=["kubelet", "kube-proxy"])
    for step in ("kubelet", "kube-proxy"):
        run.apply(step)
    run.finish()
    person = Somebody("no", "apply")
    given = namespace_of(world, tmp_path, record="CHG-1")
    back = runbook.start(given, "rollback", connect=world.ports, person=person)
    back.look()
    back.plan()
    capsys.readouterr()
    with pytest.raises(
        StoppedError, match="kube-proxy, kubelet was not carried out, and nothing was changed"
    ):
        back.roll_back()
    assert not read_run(back.record.folder).of(Started)
    back.roll_back()
    told = "kube-proxy, kubelet: 4 restarts, 8 files on 2 nodes; kube-proxy, then kubelet"
    assert capsys.readouterr().out.count(told) == 2
    assert [(event.step, event.agreed) for event in read_run(back.record.folder).of(Asked)] == [
        ("kube-proxy, kubelet", False),
        ("kube-proxy, kubelet", True),
    ]
    assert "was carried out in this run already" in str(back.roll_back())
    assert person.asked == 2
    back.close()


def test_a_person_is_asked_before_each_step_and_may_leave_it(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    person = Somebody("no", INTERRUPT, " Apply ", "")
    run = planned(world, tmp_path, person)
    for _ in range(2):
        with pytest.raises(StoppedError, match="kubelet was not carried out, and nothing was changed"):
            run.apply("kubelet")
    assert not read_run(run.record.folder).of(Started)
    assert "kubelet: 2 restarts, 4 files on 2 nodes; k8s-node1, then k8s-master" in capsys.readouterr().out
    assert "carried out, proved and confirmed" in str(run.apply("kubelet"))
    with pytest.raises(StoppedError):
        run.apply("pod-security")
    assert (
        "pod-security: 1 restart, 9 objects, 1 file on 1 node; the objects, then k8s-master"
        in capsys.readouterr().out
    )
    run.look()
    run.plan()
    run.apply("kubelet")  # there is nothing to do, and nobody is asked
    assert person.asked == 4
    assert [event.agreed for event in read_run(run.record.folder).of(Asked)] == [False, False, True, False]
    run.close()


def test_a_step_that_is_run_again_shows_its_results_and_then_a_sentence(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = planned(world, tmp_path)
    run.apply("kubelet")
    again = str(run.apply("kubelet"))
    assert again.index("kubelet on k8s-node1") < again.index("was carried out in this run already")
    assert again.count("completed") == 2
    run.finish()
    capsys.readouterr()
    with pytest.raises(KubehardenError, match="this run is over"):
        run.apply("kubelet")
    assert capsys.readouterr().out.count("completed") == 2
    with pytest.raises(KubehardenError, match="this run is over"):
        run.look()
    assert capsys.readouterr().out == ""


def test_a_step_that_failed_shows_its_results_again_too(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = planned(world, tmp_path)
    world.broken["k8s-node1", "kubelet"] = "kubelet cannot read ca.crt"
    for _ in range(2):
        with pytest.raises(KubehardenError):
            run.apply("kubelet")
        assert "kubelet on k8s-node1" in capsys.readouterr().out
    run.close()


def test_the_proof_of_half_a_run_names_what_is_left_once(world: World, tmp_path: Path) -> None:
    run = planned(world, tmp_path)
    run.apply("kubelet")
    with pytest.raises(ProofError) as raised:
        run.prove()
    [_, problem] = str(raised.value).splitlines()
    assert problem.strip() == (
        "not carried out yet: 9 API objects; kube-apiserver on k8s-master; kube-proxy on k8s-master, k8s-node1; "
        "kube-scheduler on k8s-master"
    )
    for step in ("pod-security", "kube-proxy", "kube-scheduler"):
        run.apply(step)
    run.prove()
    run.close()


def test_the_proof_waits_for_what_systemd_starts_again(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = planned(world, tmp_path, steps=["kube-proxy"])
    run.apply("kube-proxy")
    master = world.machines["k8s-master"]
    scheduler = master.facts.services["kube-scheduler"]
    ended = {**scheduler.show, "ActiveState": "activating", "SubState": "auto-restart", "MainPID": "0"}
    master.set(replace(scheduler, show=ended))
    world.clock.after(15, lambda: master.set(scheduler))
    assert "✘" not in str(run.prove())
    assert "waited for until systemd starts them: kube-scheduler on k8s-master" in capsys.readouterr().out
    for state in ("activating", "failed"):  # for ever, and for good
        master.set(replace(scheduler, show={**ended, "ActiveState": state}))
        with pytest.raises(ProofError, match="kube-scheduler on k8s-master ran before and does not run now"):
            run.prove()
    run.close()


@pytest.mark.parametrize("verb", ["apply", "show"])
def test_a_step_that_there_is_not_is_an_error_that_names_those_that_there_are(
    world: World, tmp_path: Path, verb: str
) -> None:
    run = planned(world, tmp_path, steps=["kube-proxy"])
    with pytest.raises(ParameterError, match=r"'kubelt'; did you mean kubelet.* There are: .*kube-scheduler"):
        getattr(run, verb)("kubelt")
    assert "not among the steps of this run" in str(getattr(run, verb)("kubelet"))
    run.close()


def test_a_verb_that_is_called_in_another_way_says_how_it_is_called(world: World, tmp_path: Path) -> None:
    """It "should not have happened", and was to be reported."""
    run = planned(world, tmp_path, steps=["kube-proxy"])
    calls: tuple[tuple[Callable[..., object], tuple[object, ...], str], ...] = (
        (run.apply, (), r"apply: missing a required argument: 'step'; expected apply\(step\)"),
        (run.show, ("kubelet", "kube-proxy"), r"show: too many .*; expected show\(step\)"),
        (run.look, ("n1",), r"look: too many .*; expected look\(\)"),
        (run.apply, (["kube-proxy"],), r"there is no step \['kube-proxy'\]"),
        (run.impact, (1,), r"impact: too many .*; expected impact\(\)"),
        (runbook.start, (), r"start: missing .*; expected start\(namespace\)"),
    )
    for called, arguments, words in calls:
        with pytest.raises(ParameterError, match=words):
            called(*arguments)
    run.apply("kube-proxy")
    run.close()


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
