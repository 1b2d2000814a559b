"""The command of ``ExecStart=``: text to words as systemd makes them, and words to text that systemd reads the same.

systemd first splits and unquotes (extract_first_word, src/basic/extract-word.c; cunescape_one, src/basic/escape.c),
then puts in what specifiers mean (src/shared/specifier.c), and variables when the process starts (replace_env_argv,
src/basic/env-util.c). What a specifier means is known to systemd and seen in the process that runs: until it is
compared with that, ``MARK`` and the letter stand in a word for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

from kubeharden.errors import UnitError

BLANKS = " \t\r\n"
MOST_UNKNOWN = 4  # specifiers in a word that are told by what runs
MOST_MARKED = 200  # words with specifiers
MOST_STEPS = 10**7  # that a word may take to be told
# Not a character, so that systemd itself takes no line that has it (utf8_is_valid, src/basic/utf8.c).
MARK = "\ufdd0"
MARKED = re.compile(f"{MARK}(.)", re.DOTALL)
_SPECIFIER = re.compile(r"%(?:(%)|([A-Za-z0-9]))")
_BRACED = re.compile(r"\$\$|\$\{([^}:]{0,256})\}")
_ESCAPE = re.compile(
    r"""\\(?:(?P<char>[abfnrtvs\\"'])|x(?P<hex>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})|U(?P<long>[0-9a-fA-F]{8})"""
    r"""|(?P<octal>[0-3][0-7]{2}))"""
)
_CHARACTERS = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v", "s": " "}
# What stands for itself, by the quote that is open.
_PLAIN = {"": re.compile(r"""[^ \t\r\n'"\\]*"""), "'": re.compile(r"[^'\\]*"), '"': re.compile(r'[^"\\]*')}
_SEPARATOR = re.compile(r"(\\?);(?=[ \t\r\n]|\Z)")
_UNSAFE_PATH = re.compile("[\x00-\x1f\x7f'\"\\\\]")  # string_is_safe, src/basic/string-util.c
# What must not stand in a unit as it is: control characters, noncharacters, bytes that are not UTF-8.
_UNSAFE = re.compile("[\x00-\x1f\x7f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff]")


class Escapes(Enum):
    """Ways to read a backslash: ``C`` as in C, others left as they are; ``STRICT`` in C only; ``NEXT`` drops it."""

    C = "C"
    STRICT = "strict"
    NEXT = "next"


class QuoteError(UnitError):
    """The words of a text cannot be told: a quote is not closed, or an escape is unknown."""


def extract_words(text: str, escapes: Escapes) -> Iterator[str | None]:
    """Yield the words of a text; with ``Escapes.C``, None for a ``;`` that ends a command.

    Raises:
        QuoteError: a quote is not closed, or an escape is unknown; ``Escapes.NEXT`` takes both.
    """
    if MARK in text:
        raise QuoteError("has what is not a character")
    at = _skip(text, 0)
    while at < len(text):
        if escapes is Escapes.C and (end := _SEPARATOR.match(text, at)):
            yield ";" if end[1] else None
            at = _skip(text, end.end())
            continue
        word, at = _word(text, at, escapes)
        yield word
        at = _skip(text, at)


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in BLANKS:
        at += 1
    return at


def _word(text: str, at: int, escapes: Escapes) -> tuple[str, int]:
    """Return the word that begins at a place, and where it ends."""
    pieces, quote, has_bytes = list[str](), "", False
    while at < len(text):
        char = text[at]
        if char == "\\":
            piece, at = _escape_at(text, at, escapes)
            has_bytes = has_bytes or "\ud800" <= piece <= "\udfff"
            pieces.append(piece)
        elif char == quote:
            quote, at = "", at + 1
        elif not quote and char in "'\"":
            quote, at = char, at + 1
        elif not quote and char in BLANKS:
            break
        else:
            end = at + len(_PLAIN[quote].match(text, at)[0])  # type: ignore[index]
            pieces.append(text[at:end])
            at = end
    if quote and escapes is not Escapes.NEXT:
        raise QuoteError("has a quote that is not closed")
    word = "".join(pieces)
    return _as_characters(word) if has_bytes else word, at


def _escape_at(text: str, at: int, escapes: Escapes) -> tuple[str, int]:
    """Return what the backslash at a place and what follows it stand for, and where that ends."""
    if escapes is Escapes.NEXT:
        return text[at + 1 : at + 2], at + 2
    match = _ESCAPE.match(text, at)
    piece = None if match is None else _character(match)
    if match is not None and piece is not None:
        return piece, match.end()
    if escapes is Escapes.STRICT:
        raise QuoteError("has an escape that is unknown")
    if at + 1 == len(text):
        return "\\", at + 1
    return text[at : at + 2], at + 2


def _character(match: re.Match[str]) -> str | None:
    """Return what an escape stands for, a byte as ``surrogateescape`` has it; None where it is unknown."""
    if char := match["char"]:
        return _CHARACTERS.get(char, char)
    if match["hex"] or match["octal"]:
        code = int(match["hex"], 16) if match["hex"] else int(match["octal"], 8)
        return None if code == 0 else chr(code) if code < 0x80 else chr(0xDC00 + code)  # noqa: PLR2004
    code = int(match["short"] or match["long"], 16)
    if code == 0 or code > 0x10FFFF or 0xD800 <= code <= 0xDFFF:  # noqa: PLR2004
        return None
    return chr(code)


def _as_characters(word: str) -> str:
    """Return a word with bytes that make a character as that character."""
    return word.encode("utf-8", errors="surrogateescape").decode("utf-8", errors="surrogateescape")


def mark_specifiers(word: str) -> str:
    """Return a word with a mark for each specifier; another ``%`` stands for itself."""
    return _SPECIFIER.sub(lambda match: "%" if match[1] else MARK + match[2], word)


def with_values(text: str, specifiers: Mapping[str, str]) -> str:
    """Return a text with the values of the specifiers that are known."""
    return MARKED.sub(lambda match: specifiers.get(match[1], match[0]), text)


@dataclass(frozen=True)
class Command:
    """A command as systemd runs it.

    Attributes:
        prefix: what stands before the path, such as ``-`` or ``@``.
        path: the executable.
        words: the command line of the process, ``argv[0]`` first; with marks for specifiers.
        unset: the variables in it that nothing sets; they count as empty.
        has_variables: whether it has any variable.
    """

    prefix: str
    path: str
    words: tuple[str, ...]
    unset: tuple[str, ...] = ()
    has_variables: bool = False

    def line(self, words: Sequence[str]) -> list[str]:
        """Return the words of an ``ExecStart=`` that runs other words with the same prefix, each quoted."""
        path = self.path if "@" in self.prefix else words[0]
        arguments = [path, *(words if "@" in self.prefix else words[1:])]
        quoted = [quote(word, variables=":" not in self.prefix) for word in arguments]
        return [self.prefix + quoted[0], *quoted[1:]]


def read_commands(text: str, environment: Mapping[str, str]) -> list[Command]:
    """Return the commands in the value of ``ExecStart=``, which are separated by ``;``.

    Args:
        text: the value, lines that go on already joined.
        environment: what ``$NAME`` and ``${NAME}`` stand for.

    Raises:
        UnitError: a quote is not closed.
    """
    commands, words = [], list[str]()
    try:
        for word in (*extract_words(text, Escapes.C), None):
            if word is not None:
                words.append(word)
            elif words:
                commands.append(_command(words, environment))
                words = []
    except QuoteError as error:
        raise UnitError(f"ExecStart= {error}") from None
    return commands


def _command(words: Sequence[str], environment: Mapping[str, str]) -> Command:
    prefix = _prefix(words[0])
    path, *rest = [mark_specifiers(word) for word in (words[0][len(prefix) :], *words[1:])]
    if _has_variable(path) and ":" not in prefix:
        raise UnitError(
            f"ExecStart= has a variable in the path of its program ({path}), which systemd leaves as it is"
        )
    if why := _unfit_path(path) or (
        "@ wants a word for argv[0] after the path" if "@" in prefix and not rest else ""
    ):
        raise UnitError(
            f"ExecStart= begins with {words[0]!r}, with which systemd starts nothing: {why}. Write the program's whole "
            "path right behind the prefix"
        )
    argv = rest if "@" in prefix else [path, *rest]
    if ":" in prefix:
        return Command(prefix, path, tuple(argv))
    unset: dict[str, None] = {}
    expanded = tuple(expand(argv, environment, unset))
    return Command(prefix, path, expanded, tuple(unset), any(map(_has_variable, argv)))


def _prefix(word: str) -> str:
    """Return what stands before the path of an executable, each character once (config_parse_exec).

    ``@``: the next word is its ``argv[0]``; ``:``: variables stay text (systemd.service(5)).
    """
    for at, char in enumerate(word):
        before = word[:at]
        is_new = char not in before and not (char in "+!" and ("+" in before or "!" in before))
        if char not in "@-:+!|" or not (
            is_new or (char == "!" and before.count("!") == 1 and "+" not in before)
        ):
            return before
    return word


def _unfit_path(path: str) -> str:
    """Return why systemd starts no program of a path (config_parse_exec, src/core/load-fragment.c); empty otherwise."""
    if not path:
        return "it has no path"
    if _UNSAFE_PATH.search(path.replace(MARK, "")):
        return "the path has a quote, a backslash or a control character"
    if path.endswith("/"):
        return "it is the path of a folder"
    if path in (".", "..") or ("/" in path and not path.startswith(("/", MARK))):
        return "the path is relative"
    return ""


def _is_variable(word: str) -> bool:
    return word.startswith("$") and word[1:2] not in ("{", "$")


def _has_variable(word: str) -> bool:
    return _is_variable(word) or any(match[1] is not None for match in _BRACED.finditer(word))


def expand(
    words: Iterable[str], environment: Mapping[str, str], unset: dict[str, None] | None = None
) -> Iterator[str]:
    """Yield words with variables put in: ``$NAME``, a word of its own, is split; ``${NAME}`` is not.

    Args:
        words: without quotes.
        environment: the variables; another one is empty.
        unset: gets the names that are not in the environment.
    """
    unset = {} if unset is None else unset

    def value(name: str) -> str:
        if name not in environment:
            unset[name] = None
        return environment.get(name, "")

    for word in words:
        if _is_variable(word):
            yield from _split(value(word[1:]))
        else:
            yield _BRACED.sub(lambda match: "$" if match[1] is None else value(match[1]), word)


def _split(value: str) -> Iterator[str]:
    """Yield the words of the value of a variable, which may have marks."""
    at = _skip(value, 0)
    while at < len(value):
        word, at = _word(value, at, Escapes.NEXT)
        yield word
        at = _skip(value, at)


def specifiers_of(templates: Sequence[str], running: Sequence[str]) -> dict[str, str] | None:
    """Return what the specifiers in words stand for, by the same words of a process; None where they do not fit."""
    pairs = list(zip(templates, running, strict=False))
    plain = [pair for pair in pairs if MARK not in pair[0]]
    pairs = [pair for pair in pairs if MARK in pair[0]]
    same = len(templates) == len(running) and all(template == word for template, word in plain)
    if not same or len(pairs) > MOST_MARKED:
        return None
    known: dict[str, str] = {}
    while pairs:
        # Words with the fewest unknown ones say the most certain values.
        pairs.sort(key=lambda pair: len(_unknown(pair[0], known)))
        template, word = pairs.pop(0)
        values = _values(with_values(template, known), word)
        if values is None:
            return None
        known |= values
    return known


def _unknown(template: str, known: Mapping[str, str]) -> set[str]:
    return {match[1] for match in MARKED.finditer(template)} - known.keys()


def _values(template: str, word: str) -> dict[str, str] | None:
    """Return the values of the specifiers in a word, by the same word of a process; None where it does not fit."""
    parts = MARKED.split(template)
    letters = list(dict.fromkeys(parts[1::2]))
    searches = len(letters) + (
        len(parts) > 2 * len(letters) + 1
    )  # within each other; one that comes again is one
    if len(letters) > MOST_UNKNOWN or (searches > 1 and len(word) ** searches > MOST_STEPS):
        return None
    grouped: set[str] = set()
    pattern = ""
    for index, part in enumerate(parts):
        if index % 2 == 0:
            pattern += re.escape(part)
        else:
            pattern += f"(?P={_group(part)})" if part in grouped else f"(?P<{_group(part)}>.*)"
            grouped.add(part)
    match = re.fullmatch(pattern, word, re.DOTALL)
    return None if match is None else {letter: match[_group(letter)] for letter in letters}


def _group(letter: str) -> str:
    return f"s{ord(letter)}"


def in_order(parts: Sequence[str], between: str) -> str:
    """Return the pattern that finds patterns in their order, with any number of ``between`` in between.

    All but the last are taken where they stand first, so that time does not grow with a power of their number.
    """
    first, *rest = parts
    if not rest:
        return first
    *middle, last = rest
    return first + "".join(f"(?>{between}*?{part})" for part in middle) + f"{between}*{last}"


def quote(word: str, *, variables: bool = True) -> str:
    """Return a word as it must stand in ``ExecStart=`` so that systemd reads back the same word.

    Args:
        word: the word; a mark in it becomes a specifier.
        variables: whether systemd puts variables in, as it does without ``:`` before the path.
    """
    parts = MARKED.split(word)
    parts[::2] = [_escape(part, variables=variables) for part in parts[::2]]
    parts[1::2] = [f"%{letter}" for letter in parts[1::2]]
    escaped = "".join(parts)
    # On a line of its own, "#" would begin a comment, and a backslash at the end would continue the line.
    if escaped and escaped[0] not in "#;" and not re.search(r"[\s'\"\\]", escaped):
        return escaped
    return f'"{escaped}"'


def _escape(text: str, *, variables: bool) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "%%").replace('"', '\\"')
    escaped = escaped.replace("$", "$$") if variables else escaped
    return _UNSAFE.sub(_as_escape, escaped)


def _as_escape(match: re.Match[str]) -> str:
    named = {"\n": "\\n", "\t": "\\t", "\r": "\\r"}
    content = match[0].encode("utf-8", errors="surrogateescape")
    return named.get(match[0]) or "".join(f"\\x{byte:02x}" for byte in content)
