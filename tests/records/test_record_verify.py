"""Verification: every byte flipped, every line dropped or swapped, every file added or gone is found and named."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import sampling
from kubeharden.cli import main
from kubeharden.records.archive import alterations, read_record, read_seal
from kubeharden.records.keys import fingerprint, public_part
from kubeharden.records.seal import seal
from kubeharden.records.signature import Signers, sign
from kubeharden.records.verify import Verdict, verify, verify_folder
from record_support import make_key, make_notebook, make_run


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory, key: Path) -> Path:
    """A sealed run that no test changes for longer than it looks at it."""
    parent = tmp_path_factory.mktemp("pristine")
    run = make_run(parent / "outputs")
    seal(run, make_notebook(parent / "out.ipynb", run), key)
    return run


@pytest.fixture
def run(pristine: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pristine, tmp_path / pristine.name)


def found(run: Path, signers: Signers) -> bool:
    """Whether a change is found; the signature is looked at only where nothing else shows it, since that is slow."""
    try:
        return bool(alterations(run, read_seal(read_record(run)))) or not verify(run, signers).good
    except Exception:
        return not verify(run, signers).good


def flipped(data: bytes, at: int, mask: int) -> bytes:
    return data[:at] + bytes([data[at] ^ mask]) + data[at + 1 :]


def with_content(path: Path, data: bytes, look: Callable[[], bool]) -> bool:
    """What ``look`` says while the file has this content."""
    before = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data)
    try:
        return look()
    finally:
        path.write_bytes(before)


def test_every_byte_of_what_was_recorded_counts(
    pristine: Path, signers: Signers, request: pytest.FixtureRequest
) -> None:
    tried = known = 0
    small = [
        p for p in pristine.rglob("*") if p.is_file() and not p.name.startswith(("record.", "notebook."))
    ]
    assert {path.name for path in small} == {"journal.jsonl", "a" * 64}
    for path in (*small, pristine / "notebook.ipynb"):
        data = path.read_bytes()
        sample = sampling.chosen(len(data), len(data) // 10)
        tried, known = tried + len(sample), known + len(data)
        for at in sample:
            change = flipped(data, at, 1 << at % 8)
            assert with_content(path, change, lambda: found(pristine, signers)), (path.name, at)
    sampling.tell(request.node, "the bytes of a sealed run", tried, known)
    assert verify(pristine, signers).good


@pytest.mark.parametrize("name", ["record.json", "record.json.sig", "notebook.html"])
def test_every_byte_of_what_is_sealed_counts(pristine: Path, signers: Signers, name: str) -> None:
    path = pristine / name
    data = path.read_bytes()

    @settings(max_examples=sampling.examples(60), deadline=None, suppress_health_check=list(HealthCheck))
    @given(st.integers(0, len(data) - 1), st.integers(1, 255))
    def any_byte(at: int, mask: int) -> None:
        assert with_content(path, flipped(data, at, mask), lambda: found(pristine, signers)), (at, mask)

    any_byte()
    # Of the page and the signed record, each byte takes nine minutes.
    share = 5 if name.endswith(".sig") else 500
    for at in sampling.chosen(len(data), len(data) // share):
        assert with_content(path, flipped(data, at, 1 << at % 8), lambda: found(pristine, signers)), at
    for cut in range(0, len(data), max(1, len(data) // 20)):
        assert with_content(path, data[:cut], lambda: found(pristine, signers)), cut
    assert verify(pristine, signers).good


def test_white_space_in_a_signature_counts(pristine: Path, signers: Signers) -> None:
    """ssh-keygen itself would not mind any of these."""
    path = pristine / "record.json.sig"
    text = path.read_bytes()
    for other in (
        text.replace(b"\n", b"\r\n"),
        text + b"\n",
        b"\n" + text,
        text.rstrip(),
        text.replace(b"U1", b"U 1", 1),
    ):
        assert with_content(path, other, lambda: not verify(pristine, signers).good), other


def test_every_line_dropped_doubled_or_swapped_is_named(pristine: Path, signers: Signers) -> None:
    path = pristine / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    assert len(lines) >= 4

    def named(changed: list[bytes]) -> bool:
        words = "\n".join(verify(pristine, signers).wrong)
        return bool(re.search(r"journal\.jsonl: (line \d+ |has \d+ lines, and 4 were sealed)", words))

    for at in range(len(lines)):
        for changed in (lines[:at] + lines[at + 1 :], lines[: at + 1] + lines[at:]):
            assert with_content(path, b"".join(changed), lambda changed=changed: named(changed)), at
    for one, other in itertools.combinations(range(len(lines)), 2):
        changed = list(lines)
        changed[one], changed[other] = changed[other], changed[one]
        assert with_content(path, b"".join(changed), lambda changed=changed: named(changed)), (one, other)


def test_the_line_that_was_changed_is_named(run: Path, signers: Signers) -> None:
    path = run / "journal.jsonl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"ops"', b'"eve"'))
    wrong = verify(run, signers).wrong
    assert wrong[0] == "journal.jsonl: was changed"
    assert wrong[1].startswith("journal.jsonl: line 2 does not follow the line before it")


def test_the_last_line_has_no_line_after_it_and_is_named_all_the_same(run: Path, signers: Signers) -> None:
    path = run / "journal.jsonl"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes().replace(b'"not_carried_out": []', b'"not_carried_out": 0.'))
    assert verify(run, signers).wrong == (
        "journal.jsonl: was changed",
        "journal.jsonl: line 4 is not an event",
        "journal.jsonl: line 4 was changed",
    )


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("added", "files/n1/planted: was added"),
        ("missing", f"files/n1/{'a' * 64}: is missing"),
        ("link to the same", "journal.jsonl: cannot be read as a regular file"),
        ("link to a folder", "more: was added"),
        ("pipe", "pipe: was added"),
        ("folder renamed", "lies in the folder of another run"),
        ("page gone", "notebook.html: is missing"),
        ("signature gone", "it is not sealed"),
        ("record gone", "record.json: cannot be read"),
        ("seal gone", "has no seal that this version"),
    ],
)
def test_what_is_added_missing_or_no_plain_file_is_named(
    run: Path, signers: Signers, tmp_path: Path, what: str, message: str
) -> None:
    match what:
        case "added":
            (run / "files/n1/planted").write_text("")
        case "missing":
            (run / "files/n1" / ("a" * 64)).unlink()
        case "link to the same":
            shutil.move(run / "journal.jsonl", tmp_path / "elsewhere")
            (run / "journal.jsonl").symlink_to(tmp_path / "elsewhere")
        case "link to a folder":
            (run / "more").symlink_to("/etc")
        case "pipe":
            os.mkfifo(run / "pipe")
        case "folder renamed":
            run = run.rename(tmp_path / "20200101T000000.000Z-lab-CHG-9")
        case "page gone":
            (run / "notebook.html").unlink()
        case "signature gone":
            (run / "record.json.sig").unlink()
        case "record gone":
            (run / "record.json").unlink()
        case "seal gone":
            content = read_record(run)
            del content["seal"]
            (run / "record.json").chmod(0o600)
            (run / "record.json").write_text(json.dumps(content))
    assert message in "\n".join(verify(run, signers).wrong)


def test_a_foreign_signature_is_told_apart_from_a_changed_record(
    run: Path, signers: Signers, tmp_path: Path
) -> None:
    foreign = make_key(tmp_path, "foreign")
    (run / "record.json.sig").unlink()
    sealed = run / "record.json"
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "kubeharden-record", "-f", foreign, sealed]
    subprocess.run(command, check=True, capture_output=True)
    [wrong] = verify(run, signers).wrong
    assert re.fullmatch(
        r"record\.json\.sig: a foreign signature, made with ED25519 key SHA256:\S+, which .*", wrong
    )
    sealed.chmod(0o600)
    sealed.write_bytes(sealed.read_bytes().replace(b'"number": 1', b'"number": 2'))
    wrong = verify(run, signers).wrong
    assert "record.json: was altered after it was signed, or its signature was" in wrong


def test_a_record_that_names_another_key_than_its_signatures_is_wrong(
    run: Path, key: Path, tmp_path: Path
) -> None:
    """Both may sign; what one signed cannot pass for the other's."""
    bob = make_key(tmp_path, "bob")
    allowed = tmp_path / "allowed"
    allowed.write_text(f"alice {public_part(key)}\nbob {public_part(bob)}\n")
    assert verify(run, Signers(allowed)).wrong == ()
    (run / "record.json.sig").unlink()
    sign(run / "record.json", bob)
    verdict = verify(run, Signers(allowed))
    bobs, alices = fingerprint(public_part(bob)), fingerprint(public_part(key))
    assert verdict.signer == "bob"
    assert verdict.wrong == (f"record.json.sig: was made with {bobs}, and record.json says {alices}",)


