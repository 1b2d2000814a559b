"""A copy of a sealed run in S3, beside the notebook that papermill writes there. Needs the extra ``s3``.

Where the bucket is, and who one is there, boto3 finds out by itself, as it does for papermill: ``AWS_ENDPOINT_URL``,
``AWS_PROFILE`` and so on. Nothing that is there already is ever written over.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan import sha256
from kubeharden.records.archive import RECORD, SIGNATURE, alterations, is_sealed, parse_record, read_seal
from kubeharden.records.reader import digest, is_there, name_list, read

T = TypeVar("T")

# s3://bucket or s3://bucket/some/prefix
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")


@dataclass(frozen=True)
class Pushed:
    """Where the copy is, how many files it has, and how many of them were there already."""

    place: str
    files: int
    earlier: int


def push(folder: Path, url: str) -> Pushed:
    """Put a sealed run below a place in S3, and read back every byte of it.

    Args:
        url: ``s3://bucket/prefix``; the run's name comes after it.

    Raises:
        ParameterError: it is not a such URL.
        RecordError: the run is not sealed or was altered; another content is there already; S3 refuses, or has
            something else afterwards than what was sent.
    """
    match = _URL.fullmatch(url)
    if match is None:
        raise ParameterError(f"{url!r} is not a place in S3; expected s3://BUCKET or s3://BUCKET/PREFIX")
    wanted = _digests(folder)
    prefix = "/".join(part for part in (match["prefix"] or "").split("/") if part)
    bucket = _Bucket(match["bucket"], f"{prefix}/{folder.name}/" if prefix else f"{folder.name}/")
    present = bucket.names(len(wanted))
    _refuse(bucket, [name for name in present if name not in wanted])
    _compare(bucket, folder, {name: wanted[name] for name in present})
    for name, sha in wanted.items():
        if name not in present:
            bucket.put(name, _content(folder, name, sha))
    _compare(bucket, folder, wanted)
    return Pushed(bucket.place, len(wanted), len(present))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a sealed run, the signature last."""
    if not is_sealed(folder):
        raise RecordError(f"{folder.name} is not sealed; seal it first: kubeharden seal {folder} NOTEBOOK")
    record, signature = read(folder, RECORD), read(folder, SIGNATURE)
    seal = read_seal(parse_record(record))
    if wrong := alterations(folder, seal):
        raise RecordError(f"{folder.name} was altered since it was sealed: {'; '.join(wrong)}")
    beside = {name: digest(folder, name) for name in sorted(seal.beside) if is_there(folder, name)}
    return {**seal.files, **beside, RECORD: sha256(record), SIGNATURE: sha256(signature)}


def _content(folder: Path, name: str, sha: str) -> bytes:
    """Return what is sent, which is what was sealed and nothing that came in its place meanwhile."""
    content = read(folder, name)
    if sha256(content) != sha:
        raise RecordError(f"{folder.name}: {name} was changed while it was sent")
    return content


def _compare(bucket: _Bucket, folder: Path, wanted: dict[str, str]) -> None:
    contents = ((name, _content(folder, name, sha)) for name, sha in wanted.items())
    _refuse(bucket, [name for name, content in contents if bucket.get(name, len(content)) != content])


def _refuse(bucket: _Bucket, wrong: list[str]) -> None:
    if wrong:
        raise RecordError(
            f"{bucket.place} has something else than this run in {name_list(sorted(wrong))}; "
            "nothing that was there was written over"
        )


class _Bucket:
    """The objects of one run in S3."""

    def __init__(self, bucket: str, prefix: str) -> None:
        try:
            import boto3  # noqa: PLC0415 - an extra, and for this only
            from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415
        except ImportError:
            raise RecordError("S3 needs boto3: pip install 'kubeharden[s3]'") from None
        self._errors = (BotoCoreError, ClientError)
        self._bucket, self._prefix = bucket, prefix
        self.place = f"s3://{bucket}/{prefix}"
        self._client = self._ask(lambda: boto3.client("s3"))

    def names(self, most: int) -> list[str]:
        """Return the names of what is there, without the prefix; one more than ``most`` at the most."""

        def keys() -> Iterator[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            return (item["Key"][len(self._prefix) :] for page in pages for item in page.get("Contents", ()))

        return self._ask(lambda: list(islice(keys(), most + 1)))

    def get(self, name: str, most: int) -> bytes:
        """Return the content of one; one byte more than ``most`` at the most."""

        def content() -> bytes:
            body = self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"]
            return bytes(body.read(most + 1))

        return self._ask(content)

    def put(self, name: str, content: bytes) -> None:
        """Put one there."""
        key = self._prefix + name
        self._ask(lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=content))

    def _ask(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except self._errors as error:
            raise RecordError(f"{self.place}: {error}") from None
