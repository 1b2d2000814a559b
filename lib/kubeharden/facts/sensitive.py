"""Judge what was read from a node or the API: what is not known to be harmless is neither shown nor recorded. Pure.

It is an allow-list: ``harmless.yaml`` and the types in the release tables say which values may be seen; what is in
neither is withheld. Values of environment variables are always withheld, unless they are flags themselves.

The parser judges each file where it is read: its content is a ``Sensitive``, a text that knows which values in it may
be secret. A value is withheld wherever it was copied, if it is distinct. An ordinary word is withheld only after its
name, and only in that file and in texts made of it, such as a diff.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from kubeharden.components import units
from kubeharden.errors import UnitError
from kubeharden.facts.model import NodeFacts, ServiceFacts
from kubeharden.formats import as_yaml
from kubeharden.redaction import Secrets, Sensitive, decode, secrets_of
from kubeharden.releases import known_components, known_types

# Types of which any value may be seen; of text, harmless.yaml decides.
HARMLESS_TYPES = re.compile(
    r"bool|u?int\d*|float\d*|quantity|duration.*|ip|address|port range|enum\(string\)|object|list\(int32\)"
    r"|list\((?:string|taint|object)\)|list\(\{.*\}\)|map\(string,(?:string|bool)\)"
)
# A value of this form is not a secret, whatever its name is.
_HARMLESS_FORM = re.compile(
    r"(?ix) true|false|yes|no|on|off | [+-]?\d{1,7}(?:\.\d+)?(?:[kmgt]i?b?|%)?"
    r"| (?:\d{1,7}(?:\.\d+)?(?:ns|us|ms|[smhd]))+"
    r"| v?\d+(?:\.\d+){1,3}(?:/\d{1,3})?(?::\d{1,5})? | /[\w./@:-]*"
)
_ONE_WORD = re.compile(r"[a-z]{1,15}|[A-Z]{1,15}")
_MIXED = re.compile(r"(?=.*\d)(?=.*[A-Za-z])\S{8,}")
_SECTION = re.compile(r"(?m)^[ \t]*\[(?:Unit|Service|Install)\][ \t\r]*$")  # of a unit or a drop-in
_REFERENCE = re.compile(r"\$\{?\w+\}?")  # a variable in a unit's command
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
SHORTHANDS = {"-v": "--v"}


def harmless_flags() -> frozenset[str]:
    """Return the flags, with dashes and of any component, whose values may be seen."""
    return frozenset().union(*_harmless().flags.values())


def with_sensitive_files(service: ServiceFacts) -> ServiceFacts:
    """Return the service with each of its files as ``Sensitive``: it knows what in it may be secret."""
    files = {
        path: replace(fact, content=sensitive_file(service.name, fact.content))
        for path, fact in service.files.items()
    }
    return replace(service, files=files)


def sensitive_file(component: str, content: str) -> Sensitive:
    """Judge the content of a unit, a config file or an environment file of a component."""
    found = Secrets()
    if _SECTION.search(content):
        for entry in units.Unit.parse(content).entries:
            _directive(found, component, entry)
    elif (config := _mapping(content)) is not None:
        _config(found, component, config)
        _comments(found, content)
    else:
        _environment_file(found, component, content)
    return Sensitive(content, found)


def sensitive_command(component: str, argv: Sequence[str]) -> Sensitive:
    """Judge a command line; the text has one word a line."""
    found = Secrets()
    _command(found, component, argv)
    return Sensitive("\n".join(argv), found)


def secrets_on(node: NodeFacts) -> Secrets:
    """Return what may be secret in the files, command lines and configurations of a node."""
    found = Secrets()
    for word in (node.name, node.hostname, node.os, node.systemd):
        found.allow(word)
    for service in node.services.values():
        _command(found, service.name, service.cmdline)
        for path, fact in service.files.items():
            found.allow(path)
            found.update(secrets_of(fact.content))
        _config(found, service.name, service.configz or {})
    return found


def secrets_in(objects: Mapping[str, Iterable[Mapping[str, Any]]]) -> Secrets:
    """Return what may be secret in API objects: environment variables, and all that a Secret holds."""
    found = Secrets()
    for item in (item for items in objects.values() for item in items):
        meta = item.get("metadata") or {}
        for word in (meta.get("name"), meta.get("namespace"), item.get("kind")):
            found.allow(str(word or ""))
        if item.get("kind") == "Secret":
            for key in ("data", "stringData"):
                for value in map(str, (item.get(key) or {}).values()):
                    _add(found, value)
                    _add(found, decode(value))
        for value in _variables(item):
            _add(found, value)
    return found


def is_distinct(value: str) -> bool:
    """Check that a value may be a secret and is not an ordinary word: it can be taken out wherever it stands."""
    return len(value) > 4 and not _HARMLESS_FORM.fullmatch(value) and not _ONE_WORD.fullmatch(value)  # noqa: PLR2004


def _add(found: Secrets, value: str, name: str = "") -> None:
    """Add a value that may be secret: after its name in the same text, and anywhere if it is distinct."""
    if name:
        found.names.add(name)
    # The password of a URL or a header is sensitive by itself, too.
    parts = (part for part in re.split(r"[\s:=,;@/?&]+", value) if _MIXED.fullmatch(part))
    found.values.update(text for text in {value, value.strip("\"'"), *parts} if is_distinct(text))


def _directive(found: Secrets, component: str, entry: units.Entry) -> None:
    if not entry.key:
        _comments(found, entry.raw)
    elif entry.key == "Environment":
        for word in _shell_words(entry.value):
            _variable(found, component, word)
    elif entry.key.startswith("Exec"):
        _comments(found, entry.raw)  # between the lines of a command
        _command(found, component, _shell_words(entry.value))
    elif entry.key in _harmless().directives:
        found.allow(entry.value)
    else:
        _add(found, entry.value, entry.key)


def _environment_file(found: Secrets, component: str, text: str) -> None:
    _comments(found, text)
    for line in text.replace("\\\n", "").split("\n"):
        if "=" in line and line.strip()[:1] not in ("#", ";"):
            _variable(found, component, line.strip())


def _variable(found: Secrets, component: str, assignment: str) -> None:
    """Judge ``NAME=value``; a value that consists of flags is judged as flags."""
    name, _, value = assignment.partition("=")
    bare = value.strip().strip("\"'")
    if bare.startswith("-"):
        _command(found, component, ["", *_shell_words(bare)])
    elif bare:
        _add(found, bare, name.strip())


def _command(found: Secrets, component: str, argv: Sequence[str]) -> None:
    """Judge a command line: the program, its flags, and other words."""
    program, *rest = argv or [""]
    found.allow(program)
    words = deque(rest)
    while words:
        word = words.popleft()
        if word.startswith("-"):
            name, equals, value = word.partition("=")
            if not equals and words and not words[0].startswith("-"):
                value = words.popleft()
            _flag(found, component, SHORTHANDS.get(name, name.replace("_", "-")), value)
        elif re.match(r"[A-Za-z_]\w*=", word):
            _variable(found, component, word)
        elif is_distinct(word) and not _REFERENCE.fullmatch(word):
            _add(found, word)


def _flag(found: Secrets, component: str, name: str, value: str) -> None:
    if not value:
        return
    if name == "-c" and " " in value:  # the command of a shell
        _command(found, component, ["", *_shell_words(value)])
    elif name in _harmless().flags_of(component) and not _has_credentials(value):
        found.allow(value)
    else:
        _add(found, value, name)


def _config(found: Secrets, component: str, content: Mapping[str, Any]) -> None:
    for path, value in _leaves(content):
        if _harmless().allows_field(component, path):
            found.allow(str(value))
        elif not _HARMLESS_FORM.fullmatch(str(value)):
            leaf = path.rpartition(".")[2]
            _add(found, str(value), "" if leaf.lower() in _harmless().leaves else leaf)


def _comments(found: Secrets, text: str) -> None:
    """Judge comments, which may say anything: words that look like a password or a key are withheld."""
    for line in text.split("\n"):
        stripped = line.strip()
        if stripped[:1] in ("#", ";"):
            for word in stripped.split():
                bare = word.rpartition("=")[2].strip("\"'().,:;")
                if "/" not in bare and not bare.startswith("-") and _MIXED.fullmatch(bare):
                    _add(found, bare)


def _variables(item: Any) -> Iterator[str]:
    """Yield the values of environment variables, wherever in an object containers are."""
    if isinstance(item, Mapping):
        for key, part in item.items():
            if key == "env" and isinstance(part, list):
                yield from (str(v["value"]) for v in part if isinstance(v, Mapping) and v.get("value"))
            else:
                yield from _variables(part)
    elif isinstance(item, list):
        for part in item:
            yield from _variables(part)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield from _leaves(part, f"{path}.{key}" if path else str(key))
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _leaves(part, path)
    elif value is not None and value != "":
        yield path, value


def _mapping(text: str) -> Mapping[str, Any] | None:
    """Return the content of a config file; None for another file, such as an environment file."""
    try:
        content = as_yaml(text, "a file", UnitError)
    except UnitError:
        return None
    return content if isinstance(content, dict) else None


def _shell_words(text: str) -> list[str]:
    try:
        return units.shell_words(text, "a line")
    except UnitError:  # a quote that is not closed
        return text.split()


def _has_credentials(value: str) -> bool:
    return re.search(r"://[^\s/@]*@", value) is not None


@dataclass(frozen=True)
class _Harmless:
    """The names that ``harmless.yaml`` and the release tables allow."""

    flags: Mapping[str, frozenset[str]]
    fields: Mapping[str, frozenset[str]]
    directives: frozenset[str]
    leaves: frozenset[str]  # what known fields are called, and what every object has, in small letters

    def flags_of(self, component: str) -> frozenset[str]:
        return self.flags.get(component, frozenset())

    def allows_field(self, component: str, path: str) -> bool:
        """Check whether a field, or the map or list that it is in, may be seen.

        Upper and lower case do not matter: the older components serve their fields by their names in Go.
        """
        fields = self.fields.get(component, frozenset())
        parts = path.lower().split(".")
        return any(".".join(parts[:length]) in fields for length in range(1, len(parts) + 1))


@cache
def _harmless() -> _Harmless:
    raw = yaml.safe_load((files(__package__) / "harmless.yaml").read_text(encoding="utf-8"))
    flags, fields = dict[str, set[str]](), dict[str, set[str]]()
    for row in known_components():
        types = known_types(row.name) if row.config is not None else ({}, {})
        for shown, known, key in ((flags, types[0], "flags"), (fields, types[1], "fields")):
            lists = raw[key].get(row.name, NO_LISTS)
            withheld = set(lists["withheld"].split())
            shown[row.name] = {
                *lists["shown"].split(),
                *(
                    name
                    for name, kind in known.items()
                    if kind != "object" and name not in withheld and HARMLESS_TYPES.fullmatch(kind)
                ),
            }
        fields[row.name] |= {"kind", "apiVersion"}
    return _Harmless(
        {name: frozenset(names) for name, names in flags.items()},
        {name: frozenset(path.lower() for path in paths) for name, paths in fields.items()},
        frozenset(raw["directives"].split()),
        frozenset(
            {path.rpartition(".")[2] for paths in fields.values() for path in paths} | set(COMMON_LEAVES)
        ),
    )
