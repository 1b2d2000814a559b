"""The components that kubeharden knows, one row each: see ``components.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Literal

from kubeharden.errors import UnknownReleaseError
from kubeharden.releases.features import Feature, feature
from kubeharden.releases.files import Row, read
from kubeharden.releases.release import Release

ROOT = "root"


class FieldParameter(Row):
    """The parameter of a run that sets a field of a config file."""

    parameter: str
    list: bool = False
    needed: bool = False


class ByHand(Row):
    """Flags and fields that must be rewritten by hand; ``why`` is the reason for the flags.

    Attributes:
        defaults: values of flags that hold without them.
    """

    flags: tuple[str, ...] = ()
    defaults: Mapping[str, str | int] = {}
    why: str = ""
    fields: tuple[str, ...] = ()


class Entry(Row):
    """The way to authenticate that remains once anonymous access is closed."""

    closed_by: frozenset[str]
    by: str
    by_flag: str
    client_flag: str


class ByMode(Row):
    """Fields that a component does not read in some of its modes."""

    feature: str
    field: str
    unread: Mapping[str, tuple[str, ...]]


class ConfigFile(Row):
    """The config file of a component, in all releases."""

    mode: str
    check_flag: str = ""
    parameters: Mapping[str, FieldParameter] = {}
    flag_parameters: Mapping[str, str] = {}
    stays: tuple[str, ...] = ()
    honoured: Mapping[str, tuple[str, ...]] = {}
    by_hand: ByHand = ByHand()
    path_fields: tuple[str, ...] = ()
    addresses: Mapping[str, int] = {}
    addresses_follow: str = ""
    port_flags_give_way: str = ""
    checks: Mapping[str, str] = {}
    ranges: Mapping[str, tuple[int | None, int | None]] = {}
    items: Mapping[str, str] = {}
    deprecation: str = "deprecated"
    entry: Entry | None = None
    by_mode: ByMode | None = None
    says: Mapping[str, str] = {}
    takes_empty_arguments: bool = False
    unset_when_empty: tuple[str, ...] = ()
    without_file: Mapping[str, str] = {}
    syntax: Mapping[str, Literal["labels", "pair", "thresholds"]] = {}

    def is_honoured(self, flag: str, release: Release) -> bool:
        """Return whether a flag counts beside a file that is in use."""
        return any(each.in_release(release) for each in self._honours(flag))

    def is_honoured_in_part(self, flag: str, release: Release) -> bool:
        """Return whether a flag counts beside a file in some patch releases of a release, and in others not."""
        return any(each.partly == release for each in self._honours(flag))

    def _honours(self, flag: str) -> list[Feature]:
        """Return the features with which a flag counts beside a file."""
        return [
            feature(name)
            for name, flags in self.honoured.items()
            for each in flags
            if flag == each or (each.endswith("*") and flag.startswith(each[:-1]))
        ]

    def is_unread(self, path: str, mode: object, release: Release) -> bool:
        """Return whether a component in that mode does not read a field."""
        if self.by_mode is None or not feature(self.by_mode.feature).in_release(release):
            return False
        return mode in self.by_mode.unread.get(path, ())

    def has_to_say(self, release: Release) -> list[str]:
        """Return the fields that a file of a release has to name although their value is the default."""
        return [path for path, name in self.says.items() if feature(name).in_release(release)]

    def ports_give_way(self, release: Release) -> bool:
        """Return whether a port flag counts only for an address without a port."""
        return bool(self.port_flags_give_way) and feature(self.port_flags_give_way).in_release(release)


class Healthz(Row):
    """Where a component answers ``/healthz`` on its own node: two flags, and the port without the second."""

    address_flag: str
    port_flag: str
    port: int


class Certificates(Row):
    """Where the certificates are that a component may show."""

    file: tuple[str, str]
    folder: tuple[str, str]
    names: tuple[str, str]


class OwnPort(Row):
    """The port of a component over TLS, where it is asked for its effective configuration with a right of its own."""

    right: str
    address: tuple[str, str]
    otherwise: tuple[str, str]
    certificates: Certificates


class Configz(Row):
    """Where a component's effective configuration is read: at ``url`` on its node, or through the API server."""

    url: str = ""
    through_api: bool = False
    own_port: OwnPort | None = None
    internal_names: bool = False
    own_names: str = ""
    only_with: str = ""

    def has_internal_names(self, release: Release) -> bool:
        """Return whether a release serves the names of its internal types."""
        return self.internal_names and not (self.own_names and feature(self.own_names).in_release(release))

    @property
    def until(self) -> Release | None:
        """The first release that does not serve it there any more; None where all do."""
        return feature(self.only_with).until if self.only_with else None


class Component(Row):
    """One component, in all releases."""

    name: str
    sources: Mapping[str, str]
    step_order: int | None = None
    user: str = ""
    runs_pods: bool = False
    serves_api: bool = False
    renew_deadline: int = 0
    second_sigterm: bool = False
    files: Mapping[str, str] = {}
    versioned_files: tuple[str, ...] = ()
    healthz: Healthz | None = None
    configz: Configz | None = None
    config: ConfigFile | None = None

    @property
    def config_path(self) -> str:
        """The place of its config file, where no flag names one."""
        return f"/etc/kubernetes/{self.name}.conf"

    @property
    def other_config_path(self) -> str:
        """The place of its config file, where something else is at ``config_path``."""
        return f"/etc/kubernetes/{self.name}-config.yaml"

    @property
    def own_user(self) -> str:
        """The unprivileged user that its service runs as; empty where that is root, or as the unit says."""
        return "" if self.user == ROOT else self.user

    @property
    def read_through_api(self) -> bool:
        """True if its effective configuration is read through the API server."""
        return self.configz is not None and self.configz.through_api

    @property
    def own_port(self) -> OwnPort | None:
        """Where it is asked for its effective configuration itself; None where nobody can."""
        return self.configz.own_port if self.configz is not None else None

    @property
    def leader_elected(self) -> bool:
        """True if it holds a lease, and exits when it cannot renew it."""
        return self.renew_deadline > 0

    @property
    def is_judged(self) -> bool:
        """True if a table says what a release accepts of it; others are read and shown only."""
        return self.config is not None or self.serves_api


@cache
def known_components() -> tuple[Component, ...]:
    """Return all components, in the order in which they are read and shown."""
    return tuple(Component(**row) for row in read("components"))


@cache
def find_component(name: str) -> Component:
    """Return the component of that name.

    Raises:
        UnknownReleaseError: there is none; the message says which there are.
    """
    rows = {row.name: row for row in known_components()}
    if name not in rows:
        raise UnknownReleaseError(f"there is no component {name!r}; there are {', '.join(rows)}")
    return rows[name]


@cache
def api_server() -> Component:
    """Return the component that serves the Kubernetes API."""
    return next(row for row in known_components() if row.serves_api)
