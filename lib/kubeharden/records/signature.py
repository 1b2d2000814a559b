"""Signatures over records and approvals, made and checked by ``ssh-keygen -Y``, as git does for commits.

The key is one that the operator has anyway, in a file or in the agent. The person who checks needs OpenSSH 8.2 or newer
and the public key: as a ``.pub`` file, or in a file of allowed signers (``ssh-keygen(1)``, ALLOWED SIGNERS).

What is checked are bytes that the caller has read, once: the file may be another one a moment later.
"""

from __future__ import annotations

import base64
import binascii
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from kubeharden.errors import ParameterError, RecordError
from kubeharden.inputs.project import wrong_path
from kubeharden.records.keys import copy_of, find_key, fingerprint, is_public_key, public_part
from kubeharden.records.public_keys import wire_string
from kubeharden.records.reader import MIB, name_list, read_path

# What a signature is for: a seal, the time stamp of one, the result of a run.
NAMESPACE, STAMP_NAMESPACE, SIGN_OFF_NAMESPACE = (
    "kubeharden-record", "kubeharden-timestamp", "kubeharden-sign-off",
)  # fmt: skip
WHOSE = (
    "if it is a colleague's, name their public key or a file of allowed signers (--key or --allowed-signers of "
    "kubeharden verify; in a notebook, the parameter signers)"
)
SIGNERS_VARIABLE = "KUBEHARDEN_ALLOWED_SIGNERS"
_ONLY = "the-given-key"  # its principal, where there is no other name for it
_ARMOR = (b"-----BEGIN SSH SIGNATURE-----\n", b"-----END SSH SIGNATURE-----\n")
_WIDTH = 70  # of a line between them: sshbuf_dtob64 in OpenSSH's sshbuf-misc.c
_MAGIC = b"SSHSIG\x00\x00\x00\x01"  # and version 1: PROTOCOL.sshsig, section 3


@dataclass(frozen=True)
class Signers:
    """The signers whose signatures count."""

    path: Path  # a file in the format of allowed signers
    principal: str = ""  # the one principal in it, where that is known already; it saves a look for it
    words: str = ""  # whose signatures those are, and who says so


def sign(path: Path, key: Path, *, may_ask: bool = False, namespace: str = NAMESPACE) -> Path:
    """Sign a file; the signature lies beside it, as ``<name>.sig``.

    Args:
        namespace: what the signature is for.
        may_ask: whether ssh-keygen may ask for the key's passphrase at the terminal.

    Raises:
        RecordError: the key cannot be used.
    """
    done = _keygen("sign", "-f", str(key), "-n", namespace, str(path), may_ask=may_ask)
    made = path.with_name(f"{path.name}.sig")
    if done.returncode or not made.is_file():
        raise RecordError(
            f"signing key: cannot sign with {str(key)!r}: {_complaint(done)}; expected a private key that this user "
            "can read, or a key that the agent holds (ssh-add)"
        )
    return made


def try_key(key: Path) -> None:
    """Sign something that nobody keeps: a RecordError says now that the key cannot be used later."""
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as folder:
        trial = Path(folder) / "trial"
        trial.write_bytes(b"")
        sign(trial, key)


@contextmanager
def only_signer(line: str, source: str = "as it was given") -> Iterator[Signers]:
    """Allow the one public key of this line as the only one whose signatures count."""
    spaces = ",".join((NAMESPACE, STAMP_NAMESPACE, SIGN_OFF_NAMESPACE))
    with copy_of(f'{_ONLY} namespaces="{spaces}" {line}\n'.encode()) as path:
        yield Signers(path, _ONLY, f"those of the key {fingerprint(line)} ({source})")


def signer_within(signature: bytes, name: str) -> AbstractContextManager[Signers]:
    """Allow the one public key that a signature carries, to see whether it holds by itself.

    Raises:
        RecordError: the signature is not in the form that ssh-keygen writes; see ``line_in``.
    """
    return only_signer(line_in(signature, name))


@contextmanager
def signers_in(path: Path, source: str) -> Iterator[Signers]:
    """Open a file of allowed signers, as it is now; a ParameterError says that there is none."""
    try:
        content = read_path(path.resolve(), MIB)
    except (OSError, RecordError):
        raise ParameterError(f"allowed signers: there is no file {str(path)!r}") from None
    with copy_of(content) as copy:
        yield Signers(copy, words=f"those that {path} allows ({source})")


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
    if why := wrong_path(named):
        raise ParameterError(f"allowed signers: {named[:80]!r} {why}")
    if named:
        source = "--allowed-signers" if allowed else f"${SIGNERS_VARIABLE}"
        with signers_in(Path(named).expanduser().absolute(), source) as signers:
            yield signers
        return
    try:
        own = find_key(key)
        line = public_part(own.path)
    except RecordError as error:
        raise ParameterError(
            f"whose signatures count? A public key or a file of allowed signers must be given ({error})"
        ) from None
    with only_signer(line, f"{own.path.absolute()}: {own.source}") as signers:
        yield signers


def named_signers(text: str) -> AbstractContextManager[Signers]:
    """Open the signers that a parameter names: one public key, or allowed signers; empty as for ``chosen_signers``.

    Raises:
        ParameterError: there is no such file, or nothing was given and the operator has no key.
    """
    is_key = bool(text) and not wrong_path(text) and is_public_key(Path(text).expanduser())
    return chosen_signers("" if is_key else text, text if is_key else "")


