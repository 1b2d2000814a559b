"""The sign-off of a result: by a second person, over this record, and nothing of it can be changed."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sampling
from kubeharden.cli import main
from kubeharden.errors import RecordError
from kubeharden.plan.events import Approved, Checked, Finished, RunStarted
from kubeharden.records.archive import SIGN_OFF, SIGN_OFF_SIGNATURE
from kubeharden.records.folder import Record, json_file
from kubeharden.records.keys import fingerprint, public_part
from kubeharden.records.seal import seal
from kubeharden.records.seal_rows import seal_rows
from kubeharden.records.sign_off import sign_off
from kubeharden.records.signature import SIGN_OFF_NAMESPACE, Signers, only_signer, sign
from kubeharden.records.verify import verify
from kubeharden.show.records_views import verdict_text
from record_support import in_agent, make_key, make_run

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def ann(tmp_path: Path) -> Path:
    return make_key(tmp_path, "ann")


@pytest.fixture
def bob(tmp_path: Path) -> Path:
    return make_key(tmp_path, "bob")


@pytest.fixture
def team(tmp_path: Path, ann: Path, bob: Path) -> Iterator[Signers]:
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {public_part(ann)}\nbob {public_part(bob)}\n")
    return Signers(allowed)


@pytest.fixture
def run(tmp_path: Path, ann: Path) -> Path:
    """A run that ann sealed."""
    made = make_run(tmp_path / "outputs")
    seal(made, None, ann)
    return made


def test_a_second_person_signs_off_the_result(
    run: Path, ann: Path, bob: Path, team: Signers, capsys: pytest.CaptureFixture[str]
) -> None:
    assert verify(run, team).signed_off == ""
    words = ["sign-off", str(run), "--key", str(bob), "--words", "seen in production\nand well"]
    assert main([*words, "--signers", str(team.path)]) == 0
    assert "done, with ssh-ed25519 SHA256:" in capsys.readouterr().out
    verdict = verify(run, team)
    assert verdict.wrong == ()
    assert verdict.signed_off.startswith("by bob on 20")
    assert verdict.signed_off.endswith(r"seen in production\nand well")
    assert main(["verify", str(run), "--allowed-signers", str(team.path)]) == 0
    assert "✔ result signed off by bob on" in capsys.readouterr().out
    assert main(["show", "--html", str(run), "--allowed-signers", str(team.path)]) == 0
    assert "by bob on" in capsys.readouterr().out
    with only_signer(public_part(ann)) as anns:
        alone = verify(run, anns)
    assert alone.wrong == ()
    assert any("nobody says whether that key counts" in note for note in alone.notes)
    assert "    • result signed off by ? on" in verdict_text(alone)
    assert dict(seal_rows({"seal": {}}, alone))["Signed off"].endswith(
        "of which nobody says whether it counts"
    )
    assert dict(seal_rows({"seal": {}}, verdict))["Signed off"] == f"✔ {verdict.signed_off}"
    for counts, shown in ((["--allowed-signers", str(team.path)], "✔"), (["--key", f"{ann}.pub"], "•")):
        assert main(["register", str(run.parent), *counts]) == 0
        assert f"signed off: {shown} by " in (run.parent / "index.html").read_text()
    with pytest.raises(RecordError, match="has a sign-off already"):
        sign_off(run, bob)


def test_nobody_signs_off_for_themselves(
    run: Path, ann: Path, bob: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(RecordError, match="is the one that sealed it; a second person signs off"):
        sign_off(run, ann)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(ann))
    with pytest.raises(RecordError, match="is one of your own; a second person signs off"):
        sign_off(run, bob)
    assert not (run / SIGN_OFF).exists()


@pytest.mark.parametrize("role", ["approved its plan", "its run logged in with"])
def test_neither_the_approver_nor_who_logged_in_is_a_second_person(
    tmp_path: Path, ann: Path, bob: Path, team: Signers, role: str
) -> None:
    mark = fingerprint(public_part(bob)).split()[1]
    record = Record(tmp_path / "outputs", "lab", "CHG-1")
    record(RunStarted(cluster="lab", mode="apply"))
    if role == "approved its plan":
        record(Approved("0" * 64, "signature", "bob", mark))
    else:
        record(Checked((), {"n1": {"user": "root", "key": mark, "host_key": ""}}))
    record(Finished(mode="apply"))
    record.close()
    seal(record.folder, None, ann)
    with pytest.raises(RecordError, match=role):
        sign_off(record.folder, bob)
    forge(record.folder, bob, {"run": record.run, "result": "nothing to do"})
    assert any(role in wrong for wrong in verify(record.folder, team).wrong)


def certificate_of(key: Path, name: str) -> Path:
    """A certificate of a key, by the authority ``ca`` beside it."""
    ca = key.with_name("ca")
    if not ca.exists():
        make_key(key.parent, "ca")
    words = ["ssh-keygen", "-q", "-s", ca, "-I", name, "-n", name, key.with_suffix(".pub")]
    subprocess.run(words, check=True, capture_output=True)
    return key.with_name(f"{key.name}-cert.pub")


def test_a_key_stays_one_persons_in_every_certificate(
    run: Path, ann: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates of one key are as many as an authority makes, with the names that it is told."""
    certificate = certificate_of(ann, "bob")
    allowed = ann.with_name("authorities")
    allowed.write_text(
        f"ann {public_part(ann)}\nbob,carl cert-authority {public_part(ann.with_name('ca'))}\n"
    )
    assert fingerprint(public_part(certificate)) == fingerprint(public_part(ann))
    with in_agent(ann) as socket, monkeypatch.context() as patch:
        patch.setenv("SSH_AUTH_SOCK", socket)
        forge(run, certificate, {})
        [wrong] = verify(run, Signers(allowed)).wrong
        assert "is the one that sealed it" in wrong
        with pytest.raises(RecordError, match="is the one that sealed it"):
            sign_off_anew(run, certificate)
        other = make_run(run.parent, "CHG-2")
        seal(other, None, certificate)
    certificate_of(ann, "carl")
    assert verify(other, Signers(allowed)).good
    with pytest.raises(RecordError, match="is the one that sealed it"):
        sign_off(other, ann)


