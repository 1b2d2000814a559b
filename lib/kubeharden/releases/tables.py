"""The tables as a lookup for one component of one release."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import cache
from typing import Any

from kubeharden.errors import UnknownApiVersionError, UnknownReleaseError
from kubeharden.releases.components import ConfigFile, api_server, known_components
from kubeharden.releases.files import read, tables
from kubeharden.releases.release import Release
from kubeharden.releases.spans import in_release, removal


class Decoding(Enum):
    """The reaction of a component to a key that its config file must not have."""

    SILENT = "silent"  # drops it without a word (up to 1.16)
    LENIENT = "lenient"  # warns and drops it
    STRICT = "strict"  # refuses to start


@dataclass(frozen=True)
class Flag:
    """A command-line flag as one release has it.

    Attributes:
        type: ``bool``, ``int32``, ``duration``, ``list(string)``, ``map(string,string)`` …
        fields: the config fields that took its place, by path; empty where the release has none.
        part: ``host`` or ``port`` where the flag is only that part of the field.
        deprecated: what the component says of it when it is used; None where it says nothing.
        stays: it keeps its effect beside ``--config``: it has no field, or has one and is not deprecated.
        legacy_default: its default where no config file is used, if that differs from the field's.
        enum: the values allowed in this release, if there is a list.
        syntax: how its value is written, where its type does not say it (``components.yaml``).
        beside: the fields that it sets beside other flags, by those and their values; empty where it then sets none.
    """

    name: str
    type: str
    fields: tuple[str, ...] = ()
    part: str | None = None
    deprecated: str | None = None
    stays: bool = False
    legacy_default: Any = dataclasses.field(default=None, hash=False)
    enum: tuple[str, ...] | None = None
    syntax: str = ""
    beside: Mapping[str, Mapping[str, Sequence[str]]] = dataclasses.field(default_factory=dict, hash=False)

    @property
    def field(self) -> str | None:
        """The first config field that took its place, or None."""
        return self.fields[0] if self.fields else None


@dataclass(frozen=True)
class Field:
    """A field of a config file as one release has it; ``default`` is None where none is known."""

    path: str
    type: str
    default: Any = None


class FlagTable:
    """The flags that one component accepts in one release: see ``flag_table``.

    Attributes:
        api_version: of its config file, where it has one.
        takes_empty_arguments: an argument without text does not count.
    """

    def __init__(
        self, component: str, release: Release, api_version: str = "", rules: ConfigFile | None = None
    ) -> None:
        self.component, self.release, self.api_version = component, release, api_version
        self.takes_empty_arguments = True
        rows = in_release(_raw(component)["flags"], release)
        self.flags: dict[str, Flag] = {name: self._flag(name, row, rules) for name, row in rows.items()}

    def flag(self, name: str) -> Flag | None:
        """Return the flag of that name (with dashes), or None where the release has none."""
        return self.flags.get(name)

    def removed_in(self, name: str) -> str | None:
        """Return the release in which a flag that this one no longer has went, such as ``1.24``; else None."""
        return removal(_raw(self.component)["flags"].get(name, ()), self.release)

    def _flag(self, name: str, row: Mapping[str, Any], rules: ConfigFile | None) -> Flag:
        deprecated = row.get("deprecated")
        without_file = rules.without_file.get(name) if rules and "with" in row else None
        return Flag(
            name=name,
            type=row["type"],
            fields=self._fields_of(row),
            part=row.get("part"),
            deprecated=rules.deprecation if rules and deprecated is True else deprecated,
            stays=row.get("stays", False),
            legacy_default=row.get("legacy_default", without_file),
            enum=tuple(row["enum"]) if "enum" in row else None,
            syntax=rules.syntax.get(name, "") if rules else "",
            beside=row.get("with", {}),
        )

    def _fields_of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        names = row.get("field", row.get("fields", {}).get(self.api_version.rpartition("/")[2], ()))
        return (names,) if isinstance(names, str) else tuple(names)


class ReleaseTable(FlagTable):
    """The flags and fields that one component accepts in one release: see ``release_table``.

    Attributes:
        api_versions: what a config file of this release may say, oldest first.
        api_version: the one whose fields these are.
        rules: how the component reads its config file, in all releases.
    """

    def __init__(self, component: str, release: Release, api_version: str = "") -> None:
        self.rules = config_file(component)
        raw = _raw(component)
        self.kind: str = raw["kind"]
        self.api_versions: tuple[str, ...] = tuple(in_release(raw["apiVersions"], release))
        if api_version and api_version not in self.api_versions:
            raise UnknownApiVersionError(
                f"{component} {release} accepts no {self.kind} of {api_version}; "
                f"it accepts {', '.join(self.api_versions)}"
            )
        super().__init__(component, release, api_version or self.api_versions[-1], self.rules)
        self.takes_empty_arguments = self.rules.takes_empty_arguments
        self.decoding = Decoding(in_release({"": raw["decoding"]}, release)[""]["mode"])
        self.flags_beside_config_win: bool = raw["flags_beside_config"] == "win"
        self.fields: dict[str, Field] = {
            path: Field(path=path, type=row["type"], default=row.get("default"))
            for path, row in in_release(raw["fields"][self.api_version], release).items()
        }

    def field(self, path: str) -> Field | None:
        """Return the field at that dotted path, or None where the release has none."""
        return self.fields.get(path)

    def with_flags(self, values: Mapping[str, str]) -> ReleaseTable:
        """Return the table as it is beside flags of these values: what some flags set depends on others."""
        fields = {
            flag.name: tuple(by_value[values[other]])
            for flag in self.flags.values()
            for other, by_value in flag.beside.items()
            if values.get(other) in by_value
        }
        if not fields:
            return self
        table = copy.copy(self)
        table.flags = {
            name: replace(flag, fields=fields.get(name, flag.fields)) for name, flag in self.flags.items()
        }
        return table


@dataclass(frozen=True)
class AdmissionPlugins:
    """The admission plugins of one release's API server: all names, those on by default, and those that are gone."""

    known: frozenset[str]
    default_on: tuple[str, ...]
    removed: frozenset[str]


