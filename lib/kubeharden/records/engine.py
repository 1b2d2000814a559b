"""papermill's engine ``kubeharden``: executes as the usual one does, lets no secret through, and seals at the end.

    papermill notebooks/harden.ipynb outputs/out.ipynb --engine kubeharden

A run that failed is sealed as failed. A key that cannot be used ends the run before anything is executed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import Any

from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import NBClientEngine, NotebookExecutionManager
from papermill.log import logger
from papermill.utils import merge_kwargs, remove_args

from kubeharden.errors import RecordError
from kubeharden.records import executed_notebook
from kubeharden.records.keys import find_key
from kubeharden.records.seal import seal
from kubeharden.records.signature import try_key
from kubeharden.records.timestamp import Authority, find_authority
from kubeharden.redaction import Redactor

LONGEST_FOLDER = 80  # bytes: the path of a socket has 107 at the most (unix(7))


class _Manager(NotebookExecutionManager):  # type: ignore[misc]
    """Saves the notebook as papermill does, without secrets."""

    redactor: Redactor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.redactor = Redactor()
        super().__init__(*args, **kwargs)

    def save(self, **kwargs: Any) -> None:
        executed_notebook.clean(kwargs.get("nb") or self.nb, self.redactor)
        super().save(**kwargs)


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Reaches the kernel by files of the person's own, and logs what cells print (``--log-output``) without secrets.

    Args:
        sockets: the folder for the kernel's sockets.
    """

    def __init__(self, manager: Any, sockets: str, **options: Any) -> None:
        super().__init__(manager, **options)
        self._sockets = sockets

    def create_kernel_manager(self) -> Any:
        """Return the manager of a kernel that listens on no port: anyone who may use the machine reaches those."""
        manager = super().create_kernel_manager()
        manager.transport, manager.ip = "ipc", f"{self._sockets}/k"
        return manager

    def log_output_message(self, output: Any) -> None:
        executed_notebook.clean_part(output, self.nb_man.redactor)
        super().log_output_message(output)


class KubehardenEngine(NBClientEngine):  # type: ignore[misc]
    """The engine that ``--engine kubeharden`` names."""

    @classmethod
    def execute_notebook(
        cls,
        nb: Any,
        kernel_name: str,
        output_path: str | None = None,
        progress_bar: bool = True,
        log_output: bool = False,
        autosave_cell_every: int = 30,
        **kwargs: Any,
    ) -> Any:
        """Execute a notebook and seal the runs that it made; the executed notebook is returned.

        Raises:
            RecordError: there is no key to sign with, and nothing was executed; or a run could not be sealed.
        """
        key = find_key()
        try_key(key)
        authority = find_authority()
        manager = _Manager(
            nb,
            output_path=output_path,
            progress_bar=progress_bar,
            log_output=log_output,
            autosave_cell_every=autosave_cell_every,
        )
        manager.notebook_start()
        try:
            cls.execute_managed_notebook(manager, kernel_name, log_output=log_output, **kwargs)
        finally:
            manager.cleanup_pbar()
            manager.notebook_complete()
            _seal_all(manager.nb, key, authority)
        return manager.nb

    @classmethod
    def execute_managed_notebook(
        cls,
        nb_man: Any,
        kernel_name: str,
        log_output: bool = False,
        stdout_file: Any = None,
        stderr_file: Any = None,
        start_timeout: int = 60,
        execution_timeout: int | None = None,
        **kwargs: Any,
    ) -> Any:
        """Run the cells; the arguments are those of papermill's own engine."""
        options = merge_kwargs(
            remove_args(["input_path", "timeout", "startup_timeout"], **kwargs),
            timeout=execution_timeout or kwargs.get("timeout"),
            startup_timeout=start_timeout,
            kernel_name=kernel_name,
            log=logger,
            log_output=log_output,
            stdout_file=stdout_file,
            stderr_file=stderr_file,
        )
        with _folder_of_sockets() as folder:
            return _Client(nb_man, folder, **options).execute()


@contextmanager
def _folder_of_sockets() -> Iterator[str]:
    """Make a folder that only its owner enters; its path leaves room for the name of a socket."""
    usual = gettempdir()
    parent = usual if len(usual.encode()) <= LONGEST_FOLDER else "/tmp"  # noqa: S108 - a name of nobody else
    with TemporaryDirectory(prefix="kh-", dir=parent) as folder:
        yield folder


def _seal_all(notebook: Any, key: Path, authority: Authority | None) -> None:
    """Seal every run that the notebook made; a notebook that made none, such as a refused one, leaves nothing to seal.

    Raises:
        RecordError: a run could not be sealed; it can be, with the notebook that papermill wrote.
    """
    with TemporaryDirectory(prefix="kubeharden-") as folder:
        path = Path(folder) / "executed.ipynb"
        path.write_text(executed_notebook.text_of(notebook), encoding="utf-8")
        for run in executed_notebook.runs_of(notebook):
            try:
                done = seal(Path(run["folder"]), path, key, authority=authority)
            except RecordError as error:
                raise RecordError(f"{run['run']} is not sealed: {error}") from None
            logger.info(f"Sealed: {done.folder}")
            logger.info(f"Check it with: kubeharden verify {done.folder}")
