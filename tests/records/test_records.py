"""The journal and the folder of a run: written whole, read in whatever state they are left."""

from __future__ import annotations

import json
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sampling
from kubeharden.errors import RecordError
from kubeharden.facts import FileFact
from kubeharden.plan import FileChange, NodeChange, ObjectChange, Plan, sha256
from kubeharden.plan.events import Completed, Failed, Planned, RunStarted, Started
from kubeharden.records.folder import Record, read_run
from kubeharden.records.journal import OWN_KEYS, JournalWriter, read_journal
from kubeharden.redaction import Redactor

TOKEN = "abcdef.0123456789abcdef"
ANY_DATA = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=[])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
one_folder = settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    max_examples=sampling.examples(60),
    deadline=None,
)


@pytest.fixture
def record(tmp_path: Path) -> Record:
    return Record(tmp_path / "records", "lab", "CHG 4711/b")


def journal_of(folder: Path, events: int = 4) -> Path:
    """A journal with some events, in a fresh folder."""
    path = folder / f"journal-{len(list(folder.iterdir()))}.jsonl"
    writer = JournalWriter(path, "run-1", Redactor())
    for number in range(events):
        writer.write("started", {"subject": f"kubelet on node-{number}", "words": "zwölf ‹›"})
    writer.close()
    return path


# What has a meaning in a line, and with it a type.
TAKEN = {*OWN_KEYS, *(f.name for kind in (Started, Completed) for f in fields(kind))}


def changed_unit(content: str = "a\n", after: str = "b\n") -> NodeChange:
    path = "/etc/systemd/system/kubelet.service"
    was = FileFact(path, "640", "root", "kube", content)
    files = (
        FileChange("/etc/kubernetes/kubelet.conf", None, "kind: K\n", "644", "root", "root"),
        FileChange(path, was, after, "644", "root", "root"),
    )
    return NodeChange("kubelet", "node-1", "kubelet", files, "files change")


@one_folder
@given(what=st.dictionaries(st.text(max_size=8).filter(lambda key: key not in TAKEN), ANY_DATA, max_size=4))
def test_any_data_becomes_one_line_that_can_be_read(tmp_path: Path, what: dict[str, object]) -> None:
    path = tmp_path / f"{len(list(tmp_path.iterdir()))}.jsonl"
    writer = JournalWriter(path, "run-1", Redactor())
    writer.write("started", what)
    writer.write("completed", what)
    writer.close()
    journal = read_journal(path)
    assert [event["action"] for event in journal.lines] == ["started", "completed"]
    assert (journal.problems, journal.torn) == ((), "")


def test_secrets_are_taken_out_and_the_line_stays_json(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, "run-1", Redactor())
    # Redacted as JSON text, the first of these would lose its closing bracket.
    what = {
        "password": ["hunter2horse"],
        "words": f'said "token": "{TOKEN}"',
        "secret": {"secretName": "tls"},
    }
    writer.write("failed", what)
    [event] = read_journal(path).lines
    assert "hunter2horse" not in path.read_text()
    assert TOKEN not in path.read_text()
    assert event["password"][0].startswith("‹redacted sha256:")
    assert event["secret"] == {"secretName": "tls"}


@one_folder
@given(data=st.data())
def test_cut_off_at_any_byte_it_keeps_its_whole_lines(tmp_path: Path, data: st.DataObject) -> None:
    path = journal_of(tmp_path)
    whole = path.read_bytes()
    kept = whole[: data.draw(st.integers(0, len(whole)))]
    path.write_bytes(kept)
    journal = read_journal(path)
    assert journal.problems == ()
    assert len(journal.lines) == kept.count(b"\n")
    assert bool(journal.torn) == (not kept.endswith(b"\n") and kept != b"")


@one_folder
@given(data=st.data())
def test_a_changed_byte_is_a_problem(tmp_path: Path, data: st.DataObject) -> None:
    path = journal_of(tmp_path)
    content = bytearray(path.read_bytes())
    # The last line is bound to nothing after it: only a seal can tell.
    last = bytes(content).rstrip(b"\n").rfind(b"\n")
    place = data.draw(st.integers(0, last))
    content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    assert read_journal(path).problems


@pytest.mark.parametrize("order", [[0, 2, 3], [0, 2, 1, 3], [1, 2, 3], [0, 1, 1, 2, 3], [0, 0, 1, 2, 3]])
def test_dropped_swapped_and_doubled_lines_are_problems(tmp_path: Path, order: list[int]) -> None:
    path = journal_of(tmp_path)
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[number] for number in order))
    assert read_journal(path).problems


def test_lines_of_another_run_are_a_problem(tmp_path: Path) -> None:
    path = journal_of(tmp_path, 1)
    other = path.read_bytes().replace(b"run-1", b"run-2")
    path.write_bytes(path.read_bytes() + other)
    assert any("several runs" in problem for problem in read_journal(path).problems)


def test_threads_share_a_journal(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    writer = JournalWriter(path, "run-1", Redactor())
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda n: writer.write("started", {"n": n}), range(64)))
    journal = read_journal(path)
    assert journal.problems == ()
    assert sorted(event["n"] for event in journal.lines) == list(range(64))


