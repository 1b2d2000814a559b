"""papermill's engine ``kubeharden``: executes as the usual one does, lets no secret through, and seals at the end.

    papermill notebooks/harden.ipynb outputs/out.ipynb --engine kubeharden

A run that failed is sealed as failed. A key that cannot be used ends the run before anything is executed.
"""

from __future__ import annotations

from typing import Any

from papermill.engines import Engine


class KubehardenEngine(Engine):  # type: ignore[misc]
    """The engine that ``--engine kubeharden`` names.

    papermill imports every engine that is installed, whatever it executes, so this one imports what it needs when it is
    used.
    """

    @classmethod
    def execute_notebook(cls, nb: Any, kernel_name: str, **options: Any) -> Any:
        """Execute a notebook and seal the runs that it made; the executed notebook is returned.

        Raises:
            RecordError: there is no key to sign with, and nothing was executed; or a run could not be sealed.
        """
        from kubeharden.records.execution import Execution  # noqa: PLC0415 - see above

        return Execution.execute_notebook(nb, kernel_name, **options)
