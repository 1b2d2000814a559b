"""The marks of tests: each has one, which its folder and its fixtures say."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import groupby
from pathlib import Path, PurePosixPath

import pytest

MARKS = ("papermill", "node", "lab", "fleet", "wide", "fast")
# Folders and files of tests with shells, servers and processes, whatever their fixtures.
NODE = (
    "crash",
    "edges",
    "rehearsal",
    "records/test_print.py",
    "records/test_record_html.py",
    "records/test_record_kills.py",
    "records/test_record_push.py",
    "records/test_timestamp.py",
    "releases/test_help.py",
    "test_ci.py",
    "test_spare.py",
)
# Likewise of tests with whole runs on a cluster in this process, or with hundreds of cases each.
WIDE = (
    "rollout",
    "runs/test_rollback.py",
    "runs/test_tampered_rollback.py",
    "notebooks/test_cells.py",
    "releases/test_every_flag.py",
    "releases/test_release_facts.py",
    "plan/test_random_units.py",
    "plan/test_wild_files.py",
    "components/test_fuzz_files.py",
    "components/test_properties.py",
    "components/test_systemd_itself.py",
    "facts/test_hostile_answers.py",
    "podsecurity/test_kube_fixtures.py",
    "podsecurity/test_standards_properties.py",
    "records/test_record_verify.py",
)
# Likewise of tests that start kernels.
PAPERMILL = (
    "notebooks/test_jupyterlab.py",
    "records/test_record_engine.py",
    "fleet/test_runs.py",
    "test_hosted_ci.py",
    "test_howtos.py",
    "test_package.py",
    "test_pages_run.py",
)
# Folders of tests that have a mark to themselves.
OWN = {"lab": "lab", "fleet_engine": "fleet"}
TESTS = Path(__file__).parents[1]


def mark_of(item: pytest.Item) -> str:
    """The mark of a test: what it runs, or "fast"."""
    mark, fixtures = _mark_of_file(item.path), getattr(item, "fixturenames", ())
    if mark in ("lab", "fleet", "papermill"):
        return mark
    if "papermill" in fixtures:
        return "papermill"
    return "node" if "rehearsals" in fixtures else mark


def in_turns(items: Sequence[pytest.Item], workers: int = 1) -> list[pytest.Item]:
    """The order in which several processes that share some processors are done soonest.

    Each begins with an equal part of it, and takes from the end of another's when it has nothing left. So each part has
    its share of what takes long, before what does not. Of what takes long, tests with nodes mostly wait, and those with
    kernels or hundreds of cases compute, so they take turns, by modules with nodes, whose fixtures are made once.
    """
    by: dict[str, list[pytest.Item]] = {mark: [] for mark in (*MARKS, "skip")}
    for item in items:
        by["skip" if item.get_closest_marker("skip") else mark_of(item)].append(item)
    long, done, count = list[pytest.Item](), 0, len(by["node"])
    for _, group in groupby(by["node"], key=lambda item: item.path):
        module = list(group)
        first, done = done, done + len(module)
        for others in (by["papermill"], by["wide"]):
            long += others[len(others) * first // count : len(others) * done // count]
        long += module
    if not count:
        long += [*by["papermill"], *by["wide"]]
    short = [*by["lab"], *by["fleet"], *by["fast"], *by["skip"]]
    found = list[pytest.Item]()
    for worker in range(workers):
        most = (len(items) - len(found)) // (workers - worker)  # as xdist shares them out
        share = len(long) // (workers - worker)
        found += [*long[:share], *short[: most - share]]
        long, short = long[share:], short[most - share :]
    return found


@cache
def _mark_of_file(path: Path) -> str:
    """The mark of what is in a file, whatever its fixtures."""
    place = PurePosixPath(path.relative_to(TESTS).as_posix())
    if place.parts[0] in OWN:
        return OWN[place.parts[0]]
    if any(place.is_relative_to(name) for name in PAPERMILL):
        return "papermill"
    if any(place.is_relative_to(name) for name in WIDE):
        return "wide"
    return "node" if any(place.is_relative_to(name) for name in NODE) else "fast"
