"""Sequences that a terminal obeys and does not show: they may stand inside a secret, and so are taken out first."""

from __future__ import annotations

import re

# ECMA-48, as 7-bit and 8-bit codes; bytes that were not UTF-8 stand in a text as "surrogateescape" has them.
_SEQUENCE = re.compile(
    r"(?:\x1b[\]PX^_]|[\x90\x98\x9d\x9e\x9f\udc90\udc98\udc9d\udc9e\udc9f])"  # OSC, DCS, SOS, PM, APC: up to their end
    r"[^\x07\x1b\x9c\udc9c\n]*(?:\x07|\x1b\\|[\x9c\udc9c])?"
    r"|(?:\x1b\[|[\x9b\udc9b])[0-?]*[ -/]*[@-~]?"  # CSI
    r"|\ufffd[0-9;]*[mK]"  # CSI, decoded with "replace"
    r"|\x1b[ -/]*[0-~]?"
)
_LEFT = re.compile(r"(?:\x1b\[|[\x9b\udc9b])(\d{0,3})D")  # the cursor goes back over what is there
# Other control characters, and characters of format, which have no width: but tab, newline and carriage return.
_CHARACTERS = (
    r"\x00-\x07\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\xad\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufeff"
    # what else has no width (Default_Ignorable_Code_Point of Unicode): fillers, selectors, joiners and tags
    r"\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u3164\ufe00-\ufe0f\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff"
)
_INVISIBLE = re.compile(f"[{_CHARACTERS}]")
_FIRST = re.compile(rf"[{_CHARACTERS}\b\udc90\udc98\udc9b\udc9d-\udc9f\ufffd]")  # of all that is not plain
# The same as JSON, Python and shells spell it: it is text, and taken out only where a secret stands.
SPELLED = re.compile(r"\\(?:x1[bB]|u001[bB]|033|e)(?:\[[0-?]*[ -/]*[@-~]|\][^\\\n]*(?:\\(?:x07|u0007|a))?)")
# A letter as JSON and Python may spell it, and no writer of theirs does: the name of a secret could hide so.
LETTER = re.compile(r"\\(?<!\\\\)\\*(?:u00|x)(2[dD]|4[1-9a-fA-F]|5[0-9aAfF]|6[1-9a-fA-F]|7[0-9aA])")


def plain(text: str) -> str:
    """Return a text as a terminal leaves it: without sequences, and without what a backspace erases."""
    if not _FIRST.search(text):
        return text
    text = _SEQUENCE.sub("", _LEFT.sub(lambda match: "\b" * int(match[1] or 1), text))
    if "\b" in text:
        text = _without_erased(text)
    return _INVISIBLE.sub("", text)


def _without_erased(text: str) -> str:
    chars: list[str] = []
    for char in text:
        if char != "\b":
            chars.append(char)
        elif chars and chars[-1] != "\n":
            chars.pop()
    return "".join(chars)
