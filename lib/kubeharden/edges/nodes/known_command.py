"""KnownHostsCommand of the SSH client configuration: a program that prints lines of known_hosts (ssh_config(5)).

It is run as OpenSSH runs it: without a shell, and once more for the bare name where nothing is known of a port.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from kubeharden.edges import programs
from kubeharden.edges.nodes.known_hosts import KnownKey, entries_in
from kubeharden.errors import NodeError

SOURCE = "KnownHostsCommand"
NAME = "\0"  # stands in an argument for the name that is looked for (%H); no argument can have it


def split_arguments(text: str) -> list[str]:
    """Return the words of a command line as OpenSSH splits it (``argv_split``, misc.c).

    A backslash takes away what a quote, a backslash or, outside of quotes, a blank means; before another character it
    stands for itself.

    Raises:
        ValueError: a quote is not closed.
    """
    words: list[str] = []
    word, quote, at = None, "", 0
    while at < len(text):
        char, following = text[at], text[at + 1 : at + 2]
        at += 1
        if not quote and char in " \t":
            words += [] if word is None else [word]
            word = None
            continue
        word = word or ""
        if char == "\\" and following and (following in "'\"\\" or (not quote and following == " ")):
            word += following
            at += 1
        elif char in "'\"" and quote in ("", char):
            quote = "" if quote else char
        else:
            word += char
    if quote:
        raise ValueError("a quote is not closed")
    return words if word is None else [*words, word]


def ask(command: Sequence[str], name: str, seconds: float) -> tuple[KnownKey, ...]:
    """Return the lines about a host that a program prints.

    Raises:
        NodeError: it cannot be run, takes too long, or fails.
    """
    words = [word.replace(NAME, name) for word in command]
    try:
        done = programs.run(words, seconds)
    except subprocess.TimeoutExpired:
        raise NodeError(f"{SOURCE} {words[0]} took more than {seconds:g} s") from None
    except (OSError, ValueError) as error:
        raise NodeError(f"{SOURCE} {words[0]} cannot be run: {error}") from None
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()[-500:] or "nothing"
        raise NodeError(f"{SOURCE} {words[0]} ended with status {done.returncode}. It says: {complaint}")
    entries = entries_in(done.stdout.decode(errors="replace"), SOURCE)
    return tuple(entry for entry in entries if entry.matches(name))
