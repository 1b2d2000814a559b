"""Words that are written in codes: what a program, a page or a dump makes of a text, as often as they made it."""

from __future__ import annotations

import binascii
import html
import re
from collections.abc import Iterator
from urllib.parse import unquote_to_bytes

DEEPEST = 3  # codes in codes
LONGEST = 1 << 20  # characters of one word that are decoded
_WORD = re.compile(r"[^\s\"'<>]+")
_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}|&#[0-9xX]|\\[uUx0-7]")
# The next two begin with a set of characters, by which the engine finds fast where to look.
_TWO, _GAP = r"[0-9A-Fa-f]{2}", r"(?:, ?|[ :]{1,2})?"
_HEX = re.compile(rf"[0-9A-Fa-f](?:(?<=0)[xX]{_TWO}|[0-9A-Fa-f]){_GAP}(?:(?:0[xX])?{_TWO}{_GAP}){{5,}}")
_BYTES = re.compile(
    r"\d(?<![\d.].)\d{1,2}(?:, ?| )(?:\d{2,3}(?:, ?| )){6,}\d{2,3}(?![\d.])"
)  # of Python and Go
_BASE64 = re.compile(
    r"[A-Za-z0-9+/_-]{8,}(?:\r?\n[ \t]*[A-Za-z0-9+/_-]{8,})*(?:\r?\n[ \t]*[A-Za-z0-9+/_-]+)?={0,2}"
)
_CODE = re.compile(  # of JSON, JavaScript, Python and shells
    r"\\(?<!\\\\)\\*(?:u(?:\{([0-9A-Fa-f]{1,6})\}|([0-9A-Fa-f]{4}))|U([0-9A-Fa-f]{8})|x([0-9A-Fa-f]{2})|([0-7]{3}))"
)


def decoded_words(text: str, least: int, depth: int = DEEPEST) -> Iterator[tuple[int, int, str]]:
    """Yield each word that may be in a code, or in ``depth`` of them: its beginning, its end, and what it may say.

    What says fewer than ``least`` characters is left out.
    """
    for word in _WORD.finditer(text) if _ESCAPE.search(text) else ():
        if _ESCAPE.search(word[0]) and len(word[0]) <= LONGEST:
            yield from _with_inner(*word.span(), _unescape(word[0]), least, depth)
    for run in _HEX.finditer(text):
        digits = re.sub(r"0[xX]|[ :,]", "", run[0][:LONGEST])
        yield from _with_inner(*run.span(), _as_text(bytes.fromhex(digits[: len(digits) & ~1])), least, depth)
    for run in _BYTES.finditer(text):
        codes = [int(word) for word in re.findall(r"\d+", run[0][:LONGEST])]
        if max(codes) < 256:  # noqa: PLR2004 - bytes
            yield from _with_inner(*run.span(), _as_text(bytes(codes)), least, depth)
    for run in _BASE64.finditer(text):
        if 3 * len(run[0]) < 4 * least:
            continue
        code = "".join(run[0][:LONGEST].split()).rstrip("=").replace("-", "+").replace("_", "/")
        for skipped in range(4):  # what stands before it may look like a part of it
            part = code[skipped:]
            with_end = part[: len(part) - (len(part) % 4 == 1)]
            try:
                data = binascii.a2b_base64(with_end + "=" * (-len(with_end) % 4))
            except binascii.Error:
                continue
            yield from _with_inner(*run.span(), _as_text(data), least, depth)


def _with_inner(start: int, end: int, word: str, least: int, depth: int) -> Iterator[tuple[int, int, str]]:
    if len(word) < least:
        return
    yield start, end, word
    if depth > 1 and word.isprintable():
        for _, _, inner in decoded_words(word, least, depth - 1):
            yield start, end, inner


def _unescape(word: str) -> str:
    """Return a word without the escapes of a URL, of HTML, and of JSON, Python and shells."""
    plain = _CODE.sub(lambda m: _character(next(filter(None, m.groups())), 8 if m[5] else 16), word)
    return _as_text(unquote_to_bytes(html.unescape(plain).encode("utf-8", "surrogatepass")))


def _character(digits: str, base: int) -> str:
    code = int(digits, base)
    return chr(code) if code <= 0x10FFFF else ""  # noqa: PLR2004 - the last one of Unicode


def _as_text(data: bytes) -> str:
    """Return the text that bytes are in UTF-8 or, for letters of ASCII, in UTF-16."""
    return data.replace(b"\0", b"").decode("utf-8", "replace")
