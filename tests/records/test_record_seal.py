"""Sealing: what is refused, what a seal holds, and that one that is cut off can be made again."""

from __future__ import annotations

import fcntl
import json
import os
import re
import stat
from pathlib import Path

import jsonschema
import nbformat
import pytest

from kubeharden.errors import RecordError
from kubeharden.records.folder import Record
from kubeharden.records.keys import find_key, public_part
from kubeharden.records.seal import seal
from kubeharden.records.signature import only_signer, sign, try_key
from kubeharden.records.summary import record_schema
from kubeharden.records.verify import Verdict, verify
from record_support import make_key, make_notebook, make_run

TOKEN = "abcdef.0123456789abcdef"


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path)


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return make_run(tmp_path / "outputs")


def verdict(run: Path, key: Path) -> Verdict:
    with only_signer(public_part(key)) as signers:
        return verify(run, signers)


def test_a_sealed_run_verifies_and_is_read_only(run: Path, key: Path, tmp_path: Path) -> None:
    done = seal(run, make_notebook(tmp_path / "out.ipynb", run), key)
    assert not done.again
    assert verdict(run, key).good
    files = {str(path.relative_to(run)) for path in run.rglob("*") if path.is_file()}
    assert files == {*done.seal.files, "record.json", "record.json.sig"}
    assert {"journal.jsonl", "notebook.ipynb", "notebook.html"} < set(done.seal.files)
    assert {stat.S_IMODE((run / name).stat().st_mode) for name in files} == {0o400}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (run, run / "files")} == {0o700}
    record = json.loads((run / "record.json").read_text())
    assert record["run"] == run.name
    jsonschema.validate(record, record_schema())


def test_secrets_in_the_notebook_are_taken_out_of_all_that_is_sealed(
    run: Path, key: Path, tmp_path: Path
) -> None:
    path = make_notebook(tmp_path / "out.ipynb", run, f"joined with {TOKEN}")
    notebook = nbformat.read(path, as_version=4)
    coloured = "pass\x1b[39mword\x1b[39m=\x1b[33m'hunter2horse'\x1b[0m"
    notebook.cells[2].outputs.append(
        nbformat.v4.new_output("error", ename="E", evalue=f"token={TOKEN}", traceback=["E", coloured])
    )
    notebook.metadata["papermill"] = {
        "parameters": {"db_password": "hunter2horse", "tokens": ["hunter2horse"]}
    }
    notebook.cells[1].source = "run  # --token hunter2horse"
    notebook.cells[1].outputs[0].data["image/png"] = "hunter2horse is not a picture"
    notebook.cells[1].outputs[0].data["image/gif"] = "R0lGODlh"
    notebook.cells[1].outputs[0].data["application/json"] = {"db_passwords": ["hunter2horse"]}
    notebook.cells[1].outputs[0].metadata = {"args": ["--token", "hunter2horse"]}
    notebook.cells[1].metadata["secret"] = {"any": ["hunter2horse"]}
    nbformat.write(notebook, path)
    seal(run, path, key)
    for name in ("notebook.ipynb", "notebook.html", "record.json"):
        text = (run / name).read_text()
        assert TOKEN not in text
        assert "hunter2horse" not in text
    sealed = nbformat.read(run / "notebook.ipynb", as_version=4)
    assert "‹redacted sha256:" in sealed.cells[2].outputs[0].text
    assert "R0lGODlh" not in str(sealed), "nobody can tell what is in it"


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("not executed", "it was not executed"),
        ("of another run", "it is of 20200101T000000.000Z-lab-CHG-9, not of"),
        ("of no run", "it shows no run, not of"),
        ("no notebook", "is not a notebook"),
        ("not there", "cannot read"),
    ],
)
def test_a_notebook_that_did_not_make_this_run_is_refused(
    run: Path, key: Path, tmp_path: Path, what: str, message: str
) -> None:
    path = tmp_path / "out.ipynb"
    other = tmp_path / "20200101T000000.000Z-lab-CHG-9"
    make_notebook(path, other if what == "of another run" else run, executed=what != "not executed")
    if what == "of no run":
        notebook = nbformat.read(path, as_version=4)
        notebook.cells[1].outputs = []
        nbformat.write(notebook, path)
    if what == "no notebook":
        path.write_text('{"cells": 3}')
    if what == "not there":
        path.unlink()
    before = sorted(run.rglob("*"))
    with pytest.raises(RecordError, match=re.escape(message)):
        seal(run, path, key)
    assert sorted(run.rglob("*")) == before


