"""systemd unit files: text to ``Unit`` and back without losing a byte, and the command a unit runs.

Rules are those of systemd.syntax(7), systemd.unit(5) and systemd.service(5): a trailing backslash
continues a line (comment lines in between are left out), an empty assignment resets a list, drop-ins are
read after the fragment in the order of their names, and ``ExecStart=`` is split like a shell would split
words but without a shell: quotes, C escapes, ``$VAR`` (split into words), ``${VAR}`` (one word), ``%%``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from kubeharden.errors import UnitError

INDENT = "  "
MOST_WORDS = 10_000  # of a command
# systemd.service(5): "@", "-", ":", "+", "!" and "!!" before the path of the executable.
_PREFIXES = re.compile(r"^[@\-:+!]+")
_VARIABLE = re.compile(r"^\$([A-Za-z_][A-Za-z0-9_]*)$")
_BRACED = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
# What a shell does not look into: single quotes; double quotes except $, ` and newlines; an escaped character.
_SHELL_QUOTED = re.compile(r"""'[^']*'|"((?:[^"\\]|\\[\s\S])*)"|\\.""")
# systemd ends a line at a newline alone; str.splitlines knows eight more.
_LINES = re.compile(r"[^\n]*\n|[^\n]+")
# An environment file: comments, which a backslash continues, lines that are not assignments, and names.
_ENVIRONMENT_LINE = re.compile(
    r"[#;](?:[^\\\n]|\\.)*\\?|(?P<name>[^ \t\r\n#;][^=\n]*)=|[^ \t\r\n#;][^=\n]*(?=\n|\Z)", re.DOTALL
)
# The quoted parts that a value begins with; one that is not closed goes on to the end.
_QUOTED = re.compile(
    r"""[ \t\r]*(?:'(?P<single>[^']*)|"(?P<double>(?:[^"\\]|\\.)*))(?:['"]|(?P<cut>\\?\Z))""", re.DOTALL
)
_ESCAPED_IN_DOUBLE = re.compile(r"\\(.)", re.DOTALL)
_REST_OF_LINE = re.compile(r"(?:[^\\\n]|\\.)*\\?", re.DOTALL)
# What shlex splits a text into, in POSIX mode.
_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|(?P<plain>[^ \t\r\n'"\\]+)""",
    re.DOTALL,
)
_BLANKS = re.compile(r"(?:[ \t\r\n]|\\\r?\n)+")
_RAW_WORD = re.compile(
    r"""(?:'[^']*'?|"(?:\\.|[^"\\])*"?|\\[^\r\n]|[^ \t\r\n'"\\]|\\(?!\r?\n))+""", re.DOTALL
)
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
            earlier = {id(entry) for entry in assigned[:-1]}
            kept = [e for e in self.entries if id(e) not in earlier]
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
        """Return the command that systemd runs, as words, with variables put in and a wrapping shell taken off.

        Raises:
            UnitError: no command or several, a specifier or a shell line that cannot be read.
        """
        commands = self.values("Service", "ExecStart")
        if len(commands) != 1:
            raise UnitError(f"{self.place}: expected one ExecStart= in force, found {len(commands)}")
        words = unwrapped(split_command(commands[0], self.environment()))
        if len(words) > MOST_WORDS:
            raise UnitError(f"{self.place}: ExecStart= has {len(words)} words; {MOST_WORDS} are the most")
        return words

    def environment(self) -> dict[str, str]:
        """``Environment=`` and ``EnvironmentFile=``; the files win (systemd.exec(5))."""
        result: dict[str, str] = {}
        for value in self.values("Service", "Environment"):
            for word in shell_words(value, "Environment="):
                name, _, content = word.partition("=")
                result[name] = content
        for value in self.values("Service", "EnvironmentFile"):
            path = value.removeprefix("-")
            if re.search(r"[*?[]", path):
                raise UnitError(
                    f"{self.place}: EnvironmentFile={path} is a pattern; name the files one by one"
                )
            if path in self.environment_files:
                result.update(parse_environment_file(self.environment_files[path]))
            elif not value.startswith("-"):
                raise UnitError(f"{self.place}: EnvironmentFile={path} does not exist")
        return result


@dataclass(frozen=True)
class Assignment:
    """A variable in an environment file.

    Attributes:
        name: of the variable.
        value: without quotes and escapes.
        start: where the value begins in the text.
        end: where it ends.
        is_closed: whether each quote in it is closed.
    """

    name: str
    value: str
    start: int
    end: int
    is_closed: bool = True


def parse_environment_file(text: str) -> dict[str, str]:
    """Return an environment file as systemd.exec(5) reads it: ``NAME=value``, quotes, comments, continuations.

    Raises:
        UnitError: a quote is not closed.
    """
    result = {}
    for found in assignments(text):
        if not found.is_closed:
            raise UnitError(f"the value of {found.name} cannot be read: a quote is not closed")
        result[found.name] = found.value
    return result


def assignments(text: str) -> Iterator[Assignment]:
    """Yield the variables of an environment file in their order (parse_env_file_internal, src/basic/env-file.c)."""
    at = 0
    while (line := _ENVIRONMENT_LINE.search(text, at)) is not None:
        at = line.end()
        if line["name"] is not None:
            found = _environment_value(line["name"].strip(), text, at)
            at = found.end
            yield found


def _environment_value(name: str, text: str, at: int) -> Assignment:
    """Return the variable whose value begins at a place: quoted parts, then the rest of the line as it is."""
    start, pieces, is_closed = at, list[str](), True
    while quoted := _QUOTED.match(text, at):
        at = quoted.end()
        is_closed = is_closed and quoted["cut"] is None
        double = quoted["double"]
        pieces.append(quoted["single"] if double is None else _ESCAPED_IN_DOUBLE.sub(_unescaped, double))
    rest = _REST_OF_LINE.match(text, at)
    if rest is None or not rest[0]:
        return Assignment(name, "".join(pieces), start, at, is_closed)
    parts = re.findall(r"(?s)\\.?|[^\\]+", rest[0].lstrip(" \t\r"))
    if parts and parts[-1][0] != "\\":
        parts[-1] = parts[-1].rstrip(" \t\r")
    pieces += [part[1:].replace("\n", "") if part[0] == "\\" else part for part in parts if part]
    return Assignment(name, "".join(pieces), start, rest.end(), is_closed)


def _without_quotes(raw: str) -> str:
    """Return a word without its quotes, as far as they are closed; lines that go on are one."""
    bare = re.sub(r"\\\r?\n[ \t]*", " ", raw)
    try:
        return " ".join(shell_words(bare, "a word"))
    except UnitError:
        return bare.strip("\"'")


def _unescaped(match: re.Match[str]) -> str:
    if match[1] == "\n":
        return ""
    return match[1] if match[1] in '"\\`$' else match[0]


@dataclass(frozen=True)
class Word:
    """A word of a text with quotes, and where it stands there.

    Attributes:
        text: without quotes and escapes.
        start: where it begins, with its quotes.
        end: where it ends.
        is_comment: whether it is a comment between the lines of a directive.
    """

    text: str
    start: int
    end: int
    is_comment: bool = False


def words_in(text: str, start: int, end: int) -> Iterator[Word]:
    """Yield the words in a part of a unit file, with the comments between its lines; quotes need not be closed."""
    at = start
    while at < end:
        if blank := _BLANKS.match(text, at, end):
            at = blank.end()
        elif (
            text[at] in "#;"
            and not text[text.rfind("\n", start, at) + 1 : at].strip()
            and "\n" in text[start:at]
        ):
            stop = text.find("\n", at, end)
            stop = stop if stop >= 0 else end
            yield Word("", at, stop, is_comment=True)
            at = stop
        else:
            piece = _RAW_WORD.match(text, at, end)
            stop = piece.end() if piece else end
            yield Word(_without_quotes(text[at:stop]), at, stop)
            at = stop


def shell_words(text: str, what: str) -> list[str]:
    """Return the words of a text with quotes, as a shell splits them (``shlex.split``, in linear time).

    Args:
        text: the text.
        what: what it is, for messages.

    Raises:
        UnitError: a quote is not closed.
    """
    words: list[str] = []
    word: list[str] | None = None
    at = 0
    while at < len(text):
        piece = _PIECE.match(text, at)
        if piece is None:
            why = "No escaped character" if text[at] == "\\" else "No closing quotation"
            raise UnitError(f"{what} cannot be read: {why}")
        at = piece.end()
        if piece["blank"] is not None:
            if word is not None:
                words.append("".join(word))
            word = None
            continue
        found = next(part for part in piece.group("single", "double", "escaped", "plain") if part is not None)
        word = [] if word is None else word
        word.append(re.sub(r'\\(["\\])', r"\1", found) if piece["double"] is not None else found)
    return words if word is None else [*words, "".join(word)]


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
            words += shell_words(environment.get(whole[1], ""), f"the value of ${whole[1]}")
        else:
            text = _BRACED.sub(lambda m: environment.get(m[1], ""), word.replace("$$", "\0"))
            words.append(text.replace("\0", "$"))
    return words


def _words(command: str) -> Iterable[tuple[str, bool]]:
    word, quote_char, is_quoted = list[str](), "", False
    index = 0
    while index < len(command):
        char = command[index]
        index += 1
        if char == "\\" and index < len(command):
            word.append(_ESCAPES.get(command[index], command[index]))
            index += 1
        elif char == "%":
            if command[index : index + 1] != "%":
                specifier = command[index : index + 1]
                raise UnitError(f"ExecStart= has the specifier %{specifier}, which is known to systemd only")
            word.append(char)
            index += 1
        elif quote_char and char == quote_char:
            quote_char = ""
        elif not quote_char and char in "'\"":
            quote_char, is_quoted = char, True
        elif not quote_char and char.isspace():
            if word or is_quoted:
                yield "".join(word), is_quoted
            word, is_quoted = [], False
        else:
            word.append(char)
    if quote_char:
        raise UnitError("ExecStart= has a quote that is not closed")
    if word or is_quoted:
        yield "".join(word), is_quoted


def unwrapped(argv: list[str]) -> list[str]:
    """``/bin/sh -c 'exec kubelet --a=b'`` as ``kubelet --a=b``; any other command as it is.

    Raises:
        UnitError: the shell line is more than one simple command.
    """
    if len(argv) < 3 or argv[0].rpartition("/")[2] not in {"sh", "bash", "dash"} or argv[1] != "-c":  # noqa: PLR2004
        return argv
    line = argv[2]
    bare = _SHELL_QUOTED.sub(lambda quoted: re.sub(r"[^$`\n]", "", quoted[1] or ""), line)
    words = shell_words(line, "the shell line in ExecStart=")
    words = words[1:] if words[:1] == ["exec"] else words
    # Operators, expansions, comments, and variables set for the command alone.
    if re.search(r"[;&|<>`$()\n]|(^|\s)#", bare) or not words or "=" in words[0]:
        raise UnitError(
            "the shell line in ExecStart= is more than one simple command; unwrap it by hand first"
        )
    return words


def quote(word: str) -> str:
    """Return a word as it must stand in ``ExecStart=`` so that systemd reads back the same word."""
    escaped = word.replace("\\", "\\\\").replace("%", "%%").replace("$", "$$")
    # On a line of its own, "#" would begin a comment, and a backslash at the end would continue the line.
    if escaped and escaped[0] not in "#;" and not re.search(r"[\s'\"\\]", escaped):
        return escaped
    inner = escaped.replace('"', '\\"').replace("\n", "\\n").replace("\t", "\\t")
    return f'"{inner}"'
