"""Whose keys are whose: own keys in every form are own, an archive brings none, and a person has a name."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_ssh_private_key,
)

from kubeharden.cli import main
from kubeharden.errors import ApprovalError, RecordError
from kubeharden.plan import Plan
from kubeharden.plan.events import Approved
from kubeharden.records import approval as approvals
from kubeharden.records.approval import check_signer, find_approval
from kubeharden.records.folder import Record, json_file
from kubeharden.records.keys import find_key, fingerprint, keys_at_hand, public_part
from kubeharden.records.seal import seal
from kubeharden.records.signature import Signers, only_signer, sign
from kubeharden.records.verify import verify
from record_support import approve, make_key, make_run

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path, "approver")


def short(key: Path) -> str:
    return fingerprint(public_part(key)).split()[1]


def private_alone(home: Path, key: Path) -> None:
    shutil.copy(key, home / ".ssh/id_work")


def private_with_passphrase_alone(home: Path, key: Path) -> None:
    private_alone(home, key)
    (home / ".ssh/id_work").chmod(0o600)
    subprocess.run(
        ["ssh-keygen", "-q", "-p", "-P", "", "-N", "horses", "-f", home / ".ssh/id_work"], check=True
    )


def private_beside_anothers_pub(home: Path, key: Path) -> None:
    private_alone(home, key)
    other = make_key(home, "other")
    shutil.copy(other.with_suffix(".pub"), home / ".ssh/id_work.pub")


def pub_with_blank_line(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_text(f"\n{public_part(key)} me\n")


def pub_with_comment(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_text(f"# mine\n  {public_part(key)} me\n")


def pub_with_two(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_text(f"{public_part(make_key(home, 'first'))}\n{public_part(key)}\n")


def in_a_folder_below(home: Path, key: Path) -> None:
    (home / ".ssh/work/old").mkdir(parents=True)
    shutil.copy(key, home / ".ssh/work/old/key")


def link_in_ssh(home: Path, key: Path) -> None:
    (home / ".ssh/id").symlink_to(key)


def named_by_ssh(home: Path, key: Path) -> None:
    shutil.copy(key, home / "elsewhere key")
    (home / ".ssh/config").write_text('Host *.lab\n  identityfile="%d/elsewhere key"\n')


def named_by_ssh_for_any_host(home: Path, key: Path) -> None:
    (home / "keys").mkdir()
    shutil.copy(key, home / "keys/n1-ops")
    (home / ".ssh/config").write_text("Match user ops\n  IdentityFile ~/keys/%h-%r\n")


def named_by_an_include(home: Path, key: Path) -> None:
    (home / ".ssh/conf.d").mkdir()
    (home / ".ssh/conf.d/lab.conf").write_text(f"IdentityFile {key}\n")
    (home / ".ssh/config").write_text("Include conf.d/*.conf\nInclude config\n")


def certificate(home: Path, key: Path) -> None:
    ca = make_key(home, "ca")
    words = ["ssh-keygen", "-q", "-s", ca, "-I", "me", "-n", "ops", key.with_suffix(".pub")]
    subprocess.run(words, check=True, capture_output=True)
    shutil.copy(key.with_name(f"{key.name}-cert.pub"), home / ".ssh/id-cert.pub")


def gits(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {key}\n[gpg]\n\tformat = ssh\n")


def gits_without_format(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {key}.pub\n")


def gits_literal(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text(f'[user]\n\tsigningkey = "key::{public_part(key)}"\n')


def gits_included(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text("[include]\n\tpath = more\n")
    (home / "more").write_text(f"[user]\n\tsigningkey = {key}\n")


def pub_with_options(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_text(f'no-pty,command="x" {public_part(key)} me\n')


def pub_with_a_mark(home: Path, key: Path) -> None:
    (home / ".ssh/id.PUB").write_bytes(b"\xef\xbb\xbf" + public_part(key).encode())


def pub_in_two_bytes(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_bytes(public_part(key).encode("utf-16"))


def pub_of_rfc4716(home: Path, key: Path) -> None:
    words = ["ssh-keygen", "-e", "-f", key.with_suffix(".pub")]
    (home / ".ssh/id.pub").write_bytes(subprocess.run(words, check=True, capture_output=True).stdout)


def of_putty(home: Path, key: Path) -> None:
    kind, blob = public_part(key).split()
    head = f"PuTTY-User-Key-File-3: {kind}\r\nEncryption: aes256-cbc\r\nComment: me\r\nPublic-Lines: 2\r\n"
    lines = f"{blob[:64]}\r\n{blob[64:]}\r\nKey-Derivation: Argon2id\r\nPrivate-Lines: 1\r\nAAAA\r\n"
    (home / ".ssh/id.ppk").write_text(head + lines)


def behind_a_linked_folder(home: Path, key: Path) -> None:
    (home / "keys").mkdir()
    shutil.copy(key, home / "keys/id")
    (home / "keys/again").symlink_to(home / "keys")
    (home / ".ssh/keys").symlink_to(home / "keys")


def named_from_where_one_is(home: Path, key: Path) -> None:
    (home / ".ssh/config").write_text(f"IdentityFile {os.path.relpath(key)}\n")


def gits_for_some_repositories(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text('[includeIf "gitdir:~/work/"]\n\tpath = work.inc\n')
    (home / "work.inc").write_text(f"[user]\n\tsigningkey = {key}\n")


def gits_before_another(home: Path, key: Path) -> None:
    (home / ".gitconfig").write_text(f"[user]\n\tsigningkey = {key}\n\tsigningkey = /nowhere\n")


def gits_by_variables(home: Path, key: Path) -> None:
    os.environ.update(GIT_CONFIG_COUNT="1", GIT_CONFIG_KEY_0="user.signingkey", GIT_CONFIG_VALUE_0=str(key))


def gits_for_some_of_some_repositories(home: Path, key: Path) -> None:
    for name, other in ((".gitconfig", "work"), ("work", "more"), ("more", "work")):
        (home / name).write_text(f'[includeIf "gitdir:/{other}/"]\n\tpath = {other}\n')
    with (home / "more").open("a") as file:
        file.write(f"[user]\n\tsigningkey = {key}\n")


def private_of_any_length(home: Path, key: Path) -> None:
    (home / ".ssh/id_work").write_bytes(key.read_bytes() + b"\n" * (2 << 20))


def pub_below_a_long_comment(home: Path, key: Path) -> None:
    (home / ".ssh/id.pub").write_text(f"#{'x' * (2 << 20)}\n{public_part(key)}\n")


@pytest.mark.parametrize(
    "form",
    [
        gits_for_some_of_some_repositories,
        private_of_any_length,
        pub_below_a_long_comment,
        pub_with_options,
        pub_with_a_mark,
        pub_in_two_bytes,
        pub_of_rfc4716,
        of_putty,
        behind_a_linked_folder,
        named_from_where_one_is,
        gits_for_some_repositories,
        gits_before_another,
        gits_by_variables,
        private_alone,
        private_with_passphrase_alone,
        private_beside_anothers_pub,
        pub_with_blank_line,
        pub_with_comment,
        pub_with_two,
        in_a_folder_below,
        link_in_ssh,
        named_by_ssh,
        named_by_ssh_for_any_host,
        named_by_an_include,
        certificate,
        gits,
        gits_without_format,
        gits_literal,
        gits_included,
    ],
)
def test_an_own_key_is_own_in_every_form(
    home: Path, key: Path, form: Callable[[Path, Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "environ", os.environ.copy())
    assert short(key) not in keys_at_hand(None)
    form(home, key)
    assert short(key) in keys_at_hand(None)


def test_more_files_than_are_read_hide_no_key(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kubeharden.records.keys.MOST_FILES", 3)
    for number in range(4):
        (home / f".ssh/file{number}").write_text("")
    with pytest.raises(ApprovalError, match="has more than 3 files"):
        keys_at_hand(None)


def test_the_key_that_would_seal_is_own(key: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    assert short(key) in keys_at_hand(None)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", f"{key}.pub")
    assert short(key) in keys_at_hand(None)
    monkeypatch.delenv("KUBEHARDEN_SIGNING_KEY")
    key.with_suffix(".pub").unlink()
    assert short(key) in keys_at_hand(str(key))


def test_keys_in_another_format_are_own(home: Path, tmp_path: Path) -> None:
    path = home / ".ssh/old"
    words = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-m", "PEM", "-f", path]
    subprocess.run([*words, "-N", ""], check=True)
    own = short(path)
    (home / ".ssh/old.pub").rename(tmp_path / "aside")
    assert own in keys_at_hand(None)
    path.unlink()
    subprocess.run([*words, "-N", "horses"], check=True)
    assert short(path) in keys_at_hand(None)
    (home / ".ssh/old.pub").unlink()
    with pytest.raises(ApprovalError, match="old is a private key that does not say which; write it anew"):
        keys_at_hand(None)


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.TraditionalOpenSSL])
def test_keys_in_pkcs8_are_own(home: Path, tmp_path: Path, kind: str, form: PrivateFormat) -> None:
    if (kind, form) == ("ed25519", PrivateFormat.TraditionalOpenSSL):
        pytest.skip("there is not such a format")
    made = tmp_path / "made"
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", made], check=True)
    private = load_ssh_private_key(made.read_bytes(), None)
    path = home / ".ssh/pem"
    path.write_bytes(private.private_bytes(Encoding.PEM, form, NoEncryption()))
    path.chmod(0o600)
    assert short(made) in keys_at_hand(None)
    path.write_bytes(private.private_bytes(Encoding.PEM, form, BestAvailableEncryption(b"horses")))
    with pytest.raises(
        ApprovalError, match=r"pem is a private key .* or put its public key beside it, as pem.pub"
    ):
        keys_at_hand(None)
    shutil.copy(f"{made}.pub", f"{path}.pub")
    assert short(made) in keys_at_hand(None)


def test_a_key_that_no_ssh_has_is_nobodys(home: Path) -> None:
    private = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (home / ".ssh/other").write_bytes(private)
    assert keys_at_hand(None) == frozenset()


def test_the_person_before_sudo_is_the_same(
    key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "ann/.ssh").mkdir(parents=True)
    shutil.copy(key, tmp_path / "ann/.ssh/id")
    monkeypatch.setattr(pwd, "getpwnam", {"ann": SimpleNamespace(pw_dir=str(tmp_path / "ann"))}.__getitem__)
    assert short(key) not in keys_at_hand(None)
    monkeypatch.setenv("SUDO_USER", "ann")
    assert short(key) in keys_at_hand(None)


def test_what_an_agent_holds_is_own(home: Path, key: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    socket = home / "agent"
    started = subprocess.run(
        ["ssh-agent", "-s", "-a", socket], capture_output=True, text=True, check=True
    ).stdout
    pid = int(started.split("SSH_AGENT_PID=")[1].split(";")[0])
    try:
        subprocess.run(["ssh-add", "-q", key], check=True, env={**os.environ, "SSH_AUTH_SOCK": str(socket)})
        assert short(key) not in keys_at_hand(None)
        (home / ".ssh/config").write_text("Host *\n\tIdentityAgent ~/agent\n")
        assert short(key) in keys_at_hand(None)
        (home / ".ssh/config").unlink()
        monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
        assert short(key) in keys_at_hand(None)
    finally:
        os.kill(pid, 15)


def test_keys_of_others_that_lie_in_ssh_are_not_own(home: Path, key: Path, tmp_path: Path) -> None:
    line = public_part(key)
    (home / ".ssh/authorized_keys").write_text(f"{line} boss\n")
    (home / ".ssh/known_hosts").write_text(f"n1 {line}\n")
    (home / ".ssh/allowed_signers").write_text(f"boss {line}\n")
    os.mkfifo(home / ".ssh/pipe")
    (home / ".ssh/endless").symlink_to("/dev/zero")
    assert short(key) not in keys_at_hand(None)


def test_the_configuration_of_a_repository_is_never_read(
    home: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An archive that brings its own .git/config, its own key and a record that this key has sealed."""
    archive = tmp_path / "archive"
    run = make_run(archive / "outputs")
    seal(run, None, key)
    subprocess.run(["git", "init", "-q", archive], check=True)
    for name, value in (("gpg.format", "ssh"), ("user.signingkey", str(key))):
        subprocess.run(["git", "-C", archive, "config", name, value], check=True)
    monkeypatch.chdir(archive)
    with pytest.raises(RecordError, match="none was found"):
        find_key()
    assert main(["verify", "outputs"]) == 2
    assert "whose signatures count?" in capsys.readouterr().err
    monkeypatch.setenv("GIT_DIR", str(archive / ".git"))
    assert main(["verify", "outputs"]) == 2
    # A path of the person's own git that is relative to wherever they are names whatever lies there.
    shutil.copy(key.with_suffix(".pub"), archive / "id.pub")
    (home / ".gitconfig").write_text("[user]\n\tsigningkey = id.pub\n[gpg]\n\tformat = ssh\n")
    assert main(["verify", "outputs"]) == 2
    # What the person's own configuration includes for this repository only, it includes for nothing else.
    (home / "more").write_text(f"[user]\n\tsigningkey = {key}\n[gpg]\n\tformat = ssh\n")
    (home / ".gitconfig").write_text(f'[includeIf "gitdir:{archive}/"]\n\tpath = more\n')
    assert main(["verify", "outputs"]) == 2
    own = make_key(home / ".ssh", "id_ed25519")
    capsys.readouterr()
    assert main(["verify", "outputs"]) == 1
    shown = capsys.readouterr().out
    assert "a foreign signature" in shown
    assert shown.startswith(
        f"Signatures that count: those of the key {fingerprint(public_part(own))} ({own}: the usual place)\n"
    )


