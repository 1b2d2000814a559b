"""A config file's content as the text that people read."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META
from kubeharden.components.profile import ComponentProfile
from kubeharden.releases import ReleaseTable


class _Quoted(str):
    """A string value. All are quoted: Go's YAML reads some plain words (1e3, 0o7) as numbers."""

    __slots__ = ()


# Keys that Go's YAML reads as something else than a string, and PyYAML's writer leaves unquoted: y, n, 1e3, 0o7.
_MISREAD = re.compile(r"[yYnN]|[-+.\d].*")


class _Dumper(yaml.SafeDumper):
    pass


_Dumper.add_representer(
    _Quoted,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", str(text), style='"'),
)


def order_keys(table: ReleaseTable, profile: ComponentProfile, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content with its kind and apiVersion, in the profile's order, then in the release table's."""
    wanted = [*profile.spell_out, *(path for path, f in table.fields.items() if f.type != "object")]
    ranks: dict[str, int] = {}
    for rank, path in enumerate(dict.fromkeys(wanted)):
        for way in _ways(path):  # an object stands where its first field stands
            ranks.setdefault(way, rank)
    leaves = sorted(
        ((path, value) for path, value in paths.leaves(config, table.fields) if path not in TYPE_META),
        key=lambda item: _rank(ranks, item[0]),
    )
    result: dict[str, Any] = {"kind": table.kind, "apiVersion": table.api_version}
    for path, value in leaves:
        paths.put(result, path, value)
    return result


def text(table: ReleaseTable, profile: ComponentProfile, config: Mapping[str, Any]) -> str:
    """YAML of ``config``, with the defaults that the profile wants to have at hand as comments."""
    meta = {key: config[key] for key in TYPE_META}
    body = {key: value for key, value in config.items() if key not in TYPE_META}
    lines = (f"{line}\n" for line in comments(table, profile, config))
    return "".join([_dump(meta), block(body) if body else "", *lines])


def comments(table: ReleaseTable, profile: ComponentProfile, config: Mapping[str, Any]) -> Iterator[str]:
    """Yield the profile's lines with defaults at hand, for the fields that ``config`` does not set."""
    for path in profile.comment:
        known = table.field(path)
        if known is not None and known.default is not None and not paths.has(config, path):
            nested: dict[str, Any] = {}
            paths.put(nested, path, known.default)
            yield from (f"# {line}" for line in block(nested).splitlines())


def block(value: Any) -> str:
    """Return a mapping or a list as YAML in block style."""
    return _dump(_quote(value))


def _ways(path: str) -> list[str]:
    """``a.b.c`` as ``a``, ``a.b`` and ``a.b.c``."""
    parts = path.split(".")
    return [".".join(parts[: depth + 1]) for depth in range(len(parts))]


def _rank(ranks: Mapping[str, int], path: str) -> tuple[int, ...]:
    """Return the rank of every object on the way down, so that what belongs together stays together."""
    return tuple(ranks.get(way, len(ranks)) for way in _ways(path))


def _quote(value: Any) -> Any:
    if isinstance(value, str):
        return _Quoted(value)
    if isinstance(value, Mapping):
        return {_Quoted(key) if _MISREAD.fullmatch(key) else key: _quote(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_quote(item) for item in value]
    return value


def _dump(value: Any) -> str:
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, default_flow_style=False, width=1000)
