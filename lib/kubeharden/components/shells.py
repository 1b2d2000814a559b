"""Shell lines in units: their words, as a shell makes them."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence

from kubeharden.errors import UnitError

SHELLS = frozenset({"sh", "bash", "dash", "ash", "ksh", "zsh"})
_OPTIONS_WITH_VALUES = ("--rcfile", "--init-file")  # besides "-o NAME" and bash's "-O NAME"
# What a shell does not look into: single quotes; double quotes except $, ` and newlines; an escaped character.
_QUOTED = re.compile(r"""'[^']*'|"((?:[^"\\]|\\[\s\S])*)"|\\.""")
# Operators, expansions and comments.
_MORE = re.compile(r"\$\(|`|\$|&&|\|\||[;&|<>()\n]|(?:^|\s)#")
_REPLACED = re.compile(r"(?:^|[\s=:])~|\{(?=[^{}\s]*(?:,|\.\.))[^{}\s]*\}|[*?\[]")
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=")
_PIECE = re.compile(
    r"""(?P<blank>[ \t\r\n]+)|'(?P<single>[^']*)'|"(?P<double>(?:[^"\\]|\\.)*)"|\\(?P<escaped>.)"""
    r"""|(?P<plain>[^ \t\r\n'"\\]+)""",
    re.DOTALL,
)


def shell_words(text: str, what: str) -> list[str]:
    """Return the words of a text with quotes, as a shell splits them (``shlex.split``, in linear time).

    Args:
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
        content = next(
            part for part in piece.group("single", "double", "escaped", "plain") if part is not None
        )
        word = [] if word is None else word
        word.append(re.sub(r'\\(["\\])', r"\1", content) if piece["double"] is not None else content)
    return words if word is None else [*words, "".join(word)]


def shell_operand(argv: Sequence[str]) -> tuple[str | None, bool]:
    """Return the first word of a shell that is not an option of it, and whether that is a line (``-c``)."""
    words, is_line = deque(argv[1:]), False
    while words and words[0][:1] in ("-", "+") and len(words[0]) > 1:
        option = words.popleft()
        if option == "--":
            break
        letters = "" if option.startswith("--") else option[1:]
        is_line = is_line or (option[0] == "-" and "c" in letters)
        for _ in range(letters.lower().count("o") or option in _OPTIONS_WITH_VALUES):
            if words:
                words.popleft()
    return (words[0] if words else None), is_line


def shell_line(argv: Sequence[str]) -> str | None:
    """Return the line of ``sh -c LINE``, with whatever other options; None for another command."""
    if not argv or argv[0].rpartition("/")[2] not in SHELLS:
        return None
    line, is_line = shell_operand(argv)
    return line if is_line else None


def unwrap(argv: list[str]) -> list[str]:
    """Return ``env A=b kubelet --a=b`` for ``/bin/sh -c 'A=b exec kubelet --a=b'``, and any other command as it is.

    Raises:
        UnitError: the shell line is more than one simple command.
    """
    line = shell_line(argv)
    if line is None:
        return argv
    words = shell_words(line, "the shell line in ExecStart=")
    count = next((at for at, word in enumerate(words) if not _ASSIGNMENT.match(word)), 0)
    variables, words = words[:count], words[count:]
    words = words[1:] if words[:1] == ["exec"] else words
    more = _MORE.search(_bare(line))
    if more or not words or "=" in words[0] or words[0].startswith("-"):
        odd = more[0].strip() or "a line break" if more else f"exec {words[0]}" if words else ""
        found = f" ({odd} in it)" if odd else ""
        raise UnitError(
            f"the shell line in ExecStart= is more than one simple command{found}; write the program and its flags "
            "into ExecStart= by themselves (a variable is ${NAME} there, the host name %H, and a log is "
            "StandardOutput=append:FILE)"
        )
    return ["/usr/bin/env", *variables, *words] if variables else words


def expansion_in(line: str) -> str:
    """Return what a shell may expand in a line of one command: a pattern, braces or a tilde; empty for nothing."""
    match = _REPLACED.search(_bare(line))
    return match[0].strip(" \t=:") if match else ""


def _bare(line: str) -> str:
    """Return a line without what is quoted in it."""
    return _QUOTED.sub(lambda quoted: re.sub(r"[^$`\n]", "", quoted[1] or ""), line)
