"""The difference between an approved plan and the one that there is now, in lines that a person reads. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

ORDER = "order"  # the name of a list's value that has the names of its items


def plan_difference(approved: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """Return the difference of two plans as ``plan.json`` has them, of any shape.

    What only one of them has is one line, whatever is in it (``- nodes > kube-proxy: kube-proxy on n1``); a value that
    both have and that differs is two.
    """
    before, after = (
        dict(_leaves({key: value for key, value in plan.items() if key != "digest"}))
        for plan in (approved, now)
    )
    had, has = ({path[:n] for path in leaves for n in range(len(path) + 1)} for leaves in (before, after))
    lines: dict[str, None] = {}
    for path in dict.fromkeys([*before, *after]):
        if path[-1:] == (ORDER,) and not _is_only_order(before.get(path), after.get(path)):
            continue  # items that come or go have lines of their own
        for sign, leaves, other, parts in (("-", before, after, has), ("+", after, before, had)):
            if path in leaves and leaves[path] != other.get(path):
                alone = next(n for n in range(len(path) + 1) if n == len(path) or path[:n] not in parts)
                value = f": {leaves[path]}" if alone == len(path) else ""
                lines[f"{sign} {' > '.join(path[:alone])}{value}"] = None
    return "\n".join(lines)


def _leaves(value: object, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    """Yield each value that has no parts, with the names that lead to it."""
    if isinstance(value, Mapping) and value:
        for key in sorted(value, key=str):
            yield from _leaves(value[key], (*path, str(key)))
    elif isinstance(value, Sequence) and not isinstance(value, str) and value and all(map(_name, value)):
        yield (*path, ORDER), ", ".join(map(_name, value))
        for item in value:
            yield from _leaves(item, (*path, _name(item)))
    else:
        yield path, value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _name(item: object) -> str:
    """Return what an item of a list is called; empty for one without a name."""
    if not isinstance(item, Mapping):
        return ""
    if "service" in item and "node" in item:
        return f"{item.get('step')}: {item['service']} on {item['node']}"
    manifest = item.get("manifest")
    if isinstance(manifest, Mapping) and isinstance(about := manifest.get("metadata"), Mapping):
        name = "/".join(str(about[key]) for key in ("namespace", "name") if key in about)
        return f"{item.get('step')}: {item.get('action')} {manifest.get('kind')} {name}"
    return str(item.get("path") or item.get("name") or "")


def _is_only_order(before: str | None, after: str | None) -> bool:
    return (
        before is not None and after is not None and sorted(before.split(", ")) == sorted(after.split(", "))
    )
