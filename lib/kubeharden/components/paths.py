"""Dotted paths into the nested dicts that config files are: ``authentication.anonymous.enabled``.

A key that has a dot, a bracket or a quote of its own stands in quotes: ``"nodefs.available"``, ``logging."a.b"``. So no
key can be taken for the path of another.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubeharden.errors import UnitError
from kubeharden.formats import is_shallow

_MISSING = object()
_SPECIAL = re.compile(r'[.\[\]"]|^$')
_PART = re.compile(r'"(?:[^"\\]|\\.)*"|\[\d+\]|[^."\[\]]+')


def join(keys: Iterable[Any]) -> str:
    """Return the path that leads through these keys."""
    return ".".join(json.dumps(key) if _SPECIAL.search(key) else key for key in map(str, keys))


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
    """Set the value at ``path``, making the objects above it (also for null); ``name[0]`` is the first of a list."""
    keys = _keys(path)
    here: Any = config
    for key, following in itertools.pairwise(keys):
        here = _child(here, key, [] if isinstance(following, int) else {})
    if isinstance(here, list):
        _child(here, keys[-1], value)
    here[keys[-1]] = value


def remove(config: dict[str, Any], path: str) -> None:
    """Take the value at ``path`` out, and the objects above it that are empty then."""
    _remove(config, _keys(path))


def _remove(holder: Any, keys: Sequence[str | int]) -> None:
    key, *below = keys
    if not isinstance(holder, dict):
        return
    if below:
        _remove(holder.get(key), below)
    if not below or holder.get(key) == {}:
        holder.pop(key, None)


def without_nulls(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the same without the keys that are null, at any depth: a component takes them for unset."""
    return {
        key: without_nulls(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if value is not None
    }


def with_text_keys(config: Mapping[Any, Any]) -> dict[str, Any]:
    """Return the same with each key as a text, at any depth: a component makes JSON of its YAML (sigs.k8s.io/yaml).

    Raises:
        UnitError: it is not a mapping, or is nested without an end.
    """
    if not isinstance(config, Mapping):
        raise UnitError("the config file holds no mapping")
    if not is_shallow(config):
        raise UnitError("the config file is nested too deeply")
    return _with_text_keys(config)


def _with_text_keys(config: Mapping[Any, Any]) -> dict[str, Any]:
    return {
        key if isinstance(key, str) else json.dumps(key, default=str): _with_text_keys(value)
        if isinstance(value, Mapping)
        else value
        for key, value in config.items()
    }


def leaves(config: Mapping[str, Any], known: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Yield path and value of everything that is set, from within objects but not from within maps.

    Args:
        known: the fields of the release by path; only a field of type ``object`` is an object. A key that
            the release does not know is a leaf.
    """

    def is_object(path: tuple[str, ...], _value: Mapping[str, Any]) -> bool:
        field = known.get(join(path))
        return field is not None and field.type == "object"

    return ((join(path), value) for path, value in walk(config, is_object))


def walk(
    value: Mapping[str, Any],
    enters: Callable[[tuple[str, ...], Mapping[str, Any]], bool] = lambda _path, value: bool(value),
    above: tuple[str, ...] = (),
) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield path and value of everything in nested mappings; a list is one value.

    Args:
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
    if "[" not in path and '"' not in path:
        return list(path.split("."))
    return [_key(part) for part in _PART.findall(path)]


def _key(part: str) -> str | int:
    if part[0] == "[":
        return int(part[1:-1])
    return str(json.loads(part)) if part[0] == '"' else part


def _child(holder: Any, key: Any, empty: Any) -> Any:
    if isinstance(holder, list):
        while len(holder) <= key:
            holder.append(None)
    elif key not in holder:
        holder[key] = None
    if holder[key] is None:
        holder[key] = empty
    return holder[key]
