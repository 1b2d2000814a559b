"""The workplace of a person: the open notebook, its copy, its seal, and where a rehearsal is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fakes import World, planned
from kubeharden import runbook
from kubeharden.cli import main
from kubeharden.errors import RecordError
from kubeharden.inputs import project
from kubeharden.plan.events import Finished, RunStarted
from kubeharden.records.executed_notebook import RUN_TYPE
from kubeharden.records.folder import Record
from kubeharden.records.keys import KeyFile
from kubeharden.runs.practice import note_end, practice_folder
from kubeharden.runs.sealing import OpenNotebook
from support import ROOT


class AtCell:
    """A person who is there, in the cell of that number."""

    is_there = True

    def __init__(self, cell: int) -> None:
        self.cell = cell

    def ask(self, question: str) -> str:
        return "apply"


def notebook_of(run: str, folder: Path, *, cells: int) -> str:
    """What Jupyter has saved once that many cells have run; the first names the run."""
    named = {
        "output_type": "display_data",
        "metadata": {},
        "data": {RUN_TYPE: {"run": run, "folder": str(folder)}},
    }
    said = {"output_type": "stream", "name": "stdout", "text": "password: hunter2-secret"}
    made = [
        {
            "cell_type": "code",
            "id": f"c{number}",
            "metadata": {},
            "source": "",
            "execution_count": number,
            "outputs": [named if number == 1 else said],
        }
        for number in range(1, cells + 1)
    ]
    return json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> OpenNotebook:
    path, folder = tmp_path / "CHG-1.ipynb", tmp_path / "run"
    path.write_text("{}")
    folder.mkdir()
    monkeypatch.setenv("JPY_SESSION_NAME", str(path))
    return OpenNotebook("run", folder)


def test_a_notebook_counts_as_saved_once_its_last_cell_is_there(opened: OpenNotebook) -> None:
    assert opened.path is not None
    opened.path.write_text(notebook_of("run", opened.folder, cells=2))
    assert not opened.is_saved()  # the run goes on
    opened.last_cell = 3
    assert not opened.is_saved()
    opened.copy()
    assert not (opened.folder / "notebook.ipynb").exists()
    opened.path.write_text(notebook_of("other", opened.folder, cells=3))
    assert not opened.is_saved()
    opened.path.write_text(notebook_of("run", opened.folder, cells=3))
    assert opened.is_saved()
    opened.copy()
    kept = (opened.folder / "notebook.ipynb").read_text()
    assert "password: ‹redacted" in kept
    assert "hunter2" not in kept


def test_sealing_waits_for_the_notebook_and_gives_up_in_a_sentence(
    opened: OpenNotebook, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeharden.runs.sealing.find_key", lambda: KeyFile(tmp_path / "key", "the test"))
    with pytest.raises(RecordError, match="not finished yet"):
        opened.seal(lambda _: None)
    opened.last_cell = 1
    waited: list[float] = []
    with pytest.raises(RecordError, match="was not saved"):
        opened.seal(waited.append)
    assert sum(waited) == pytest.approx(180)


def test_a_notebook_that_was_renamed_is_not_waited_for(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Jupyter tells a kernel the name of its notebook once, as it begins: a save goes to another file then."""
    notebook = tmp_path / "CHG-1.ipynb"
    notebook.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(notebook))
    given = {"In": [""], "inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    run = runbook.start({**given, "mode": "plan"}, connect=world.ports, person=AtCell(7))
    run.look()
    run.plan()
    run.finish()
    monkeypatch.setattr("kubeharden.runs.sealing.find_key", lambda: KeyFile(tmp_path / "key", "the test"))
    notebook.rename(tmp_path / "CHG-1-plan.ipynb")
    before = world.clock.monotonic()
    with pytest.raises(
        RecordError, match=rf"renamed or moved .*kubeharden seal {run.record.folder} NOTEBOOK"
    ):
        run.seal()
    assert "Save this notebook now" not in capsys.readouterr().out
    assert world.clock.monotonic() == before


def test_a_run_names_its_notebook_and_says_where_git_tracks_it(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = {"In": [""], "inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    own = ROOT / "notebooks/harden.ipynb"
    monkeypatch.setenv("JPY_SESSION_NAME", str(own))
    run = runbook.start({**given, "mode": "plan"}, connect=world.ports, person=AtCell(7))
    assert "kubeharden notebook harden CHG-4711" in str(run)
    run.look()
    run.plan()
    end = str(run.finish())
    assert (
        f"run.seal() does it here, or on the command line: kubeharden seal {run.record.folder} {own}" in end
    )
    assert run.notebook.last_cell == 7

    copy = tmp_path / "my change.ipynb"
    copy.write_text("{}")
    monkeypatch.setenv("JPY_SESSION_NAME", str(copy))
    run = runbook.start({**given, "mode": "plan"}, connect=world.ports, person=AtCell(7))
    assert "kubeharden notebook" not in str(run)
    run.look()
    run.plan()
    assert f"'{copy}'" in str(run.finish())
    monkeypatch.delenv("JPY_SESSION_NAME")
    run = runbook.start({**given, "mode": "plan"}, connect=world.ports)
    run.look()
    run.plan()
    assert "NOTEBOOK (papermill --engine kubeharden" in str(run.finish())
    assert "papermill --engine kubeharden seals it then" in str(run.seal())
    run.person = AtCell(7)  # where Jupyter does not name the file, as VS Code does not
    assert f"seal it in a terminal: kubeharden seal {run.record.folder} NOTEBOOK" in str(run.seal())


@pytest.fixture
def world() -> World:
    return World("article-1.10")


def test_a_copy_of_a_notebook_is_made_once_and_is_not_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("kubeharden.cli.runs_folder", lambda: tmp_path / "outputs")
    assert main(["notebook", "harden", "CHG-4711"]) == 0
    made = tmp_path / "outputs" / "CHG-4711.ipynb"
    assert f"jupyter lab {made}" in capsys.readouterr().out
    assert made.read_bytes() == (ROOT / "notebooks/harden.ipynb").read_bytes()
    for name, words in (("CHG-4711", "already"), ("../x", "is not a name of a file")):
        assert main(["notebook", "harden", name]) == 2
        assert words in capsys.readouterr().err
    assert {"harden", "records", "rollback", "upgrade-readiness"} <= set(project.notebooks())


def test_a_rehearsal_that_was_cut_off_is_gone_on_with_and_one_that_ended_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = practice_folder("article-1.10")
    assert folder == practice_folder("article-1.10") == tmp_path / "kubeharden/rehearsals/article-1.10"
    (folder / "nodes").mkdir(parents=True)
    assert (practice_folder("article-1.10") / "nodes").exists()
    note_end(folder)
    assert not practice_folder("article-1.10").exists()
    named = tmp_path / "mine"
    named.mkdir()
    note_end(named)
    assert list(named.iterdir()) == []


def test_runs_on_two_clusters_are_not_compared_unasked(tmp_path: Path) -> None:
    parent = tmp_path / "records"
    runs = []
    for cluster in ("lab", "prod", "lab"):
        record = Record(parent, cluster, f"CHG-{len(runs)}")
        record(RunStarted(cluster=cluster, mode="plan", parameters={"number": len(runs)}))
        record(Finished("plan"))
        record.close()
        runs.append(record.run)
    given = {"In": [""], "output_dir": str(parent)}
    newest = str(runbook.records(given).compare())
    assert runs[0] in newest
    assert runs[1] not in newest
    assert "There is no run on prod before it" in str(runbook.records({**given, "run": runs[1]}).compare())
    both = str(runbook.records({**given, "run": runs[2], "other": runs[1]}).compare())
    assert f"Two clusters: {runs[1]} is a run on prod, and {runs[2]} on lab" in both


def test_a_uid_without_an_entry_in_passwd_runs_as_any_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As in a container that gives each its own uid."""

    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 54321")

    monkeypatch.setattr("getpass.getuser", nobody)
    run = planned(World("article-1.10"), tmp_path, steps=["kubelet"], dns_ip="10.0.0.10")
    run.apply("kubelet")
    assert run.finish()
