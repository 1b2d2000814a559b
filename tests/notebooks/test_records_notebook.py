"""The notebook records.ipynb, run by papermill over runs of the rehearsal."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.records.seal import seal
from kubeharden_rehearsal import Rehearsal
from prepared import refused
from record_support import make_key, make_run
from support import Papermill


def test_the_register_one_run_its_neighbour_and_the_nodes_since(
    papermill: Papermill, article: Rehearsal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key, browse = make_key(tmp_path), Papermill(tmp_path, "records.ipynb")
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    common = {"inventory": str(article.inventory), "steps": "kube-proxy"}
    planned = papermill("-p", "mode", "plan", change_id="CHG-1", **common)
    assert planned.status == 0, planned.output
    applied = papermill("--engine", "kubeharden", change_id="CHG-2", **common)
    assert applied.status == 0, applied.output

    same = browse(inventory=str(article.inventory), signers=f"{key}.pub")
    assert same.status == 0, same.output
    listed = same.shown("past.list()")
    assert re.search(r"-CHG-2 .* apply +k8s-node1, k8s-master +done +verified: the-given-key", listed)
    assert re.search(r"-CHG-1 .* plan +k8s-master, k8s-node1 +planned +not sealed", listed)
    assert listed.index("CHG-2") < listed.index("CHG-1")
    assert re.search(r"kube-proxy on k8s-node1 +✔ completed", same.shown("past.show()"))
    assert re.search(r"mode +plan +apply", same.shown("past.compare()"))
    assert "Every file is as the run left it" in same.shown("past.since()")

    config = article.directory / "nodes/k8s-node1/etc/kubernetes/kube-proxy.conf"
    config.write_text(f"{config.read_text()}oomScoreAdj: -998\n")
    edited = browse(inventory=str(article.inventory), node="k8s-node1")
    since = edited.shown("past.since()")
    assert re.search(r"k8s-node1 +/etc/kubernetes/kube-proxy\.conf +has changed since", since)
    assert "+oomScoreAdj: -998" in since
    assert "k8s-master" not in since


def test_a_run_that_is_gone_is_missed_unless_that_is_meant(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = make_key(tmp_path)
    runs = [make_run(tmp_path / "records", f"CHG-{n}\n✔ all is well") for n in range(2)]
    for run in runs:
        seal(run, None, key)
    shutil.rmtree(runs[0])
    given = {"In": [""], "output_dir": str(tmp_path / "records"), "signers": f"{key}.pub"}
    listed = str(runbook.records(given).list())
    assert f"the run sealed before it is gone: {runs[0].name}" in listed
    assert not any(line.startswith("✔") for line in listed.splitlines())
    assert r"CHG-1\n✔ all is well" in listed
    kept = str(runbook.records({**given, "oldest": runs[1].name}).list())
    assert "verified: the-given-key" in kept


WRONG = [
    (["-p", "nodes", "n1"], "nodes: there is no such parameter; did you mean node?"),
    (["-p", "user", "1000"], "user: 1000 is a value of type int; expected text"),
    (["-p", "since", "soon"], "since: 'soon' is not a time"),
    (["-r", "until", "2026-13-01"], "until: '2026-13-01' is not a time"),
    (["-p", "run", "none"], "there is no run 'none' among those listed"),
    (["-p", "output_dir", "/nowhere"], "/nowhere: cannot be read (No such file or directory)"),
    (["-y", 'output_dir: "a\\0b"'], "output_dir: 'a\\x00b' has a control character in it; expected a path"),
    (["-p", "inventory", "~nobody-at-all/x"], "names a home folder that nobody has; expected a path"),
    (["-p", "signers", "/nowhere"], "allowed signers: there is no file '/nowhere'"),
]


@pytest.mark.parametrize(("words", "message"), WRONG)
def test_wrong_parameters_are_named(tmp_path: Path, words: list[str], message: str) -> None:
    make_run(tmp_path / "records")
    places = {} if "output_dir" in str(words) else {"output_dir": str(tmp_path / "records")}
    assert message in refused(tmp_path, "records.ipynb", *words, **places)[1]


@pytest.mark.sample(1)
@pytest.mark.parametrize(("words", "message"), WRONG)
def test_papermill_ends_at_wrong_parameters(
    papermill: Papermill, tmp_path: Path, words: list[str], message: str
) -> None:
    make_run(tmp_path / "records")
    papermill.source = "records.ipynb"
    run = papermill(*words)
    assert run.status != 0
    assert message in run.error()
