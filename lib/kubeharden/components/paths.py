"""Dotted paths into the nested dicts that config files are: ``authentication.anonymous.enabled``."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_MISSING = object()


def get(config: Mapping[str, Any], path: str, default: Any = None) -> Any:
    """Return the value at ``path``, or ``default`` where there is none."""
    value: Any = config
    for key in _keys(path):
        try:
            value = value[key]
        except (KeyError, IndexError, TypeError):
            return default
    return value


def has(config: Mapping[str, Any], path: str) -> bool:
    """Return whether there is a value at ``path``, null included."""
    return get(config, path, _MISSING) is not _MISSING


def put(config: dict[str, Any], path: str, value: Any) -> None:
    """Set the value at ``path``, making the objects above it; ``name[0]`` is the first of a list."""
    keys = _keys(path)
    here: Any = config
    for key, following in itertools.pairwise(keys):
        here = _child(here, key, [] if isinstance(following, int) else {})
    if isinstance(here, list):
        _child(here, keys[-1], value)
    here[keys[-1]] = value


def remove(config: dict[str, Any], path: str) -> None:
    """Take the value at ``path`` out, and the objects above it that are empty then."""
    parent, _, key = path.rpartition(".")
    holder = get(config, parent) if parent else config
    if isinstance(holder, dict):
        holder.pop(key, None)
        if not holder and parent:
            remove(config, parent)


def leaves(config: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that is set, from within objects but not from within maps.

    Args:
        config: nested objects.
        known: the fields of the release by path; only a field of type ``object`` is an object. A key that
            the release does not know is a leaf.
    """

    def is_object(path: tuple[str, ...], _value: Mapping[str, Any]) -> bool:
        field = known.get(".".join(map(str, path)))
        return field is not None and field.type == "object"

    return ((".".join(map(str, path)), value) for path, value in walk(config, is_object))


def walk(
    value: Mapping[str, Any],
    enters: Callable[[tuple[str, ...], Mapping[str, Any]], bool] = lambda _path, value: bool(value),
    above: tuple[str, ...] = (),
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of everything in nested mappings; a list is one value.

    Args:
        value: the mapping.
        enters: whether a mapping is looked into, by its path and itself; by default, all but empty ones are.
        above: the path of ``value``.
    """
    for key, item in value.items():
        path = (*above, key)
        if isinstance(item, Mapping) and enters(path, item):
            yield from walk(item, enters, path)
        else:
            yield path, item


def _keys(path: str) -> list[str | int]:
    keys: list[str | int] = []
    for part in path.split("."):
        name, bracket, index = part.partition("[")
        keys.append(name)
        if bracket:
            keys.append(int(index.rstrip("]")))
    return keys


def _child(holder: Any, key: str | int, empty: Any) -> Any:
    if isinstance(holder, list):
        while len(holder) <= int(key):
            holder.append(empty)
        return holder[int(key)]
    return holder.setdefault(key, empty)
