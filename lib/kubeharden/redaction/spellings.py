"""Texts to find again, in whatever way they are written: in JSON, YAML, Python, HTML, URLs and base64."""

from __future__ import annotations

import base64
import html
import json
import re
import sys
from urllib.parse import quote

GRAM = 3  # characters by which the texts are looked up, so that many of them cost no more than few
FEW = 100  # of them are looked for one by one
MOST_FOLDED = 1000  # words; a text of more is looked for as it is, and not with its blanks folded
LEAST_ENCODED = 10  # characters of base64; fewer are in any other by chance


class Spellings:
    """Texts and their spellings; only ever added to, so that threads may share it.

    Attributes:
        shortest: the length of the shortest text, but for those that are shorter than ``least``.
    """

    def __init__(self, least: int) -> None:
        self._least, self.shortest = least, sys.maxsize
        self._texts: dict[str, None] = {}
        self._by_gram: dict[str, list[tuple[str, str]]] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def add(self, text: str) -> None:
        """Add a text."""
        if text in self._texts:
            return
        for spelling in spellings(text):
            gram = max(spelling.split() or [spelling], key=len)[:GRAM]
            self._by_gram.setdefault(gram, []).append((spelling, text))
        if len(text) >= self._least:
            self.shortest = min(self.shortest, len(text))
        self._texts[text] = None

    def found_in(self, text: str) -> dict[str, str]:
        """Return the spellings that a longer text has, with what each spells."""
        grams = tuple(self._by_gram)
        if len(grams) < min(FEW, len(text)):
            found = {gram for gram in grams if gram in text}
        else:
            found = self._by_gram.keys() & {text[at : at + GRAM] for at in range(len(text))}
        return {
            spelling: spelled
            for gram in found
            for spelling, spelled in tuple(self._by_gram[gram])
            if all(word in text for word in words_of(spelling))
        }


def words_of(text: str) -> list[str]:
    """Return the words between which a text may be folded: one, if they are too many."""
    words = re.split(r"\s+", text, maxsplit=MOST_FOLDED)
    return words if len(words) <= MOST_FOLDED else [text]


def spellings(text: str) -> set[str]:
    """Return a text as it is, and as others write it."""
    data = text.encode("utf-8", "surrogateescape")
    once = json.dumps(text)[1:-1]
    forms = {once, json.dumps(once)[1:-1]}
    forms |= {text, repr(text)[1:-1], html.escape(text), quote(data), text.replace("'", "''")}
    forms.add(json.dumps(text, ensure_ascii=False)[1:-1])
    forms.add(text.encode("ascii", "backslashreplace").decode("ascii"))
    forms.add("".join(char if char.isascii() else _in_yaml(ord(char)) for char in text))
    encoded = base64.b64encode(data).decode("ascii")
    forms |= {encoded, encoded.replace("+", "-").replace("/", "_")}
    # What base64 makes of it in the middle of something longer, such as "user:password".
    for before, skipped in ((0, 0), (1, 2), (2, 3)):
        inner = base64.b64encode(b"\0" * before + data).decode("ascii")
        inner = inner[skipped : (before + len(data)) * 8 // 6]
        if len(inner) >= LEAST_ENCODED:
            forms.add(inner)
    return forms


def _in_yaml(code: int) -> str:
    """Return a character as YAML escapes it."""
    if code < 0x100:  # noqa: PLR2004
        return f"\\x{code:02X}"
    return f"\\u{code:04X}" if code < 0x10000 else f"\\U{code:08X}"  # noqa: PLR2004
