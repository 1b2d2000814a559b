"""A notebook that says other parameters than its run began with is not sealed."""

from __future__ import annotations

from typing import Any

import nbformat
import pytest

from kubeharden.errors import RecordError
from kubeharden.records.executed_notebook import check_parameters

BEGAN_WITH = {
    "mode": "apply",
    "steps": ["kubelet", "kube-proxy"],
    "accept_breaking": [],
    "batch_size": "3",
    "enforce": True,
    "inventory": "rehearsal",
    "rehearsal": "psp-1.23",
    "max_failures": 0,
    "window": None,
}


def notebook(*cells: tuple[str, int | None]) -> Any:
    made = nbformat.v4.new_notebook()
    made.cells = [nbformat.v4.new_code_cell(source, execution_count=count) for source, count in cells]
    return made


@pytest.mark.parametrize(
    "cells",
    [
        [('mode: str = "apply"\nsteps: list = []\nbatch_size: str = "3"\nenforce: bool = True', 1)],
        [('mode = "plan"', 1), ('# Parameters\nmode = "apply"\nbatch_size = 3\nenforce = "true"', 2)],
        [('steps = "[kube-proxy, kubelet]"\naccept_breaking = ()', 1)],
        [('inventory = "rehearsal:psp-1.23"\nrehearsal = "article-1.10"', 1)],
        [("mode = chosen()\n%magic", 1), ("mode = chosen()", 2), ('other = "plan"', 3)],
        [('mode = "plan"', None)],  # never run
    ],
)
def test_what_the_run_began_with_may_be_written_in_several_ways(cells: list[tuple[str, int | None]]) -> None:
    check_parameters(notebook(*cells), BEGAN_WITH)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ('mode: str = "plan"', "mode is 'plan' in the notebook, and was 'apply'"),
        ('steps = ["kubelet"]', "steps is"),
        ('accept_breaking = ["shop/web"]', "accept_breaking is"),
        (
            "enforce = False\nmax_failures = 2",
            "enforce is False in the notebook, and was True; max_failures is 2",
        ),
    ],
)
def test_another_value_is_named(source: str, words: str) -> None:
    with pytest.raises(RecordError, match="its parameters are not those that the run began with") as raised:
        check_parameters(notebook((source, 1)), BEGAN_WITH)
    assert words in str(raised.value)
