"""The words of a part of a unit file and where they stand in it: for a judgement of what they may hold."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kubeharden.components.shells import shell_words
from kubeharden.errors import UnitError

_BLANKS = re.compile(r"(?:[ \t\r\n]|\\\r?\n)+")
_RAW_WORD = re.compile(
    r"""(?:'[^']*'?|"(?:\\.|[^"\\])*"?|\\[^\r\n]|[^ \t\r\n'"\\]|\\(?!\r?\n))+""", re.DOTALL
)


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


def _without_quotes(raw: str) -> str:
    """Return a word without its quotes, as far as they are closed; lines that go on are one."""
    bare = re.sub(r"\\\r?\n[ \t]*", " ", raw)
    try:
        return " ".join(shell_words(bare, "a word"))
    except UnitError:
        return bare.strip("\"'")
