"""Showing something now, while the cell still runs, and replacing it as more becomes known."""

from __future__ import annotations

from typing import Any

from kubeharden import views
from kubeharden.display import View
from kubeharden.results import Result


class Progress:
    """Shows results as they come, in one place that grows."""

    def __init__(self) -> None:
        self._results: list[Result] = []
        self._handle: Any = None

    def add(self, result: Result) -> None:
        """One more result."""
        self._results.append(result)
        view = views.results_view(self._results)
        if self._handle is None:
            self._handle = show(view)
        else:
            self._handle.update(view)


def show(view: View) -> Any:
    """Show a view now, whatever the cell returns; the handle can replace it."""
    from IPython.display import display  # noqa: PLC0415 - half a second, and for notebooks only

    return display(view, display_id=True)  # type: ignore[no-untyped-call]
