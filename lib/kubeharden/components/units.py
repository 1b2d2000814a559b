"""systemd unit files: text to ``Unit`` and back without losing a byte, and the command a unit runs.

Rules are those of systemd.syntax(7), systemd.unit(5) and systemd.service(5): a trailing backslash
continues a line (comment lines in between are left out), an empty assignment resets a list, drop-ins are
read after the fragment in the order of their names, and ``ExecStart=`` is split like a shell would split
words but without a shell: quotes, C escapes, ``$VAR`` (split into words), ``${VAR}`` (one word), ``%%``.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from kubeharden.errors import UnitError

INDENT = "  "
# systemd.service(5): "@", "-", ":", "+", "!" and "!!" before the path of the executable.
_PREFIXES = re.compile(r"^[@\-:+!]+")
_VARIABLE = re.compile(r"^\$([A-Za-z_][A-Za-z0-9_]*)$")
_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What a shell does not look into: single quotes; double quotes except $, ` and newlines; an escaped character.
_SHELL_QUOTED = re.compile(r"""'[^']*'|"((?:[^"\\]|\\[\s\S])*)"|\\.""")
# systemd ends a line at a newline alone; str.splitlines knows eight more.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
_ESCAPES = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}


@dataclass(frozen=True)
class Entry:
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

    entries: tuple[Entry, ...]

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

    def with_command(self, argv: Iterable[str]) -> Unit:
        """Return the same unit with ``ExecStart=`` running ``argv``, one argument to a line.

        Everything else keeps its place and its text. A reset (``ExecStart=``) before the command, as
        drop-ins have it, is kept.

        Raises:
            UnitError: the unit has no ``ExecStart=`` with a command, or more than one.
        """
        commands = [e for e in self.entries if (e.section, e.key) == ("Service", "ExecStart") and e.value]
        if len(commands) != 1:
            raise UnitError(f"expected one ExecStart= with a command, found {len(commands)}")
        prefix = _PREFIXES.match(commands[0].value)
        words = [quote(word) for word in argv]
        words[0] = (prefix[0] if prefix else "") + words[0]
        raw = "ExecStart=" + f" \\\n{INDENT}".join(words) + "\n"
        replaced = Entry(raw, "Service", "ExecStart", " ".join(words))
        return Unit(tuple(replaced if entry is commands[0] else entry for entry in self.entries))

    def with_setting(self, section: str, key: str, value: str) -> Unit:
        """Return the same unit with one directive set: in place where it is assigned, else first in its section.

        Raises:
            UnitError: the unit has no such section.
        """
        new = Entry(f"{key}={value}\n", section, key, value)
        assigned = [e for e in self.entries if (e.section, e.key) == (section, key)]
        if assigned:
            kept = [e for e in self.entries if e not in assigned[:-1]]
            return Unit(tuple(new if entry is assigned[-1] else entry for entry in kept))
        for index, entry in enumerate(self.entries):
            if entry.section == section and not entry.key and entry.raw.strip() == f"[{section}]":
                return Unit((*self.entries[: index + 1], new, *self.entries[index + 1 :]))
        raise UnitError(f"the unit has no [{section}] section in which to set {key}=")


def _entries(text: str) -> Iterable[Entry]:
    section = ""
    lines = _LINES.findall(text)
    index = 0
    while index < len(lines):
        start, line = index, lines[index]
        index += 1
        stripped = line.strip()
        if not stripped or stripped[0] in "#;":
            yield Entry(line, section)
        elif stripped[0] == "[" and stripped[-1] == "]":
            section = stripped[1:-1]
            yield Entry(line, section)
        elif "=" not in stripped:
            yield Entry(line, section)
        else:
            pieces = [line.rstrip("\r\n")]
            while pieces[-1].endswith("\\") and index < len(lines):
                pieces[-1] = pieces[-1][:-1]
                index = _skip_comments(lines, index)
                if index >= len(lines):
                    break
                pieces.append(lines[index].rstrip("\r\n"))
                index += 1
            key, _, value = " ".join(p.strip() for p in pieces).partition("=")
            yield Entry("".join(lines[start:index]), section, key.strip(), value.strip())


def _skip_comments(lines: list[str], index: int) -> int:
    while index < len(lines) and lines[index].lstrip()[:1] in ("#", ";"):
        index += 1
    return index


