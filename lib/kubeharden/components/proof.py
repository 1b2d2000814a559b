"""Whether what a component says it runs with is what its config file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META, counts
from kubeharden.components.values import duration_ns
from kubeharden.releases import ReleaseTable


def mismatches(
    table: ReleaseTable, config: Mapping[str, Any], configz: Mapping[str, Any]
) -> list[tuple[str, Any, Any]]:
    """Path, wanted and actual value of every field of ``config`` that is not in effect.

    Components serve internal types at ``/configz`` in some releases, with names such as ``BindAddress``, and
    leave out what is empty, so names are compared without case and an absent value counts as empty.

    Args:
        config: the content of the config file.
        configz: the object inside what the component serves at ``/configz``.
    """
    actual = _folded(configz)
    found = []
    for path, wanted in paths.leaves(config, table.fields):
        if path in TYPE_META or not counts(table, path, wanted):
            continue
        got = paths.get(actual, path.lower())
        if not _same(table, path, wanted, got):
            found.append((path, wanted, got))
    return found


def _folded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key).lower(): _folded(item) for key, item in value.items()}
    return value


def _same(table: ReleaseTable, path: str, wanted: Any, got: Any) -> bool:
    if not wanted and not got:
        return True
    known = table.field(path)
    if known is not None and known.type == "duration" and isinstance(got, str):
        return duration_ns(str(wanted)) == duration_ns(got)
    return bool(_folded(wanted) == _folded(got))