def test_a_signature_for_something_else_does_not_count(run: Path, signers: Signers, key: Path) -> None:
    """A commit, or a file, that the operator signed with the same key is not a record."""
    (run / "record.json.sig").unlink()
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "git", "-f", key, run / "record.json"]
    subprocess.run(command, check=True, capture_output=True)
    assert not verify(run, signers).good


def test_allowed_signers_give_the_name_and_the_time(run: Path, key: Path, tmp_path: Path) -> None:
    path, line = tmp_path / "signers", public_part(key)
    path.write_text(f"# operators\nann@example.org {line}\n")
    assert verify(run, Signers(path)).signer == "ann@example.org"
    path.write_text(f'ann@example.org valid-before="20200101" {line}\n')
    assert not verify(run, Signers(path)).good
    path.write_text(f'ann@example.org namespaces="git" {line}\n')
    assert not verify(run, Signers(path)).good
    path.write_text("not a signers file\n")
    assert not verify(run, Signers(path)).good


@pytest.fixture
def register(tmp_path: Path, key: Path) -> list[Path]:
    """Four runs in a folder; the third is not sealed."""
    runs = [make_run(tmp_path / "outputs", f"CHG-{n}") for n in range(4)]
    for number in (0, 1, 3):
        seal(runs[number], None, key)
    return runs


