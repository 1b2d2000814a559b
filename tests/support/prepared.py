"""A notebook with parameters as papermill gives them, run in this process up to its first error."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner
from papermill.cli import papermill

from kubeharden.errors import KubehardenError
from support import ROOT


def refused(folder: Path, source: str, *words: str, **parameters: str) -> tuple[str, str]:
    """The cell that refuses, and its words.

    Args:
        folder: where the prepared notebook goes.
        source: the notebook's name.
        words: of papermill's command line.
        parameters: which it is to take as text.
    """
    given = [word for name, value in parameters.items() for word in ("-r", name, value)]
    prepared = folder / "prepared.ipynb"
    files = [str(ROOT / "notebooks" / source), str(prepared)]
    done = CliRunner().invoke(papermill, [*files, *words, *given, "--prepare-only"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    inputs = [""]
    namespace: dict[str, object] = {"In": inputs}
    for cell in json.loads(prepared.read_text())["cells"]:
        if cell["cell_type"] == "code":
            inputs.append("".join(cell["source"]))
            try:
                exec(inputs[-1], namespace)
            except KubehardenError as error:
                return inputs[-1], str(error)
    raise AssertionError("nothing was refused")
