"""Trusted time: a time stamp over the seal, by an authority of the test's own, and every way in which it is wrong."""

from __future__ import annotations

import html
import os
import re
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from nbformat import v4
from papermill.engines import papermill_engines

import sampling
from kubeharden.cli import main
from kubeharden.errors import ParameterError, RecordError
from kubeharden.records import stamp, timestamp
from kubeharden.records.archive import STAMP, STAMP_CA, STAMP_SIGNATURE, is_sealed, read_record
from kubeharden.records.seal import seal
from kubeharden.records.sign_off import sign_off
from kubeharden.records.signature import Signers
from kubeharden.records.timestamp import Authority, find_authority
from kubeharden.records.verify import verify
from record_support import make_key, make_run
from support import ROOT
from time_authority import TimeAuthority, serving

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> TimeAuthority:
    return TimeAuthority(tmp_path_factory.mktemp("authority") / "one")


@pytest.fixture(scope="module")
def stamped(tmp_path_factory: pytest.TempPathFactory, authority: TimeAuthority, key: Path) -> Path:
    """A sealed run with a time stamp, which no test changes for longer than it looks at it."""
    run = make_run(tmp_path_factory.mktemp("stamped") / "outputs")
    with serving(authority.answer) as url:
        seal(run, None, key, authority=Authority(url, authority.ca.read_bytes()))
    return run


def test_the_time_of_a_seal_is_that_of_an_authority(
    stamped: Path, authority: TimeAuthority, signers: Signers
) -> None:
    """The authority is not asked again: it is gone by now."""
    asked = authority.asked
    verdict = verify(stamped, signers, ca=authority.ca.read_bytes())
    assert (verdict.wrong, verdict.notes) == ((), ("it was sealed without its notebook",))
    at = datetime.fromisoformat(verdict.stamped)
    assert abs(at - datetime.now(UTC)) < timedelta(minutes=5)
    assert authority.asked == asked == 1
    assert read_record(stamped)["seal"]["authority"].startswith("http://127.0.0.1:")


def test_whose_certificates_count_is_for_the_reader_to_say(
    stamped: Path, authority: TimeAuthority, signers: Signers, tmp_path: Path
) -> None:
    verdict = verify(stamped, signers)
    assert verdict.wrong == ()
    assert "by the certificates that lie in the record" in verdict.notes[-1]
    other = TimeAuthority(tmp_path / "other", "Another")
    [wrong] = verify(stamped, signers, ca=other.ca.read_bytes()).wrong
    assert wrong.startswith("record.json.tsr: is not a time stamp of this seal by an authority")


@pytest.mark.parametrize("name", [STAMP, STAMP_SIGNATURE, STAMP_CA])
def test_every_byte_of_a_time_stamp_counts(
    stamped: Path, signers: Signers, authority: TimeAuthority, name: str
) -> None:
    path, ca = stamped / name, authority.ca.read_bytes()
    data = path.read_bytes()
    path.chmod(0o600)
    for at in sampling.chosen(len(data), 12):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        assert verify(stamped, signers, ca=ca).wrong, at
    path.unlink()
    assert verify(stamped, signers, ca=ca).wrong, "gone"
    path.write_bytes(data)
    assert verify(stamped, signers, ca=ca).wrong == ()


def test_a_time_stamp_of_something_else_does_not_count(
    stamped: Path, signers: Signers, authority: TimeAuthority, key: Path, tmp_path: Path
) -> None:
    """Whole, by the right authority and the right key, and of another seal; or beside a seal that names none."""
    other = make_run(tmp_path / "outputs", "CHG-2")
    with serving(authority.answer) as url:
        seal(other, None, key, authority=Authority(url, authority.ca.read_bytes()))
    assert verify(other, signers).wrong == ()
    for name in (STAMP, STAMP_SIGNATURE):
        (other / name).unlink()
        shutil.copy(stamped / name, other / name)
    [wrong] = verify(other, signers).wrong
    assert wrong.startswith("record.json.tsr: is not a time stamp of this seal")
    plain = make_run(tmp_path / "plain", "CHG-3")
    seal(plain, None, key)
    shutil.copy(stamped / STAMP, plain / STAMP)
    assert verify(plain, signers).wrong == ("record.json.tsr: was added",)


