"""The person at the notebook, who may be asked, where there is one; tests put another in their place."""

from __future__ import annotations

import sys
from typing import Any


class Person:
    """The person who runs the cells of this process, if it is a kernel.

    A client of a kernel says with each cell whether it takes questions (``allow_stdin`` of Jupyter's protocol, 5.4).
    JupyterLab does; papermill and nbconvert do not.
    """

    @property
    def is_there(self) -> bool:
        """Return whether the cell that runs was sent by a client that takes questions."""
        return bool(getattr(kernel(), "_allow_stdin", False))

    @property
    def cell(self) -> int:
        """Return the number of the cell that runs, as it stands beside it; 0 where there are no cells."""
        # Whose execution_count may be that of the next cell already.
        shell = getattr(kernel(), "shell", None)
        return len(shell.user_ns.get("In", [""])) - 1 if shell is not None else 0

    def ask(self, question: str) -> str:
        """Ask in the cell's output, and wait for the answer; only where somebody is there."""
        return input(question)


def kernel() -> Any:
    """Return the kernel that this process is; None for another process."""
    if "ipykernel" not in sys.modules:
        return None
    from IPython import get_ipython  # noqa: PLC0415 - is there already

    return getattr(get_ipython(), "kernel", None)
