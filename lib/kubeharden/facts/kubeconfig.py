"""A kubeconfig: what it says, and what in it is secret, before the client runs a program that it names. Pure."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from kubeharden.errors import ClusterError
from kubeharden.facts.harmless import is_distinct
from kubeharden.facts.proxies import is_address, proxy_problem
from kubeharden.facts.sensitive import add_variable
from kubeharden.formats import as_yaml
from kubeharden.redaction import Secrets, is_secret_name

# What the plugins of clouds are told that is not a secret, and is part of the names of nodes.
_SETTINGS = ("AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_STS_REGIONAL_ENDPOINTS")
_SECRET_NAME = re.compile(r"(?i)secret|token|password|key")
# The sections, and what each of their entries holds (k8s.io/client-go, tools/clientcmd/api/v1).
_SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}
_DATA = ("certificate-authority-data", "client-certificate-data", "client-key-data")
# The fields that are texts.
_TEXTS = {
    "cluster": ("server", "certificate-authority", "proxy-url", "tls-server-name", *_DATA[:1]),
    "user": (
        "token",
        "tokenFile",
        "client-certificate",
        "client-key",
        "username",
        "password",
        "as",
        "as-uid",
        *_DATA[1:],
    ),
    "context": ("cluster", "user"),
}
# What a name of a header may consist of (RFC 9110, token): client-go escapes the rest of as-user-extra's keys.
_TOKEN = "!#$&'*+-.^_`|~"  # noqa: S105 - characters, not a password


@dataclass(frozen=True)
class Choice:
    """The cluster and the user of one context of a kubeconfig.

    Attributes:
        context: its name.
        cluster_name: what the cluster is called.
        cluster: the cluster.
        user_name: what the user is called; empty where the context names none.
        user: the user; empty where there is not one of that name.
    """

    context: str
    cluster_name: str
    cluster: Mapping[str, Any]
    user_name: str
    user: Mapping[str, Any]

    @property
    def acts_as(self) -> str:
        """The user that the API server sees, with the one who impersonates where that is another."""
        other = self.user.get("as") or ""
        return f"{other}, impersonated by {self.user_name or 'an unnamed user'}" if other else self.user_name

    def impersonation(self) -> list[tuple[str, str]]:
        """Return the headers that make the API server act as another user (k8s.io/client-go, transport)."""
        user, names = self.user, {"Impersonate-User": "as", "Impersonate-Uid": "as-uid"}
        headers = [(header, user[field]) for header, field in names.items() if user.get(field)]
        headers += [("Impersonate-Group", group) for group in user.get("as-groups") or ()]
        for key, values in (user.get("as-user-extra") or {}).items():
            headers += [(f"Impersonate-Extra-{quote(key, safe=_TOKEN)}", value) for value in values]
        return headers

    def content(self, user: Mapping[str, Any]) -> dict[str, Any]:
        """Return a kubeconfig of this context alone, with other fields for its user."""
        context = {"cluster": self.cluster_name, "user": "user"}
        return {
            "clusters": [{"name": self.cluster_name, "cluster": dict(self.cluster)}],
            "users": [{"name": "user", "user": dict(user)}],
            "contexts": [{"name": self.context, "context": context}],
            "current-context": self.context,
        }


@dataclass(frozen=True)
class Kubeconfig:
    """The content of a kubeconfig.

    Attributes:
        content: as it was read, in the shape that a kubeconfig has.
        source: what it is, for messages.
    """

    content: Mapping[str, Any]
    source: str

    @classmethod
    def parse(cls, text: str, source: str) -> Kubeconfig:
        """Read a kubeconfig.

        Args:
            source: what it is, for messages.

        Raises:
            ClusterError: it cannot be read, or has another shape.
        """
        content = as_yaml(text, source, ClusterError, aliases=True, go=True)
        if not isinstance(content, dict):
            raise ClusterError(f"{source} is not a kubeconfig: it holds no mapping")
        if content.get("kind") not in (None, "", "Config"):
            raise ClusterError(f"{source} is not a kubeconfig: it is a {content['kind']}; expected Config")
        for section, inner in _SECTIONS.items():
            entries = content.get(section) or []
            if not isinstance(entries, list):
                raise ClusterError(f"{source} is not a kubeconfig: its {section} are not a list")
            for number, entry in enumerate(entries, start=1):
                if why := _entry_problem(entry, inner):
                    raise ClusterError(
                        f"{source} is not a kubeconfig: number {number} of its {section} {why}"
                    )
        for entry in content.get("users") or []:
            if not _is_user(entry.get("user") or {}):
                raise ClusterError(
                    f"{source} is not a kubeconfig: the user {entry['name']!r} has an exec or an auth-provider of "
                    "another shape"
                )
        return cls(content, source)

    def choose(self, context: str | None) -> Choice:
        """Return what a context names, or the current one.

        Raises:
            ClusterError: there is no such context, or what it names cannot be used.
        """
        wanted = context or self.content.get("current-context")
        if not wanted:
            raise self._wrong("it has no current-context; say in the inventory which one (context:)")
        if not isinstance(wanted, str):
            raise self._wrong("its current-context is not a text: write it in quotes")
        chosen = self._entry("contexts", wanted)
        if chosen is None:
            names = ", ".join(entry["name"] for entry in self.content.get("contexts") or []) or "none"
            raise self._wrong(f"it has no context {wanted!r}; it has {names}")
        name = chosen.get("cluster")
        if not name:
            raise self._wrong(f"its context {wanted!r} names no cluster")
        cluster = self._entry("clusters", name)
        if cluster is None:
            raise self._wrong(f"it has no cluster {name!r}, which the context {wanted!r} names")
        user = str(chosen.get("user") or "")
        holder = self._entry("users", user)
        if holder is None and user:
            raise self._wrong(f"it has no user {user!r}, which the context {wanted!r} names")
        choice = Choice(str(wanted), str(name), cluster, user, holder or {})
        self._check(choice)
        # kubectl takes no notice of a query, and none of how the kind is written.
        place = urlsplit(cluster["server"])
        return replace(choice, cluster={**cluster, "server": f"{place.scheme}://{place.netloc}{place.path}"})

    def _entry(self, section: str, name: object) -> Mapping[str, Any] | None:
        """Return what an entry of a section holds; a name that stands twice is an error, as for kubectl."""
        inner = _SECTIONS[section]
        entries = [entry for entry in self.content.get(section) or [] if entry["name"] == name]
        if not entries:
            return None
        if len(entries) > 1:
            raise self._wrong(f"the name {name!r} stands twice in its {section}")
        entry = {key: value for key, value in (entries[0].get(inner) or {}).items() if value is not None}
        for field in _TEXTS[inner]:
            if not isinstance(entry.get(field) or "", str):
                raise self._wrong(f"{field} of the {inner} {name!r} is not a text")
        return entry

    def _check(self, choice: Choice) -> None:
        """Check what the client would find out late, or not at all.

        Raises:
            ClusterError: something of it cannot be used.
        """
        cluster, user = f"the cluster {choice.cluster_name!r}", f"the user {choice.user_name!r}"
        for where, entry in ((cluster, choice.cluster), (user, choice.user)):
            for field in _DATA:
                if not _is_base64(entry.get(field) or ""):
                    raise self._wrong(f"{field} of {where} is not base64")
        self._check_cluster(cluster, choice.cluster)
        self._check_login(user, choice.user)
        self._check_impersonation(user, choice)

    def _check_cluster(self, where: str, cluster: Mapping[str, Any]) -> None:
        unverified = cluster.get("insecure-skip-tls-verify")
        if not isinstance(unverified or False, bool):
            raise self._wrong(
                f"insecure-skip-tls-verify of {where} is {unverified!r}; expected true or false"
            )
        if unverified and any(cluster.get(name) for name in ("certificate-authority", _DATA[0])):
            raise self._wrong(
                f"{where} has a certificate authority and insecure-skip-tls-verify: leave one out"
            )
        server, proxy = cluster.get("server") or "", cluster.get("proxy-url") or ""
        if "@" in server:
            raise self._wrong(
                f"server of {where} has a user before its host, which is not sent here: use another way to log in"
            )
        if not is_address(server):
            raise self._wrong(
                f"server of {where} is {server!r}; expected an address such as https://10.0.0.1:6443"
            )
        if proxy and not is_address(proxy):
            raise self._wrong(f"proxy-url of {where}: {proxy_problem(proxy)}")

    def _check_login(self, where: str, user: Mapping[str, Any]) -> None:
        has_password = user.get("username") or user.get("password")
        for both, words in (
            (user.get("token") and has_password, "a token and a password"),
            (user.get("exec") and user.get("auth-provider"), "an exec and an auth-provider"),
        ):
            if both:
                raise self._wrong(f"{where} has {words}, of which kubectl takes one alone: leave one out")

    def _check_impersonation(self, where: str, choice: Choice) -> None:
        groups, extra = choice.user.get("as-groups") or [], choice.user.get("as-user-extra") or {}
        if not _are_texts(groups) or not (isinstance(extra, dict) and all(map(_are_texts, extra.values()))):
            raise self._wrong(f"as-groups or as-user-extra of {where} has another shape")
        if choice.impersonation() and not choice.user.get("as"):
            raise self._wrong(
                f"{where} has as-groups, as-uid or as-user-extra, and not the as that they belong to"
            )
        if any(re.search(r"[^\x20-\x7e]|^ | $", value) for _, value in choice.impersonation()):
            raise self._wrong(
                f"as, as-uid, as-groups or as-user-extra of {where} has characters that no header carries unchanged: "
                "letters of ASCII alone, no line break, no blank at either end"
            )

    def _wrong(self, why: str) -> ClusterError:
        return ClusterError(f"cannot use {self.source}: {why}")

    def credentials(self) -> Iterator[str]:
        """Yield what is secret in it without a doubt."""
        for entry in self.content.get("clusters") or []:
            addresses = ((entry.get("cluster") or {}).get(field) for field in ("server", "proxy-url"))
            for address in map(str, addresses):
                yield from re.findall(r"//[^/@:]*:([^/@]+)@", address)
        for user in self._users():
            yield from (str(user.get(key) or "") for key in ("token", "password", "client-key-data"))
            for name, value in _variables(user):
                # "default" or "true", taken out wherever it stands, would spoil every record.
                if _SECRET_NAME.search(name) or (name not in _SETTINGS and is_distinct(value)):
                    yield value
            yield from (value for name, value in _arguments(user) if is_secret_name(name))

    def secrets(self) -> Secrets:
        """Return what else may be secret: the words that a plugin is called with, but for names of this file."""
        secrets = Secrets()
        for section, inner in _SECTIONS.items():
            for entry in self.content.get(section) or []:
                secrets.allow(entry["name"])
                secrets.allow(str((entry.get(inner) or {}).get("server") or ""))
        for user in self._users():
            secrets.values.update(value for _, value in _arguments(user) if is_distinct(value))
            for name, value in _variables(user):
                if name not in _SETTINGS:
                    add_variable(secrets, value)
        return secrets

    def _users(self) -> Iterator[Mapping[str, Any]]:
        yield from (entry.get("user") or {} for entry in self.content.get("users") or [])


def _is_base64(text: str) -> bool:
    try:
        base64.b64decode("".join(text.split()), validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _are_texts(values: object) -> bool:
    return isinstance(values, list) and all(isinstance(value, str) for value in values)


def _entry_problem(entry: object, inner: str) -> str:
    """Return what is wrong with the shape of an entry of a section; empty for nothing."""
    if not isinstance(entry, dict):
        return "is not a mapping"
    if not isinstance(entry.get("name"), str):
        return "has no name that is a text"
    return "" if isinstance(entry.get(inner) or {}, dict) else f"has a {inner} that is not a mapping"


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
