"""The marks of tests: each has one, which its folder and its fixtures say."""

from __future__ import annotations

from pathlib import Path, PurePosixPath

import pytest

# What takes longest comes first: it is begun first, so that no process waits for another at the end.
MARKS = ("papermill", "node", "lab", "fast")
# Folders and files of tests with shells, servers and processes, whatever their fixtures.
NODE = ("crash", "edges", "rehearsal", "records/test_record_kills.py")
TESTS = Path(__file__).parents[1]


def mark_of(item: pytest.Item) -> str:
    """The mark of a test: "papermill" runs notebooks, "node" rehearsal clusters, "lab" has a real one, "fast" none."""
    place = PurePosixPath(item.path.relative_to(TESTS).as_posix())
    fixtures = getattr(item, "fixturenames", ())
    if place.parts[0] == "lab":
        return "lab"
    if "papermill" in fixtures:
        return "papermill"
    return "node" if "rehearsals" in fixtures or any(place.is_relative_to(name) for name in NODE) else "fast"
