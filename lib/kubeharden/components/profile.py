"""A profile: what hardening changes, beside moving flags to files. It is data, in ``profiles/``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from kubeharden.errors import ParameterError

# In the order of their strength; a node above the profile's minimum keeps what it has.
TLS_VERSIONS = ("", "VersionTLS10", "VersionTLS11", "VersionTLS12", "VersionTLS13")


@dataclass(frozen=True)
class ComponentProfile:
    """The part of a profile for one component.

    Attributes:
        require: value by field path that must hold, unless the node has something stricter.
        spell_out: fields written with the value that holds, even where that is the default.
        comment: fields written as a comment with their default.
    """

    require: Mapping[str, Any] = field(default_factory=dict)
    spell_out: tuple[str, ...] = ()
    comment: tuple[str, ...] = ()


@dataclass(frozen=True)
class Profile:
    """A named set of hardening values, by component."""

    name: str
    components: Mapping[str, ComponentProfile]

    @classmethod
    def load(cls, name: str) -> Profile:
        """Return the profile of that name.

        Raises:
            ParameterError: there is none; the message says which there are.
        """
        return _load(name)

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


@cache
def _load(name: str) -> Profile:
    if name not in Profile.names():
        raise ParameterError(
            f"profile: there is none called {name!r}; expected one of {', '.join(Profile.names())}"
        )
    raw = yaml.safe_load((files(__package__) / "profiles" / f"{name}.yaml").read_text(encoding="utf-8"))
    return Profile(
        name=raw.pop("name"),
        components={
            component: ComponentProfile(
                require=row.get("require", {}),
                spell_out=tuple(row.get("spell_out", ())),
                comment=tuple(row.get("comment", ())),
            )
            for component, row in raw.items()
        },
    )