def test_what_is_sealed_is_not_sealed_anew(run: Path, key: Path, tmp_path: Path) -> None:
    notebook = make_notebook(tmp_path / "out.ipynb", run, f"joined with {TOKEN}")
    first = seal(run, notebook, key)
    again = seal(run, notebook, key)
    assert again.again
    assert again.seal == first.seal
    other = make_notebook(tmp_path / "other.ipynb", run, "kubelet on n1: failed")
    with pytest.raises(RecordError, match="with another notebook; a seal is not replaced"):
        seal(run, other, key)
    (run / "journal.jsonl").chmod(0o600)
    with (run / "journal.jsonl").open("a") as file:
        file.write("{}\n")
    with pytest.raises(RecordError, match=r"altered since: journal\.jsonl: was changed"):
        seal(run, notebook, key)


def test_a_run_that_goes_on_is_not_sealed(tmp_path: Path, key: Path) -> None:
    record = Record(tmp_path, "lab", "CHG-1")
    with pytest.raises(RecordError, match="is still going on"):
        seal(record.folder, None, key)
    record.close()
    assert seal(record.folder, None, key).seal.notebook is False


def test_what_is_no_run_or_no_plain_file_is_refused(tmp_path: Path, run: Path, key: Path) -> None:
    with pytest.raises(RecordError, match="is not the record of a run"):
        seal(tmp_path, None, key)
    (run / "link").symlink_to("/etc/hostname")
    with pytest.raises(RecordError, match="cannot be read as a regular file"):
        seal(run, None, key)
    assert not (run / ".sealing").exists()
    assert not (run / "record.json").exists()


@pytest.mark.parametrize("step", range(4))
def test_a_seal_that_is_cut_off_leaves_an_unsealed_run_that_can_be_sealed(
    run: Path, key: Path, tmp_path: Path, step: int
) -> None:
    """The process ends at each of the renames that put the seal in place."""
    notebook = make_notebook(tmp_path / "out.ipynb", run)
    child = os.fork()
    if child == 0:
        renames, real = iter(range(100)), Path.replace

        def replace(path: Path, target: Path) -> Path:
            if path.parent.name == ".sealing" and target.parent == run and next(renames) == step:
                os._exit(7)
            return real(path, target)

        Path.replace = replace  # type: ignore[method-assign]
        seal(run, notebook, key)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    assert os.waitstatus_to_exitcode(status) == 7
    assert verdict(run, key).wrong == ("it is not sealed: nothing vouches for what is in it",)
    # The notebook may be lost by then: what the first attempt left of it does not stay behind unlisted.
    assert not seal(run, notebook if step % 2 else None, key).again
    assert verdict(run, key).good


def test_runs_are_chained_in_the_order_of_their_seals(tmp_path: Path, key: Path) -> None:
    first, second, third = (make_run(tmp_path, f"CHG-{n}") for n in range(3))
    assert seal(second, None, key).seal.previous == ""
    made = seal(first, None, key).seal
    assert (made.number, made.previous, made.unsealed) == (2, second.name, (third.name,))
    assert seal(third, None, key).seal.previous == first.name


def test_two_seals_at_a_time_do_not_fork_the_chain(tmp_path: Path, key: Path) -> None:
    runs = [make_run(tmp_path, f"CHG-{n}") for n in range(4)]
    children = []
    parent = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(parent, fcntl.LOCK_EX)  # they all wait for it, and then go at once
    for run in runs:
        child = os.fork()
        if child == 0:
            os.close(parent)
            seal(run, None, key)
            os._exit(0)
        children.append(child)
    os.close(parent)
    assert [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children] == [0] * 4
    numbers = [json.loads((run / "record.json").read_text())["seal"]["number"] for run in runs]
    assert sorted(numbers) == [1, 2, 3, 4]


def test_keys_are_looked_for_where_git_and_ssh_have_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(RecordError, match="none was found"):
        find_key()
    usual = make_key(home / ".ssh", "id_ed25519")
    assert find_key().path == usual
    of_git = make_key(home, "git")
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {of_git}.pub\n")
    assert find_key().path == usual, "git signs with OpenPGP here"
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {of_git}.pub\n[gpg]\n\tformat = ssh\n")
    assert find_key().path == of_git.with_suffix(".pub")
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(usual))
    assert find_key().path == usual
    assert find_key(str(of_git)).path == of_git
    with pytest.raises(RecordError, match="there is no file"):
        find_key(str(home / "nowhere"))


def test_a_key_that_needs_a_passphrase_is_refused_without_asking(tmp_path: Path) -> None:
    key = make_key(tmp_path, "locked", passphrase="correct horse")
    with pytest.raises(RecordError, match="cannot sign with"):
        try_key(key)
    (tmp_path / "file").write_text("x")
    with pytest.raises(RecordError, match="a key that the agent holds"):
        sign(tmp_path / "file", key.with_suffix(".pub"))
