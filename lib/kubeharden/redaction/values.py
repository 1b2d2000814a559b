"""Where the value after a name begins and ends, in any text: YAML, JSON, a unit, a command line, a log, a diff of them.

Nobody says which of them a text is, so a value is read as the widest of what it may be. The text is gone through once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, replace

import yaml

from kubeharden.redaction.patterns import MARK, QUOTE, Names

_QUOTE = re.compile(QUOTE)
_TOKEN = re.compile(r"""\n|["'`]""")
_BRACKET = re.compile(r"""["'`\[\]{}]""")
_PAIRS = {"[": "]", "{": "}"}
_DIFF = re.compile(r"(?m)^@@ -\d")
_TAGS = re.compile(r"(?:[!&][\w!/:.<>,-]*(?:[ \t]+|(?=\r?\n)))+")  # of YAML, and its anchors
_BLOCK_SCALAR = re.compile(r"[|>][-+0-9]{0,2}[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_NOTHING_MORE = re.compile(r"[ \t]*(?:#[^\n]*)?(?=\n|\Z)")
_IN_FLOW, _FLOW_END = re.compile(r"[^\n{]*\{"), re.compile(r"[,}]")  # a mapping of YAML between brackets
_NUMBER = re.compile(r"-?\d[\d.eE+-]*(?=\s*[,}\]\n]|\s*\Z)")
_MARKED = re.compile(rf"{MARK.pattern}(?=\s*[,}}\]])")
_WORD = re.compile(rf"""(?:{MARK.pattern}|\\.|"[^"\n]*"|'[^'\n]*'|\S)+""")
_MORE_WORDS = re.compile(r"(?:[ \t]+(?:\\\n[ \t]*)?|\\\n[ \t]*)(?![-#;|&<>]|\\\n|[A-Za-z_][\w.-]*[=:])(?=\S)")
_QUOTED_BELOW = re.compile(
    r"[ \t]*\r?\n\s{0,200}(?=[\"'])"
)  # of JSON, where the value begins on the next line
_HERE = re.compile(r"(?:\"?\$\([^\n]{0,100}?)?<<[-~]?[ \t]*['\"]?([A-Za-z_]\w{0,100})['\"]?[^\n]{0,200}\n")
_URL = re.compile(rf"""(?:{MARK.pattern}|[^\s&"'<>#;])*""")
_TAG = re.compile(r"</[a-zA-Z]|<br|&lt;/")
_JOINED = re.compile(r"""[\w"'$][^\s,;)}\]<>&|\\]*""")
# What stands where a secret could and says that there is not one.
_NO_SECRET = re.compile(
    r"""(?ix) (?: true | false | null | none | nil | ~ | <\w*> | \(\w*\) | \{\} | \[\] | "" | '' )"""
    r"""(?= [\s,;)}\]<"'\\] | \Z )"""
)
# What names a secret and does not hold it (SecretVolumeSource, LocalObjectReference, ServiceAccountTokenProjection).
_REFERENCE_NAME = re.compile(r"(?i)(?:secrets?|serviceAccountTokens?|imagePullSecrets?)\W*")
_REFERENCE_KEYS = frozenset(
    [
        *("secretName", "name", "namespace", "defaultMode", "items", "optional", "key", "path", "mode"),
        *("audience", "expirationSeconds"),
    ]
)
LONGEST_REFERENCE = LONGEST_FOLDED = 4096  # characters
MOST_NESTED = 16  # collections in each other, of what only says which Secret is meant
# libyaml is ten times as fast.
_LOADER = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


@dataclass(frozen=True)
class Value:
    """A place in a text."""

    start: int
    end: int
    resume: int  # where the text goes on: after the quote that ends it
    is_open: bool = False  # whether more of it may come, if the text goes on
    name: int = 0  # where the name begins


def replace_values(
    names: Names,
    text: str,
    mark: Callable[[str], str],
    but: Collection[str] = (),
    *,
    word: bool = False,
    cell: bool = False,
) -> str:
    """Replace the value after each match.

    Args:
        names: what stands before the values.
        but: names (without what stands between them and the value) whose values stay.
        word: whether a value is one word, as on a command line.
        cell: whether a value ends at the next tag or cell.
    """
    pieces, at = [], 0
    for value in values_after(names, text, but, word=word, cell=cell):
        pieces += [text[at : value.start], mark(text[value.start : value.end])]
        at = value.end
    return "".join([*pieces, text[at:]]) if pieces else text


def values_after(
    names: Names, text: str, but: Collection[str] = (), *, word: bool = False, cell: bool = False
) -> Iterator[Value]:
    """Yield the places of the values after each match, from the first on; the arguments are those above."""
    scan, at = None, 0
    for name in names.finditer(text):
        if name.start() < at or name.lastgroup == "harmless" or name[0].rstrip("=") in but:
            continue
        scan = scan or _Scan(text)
        value = scan.value(name, word=word, cell=cell)
        if MARK.fullmatch(text, value.start, value.end):
            at = value.resume
        elif value.start < value.end and not scan.is_harmless(name[0], value):
            yield replace(value, name=name.start())
            at = value.resume


def as_item(text: str, value: Value) -> str:
    """Return a value, moved right by what stands before it in its line where items below each other must stay so."""
    item = text[value.start : value.end]
    if "\n" not in item:  # or the blanks before many values in one long line would be more than the text
        return item
    return " " * (value.start - text.rfind("\n", 0, value.start) - 1) + item


class _Scan:
    """One way through a text, from name to name."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._margin = 1 if _DIFF.search(text) else 0  # before the lines of a diff
        self._last = len(text.rstrip())
        self._line = 0  # where the line begins
        self._followed = 0  # up to where quotes were followed
        self._open = ""  # the quote that is open there, with its backslashes
        self._open_end: tuple[int, int] | None = (0, 0)  # where it ends, once somebody asked
        self._tag = -1  # the next tag, once somebody asked
        self._stop = (0, -1)  # from where on the next newline is known, and where that is
        self._steps = 8 * len(text)  # what all searches for an end may take together

    def value(self, name: re.Match[str], *, word: bool, cell: bool) -> Value:
        """Return the place of the value after a name."""
        text, start = self._text, name.end()
        self._follow(name.start())
        begin = name.start()
        if self._margin and begin == self._line and text[begin] == "-":  # it is the diff's
            begin += 1
        if cell:
            end = re.compile(r"[<|\n]|\Z").search(text, start)
            stop = end.start() if end else len(text)
            return self._without_blanks(start, stop, stop)
        while text[start : start + 1] in (" ", "\t"):
            start += 1
        if _has_quote(name) and (below := _QUOTED_BELOW.match(text, start)):
            start = below.end()
        if tags := _TAGS.match(text, start):
            start = tags.end()
        quoted = _QUOTE.match(text, start)
        if quoted:
            return self._in_quotes(quoted[0], quoted.end(), begin)
        around = self._around(name)
        if around and around[1] == name.start():  # "NAME=two words"
            closing = self._closing(around[0], start)
            if closing is not None:
                return Value(start, closing[0], closing[0])
        if word:
            return self._plain(start, self._limit(start, around), _WORD)
        if text[start : start + 1] in _PAIRS:
            collection = self._bracket(start)
            return collection or replace(self._bare(start, begin, name, around), is_open=True)
        return self._bare(start, begin, name, around)

    def _bare(self, start: int, begin: int, name: re.Match[str], around: tuple[str, int] | None) -> Value:
        """Return a value without quotes and brackets, by the sign before it and what the name is."""
        text = self._text
        if name[0].endswith((":", "-")):
            if _BLOCK_SCALAR.match(text, start) or _NOTHING_MORE.match(text, start):
                return self._block(start, begin)
            return self._to_the_end(start, name, around, begin)
        if text[begin - 1 : begin] in ("?", "&") or text[begin] in "?&":
            return self._plain(start, self._line_end(start), _URL)
        if here := self._here_document(start):
            return here
        limit = self._limit(start, around)
        if text[begin] == "-" and (begin > self._line or text[begin + 1] == "-"):  # a flag
            return self._plain(start, limit, _WORD)
        return self._words_value(start, limit)

    def _here_document(self, start: int) -> Value | None:
        """Return the lines of a here-document of a shell, or of HCL."""
        match = _HERE.match(self._text, start)
        if match is None or self._steps <= 0:
            return None
        end = re.compile(rf"(?m)^[ \t]*{re.escape(match[1])}\b").search(self._text, match.end())
        stop = end.start() if end else len(self._text)
        self._steps -= stop - start
        return self._without_blanks(match.end(), stop, stop, is_open=end is None)

    def is_harmless(self, name: str, value: Value) -> bool:
        """Check whether what stands there is no secret, or only says which Secret holds it."""
        value_text = self._text[value.start : value.end]
        if _NO_SECRET.fullmatch(value_text):
            return True
        return (
            _REFERENCE_NAME.fullmatch(name) is not None
            and len(value_text) < LONGEST_REFERENCE
            and value_text[:1] not in ("|", ">")
            and not re.search(r"[&*]|(?:[\[{][^\]}]*){8}", value_text)
            and _is_reference(self._data(value))
        )

    def _data(self, value: Value) -> object:
        """Return a collection as data; None where it is not one."""
        item = as_item(self._text, value)
        self._steps -= len(item)
        if self._steps <= 0:
            return None
        if self._margin and "\n" in item:
            item = "\n".join(line[1:] for line in item.split("\n"))
        try:
            return yaml.load(item.replace('\\"', '"'), Loader=_LOADER)  # noqa: S506 - it makes texts only
        except (yaml.YAMLError, ValueError, RecursionError):
            return None

    def _follow(self, to: int) -> None:
        """Follow lines and quotes up to there."""
        text = self._text
        for token in _TOKEN.finditer(text, min(self._followed, to), to):
            at = token.start()
            if token[0] == "\n":
                self._line, self._open = at + 1, ""
            elif not self._open:
                if not (token[0] == "'" and text[at - 1 : at].isalnum()):  # an apostrophe
                    self._open_end = (0, 0)
                    self._open = "\\" * _backslashes(text, at, self._line) + token[0]
            elif self._open[-1] == token[0] and _closes(self._open, _backslashes(text, at, self._line)):
                self._open = ""
        self._followed = to

    def _around(self, name: re.Match[str]) -> tuple[str, int] | None:
        """Return the quote that a name stands in and where its content begins; None where it has its own or none."""
        text, start = self._text, name.start()
        before = text[max(0, start - 8) : start]
        own = re.search(QUOTE + r"\Z", before)
        if own and _has_quote(name):
            return None
        if own:
            return own[0], start
        return (self._open, -1) if self._open else None

    def _in_quotes(self, quote: str, start: int, name: int) -> Value:
        closing = self._closing(quote, start)
        if closing is None:  # it ends with the line, and the lines of it that are further right
            end = self._block_end(self._line_end(start), name, sequence=False)
            return Value(start, end, end, is_open=True)
        end, resume = closing
        if joined := _JOINED.match(self._text, resume):  # "one"two
            return Value(start, joined.end(), joined.end())
        return Value(start, end, resume)

    def _closing(self, quote: str, start: int) -> tuple[int, int] | None:
        """Return where the quote that ends this one begins and ends; None without one."""
        text, at = self._text, start
        if quote[0] == "&" or quote[-2:-1] == quote[-1]:  # of HTML, or three of them
            end = text.find(quote, at)
            return None if end < 0 else (end, end + len(quote))
        while self._steps > 0:
            end = text.find(quote[-1], at)
            self._steps -= (end if end >= 0 else len(text)) - at + 1
            if end < 0:
                return None
            backslashes = _backslashes(text, end, start)
            if quote == "'" and text[end + 1 : end + 2] == "'":  # in YAML, two are one
                at = end + 2
            elif _closes(quote, backslashes):
                return end - min(backslashes, len(quote) - 1), end + 1
            else:
                at = end + 1
        return len(text), len(text)

    def _bracket(self, start: int) -> Value | None:
        """Return a collection between brackets; None where they do not end."""
        text, at, open_ = self._text, start, []
        while self._steps > 0:
            token = _BRACKET.search(text, at)
            self._steps -= (token.start() if token else len(text)) - at + 1
            if token is None:
                return None
            at = token.end()
            if token[0] in _PAIRS:
                open_.append(_PAIRS[token[0]])
            elif open_ and token[0] == open_[-1]:
                open_.pop()
                if not open_:
                    joined = _JOINED.match(text, at)
                    end = joined.end() if joined else at
                    return Value(start, end, end)
            elif token[0] in "\"'`" and not (token[0] == "'" and text[at - 2 : at - 1].isalnum()):
                quote = "\\" * _backslashes(text, token.start(), start) + token[0]
                closing = self._closing(quote, at)
                if closing is None:
                    return None
                at = closing[1]
        return Value(start, len(text), len(text))

    def _block(self, start: int, name: int) -> Value:
        """Return what stands below a name: the lines that are further right, and the items of a list."""
        scalar = self._text[start : start + 1] in ("|", ">")
        first = self._line_end(start)
        end = self._block_end(first, name, sequence=not scalar)
        begin = start if scalar else first
        place = self._without_blanks(begin, end, end)
        return Value(place.start, place.end, place.end, is_open=end >= self._last)

    def _block_end(self, at: int, name: int, *, sequence: bool) -> int:
        """Return where the lines end that are further right than a name, from the end of its line on."""
        text, end = self._text, at
        own = re.search(QUOTE + r"\Z", text[max(0, name - 8) : name])
        column = name - self._line - (len(own[0]) if own else 0)
        while at < len(text):
            stop = self._line_end(at + 1)
            line = text[at + 1 + self._margin : stop]
            content = line.lstrip(" ")
            right = len(line) - len(content) + self._margin
            if content.strip():
                item = sequence and right == column and re.match(r"-(?:\s|\Z)", content)
                if right <= column and not item:
                    break
                end = stop
            at = stop
        return end

    def _limit(self, start: int, around: tuple[str, int] | None) -> int:
        """Return where the line ends, or the quotes around a name, or its markup."""
        end = self._line_end(start)
        if self._tag < start:
            tag = _TAG.search(self._text, start)
            self._tag = tag.start() if tag else len(self._text)
        if around is None:
            return min(end, self._tag)
        if around[1] >= 0:  # the quote stands right before this name
            closing = self._closing(around[0], start)
        else:
            if self._open_end is not None and self._open_end[0] < start:
                self._open_end = self._closing(around[0], start)
            closing = self._open_end
        return min(end, self._tag, closing[0] if closing else end)

    def _to_the_end(
        self, start: int, name: re.Match[str], around: tuple[str, int] | None, begin: int
    ) -> Value:
        """Return the rest of the line, and what is folded below it."""
        text, line_end = self._text, self._line_end(start)
        if (number := _NUMBER.match(text, start)) and _has_quote(name):
            return Value(start, number.end(), number.end())
        if _has_quote(name) and (mark := _MARKED.match(text, start)):
            return Value(start, mark.end(), mark.end())
        if _NO_SECRET.match(text, start):
            return Value(start, start, start)
        end = self._limit(start, around)
        if end == line_end and re.fullmatch(rf"[+ -]?[\s-]*(?:{QUOTE})?", text[self._line : begin]):
            end = self._block_end(end, begin, sequence=False)
        elif (
            end == line_end
            and _IN_FLOW.match(text, self._line, begin)
            and not _FLOW_END.search(text, start, end)
        ):
            folded = _FLOW_END.search(text, end, end + LONGEST_FOLDED)
            end = self._line_end(folded.start()) if folded else end
        return self._without_blanks(start, end, end, is_open=end >= self._last)

    def _words_value(self, start: int, limit: int) -> Value:
        """Return what is assigned: words, up to the next assignment or flag."""
        text = self._text
        if _NO_SECRET.match(text, start):
            return Value(start, start, start)
        end = self._plain(start, limit, _WORD).end
        while end > start and (more := _MORE_WORDS.match(text, end)):
            if "\n" in more[0]:
                limit = self._line_end(more.end())
            following = _WORD.match(text, more.end(), limit)
            if following is None:
                break
            end = following.end()
        return Value(start, end, end)

    def _plain(self, start: int, limit: int, pattern: re.Pattern[str]) -> Value:
        match = pattern.match(self._text, start, limit)
        end = match.end() if match else start
        return Value(start, end, end)

    def _line_end(self, at: int) -> int:
        if not self._stop[0] <= at <= self._stop[1]:
            end = self._text.find("\n", at)
            self._stop = at, end if end >= 0 else len(self._text)
        return self._stop[1]

    def _without_blanks(self, start: int, end: int, resume: int, *, is_open: bool = False) -> Value:
        """Return a place without the blanks at its ends, and without the margin of a diff."""
        raw = self._text[start:end]
        start += len(raw) - len(raw.lstrip())
        if self._margin and "\n" in raw[: len(raw) - len(raw.lstrip()) + 1]:
            first = re.compile(r"[+ -]?\s*").match(self._text, start)
            start = first.end() if first else start
        return Value(
            min(start, end), max(min(start, end), end - len(raw) + len(raw.rstrip())), resume, is_open
        )


def _has_quote(name: re.Match[str]) -> bool:
    """Check whether a name is quoted by itself."""
    return any(sign in name[0] for sign in "\"'`&")


def _backslashes(text: str, at: int, least: int) -> int:
    """Count the backslashes before a place."""
    start = at
    while start > least and text[start - 1] == "\\":
        start -= 1
    return at - start


def _closes(quote: str, backslashes: int) -> bool:
    """Check whether a quote with backslashes before it closes this one, which has its own.

    A text in a text has each of its backslashes and quotes escaped: 0, 1, 3, 7 … before a quote that opens or closes.
    """
    own = len(quote) - 1
    return backslashes < own or backslashes % (2 * (own + 1)) == own


def is_reference(name: str, value: object) -> bool:
    """Check whether data under a name only says which Secret, or which token, is meant."""
    return _REFERENCE_NAME.fullmatch(name) is not None and _is_reference(value)


def _is_reference(value: object, depth: int = 0) -> bool:
    if depth > MOST_NESTED:
        return False
    if isinstance(value, list):
        return bool(value) and all(_is_reference(part, depth + 1) for part in value)
    return (
        isinstance(value, dict)
        and bool(value)
        and value.keys() <= _REFERENCE_KEYS
        and all(_is_reference(part, depth + 1) for part in value.values() if isinstance(part, (dict, list)))
    )
