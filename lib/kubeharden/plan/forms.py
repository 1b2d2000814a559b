"""The form of plain data, as it comes out of JSON, held against the fields of a dataclass. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

Check = Callable[[Any], bool]


def fits(kind: type, values: Mapping[str, Any]) -> bool:
    """Return whether each value has the type that the field of that name has in a dataclass.

    Args:
        kind: the dataclass; its fields are of ``str``, ``bool``, ``int``, ``float``, ``Any``, sequences, mappings and
            unions of these.
        values: by the name of the field.
    """
    return all(_check_of(kind, name)(value) for name, value in values.items())


@cache
def _check_of(kind: type, name: str) -> Check:
    return _check(get_type_hints(kind)[name])


def _check(hint: Any) -> Check:
    origin = get_origin(hint)
    inner = [_check(arg) for arg in get_args(hint) if arg is not Ellipsis]
    if hint is Any:
        return lambda _: True
    if hint is float:
        return lambda value: type(value) in {int, float}
    if hint in {str, bool, int, NoneType}:
        return lambda value: type(value) is hint
    if origin is UnionType:
        return lambda value: any(check(value) for check in inner)
    if origin in {Sequence, tuple}:
        return lambda value: isinstance(value, (list, tuple)) and all(map(inner[0], value))
    if origin is Mapping:
        key, item = inner
        return lambda value: (
            isinstance(value, dict) and all(map(key, value)) and all(map(item, value.values()))
        )
    raise TypeError(f"no plain data has the type {hint}")
