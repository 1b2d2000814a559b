"""systemd unit files: text to ``Unit`` and back without losing a byte, and the command a unit runs.

Rules are those of systemd.syntax(7), systemd.unit(5) and systemd.service(5): a trailing backslash
continues a line (comment lines in between are left out), an empty assignment resets a list, drop-ins are
read after the fragment in the order of their names, and ``ExecStart=`` is split like a shell would split
words but without a shell: quotes, C escapes, ``$VAR`` (split into words), ``${VAR}`` (one word), ``%%``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from kubeharden.components.commands import (
    BLANKS,
    MARKED,
    Command,
    Escapes,
    QuoteError,
    extract_words,
    mark_specifiers,
    read_commands,
    with_values,
)
from kubeharden.components.environment_files import parse_environment_file
from kubeharden.errors import UnitError

INDENT = "  "
MOST_WORDS = 10_000  # of a command
# systemd ends a line at a line feed, a carriage return or both; str.splitlines knows eight more.
_LINES = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")
BYTE_ORDER_MARK = "\ufeff"
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


@dataclass(frozen=True)
class UnitLine:
    """One piece of a unit file: an assignment with its continuation lines, or anything else verbatim.

    Attributes:
        raw: the text as it stands, with its line endings.
        section: the section it stands in; empty before the first header.
        key: the directive's name; empty for headers, comments and blank lines.
        value: the directive's value with continuation lines joined by one space.
    """

    raw: str
    section: str
    key: str = ""
    value: str = ""


@dataclass(frozen=True)
class Unit:
    """A unit file or drop-in. ``Unit.parse(text).text == text`` for every text."""

    entries: tuple[UnitLine, ...]

    @classmethod
    def parse(cls, text: str) -> Unit:
        """Read a unit file."""
        return cls(tuple(_entries(text)))

    @property
    def text(self) -> str:
        """The file's text."""
        return "".join(entry.raw for entry in self.entries)

    def values(self, section: str, key: str) -> list[str]:
        """Return every value of a directive in the order of the file, resets (empty values) included."""
        return [e.value for e in self.entries if e.section == section and e.key == key]

    def has(self, section: str, key: str) -> bool:
        """Return whether the directive is assigned anywhere in that section."""
        return any(e.section == section and e.key == key for e in self.entries)

    def with_line(self, words: Sequence[str]) -> Unit:
        """Return the same unit with ``ExecStart=`` of these words, which are quoted already, one to a line.

        Everything else keeps its place and its text. A reset (``ExecStart=``) before the command, as
        drop-ins have it, is kept.

        Raises:
            UnitError: the unit has no ``ExecStart=`` with a command, or more than one.
        """
        command = self._command()
        raw = "ExecStart=" + f" \\\n{INDENT}".join(words) + "\n"
        replaced = UnitLine(raw, "Service", "ExecStart", " ".join(words))
        return Unit(tuple(replaced if entry is command else entry for entry in self.entries))

    def _command(self) -> UnitLine:
        commands: list[UnitLine] = []
        for entry in self.entries:
            if (entry.section, entry.key) == ("Service", "ExecStart"):
                commands = (
                    [*commands, entry] if entry.value else []
                )  # an empty one takes back those before it
        if len(commands) != 1:
            raise UnitError(f"expected one ExecStart= with a command, found {len(commands)}")
        return commands[0]

    def with_service_setting(self, key: str, value: str) -> Unit:
        """Return the same unit with one directive of [Service] set: where it is assigned, else first in the section.

        Raises:
            UnitError: the unit has no such section.
        """
        new = UnitLine(f"{key}={value}\n", "Service", key, value)
        assigned = [e for e in self.entries if (e.section, e.key) == ("Service", key)]
        if assigned:
            earlier = {id(entry) for entry in assigned[:-1]}
            entries = [e for e in self.entries if id(e) not in earlier]
            return Unit(tuple(new if entry is assigned[-1] else entry for entry in entries))
        for index, entry in enumerate(self.entries):
            header = entry.raw.strip(BLANKS + BYTE_ORDER_MARK) == "[Service]"
            if entry.section == "Service" and not entry.key and header:
                return Unit((*self.entries[: index + 1], new, *self.entries[index + 1 :]))
        raise UnitError(f"the unit has no [Service] section in which to set {key}=")