def wrong_in(parent: Path, signers: Signers, oldest: str = "") -> dict[str, tuple[str, ...]]:
    return {v.folder.name: v.wrong for v in verify_folder(parent, signers, oldest) if v.wrong}


def test_a_record_that_was_deleted_is_noticed(register: list[Path], signers: Signers) -> None:
    first, second, unsealed, last = register
    parent = first.parent
    expected = {unsealed.name: ("it is not sealed: nothing vouches for what is in it",)}
    assert wrong_in(parent, signers) == expected
    shutil.rmtree(second)
    gone = f"the run sealed before it is gone: {second.name}"
    assert wrong_in(parent, signers)[last.name] == (gone,)
    assert verify(last, signers).wrong == (gone,), "one run by itself, beside others, shows it as well"
    shutil.rmtree(first)
    shutil.rmtree(unsealed)
    assert wrong_in(parent, signers, oldest=last.name) == {}, "kept from here on: on purpose"


def test_a_run_that_was_never_sealed_cannot_vanish_either(register: list[Path], signers: Signers) -> None:
    first, second, unsealed, last = register
    shutil.rmtree(unsealed)
    lost = f"{unsealed.name}: lay beside it, not sealed, when this run was sealed, and is gone"
    assert wrong_in(first.parent, signers) == {run.name: (lost,) for run in (first, second, last)}


