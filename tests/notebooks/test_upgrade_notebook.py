"""upgrade-readiness.ipynb, run by papermill as a user runs it."""

from __future__ import annotations

import re
from pathlib import Path

from prepared import refused
from rehearsals import Rehearsals
from support import Papermill


def test_it_names_what_stands_in_the_way_and_changes_nothing(papermill: Papermill, tmp_path: Path) -> None:
    papermill.source = "upgrade-readiness.ipynb"
    run = papermill(rehearsal="handbuilt-1.20", rehearsal_dir=str(tmp_path / "r"), target_release="v1.24")
    assert run.status == 0, run.output
    shown = run.shown("run.readiness()")
    assert re.search(r"1\.24 +kubelet +k8s-master, .*does not start +--network-plugin", shown)
    row = next(line for line in shown.splitlines() if re.match(r" *kube-proxy +v1\.20\.2", line))
    assert row.split()[-5:] == ["1.20", "to", "1.24", "–", "–"]
    row = next(line for line in shown.splitlines() if re.match(r" *kubelet +v1\.20\.2", line))
    assert row.endswith(" 1.24")
    assert "Nothing was changed anywhere" in run.shown("run.finish()")
    assert list((tmp_path / "records").glob("*-upgrade-readiness"))


def test_parameters_of_other_notebooks_are_refused(tmp_path: Path) -> None:
    _, error = refused(tmp_path, "upgrade-readiness.ipynb", "-p", "mode", "apply")
    assert "mode: there is no such parameter" in error


def test_an_older_release_is_refused(rehearsals: Rehearsals, tmp_path: Path) -> None:
    inventory = str(rehearsals.untouched("containerd-1.24").inventory)
    places = {"inventory": inventory, "output_dir": str(tmp_path / "records")}
    _, error = refused(tmp_path, "upgrade-readiness.ipynb", target_release="v1.23", **places)
    assert "target_release: 1.23 is older than what runs" in error
