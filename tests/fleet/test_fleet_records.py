"""Which records of a fleet count: sealed, unaltered, and of this cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from fakes import FIRST_MOMENT, World, planned
from fleet_support import fleet, write_fleet
from kubeharden.errors import ParameterError, WindowError
from kubeharden.records.keys import public_part
from kubeharden.records.seal import seal
from kubeharden.records.signature import only_signer
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import APPLIED, CUT_OFF, NONE, NOT_NOW, TO_DO, UNSOUND, halted_by, state_of
from kubeharden_fleet.records import read, states
from record_support import make_key, make_notebook, make_run


@pytest.fixture
def sealed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Fleet, Path]:
    """A fleet, and a sealed run of its cluster a, which its inventory calls lab."""
    key = make_key(tmp_path)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    monkeypatch.delenv("KUBEHARDEN_ALLOWED_SIGNERS", raising=False)
    path = write_fleet(tmp_path)
    (tmp_path / "a.yaml").write_text("cluster: lab\n")
    (tmp_path / "b.yaml").write_text("cluster: eu-b\n")
    run = make_run(tmp_path / "records" / "a")
    seal(run, make_notebook(tmp_path / "executed.ipynb", run), key)
    return read_fleet(path), run


def edit_record(run: Path) -> None:
    path = run / "record.json"
    path.chmod(0o600)
    path.write_text(path.read_text().replace('"result": "done"', '"result": "planned"', 1))


def other_form(run: Path) -> None:
    path = run / "record.json"
    path.chmod(0o600)
    path.write_text(json.dumps({"result": "planned"}))


def take_seal(run: Path) -> None:
    (run / "record.json.sig").unlink()


def rename(run: Path) -> None:
    run.rename(run.with_name(run.name.replace("20", "29", 1)))


def take_away(run: Path) -> None:
    shutil.rmtree(run)


@pytest.mark.parametrize(
    ("attack", "word", "why"),
    [
        (edit_record, UNSOUND, "record.json"),
        (other_form, UNSOUND, "record.json"),
        (take_seal, CUT_OFF, "was cut off"),
        (rename, UNSOUND, "lies in the folder of another run"),
        (take_away, NONE, "no run yet"),
    ],
)
def test_a_record_that_was_altered_says_nothing_good(
    sealed: tuple[Fleet, Path], attack: Callable[[Path], None], word: str, why: str
) -> None:
    made, run = sealed
    assert states(made)["a"].word == APPLIED
    attack(run)
    state = states(made)["a"]
    assert state.word == word
    assert why in state.why


def test_a_record_of_another_cluster_says_nothing_of_this_one(sealed: tuple[Fleet, Path]) -> None:
    made, run = sealed
    shutil.copytree(run, made.runs_of("b") / run.name)
    state = states(made)["b"]
    assert state.word == UNSOUND
    assert state.why == "it is a record of the cluster lab, and this one is eu-b"


def test_an_inventory_that_cannot_be_read_is_named(sealed: tuple[Fleet, Path]) -> None:
    made, _ = sealed
    Path(made.cluster("a").inventory).write_text("- nothing\n")
    with pytest.raises(ParameterError, match=r"inventory: \S+a\.yaml holds no mapping"):
        states(made)


def test_somebody_whose_seal_does_not_count_cannot_seal(
    sealed: tuple[Fleet, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, _ = sealed
    folder = tmp_path / "stranger"
    folder.mkdir()
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(make_key(folder)))
    assert states(made)["a"].word == UNSOUND


def test_a_window_that_closes_between_two_steps_holds_up_nothing_and_the_rest_is_another_plan(
    tmp_path: Path,
) -> None:
    key = make_key(tmp_path)
    world, runs = World(), tmp_path / "runs"
    window = f"{FIRST_MOMENT:%Y-%m-%dT%H:%MZ}/{FIRST_MOMENT + timedelta(minutes=10):%Y-%m-%dT%H:%MZ}"
    steps = ["kube-proxy", "kube-scheduler"]
    run = planned(world, runs, window=window, steps=steps)
    digest = run.current_plan.digest
    run.apply("kube-proxy")
    world.clock.sleep(600)
    with pytest.raises(WindowError):
        run.apply("kube-scheduler")
    run.close()
    seal(run.record.folder, None, key)
    later = planned(world, runs, mode="plan", steps=steps)
    later.finish()
    seal(later.record.folder, None, key)
    with only_signer(public_part(key)) as signers:
        closed, rest = (state_of(read(each.record.folder, signers)) for each in (run, later))
    assert closed.word == NOT_NOW
    assert {change["step"] for change in closed.run.record["changes"]} == {"kube-proxy"}
    assert halted_by(fleet(tmp_path), {"a": closed}, "b") == []
    assert (rest.word, rest.why) == (TO_DO, "1 to do: kube-scheduler on k8s-master")
    assert rest.run.digest != digest