def sign_off_anew(run: Path, key: Path) -> None:
    for name in (SIGN_OFF, SIGN_OFF_SIGNATURE):
        (run / name).unlink()
    sign_off(run, key)


def forge(run: Path, key: Path, content: dict[str, Any]) -> None:
    """A sign-off as a modified program could make it."""
    import hashlib

    base = {
        "run": run.name,
        "record": hashlib.sha256((run / "record.json").read_bytes()).hexdigest(),
        "result": "done",
        "words": "",
        "time": "2999-01-01T00:00:00Z",
        "key": fingerprint(public_part(key)),
    }
    for name in (SIGN_OFF, SIGN_OFF_SIGNATURE):
        (run / name).unlink(missing_ok=True)
    (run / SIGN_OFF).write_bytes(json_file(base | content))
    sign(run / SIGN_OFF, key, namespace=SIGN_OFF_NAMESPACE)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ({"record": "0" * 64}, "is of another record"),
        ({"run": "20200101T000000.000Z-lab-CHG-9"}, "is of another record"),
        ({"result": "failed"}, "is of the result failed, and the record says done"),
        ({"time": "2001-01-01T00:00:00Z"}, "before the seal"),
        ({"time": "yesterday"}, "is not a sign-off"),
        ({"key": "ssh-ed25519 SHA256:another"}, "was signed with"),
        ({"more": 1}, "is not a sign-off"),
        ({"words": 1}, "is not a sign-off"),
    ],
)
def test_what_is_not_a_sign_off_of_this_record_is_found(
    run: Path, bob: Path, team: Signers, content: dict[str, Any], why: str
) -> None:
    forge(run, bob, {})
    assert verify(run, team).wrong == ()
    forge(run, bob, content)
    assert any(why in wrong for wrong in verify(run, team).wrong)


def test_the_sealers_own_sign_off_does_not_count(run: Path, ann: Path, team: Signers) -> None:
    forge(run, ann, {})
    assert any("is the one that sealed it" in wrong for wrong in verify(run, team).wrong)


def test_a_stranger_does_not_sign_off(run: Path, team: Signers, tmp_path: Path) -> None:
    forge(run, make_key(tmp_path, "eve"), {})
    verdict = verify(run, team)
    [wrong] = verdict.wrong
    assert "a foreign signature" in wrong
    assert "result signed off" not in verdict_text(verdict)
    assert dict(seal_rows({"seal": {}}, verdict))["Signed off"] == "– (by nobody)"


@pytest.mark.parametrize("name", [SIGN_OFF, SIGN_OFF_SIGNATURE])
def test_every_byte_of_a_sign_off_counts(run: Path, bob: Path, team: Signers, name: str) -> None:
    sign_off(run, bob, "well")
    path = run / name
    data = path.read_bytes()
    for at in sampling.chosen(len(data), 20):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :])
        assert verify(run, team).wrong, at
    path.unlink()
    assert verify(run, team).wrong, "one of the two is gone"
    path.write_bytes(data)
    assert verify(run, team).wrong == ()
    path.unlink()
    path.symlink_to("/etc/hostname")
    assert verify(run, team).wrong


def test_a_result_is_signed_off_once_it_is_sealed_and_its_seal_holds(
    tmp_path: Path, run: Path, bob: Path, team: Signers
) -> None:
    open_ = make_run(tmp_path / "more")
    with pytest.raises(RecordError, match="is not sealed"):
        sign_off(open_, bob)
    with pytest.raises(RecordError, match=r"does not hold: .*foreign signature"):
        sign_off(run, bob, signers=f"{bob}.pub")
    record = json.loads((run / "record.json").read_text())
    (run / "record.json").chmod(0o600)
    (run / "record.json").write_text(json.dumps(record | {"result": "planned"}))
    with pytest.raises(RecordError, match="does not hold"):
        sign_off(run, bob)


def test_a_sign_off_that_was_planted_before_the_seal_goes(
    tmp_path: Path, ann: Path, bob: Path, team: Signers
) -> None:
    made = make_run(tmp_path / "planted")
    (made / SIGN_OFF).write_text("{}")
    shutil.copy(made / SIGN_OFF, made / SIGN_OFF_SIGNATURE)
    seal(made, None, ann)
    assert verify(made, team).wrong == ()
    assert not (made / SIGN_OFF).exists()
