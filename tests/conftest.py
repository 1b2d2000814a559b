"""Fixtures: papermill as a user calls it, and a rehearsal cluster."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from kubeharden.redaction import redact
from kubeharden.rehearsal import Rehearsal
from support import Papermill


@pytest.fixture(autouse=True)
def _redaction_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test had taken out of every text is no secret in the next: the redaction remembers by process."""
    for name in ("_known", "_withheld", "_harmless", "_names", "_shown_flags", "_registered"):
        monkeypatch.setattr(redact, name, type(getattr(redact, name))())


@pytest.fixture
def papermill(tmp_path: Path) -> Papermill:
    """Run ``papermill harden.ipynb`` with parameters, in a process of its own."""
    return Papermill(tmp_path)


@pytest.fixture
def article(tmp_path: Path) -> Iterator[Rehearsal]:
    """The rehearsal cluster article-1.10, running."""
    with Rehearsal.start("article-1.10", tmp_path / "rehearsal") as rehearsal:
        yield rehearsal