@dataclass(frozen=True)
class Service:
    """A service as systemd sees it: its fragment and its drop-ins, in the order in which they are read.

    Attributes:
        files: path and unit of the fragment, then of every drop-in.
        environment_files: the text of each environment file that exists, by path.
    """

    files: tuple[tuple[str, Unit], ...]
    environment_files: Mapping[str, str]

    def values(self, section: str, key: str) -> list[str]:
        """Return the values in force, over fragment and drop-ins; an empty one resets those before it."""
        result: list[str] = []
        for _, unit in self.files:
            for value in unit.values(section, key):
                result = [*result, value] if value else []
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
        """Return the command that systemd runs, as words, with variables put in and a wrapping shell taken off.

        Raises:
            UnitError: no command or several, a specifier or a shell line that cannot be read.
        """
        commands = self.values("Service", "ExecStart")
        if len(commands) != 1:
            raise UnitError(f"{self.files[0][0]}: expected one ExecStart= in force, found {len(commands)}")
        return unwrapped(split_command(commands[0], self.environment()))

    def environment(self) -> dict[str, str]:
        """``Environment=`` and ``EnvironmentFile=``; the files win (systemd.exec(5))."""
        result: dict[str, str] = {}
        for value in self.values("Service", "Environment"):
            for word in _split(value, "Environment="):
                name, _, content = word.partition("=")
                result[name] = content
        for value in self.values("Service", "EnvironmentFile"):
            path = value.removeprefix("-")
            if re.search(r"[*?[]", path):
                raise UnitError(
                    f"{self.files[0][0]}: EnvironmentFile={path} is a pattern; name the files one by one"
                )
            if path in self.environment_files:
                result.update(parse_environment_file(self.environment_files[path]))
            elif not value.startswith("-"):
                raise UnitError(f"{self.files[0][0]}: EnvironmentFile={path} does not exist")
        return result


def parse_environment_file(text: str) -> dict[str, str]:
    """Return an environment file as systemd.exec(5) reads it: ``NAME=value``, quotes, comments, continuations."""
    result: dict[str, str] = {}
    for line in text.replace("\\\n", "").split("\n"):
        stripped = line.strip()
        if not stripped or stripped[0] in "#;" or "=" not in stripped:
            continue
        name, _, value = stripped.partition("=")
        quoted = value[:1] in ("'", '"')
        result[name.strip()] = (
            "".join(_split(value, f"the value of {name.strip()}")) if quoted else value.strip()
        )
    return result


def _split(text: str, what: str) -> list[str]:
    """Return words of a text with quotes; a UnitError where a quote is not closed."""
    try:
        return shlex.split(text)
    except ValueError as error:
        raise UnitError(f"{what} cannot be read: {error}") from None


def split_command(command: str, environment: Mapping[str, str]) -> list[str]:
    """Split the value of ``ExecStart=`` into words as systemd does.

    Args:
        command: the value, continuation lines already joined.
        environment: the variables that ``$NAME`` and ``${NAME}`` stand for; an unset one is empty.

    Raises:
        UnitError: unbalanced quotes, or a ``%`` specifier whose value only systemd knows.
    """
    words: list[str] = []
    for word, quoted in _words(_PREFIXES.sub("", command)):
        whole = None if quoted else _VARIABLE.match(word)
        if whole:
            words += _split(environment.get(whole[1], ""), f"the value of ${whole[1]}")
        else:
            text = _BRACED.sub(lambda m: environment.get(m[1], ""), word.replace("$$", "\0"))
            words.append(text.replace("\0", "$"))
    return words


def _words(command: str) -> Iterable[tuple[str, bool]]:
    word, quote_char, quoted, started = "", "", False, False
    index = 0
    while index < len(command):
        char = command[index]
        index += 1
        if char == "\\" and index < len(command):
            word, started = word + _ESCAPES.get(command[index], command[index]), True
            index += 1
        elif char == "%" and command[index : index + 1] != "%":
            raise UnitError(
                f"the specifier %{command[index : index + 1]} in {command!r} is known to systemd only"
            )
        elif char == "%":
            word, started = word + char, True
            index += 1
        elif quote_char:
            word, quote_char = (word, "") if char == quote_char else (word + char, quote_char)
        elif char in "'\"":
            quote_char, quoted, started = char, True, True
        elif char.isspace():
            if started:
                yield word, quoted
            word, quoted, started = "", False, False
        else:
            word, started = word + char, True
    if quote_char:
        raise UnitError(f"a quote is not closed in {command!r}")
    if started:
        yield word, quoted


def unwrapped(argv: list[str]) -> list[str]:
    """``/bin/sh -c 'exec kubelet --a=b'`` as ``kubelet --a=b``; any other command as it is.

    Raises:
        UnitError: the shell line is more than one simple command.
    """
    if len(argv) < 3 or argv[0].rpartition("/")[2] not in {"sh", "bash", "dash"} or argv[1] != "-c":  # noqa: PLR2004
        return argv
    line = argv[2]
    bare = _SHELL_QUOTED.sub(lambda quoted: re.sub(r"[^$`\n]", "", quoted[1] or ""), line)
    words = _split(line, f"the shell line {line!r}")
    words = words[1:] if words[:1] == ["exec"] else words
    # Operators, expansions, comments, and variables set for the command alone.
    if re.search(r"[;&|<>`$()\n]|(^|\s)#", bare) or not words or "=" in words[0]:
        raise UnitError(f"the shell line {line!r} is more than one simple command; unwrap it by hand first")
    return words


def quote(word: str) -> str:
    """Return a word as it must stand in ``ExecStart=`` so that systemd reads back the same word."""
    escaped = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    # On a line of its own, "#" would begin a comment, and a backslash at the end would continue the line.
    if escaped and escaped[0] not in "#;" and not re.search(r"[\s'\"\\]", escaped):
        return escaped
    inner = escaped.replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{inner}"'
