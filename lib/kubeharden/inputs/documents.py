"""Files that people write: YAML read strictly, with what is wrong said in a sentence."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from kubeharden.errors import ParameterError


class _Loader(yaml.SafeLoader):
    """YAML in which a key that stands twice is an error: PyYAML lets the last one win in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key {name!r} stands twice", key.start_mark
                )
            seen.add(name)
        return super().construct_mapping(node, deep)


def read_document(path: Path, parameter: str, example: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Args:
        path: the file.
        parameter: the parameter that names it, for messages.
        example: a file that shows what is expected, for messages.

    Raises:
        ParameterError: it cannot be read, or holds no mapping.
    """
    try:
        content = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)  # noqa: S506 - a SafeLoader
    except OSError as error:
        raise ParameterError(
            f"{parameter}: cannot read {str(path)!r} ({error.strerror}); expected a file like {example}"
        ) from None
    except (yaml.YAMLError, UnicodeDecodeError, TypeError) as error:
        raise ParameterError(f"{parameter}: {path} is not YAML: {error}") from None
    if not isinstance(content, dict):
        raise ParameterError(f"{parameter}: {path} holds no mapping; expected a file like {example}")
    return content


def mistakes(error: ValidationError) -> str:
    """One line for each mistake in a document; values are not shown, since a file may hold more than it should."""
    lines = []
    for mistake in error.errors(include_url=False, include_context=False):
        where = ".".join(str(part) for part in mistake["loc"] if "[" not in str(part)) or "the file"
        message = {"extra_forbidden": "there is no such key", "missing": "is missing"}.get(
            mistake["type"], mistake["msg"].removeprefix("Value error, ")
        )
        lines.append(f"  {where}: {message}")
    return "\n".join(dict.fromkeys(lines))