def _entries(text: str) -> Iterable[UnitLine]:
    section = ""
    lines = _LINES.findall(text)
    index, marked = 0, True
    while index < len(lines):
        start, line = index, lines[index]
        index += 1
        # config_parse drops the first one, wherever it stands.
        if marked and line.startswith(BYTE_ORDER_MARK):
            line, marked = line[1:], False
        if line.lstrip(BLANKS)[:1] in ("", "#", ";"):
            yield UnitLine(lines[start], section)
            continue
        pieces = [line.rstrip("\r\n")]
        while _goes_on(pieces[-1]) and index < len(lines):
            pieces[-1] = f"{pieces[-1][:-1]} "
            index = _skip_comments(lines, index)
            if index >= len(lines):
                break
            pieces.append(lines[index].rstrip("\r\n"))
            index += 1
        if _goes_on(pieces[-1]):
            pieces[-1] = pieces[-1][:-1]
        raw, line = "".join(lines[start:index]), "".join(pieces).strip(BLANKS)
        key, is_assignment, value = line.partition("=")
        if line.startswith("["):
            section = line[1:-1] if line[-1] == "]" else section
            yield UnitLine(raw, section)
        elif is_assignment:
            yield UnitLine(raw, section, key.strip(BLANKS), value.strip(BLANKS))
        else:
            yield UnitLine(raw, section)


