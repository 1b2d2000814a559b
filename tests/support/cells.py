"""The cells of a notebook, run one after the other in this process on a cluster of this process."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from fakes import World
from kubeharden import runbook
from support import ROOT


class Cells:
    """What each cell of a notebook showed, by its source.

    Args:
        name: of the notebook, without ``.ipynb``.
        world: the cluster that ``runbook.start`` is handed.
        folder: where the inventory and the records go.
        monkeypatch: takes the cluster away again.
        parameters: what papermill would inject.
        between: is called after each cell but that of the parameters, with the cell's tags.
    """

    def __init__(
        self,
        name: str,
        world: World,
        folder: Path,
        monkeypatch: pytest.MonkeyPatch,
        between: Callable[[list[str]], None] = lambda tags: None,
        **parameters: Any,
    ) -> None:
        monkeypatch.setattr(runbook, "start", partial(runbook.start, connect=world.ports))
        self._namespace: dict[str, Any] = {"In": [""]}
        self._shown: dict[str, str] = {}
        given = {"inventory": str(world.inventory(folder)), "output_dir": str(folder / "records")}
        for cell in json.loads((ROOT / f"notebooks/{name}.ipynb").read_text())["cells"]:
            if cell["cell_type"] != "code":
                continue
            self._run("".join(cell["source"]))
            tags = cell["metadata"].get("tags", [])
            if "parameters" in tags:
                self._namespace |= given | parameters
            else:
                between(tags)

    def shown(self, source: str) -> str:
        """What the cell with this source showed."""
        return next(text for code, text in self._shown.items() if source in code)

    def _run(self, source: str) -> None:
        body = ast.parse(source).body
        last = body.pop() if body and isinstance(body[-1], ast.Expr) else None
        exec(compile(ast.Module(body, []), "a cell", "exec"), self._namespace)
        if last is not None:
            value = eval(compile(ast.Expression(last.value), "a cell", "eval"), self._namespace)
            self._shown[source] = str(value)
