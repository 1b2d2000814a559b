"""A copy of a sealed run in S3, beside the notebook that papermill writes there. Needs the extra ``s3``.

Where the bucket is, and who one is there, boto3 finds out by itself, as it does for papermill: ``AWS_ENDPOINT_URL``,
``AWS_PROFILE`` and so on. Nothing that is there already is ever written over.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from kubeharden.errors import ParameterError, RecordError
from kubeharden.records.archive import RECORD, SIGNATURE, Seal, alterations, digest, read_record, read_seal

T = TypeVar("T")

# s3://bucket or s3://bucket/some/prefix
_URL = re.compile(r"s3://(?P<bucket>[a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(?P<prefix>.*))?")


@dataclass(frozen=True)
class Pushed:
    """Where the copy is, how many files it has, and how many of them were there already."""

    place: str
    files: int
    there: int


def push(folder: Path, url: str) -> Pushed:
    """Put a sealed run below a place in S3, and read back every byte of it.

    Args:
        folder: the run's folder.
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
    there = bucket.names()
    _compare(bucket, {name: wanted.get(name, "") for name in there})
    for name in wanted:
        if name not in there:
            bucket.put(name, (folder / name).read_bytes())
    _compare(bucket, wanted)
    return Pushed(bucket.place, len(wanted), len(there))


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file of a sealed run, the signature last."""
    if not (folder / SIGNATURE).exists():
        raise RecordError(f"{folder.name} is not sealed; seal it first: kubeharden seal {folder} NOTEBOOK")
    seal: Seal = read_seal(read_record(folder))
    if wrong := alterations(folder, seal):
        raise RecordError(f"{folder.name} was altered since it was sealed: {'; '.join(wrong)}")
    return {**seal.files, **{name: digest(folder / name) for name in (RECORD, SIGNATURE)}}


def _compare(bucket: _Bucket, wanted: dict[str, str]) -> None:
    wrong = [name for name, sha in wanted.items() if hashlib.sha256(bucket.get(name)).hexdigest() != sha]
    if wrong:
        raise RecordError(
            f"{bucket.place} has something else than this run in {', '.join(sorted(wrong))}; "
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

    def names(self) -> list[str]:
        """Return the names of what is there, without the prefix."""

        def keys() -> list[str]:
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=self._prefix
            )
            return [item["Key"][len(self._prefix) :] for page in pages for item in page.get("Contents", ())]

        return self._ask(keys)

    def get(self, name: str) -> bytes:
        """Return the content of one."""

        def read() -> bytes:
            return bytes(self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read())

        return self._ask(read)

    def put(self, name: str, content: bytes) -> None:
        """Put one there."""
        key = self._prefix + name
        self._ask(lambda: self._client.put_object(Bucket=self._bucket, Key=key, Body=content))

    def _ask(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except self._errors as error:
            raise RecordError(f"{self.place}: {error}") from None