def test_it_says_whose_signatures_count_and_who_says_so(
    home: Path, key: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_run(tmp_path / "outputs")
    seal(run, None, key)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {public_part(key)}\n")

    def source(*words: str) -> str:
        assert main(["verify", str(run), *words]) == 0
        return capsys.readouterr().out.splitlines()[0]

    of_key = f"Signatures that count: those of the key {fingerprint(public_part(key))}"
    assert source("--key", str(key)) == f"{of_key} ({key}: --key)"
    assert source("--allowed-signers", str(allowed)).endswith(
        f"those that {allowed} allows (--allowed-signers)"
    )
    gits(home, key)
    assert source() == f"{of_key} ({key}: git's user.signingkey)"
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    assert source() == f"{of_key} ({key}: $KUBEHARDEN_SIGNING_KEY)"
    monkeypatch.setenv("KUBEHARDEN_ALLOWED_SIGNERS", str(allowed))
    assert source().endswith(f"those that {allowed} allows ($KUBEHARDEN_ALLOWED_SIGNERS)")
    assert main(["records", str(tmp_path / "outputs"), "--verify"]) == 0
    assert "$KUBEHARDEN_ALLOWED_SIGNERS" in capsys.readouterr().out
    assert main(["show", str(run)]) == 0
    assert "$KUBEHARDEN_ALLOWED_SIGNERS" in capsys.readouterr().out


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    """A plan.json as a run writes it."""
    made = Plan(("kubelet",), cluster="lab", cluster_uid="1")
    path = tmp_path / "plan.json"
    path.write_bytes(json_file({"digest": made.digest, **made.as_json()}))
    return path


@pytest.fixture
def found(tmp_path: Path, key: Path) -> Callable[..., approvals.Approval | None]:
    approvers = tmp_path / "approvers"
    approvers.write_text(f"chief {public_part(key)}\n")

    def find(signature: Path, own: frozenset[str] = frozenset()) -> approvals.Approval | None:
        return find_approval("", signature, required=True, approvers=str(approvers), own_keys=lambda: own)

    return find


def test_a_plan_that_is_exchanged_while_it_is_verified_is_not_approved(
    plan: Path, key: Path, found: Callable[..., approvals.Approval], monkeypatch: pytest.MonkeyPatch
) -> None:
    signature, signed = approve(plan, key), json.loads(plan.read_bytes())
    other = Plan(("kubelet",), cluster="another", cluster_uid="2")
    real = subprocess.run

    def run(*words: object, **more: object) -> object:
        done = real(*words, **more)  # type: ignore[call-overload]
        plan.write_bytes(json_file({"digest": other.digest, **other.as_json()}))
        return done

    monkeypatch.setattr(subprocess, "run", run)
    approval = found(signature)
    assert approval.plan == signed["digest"]
    assert approval.content == signed
    assert (approval.approver, approval.key) == ("chief", short(key))


@pytest.mark.parametrize("name", ["plan.json", "plan.json.sig"])
@pytest.mark.parametrize("what", ["link", "pipe", "endless", "folder", "gone"])
def test_an_approval_is_two_regular_files(
    plan: Path, key: Path, found: Callable[..., approvals.Approval], tmp_path: Path, name: str, what: str
) -> None:
    signature = approve(plan, key)
    path = tmp_path / name
    path.rename(tmp_path / "aside")
    match what:
        case "link":
            path.symlink_to(tmp_path / "aside")
        case "pipe":
            os.mkfifo(path)
        case "endless":
            path.symlink_to("/dev/zero")
        case "folder":
            path.mkdir()
    with pytest.raises(ApprovalError, match="is not a signature beside the plan that it signs"):
        found(signature)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: b"\xef\xbb\xbf" + data,
        lambda data: data.decode().encode("utf-16"),
        lambda data: data.replace(b'"lab"', b'"l\\u0061b"'),
        lambda data: data.replace(b'"steps"', b'"steps": [],\n  "steps"'),
        lambda data: data.replace(b"\n", b"\r\n"),
        lambda data: data + b" ",
        lambda data: data.rstrip(),
        lambda data: json.dumps(json.loads(data)).encode(),
        lambda data: data.replace(b'"name": "lab",\n', b"").replace(b'"uid"', b'"name": "lab",\n    "uid"'),
        lambda data: json_file({**json.loads(data), "more": float("nan")}),
        lambda data: b"[" * 100_000,
        lambda data: b"[]\n",
        lambda data: b"",
    ],
)
def test_only_the_bytes_that_a_run_writes_can_be_approved(
    plan: Path, key: Path, found: Callable[..., approvals.Approval], change: Callable[[bytes], bytes]
) -> None:
    assert found(approve(plan, key))
    data = plan.read_bytes()
    changed = change(data)
    if changed == data:
        pytest.skip("the order of keys is the same already")
    plan.write_bytes(changed)
    with pytest.raises(ApprovalError, match=r"plan\.json is not"):
        found(approve(plan, key))