@contextmanager
def if_known(signers: AbstractContextManager[Signers], *, named: bool) -> Iterator[Signers | None]:
    """Open signers; None where nobody named any, and the operator has no key either.

    Raises:
        ParameterError: there are none, although somebody ``named`` them.
    """
    with ExitStack() as stack:
        opened = None
        try:
            opened = stack.enter_context(signers)
        except ParameterError:
            if named:
                raise
        yield opened


def signer_of(
    name: str, content: bytes, signature: bytes, signers: Signers, when: str = "", namespace: str = NAMESPACE
) -> str:
    """Return whose signature this is: the principal, as the file of allowed signers calls it.

    Args:
        name: what the content is called, for messages; its signature is called ``<name>.sig``.
        when: the time of signing, ``YYYYmmddHHMMSSZ``: the signer's key must have been valid then; empty: now.
        namespace: what the signature is for.

    Raises:
        RecordError: it is not a signature of this content, or of nobody among the signers. Its message says which.
    """
    check_form(signature, f"{name}.sig")
    at = ("-O", f"verify-time={when}") if when else ()
    with copy_of(signature) as path:
        common = ("-f", str(signers.path), "-s", str(path), *at)
        answer = _keygen("find-principals", *common) if not signers.principal else None
        if answer is not None and answer.returncode:
            raise RecordError(_why_not(name, content, path, namespace))
        principal = signers.principal if answer is None else _person(name, answer.stdout)
        done = _keygen("verify", "-I", principal, "-n", namespace, *common, content=content)
        if done.returncode:
            raise RecordError(_why_not(name, content, path, namespace))
    return principal


def ssh_time(time: str) -> str:
    """Return a time such as ``2026-11-24T13:18:42Z`` as ssh-keygen reads it: the signer's key must be valid then."""
    return "".join(letter for letter in time if letter.isdigit())[:14] + "Z"


def fingerprint_in(content: bytes, signature: bytes, namespace: str) -> str:
    """``ED25519 key SHA256:…`` of the key that made a signature, whosever it is; empty if it is not of this content."""
    with copy_of(signature) as path:
        return _maker(content, path, namespace)


def key_in(name: str, signature: bytes) -> str:
    """``ssh-ed25519 SHA256:…`` of the key that a signature carries, as ``fingerprint`` gives it."""
    return fingerprint(line_in(signature, f"{name}.sig"))


def line_in(signature: bytes, name: str) -> str:
    """Return the line of the public key that a signature carries.

    It is the first field after the version, and its first field is its type: PROTOCOL.sshsig, section 3, and RFC 4253,
    section 6.6. That it made the signature is for ``signer_of`` to say.

    Raises:
        RecordError: the signature is not in the form that ssh-keygen writes.
    """
    key = wire_string(check_form(signature, name)[len(_MAGIC) :])
    kind = wire_string(key).decode("ascii", errors="replace")
    return f"{kind} {base64.b64encode(key).decode()}"


def check_form(signature: bytes, name: str) -> bytes:
    """Hold a signature to the one form that ssh-keygen writes; what it holds, decoded.

    What ssh-keygen reads is more than what it writes: other line ends, another version, spare bits. Nothing of that is
    signed, so a byte that was changed there would pass unnoticed.

    Raises:
        RecordError: it is in another form.
    """
    begin, end = _ARMOR
    try:
        blob = base64.b64decode(b"".join(signature[len(begin) : -len(end)].split(b"\n")), validate=True)
    except binascii.Error:
        blob = b""
    lines = base64.b64encode(blob)
    body = b"".join(lines[at : at + _WIDTH] + b"\n" for at in range(0, len(lines), _WIDTH))
    if signature != begin + body + end or not blob.startswith(_MAGIC):
        raise RecordError(f"{name}: is not a signature as ssh-keygen writes it")
    return blob


def _person(name: str, principals: bytes) -> str:
    """Return the first principal that is a name, or raise a RecordError: a pattern names nobody."""
    names = principals.decode(errors="replace").splitlines()
    person = next((name for name in names if name.isprintable() and not set("*?!") & set(name)), None)
    if person is None:
        raise RecordError(
            f"{name}.sig: the allowed signers call its maker {name_list(names)}, which is a pattern and not a person; "
            "write the person's own name there"
        )
    return person


def _maker(content: bytes, signature: Path, namespace: str) -> str:
    done = _keygen("check-novalidate", "-n", namespace, "-s", str(signature), content=content)
    words = done.stdout.decode(errors="replace")
    return words.partition(" with ")[2].strip() if done.returncode == 0 else ""


def _why_not(name: str, content: bytes, signature: Path, namespace: str) -> str:
    key = _maker(content, signature, namespace)
    if key:
        foreign = f"{name}.sig: a foreign signature, made with {key}, which is not among the allowed signers"
        return f"{foreign}; {WHOSE}" if namespace in {NAMESPACE, SIGN_OFF_NAMESPACE} else foreign
    return f"{name}: was altered after it was signed, or its signature was"


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


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    return " ".join(done.stderr.decode(errors="replace").split()) or "ssh-keygen said nothing"
