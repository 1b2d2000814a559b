"""Fixtures: papermill as a user calls it, and a rehearsal cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden.redaction import Redactor
from kubeharden_rehearsal import Rehearsal
from support import Papermill


@pytest.fixture
def redactor() -> Redactor:
    """A redactor that has learnt nothing yet."""
    return Redactor()


@pytest.fixture
def papermill(tmp_path: Path) -> Papermill:
    """Run ``papermill harden.ipynb`` with parameters, in a process of its own."""
    return Papermill(tmp_path)


@pytest.fixture
def article(tmp_path: Path) -> Iterator[Rehearsal]:
    """The rehearsal cluster article-1.10, running."""
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        yield rehearsal
