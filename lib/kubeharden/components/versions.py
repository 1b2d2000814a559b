"""The apiVersion of a config file, and the conversion from one to another."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META
from kubeharden.components.values import same_value
from kubeharden.errors import UnitError, UnknownApiVersionError
from kubeharden.releases import Release, ReleaseTable, release_table


@dataclass(frozen=True)
class Versions:
    """The tables by which a file is read, written, and judged.

    Attributes:
        read: of the apiVersion that the file has now; that of ``table`` where there is no file.
        table: of the apiVersion in which it is written, in the release that runs.
        target: of the same apiVersion in the release that comes, where it accepts it; None without one.
    """

    read: ReleaseTable
    table: ReleaseTable
    target: ReleaseTable | None = None

    @classmethod
    def choose(
        cls,
        component: str,
        release: Release,
        config: Mapping[str, Any] | None,
        target_release: str | Release | None = None,
    ) -> Versions:
        """Return the file's own apiVersion where it can stay, else the newest that both releases accept.

        Raises:
            UnitError: the file has an apiVersion that the release does not accept: it cannot be what runs.
            UnknownReleaseError: no table covers a release.
        """
        present = str((config or {}).get("apiVersion") or "")
        try:
            read = release_table(component, release, present)
        except UnknownApiVersionError as error:
            raise UnitError(str(error)) from None
        if target_release is None:
            return cls(read, read)
        newest = release_table(component, target_release)
        common = [version for version in read.api_versions if version in newest.api_versions]
        chosen = present if present in common or not common else common[-1]
        target = release_table(component, target_release, chosen) if common else newest
        return cls(read, release_table(component, release, chosen), target)

    def convert(self, config: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Return the file's content with the fields of the apiVersion in which it is to be written.

        Raises:
            UnitError: something in it has no place there, or must be rewritten by hand.
        """
        if config is None or self.read.api_version == self.table.api_version:
            return None if config is None else dict(config)
        renamed = self._renames()
        result: dict[str, Any] = {}
        for path, value in paths.leaves(config, self.read.fields):
            if path in TYPE_META:
                continue
            known, new = self.read.field(path), renamed.get(path, path)
            if path in self.table.rules.by_hand.fields and value and path not in renamed:
                raise UnitError(
                    f"{path} must be rewritten by hand for {self.table.api_version}: plugins and their arguments "
                    "change with it"
                )
            if self.table.field(new.partition("[")[0]) is not None:
                paths.put(result, new, copy.deepcopy(value))
            elif known is None or not (value in (None, "") or same_value(known.type, known.default, value)):
                raise UnitError(f"{path} has no place in {self.table.api_version}; take it out by hand first")
        return result

    def _renames(self) -> dict[str, str]:
        """Old path → new path of the fields that a flag fills under another name in each version."""
        pairs: dict[str, str] = {}
        for name, flag in self.read.flags.items():
            other = self.table.flag(name)
            if other is not None and len(flag.fields) == len(other.fields):
                pairs |= {a: b for a, b in zip(flag.fields, other.fields, strict=True) if a != b}
        return pairs
