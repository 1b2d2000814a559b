"""Files that people write: YAML read strictly, with what is wrong said in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from kubeharden.errors import ParameterError
from kubeharden.formats import as_yaml, read_file


def read_document(path: Path, parameter: str, example: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Args:
        parameter: the parameter that names it, for messages.
        example: a file that shows what is expected, for messages.

    Raises:
        ParameterError: it cannot be read, or holds no mapping.
    """
    source = f"{parameter}: {path}"
    text = read_file(path, parameter, ParameterError, hint=f"; expected a file like {example}")
    content = as_yaml(text, source, ParameterError, aliases=True)
    if not isinstance(content, dict):
        raise ParameterError(f"{parameter}: {path} holds no mapping; expected a file like {example}")
    return content


def mistakes(
    error: ValidationError,
    model: type[BaseModel] | None = None,
    expected: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """One line for each mistake in a document; values are not shown, since a file may hold more than it should.

    Args:
        model: what the document is read as: of its keys, one that is not known may be meant for another.
        expected: by key, what a text there must be, in words.
    """
    places = dict(_places(model, "")) if model else {}
    lines = []
    for mistake in error.errors(include_url=False, include_context=False):
        loc = [part for part in mistake["loc"] if "[" not in str(part)]
        where = ".".join(map(str, loc)) or "the file"
        message = {"extra_forbidden": "there is no such key", "missing": "is missing"}.get(
            mistake["type"], mistake["msg"].removeprefix("Value error, ")
        )
        key = str(loc[-1]) if loc else ""
        if mistake["type"] == "extra_forbidden":
            place = ".".join(str(part) for part in loc[:-1] if isinstance(part, str))
            message += _suggestion(key, place, places)
        if mistake["type"].startswith("string") and key in expected:
            message = f"expected {expected[key]}"
        lines.append(f"  {where}: {message}")
    return "\n".join(dict.fromkeys(lines))


def _suggestion(key: str, place: str, places: Mapping[str, Collection[str]]) -> str:
    """Return in which other place there is this key, else which key of the same place may be meant."""
    if there := [other or "the file itself" for other, keys in places.items() if key in keys]:
        return f" here; there is one of {' and of '.join(there)}"
    close = get_close_matches(key, places.get(place, ()), 1)
    return f"; did you mean {close[0]}?" if close else ""


def _places(model: type[BaseModel], place: str) -> Iterator[tuple[str, Collection[str]]]:
    """Yield the keys of a model and of those in it, by place, as ``ssh``; items of a list have that of the list."""
    yield place, [field.alias or name for name, field in model.model_fields.items()]
    for name, field in model.model_fields.items():
        for inner in _models(field.annotation):
            yield from _places(inner, f"{place}.{field.alias or name}".strip("."))


def _models(annotation: Any) -> Iterator[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for part in get_args(annotation):
        yield from _models(part)