def _goes_on(line: str) -> bool:
    """Return whether a line ends with a backslash that no other one escapes."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _skip_comments(lines: list[str], index: int) -> int:
    while index < len(lines) and lines[index].lstrip(BLANKS)[:1] in ("#", ";"):
        index += 1
    return index


@dataclass(frozen=True)
class Service:
    """A service as systemd sees it: its fragment and its drop-ins, in the order in which they are read.

    Attributes:
        files: path and unit of the fragment, then of every drop-in.
        environment_files: the text of each environment file that exists, by path.
        specifiers: what is known of specifiers, by their letter.
    """

    files: tuple[tuple[str, Unit], ...]
    environment_files: Mapping[str, str]
    specifiers: Mapping[str, str] = field(default_factory=dict)

    @property
    def place(self) -> str:
        """Return the path of the fragment, for messages."""
        return self.files[0][0] if self.files else "the unit"

    def values(self, section: str, key: str) -> list[str]:
        """Return the values in force, over fragment and drop-ins; an empty one resets those before it."""
        result: list[str] = []
        for _, unit in self.files:
            for value in unit.values(section, key):
                if value:
                    result.append(value)
                else:
                    result.clear()
        return result

    def command_file(self) -> str:
        """Return the path of the file whose ``ExecStart=`` is in force.

        Raises:
            UnitError: no file has one.
        """
        for path, unit in reversed(self.files):
            if any(unit.values("Service", "ExecStart")):
                return path
        raise UnitError(f"no ExecStart= in {', '.join(path for path, _ in self.files)}")

    def argv(self) -> list[str]:
        """Return the words that systemd runs, with variables and known specifiers put in.

        Raises:
            UnitError: no command or several, or one that cannot be read.
        """
        return [with_values(word, self.specifiers) for word in self.command().words]

    def command(self, assumed: Mapping[str, str] | None = None) -> Command:
        """Return the command that systemd runs, with marks for its specifiers.

        Args:
            assumed: variables besides those that the unit sets.

        Raises:
            UnitError: no command or several, or one that cannot be read.
        """
        environment = {**(assumed or {}), **self.environment()}
        values = self.values("Service", "ExecStart")
        commands = [command for value in values for command in read_commands(value, environment)]
        if len(commands) != 1:
            raise UnitError(f"{self.place}: {_other_number(len(commands))}")
        count = len(commands[0].words)
        if count > MOST_WORDS:
            raise UnitError(f"{self.place}: ExecStart= has {count} words; {MOST_WORDS} are the most")
        return commands[0]

    def environment(self) -> dict[str, str]:
        """``Environment=`` and ``EnvironmentFile=``; the files win (systemd.exec(5)).

        Raises:
            UnitError: a file is not there, or is read differently by releases of systemd.
        """
        result: dict[str, str] = {}
        for value in self.values("Service", "Environment"):
            for word in _readable_words(value):
                name, is_assigned, content = mark_specifiers(word).partition("=")
                if is_assigned and _NAME.fullmatch(name):
                    result[name] = content
        paths: dict[str, None] = {}
        for value in self.values("Service", "EnvironmentFile"):
            place = with_values(mark_specifiers(value), self.specifiers)
            if not place.removeprefix("-").startswith("/"):
                continue  # "path is not absolute, ignoring", such as one in quotes (config_parse_unit_env_file)
            for path in self._environment_paths(place):
                paths.pop(path, None)  # of a file that is read again, the last time counts
                paths[path] = None
        for path in paths:
            try:
                result |= parse_environment_file(self.environment_files[path])
            except UnitError as error:
                raise UnitError(f"{path}: {error}") from None
        for word in (
            word for value in self.values("Service", "UnsetEnvironment") for word in _readable_words(value)
        ):
            name, has_value, content = word.partition("=")
            if name in result and (not has_value or result[name] == content):
                del result[name]
        return result

    def _environment_paths(self, value: str) -> list[str]:
        """Return the paths of the files that a value of ``EnvironmentFile=`` names; it may be a pattern (glob(7))."""
        path = value.removeprefix("-")
        if path in self.environment_files:
            return [path]
        names = []
        if re.search(r"[*?[]", path):
            if "[:" in path or "\\" in path:
                raise UnitError(
                    f"{self.place}: EnvironmentFile={path}: a class or a backslash in a pattern is not read"
                )
            names = sorted(name for name in self.environment_files if _matches(name, path))
        if not names and not value.startswith("-"):
            path_text = MARKED.sub(r"%\1", path)
            raise UnitError(f"{self.place}: EnvironmentFile={path_text} does not exist")
        return names


def _other_number(count: int) -> str:
    """Return the sentence about a service that does not run one command."""
    if not count:
        return "no ExecStart= is in force in [Service], so that systemd starts nothing"
    return (
        f"{count} commands are in force in ExecStart=, which only Type=oneshot may have. Does a drop-in lack the empty "
        "ExecStart= that takes back the one before?"
    )


def _matches(path: str, pattern: str) -> bool:
    """Check a path against a pattern of glob(7), folder by folder; a hidden name needs its dot."""
    names, parts = path.split("/"), pattern.split("/")
    return len(names) == len(parts) and all(
        fnmatchcase(name, part) and (not name.startswith(".") or part.startswith("."))
        for name, part in zip(names, parts, strict=True)
    )


def _readable_words(value: str) -> Iterator[str]:
    """Yield the words of a list; what comes after one that cannot be read does not count, as systemd has it."""
    try:
        for word in extract_words(value, Escapes.STRICT):
            if word is not None:
                yield word
    except QuoteError:
        return


def unit_specifiers(unit: str) -> dict[str, str]:
    """Return the specifiers that follow from the name of a unit, and those that are the same on every system."""
    name, _, _ = unit.rpartition(".")
    prefix, _, instance = name.partition("@")
    same = {"t": "/run", "S": "/var/lib", "C": "/var/cache", "L": "/var/log", "E": "/etc", "T": "/tmp"}  # noqa: S108
    return {"n": unit, "N": name, "p": prefix, "i": instance, **same}
