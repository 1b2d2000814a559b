"""Signatures over records, made and checked by ``ssh-keygen -Y``, as git does for commits.

The key is one that the operator has anyway, in a file or in the agent. The person who checks needs OpenSSH 8.2 or newer
and the public key: as a ``.pub`` file, or in a file of allowed signers (``ssh-keygen(1)``, ALLOWED SIGNERS).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubeharden.errors import ParameterError, RecordError

NAMESPACE = "kubeharden-record"
KEY_VARIABLE = "KUBEHARDEN_SIGNING_KEY"
SIGNERS_VARIABLE = "KUBEHARDEN_ALLOWED_SIGNERS"
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
_ONLY = "the-given-key"  # its principal, where there is no other name for it
_ARMOR = (b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n")
_WIDTH = 70  # of a line between them: sshbuf_dtob64 in OpenSSH's sshbuf-misc.c
_MAGIC = b"SSHSIG\x00\x00\x00\x01"  # and version 1: PROTOCOL.sshsig, section 3


@dataclass(frozen=True)
class Signers:
    """The signers whose signatures count.

    Attributes:
        path: a file in the format of allowed signers.
        principal: the one principal in it, where that is known already; it saves a look for it.
    """

    path: Path
    principal: str = ""


def find_key(given: str = "") -> Path:
    """Return the operator's key: the one given, else ``KUBEHARDEN_SIGNING_KEY``, git's, or an usual one of ``~/.ssh``.

    Git's counts where ``gpg.format`` is ``ssh`` and ``user.signingkey`` names a file. A ``.pub`` file will do where
    the agent holds the private part.

    Raises:
        RecordError: there is no such file, or no key was found anywhere.
    """
    named = given or os.environ.get(KEY_VARIABLE, "")
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise RecordError(f"signing key: there is no file {str(path)!r}")
        return path
    home = Path("~/.ssh").expanduser()
    for path in (*_git_key(), *(home / name for name in USUAL_KEYS)):
        if path.is_file():
            return path
    raise RecordError(
        f"signing key: none was found; give --key FILE, set {KEY_VARIABLE}, set git's user.signingkey with "
        "gpg.format ssh, or make one with: ssh-keygen -t ed25519"
    )


def sign(path: Path, key: Path, *, may_ask: bool = False) -> Path:
    """Sign a file; the signature lies beside it, as ``<name>.sig``.

    Args:
        may_ask: whether ssh-keygen may ask for the key's passphrase at the terminal.

    Raises:
        RecordError: the key cannot be used.
    """
    done = _keygen("sign", "-f", str(key), "-n", NAMESPACE, str(path), may_ask=may_ask)
    made = path.with_name(f"{path.name}.sig")
    if done.returncode or not made.is_file():
        raise RecordError(
            f"signing key: cannot sign with {str(key)!r}: {_words(done)}; expected a private key that this user can "
            "read, or a key that the agent holds (ssh-add)"
        )
    return made


def try_key(key: Path) -> None:
    """Sign something that nobody keeps, to know now whether the key can be used later.

    Raises:
        RecordError: it cannot.
    """
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as folder:
        trial = Path(folder) / "trial"
        trial.write_bytes(b"")
        sign(trial, key)


def public_part(key: Path) -> str:
    """Return the line of the public key that belongs to a key file.

    Raises:
        RecordError: there is none beside it, and it cannot be made without a passphrase.
    """
    for path in (key, key.with_name(f"{key.name}.pub")):
        line = _public_line(path)
        if line:
            return line
    done = subprocess.run(
        ["ssh-keygen", "-y", "-P", "", "-f", key], stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    if done.returncode:
        raise RecordError(f"key: no public key at {str(key)!r} or beside it; name the .pub file")
    return done.stdout.decode().strip()


def fingerprint(line: str) -> str:
    """``ssh-ed25519 SHA256:…`` of a public key's line, as ``ssh-keygen -l`` shows it."""
    kind, blob = line.split()[:2]
    sha = hashlib.sha256(base64.b64decode(blob)).digest()
    return f"{kind} SHA256:{base64.b64encode(sha).decode().rstrip('=')}"


@contextmanager
def only_signer(line: str) -> Iterator[Signers]:
    """Allow the one public key of this line as the only one whose signatures count."""
    with tempfile.NamedTemporaryFile("w", prefix="kubeharden-", suffix=".signers", encoding="utf-8") as file:
        file.write(f'{_ONLY} namespaces="{NAMESPACE}" {line}\n')
        file.flush()
        yield Signers(Path(file.name), _ONLY)


@contextmanager
def chosen_signers(allowed: str = "", key: str = "") -> Iterator[Signers]:
    """Open the signers that count: those given, else ``KUBEHARDEN_ALLOWED_SIGNERS``, else the operator's own key.

    Args:
        allowed: a file of allowed signers.
        key: the file of a public key, the only one that counts then.

    Raises:
        ParameterError: there is no such file, or nothing was given and the operator has no key.
    """
    named = allowed or ("" if key else os.environ.get(SIGNERS_VARIABLE, ""))
    if named:
        path = Path(named).expanduser()
        if not path.is_file():
            raise ParameterError(f"allowed signers: there is no file {str(path)!r}")
        yield Signers(path)
        return
    try:
        line = public_part(Path(key).expanduser() if key else find_key())
    except RecordError as error:
        raise ParameterError(
            f"whose signatures count? A public key or a file of allowed signers must be given ({error})"
        ) from None
    with only_signer(line) as signers:
        yield signers


