"""The tables as a lookup for one component of one release."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any

from kubeharden.errors import UnknownApiVersionError, UnknownReleaseError
from kubeharden.releases.components import ConfigFile, api_server, known_components
from kubeharden.releases.files import read
from kubeharden.releases.release import Release


class Decoding(Enum):
    """The reaction of a component to a key that its config file must not have."""

    SILENT = "silent"  # drops it without a word (up to 1.16)
    LENIENT = "lenient"  # warns and drops it
    STRICT = "strict"  # refuses to start


@dataclass(frozen=True)
class Flag:
    """A command-line flag as one release has it.

    Attributes:
        name: with its dashes, ``--address``.
        type: ``bool``, ``int32``, ``duration``, ``list(string)``, ``map(string,string)`` …
        fields: the config fields that took its place, by path; empty where the release has none.
        part: ``host`` or ``port`` where the flag is only that part of the field.
        deprecated: what the component says of it when it is used; None where it says nothing.
        stays: it keeps its effect beside ``--config``: it has no field, or has one and is not deprecated.
        legacy_default: its default where no config file is used, if that differs from the field's.
        enum: the values allowed in this release, if there is a list.
        note: what else the sources say.
    """

    name: str
    type: str
    fields: tuple[str, ...] = ()
    part: str | None = None
    deprecated: str | None = None
    stays: bool = False
    legacy_default: Any = None
    enum: tuple[str, ...] | None = None
    note: str | None = None

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


class ReleaseTable:
    """The flags and fields that one component accepts in one release: see ``release_table``.

    Attributes:
        api_versions: what a config file of this release may say, oldest first.
        api_version: the one whose fields these are.
        rules: how the component reads its config file, in all releases.
    """

    def __init__(self, component: str, release: Release, api_version: str = "") -> None:
        self.rules = config_file(component)
        raw = _raw(component)
        self.component = component
        self.release = release
        self.kind: str = raw["kind"]
        self.api_versions: tuple[str, ...] = tuple(
            row["apiVersion"] for row in raw["apiVersions"] if _within(row, release)
        )
        if api_version and api_version not in self.api_versions:
            raise UnknownApiVersionError(
                f"{component} {release} accepts no {self.kind} of {api_version}; "
                f"it accepts {', '.join(self.api_versions)}"
            )
        self.api_version = api_version or self.api_versions[-1]
        self.decoding = Decoding(_current(raw["decoding"], release)["mode"])
        self.flags_beside_config_win: bool = raw["flags_beside_config"] == "win"
        self.fields: dict[str, Field] = {
            path: _field(path, row, release)
            for path, row in raw["fields"].get("*", raw["fields"].get(self.api_version, {})).items()
            if _within(row, release)
        }
        self.flags: dict[str, Flag] = {
            name: self._flag(name, row) for name, row in raw["flags"].items() if _within(row, release)
        }

    def flag(self, name: str) -> Flag | None:
        """Return the flag of that name (with dashes), or None where the release has none."""
        return self.flags.get(name)

    def removed_in(self, name: str) -> str | None:
        """Return the release in which a flag that this one no longer has went, such as ``1.24``; else None."""
        removed = _raw(self.component)["flags"].get(name, {}).get("removed")
        return str(removed) if removed and Release.parse(removed) <= self.release else None

    def field(self, path: str) -> Field | None:
        """Return the field at that dotted path, or None where the release has none."""
        return self.fields.get(path)

    def _flag(self, name: str, row: Mapping[str, Any]) -> Flag:
        fields = tuple(path for path in self._fields_of(row) if path.partition("[")[0] in self.fields)
        enum = row.get("enum")
        return Flag(
            name=name,
            type=row["type"],
            fields=fields,
            part=row.get("part"),
            deprecated=self._deprecation(row),
            stays=row.get("stays", False),
            legacy_default=row.get("legacy_default"),
            enum=tuple(
                v for v, since in enum.items() if since is None or Release.parse(since) <= self.release
            )
            if enum
            else None,
            note=row.get("note"),
        )

    def _fields_of(self, row: Mapping[str, Any]) -> tuple[str, ...]:
        if "fields" in row:
            version = self.api_version.rpartition("/")[2]
            return tuple(row["fields"].get(version, row["fields"].get("*", ())))
        return (row["field"],) if "field" in row else ()

    def _deprecation(self, row: Mapping[str, Any]) -> str | None:
        since, ended = row.get("deprecated"), row.get("undeprecated")
        if not since or Release.parse(since) > self.release:
            return None
        if ended and Release.parse(ended) <= self.release:
            return None
        if "message" in row:
            return str(row["message"])
        return self.rules.deprecation if "field" in row else "deprecated"


@dataclass(frozen=True)
class AdmissionPlugins:
    """The admission plugins of one release's API server: names on by default, and names that it does not have."""

    default_on: tuple[str, ...]
    removed: frozenset[str]


