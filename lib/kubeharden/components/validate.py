"""Check a config file against its release before it is ever written.

Up to 1.16 a kubelet drops a misspelt key without a word, so hardening can fail to happen in silence.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META
from kubeharden.components.values import check_value
from kubeharden.releases import Flag, ReleaseTable


def problems(table: ReleaseTable, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Path and reason of everything in ``config`` that the release would refuse, ignore or misread."""
    found: list[tuple[str, str]] = []
    enums = _enums(table)
    for path, value in paths.leaves(config, table.fields):
        known = table.field(path)
        if path in TYPE_META:
            continue
        if known is None:
            found.append((path, f"{table.kind} of {table.release} has no such field"))
            continue
        try:
            check_value(known.type, value)
        except ValueError as error:
            found.append((path, str(error)))
        allowed = enums.get(path)
        if allowed and value not in (*allowed, "", None):
            found.append((path, f"{value!r} is not one of {', '.join(allowed)}"))
    return found


def _enums(table: ReleaseTable) -> dict[str, tuple[str, ...]]:
    def of(flag: Flag) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(flag.fields, flag.enum) if flag.enum else {}

    return {path: enum for flag in table.flags.values() for path, enum in of(flag).items()}