def is_public_key(path: Path) -> bool:
    """Return whether a file holds one public key, as ``.pub`` files do."""
    return bool(_public_line(path))


def signer_of(record: Path, signature: Path, signers: Signers, when: str, namespace: str = NAMESPACE) -> str:
    """Return whose signature this is: the principal, as the file of allowed signers calls it.

    Args:
        record: the file that was signed.
        signature: the file with its signature.
        when: the time of signing, ``YYYYmmddHHMMSSZ``: the signer's key must have been valid then; empty: now.
        namespace: what the signature is for.

    Raises:
        RecordError: it is not a signature of this file, or of nobody among the signers. Its message says which.
    """
    check_form(signature)
    at = ("-O", f"verify-time={when}") if when else ()
    common = ("-n", namespace, "-s", str(signature))
    principal = signers.principal
    if not principal:
        found = _keygen("find-principals", "-s", str(signature), "-f", str(signers.path), *at)
        if found.returncode:
            raise RecordError(_why_not(record, signature, namespace))
        principal = found.stdout.decode().splitlines()[0]
    content = record.read_bytes()
    done = _keygen("verify", "-f", str(signers.path), "-I", principal, *common, *at, content=content)
    if done.returncode:
        raise RecordError(_why_not(record, signature, namespace))
    return principal


def fingerprint_in(signature: Path, record: Path, namespace: str = NAMESPACE) -> str:
    """``ED25519 key SHA256:…`` of the key that made a signature, whosever it is; empty if it is not of this file."""
    done = _keygen("check-novalidate", "-n", namespace, "-s", str(signature), content=record.read_bytes())
    words = done.stdout.decode()
    return words.partition(" with ")[2].strip() if done.returncode == 0 else ""


def key_in(signature: Path) -> str:
    """``ssh-ed25519 SHA256:…`` of the key that a signature carries, as ``fingerprint`` gives it.

    The public key is the first field after the version, and its first field is its type: PROTOCOL.sshsig, section 3,
    and RFC 4253, section 6.6. That it made the signature is for ``signer_of`` to say.

    Raises:
        RecordError: the file is not in the form that ssh-keygen writes.
    """
    key = _field(check_form(signature)[len(_MAGIC) :])
    kind = _field(key).decode("ascii", errors="replace")
    return fingerprint(f"{kind} {base64.b64encode(key).decode()}")


def _field(data: bytes) -> bytes:
    """Return the first string of SSH's wire format: four bytes of length, then the bytes (RFC 4251, section 5)."""
    return data[4 : 4 + int.from_bytes(data[:4], "big")]


def check_form(signature: Path) -> bytes:
    """Hold the file to the one form that ssh-keygen writes; what it holds, decoded.

    What ssh-keygen reads is more than what it writes: other line ends, another version, spare bits. Nothing of that is
    signed, so a byte that was changed there would pass unnoticed.

    Raises:
        RecordError: it is in another form.
    """
    text = signature.read_bytes()
    begin, end = _ARMOR
    try:
        blob = base64.b64decode(b"".join(text[len(begin) : -len(end)].split(b"\n")), validate=True)
    except binascii.Error:
        blob = b""
    lines = base64.b64encode(blob)
    body = b"".join(lines[at : at + _WIDTH] + b"\n" for at in range(0, len(lines), _WIDTH))
    if text != begin + body + end or not blob.startswith(_MAGIC):
        raise RecordError(f"{signature.name}: is not a signature as ssh-keygen writes it")
    return blob


def _why_not(record: Path, signature: Path, namespace: str) -> str:
    key = fingerprint_in(signature, record, namespace)
    if key:
        return (
            f"{signature.name}: a foreign signature, made with {key}, which is not among the allowed signers"
        )
    return f"{record.name}: was altered after it was signed, or its signature was"


def _git_key() -> list[Path]:
    """Return the file that git signs with, if it signs with an SSH key and the key is a file."""
    try:
        found = [
            subprocess.run(
                ["git", "config", "--get", name], capture_output=True, text=True, check=False
            ).stdout.strip()
            for name in ("gpg.format", "user.signingkey")
        ]
    except OSError:  # no git here
        return []
    return [Path(found[1]).expanduser()] if found[0] == "ssh" and found[1] else []


def _public_line(path: Path) -> str:
    """Return the first line of a file of one public key; empty where the file holds anything else."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        return ""
    words = lines[0].split() if lines else []
    return " ".join(words[:2]) if len(words) > 1 and words[0].startswith(("ssh-", "ecdsa-", "sk-")) else ""


def _keygen(
    action: str, *words: str, content: bytes = b"", may_ask: bool = False
) -> subprocess.CompletedProcess[bytes]:
    """Run ``ssh-keygen -Y``; without a terminal unless it may ask for a passphrase."""
    try:
        return subprocess.run(
            ["ssh-keygen", "-Y", action, *words],
            input=content,
            capture_output=True,
            check=False,
            start_new_session=not may_ask,
            env={
                **os.environ,
                "TZ": "UTC",
                "LC_ALL": "C",
                **({} if may_ask else {"SSH_ASKPASS_REQUIRE": "never"}),
            },
        )
    except OSError as error:
        raise RecordError(f"ssh-keygen cannot be run ({error.strerror}): install OpenSSH's client") from None


def _words(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode(errors="replace").split()) or "ssh-keygen said nothing"
