"""The form of plain data, as it comes out of JSON, held against the fields of a dataclass. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints


def fits(kind: type, values: Mapping[str, Any]) -> bool:
    """Return whether each value has the type that the field of that name has in a dataclass.

    Args:
        kind: the dataclass; its fields are of ``str``, ``bool``, ``int``, ``float``, ``Any``, sequences, mappings and
            unions of these.
        values: by the name of the field.
    """
    hints = _hints(kind)
    return all(_fits(value, hints[name]) for name, value in values.items())


@cache
def _hints(kind: type) -> dict[str, Any]:
    return get_type_hints(kind)


def _fits(value: Any, hint: Any) -> bool:
    if hint is Any:
        return True
    if isinstance(hint, type) and get_origin(hint) is None:
        return (
            type(value) is hint
            or (hint is float and type(value) is int)
            or (hint is NoneType and value is None)
        )
    origin, inner = get_origin(hint), get_args(hint)
    if origin is UnionType:
        return any(_fits(value, one) for one in inner)
    if origin in {Sequence, tuple}:
        return isinstance(value, (list, tuple)) and all(_fits(item, inner[0]) for item in value)
    if origin is Mapping:
        return isinstance(value, Mapping) and all(
            _fits(key, inner[0]) and _fits(item, inner[1]) for key, item in value.items()
        )
    raise TypeError(f"no plain data has the type {hint}")
