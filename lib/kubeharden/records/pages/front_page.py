"""The first page of a record as HTML: at the top of the executed notebook's page, and by itself."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kubeharden.plan.timeline import HEADINGS, Timeline
from kubeharden.records.front import ChangeRow, Front
from kubeharden.records.pages.markup import Markup, table, tag
from kubeharden.records.reader import on_lines


def front_html(front: Front, vouched: Sequence[tuple[str, str]], course: Timeline) -> Markup:
    """Return the first page, one ``section``; ``vouched`` are seal, trusted time and sign-off, as name and words."""
    rows = [(tag("th", name, scope="row"), text) for name, text in (*front.rows, *vouched)]
    return tag(
        "section",
        tag("h1", front.run),
        tag("p", front.headline, class_=f"khf-result khf-{front.kind}"),
        *_grid(front),
        tag("table", tag("tbody", *(tag("tr", *(_cell(c) for c in row)) for row in rows)), class_="khf-rows"),
        *_course(course),
        class_="khf",
    )


def _cell(text: str) -> Markup:
    return text if isinstance(text, Markup) else tag("td", text)


def _grid(front: Front) -> Iterator[Markup]:
    """Yield the grid of nodes and steps, and what its colours say; a sign and words say it, too."""
    if not front.grid:
        return
    counted = any(row.not_ready is not None for row in front.grid)
    headings = ("Node", *front.steps, *(["not Ready"] if counted else []))
    yield table(
        headings,
        (
            (
                tag("th", row.name, scope="row"),
                *(
                    tag("td", text, class_=f"khf-{state.replace(' ', '-')}")
                    for state, text in zip(row.states, row.cells(), strict=True)
                ),
                *([_seconds(row)] if counted else []),
            )
            for row in front.grid
        ),
        class_="khf-grid",
    )


def _course(course: Timeline) -> Iterator[Markup]:
    """Yield the picture of a run over time, and the same numbers as a table."""
    if course.bars:
        printable = course.rename(on_lines)
        yield tag("h2", "The course of the run")
        yield tag("div", Markup(printable.svg()), class_="khf-course")
        numbers = table(HEADINGS, printable.rows(), class_="khf-numbers")
        yield tag("details", tag("summary", "The same in numbers"), numbers)


def _seconds(row: ChangeRow) -> str:
    if row.not_ready is None:
        return ""
    return f"{'up to ' if row.nodes > 1 else ''}{row.not_ready:.1f} s"
