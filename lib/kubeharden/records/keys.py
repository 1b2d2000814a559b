"""The one resolver of SSH keys: which key signs for the operator, and which keys are the operator's own.

Git's configuration counts as far as it is the person's or the machine's. That of a repository is never read: anyone who
packs an archive can put one into it.
"""

from __future__ import annotations

import base64
import binascii
import glob
import os
import pwd
import re
import shlex
import subprocess
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from kubeharden.edges.programs import run
from kubeharden.errors import ApprovalError, RecordError
from kubeharden.inputs.project import wrong_path
from kubeharden.records.public_keys import fingerprint_of, wire_string
from kubeharden.records.reader import one_line, read_path

KEY_VARIABLE = "KUBEHARDEN_SIGNING_KEY"
USUAL_KEYS = ("id_ed25519", "id_ecdsa", "id_rsa")
SECONDS = 10  # that git, an agent or ssh-keygen may take to answer
MOST_FILES = 10_000  # in ~/.ssh
_PUBLIC = re.compile(r"(?:ssh-|ecdsa-|sk-)\S+[ \t]+[A-Za-z0-9+/]+=*")
_PRIVATE = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----(.*?)-----END", re.DOTALL)
_PUTTY = re.compile(
    rb"PuTTY-User-Key-File-.*?^Public-Lines: \d+\s+((?:^[A-Za-z0-9+/=]+\s+)+)", re.DOTALL | re.MULTILINE
)
# RFC 4716: headers, then the key
_RFC4716 = re.compile(
    rb"---- BEGIN SSH2 PUBLIC KEY ----\s+(?:[\w-]+: (?:[^\n]*\\\r?\n)*[^\n]*\n)*([A-Za-z0-9+/=\s]+)---- END"
)
_CONTAINER = b"openssh-key-v1\0"  # PROTOCOL.key of OpenSSH
_SETTING = re.compile(
    r"\s*(IdentityFile|CertificateFile|IdentityAgent|Include)(?:\s*=\s*|\s+)(.+)", re.IGNORECASE
)
_FINGERPRINT = re.compile(r"\bSHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class KeyFile:
    """A key file, and the words for where its path comes from."""

    path: Path
    source: str


def find_key(text: str = "") -> KeyFile:
    """Return the operator's key: the one given, else ``KUBEHARDEN_SIGNING_KEY``, git's, or a usual one of ``~/.ssh``.

    Git's counts where ``gpg.format`` is ``ssh`` and ``user.signingkey`` names a file by its whole path. A ``.pub`` file
    will do where the agent holds the private part.

    Raises:
        RecordError: there is no such file, or no key was found anywhere.
    """
    named = text or os.environ.get(KEY_VARIABLE, "")
    if named:
        if why := wrong_path(named):
            raise RecordError(f"signing key: {named[:80]!r} {why}")
        path = Path(named).expanduser()
        if not path.is_file():
            raise RecordError(f"signing key: there is no file {str(path)!r}")
        return KeyFile(path, "--key" if text else f"${KEY_VARIABLE}")
    home = Path("~/.ssh").expanduser()
    named = _of_git("user.signingkey") if _of_git("gpg.format") == "ssh" else ""
    of_git = Path() if wrong_path(named) else Path(named).expanduser()
    if of_git.is_absolute() and of_git.is_file():
        return KeyFile(of_git, "git's user.signingkey")
    for path in (home / name for name in USUAL_KEYS):
        if path.is_file():
            return KeyFile(path, "the usual place")
    raise RecordError(
        f"signing key: none was found; give --key FILE, set {KEY_VARIABLE}, set git's user.signingkey (git config "
        "--global) with gpg.format ssh, or make one with: ssh-keygen -t ed25519"
    )


def public_part(key: Path) -> str:
    """Return the line of the public key that belongs to a key file.

    Raises:
        RecordError: there is none in it or beside it, and it cannot be made without a passphrase.
    """
    for path in (key, key.with_name(f"{key.name}.pub")):
        lines = _lines_of(_content(path))
        if len(lines) == 1:
            return lines[0]
    raise RecordError(f"key: no public key at {str(key)!r} or beside it; name the .pub file")


def is_public_key(path: Path) -> bool:
    """Return whether a file holds one public key and nothing else, as ``.pub`` files do."""
    content = _content(path)
    lines = [
        line for line in content.decode(errors="replace").splitlines() if line.strip() and line[0] != "#"
    ]
    return len(lines) == 1 and _PUBLIC.match(lines[0]) is not None


def fingerprint(line: str) -> str:
    """``ssh-ed25519 SHA256:…`` of a public key's line, of a certificate that of its key.

    Raises:
        RecordError: it is not such a line.
    """
    try:
        kind, text = line.split()[:2]
        blob = base64.b64decode(text, validate=True)
        if wire_string(blob) != kind.encode():
            raise ValueError  # noqa: TRY301 - it is the same mistake
    except ValueError:
        raise RecordError(f"key: {one_line(line)} is not a public key") from None
    return " ".join(fingerprint_of(blob))


def keys_at_hand(identity_file: str | None) -> frozenset[str]:
    """Return the fingerprints (``SHA256:…``) of all keys of the person at the keyboard.

    Those are the keys in and below ``~/.ssh``, of the person before sudo too, and those that SSH's configuration names,
    that the agents hold, that git signs with, that seals are made with, and that the inventory names.

    Raises:
        ApprovalError: a private key is there, and it cannot be told which one it is.
    """
    homes = dict.fromkeys(_homes())
    settings = [setting for home in homes for setting in _ssh_settings(home)]
    named = [identity_file or "", os.environ.get(KEY_VARIABLE, ""), *_signing_keys_of_git()]
    paths = [Path(text).expanduser() for text in named if text and not wrong_path(text)]
    paths += [Path(path) for name, path in settings if name != "identityagent"]
    lines = [match[0] for match in map(_PUBLIC.search, named) if match]  # git's may be the key itself
    for path in dict.fromkeys((*paths, *(path.with_name(f"{path.name}.pub") for path in paths))):
        lines += _own_lines(path)
    for home in homes:
        for path in _files_below(home / ".ssh"):
            if path.suffix.lower() == ".pub" or any(
                form.search(_content(path)) for form in (_PRIVATE, _PUTTY)
            ):
                lines += _own_lines(path)
    sockets = [
        os.environ.get("SSH_AUTH_SOCK", ""),
        *(path for name, path in settings if name == "identityagent"),
    ]
    for socket in dict.fromkeys(filter(None, sockets)):
        lines += _run(["ssh-add", "-L"], {"SSH_AUTH_SOCK": socket}).splitlines()
    return _fingerprints(lines)


@contextmanager
def copy_of(content: bytes, suffix: str = "") -> Iterator[Path]:
    """Give a program a file to read, which nobody else can exchange."""
    with tempfile.NamedTemporaryFile(prefix="kubeharden-", suffix=suffix) as file:
        file.write(content)
        file.flush()
        yield Path(file.name)


def _fingerprints(lines: Iterable[str]) -> frozenset[str]:
    """Return the fingerprints of public keys; a certificate has that of its key."""
    with copy_of("".join(f"{line}\n" for line in lines).encode(), ".pub") as path:
        return frozenset(_FINGERPRINT.findall(_run(["ssh-keygen", "-l", "-f", str(path)])))


def _own_lines(path: Path) -> list[str]:
    """Return the public keys of a person's file; an ApprovalError for a private key that does not say which."""
    content = _content(path)
    lines = _lines_of(content)
    beside = path.with_name(f"{path.name}.pub")
    if not lines and b"ENCRYPTED" in content and _PRIVATE.search(content) and not _lines_of(_content(beside)):
        raise ApprovalError(
            f"whether somebody else approves cannot be known: {path} is a private key that does not say which; "
            f"write it anew in OpenSSH's own format (ssh-keygen -p -f {shlex.quote(str(path))}), or put its public key "
            f"beside it, as {beside.name}"
        )
    return lines


def _lines_of(content: bytes) -> list[str]:
    """Return the lines of the public keys in a key file, whether it holds private keys or public ones."""
    private = _PRIVATE.search(content)
    if private is not None:
        return _container_lines(private[1]) or _derived_lines(content)
    if blob := _PUTTY.search(content) or _RFC4716.search(content):
        return _line_of(b"".join(blob[1].split()))
    lines = content.replace(b"\0", b"").decode(errors="replace").splitlines()  # UTF-16, too
    return [match[0] for match in map(_PUBLIC.search, lines) if match]


def _container_lines(text: bytes) -> list[str]:
    """Return the public keys of a private key in OpenSSH's format, which has them in the open, passphrase or not."""
    with suppress(binascii.Error):
        data = base64.b64decode(b"".join(text.split()), validate=True)
        if data.startswith(_CONTAINER):
            rest = data[len(_CONTAINER) :]
            for _ in range(3):  # cipher, key derivation, and its options
                rest = rest[4 + len(wire_string(rest)) :]
            return _line_of(base64.b64encode(wire_string(rest[4:])))
    return []


def _line_of(blob: bytes) -> list[str]:
    """Return the line of a public key that is there in base64."""
    with suppress(binascii.Error):
        kind = wire_string(base64.b64decode(blob, validate=True)).decode("ascii", errors="replace")
        return [f"{kind} {blob.decode()}"]
    return []


def _derived_lines(content: bytes) -> list[str]:
    """Return the public key of a private key in another format that needs no passphrase.

    ssh-keygen before 9.6 does not read PKCS#8 of Ed25519, which a later one signs with.
    """
    with copy_of(content) as path:  # for its owner only, and no .pub beside it
        made = _run(["ssh-keygen", "-y", "-P", "", "-f", str(path)])
    if not made:
        with suppress(ValueError, TypeError, UnsupportedAlgorithm):
            public = load_pem_private_key(content, None).public_key()
            made = public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")
    return [match[0] for match in map(_PUBLIC.match, made.splitlines()) if match]


def _content(path: Path) -> bytes:
    """Return the content of a key file; nothing where it is not a regular file that can be read."""
    try:
        return read_path(path.resolve())  # a comment in a key file may be of any length
    except (OSError, RecordError):
        return b""


def _homes() -> Iterator[Path]:
    """Yield the home folders of the person: as the shell says, as the machine says, and before sudo."""
    yield Path("~").expanduser()
    with suppress(KeyError):
        yield Path(pwd.getpwuid(os.getuid()).pw_dir)
    with suppress(KeyError, ValueError):
        yield Path(pwd.getpwnam(os.environ.get("SUDO_USER", "")).pw_dir)


def _files_below(folder: Path) -> Iterator[Path]:
    count, folders_read = 0, set[str]()
    for where, folders, names in os.walk(folder, followlinks=True):
        if (real := os.path.realpath(where)) in folders_read:
            folders.clear()
            continue
        folders_read.add(real)
        for name in sorted(names):
            count += 1
            if count > MOST_FILES:
                raise ApprovalError(
                    f"whether somebody else approves cannot be known: {folder} has more than {MOST_FILES} files; keep "
                    "keys there, and nothing else"
                )
            yield Path(where, name)


def _ssh_settings(home: Path) -> Iterator[tuple[str, str]]:
    """Yield what SSH's configuration says of keys: a name in small letters, and a path that is there.

    All that any host gets counts; what only SSH can fill in, such as the host's name, stands for anything.
    """
    waiting = [(home / ".ssh/config", home / ".ssh"), (Path("/etc/ssh/ssh_config"), Path("/etc/ssh"))]
    paths_read = set()
    while waiting:
        path, base = waiting.pop()
        if path in paths_read:
            continue
        paths_read.add(path)
        for line in _content(path).decode(errors="replace").splitlines():
            if match := _SETTING.match(line):
                for value in _paths_of(match[2], home, base):
                    if match[1].lower() == "include":
                        waiting.append((Path(value), base))
                    else:
                        yield match[1].lower(), value


def _paths_of(text: str, home: Path, base: Path) -> Iterator[str]:
    try:
        words = shlex.split(text)
    except ValueError:  # a quote that does not end
        words = [text]
    for word in words:
        expanded = os.path.expandvars(re.sub(r"^~(?=/|$)|%d", str(home), word))
        for place in (base, Path.cwd()):  # an identity counts from where SSH is called
            yield from glob.iglob(str(place / re.sub(r"%[^%]", "*", expanded).replace("%%", "%")))  # noqa: PTH207


def _signing_keys_of_git() -> list[str]:
    """Return each signing key in git's configuration of this person or machine, those of some repositories too."""
    query = ("--includes", "--get-all", "user.signingkey")
    keys = _git(*query).splitlines()
    for scope in ("--global", "--system"):
        waiting: list[tuple[str, ...]] = [(scope,)]
        read = set[tuple[str, ...]]()
        while waiting:
            place = waiting.pop()
            if place in read:
                continue
            read.add(place)
            keys += _git(*place, *query).splitlines()
            where = ("--includes", "--show-origin", "--null", "--get-regexp", r"^includeif\..*\.path$")
            found = _git(*place, *where).split("\0")
            for origin, entry in zip(found[::2], found[1::2], strict=False):
                path = Path(origin.removeprefix("file:")).parent / Path(entry.partition("\n")[2]).expanduser()
                waiting.append(("--file", str(path)))
    return list(dict.fromkeys(keys))


def _of_git(name: str) -> str:
    """Return a value of git's configuration of this person, or else of this machine; empty where there is none."""
    scopes = ["--global", *([] if os.environ.get("GIT_CONFIG_NOSYSTEM") else ["--system"])]
    values = (_git(scope, "--includes", "--get", name).strip() for scope in scopes)
    return next(filter(None, values), "")


def _git(*words: str) -> str:
    """Return what ``git config`` prints, elsewhere than in the working folder: an include may depend on it."""
    return _run(["git", "config", *words], {"GIT_DIR": os.devnull}, Path("/"))


def _run(words: list[str], env: dict[str, str] | None = None, folder: Path | None = None) -> str:
    """Return what a program prints; nothing where it fails, is not there, or does not answer."""
    try:
        done = run(words, SECONDS, folder=folder, environment={**os.environ, **(env or {})})
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode(errors="replace") if done.returncode == 0 else ""
