"""The notebook that is open in Jupyter, and how it gets into the record of its run: as a copy, and sealed."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from kubeharden.errors import RecordError
from kubeharden.inputs.project import NOTEBOOKS, project_folder
from kubeharden.records import executed_notebook
from kubeharden.records.archive import NOTEBOOK, is_sealed, seal_command
from kubeharden.records.folder import write_aside
from kubeharden.records.keys import find_key
from kubeharden.records.seal import Sealed, seal
from kubeharden.records.timestamp import find_authority
from kubeharden.redaction import Redactor

SAVE_SECONDS, POLL_SECONDS = 180, 0.5  # JupyterLab saves by itself every two minutes


class OpenNotebook:
    """The notebook that a run is made in, as far as Jupyter says which file that is; papermill does not."""

    def __init__(self, run: str, folder: Path) -> None:
        self.run, self.folder = run, folder
        self.path = notebook_path()
        self.last_cell = 0  # the number of the cell that ended the run; 0 while it goes on

    @property
    def is_tracked(self) -> bool:
        """Return whether it is one of the project's own, so that saving it changes what git tracks."""
        return self.path is not None and self.path.parent == project_folder() / NOTEBOOKS

    def is_saved(self) -> bool:
        """Return whether the file has the cell that ended the run, with what it showed."""
        if self.path is None or not self.last_cell:
            return False
        try:
            notebook = executed_notebook.read_notebook(self.path)
        except RecordError:  # it is being written, or was moved
            return False
        is_of_run = self.run in [named["run"] for named in executed_notebook.runs_of(notebook)]
        return is_of_run and any(
            cell.get("execution_count") == self.last_cell and cell.get("outputs") for cell in notebook.cells
        )

    def check_path(self) -> None:
        """Refuse, with a RecordError, to wait for a file that was renamed: Jupyter names it to a kernel only once."""
        if self.path is not None and not self.path.exists():
            raise RecordError(
                f"the notebook was renamed or moved since its kernel began: there is no {self.path} any more. Save it "
                f"(Ctrl-S), and seal it where it is now, in a terminal: {seal_command(self.folder)}"
            )

    def copy(self) -> None:
        """Put a copy without secrets into the run's folder, where the file is saved and the run is not sealed."""
        if self.path is None or is_sealed(self.folder) or not self.is_saved():
            return
        with suppress(RecordError):  # the folder may be gone by then
            notebook = executed_notebook.read_notebook(self.path)
            executed_notebook.clean(notebook, Redactor())
            write_aside(self.folder, NOTEBOOK, executed_notebook.text_of(notebook).encode())

    def seal(self, wait: Callable[[float], None]) -> Sealed:
        """Seal the run with this notebook once it is saved.

        Raises:
            RecordError: the run is not finished, the notebook was moved or is not saved in time, there is no key to
                sign with, or the run cannot be sealed.
        """
        if not self.last_cell:
            raise RecordError("this run is not finished yet: run the cell with run.finish() first")
        self.check_path()
        key, authority, left = find_key().path, find_authority(), SAVE_SECONDS / POLL_SECONDS
        while not self.is_saved():
            if left <= 0:
                self.check_path()
                raise RecordError("the notebook was not saved: save it (Ctrl-S), and run this cell again")
            wait(POLL_SECONDS)
            left -= 1
        return seal(self.folder, self.path, key, authority=authority)


def notebook_path() -> Path | None:
    """Return the file of the notebook that this kernel was started for, where Jupyter says so."""
    named = Path(os.environ.get("JPY_SESSION_NAME", ""))
    return named if named.suffix == ".ipynb" and named.is_file() else None