def test_the_journals_own_keys_are_not_overwritten(tmp_path: Path) -> None:
    writer = JournalWriter(tmp_path / "journal.jsonl", "run-1", Redactor())
    with pytest.raises(ValueError, match="the journal itself says run, seq"):
        writer.write("started", {"seq": 1, "run": "another"})


def test_on_a_full_disk_it_refuses_and_ends_with_a_whole_line(tmp_path: Path) -> None:
    """The limit on a file's size stands in for the disk's; it takes a part of a line and refuses the rest."""
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from kubeharden.errors import RecordError\n"
        "from kubeharden.records.journal import JournalWriter\n"
        "from kubeharden.redaction import Redactor\n"
        "writer = JournalWriter(Path(sys.argv[1]), 'run-1', Redactor())\n"
        "writer.write('started', {'subject': 'x' * 500})\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (900, 900))\n"
        "try:\n"
        "    writer.write('completed', {'subject': 'x' * 500})\n"
        "except RecordError as error:\n"
        "    print(error)\n"
    )
    path = tmp_path / "journal.jsonl"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, check=True)
    assert "cannot write (File too large). What cannot be recorded is not done" in done.stdout
    journal = read_journal(path)
    assert [event["action"] for event in journal.lines] == ["started"]
    assert (journal.problems, journal.torn) == ((), "")


def test_what_was_kept_is_read_again(record: Record) -> None:
    change = changed_unit()
    manifest = {"kind": "Role", "metadata": {"name": "psp", "namespace": "weave"}, "rules": []}
    record(RunStarted(mode="apply"))
    record(Planned.of(Plan(("kubelet",), (change,), (ObjectChange("pod-security", manifest),))))
    record(Started(change=change))
    record(Started(change=ObjectChange("pod-security", manifest)))
    record(Started(change=ObjectChange("pod-security", {**manifest, "rules": [1]}, before=manifest)))
    record(Started(change=ObjectChange.deletion("pod-security", {"apiVersion": "v1", **manifest})))
    past = read_run(record.folder)
    assert past.problems == ()
    assert past.running
    assert past.plan is not None
    assert past.plan["steps"] == ["kubelet"]
    new, unit = past.files
    assert (new.before, new.after, new.before_mode) == ("absent", sha256("kind: K\n"), "")
    assert (unit.node, unit.service, unit.step) == ("node-1", "kubelet", "kubelet")
    assert (unit.before_mode, unit.before_owner, unit.before_group) == ("640", "root", "kube")
    assert (unit.mode, unit.owner, unit.group, unit.redacted) == ("644", "root", "root", False)
    assert past.content("node-1", unit.before) == "a\n"
    assert past.content("node-1", unit.after) == "b\n"
    created, updated, deleted = past.objects
    assert (created.action, created.name, created.before) == ("create", "Role weave/psp", "absent")
    assert past.object_content(created, "before") is None
    assert past.object_content(updated, "before") == manifest
    assert past.object_content(updated, "after") == {**manifest, "rules": [1]}
    assert (deleted.action, deleted.after) == ("delete", "absent")
    assert past.object_content(deleted, "before") == {"apiVersion": "v1", **manifest}
    assert past.object_content(deleted, "after") is None
    record.close()
    assert not read_run(record.folder).running


def test_a_content_with_a_secret_is_kept_without_it(record: Record) -> None:
    record(
        Started(change=changed_unit(f"[Service]\nExecStart=/k --bootstrap-token={TOKEN}\n", "[Service]\n"))
    )
    kept = read_run(record.folder).files[1]
    assert kept.redacted
    assert kept.before == sha256(f"[Service]\nExecStart=/k --bootstrap-token={TOKEN}\n")
    content = read_run(record.folder).content("node-1", kept.before)
    assert content.startswith("[Service]\nExecStart=/k --bootstrap-token=‹redacted sha256:")


def test_bytes_that_are_no_text_come_back_as_they_were(record: Record) -> None:
    odd = b"# caf\xe9\n".decode("utf-8", errors="surrogateescape")
    record(Started(change=changed_unit(odd, "b\n")))
    record(Failed(error=odd))
    past = read_run(record.folder)
    assert past.content("node-1", past.files[1].before) == odd
    assert past.journal.lines[1]["error"] == odd


def test_everything_in_the_folder_is_for_its_owner_only(record: Record) -> None:
    record(RunStarted())
    record(Started(change=changed_unit()))
    record(Planned.of(Plan(("kubelet",))))
    for path in (record.folder, *record.folder.rglob("*")):
        assert oct(path.stat().st_mode)[-3:] == ("700" if path.is_dir() else "600"), path


def test_a_damaged_folder_is_read_and_named(record: Record) -> None:
    record(RunStarted())
    record(Started(change=changed_unit()))
    (record.folder / "plan.json").write_text("{")
    (record.folder / "files.json").write_text(json.dumps([{"node": "node-1"}]))
    past = read_run(record.folder)
    assert [problem.split(" ")[0] for problem in past.problems] == ["plan.json", "files.json"]
    assert (past.plan, past.files) == (None, ())
    with pytest.raises(RecordError, match="cannot be read"):
        past.content("node-1", "0" * 64)


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match=r"there is no journal\.jsonl in it"):
        read_run(tmp_path)