def test_a_chain_that_was_altered_or_forks_is_noticed(
    register: list[Path], key: Path, signers: Signers
) -> None:
    first, second, _, last = register
    for name in ("record.json", "record.json.sig"):
        (first / name).unlink()
    shutil.move(second, second.parent / "aside")
    shutil.move(last, last.parent / "aside-too")
    assert seal(first, None, key).seal.number == 1
    shutil.move(second.parent / "aside", second)
    shutil.move(last.parent / "aside-too", last)
    changed = wrong_in(first.parent, signers)[second.name]
    assert changed == (f"{first.name}: is sealed no longer as it was when this run was sealed after it",)
    shutil.move(last, last.parent / "aside")
    fork = make_run(first.parent, "CHG-fork")
    seal(fork, None, key)
    shutil.move(last.parent / "aside", last)
    assert (
        f"the chain forks: {fork.name} has the number 3 as well" in wrong_in(first.parent, signers)[last.name]
    )


def test_a_run_alone_verifies_and_says_what_it_cannot_know(
    register: list[Path], signers: Signers, tmp_path: Path
) -> None:
    alone: Verdict = verify(shutil.copytree(register[1], tmp_path / "handed" / register[1].name), signers)
    assert alone.good
    assert f"it follows {register[0].name}, which is not here" in alone.notes


@pytest.mark.usefixtures("home")
def test_a_rehearsal_that_was_never_sealed_is_no_failure(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the README's first two commands leave behind, on a machine without any key."""
    runs = tmp_path / "outputs"
    practised = make_run(runs, "CHG-1", parameters={"inventory": "rehearsal"})
    assert main(["verify", str(runs)]) == 0
    assert f"· {practised.name}: rehearsal, not sealed\n" in capsys.readouterr().out
    real = make_run(runs, "CHG-2", parameters={"inventory": "parameters/lab.yaml"})
    assert main(["verify", str(runs)]) == 1
    assert f"✘ {real.name}\n    ✘ it is not sealed" in capsys.readouterr().out


@pytest.mark.parametrize("what", ["signature gone", "line gone"])
def test_a_rehearsal_that_was_altered_is_a_failure(
    tmp_path: Path, key: Path, signers: Signers, what: str
) -> None:
    run = make_run(tmp_path / "outputs", parameters={"inventory": "rehearsal"})
    assert verify(run, signers).rehearsal
    assert not verify(run, signers).good
    if what == "signature gone":
        seal(run, None, key)
        assert verify(run, signers).good
        (run / "record.json.sig").unlink()
    else:
        path = run / "journal.jsonl"
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))
    assert verify(run, signers).wrong


def test_verification_is_possible_with_coreutils_and_openssh_alone(
    run: Path, key: Path, tmp_path: Path
) -> None:
    """The commands that docs/records.md gives to whoever does not have kubeharden."""
    readme = (Path(__file__).parents[2] / "docs" / "records.md").read_text()
    [script] = re.findall(
        r"<!-- run by tests/records/test_record_verify.py -->\n```sh\n(.*?)```", readme, re.DOTALL
    )
    (tmp_path / "operator.pub").write_text(f"{public_part(key)}\n")

    def by_hand() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["sh", "-euc", script],
            check=False,
            cwd=run,
            capture_output=True,
            text=True,
            env={**os.environ, "KEY": str(tmp_path / "operator.pub")},
        )

    done = by_hand()
    assert done.returncode == 0, done.stderr
    assert 'Good "kubeharden-record" signature' in done.stdout
    assert "journal.jsonl: OK" in done.stdout
    (run / "notebook.html").chmod(0o600)
    (run / "notebook.html").write_text("nothing to see")
    assert by_hand().returncode != 0


def test_verifying_loads_neither_jupyter_nor_what_talks_to_machines(run: Path, key: Path) -> None:
    heavy = [
        "IPython",
        "jupyter_client",
        "nbconvert",
        "nbformat",
        "papermill",
        "fabric",
        "paramiko",
        "kubernetes",
        "boto3",
        "aiohttp",
    ]
    code = f"""
import sys
from kubeharden.cli import main
status = main(["verify", {str(run)!r}, "--key", {str(key.with_suffix(".pub"))!r}])
print([name for name in {heavy!r} if name in sys.modules])
sys.exit(status)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
