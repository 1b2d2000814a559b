"""A kubeconfig: what it says, and what in it is secret, before the client runs a program that it names. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeharden.errors import ClusterError
from kubeharden.facts.harmless import is_distinct
from kubeharden.facts.sensitive import add_variable
from kubeharden.formats import as_yaml
from kubeharden.redaction import Secrets, is_secret_name

# What the plugins of clouds are told that is not a secret, and is part of the names of nodes.
_SETTINGS = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS")
_SECRET_NAME = re.compile(r"(?i)secret|token|password|key")
# The sections, and what each of their entries holds (k8s.io/client-go, tools/clientcmd/api/v1).
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


@dataclass(frozen=True)
class Kubeconfig:
    """The content of a kubeconfig.

    Attributes:
        content: as it was read, in the shape that a kubeconfig has.
    """

    content: Mapping[str, Any]

    @classmethod
    def parse(cls, text: str, source: str) -> Kubeconfig:
        """Read a kubeconfig.

        Args:
            text: YAML or JSON.
            source: what it is, for messages.

        Raises:
            ClusterError: it cannot be read, or has another shape.
        """
        content = as_yaml(text, source, ClusterError, aliases=True)
        if not isinstance(content, dict):
            raise ClusterError(f"{source} is not a kubeconfig: it holds no mapping")
        for section, inner in _SECTIONS.items():
            entries = content.get(section) or []
            if not isinstance(entries, list) or not all(_is_entry(entry, inner) for entry in entries):
                raise ClusterError(
                    f"{source} is not a kubeconfig: {section} is not a list of names, each with a {inner}"
                )
        for entry in content.get("users") or []:
            if not _is_user(entry.get("user") or {}):
                raise ClusterError(
                    f"{source} is not a kubeconfig: the user {entry['name']!r} has an exec or an auth-provider of "
                    "another shape"
                )
        return cls(content)

    def user(self, context: str | None) -> str:
        """Return the user of a context, or of the current one; empty where there is no such context."""
        wanted = context or self.content.get("current-context")
        chosen = [entry for entry in self.content.get("contexts") or [] if entry["name"] == wanted]
        return str((chosen[0].get("context") or {}).get("user") or "") if chosen else ""

    def credentials(self) -> Iterator[str]:
        """Yield what is secret in it without a doubt."""
        for user in self._users():
            yield from (str(user.get(key) or "") for key in ("token", "password", "client-key-data"))
            for name, value in _variables(user):
                # "default" or "true", taken out wherever it stands, would spoil every record.
                if _SECRET_NAME.search(name) or (name not in _SETTINGS and is_distinct(value)):
                    yield value
            yield from (value for name, value in _arguments(user) if is_secret_name(name))

    def secrets(self) -> Secrets:
        """Return what else may be secret: the words that a plugin is called with, but for names of this file."""
        found = Secrets()
        for section, inner in _SECTIONS.items():
            for entry in self.content.get(section) or []:
                found.allow(entry["name"])
                found.allow(str((entry.get(inner) or {}).get("server") or ""))
        for user in self._users():
            found.values.update(value for _, value in _arguments(user) if is_distinct(value))
            for name, value in _variables(user):
                if name not in _SETTINGS:
                    add_variable(found, value)
        return found

    def _users(self) -> Iterator[Mapping[str, Any]]:
        yield from (entry.get("user") or {} for entry in self.content.get("users") or [])


def _is_entry(entry: object, inner: str) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("name"), str)
        and isinstance(entry.get(inner) or {}, dict)
    )


def _is_user(user: Mapping[str, Any]) -> bool:
    provider, plugin = user.get("auth-provider") or {}, user.get("exec") or {}
    if not isinstance(provider, dict) or not isinstance(plugin, dict):
        return False
    variables, arguments = plugin.get("env") or [], plugin.get("args") or []
    return (
        isinstance(provider.get("config") or {}, dict)
        and isinstance(arguments, list)
        and isinstance(variables, list)
        and all(isinstance(one, dict) and isinstance(one.get("name"), str) for one in variables)
    )


def _variables(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a plugin of a user is told by variables and settings: name and value."""
    provider, plugin = user.get("auth-provider") or {}, user.get("exec") or {}
    for name, value in (provider.get("config") or {}).items():
        yield name, str(value or "")
    for variable in plugin.get("env") or ():
        yield variable["name"], str(variable.get("value") or "")


def _arguments(user: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what a plugin of a user is called with: a flag and its value, or no flag and a word."""
    plugin = user.get("exec") or {}
    words: Sequence[str] = [str(word) for word in plugin.get("args") or ()]
    flag = ""
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("-"):
            if equals:
                yield name, value
            flag = "" if equals else word
        else:
            yield flag or (name if equals else ""), word if flag or not equals else value
            flag = ""
