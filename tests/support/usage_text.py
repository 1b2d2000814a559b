"""The usage text of a program that reads its flags with pflag, as Kubernetes' components do."""

from __future__ import annotations

import re
from dataclasses import dataclass

# "      --name type   text (default value) (DEPRECATED: why)"; klog's --v has the short name -v, too.
USAGE_LINE = re.compile(r"^ {2,6}(?:-\w, )?--(?P<name>[\w-]+)(?: (?P<type>\S+))?(?: {2,}(?P<text>.*))?$")
DEPRECATED = re.compile(r"\(DEPRECATED: (.*)\)$", re.DOTALL)
DEFAULT = re.compile(r"\(default (.*?)\)$", re.DOTALL)


@dataclass(frozen=True)
class Shown:
    """A flag as a usage text shows it: its type, its default as text, and why it is deprecated, if it says so."""

    type: str
    default: str | None
    deprecated: str | None


def usage_of(text: str) -> dict[str, Shown]:
    """What a usage text says, by flag."""
    texts: dict[str, tuple[str, str]] = {}
    name = ""
    for line in text.splitlines():
        if found := USAGE_LINE.match(line):
            name = f"--{found['name']}"
            texts[name] = (found["type"] or "bool", found["text"] or "")
        elif name and line.startswith(" " * 8):  # a text of more than one line
            texts[name] = (texts[name][0], f"{texts[name][1]}\n{line.strip()}")
        else:
            name = ""
    return {name: _shown(kind, words) for name, (kind, words) in texts.items()}


def _shown(kind: str, text: str) -> Shown:
    deprecated = DEPRECATED.search(text)
    text = text[: deprecated.start()].rstrip() if deprecated else text
    default = DEFAULT.search(text)
    return Shown(kind, default[1] if default else None, deprecated[1] if deprecated else None)
