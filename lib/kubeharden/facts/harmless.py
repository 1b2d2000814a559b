"""The lists of what may be shown: flags, fields, directives and values that hold no secret. Pure.

``harmless.yaml`` and the types in the release tables say which values may be seen; what is in neither is withheld.
Values of environment variables are always withheld, unless they are flags themselves.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from kubeharden.releases import known_components, known_types
from kubeharden.releases.files import read

# Types of which any value may be seen; of text, harmless.yaml decides.
HARMLESS_TYPES = re.compile(
    r"bool|u?int\d*|float\d*|quantity|duration.*|ip|address|port range|enum\(string\)|object|list\(int32\)"
    r"|list\((?:string|taint|object)\)|list\(\{.*\}\)|map\(string,(?:string|bool)\)"
)
# A value of this form is not a secret, whatever its name is.
HARMLESS_FORM = re.compile(
    r"(?ix) true|false|yes|no|on|off | [+-]?\d{1,7}(?:\.\d+)?(?:[kmgt]i?b?|%)?"
    r"| (?:\d{1,7}(?:\.\d+)?(?:ns|us|ms|[smhd]))+"
    r"| v?\d+(?:\.\d+){1,3}(?:/\d{1,3})?(?::\d{1,5})? | /[\w./@:-]*"
)
_ONE_WORD = re.compile(r"[a-z]{1,15}|[A-Z]{1,15}")
MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z])\S{8,}")
COMMON_LEAVES = [
    "name",
    "namespace",
    "path",
    "type",
    "key",
    "value",
    "host",
    "port",
    "enabled",
    "mode",
    "version",
]
NO_LISTS = {"shown": "", "withheld": ""}  # of a component that harmless.yaml does not name
# What variables have everywhere: switches, paths, addresses, versions, durations and sizes.
EVERYWHERE = re.compile(
    r"(?ix) true|false|yes|no|on|off | (?:\d{1,7}(?:\.\d+)?(?:ns|us|ms|[smhd]))+ | \d{1,7}(?:[kmgt]i?b?|%)"
    r"| v?\d+(?:\.\d+){1,3}(?:/\d{1,3})?(?::\d{1,5})? | /[\w./@:-]*"
)


def harmless_flags() -> frozenset[str]:
    """Return the flags, with dashes and of any component, whose values may be seen."""
    return frozenset().union(*harmless().flags.values())


def is_distinct(value: str) -> bool:
    """Check that a value may be a secret and is not an ordinary word: it can be taken out wherever it stands."""
    return len(value) > 4 and not HARMLESS_FORM.fullmatch(value) and not _ONE_WORD.fullmatch(value)  # noqa: PLR2004


@dataclass(frozen=True)
class Harmless:
    """The names that ``harmless.yaml`` and the release tables allow."""

    flags: Mapping[str, frozenset[str]]
    fields: Mapping[str, frozenset[str]]
    withheld_flags: Mapping[str, frozenset[str]]
    withheld_fields: Mapping[str, frozenset[str]]
    directives: frozenset[str]
    values: frozenset[str]  # of variables, in small letters
    comments: frozenset[str]
    leaves: frozenset[str]  # what known fields are called, and what every object has, in small letters

    def flags_of(self, component: str) -> frozenset[str]:
        """Return the flags of a component whose values may be seen."""
        return self.flags.get(component, frozenset())

    def withholds_flag(self, component: str, name: str) -> bool:
        """Check whether a flag is known to hold what must not be seen."""
        return name in self.withheld_flags.get(component, frozenset())

    def withholds_field(self, component: str, path: str) -> bool:
        """Check whether a field, or what it is in, is known to hold what must not be seen."""
        return _is_below(path, self.withheld_fields.get(component, frozenset()))

    def allows_field(self, component: str, path: str) -> bool:
        """Check whether a field, or the map or list that it is in, may be seen.

        Upper and lower case do not matter: the older components serve their fields by their names in Go.
        """
        return _is_below(path, self.fields.get(component, frozenset()))


def _is_below(path: str, fields: frozenset[str]) -> bool:
    parts = path.lower().split(".")
    return any(".".join(parts[:length]) in fields for length in range(1, len(parts) + 1))


@cache
def harmless() -> Harmless:
    """Return the lists."""
    raw = read("harmless", __package__)
    flags, fields = dict[str, set[str]](), dict[str, set[str]]()
    withheld_flags, withheld_fields = dict[str, frozenset[str]](), dict[str, frozenset[str]]()
    for row in known_components():
        types = known_types(row.name) if row.config is not None else ({}, {})
        for shown, hidden, known, key in (
            (flags, withheld_flags, types[0], "flags"),
            (fields, withheld_fields, types[1], "fields"),
        ):
            lists = raw[key].get(row.name, NO_LISTS)
            withheld = frozenset(lists["withheld"].split())
            hidden[row.name] = frozenset(name.lower() for name in withheld)
            shown[row.name] = {
                *lists["shown"].split(),
                *(
                    name
                    for name, kind in known.items()
                    if kind != "object" and name not in withheld and HARMLESS_TYPES.fullmatch(kind)
                ),
            }
        fields[row.name] |= {"kind", "apiVersion"}
    return Harmless(
        {name: frozenset(names) for name, names in flags.items()},
        {name: frozenset(path.lower() for path in paths) for name, paths in fields.items()},
        withheld_flags,
        withheld_fields,
        frozenset(raw["directives"].split()),
        frozenset(raw["values"].split()),
        frozenset(raw["comments"]),
        frozenset(
            {path.rpartition(".")[2] for paths in fields.values() for path in paths} | set(COMMON_LEAVES)
        ),
    )