def config_file(component: str) -> ConfigFile:
    """Return how a component reads its config file, in all releases.

    Raises:
        UnknownReleaseError: it has none, or there is no such component; the message says which have one.
    """
    rules = {row.name: row.config for row in known_components() if row.config is not None}
    if component not in rules:
        raise UnknownReleaseError(f"no table for {component!r}; there are tables for {', '.join(rules)}")
    return rules[component]


@cache
def release_table(component: str, release: str | Release, api_version: str = "") -> ReleaseTable:
    """Return what ``component`` accepts in ``release``.

    Args:
        component: one with a config file, such as ``kube-proxy``.
        release: ``1.20``, ``v1.20.2`` …
        api_version: of the config file; the newest that the release accepts where empty.

    Raises:
        UnknownReleaseError: no table covers it; the message says which are covered.
        UnknownApiVersionError: the release accepts no file of that apiVersion; the message says which it does.
    """
    return ReleaseTable(component, Release.parse(release), api_version)


@cache
def known_types(component: str) -> tuple[Mapping[str, str], Mapping[str, str]]:
    """Return the types of all flags (with dashes) and of all fields (dotted paths) that any release of a component has.

    Raises:
        UnknownReleaseError: there is no table for the component.
    """
    config_file(component)
    raw = _raw(component)
    flags = {name: str(row["type"]) for name, row in raw["flags"].items()}
    fields = {
        path: str(row["types"][-1]["type"] if "types" in row else row["type"])
        for rows in raw["fields"].values()
        for path, row in rows.items()
    }
    return flags, fields


@cache
def admission_plugins(release: str | Release) -> AdmissionPlugins:
    """Return the admission plugins of kube-apiserver in ``release``.

    Raises:
        UnknownReleaseError: no table covers the release.
    """
    wanted = Release.parse(release)
    raw = _raw(api_server().name)["admission_plugins"]
    return AdmissionPlugins(
        default_on=tuple(name for name, row in raw["default_on"].items() if _within(row, wanted)),
        removed=frozenset(
            name
            for name, last in raw["removed"].items()
            if not wanted.older_than(last) and str(wanted) != last
        ),
    )


@cache
def _raw(component: str) -> dict[str, Any]:
    table: dict[str, Any] = read(component)
    return table


def _within(row: Mapping[str, Any], release: Release) -> bool:
    since, last, removed = row.get("since"), row.get("last"), row.get("removed")
    return (
        (since is None or Release.parse(since) <= release)
        and (last is None or release <= Release.parse(last))
        and (removed is None or release < Release.parse(removed))
    )


def _current(history: list[dict[str, Any]], release: Release) -> dict[str, Any]:
    return [step for step in history if Release.parse(step["since"]) <= release][-1]


def _field(path: str, row: Mapping[str, Any], release: Release) -> Field:
    steps = [step for step in row.get("defaults", ()) if Release.parse(step["since"]) <= release]
    kind = _current(row["types"], release)["type"] if "types" in row else row["type"]
    return Field(path=path, type=kind, default=steps[-1]["value"] if steps else None)
