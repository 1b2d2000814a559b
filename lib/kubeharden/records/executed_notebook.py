"""The executed notebook on its way into a record: it must be of this run, executed, and without secrets."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.records.reader import NOTEBOOK_LIMIT, read_path
from kubeharden.redaction import MARK, Redactor

# What the run shows of itself beside its table, for programs: {"run": …, "folder": …}.
RUN_TYPE = "application/vnd.kubeharden.run+json"


def read_notebook(path: Path) -> Any:
    """Return a notebook file, as nbformat 4.

    Raises:
        RecordError: there is none, or it is not a notebook.
    """
    import nbformat  # noqa: PLC0415 - verifying needs no Jupyter

    try:
        text = read_path(path.resolve(), NOTEBOOK_LIMIT).decode("utf-8")
        nbformat.validate(json.loads(text), version=4)
        return nbformat.reads(text, as_version=4)  # type: ignore[no-untyped-call]
    except RecordError as error:
        raise RecordError(f"notebook: cannot read {str(path)!r} ({error})") from None
    except (ValueError, RecursionError, nbformat.ValidationError):
        raise RecordError(f"notebook: {str(path)!r} is not a notebook of format 4") from None


def runs_of(notebook: Any) -> list[dict[str, str]]:
    """Return the runs that a notebook's outputs belong to, each ``{"run": name, "folder": path}``, in their order."""
    found: list[dict[str, str]] = []
    for output in _outputs(notebook):
        said = output.get("data", {}).get(RUN_TYPE)
        if isinstance(said, dict):
            named = {key: said[key] for key in ("run", "folder") if isinstance(said.get(key), str)}
            if len(named) > 1 and named not in found:
                found.append(named)
    return found


def check_notebook(notebook: Any, run: str) -> None:
    """Refuse a notebook that cannot be the one that made a run.

    Raises:
        RecordError: it was not executed, or belongs to another run.
    """
    if not any(cell.get("execution_count") for cell in notebook.cells):
        raise RecordError("notebook: it was not executed; expected the executed one, with its outputs")
    names = [said["run"] for said in runs_of(notebook)]
    if run not in names:
        of = f"it is of {', '.join(names)}" if names else "it shows no run"
        raise RecordError(f"notebook: {of}, not of {run}")


def clean(notebook: Any, redactor: Redactor) -> None:
    """Take every secret out of a notebook, sources and metadata included, in place."""
    for cell in notebook.cells:
        clean_part(cell, redactor)
    notebook.metadata = _clean_data(redactor, "metadata", notebook.metadata)


def clean_part(part: Any, redactor: Redactor) -> None:
    """Take every secret out of a cell or an output, in place; metadata and data are judged as a whole."""
    items = part.items() if isinstance(part, dict) else enumerate(part)
    for key, item in list(items):
        if isinstance(item, str):
            part[key] = _clean(redactor, key, item)
        elif key == "metadata" or "/" in str(key):
            part[key] = _clean_data(redactor, key, item)
        elif isinstance(item, (dict, list)):
            clean_part(item, redactor)


def same(one: str, other: str) -> bool:
    """Return whether two texts are the same except for the marks of redaction, which differ each time."""
    return MARK.sub("", one) == MARK.sub("", other)


def text_of(notebook: Any) -> str:
    """Return the notebook as it is stored."""
    import nbformat  # noqa: PLC0415 - see read_notebook

    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return f"{text}\n"


def _outputs(notebook: Any) -> Iterator[Any]:
    for cell in notebook.cells:
        yield from cell.get("outputs", ())


def _clean_data(redactor: Redactor, key: str, item: Any) -> Any:
    """Return plain data under a key without its secrets, as nbformat has it."""
    import nbformat  # noqa: PLC0415 - see read_notebook

    [cleaned] = redactor.redact_data({key: item}).values()
    return nbformat.from_dict(cleaned)  # type: ignore[no-untyped-call]


@lru_cache(maxsize=4096)
def _clean(redactor: Redactor, key: str | int, text: str) -> str:
    """Return the text under a key without its secrets.

    Cached, since a notebook is saved after every cell and most of it has passed here before.
    """
    [cleaned] = redactor.redact_data({str(key): text}).values()
    return str(cleaned)
