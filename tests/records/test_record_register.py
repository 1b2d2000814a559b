"""The register: every run is in it, whatever became of it; runs are found, shown and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sampling
from kubeharden.cli import main
from kubeharden.errors import ParameterError
from kubeharden.facts import FileFact
from kubeharden.plan import FileChange, NodeChange
from kubeharden.plan.events import Completed, Finished, Planned, RunStarted, Started
from kubeharden.records.folder import Record, read_run
from kubeharden.records.register import RunFilter, register, since_run
from kubeharden.records.seal import seal
from kubeharden.redaction import Redactor
from record_support import make_key, make_run

ROOT = Path(__file__).parents[2]
MANY = 3000 if sampling.is_complete() else 1000
CONFIG = "/etc/kubernetes/kubelet.conf"


def names(parent: Path, **wanted: str) -> list[str]:
    """The change ids of the runs that match, the newest first."""
    return [entry.change_id for entry in register(parent, RunFilter(**wanted))]


def changed(parent: Path, label: str, before: str, after: str, *, gone: bool = False) -> Record:
    """A run that has begun to write a kubelet's config on n1, or to remove it."""
    record = Record(parent, "lab", label)
    record(RunStarted(cluster="lab", mode="apply", change_id=label, steps=["kubelet"], nodes=["n1", "n2"]))
    record(
        Planned(
            digest="0" * 64,
            needed=True,
            changes=[
                {"step": "kubelet", "subject": f"kubelet on {n}", "action": "restart"} for n in ("n1", "n2")
            ],
        )
    )
    old = FileFact(CONFIG, "644", "root", "root", before)
    files = (FileChange(CONFIG, old, after, "644", "root", "root", gone),)
    change = NodeChange("kubelet", "n1", "kubelet", files)
    record(Started.of(change, change=change))
    return record


def complete(record: Record) -> Path:
    """Carry the run on to its end."""
    what = {"subject": "kubelet on n1", "node": "n1", "service": "kubelet", "step": "kubelet"}
    record(Completed(**what, seconds=1.5, words="kubelet runs as process 7"))
    record(Finished(mode="apply", changed=["kubelet"], not_carried_out=[], why=""))
    record.close()
    return record.folder


def test_runs_are_found_by_node_object_user_and_time(tmp_path: Path) -> None:
    make_run(tmp_path, "CHG-1", login="ann")
    make_run(tmp_path, "CHG-2", nodes=["n7"])
    make_run(tmp_path, "CHG-2b", about="PodSecurityPolicy privileged")
    make_run(tmp_path, "CHG-3", login="ann", kubernetes_user="admin")
    (tmp_path / "README.md").write_text("no run")
    (tmp_path / "notes").mkdir()
    assert names(tmp_path) == ["CHG-3", "CHG-2b", "CHG-2", "CHG-1"]
    assert names(tmp_path, node="n7") == ["CHG-2"]
    assert names(tmp_path, node="n2") == [], "all of them looked at it, and none did anything to it"
    assert names(tmp_path, about="podsecuritypolicy") == ["CHG-2b"]
    assert names(tmp_path, about="kubelet on n1") == ["CHG-3", "CHG-1"]
    assert names(tmp_path, user="ann") == ["CHG-3", "CHG-1"]
    assert names(tmp_path, user="admin") == ["CHG-3"]
    today = register(tmp_path)[0].started[:10]
    assert len(names(tmp_path, since=today, until=today)) == 4
    assert names(tmp_path, until="2020-01-01") == []
    assert names(tmp_path, since="2999-01-01T08:30") == []


@pytest.mark.parametrize("text", ["yesterday", "2026-1-1", "2026-11-01 08:30", "2026-11-01T08:30+01:00"])
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ParameterError, match=r"since: .* is not a time; expected one like 2026-11-01"):
        RunFilter(since=text)


