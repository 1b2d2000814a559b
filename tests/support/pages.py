"""The pages that people read: their links, their headings, and the code in them with what is said about it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from support import ROOT

LINK = re.compile(r"!?\[(?:[^\][]|\[[^\]]*\])*\]\(([^)\s]+)\)")
FENCE = re.compile(
    r"(?:^ *<!-- (?P<mark>[^\n]*?) -->\n)?^(?P<indent> *)```(?P<language>[\w-]*)[^\n]*\n(?P<text>.*?)^(?P=indent)```$",
    re.MULTILINE | re.DOTALL,
)


def pages() -> list[Path]:
    """All pages: those in the project's folder, in docs/ and in outputs/."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md")), ROOT / "outputs/README.md"]


@dataclass(frozen=True)
class Block:
    """A block of code in a page.

    Attributes:
        mark: the HTML comment on the line before it, such as ``run`` or ``not run: why``; empty without one.
    """

    mark: str
    language: str
    text: str
    line: int


def blocks(page: Path) -> Iterator[Block]:
    """The blocks of code of a page, in their order."""
    text = page.read_text(encoding="utf-8")
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        yield Block(match["mark"] or "", match["language"], match["text"], line)


def prose(page: Path) -> str:
    """A page without its blocks of code."""
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def links(page: Path) -> Iterator[str]:
    """The links of a page that lead somewhere in the project."""
    for target in LINK.findall(re.sub(r"(`+)[^`]+\1", "``", prose(page).replace("\\|", ""))):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as repositories and the site make them."""
    found: set[str] = set()
    for heading in re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE):
        words = re.sub(r"[^\w\- ]", "", re.sub(r"\[(.*?)\]\(.*?\)", r"\1", heading).lower())
        found.add(words.strip().replace(" ", "-"))
    return found
