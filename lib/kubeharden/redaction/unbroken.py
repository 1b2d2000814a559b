"""Texts in pieces: what stands in a text with markup or the ends of lines within it."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator

_END = r"(?:\r\n|[\r\n\u2028\u2029\x85])"
# Tags and comments, entities of what has no width, and the ends of lines with the blanks and the margins around them.
_BREAK = re.compile(
    r"[<&\\ \t\r\n\u2028\u2029\x85]"  # by a set of characters, the engine finds fast where to look
    r"(?:(?<=<)(?:!--[^\n]{0,400}?-->|(?:[^<>\n\"']|\"[^\n\"]{0,2000}\"|'[^\n']{0,2000}'){1,400}>)"
    r"|(?<=&)(?:shy|zwn?j|ZeroWidthSpace|NewLine|\#0*(?:173|820[3-7]|8288)|\#[xX]0*(?:[aA][dD]|200[bB-fF]|2060));"
    r"|(?<=\\)(?=[^\w\s\\])"  # of a shell, of Markdown, of JSON as PHP writes it
    rf"|(?:(?<=[ \t])(?<![ \t].)[ \t]*\\?{_END}|(?<=\\){_END}|(?<=\r)\n|(?<=[\r\n\u2028\u2029\x85]))"
    r"(?:[+>| -](?=[^-+>|]))?[ \t]*)"
)
Span = tuple[int, int]


class Unbroken:
    """A text without the breaks in it, ``text``, which knows where each character was."""

    def __init__(self, text: str) -> None:
        pieces, self._starts, self._places, count, at = [], [], [], 0, 0
        for match in [*_BREAK.finditer(text), None]:
            end = match.start() if match else len(text)
            if end > at:
                self._starts.append(count)
                self._places.append(at)
                pieces.append(text[at:end])
                count += end - at
            at = match.end() if match else end
        self.text, self._length = "".join(pieces), count

    @property
    def is_whole(self) -> bool:
        """True if there is no break."""
        return len(self._starts) < 2  # noqa: PLR2004

    def places_of(self, words: Iterable[str]) -> Iterator[list[Span]]:
        """Yield where each of these texts stands in the original one: beginning and end of its pieces."""
        done = 0
        places = (match.span() for word in words for match in re.finditer(re.escape(word), self.text))
        for start, end in sorted(places):
            if start >= done:
                yield self._pieces(start, end)
                done = end

    def _pieces(self, start: int, end: int) -> list[Span]:
        spans = []
        number = bisect_right(self._starts, start) - 1
        while start < end:
            last = self._starts[number + 1] if number + 1 < len(self._starts) else self._length
            stop = min(end, last)
            place = self._places[number] + start - self._starts[number]
            spans.append((place, place + stop - start))
            start, number = stop, number + 1
        return spans