@pytest.mark.parametrize("principals", ["*", "!boss", "!boss,*", "?nn", "a*"])
def test_who_approves_is_a_person_and_not_a_pattern(
    plan: Path, key: Path, tmp_path: Path, principals: str
) -> None:
    approvers = tmp_path / "approvers"

    def find(names: str) -> str:
        approvers.write_text(f"{names} {public_part(key)}\n")
        found = find_approval("", signature, required=True, approvers=str(approvers), own_keys=frozenset)
        assert found is not None
        return found.approver

    signature = approve(plan, key)
    with pytest.raises(ApprovalError, match="which is a pattern and not a person"):
        find(principals)
    assert find(f"{principals},ann@example.org") == "ann@example.org"


def test_the_key_that_seals_a_run_has_not_approved_its_plan(tmp_path: Path, key: Path) -> None:
    run = make_run(tmp_path / "outputs")
    record = Record(tmp_path / "outputs", "lab", "CHG-2")
    record(Approved("0" * 64, "signature", "chief", short(key)))
    record.close()
    with pytest.raises(RecordError, match="is the one that approved its plan; seal it with your own key"):
        seal(record.folder, None, key)
    assert sorted(path.name for path in record.folder.iterdir()) == ["journal.jsonl"]
    other = make_key(tmp_path, "other")
    assert seal(record.folder, None, other).seal.number == 1
    assert seal(run, None, key).seal.number == 2
    # Somebody who does not use this version to seal is found out by who verifies.
    path = record.folder / "record.json"
    content = json.loads(path.read_text())
    content["seal"]["key"] = fingerprint(public_part(key))
    path.chmod(0o600)
    path.write_text(json.dumps(content))
    path.with_name("record.json.sig").unlink()
    sign(path, key)
    with only_signer(public_part(key)) as signers:
        assert verify(record.folder, signers).wrong == (
            f"record.json: the key that seals it, {short(key)}, is the one that approved its plan",
        )


