"""The one reader of what lies in a record: regular files below one folder, each up to its size, and strict JSON.

Anyone who can write into a folder of records can put links, pipes, devices and endless files there. No link is followed
on the way from the folder to a file, nothing but a regular file is opened, and nothing is read beyond its limit.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.formats import is_shallow

MIB = 1 << 20
LIMIT = 64 * MIB  # of a document that is parsed; a run on 500 nodes makes one of 10 MiB
# What is only hashed (the executed notebook), a content of a node or of the API, a signature.
NOTEBOOK_LIMIT, CONTENT_LIMIT, SIGNATURE_LIMIT = 256 * MIB, 16 * MIB, MIB // 16
MOST_FILES, DEEPEST = 500_000, 8  # below one folder: files, and folders in each other
DEEPEST_JSON = 100
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class MissingError(RecordError):
    """There is no such file."""


def limit_of(name: str) -> int:
    """Return how many bytes a file of a record may have, by its path below the run's folder."""
    if name.endswith((".sig", ".tsr")):
        return SIGNATURE_LIMIT
    if name.rpartition("/")[2].startswith("notebook."):
        return NOTEBOOK_LIMIT
    if name.startswith(("files/", "objects/")):
        return CONTENT_LIMIT
    return MIB if name.startswith(("sign-off.", "timestamp-ca.")) else LIMIT


def read(folder: Path, name: str) -> bytes:
    """Return the content of a file below a folder.

    Raises:
        MissingError: there is none.
        RecordError: it is not a regular file, is reached through a link, is too big, or cannot be read.
    """
    return b"".join(_chunks(folder, name))


def digest(folder: Path, name: str) -> str:
    """Return the SHA-256 of a file below a folder, in hex; it raises what ``read`` raises."""
    sha = hashlib.sha256()
    for chunk in _chunks(folder, name):
        sha.update(chunk)
    return sha.hexdigest()


def is_there(folder: Path, name: str) -> bool:
    """Return whether there is something of that name below a folder, whatever it is."""
    return os.path.lexists(folder / name)


def is_folder(path: Path) -> bool:
    """Return whether there is a folder; a link to one is not one."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except (OSError, ValueError):
        return False


def names_below(folder: Path) -> list[str]:
    """Return the path of everything below a folder that is not a folder itself; links are named and not followed.

    Raises:
        RecordError: a folder cannot be read, or there are too many files.
    """
    try:
        with _closing(os.open(folder, _FOLDER)) as handle:
            return sorted(_walk(handle, "", iter(range(MOST_FILES))))
    except OSError as error:
        raise RecordError(f"{one_line(folder.name)}: cannot be read as a folder ({error.strerror})") from None


def read_path(path: Path, limit: int = LIMIT) -> bytes:
    """Return the content of a file that a person names; it raises what ``read`` raises."""
    return b"".join(_chunks(path.parent.resolve(), path.name, limit))


def parse_json(data: bytes) -> Any:
    """Return what JSON in UTF-8 holds.

    Raises:
        ValueError: it is not JSON, nests too deep, names a key twice, or has a number that JSON does not know.
    """
    try:
        content = _DECODER.decode(data.decode("utf-8"))
    except RecursionError:
        raise ValueError("it nests too deep") from None
    if data.count(b"[") + data.count(b"{") > DEEPEST_JSON and not is_shallow(content, DEEPEST_JSON):
        raise ValueError("it nests too deep")
    return content


def one_line(text: str) -> str:
    r"""Return a text on one line, with what a terminal would not print escaped: ``\n``, ``\x1b``, ``\u202e``."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def on_lines(text: str) -> str:
    """Return a text on its lines: what else is not printed, is escaped, except for tabs."""
    return "\n".join("\t".join(map(one_line, line.split("\t"))) for line in text.split("\n"))


def name_list(names: Iterable[str], most: int | None = None) -> str:
    """Return names for a sentence, each as ``one_line`` gives it; beyond ``most``, how many more there are."""
    lines = list(map(one_line, names))
    more = f" and {len(lines) - most} more" if most and len(lines) > most else ""
    return ", ".join(lines[:most]) + more


def open_file(folder: Path, name: str) -> int:
    """Open a regular file below a folder to be read; the caller closes the handle. It raises what ``read`` raises."""
    if "\0" in name or {"", ".", ".."} & set(name.split("/")):
        raise RecordError(f"{one_line(name)}: is not the path of a file below a folder")
    try:
        return _open_below(folder, name)
    except FileNotFoundError:
        raise MissingError(f"{one_line(name)}: cannot be read (there is no such file)") from None
    except OSError as error:
        raise RecordError(f"{one_line(name)}: cannot be read as a regular file ({error.strerror})") from None
    except UnicodeEncodeError:
        raise MissingError(f"{one_line(name)}: cannot be read (no file can have that name)") from None


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        raise ValueError("a key stands twice in it")
    return content


def _no_number(text: str) -> Any:
    raise ValueError(f"{text} is not a number of JSON")


_DECODER = json.JSONDecoder(object_pairs_hook=_distinct, parse_constant=_no_number)


def _walk(handle: int, prefix: str, numbers: Iterator[int]) -> Iterator[str]:
    if prefix.count("/") > DEEPEST:
        raise RecordError(f"{one_line(prefix)}: has more than {DEEPEST} folders in each other")
    for entry in os.scandir(handle):
        if next(numbers, None) is None:
            raise RecordError(f"there are more than {MOST_FILES} files")
        if entry.is_dir(follow_symlinks=False):
            with _closing(os.open(entry.name, _FOLDER, dir_fd=handle)) as inner:
                yield from _walk(inner, f"{prefix}{entry.name}/", numbers)
        else:
            yield f"{prefix}{entry.name}"


def _chunks(folder: Path, name: str, limit: int | None = None) -> Iterator[bytes]:
    """Yield the content of a regular file, piece by piece."""
    most, size = limit_of(name) if limit is None else limit, 0
    with _closing(open_file(folder, name)) as handle:
        expected = os.fstat(handle).st_size
        while max(size, expected) <= most and (chunk := _next(handle, name)):
            size += len(chunk)
            yield chunk
    if max(size, expected) > most:
        raise RecordError(f"{one_line(name)}: is bigger than {most} bytes")


def _next(handle: int, name: str) -> bytes:
    try:
        return os.read(handle, MIB)
    except OSError as error:
        raise RecordError(f"{one_line(name)}: cannot be read ({error.strerror})") from None


def _open_below(folder: Path, name: str) -> int:
    *folders, last = name.split("/")
    handle = os.open(folder, _FOLDER)
    try:
        for part in folders:
            inner = os.open(part, _FOLDER, dir_fd=handle)
            os.close(handle)
            handle = inner
        if not stat.S_ISREG(os.stat(last, dir_fd=handle, follow_symlinks=False).st_mode):
            raise OSError(errno.EINVAL, "it is a link or something else than a file")
        file = os.open(last, _FILE, dir_fd=handle)
    finally:
        os.close(handle)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise OSError(errno.EINVAL, "it was exchanged while it was opened")
    return file


@contextmanager
def _closing(handle: int) -> Iterator[int]:
    try:
        yield handle
    finally:
        os.close(handle)
