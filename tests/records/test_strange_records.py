"""Records that somebody prepared: what is in them is neither followed, nor believed, nor printed as it is."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from kubeharden.cli import main
from kubeharden.errors import KubehardenError, RecordError
from kubeharden.records import archive, reader
from kubeharden.records.evidence import evidence_of
from kubeharden.records.folder import read_run
from kubeharden.records.keys import public_part
from kubeharden.records.register import compare_runs, record_of, register
from kubeharden.records.seal import seal
from kubeharden.records.signature import Signers, only_signer, sign
from kubeharden.records.verify import verify, verify_folder
from kubeharden.show.display import Bars, Block, Diff, Listing, Message, Table, View
from record_support import make_key, make_notebook, make_run

FORGED = (
    "\n✔ 20261124T131838.172Z-lab-CHG-1: as sealed on 2026-11-24T13:18:42Z, by ann (ssh-ed25519 SHA256:x)"
)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path)


@pytest.fixture
def signers(key: Path) -> Iterator[Signers]:
    with only_signer(public_part(key)) as only:
        yield only


@pytest.fixture
def run(tmp_path: Path, key: Path) -> Path:
    folder = make_run(tmp_path / "outputs")
    seal(folder, None, key)
    return folder


def sealed_anew(run: Path, with_key: Path, /, **changes: object) -> None:
    """The record with other values in its seal, signed by the same key."""
    path = run / "record.json"
    content = json.loads(path.read_text())
    content["seal"] |= changes
    path.chmod(0o600)
    path.write_text(json.dumps(content))
    path.with_name("record.json.sig").unlink()
    sign(path, with_key)


def in_place_of(path: Path, what: str, aside: Path) -> None:
    """Something else than a file where a file was; its content is the same where it can be."""
    path.chmod(0o600)
    path.rename(aside)
    match what:
        case "link":
            path.symlink_to(aside)
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
        case "sparse":
            with path.open("wb") as file:
                file.truncate(1 << 40)


@pytest.mark.parametrize("what", ["link", "pipe", "endless", "folder", "sparse"])
@pytest.mark.parametrize("name", ["record.json", "record.json.sig", "journal.jsonl", f"files/n1/{'a' * 64}"])
def test_what_is_no_file_of_a_usual_size_is_wrong_and_nothing_waits_for_it(
    run: Path, signers: Signers, tmp_path: Path, name: str, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    in_place_of(run / name, what, tmp_path / "aside")
    verdict = verify(run, signers)
    assert not verdict.good
    assert name in "\n".join(verdict.wrong)
    [entry] = register(run.parent)
    assert entry.run == run.name
    for words in (["records", str(run.parent)], ["show", str(run)], ["diff", str(run), str(run)]):
        main(words)
    for work in (record_of, read_run):
        with suppress(RecordError):
            work(run)


@pytest.mark.parametrize("name", ["plan.json", "files.json", "objects.json"])
@pytest.mark.parametrize("what", ["pipe", "endless", "link"])
def test_what_a_rollback_reads_is_a_regular_file(run: Path, tmp_path: Path, name: str, what: str) -> None:
    (run / name).write_text("[]")
    in_place_of(run / name, what, tmp_path / "aside")
    [problem] = read_run(run).problems
    assert problem.startswith(f"{name}: cannot be read as a regular file")


def test_a_link_in_the_place_of_a_run_is_listed_and_wrong(
    run: Path, signers: Signers, tmp_path: Path, capsys: pytest.CaptureFixture[str], key: Path
) -> None:
    run.rename(tmp_path / run.name)
    run.symlink_to(tmp_path / run.name)
    [verdict] = verify_folder(run.parent, signers)
    assert verdict.wrong == ("is a link, and not the folder of a run itself",)
    assert main(["verify", str(run), "--key", str(key)]) == 1
    assert main(["records", str(run.parent)]) == 0
    assert run.name in capsys.readouterr().out
    with pytest.raises(RecordError, match="it is a link"):
        read_run(run)
    dangling = run.parent / "20270101T000000.000Z-lab-x"
    dangling.symlink_to(tmp_path / "nowhere")
    assert [v.folder.name for v in verify_folder(run.parent, signers)] == [run.name, dangling.name]


def test_a_folder_inside_that_is_a_link_is_not_followed(run: Path, signers: Signers, tmp_path: Path) -> None:
    (run / "files").rename(tmp_path / "elsewhere")
    (run / "files").symlink_to(tmp_path / "elsewhere")
    assert f"files/n1/{'a' * 64}: is missing" in verify(run, signers).wrong
    with pytest.raises(RecordError, match="cannot be read as a regular file"):
        read_run(run).content("n1", "a" * 64)


def test_a_folder_that_cannot_be_read_hides_nothing(
    run: Path, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root reads all: the system says no here for a folder of that name."""
    (run / "closed").mkdir()
    (run / "closed/planted").write_text("")
    real = os.open

    def refuse(path: object, *words: object, **more: object) -> int:
        if path == "closed":
            raise PermissionError(13, "Permission denied")
        return real(path, *words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(os, "open", refuse)
    assert verify(run, signers).wrong == (f"{run.name}: cannot be read as a folder (Permission denied)",)


def test_names_below_have_an_end(run: Path, monkeypatch: pytest.MonkeyPatch, signers: Signers) -> None:
    (run / "/".join("deeper" * 10)).mkdir(parents=True)
    assert any("folders in each other" in text for text in verify(run, signers).wrong)
    shutil.rmtree(run / "d")
    monkeypatch.setattr(reader, "MOST_FILES", 2)
    assert verify(run, signers).wrong == ("there are more than 2 files",)


@pytest.mark.parametrize(
    "name", ["../journal.jsonl", "/etc/passwd", "a/../b", "", ".", "a//b", "a\0b", "\ud800"]
)
def test_a_path_that_leads_elsewhere_is_refused(run: Path, name: str) -> None:
    with pytest.raises(RecordError):
        reader.read(run, name)


@pytest.mark.parametrize(
    "change",
    [
        {"previous": "../../x"},
        {"previous": "/etc"},
        {"unsealed": ["../x"]},
        {"number": 0},
        {"number": True},
        {"sealed": "2026-11-24"},
        {"sealed": "2026-13-24T13:18:42Z"},
        {"sealed": "2026-02-30T13:18:42Z"},
        {"sealed": "0000-01-01T00:00:00Z"},
        {"sealed": "2026-11-24T99:18:42Z"},
        {"sealed": "20261124T131842Z\n"},
        {"files": {"journal.jsonl": "x"}},
        {"files": {"journal.jsonl": ["0" * 64]}},
        {"unsealed": "20270101T000000.000Z-lab-x"},
        {"lines": 4.0},
        {"key": None},
    ],
)
def test_a_seal_of_another_form_is_damaged(
    run: Path, key: Path, signers: Signers, change: dict[str, object]
) -> None:
    sealed_anew(run, key, **change)
    assert verify(run, signers).wrong == ("record.json: its seal is damaged",)


def test_all_but_the_newest_run_gone_is_wrong_unless_it_is_meant(
    tmp_path: Path, key: Path, signers: Signers, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / "outputs", f"CHG-{n}") for n in range(3)]
    for one in runs:
        seal(one, None, key)
    for one in runs[:-1]:
        shutil.rmtree(one)
    words = ["verify", str(tmp_path / "outputs"), "--key", str(key)]
    assert main(words) == 1
    assert f"the run sealed before it is gone: {runs[1].name}" in capsys.readouterr().out
    assert main([*words, "--oldest", runs[2].name]) == 0
    runs[1].symlink_to(tmp_path)
    assert main(["verify", str(runs[2]), "--key", str(key)]) == 1