def test_what_one_approves_for_oneself_does_not_count(
    plan: Path, key: Path, found: Callable[..., approvals.Approval]
) -> None:
    signature = approve(plan, key)
    with pytest.raises(ApprovalError, match="a key of the person who runs this"):
        found(signature, frozenset({short(key)}))
    check_signer(found(signature), {"SHA256:another"})


def test_signers_that_are_exchanged_while_they_are_asked_do_not_count(
    tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(tmp_path / "outputs")
    foreign = make_key(tmp_path, "foreign")
    seal(run, None, foreign)
    allowed = tmp_path / "allowed"
    allowed.write_text(f"ann {public_part(key)}\n")
    from kubeharden.records.signature import chosen_signers

    with chosen_signers(str(allowed)) as signers:
        allowed.write_text(f"ann {public_part(foreign)}\n")
        assert not verify(run, signers).good
    assert verify(run, Signers(allowed)).good


@pytest.mark.parametrize("kind", ["ed25519", "ecdsa", "rsa"])
def test_a_certificate_has_the_fingerprint_of_its_key(tmp_path: Path, kind: str) -> None:
    made, ca = tmp_path / "made", make_key(tmp_path, "ca")
    subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", made], check=True)
    own = fingerprint(public_part(made))
    shown = subprocess.run(
        ["ssh-keygen", "-l", "-f", made], capture_output=True, text=True, check=True
    ).stdout
    assert own.split()[1] == shown.split()[1]
    for name in ("ann", "bob"):
        words = ["ssh-keygen", "-q", "-s", ca, "-I", name, "-n", name, made.with_suffix(".pub")]
        subprocess.run(words, check=True, capture_output=True)
        assert fingerprint(public_part(made.with_name("made-cert.pub"))) == own


@pytest.mark.parametrize(
    "line", ["", "ssh-rsa", "ssh-rsa AAAA", "ssh-rsa AAAAC3NzaC1lZDI1NTE5AAAAIA==", "x é"]
)
def test_what_is_not_the_line_of_a_key_is_named(line: str) -> None:
    with pytest.raises(RecordError, match="is not a public key"):
        fingerprint(line)
