"""Make a notebook of a file with cells in the percent format, stored as the project's are: without outputs.

    python tools/notebook_of.py census.py notebooks/census.ipynb

A line ``# %%`` begins a cell of code, ``# %% tags=["parameters"]`` one with tags, and ``# %% [markdown]`` one of prose,
whose lines are comments.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

CELL = re.compile(r"^# %%(?P<prose> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?\n", re.MULTILINE)


def notebook_of(text: str) -> dict[str, Any]:
    """Return the notebook with the cells of a text, as its file has it."""
    cells: list[dict[str, Any]] = []
    heads = list(CELL.finditer(text))
    ends = [head.start() for head in heads[1:]] + [len(text)]
    for number, (head, end) in enumerate(zip(heads, ends, strict=True)):
        source = text[head.end() : end].strip("\n")
        cell: dict[str, Any] = {
            "id": f"cell-{number}",
            "metadata": {},
            "source": source.splitlines(keepends=True),
        }
        if head["prose"]:
            lines = re.sub(r"^# ?", "", source, flags=re.MULTILINE).splitlines(keepends=True)
            cell |= {"cell_type": "markdown", "source": lines}
        else:
            cell |= {"cell_type": "code", "execution_count": None, "outputs": []}
        if head["tags"]:
            cell["metadata"] = {"tags": json.loads(head["tags"])}
        cells.append(cell)
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    return {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}


if __name__ == "__main__":
    given, wanted = map(Path, sys.argv[1:])
    made = json.dumps(notebook_of(given.read_text(encoding="utf-8")), indent=1, ensure_ascii=False)
    wanted.write_text(f"{made}\n", encoding="utf-8")
