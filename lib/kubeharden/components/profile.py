"""A profile: what hardening changes, beside moving flags to files. It is data, in ``profiles/``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.releases.files import Row, read

# In the order of their strength; a node above the profile's minimum keeps what it has.
TLS_VERSIONS = ("", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")


class ComponentProfile(Row):
    """The part of a profile for one component.

    Attributes:
        require: value by field path that must hold, unless the node has something stricter.
        spell_out: fields written with the value that holds, even where that is the default.
        comment: fields written as a comment with their default.
    """

    require: Mapping[str, Any] = {}
    spell_out: tuple[str, ...] = ()
    comment: tuple[str, ...] = ()


class Profile(Row):
    """A named set of hardening values, by component."""

    name: str
    components: Mapping[str, ComponentProfile]

    @classmethod
    @cache
    def load(cls, name: str) -> Profile:
        """Return the profile of that name.

        Raises:
            ParameterError: there is none; the message says which there are.
        """
        if name not in cls.names():
            raise ParameterError(
                f"profile: there is none called {name!r}; expected one of {', '.join(cls.names())}"
            )
        raw = read(f"profiles/{name}", __package__)
        return cls(name=raw.pop("name"), components=raw)

    @staticmethod
    def names() -> list[str]:
        """Return the profiles that there are."""
        folder = files(__package__) / "profiles"
        found = (entry.name for entry in folder.iterdir())
        return sorted(name.removesuffix(".yaml") for name in found if name.endswith(".yaml"))

    def of(self, component: str) -> ComponentProfile:
        """Return what the profile says of ``component``; nothing where it does not mention it."""
        return self.components.get(component, ComponentProfile())


def strict_enough(path: str, value: Any, required: Any) -> bool:
    """Return whether ``value`` is at least as strict as the profile's ``required`` value of that field."""
    if value == required:
        return True
    if path == "tlsMinVersion" and value in TLS_VERSIONS:
        return TLS_VERSIONS.index(value) >= TLS_VERSIONS.index(required)
    if path == "tlsCipherSuites":
        return bool(value) and set(value) <= set(required)
    return False
