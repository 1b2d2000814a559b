"""A profile: what hardening changes, beside moving flags to files. It is data, in ``profiles/``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from typing import Any

from pydantic import ValidationError

from kubeharden.components.validate import check_sense
from kubeharden.components.values import check_value
from kubeharden.errors import ParameterError
from kubeharden.releases import find_component, known_components, known_types
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
    """A named set of hardening values, by component.

    Attributes:
        digest: SHA-256 of its file, where it is one of your own.
    """

    name: str
    components: Mapping[str, ComponentProfile]
    digest: str = ""

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

    @classmethod
    def own(cls, name: str, content: Mapping[str, Any], digest: str) -> Profile:
        """Return a profile of your own, from what its file holds: the same as the profiles that are shipped.

        Args:
            name: what it is called in a plan: the path of the file.
            content: the mapping in the file.
            digest: SHA-256 of the file.

        Raises:
            ParameterError: it has another form, or names a component or a field that there is not in any release.
        """
        known = [row.name for row in known_components() if row.config is not None]
        parts = {key: value for key, value in content.items() if key != "name"}
        wrong = [
            f"{key}: there is no such component; expected some of {', '.join(known)}"
            for key in parts
            if key not in known
        ]
        components: dict[str, ComponentProfile] = {}
        for component in (name for name in known if name in parts):
            try:
                components[component] = ComponentProfile.model_validate(parts[component])
            except ValidationError as error:
                places = (".".join(map(str, (component, *mistake["loc"]))) for mistake in error.errors())
                wrong += [f"{place}: is not as in the profiles that are shipped" for place in places]
                continue
            wrong += _mistakes(component, components[component])
        if wrong:
            lines = "\n".join(f"  {line}" for line in dict.fromkeys(wrong))
            raise ParameterError(f"profile: {name} is wrong:\n{lines}")
        return cls(name=name, components=components, digest=digest)

    @staticmethod
    def names() -> list[str]:
        """Return the profiles that there are."""
        folder = files(__package__) / "profiles"
        names = (entry.name for entry in folder.iterdir())
        return sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml"))

    def of(self, component: str) -> ComponentProfile:
        """Return what the profile says of ``component``; nothing where it does not mention it."""
        return self.components.get(component, ComponentProfile())


def _mistakes(component: str, part: ComponentProfile) -> Iterator[str]:
    """Yield what cannot be right: fields of no release, values of another type, no such TLS version."""
    _, fields = known_types(component)
    for path in dict.fromkeys((*part.require, *part.spell_out, *part.comment)):
        kind = fields.get(path)
        if kind is None:
            yield f"{component}: no release has the field {path}"
        elif kind == "object":
            below = ", ".join(name for name in fields if name.startswith(f"{path}.") and fields[name] != kind)
            yield f"{component}: {path} holds other fields; name those that are meant: {below}"
        elif path in part.require:
            wrong = _wrong_value(component, path, kind, part.require[path])
            yield from (f"{component}: {path}: {why}" for why in wrong)
    version = part.require.get("tlsMinVersion", TLS_VERSIONS[-1])
    if version not in TLS_VERSIONS[1:]:
        yield f"{component}: tlsMinVersion: expected one of {', '.join(TLS_VERSIONS[1:])}"


def _wrong_value(component: str, path: str, kind: str, value: Any) -> Iterator[str]:
    """Yield why a field cannot be required to have a value; whether each release takes it is told by the plan."""
    if value is None:
        yield "has no value, which would leave the release's default"
        return
    try:
        check_value(kind, value)
        if (rules := find_component(component).config) is not None:
            check_sense(rules, path, value)
    except ValueError as error:
        yield str(error)


def strict_enough(path: str, value: Any, required: Any) -> bool:
    """Return whether ``value`` is at least as strict as the profile's ``required`` value of that field."""
    if value == required:
        return True
    if path == "tlsMinVersion" and value in TLS_VERSIONS:
        return TLS_VERSIONS.index(value) >= TLS_VERSIONS.index(required)
    if path == "tlsCipherSuites":
        return bool(value) and set(value) <= set(required)
    return False
