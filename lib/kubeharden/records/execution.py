"""Execution of a notebook by papermill's engine ``kubeharden``: see ``engine``."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
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


class Manager(NotebookExecutionManager):  # type: ignore[misc]
    """Saves the notebook without secrets: at the start, after each cell with code, while one takes long, at the end.

    papermill saves it before and after every cell, of text too, and each time it checks and writes all of it.
    """

    redactor: Redactor

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.redactor = Redactor()
        self._nothing_new = False
        super().__init__(*args, **kwargs)

    def save(self, **kwargs: Any) -> None:
        """Write the notebook, unless what has happened is not worth it."""
        if self._nothing_new:
            return
        executed_notebook.clean(kwargs.get("nb") or self.nb, self.redactor)
        super().save(**kwargs)

    def cell_start(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note when a cell begins."""
        with self._without_saving():
            super().cell_start(cell, cell_index, **kwargs)

    def cell_complete(self, cell: Any, cell_index: int | None = None, **kwargs: Any) -> None:
        """Note when a cell ends, and save what it said."""
        with self._without_saving() if cell.cell_type != "code" else nullcontext():
            super().cell_complete(cell, cell_index, **kwargs)

    @contextmanager
    def _without_saving(self) -> Iterator[None]:
        self._nothing_new = True
        try:
            yield
        finally:
            self._nothing_new = False


class _Client(PapermillNotebookClient):  # type: ignore[misc]
    """Reaches the kernel by sockets in a folder of the person's own, and logs what cells print without secrets."""

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


class Execution(NBClientEngine):  # type: ignore[misc]
    """Executes notebooks as papermill's own engine does, and seals."""

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
        key = find_key().path
        try_key(key)
        authority = find_authority()
        manager = Manager(
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
