"""Files that people write: YAML read strictly, with what is wrong said in a sentence."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from types import MappingProxyType
from typing import Any

from pydantic import ValidationError

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
    error: ValidationError, known: Collection[str] = (), expected: Mapping[str, str] = MappingProxyType({})
) -> str:
    """One line for each mistake in a document; values are not shown, since a file may hold more than it should.

    Args:
        known: all keys that there are, one of which a key that is not known may be meant for.
        expected: by key, what a text there must be, in words.
    """
    lines = []
    for mistake in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in mistake["loc"] if "[" not in str(part)) or "the file"
        message = {"extra_forbidden": "there is no such key", "missing": "is missing"}.get(
            mistake["type"], mistake["msg"].removeprefix("Value error, ")
        )
        key = str(mistake["loc"][-1]) if mistake["loc"] else ""
        if mistake["type"] == "extra_forbidden" and (close := get_close_matches(key, known, 1)):
            message = f"{message}; did you mean {close[0]}?"
        if mistake["type"].startswith("string") and key in expected:
            message = f"expected {expected[key]}"
        lines.append(f"  {where}: {message}")
    return "\n".join(dict.fromkeys(lines))
