"""Each test has one mark, and a mark keeps its word; a sample leaves no case out for ever."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest
from _pytest.outcomes import Failed

import sampling
from kubeharden_rehearsal import Rehearsal
from marks import MARKS, NODE, PAPERMILL, TESTS, WIDE, in_turns

pytest_plugins = ["pytester"]
NICENESS = os.getpriority(os.PRIO_PROCESS, 0)  # before any test


def test_each_test_has_exactly_one_mark(request: pytest.FixtureRequest) -> None:
    marks = [[m.name for m in item.iter_markers() if m.name in MARKS] for item in request.session.items]
    assert {len(of_one) for of_one in marks} == {1}


@pytest.mark.parametrize(
    ("files", "workers", "wanted"),
    [
        ("ffppwwwwnnnnNN", 1, "pwwnnnnpwwNNff"),
        ("fnw", 1, "wnf"),
        ("fpw", 1, "pwf"),
        ("fn", 1, "nf"),
        ("f", 1, "f"),
        ("f", 3, "f"),
        ("fffffssppwwwwnnnnNN", 2, "pwwnnnfffnpwwNNffss"),
        ("ffffnnnn", 3, "nfnffnnf"),
    ],
)
def test_each_worker_has_its_share_and_a_module_stays_together(files: str, workers: int, wanted: str) -> None:
    names = {
        "p": "test_howtos.py",
        "w": "rollout/test_order.py",
        "n": "edges/test_nodes.py",
        "N": "rehearsal/test_apiserver.py",
        "f": "test_marks.py",
        "s": "edges/test_nodes.py",
    }
    items = [
        SimpleNamespace(
            path=TESTS / names[letter],
            letter=letter,
            get_closest_marker=lambda mark, letter=letter: letter == "s" and mark == "skip",
        )
        for letter in files
    ]
    assert "".join(item.letter for item in in_turns(items, workers)) == wanted


def test_no_test_but_the_labs_yields_to_others() -> None:
    assert os.getpriority(os.PRIO_PROCESS, 0) == NICENESS


def test_what_the_list_names_is_there() -> None:
    assert [name for name in (*NODE, *WIDE, *PAPERMILL) if not (TESTS / name).exists()] == []


def test_a_fast_test_starts_no_cluster(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="is not fast"):
        Rehearsal.start("article-1.10", tmp_path)


@pytest.mark.parametrize(("count", "wanted"), [(6, 2), (14, 1), (5, 3), (3, 3), (2, 4)])
def test_seeds_that_follow_one_another_leave_no_case_out(
    monkeypatch: pytest.MonkeyPatch, count: int, wanted: int
) -> None:
    monkeypatch.delenv(sampling.SWITCH, raising=False)
    tried = set()
    for seed in range(100, 100 + count):
        monkeypatch.setenv(sampling.SEED, str(seed))
        found = sampling.chosen(count, wanted)
        assert len(set(found)) == len(found) == min(count, wanted)
        assert found == sampling.chosen(count, wanted)
        tried |= set(found)
    assert tried == set(range(count))
    monkeypatch.setenv(sampling.SWITCH, "all")
    assert sampling.chosen(count, wanted) == list(range(count))


CASES = """
import pytest, sampling

def pytest_collection_modifyitems(items):
    sampling.leave_out(items)

def pytest_terminal_summary(terminalreporter):
    terminalreporter.write_line(*sampling.summary(terminalreporter.stats["passed"]))
"""
MODULE = """
import pytest, sampling

@pytest.mark.sample(1, of="shell")
@pytest.mark.parametrize("shell", ["dash", "bash", "ash", pytest.param("none", marks=pytest.mark.skip)])
@pytest.mark.parametrize("number", [1, 2])
def test_one(shell, number):
    pass

@pytest.mark.sample(2)
@pytest.mark.parametrize("case", range(7))
def test_two(case):
    pass

@pytest.mark.parametrize("tried", [3, 4])
def test_three(tried, request):
    sampling.tell(request.node, "points", tried, 10)
"""


def test_what_is_not_in_the_sample_is_skipped_with_the_count(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(sampling.SWITCH, raising=False)
    pytester.makeconftest(CASES)
    pytester.makepyfile(MODULE)
    pytester.makeini("[pytest]\nmarkers = sample")
    result = pytester.runpytest_inprocess("-rs")
    result.assert_outcomes(passed=2 + 2 + 2, skipped=4 + 2 + 5)
    result.stdout.fnmatch_lines(["SKIPPED [[]5[]] *: not in the sample: 2 of 7 are tried"])
    result.stdout.fnmatch_lines(["sample of points: 7 of 20"])
    monkeypatch.setenv(sampling.SWITCH, "all")
    pytester.runpytest_inprocess().assert_outcomes(passed=6 + 7 + 2, skipped=2)