def config_file(component: str) -> ConfigFile:
    """Return how a component reads its config file, in all releases; an UnknownReleaseError says which have one."""
    rules = {row.name: row.config for row in known_components() if row.config is not None}
    if component not in rules:
        raise UnknownReleaseError(f"no table for {component!r}; there are tables for {', '.join(rules)}")
    return rules[component]


@cache
def release_table(component: str, release: str | Release, api_version: str = "") -> ReleaseTable:
    """Return what ``component`` accepts in ``release``.

    Raises:
        UnknownReleaseError: no table covers it; the message says which are covered.
        UnknownApiVersionError: the release accepts no file of that apiVersion; the message says which it does.
    """
    return ReleaseTable(component, Release.parse(release), api_version)


@cache
def flag_table(component: str, release: str | Release) -> FlagTable | None:
    """Return the flags of a component that has no config file; None where nothing is known about them.

    Raises:
        UnknownReleaseError: no table covers the release.
    """
    wanted = Release.parse(release)
    return FlagTable(component, wanted) if component in tables() and _raw(component).get("flags") else None


def is_covered(component: str) -> bool:
    """Return whether a table says which flags the releases of a component take."""
    return component in tables()


@cache
def known_types(component: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the types of all flags (with dashes) and all fields (dotted paths) that any release of a component has."""
    config_file(component)
    raw = _raw(component)
    flags = {name: str(spans[-1]["type"]) for name, spans in raw["flags"].items()}
    fields = {path: str(spans[-1]["type"]) for rows in raw["fields"].values() for path, spans in rows.items()}
    return flags, fields


@cache
def admission_plugins(release: str | Release) -> AdmissionPlugins:
    """Return the admission plugins of kube-apiserver in ``release``.

    Raises:
        UnknownReleaseError: no table covers the release.
    """
    wanted = Release.parse(release)
    raw = _raw(api_server().name)["plugins"]
    present = in_release(raw, wanted)
    return AdmissionPlugins(
        known=frozenset(present),
        default_on=tuple(name for name, row in present.items() if row["default"]),
        removed=frozenset(name for name, spans in raw.items() if removal(spans, wanted)),
    )


@cache
def _raw(component: str) -> dict[str, Any]:
    table: dict[str, Any] = read(component)
    return table