def test_a_run_that_was_killed_is_there_with_what_was_and_was_not_done(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    child = os.fork()
    if child == 0:
        changed(tmp_path, "CHG-1", "old: 1\n", "new: 1\n")
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(child, 0)
    [entry] = register(tmp_path)
    assert (entry.result, entry.sealed, entry.nodes) == ("cut off", False, ("n1",))
    assert main(["show", str(entry.folder)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"kubelet on n1 +✘ unknown: the run was cut off", shown)
    assert re.search(r"kubelet on n2 +kubelet +the run was cut off before", shown)
    assert "-old: 1\n+new: 1" in shown


def test_a_torn_line_is_no_reason_to_miss_a_run(tmp_path: Path) -> None:
    run = make_run(tmp_path, finished=False)
    data = (run / "journal.jsonl").read_bytes()
    for cut in range(len(data)):
        (run / "journal.jsonl").write_bytes(data[:cut])
        [entry] = register(tmp_path)
        assert entry.result == "cut off"


def test_a_run_that_goes_on_is_there_as_such(tmp_path: Path) -> None:
    record = changed(tmp_path, "CHG-1", "old: 1\n", "new: 1\n")
    assert [entry.result for entry in register(tmp_path)] == ["running"]
    complete(record)
    assert [entry.result for entry in register(tmp_path)] == ["done"]


def test_the_register_says_what_is_sealed_and_what_holds(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, outputs = make_key(tmp_path), tmp_path / "outputs"
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    good, bad, never = (make_run(outputs, f"CHG-{n}") for n in range(3))
    for run in (good, bad):
        seal(run, None, key)
    with_more = bad / "more"
    with_more.write_text("")

    def seals(*words: str) -> tuple[int, dict[str, str]]:
        status = main(["records", str(outputs), *words])
        lines = capsys.readouterr().out.splitlines()
        return status, {
            run.name: next(line.split("  ")[-1].strip() for line in lines if line.startswith(run.name))
            for run in (good, bad, never)
        }

    assert seals() == (
        0,
        {good.name: "sealed, not verified", bad.name: "sealed, not verified", never.name: "not sealed"},
    )
    assert seals("--verify") == (
        1,
        {good.name: "verified: the-given-key", bad.name: "WRONG, see below", never.name: "not sealed"},
    )
    assert main(["records", str(outputs), "--verify", "--json"]) == 1
    rows = json.loads(capsys.readouterr().out)
    assert [(row["run"], row["sealed"], row["verified"]) for row in rows] == [
        (never.name, False, None),
        (bad.name, True, False),
        (good.name, True, True),
    ]
    assert rows[1]["wrong"] == ["more: was added"]
    assert main(["show", str(bad)]) == 1
    assert "more: was added" in capsys.readouterr().out
    assert main(["show", str(good)]) == 0
    assert "by the-given-key (ssh-ed25519 SHA256:" in capsys.readouterr().out


def test_two_runs_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = complete(changed(tmp_path, "CHG-1", "old: 1\n", "new: 1\n"))
    other = complete(changed(tmp_path, "CHG-2", "new: 1\n", "new: 2\n"))
    nothing = make_run(tmp_path)
    same = complete(changed(tmp_path, "CHG-2", "old: 1\n", "new: 2\n"))
    assert main(["diff", str(one), str(other)]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"change\.id +CHG-1 +CHG-2", shown)
    assert re.search(rf"n1 +{CONFIG} +different", shown)
    assert "-new: 1\n+new: 2" in shown
    assert main(["diff", str(other), str(same)]) == 0
    shown = capsys.readouterr().out
    assert "Differences" not in shown
    assert main(["diff", str(one), str(nothing)]) == 0
    assert re.search(rf"n1 +{CONFIG} +only in {one.name}", capsys.readouterr().out)
    assert re.search(rf"n1 +{CONFIG} +the same", shown)


def test_a_file_that_a_run_removed_is_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    wrote = complete(changed(tmp_path, "CHG-1", "old: 1\n", "new: 1\n"))
    removed = complete(changed(tmp_path, "CHG-2", "new: 1\n", "", gone=True))
    assert main(["diff", str(wrote), str(removed)]) == 0
    shown = capsys.readouterr().out
    assert re.search(rf"n1 +{CONFIG} +different", shown)
    assert "-new: 1" in shown
    [found] = since_run(read_run(removed), "n1", {CONFIG: "back: 1\n"}, Redactor())
    assert (found.words, found.diff.endswith("+back: 1\n")) == ("has changed since", True)


@pytest.mark.parametrize(
    ("now", "words", "diff"),
    [
        ({CONFIG: "new: 1\n"}, "is as the run left it", ""),
        ({CONFIG: "old: 1\n"}, "is as it was before the run", "-new: 1\n+old: 1\n"),
        ({CONFIG: "new: 1\nmore: 2\n"}, "has changed since", "+more: 2\n"),
        ({CONFIG: "new: 1\ntoken: hunter2horse\n"}, "has changed since", "+token: ‹redacted sha256:"),
        ({"/etc/other": ""}, "is used by no service now, or is gone", ""),
    ],
)
def test_what_is_different_on_a_node_since_a_run(
    tmp_path: Path, now: dict[str, str], words: str, diff: str
) -> None:
    past = read_run(complete(changed(tmp_path, "CHG-1", "old: 1\n", "new: 1\n")))
    [found] = since_run(past, "n1", now, Redactor())
    assert (found.node, found.path, found.words) == ("n1", CONFIG, words)
    assert diff in found.diff
    assert bool(diff) == bool(found.diff)
    assert since_run(past, "n2", now, Redactor()) == []


def test_thousands_of_records_stay_quick(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Runs of eight nodes, most of them sealed. It is the processor's time that counts: others may be busy too."""
    run = make_run(tmp_path, "CHG-1", nodes=[f"n{n}" for n in range(8)])
    (run / "record.json").write_text("{}")
    (run / "record.json.sig").write_text("")
    stamp = run.name[:20]
    for number in range(1, MANY):
        copy = tmp_path / run.name.replace(stamp, f"2025{number:04}T000000.000Z")
        copy.mkdir()
        for path in run.iterdir():
            if path.is_file() and (number % 9 or path.name == "journal.jsonl"):
                shutil.copyfile(path, copy / path.name)
    begun = time.process_time()
    assert main(["records", str(tmp_path), "--node", "n7", "--since", "2025-01-01"]) == 0
    took = time.process_time() - begun
    assert capsys.readouterr().out.startswith(f"{MANY} runs")
    assert took < 3


def test_wrong_usage_is_told_apart_from_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["verify", str(tmp_path / "nowhere")],
        ["verify", str(tmp_path)],
        ["show", str(tmp_path)],
        ["records", str(tmp_path), "--since", "soon"],
        ["verify", str(tmp_path), "--allowed-signers", str(tmp_path / "nowhere")],
        ["verify", str(tmp_path), "--key", str(tmp_path / "nowhere.pub")],
    ):
        assert main(words) == 2, words
        assert capsys.readouterr().err.startswith("kubeharden: ")
    for words in ([], ["seal"], ["seal", "run"], ["verify"], ["show"], ["unknown"]):
        with pytest.raises(SystemExit) as ended:
            main(words)
        assert ended.value.code == 2


def test_a_reader_that_has_enough_is_no_error(tmp_path: Path) -> None:
    for number in range(200):
        (tmp_path / f"20250101T000000.{number:03}Z-lab-{'x' * 200}").mkdir()
    done = subprocess.run(
        ["sh", "-c", '"$0" -m kubeharden records "$1" | head -1', sys.executable, tmp_path],
        capture_output=True,
        text=True,
        check=True,
    )
    assert (done.stdout, done.stderr) == ("200 runs\n", "")


def test_outputs_stay_out_of_git(tmp_path: Path) -> None:
    shutil.copy(ROOT / ".gitignore", tmp_path)
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    run = "outputs/20261124T131838.172Z-lab-CHG-1"
    for name in (
        "outputs/out.ipynb",
        f"{run}/record.json",
        f"{run}/files/n1/{'a' * 64}",
        "notebooks/out.ipynb",
    ):
        subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", name], check=True)
    kept = subprocess.run(["git", "-C", tmp_path, "check-ignore", "-q", "outputs/README.md"], check=False)
    assert kept.returncode == 1