def test_a_seal_of_another_time_than_the_authority_says_is_refused_and_found(
    stamped: Path,
    signers: Signers,
    authority: TimeAuthority,
    key: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A clock that is set back makes a seal that looks old: that is what a trusted time is for."""
    real = stamp.stamped_at
    monkeypatch.setattr(stamp, "stamped_at", lambda *given: real(*given) + timedelta(minutes=6))
    [wrong] = verify(stamped, signers).wrong
    assert "the time stamp is of" in wrong
    run = make_run(tmp_path / "outputs")
    with (
        serving(authority.answer) as url,
        pytest.raises(RecordError, match="set the clock of this machine first"),
    ):
        seal(run, None, key, authority=Authority(url, authority.ca.read_bytes()))
    assert not is_sealed(run)


def test_what_does_not_answer_as_an_authority_leaves_the_run_as_it_was(
    authority: TimeAuthority, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bounded in size and in time, whatever is sent."""
    monkeypatch.setattr(timestamp, "ANSWER_SECONDS", 1)
    reply = "application/timestamp-reply"
    strangers = TimeAuthority(tmp_path / "stranger", "A stranger")
    old: list[bytes] = []

    def replayed(query: bytes) -> tuple[int, str, bytes]:
        old.append(query)
        return authority.answer(old[0])

    def slow(query: bytes) -> tuple[int, str, bytes]:
        time.sleep(3)
        return authority.answer(query)

    cases = {
        "HTTP Error 500": lambda _: (500, reply, b""),
        "HTTP Error 302": lambda _: (302, reply, b""),
        "answers with text/html": lambda _: (200, "text/html", b"<p>Sign in"),
        "more than 65536 bytes": lambda _: (200, reply, bytes(1 << 20)),
        "by an authority whose certificates count": strangers.answer,
        "does not answer with a time stamp of this request": lambda _: (200, reply, b"\x30\x03\x02\x01\x00"),
        "within 1 s": slow,
        "127.0.0.1": lambda _: b"no HTTP at all\r\n\r\n",
    }
    run = make_run(tmp_path / "outputs")
    before = sorted(path.name for path in run.rglob("*"))
    for words, answer in cases.items():
        with serving(answer) as url, pytest.raises(RecordError, match=words):
            seal(run, None, key, authority=Authority(url, authority.ca.read_bytes()))
        assert sorted(path.name for path in run.rglob("*")) == before, words
    with serving(replayed) as url:
        seal(run, None, key, authority=Authority(url, authority.ca.read_bytes()))
        again = make_run(tmp_path / "outputs", "CHG-2")
        with pytest.raises(RecordError, match="does not answer with a time stamp of this request"):
            seal(again, None, key, authority=Authority(url, authority.ca.read_bytes()))


def test_an_authority_is_configured_whole_or_not_at_all(
    authority: TimeAuthority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (timestamp.URL_VARIABLE, timestamp.CA_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    assert find_authority() is None
    ca = str(authority.ca)
    for url, file, why in (
        ("ftp://tsa.example", ca, "is not a URL"),
        ("http://", ca, "is not a URL"),
        ("http://me:secret@tsa.example", ca, "neither a login nor a query"),
        ("http://tsa.example/?token=secret", ca, "neither a login nor a query"),
        ("http://tsa.example", "", "whose certificates count"),
        ("http://tsa.example", str(tmp_path / "none.pem"), "there is no file of certificates"),
    ):
        with pytest.raises(ParameterError, match=why) as error:
            find_authority(url, file)
        assert "secret" not in str(error.value)
    monkeypatch.setenv(timestamp.URL_VARIABLE, "https://tsa.example/")
    monkeypatch.setenv(timestamp.CA_VARIABLE, ca)
    assert find_authority() == Authority("https://tsa.example/", authority.ca.read_bytes())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(RecordError, match=r"openssl cannot be run .* install it"):
        find_authority()


def test_an_authority_that_is_half_configured_ends_a_run_before_it_begins(
    key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    monkeypatch.setenv(timestamp.URL_VARIABLE, "https://tsa.example/")
    monkeypatch.delenv(timestamp.CA_VARIABLE, raising=False)
    notebook = v4.new_notebook(cells=[v4.new_code_cell("raise SystemExit('it was executed')")])
    with pytest.raises(ParameterError, match="whose certificates count"):
        papermill_engines.get_engine("kubeharden").execute_notebook(notebook, "python3")
    assert notebook.cells[0].execution_count is None


def test_the_command_line_seals_with_a_time_and_verifies_it(
    authority: TimeAuthority, key: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, ca = make_run(tmp_path / "outputs"), ["--timestamp-ca", str(authority.ca)]
    with serving(authority.answer) as url:
        words = ["seal", str(run), "--no-notebook", "--key", str(key), "--timestamp-url", url]
        assert main(words) == 2
        assert "whose certificates count" in capsys.readouterr().err
        assert main([*words, *ca]) == 0
    assert main(["verify", str(run), "--key", f"{key}.pub", *ca]) == 0
    assert "✔ trusted time: 20" in capsys.readouterr().out
    assert main(["show", str(run), "--key", f"{key}.pub", *ca]) == 0
    assert "by a time-stamp authority" in capsys.readouterr().out


def test_a_time_and_a_sign_off_are_verified_with_openssl_and_openssh_alone(
    authority: TimeAuthority, key: Path, tmp_path: Path
) -> None:
    """The commands that docs/records.md gives to an auditor who does not have kubeharden."""
    run, second = make_run(tmp_path / "outputs"), make_key(tmp_path, "second")
    with serving(authority.answer) as url:
        seal(run, None, key, authority=Authority(url, authority.ca.read_bytes()))
    sign_off(run, second)
    mark = r"<!-- run by tests/records/test_timestamp.py -->\n```sh\n(.*?)```"
    [script] = re.findall(mark, (ROOT / "docs/records.md").read_text(), re.DOTALL)
    given = {**os.environ, "CA": str(authority.ca), "SECOND": f"{second}.pub"}

    def by_hand() -> subprocess.CompletedProcess[str]:
        words = ["sh", "-euc", script]
        return subprocess.run(words, check=False, cwd=run, capture_output=True, text=True, env=given)

    done = by_hand()
    assert done.returncode == 0, done.stderr
    for words in ("Verification: OK", "Time stamp: ", 'Good "kubeharden-sign-off" signature for second'):
        assert words in done.stdout + done.stderr
    record = run / "record.json"
    record.chmod(0o600)
    record.write_text(record.read_text() + "\n")
    assert by_hand().returncode != 0


def test_a_time_has_a_tick_only_where_its_certificates_are_those_of_the_reader(
    stamped: Path,
    signers: Signers,
    authority: TimeAuthority,
    key: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Those that lie in the record are of whoever made it: no page and no line may call such a time trusted."""
    monkeypatch.delenv(timestamp.CA_VARIABLE, raising=False)
    at = verify(stamped, signers).stamped
    own, words = ["--key", f"{key}.pub"], "by the record's own certificates alone"
    register, page = stamped.parent / "index.html", stamped.parent / f"register/{stamped.name}.html"
    for named in ([], ["--timestamp-ca", str(authority.ca)]):
        told = []
        for command in (["verify"], ["show"], ["show", "--html"]):
            assert main([*command, str(stamped), *own, *named]) == 0
            told.append(html.unescape(capsys.readouterr().out))
        assert main(["register", str(stamped.parent), *own, *named]) == 0
        told += [html.unescape(path.read_text()) for path in (register, page)]
        for text in told:
            assert (f"{at}, {words}" in text) != bool(named)
            assert bool(re.search("trusted time", text, re.IGNORECASE)) == bool(named)