def test_times_of_seals_do_not_go_back(
    tmp_path: Path, key: Path, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key that has expired would count again at an earlier time."""
    first, second = (make_run(tmp_path / "outputs", f"CHG-{n}") for n in range(2))
    seal(first, None, key)
    made = seal(second, None, key).seal
    assert verify(second, signers).good
    sealed_anew(second, key, sealed="2020-01-01T00:00:00Z")
    [wrong] = verify(second, signers).wrong
    assert wrong.startswith(
        "record.json: was sealed at 2020-01-01T00:00:00Z, before the last event of the run, at 20"
    )

    later = "2999-01-01T00:00:00Z"
    sealed_anew(first, key, sealed=later)
    digest = reader.digest(first, "record.json")
    sealed_anew(second, key, sealed=made.sealed, previous_digest=digest)
    [wrong] = verify(second, signers).wrong
    assert wrong == (
        f"record.json: was sealed at {made.sealed}, before the run that it follows, {first.name}, at {later}"
    )
    third = make_run(tmp_path / "outputs", "CHG-3")
    sealed_anew(second, key, sealed=later, previous_digest=digest)
    with pytest.raises(RecordError, match="the clock of this machine is behind"):
        seal(third, None, key)
    assert not (third / ".sealing").exists()


def at_times(run: Path, change: Callable[[str], str]) -> dict[str, str]:
    """A journal with other times, whose chain holds; what the seal must say of it."""
    path, raw, previous = run / "journal.jsonl", list[bytes](), ""
    for line in map(json.loads, path.read_bytes().splitlines()):
        line |= {"previous": previous, "time": change(line["time"])}
        raw.append(json.dumps(line, sort_keys=True).encode())
        previous = hashlib.sha256(raw[-1]).hexdigest()
    path.chmod(0o600)
    path.write_bytes(b"".join(line + b"\n" for line in raw))
    return {"last_line": previous, "journal.jsonl": reader.digest(run, "journal.jsonl")}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda _: "", "has an event at '', which is not a time"),
        (lambda _: "0", "has an event at '0', which is not a time"),
        (lambda time: time.replace("+00:00", "-14:00"), "which is not a time as a run writes it"),
        (lambda time: time.replace("T", " "), "which is not a time as a run writes it"),
        (lambda _: "2020-01-01T00:00:00.000+00:00", "before the run began, at 20"),
    ],
)
def test_a_journal_of_other_times_does_not_make_a_seal_older(
    run: Path, key: Path, signers: Signers, change: Callable[[str], str], words: str
) -> None:
    content = json.loads((run / "record.json").read_text())["seal"]
    more = at_times(run, change)
    content["files"]["journal.jsonl"] = more.pop("journal.jsonl")
    early = {"sealed": "2020-06-01T00:00:00Z"} if "began" in words else {}
    sealed_anew(run, key, files=content["files"], **more, **early)
    wrong = verify(run, signers).wrong
    assert words in "\n".join(wrong)


def test_a_seal_of_a_time_to_come_is_wrong(run: Path, key: Path, tmp_path: Path) -> None:
    """A key that counts from then on would count now."""
    allowed = tmp_path / "allowed"
    allowed.write_text(f'ann valid-after="20980101" {public_part(key)}\n')
    sealed_anew(run, key, sealed="2999-01-01T00:00:00Z")
    [wrong] = verify(run, Signers(allowed)).wrong
    assert wrong.startswith(
        "record.json: was sealed at 2999-01-01T00:00:00Z, and by the clock of this machine"
    )


def forge_journal(run: Path, change: Callable[[dict[str, object]], object]) -> None:
    """Each line with other content; what it says of the line before is not mended."""
    path = run / "journal.jsonl"
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    for line in lines:
        change(line)
    path.chmod(0o600)
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines))


@pytest.mark.parametrize(
    "values",
    [
        {"nodes": 5, "who": [1], "kubernetes_user": {}, "steps": None, "cluster": 7, "parameters": "x"},
        {"subject": ["x"], "seconds": "soon", "node": 3},
        {"changes": [{"step": 1}], "changed": 1, "not_carried_out": {}, "mode": 0, "failed": 2},
        {"time": "\ud800", "who": {"login": ["x"], "sudo_user": {"a": 1}}},
        {"time": "", "change_id": FORGED},
    ],
)
def test_a_journal_of_other_types_is_a_matter_of_its_own_run(
    tmp_path: Path, values: dict[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = make_run(tmp_path, "CHG-1"), make_run(tmp_path, "CHG-2")
    forge_journal(bad, lambda line: line.update({k: v for k, v in values.items() if k in line}))
    assert main(["records", str(tmp_path)]) == 0
    shown = capsys.readouterr().out
    assert good.name in shown
    assert f"✘ {bad.name}: journal.jsonl: line " in shown
    assert main(["records", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert [bool(row["wrong"]) for row in rows] == [True, False]
    assert main(["show", str(bad)]) in {0, 1}
    assert main(["diff", str(bad), str(good)]) in {0, 1}
    assert "Traceback" not in capsys.readouterr().err


def test_a_sealed_record_of_another_form_is_called_that(
    run: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = run / "record.json"
    content = json.loads(path.read_text())
    for change in ({"who": 5}, {"steps": "all"}, {"changes": [{"files": 1}]}, {"result": ["done"]}):
        path.chmod(0o600)
        path.write_text(json.dumps({**content, **change}))
        assert main(["show", str(run)]) == 1
        assert "is not what the form of a record says" in capsys.readouterr().err
    path.write_text(json.dumps(content)[:-1] + ', "who": {}}')
    assert main(["show", str(run)]) == 1
    assert "it is not JSON" in capsys.readouterr().err


@pytest.mark.parametrize("where", ["run", "file", "cluster", "message", "previous", "subject", "diff"])
def test_names_reach_the_terminal_on_one_line_and_without_control(
    tmp_path: Path, key: Path, where: str, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = f"x\x1b[2K\x9b2K\u202e{FORGED}\r"
    run = make_run(tmp_path / "outputs", "CHG-1")
    match where:
        case "run":
            run = run.rename(run.with_name(run.name + odd.replace("/", "")))
        case "file":
            seal(run, None, key)
            (run / odd.replace("/", "")).write_text("")
        case "cluster":
            forge_journal(run, lambda line: line.update({"cluster": odd, "subject": odd}))
        case "subject":
            forge_journal(
                run, lambda line: line.update({"subject": FORGED.strip(), "error": f"x\x85{FORGED}"})
            )
        case "diff":
            seal(run, None, key)
            path = run / "record.json"
            content = json.loads(path.read_text())
            file = {
                **dict.fromkeys(("path", "mode", "owner", "group", "before", "after"), "x"),
                "redacted": False,
            }
            content["changes"][0]["files"] = [{**file, "diff": f"x{FORGED}\r{FORGED}\u2028{FORGED}"}]
            path.chmod(0o600)
            path.write_text(json.dumps(content))
        case "message":
            forge_journal(run, lambda line: line.update({"words": odd, "reason": odd}))
        case "previous":
            seal(run, None, key)
            sealed_anew(run, key, number=2, previous=f"20200101T000000.000Z-{odd}")
    for words in (
        ["verify", str(run.parent), "--key", str(key)],
        ["verify", str(run), "--key", str(key)],
        ["records", str(run.parent)],
        ["records", str(run.parent), "--json"],
        ["records", str(run.parent), "--verify", "--key", str(key)],
        ["show", str(run)],
        ["show", str(run), "--json"],
        ["diff", str(run), str(run)],
        ["seal", str(run), "--no-notebook", "--key", str(key)],
    ):
        main(words)
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert not any(line.startswith(FORGED.strip()) for line in text.splitlines()), (words, text)
            assert all(c.isprintable() or c in "\n\t" for c in text), (words, text)


def test_what_lies_where_a_seal_is_prepared_is_not_followed(tmp_path: Path, key: Path) -> None:
    victim = tmp_path / "victim"
    victim.mkdir()
    (victim / "kept").write_text("kept")
    run = make_run(tmp_path / "outputs")
    (run / ".sealing").symlink_to(victim)
    seal(run, None, key)
    assert (victim / "kept").read_text() == "kept"
    assert sorted(path.name for path in victim.iterdir()) == ["kept"]
    other = make_run(tmp_path / "outputs", "CHG-2")
    (other / "planted").symlink_to(victim / "kept")
    with pytest.raises(RecordError, match="planted: cannot be read as a regular file"):
        seal(other, None, key)
    assert oct((victim / "kept").stat().st_mode)[-3:] == "644"


@pytest.mark.parametrize("what", ["pipe", "file", "folder", "nowhere"])
def test_whatever_lies_where_a_seal_is_prepared_goes(tmp_path: Path, key: Path, what: str) -> None:
    run = make_run(tmp_path / "outputs")
    place = run / ".sealing"
    match what:
        case "pipe":
            os.mkfifo(place)
        case "file":
            place.write_text("x")
        case "folder":
            (place / "deep/er").mkdir(parents=True)
            os.mkfifo(place / "deep/pipe")
        case "nowhere":
            place.symlink_to(tmp_path / "nowhere")
    child = os.fork()
    if child == 0:
        signal.alarm(30)  # it would wait for ever
        seal(run, None, key)
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    assert not place.exists()


def test_what_is_written_can_be_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from kubeharden.records import folder, journal
    from kubeharden.redaction import Redactor

    monkeypatch.setattr(reader, "LIMIT", 300)
    monkeypatch.setattr(journal, "LIMIT", 300)
    with pytest.raises(RecordError, match=r"has more than 300 bytes\. What cannot be recorded is not done"):
        folder.write_aside(tmp_path, "plan.json", b"x" * 301)
    writer = journal.JournalWriter(tmp_path / "journal.jsonl", "run-1", Redactor())
    writer.write("started", {})
    with pytest.raises(RecordError, match="is full"):
        writer.write("started", {"subject": "x" * 200})
    assert journal.read_journal(tmp_path / "journal.jsonl").problems == ()


def test_a_link_in_the_place_of_a_file_that_is_written_is_replaced(tmp_path: Path) -> None:
    from kubeharden.records.folder import write_aside

    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / ".plan.json.new").symlink_to(victim)
    write_aside(tmp_path, "plan.json", b"{}")
    assert victim.read_text() == "kept"
    assert (tmp_path / "plan.json").read_text() == "{}"


@pytest.mark.parametrize("name", ["plans/a.json", "files/n1/a", "a/b/c"])
def test_a_link_in_the_place_of_a_folder_that_is_written_into_is_an_error(tmp_path: Path, name: str) -> None:
    from kubeharden.records.folder import write_aside

    run, elsewhere = tmp_path / "run", tmp_path / "elsewhere"
    run.mkdir()
    elsewhere.mkdir()
    inner = run / Path(name).parent
    inner.parent.mkdir(parents=True, exist_ok=True)
    inner.symlink_to(elsewhere)
    handles = len(list(Path("/proc/self/fd").iterdir()))
    with pytest.raises(RecordError, match="cannot write"):
        write_aside(run, name, b"{}")
    assert list(elsewhere.iterdir()) == []
    assert len(list(Path("/proc/self/fd").iterdir())) == handles
    inner.unlink()
    write_aside(run, name, b"{}")
    assert (run / name).read_bytes() == b"{}"
    assert (run / name).stat().st_mode & 0o777 == 0o600


def test_a_file_with_a_name_elsewhere_is_not_sealed(tmp_path: Path, key: Path, signers: Signers) -> None:
    """It could change there, and would be for its owner only everywhere."""
    made, other = make_run(tmp_path / "outputs"), tmp_path / "others"
    other.write_text("of somebody")
    other.chmod(0o644)
    os.link(other, made / "note")
    with pytest.raises(RecordError, match=r"note has 2 names \(hard links\)"):
        seal(made, None, key)
    assert other.stat().st_mode & 0o777 == 0o644
    (made / "note").unlink()
    seal(made, None, key)
    os.link(made / "journal.jsonl", tmp_path / "a backup that saves room")
    assert verify(made, signers).good


@pytest.mark.parametrize(
    "data",
    [
        b'{"a": 1, "a": 2}',
        b'\xef\xbb\xbf{"a": 1}',
        '{"a": 1}'.encode("utf-16"),
        b'{"a": NaN}',
        b'{"a": -Infinity}',
        b"[" * 100_000,
        b"[" * 200 + b"]" * 200,
        b'{"a":' * 200 + b"1" + b"}" * 200,
        b'{"a": ' + b"9" * 5000 + b"}",
        b"\xff",
        b"",
    ],
)
def test_json_that_can_be_read_in_two_ways_is_not_read(data: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - whose words they are depends on the data
        reader.parse_json(data)


def test_nothing_but_the_librarys_own_errors_comes_out_of_comparing(run: Path, tmp_path: Path) -> None:
    other = make_run(tmp_path / "outputs", "CHG-2")
    forge_journal(other, lambda line: line.update({"parameters": {"x": 1}}) if "parameters" in line else None)
    for two in ((run, other), (other, run)):
        with suppress(KubehardenError):
            compare_runs(*two)
    assert archive.is_sealed(run)


@pytest.mark.parametrize("text", ["a\0b", "x" * 5000, "~nobody-at-all/x", "a\nb", "\ud800"])
def test_what_cannot_be_a_path_is_wrong_usage(
    run: Path, key: Path, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (
        ["verify", text, "--key", str(key)],
        ["verify", str(run), "--key", text],
        ["verify", str(run), "--allowed-signers", text],
        ["records", text],
        ["show", text],
        ["diff", text, text],
        ["push", text, "s3://records"],
    ):
        assert main(words) == 2, words
        assert capsys.readouterr().err.startswith("kubeharden: ")
    assert main(["seal", str(run), "--no-notebook", "--key", text]) == 1
    assert main(["seal", str(run), text, "--key", str(key)]) == 1


def test_a_list_of_runs_misses_those_before_the_oldest_too(
    tmp_path: Path, key: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [make_run(tmp_path / "outputs", f"CHG-{n}") for n in range(2)]
    for one in runs:
        seal(one, None, key)
    shutil.rmtree(runs[0])
    words = ["records", str(tmp_path / "outputs"), "--verify", "--key", str(key)]
    assert main(words) == 1
    assert f"the run sealed before it is gone: {runs[0].name}" in capsys.readouterr().out
    assert main([*words, "--oldest", runs[1].name]) == 0


@pytest.mark.parametrize(
    "text", [f"x\x1b[2K\x9b2K\u202e{FORGED}\r{FORGED}\x85{FORGED}\u2028{FORGED}", FORGED.strip()]
)
def test_names_in_a_view_of_a_notebook_are_names(text: str) -> None:
    blocks: list[Block] = [
        Table(text, [text, "b"], [[text, "a\nb"], ["x", text]]),
        Message(f"x{text}"),
        Diff(text, f"+a\n{text}"),
        Listing(text, text),
        Bars(text, "a", ["b"], {text: [1]}),
    ]
    view = View(blocks)
    shown = str(view)
    assert "a" in shown
    assert all(c.isprintable() or c in "\n\t" for c in shown)
    assert not any(line.startswith(FORGED.strip()) for line in shown.splitlines()), shown
    page = view._repr_html_()
    assert all(c.isprintable() or c in "\n\t" for c in page)
    assert "2K" not in page


def test_a_late_seal_of_a_stranger_keeps_nobody_from_sealing(
    tmp_path: Path, key: Path, signers: Signers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anyone who can write here could put one there; one of somebody whose signature counts is another matter."""
    monkeypatch.setenv("HOME", str(tmp_path))
    stranger = make_key(tmp_path, "stranger")
    first, planted, second, third = (make_run(tmp_path / "outputs", f"CHG-{n}") for n in range(4))
    seal(first, None, key)
    seal(planted, None, stranger)
    late = {"sealed": "2999-01-01T00:00:00Z", "number": 10**30}
    sealed_anew(planted, stranger, **late)
    made = seal(second, None, key).seal
    assert (made.number, made.previous) == (2, first.name)
    assert verify(second, signers).good
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {public_part(stranger)}\n")
    monkeypatch.setenv("KUBEHARDEN_ALLOWED_SIGNERS", str(allowed))
    with pytest.raises(RecordError, match="the clock of this machine is behind"):
        seal(third, None, key)
    (planted / "record.json.sig").chmod(0o600)
    (planted / "record.json.sig").write_text("no signature")
    assert seal(third, None, key).seal.previous == second.name


@pytest.mark.parametrize("text", ["planted \ud800", "\udc9b[31m", "\udfff" * 3])
@pytest.mark.parametrize("where", ["output", "data", "type", "metadata", "error"])
def test_half_characters_of_a_notebook_are_kept_as_json_escapes_them(
    tmp_path: Path, key: Path, signers: Signers, where: str, text: str
) -> None:
    run = make_run(tmp_path / "outputs")
    path = make_notebook(tmp_path / "made.ipynb", run)
    content = json.loads(path.read_text())
    output = content["cells"][2]["outputs"][0]
    match where:
        case "output":
            output["text"] = text
        case "data" | "type":
            shown = {"text/plain": text} if where == "data" else {f"text/{text}": "x"}
            content["cells"][1]["outputs"][0]["data"] |= shown
        case "metadata":
            content["metadata"][text] = {"a": text}
        case "error":
            error = {"output_type": "error", "ename": text, "evalue": text, "traceback": [text]}
            content["cells"][2]["outputs"].append(error)
    path.write_text(json.dumps(content))
    seal(run, path, key)
    assert verify(run, signers).good
    assert seal(run, path, key).again
    json.loads((run / "notebook.ipynb").read_text())


@pytest.mark.parametrize(
    "source",
    [
        f"mode = {'-' * 20_000}1",
        f"mode = {'a.' * 20_000}b",
        f"mode = {'1+' * 5000}1",
        "mode = 'apply'\0",
        "mode = '\ud800'",
        "mode = {[]}",
        "mode = {[]: 1}",
        f"mode = 0x{'f' * 100_000}",
        f"mode = {'(' * 300}{')' * 300}",
    ],
)
def test_whatever_a_cell_of_a_notebook_assigns_it_is_sealed_or_refused(
    tmp_path: Path, key: Path, source: str
) -> None:
    run = make_run(tmp_path / "outputs", parameters={"mode": "apply"})
    path = make_notebook(tmp_path / "made.ipynb", run)
    content = json.loads(path.read_text())
    content["cells"][1]["source"] = source
    path.write_text(json.dumps(content))
    try:
        seal(run, path, key)
    except RecordError as error:
        assert "Python does not read a cell" in str(error)  # noqa: PT017 - both ends are fine


def test_the_name_of_a_run_in_a_notebook_is_on_one_line(tmp_path: Path, key: Path) -> None:
    run = make_run(tmp_path / "outputs")
    path = make_notebook(tmp_path / "made.ipynb", run.with_name(f"x{FORGED.replace('/', '')}"))
    with pytest.raises(RecordError) as raised:
        seal(run, path, key)
    assert str(raised.value).isprintable()


def test_a_process_that_has_the_folder_is_not_waited_for_without_end(
    run: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_run(run.parent, "CHG-2")
    handle = os.open(run.parent, os.O_RDONLY)
    fcntl.flock(handle, fcntl.LOCK_EX)
    monkeypatch.setattr("kubeharden.records.archive.LOCK_SECONDS", 0)
    with pytest.raises(RecordError, match="another process has had this folder"):
        seal(other, None, key)
    os.close(handle)
    seal(other, None, key)


def test_a_record_that_a_colleague_has_sealed_is_read_with_their_key(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(make_key(tmp_path, "own")))
    with pytest.raises(
        RecordError, match=r"name their public key or a file of allowed signers .*the parameter signers"
    ):
        evidence_of(read_run(run))
    assert evidence_of(read_run(run), str(tmp_path / "key.pub")).vouched


@pytest.mark.parametrize("data", [b"\n" * 3_000_000, b"{}\n" * 500_000, b"[" * 60 + b"\n" * 500_000])
def test_a_journal_of_lines_without_end_is_wrong_in_time(run: Path, signers: Signers, data: bytes) -> None:
    (run / "journal.jsonl").chmod(0o600)
    (run / "journal.jsonl").write_bytes(data)
    begun = time.process_time()
    wrong = verify(run, signers).wrong
    assert time.process_time() - begun < 5
    assert 100 < len(wrong) < 110
    assert "were not read any more" in "".join(wrong)
    assert len(register(run.parent)[0].wrong) < 110
