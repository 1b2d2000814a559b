"""The marks of tests: each has one, which its folder and its fixtures say."""

from __future__ import annotations

from functools import cache
from pathlib import Path, PurePosixPath

import pytest

# What takes longest comes first: it is begun first, so that no process waits for another at the end.
MARKS = ("papermill", "node", "lab", "fast")
# Folders and files of tests with shells, servers and processes, whatever their fixtures.
NODE = ("crash", "edges", "rehearsal", "records/test_record_kills.py")
# Likewise of tests that start kernels.
PAPERMILL = ("records/test_record_engine.py",)
TESTS = Path(__file__).parents[1]


def mark_of(item: pytest.Item) -> str:
    """The mark of a test: "papermill" runs notebooks, "node" rehearsal clusters, "lab" has a real one, "fast" none."""
    mark, fixtures = _mark_of_file(item.path), getattr(item, "fixturenames", ())
    if mark in ("lab", "papermill"):
        return mark
    if "papermill" in fixtures:
        return "papermill"
    return "node" if "rehearsals" in fixtures else mark


@cache
def _mark_of_file(path: Path) -> str:
    """The mark of what is in a file, whatever its fixtures."""
    place = PurePosixPath(path.relative_to(TESTS).as_posix())
    if place.parts[0] == "lab":
        return "lab"
    if any(place.is_relative_to(name) for name in PAPERMILL):
        return "papermill"
    return "node" if any(place.is_relative_to(name) for name in NODE) else "fast"
