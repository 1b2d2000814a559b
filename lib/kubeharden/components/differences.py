"""The fields of the effective configuration that differ between two ways to start a component."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import effective_config
from kubeharden.components.flags import split_flags
from kubeharden.components.programs import arguments
from kubeharden.releases import Release, ReleaseTable, find_component, release_table

Start = tuple[Sequence[str], Mapping[str, Any] | None]  # a command line, and the content of its config file


def changed_fields(component: str, release: Release, before: Start, after: Start) -> tuple[str, ...]:
    """Return the paths of the fields whose effective value differs; none for a component without a config file.

    Raises:
        UnitError: a command line cannot be read.
    """
    if find_component(component).config is None:
        return ()
    table = release_table(component, release)
    old, new = (
        effective_config(table, split_flags(arguments(table.component, argv), table), config)
        for argv, config in (before, after)
    )
    return tuple(changes(table, old, new))


def changes(
    table: ReleaseTable, before: Mapping[str, Any], after: Mapping[str, Any]
) -> dict[str, tuple[Any, Any]]:
    """Return where two effective configurations differ: old and new value by path. Unset and empty are the same."""
    old, new = dict(paths.leaves(before, table.fields)), dict(paths.leaves(after, table.fields))
    return {
        path: (old.get(path), new.get(path))
        for path in {**old, **new}
        if old.get(path) != new.get(path) and (old.get(path) or new.get(path))
    }
