"""Views: what a notebook shows as HTML, and a terminal as plain text.

A ``View`` is a list of blocks. Rendering redacts everything in it, and the template engine escapes the HTML.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files

from jinja2 import Environment, Template
from tabulate import tabulate

from kubeharden.plan.timeline import HEADINGS, Timeline
from kubeharden.records.pages.markup import stylesheet
from kubeharden.records.reader import on_lines, one_line
from kubeharden.redaction import Redactor

GOOD, BAD, NOTE = "good", "bad", "note"
SIGNS = {GOOD: "✔", BAD: "✘", NOTE: "•"}
OPEN_LINES = 600  # of diffs in one view
# Where a long word may go on in the next line: authentication.x509.clientCAFile, TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256
_BREAKS = re.compile(r"(?<=\S{4}[./_,:=-])(?=\w{3})|(?<=\S{4}[a-z])(?=[A-Z]\S{3})")
# Characters that paper has room for beside one another: words of a wider table may be cut there.
_PAPER = 100
# The first word of a flag: no line ends within its dashes, or right after them.
_FLAGS = re.compile(r"(?<![\w-])(--?\w+)")
_TEXT_BAR = 40  # characters of the longest bar in a terminal
_MARKS = "X.="  # the parts of a bar in a terminal


@dataclass(frozen=True)
class Table:
    """Rows under headings; columns in ``mono`` are set in the font of code."""

    title: str
    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    mono: frozenset[int] = frozenset()
    # How many characters of a cell in ``mono`` are shown, if not all: it is cut without its secrets.
    most: int = 0
    # ``good``, ``bad`` or ``note`` for each row, or nothing; the cell in column ``kinds_in`` has its colour
    # and its sign.
    kinds: Sequence[str] = ()
    kinds_in: int = 0


@dataclass(frozen=True)
class Diff:
    """A unified diff, folded unless it is ``open``; its heading counts the lines that come and go."""

    title: str
    text: str
    open: bool = False

    @property
    def lines(self) -> list[tuple[str, str]]:
        """The kind of each line, and the line."""
        return [(_line_kind(line), line) for line in self.text.splitlines()]

    @property
    def heading(self) -> str:
        """The title with the numbers of lines: ``n1: /etc/x (+51 –0)``."""
        kinds = [kind for kind, _ in self.lines]
        return f"{self.title} (+{kinds.count('add')} –{kinds.count('del')})"


@dataclass(frozen=True)
class Message:
    """A sentence: ``good``, ``bad`` or ``note``."""

    text: str
    kind: str = NOTE


@dataclass(frozen=True)
class Listing:
    """Text for the reader to copy, folded."""

    title: str
    text: str


@dataclass(frozen=True)
class Bars:
    """Counts as a table, with a stacked bar beside each row.

    The numbers are the text alternative of the bars, and the parts of a bar differ in shape as well as in colour.
    """

    title: str
    label: str
    parts: Sequence[str]  # name of each part of a bar, three at the most
    rows: Mapping[str, Sequence[int]]  # label of each bar, and the size of its parts

    def lengths(self, most: int) -> list[list[int]]:
        """Return the length of each part, in units of which the longest bar has about ``most``."""
        longest = max(map(sum, self.rows.values()))
        return [
            [max(round(size * most / longest), size > 0) for size in sizes] for sizes in self.rows.values()
        ]


@dataclass(frozen=True)
class Course:
    """The changes of a run as a picture over time, with the same numbers as a table, folded."""

    title: str
    timeline: Timeline
    in_words: bool = True  # whether the table is also shown as text, where there are no pictures

    @property
    def numbers(self) -> Table:
        """The same as a table."""
        return Table(self.title, HEADINGS, self.timeline.rows())


Block = Table | Diff | Message | Listing | Bars | Course


@dataclass
class View:
    """The output of a verb of the runbook. A notebook displays it, ``print`` shows it as text."""

    blocks: list[Block] = field(default_factory=list)
    # Takes secrets out of the blocks; without the run's redactor, only those that it knows by their form.
    redactor: Redactor = field(default_factory=Redactor)
    watched: bool = False  # whether a person looks at it while the run goes on: then its first diffs are open

    def add(self, *blocks: Block) -> View:
        """Append blocks and return the view itself."""
        self.blocks += blocks
        return self

    def _repr_html_(self) -> str:
        blocks = (
            _open_diffs(self._blocks_without_secrets()) if self.watched else self._blocks_without_secrets()
        )
        return str(
            _template().render(
                style=stylesheet("view.css"), blocks=[(type(block).__name__, block) for block in blocks]
            )
        )

    def __str__(self) -> str:
        return "\n\n".join(filter(None, map(_text, self._blocks_without_secrets())))

    __repr__ = __str__

    def _blocks_without_secrets(self) -> Iterator[Block]:
        """Yield the blocks without secrets, and without what a terminal would take for more than letters and lines."""

        def lines(text: object) -> str:
            return on_lines(self.redactor.redact(text if isinstance(text, str) else str(text)))

        def line(text: object) -> str:
            return _without_sign(one_line(lines(text)))

        for block in self.blocks:
            title = "" if isinstance(block, Message) else line(block.title)
            if isinstance(block, Table):
                # Below the first column, a line that a name brings does not look like another row.
                rows = [
                    [line(cell) if n == 0 else lines(cell) for n, cell in enumerate(row)]
                    for row in block.rows
                ]
                if block.most:
                    rows = [
                        [_cut(c, block.most) if n in block.mono else c for n, c in enumerate(r)] for r in rows
                    ]
                if block.kinds:
                    rows = [
                        [f"{SIGNS[kind]} {c}" if n == block.kinds_in else c for n, c in enumerate(r)]
                        for kind, r in zip(block.kinds, rows, strict=True)
                    ]
                yield replace(block, title=title, headings=list(map(line, block.headings)), rows=rows)
            elif isinstance(block, Bars):
                yield replace(
                    block, title=title, rows={line(label): sizes for label, sizes in block.rows.items()}
                )
            elif isinstance(block, Course):
                yield replace(block, title=title, timeline=block.timeline.rename(line))
            elif isinstance(block, Message):
                yield replace(block, text=lines(block.text).replace("\n", "\n    "))
            else:
                yield replace(
                    block, title=title, text="\n".join(map(_without_sign, lines(block.text).split("\n")))
                )


def _open_diffs(blocks: Iterable[Block]) -> Iterator[Block]:
    """Yield the blocks with their diffs open, as long as a person would read them all."""
    lines = 0
    for block in blocks:
        if isinstance(block, Diff):
            lines += block.text.count("\n")
            yield replace(block, open=block.open or lines <= OPEN_LINES)
        else:
            yield block


def _without_sign(line: str) -> str:
    """Return a line that does not begin as a sentence of ours does: what others have named could pass for one."""
    is_sign = len(line) > 1 and line[0] in SIGNS.values()
    return line[0].encode("unicode_escape").decode() + line[1:] if is_sign else line


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[:most]} …"


def _line_kind(line: str) -> str:
    if line.startswith(("+++", "---")):
        return "head"
    return {"+": "add", "-": "del", "@": "hunk"}.get(line[:1], "same")


def _text(block: Block) -> str:
    if isinstance(block, Table):
        table = tabulate(block.rows, headers=list(block.headings), disable_numparse=True)
        return f"{block.title}\n{table}" if block.title else table
    if isinstance(block, Diff):
        return f"{block.heading}\n{block.text}"
    if isinstance(block, Listing):
        return f"{block.title}\n{block.text}"
    if isinstance(block, Bars):
        return _text(_with_text_bars(block))
    if isinstance(block, Course):
        return _text(block.numbers) if block.in_words else ""
    return f"{SIGNS[block.kind]} {block.text}"


def _with_text_bars(block: Bars) -> Table:
    headings = [f"{mark} {part}" for mark, part in zip(_MARKS, block.parts, strict=False)]
    rows = [
        (label, *map(str, sizes), "".join(map(operator.mul, _MARKS, lengths)))
        for (label, sizes), lengths in zip(block.rows.items(), block.lengths(_TEXT_BAR), strict=True)
    ]
    return Table(block.title, (block.label, *headings, ""), rows)


def _is_narrow(table: Table) -> bool:
    """Return whether the longest words of the columns have room beside one another on a page of paper."""
    columns = zip(table.headings, *table.rows, strict=True)
    return sum(max(map(_longest_word, column)) + 2 for column in columns) <= _PAPER


def _longest_word(cell: str) -> int:
    return max(len(word) for piece in _BREAKS.split(cell) for word in re.split(r"[-\s]", piece))


@cache
def _template() -> Template:
    text = (files(__package__) / "display.html.j2").read_text(encoding="utf-8")
    environment = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.filters["pieces"] = _BREAKS.split
    environment.filters["flags"] = _FLAGS.split
    environment.tests["narrow"] = _is_narrow
    return environment.from_string(text)
