"""How facts, plans and results look: as HTML in a notebook, as plain text in a terminal.

A ``View`` is a list of blocks. Everything in it passes the redaction when it is rendered, and HTML is escaped
by the template engine, never by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from jinja2 import Environment, Template
from markupsafe import Markup
from tabulate import tabulate

from kubeharden.redaction.redact import redact

GOOD, BAD, NOTE = "good", "bad", "note"


@dataclass(frozen=True)
class Table:
    """Rows under headings; ``mono`` columns are set like code."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    mono: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Diff:
    """A unified diff, folded away until it is asked for unless it is ``open``."""

    title: str
    text: str
    open: bool = False


@dataclass(frozen=True)
class Message:
    """A sentence: ``good``, ``bad`` or ``note``."""

    text: str
    kind: str = NOTE


@dataclass(frozen=True)
class Listing:
    """Text to be copied, folded away unless asked for."""

    title: str
    text: str


@dataclass(frozen=True)
class Picture:
    """A drawing; ``draw`` makes an SVG element, and is called only where one can be shown.

    Attributes:
        draw: makes it.
        alt: what is to be seen in it, in a sentence, for those who do not see it.
        text: the same as plain text, for a terminal.
    """

    draw: Callable[[], str]
    alt: str
    text: str


Block = Table | Diff | Message | Listing | Picture


@dataclass
class View:
    """What a verb of the runbook shows. A notebook displays it, ``print`` shows it as text."""

    blocks: list[Block] = field(default_factory=list)

    def add(self, *blocks: Block) -> View:
        """Append blocks; the view itself is returned."""
        self.blocks += blocks
        return self

    def _repr_html_(self) -> str:
        return str(_template().render(blocks=[_prepared(block) for block in self.blocks]))

    def __str__(self) -> str:
        return redact("\n\n".join(_text(block) for block in self.blocks))

    __repr__ = __str__


def sentences(items: Iterable[str], kind: str = NOTE) -> list[Block]:
    """One message for each item."""
    return [Message(item, kind) for item in items]


def _prepared(block: Block) -> dict[str, object]:
    if isinstance(block, Table):
        rows = [[redact(str(cell)) for cell in row] for row in block.rows]
        return {
            "type": "table",
            "title": redact(block.title),
            "headings": block.headings,
            "rows": rows,
            "mono": block.mono,
        }
    if isinstance(block, Diff):
        lines = [(_line_kind(line), line) for line in redact(block.text).splitlines()]
        return {"type": "diff", "title": redact(block.title), "lines": lines, "open": block.open}
    if isinstance(block, Listing):
        return {"type": "listing", "title": redact(block.title), "text": redact(block.text)}
    if isinstance(block, Picture):
        return {"type": "picture", "svg": Markup(redact(block.draw())), "alt": redact(block.alt)}  # noqa: S704 - drawn here
    return {"type": "message", "text": redact(block.text), "kind": block.kind}


def _line_kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "head"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")


def _text(block: Block) -> str:
    if isinstance(block, Table):
        table = tabulate(
            [[str(cell) for cell in row] for row in block.rows],
            headers=list(block.headings),
            disable_numparse=True,
        )
        return f"{block.title}\n{table}" if block.title else table
    if isinstance(block, Diff | Listing):
        return f"{block.title}\n{block.text}"
    if isinstance(block, Picture):
        return block.text
    return {GOOD: "✔ ", BAD: "✘ ", NOTE: "• "}[block.kind] + block.text


@cache
def _template() -> Template:
    text = (files(__package__) / "display.html.j2").read_text(encoding="utf-8")
    return Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(text)
