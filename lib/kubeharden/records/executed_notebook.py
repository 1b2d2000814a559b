"""The executed notebook on its way into a record: it must be of this run, executed, and without secrets."""

from __future__ import annotations

import ast
import json
from collections.abc import Container, Iterator, Mapping
from contextlib import suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.records.reader import NOTEBOOK_LIMIT, name_list, read_path
from kubeharden.redaction import MARK, Redactor

# What the run shows of itself beside its table, for programs: {"run": …, "folder": …}.
RUN_TYPE = "application/vnd.kubeharden.run+json"


def read_notebook(path: Path) -> Any:
    """Return a notebook file, as nbformat 4; a RecordError where there is none, or it is not a notebook."""
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
    runs: list[dict[str, str]] = []
    for output in _outputs(notebook):
        data = output.get("data", {}).get(RUN_TYPE)
        if isinstance(data, dict):
            run = {key: data[key] for key in ("run", "folder") if isinstance(data.get(key), str)}
            if len(run) > 1 and run not in runs:
                runs.append(run)
    return runs


def check_notebook(notebook: Any, run: str) -> None:
    """Refuse, with a RecordError, a notebook that was not executed, or not by this run."""
    if not any(cell.get("execution_count") for cell in notebook.cells):
        raise RecordError("notebook: it was not executed; expected the executed one, with its outputs")
    names = [entry["run"] for entry in runs_of(notebook)]
    if run not in names:
        of = f"it is of {name_list(names)}" if names else "it shows no run"
        raise RecordError(f"notebook: {of}, not of {run}")


def check_parameters(notebook: Any, began_with: Mapping[str, Any]) -> None:
    """Refuse a notebook whose cells say other parameters than the run began with: a reader would believe them.

    Args:
        began_with: the parameters in the journal of the run.

    Raises:
        RecordError: it says others; each is named.
    """
    assigned = _assignments(notebook, began_with)
    # rehearsal:NAME is both.
    named = {"inventory", "rehearsal"} if ":" in str(assigned.get("inventory", "")) else set()
    wrong = [
        f"{name} is {value!r} in the notebook, and was {began_with[name]!r}"
        for name, value in assigned.items()
        if name not in named and not _is_same(name, value, began_with[name])
    ]
    if wrong:
        raise RecordError(
            f"notebook: its parameters are not those that the run began with: {'; '.join(wrong)}. Set them back, save "
            "the notebook, and seal again"
        )


def _assignments(notebook: Any, names: Container[str]) -> dict[str, Any]:
    """Return the values that the cells which ran give these names, the last one each; only what is plain data."""
    assigned: dict[str, Any] = {}
    for cell in notebook.cells:
        if cell.cell_type != "code" or not cell.get("execution_count"):
            continue
        try:
            body = ast.parse(cell.source).body
        except SyntaxError:  # a cell with magics
            continue
        except (ValueError, RecursionError, MemoryError):
            raise RecordError(
                "notebook: Python does not read a cell that its number calls executed. Set it back, save the notebook, "
                "and seal again"
            ) from None
        for statement in body:
            if not isinstance(statement, (ast.Assign, ast.AnnAssign)) or statement.value is None:
                continue
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                if isinstance(target, ast.Name) and target.id in names:
                    assigned.pop(target.id, None)
                    with suppress(ValueError, TypeError, RecursionError, MemoryError):
                        value = ast.literal_eval(statement.value)
                        repr(value)  # an integer may have more digits than can be shown
                        assigned[target.id] = value
    return assigned


def _is_same(name: str, assigned: Any, began_with: Any) -> bool:
    """Return whether a value is the one that it was read as: ``[a, b]`` as text is a list, and 3 may be text."""
    if isinstance(began_with, (list, tuple)):
        words = assigned.strip().strip("[]").split(",") if isinstance(assigned, str) else assigned
        items = {str(word).strip(" '\"") for word in words} - {""}
        return items == set(began_with) or (name == "steps" and not items)  # none are all
    return str(assigned).strip().lower() == str(began_with).lower()


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
    """Return the notebook as it is stored; half a character, which no file can have, as JSON escapes it."""
    import nbformat  # noqa: PLC0415 - see read_notebook

    text = nbformat.writes(notebook)  # type: ignore[no-untyped-call]
    return f"{text}\n".encode("utf-8", "backslashreplace").decode()


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
