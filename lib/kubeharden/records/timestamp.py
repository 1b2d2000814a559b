"""Trusted time: a time stamp of RFC 3161 over the signature of a seal, asked for when sealing and verified offline.

``openssl ts`` makes the request and judges the answer; it is a program that every distribution has, and this module its
only caller. What the authority answers is bounded in size and in time.
"""

from __future__ import annotations

import os
import re
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

from kubeharden.edges.http_post import post
from kubeharden.edges.programs import run
from kubeharden.errors import KubehardenError, ParameterError, RecordError
from kubeharden.inputs.project import wrong_path
from kubeharden.records.reader import MIB, SIGNATURE_LIMIT, one_line, read_path

URL_VARIABLE, CA_VARIABLE = "KUBEHARDEN_TIMESTAMP_URL", "KUBEHARDEN_TIMESTAMP_CA"
ANSWER_SECONDS, PROGRAM_SECONDS = 20, 10
MOST_APART = timedelta(minutes=5)  # the time of a seal and the one that the authority says
_TIME = re.compile(r"^Time stamp: ([A-Z][a-z]{2} +\d+ \d\d:\d\d:\d\d)(?:\.\d+)? (\d{4}) GMT$", re.MULTILINE)
# RFC 3161, section 3.4.
_QUERY_TYPE, _REPLY_TYPE = "application/timestamp-query", "application/timestamp-reply"
_WEAK = re.compile(r"^Hash Algorithm: (?!sha(?:256|384|512)$)(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Authority:
    """A time-stamp authority: where it answers, and the certificates that its own must lead to."""

    url: str
    ca: bytes


def find_authority(url: str = "", ca: str = "") -> Authority | None:
    """Return the authority that is configured; None for none.

    Args:
        url: where it answers; empty: as ``KUBEHARDEN_TIMESTAMP_URL`` says.
        ca: a file of its certificates (PEM); empty: as ``KUBEHARDEN_TIMESTAMP_CA`` says.

    Raises:
        ParameterError: the URL is not one that can be kept, or there is no such file.
        RecordError: ``openssl`` is not there.
    """
    place = url or os.environ.get(URL_VARIABLE, "")
    if not place:
        return None
    parts = urlsplit(place)
    if parts.scheme not in {"http", "https"} or not parts.hostname or not place.isprintable():
        raise ParameterError(
            f"time-stamp authority: {place[:80]!r} is not a URL; expected one of http or https"
        )
    if parts.username is not None or parts.query or parts.fragment:
        raise ParameterError(
            "time-stamp authority: its URL has more than a host and a path; it is kept in the record, so it must have "
            "neither a login nor a query"
        )
    content = find_certificates(ca)
    if content is None:
        raise ParameterError(
            f"time-stamp authority: whose certificates count for {place}? Name a file of them: --timestamp-ca, or "
            f"{CA_VARIABLE}"
        )
    _openssl("version")
    return Authority(place, content)


def find_certificates(ca: str = "") -> bytes | None:
    """Return the certificates of authorities that count here: of this file, else of ``KUBEHARDEN_TIMESTAMP_CA``.

    Raises:
        ParameterError: there is no such file.
    """
    named = ca or os.environ.get(CA_VARIABLE, "")
    if not named:
        return None
    try:
        if not wrong_path(named):
            return read_path(Path(named).expanduser().resolve(), MIB)
    except (OSError, RecordError):
        pass
    raise ParameterError(f"time-stamp authority: there is no file of certificates {named[:80]!r}")


def ask(authority: Authority, content: bytes) -> bytes:
    """Return a time stamp over some bytes, as the authority answered it (DER).

    Raises:
        RecordError: it does not answer, or not with a time stamp of this request that its certificates vouch for.
    """
    with _folder({"content": content, "ca": authority.ca}) as folder:
        query = folder / "query"
        request = _openssl("ts", "-query", "-data", folder / "content", "-sha256", "-cert", "-out", query)
        if request.returncode:
            raise RecordError(f"openssl makes no request for a time stamp: {_complaint(request)}")
        types = (_QUERY_TYPE, _REPLY_TYPE)
        try:
            answer = post(authority.url, query.read_bytes(), types, ANSWER_SECONDS, SIGNATURE_LIMIT)
        except KubehardenError as error:
            raise RecordError(f"{authority.url}: {one_line(str(error))}") from None
        (folder / "answer").write_bytes(answer)
        done = _openssl(
            "ts", "-verify", "-queryfile", query, "-in", folder / "answer", "-CAfile", folder / "ca"
        )
        if done.returncode:
            raise RecordError(
                f"{authority.url}: does not answer with a time stamp of this request by an authority whose "
                f"certificates count: {_complaint(done)}"
            )
    return answer


def stamped_at(stamp: bytes, content: bytes, ca: bytes) -> datetime:
    """Return the time that an authority has vouched for: at it, the content was there.

    Args:
        content: what it is a time stamp of.
        ca: the certificates that count, valid at that time (PEM).

    Raises:
        RecordError: it is not a time stamp of this content, or none that these certificates vouch for.
    """
    with _folder({"stamp": stamp, "content": content, "ca": ca}) as folder:
        text = _openssl("ts", "-reply", "-in", folder / "stamp", "-text").stdout.decode(errors="replace")
        match = _TIME.search(text)
        if match is None:
            raise RecordError("is not a time stamp")
        if weak := _WEAK.search(text):
            raise RecordError(f"is over a digest that does not count any more ({one_line(weak[1])})")
        at = datetime.strptime(f"{match[1]} {match[2]}", "%b %d %H:%M:%S %Y").replace(tzinfo=UTC)
        done = _openssl(
            "ts", "-verify", "-data", folder / "content", "-in", folder / "stamp", "-CAfile", folder / "ca",
            "-attime", str(int(at.timestamp())),
        )  # fmt: skip
    if done.returncode:
        raise RecordError(
            f"is not a time stamp of this seal by an authority whose certificates count ({_complaint(done)})"
        )
    return at


@contextmanager
def _folder(contents: dict[str, bytes]) -> Iterator[Path]:
    """Give openssl files to read, which nobody else can exchange."""
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as name:
        for file, content in contents.items():
            (Path(name) / file).write_bytes(content)
        yield Path(name)


def _openssl(*words: str | Path) -> subprocess.CompletedProcess[bytes]:
    try:
        return run(
            ["openssl", *map(str, words)],
            PROGRAM_SECONDS,
            environment={**os.environ, "LC_ALL": "C", "TZ": "UTC"},
        )
    except subprocess.TimeoutExpired:
        raise RecordError(f"openssl has not answered within {PROGRAM_SECONDS} s") from None
    except OSError as error:
        raise RecordError(
            f"openssl cannot be run ({error.strerror}), and time stamps need it: install it (on Debian, the package "
            "openssl)"
        ) from None


def _complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = (done.stderr or done.stdout).decode(errors="replace").split("\n")
    return (
        one_line(next((line for line in lines if ":error:" in line), " ".join(lines)).strip()[:300])
        or "no word"
    )
