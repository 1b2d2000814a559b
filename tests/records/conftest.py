"""A key to seal with, and the signers that count because of it; a file that changes its key has fixtures of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden.records.keys import public_part
from kubeharden.records.signature import Signers, only_signer
from record_support import make_key


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_key(tmp_path_factory.mktemp("keys"))


@pytest.fixture(scope="module")
def signers(key: Path) -> Iterator[Signers]:
    with only_signer(public_part(key)) as only:
        yield only
