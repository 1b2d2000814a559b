"""HTML as text: elements, whose texts are escaped, and whole pages that may fetch nothing and run nothing."""

from __future__ import annotations

import html
from collections.abc import Iterable
from functools import cache
from importlib.resources import files

from kubeharden.records.reader import on_lines

# Nothing may be fetched or sent and no script may run, whatever is in an output: CSP level 3.
POLICY = "; ".join(
    (
        "default-src 'none'",
        "style-src 'unsafe-inline'",
        "img-src data:",
        "font-src data:",
        "base-uri 'none'",
        "form-action 'none'",
    )
)


GENERATOR = '<meta name="generator" content="kubeharden">'


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, *children: str, **attributes: str) -> Markup:
    """Return an element; a trailing ``_`` of an attribute's name is dropped, and one that is empty is left out."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{html.escape(value)}"'
        for key, value in attributes.items()
        if value
    )
    return Markup(f"<{name}{given}>{join(children)}</{name}>")


def join(parts: Iterable[str]) -> Markup:
    """Return parts one after the other; what is not HTML already is escaped, and has nothing that is not printed."""
    return Markup(
        "".join(part if isinstance(part, Markup) else html.escape(on_lines(part)) for part in parts)
    )


def table(headings: Iterable[str], rows: Iterable[Iterable[str]], **attributes: str) -> Markup:
    """Return a table; a cell that is HTML already is a whole ``td`` or ``th``."""
    head = tag("tr", *(tag("th", heading, scope="col") for heading in headings))
    body = (
        tag("tr", *(cell if isinstance(cell, Markup) else tag("td", cell) for cell in row)) for row in rows
    )
    return tag("table", tag("thead", head), tag("tbody", *body), **attributes)


def document(title: str, *body: str) -> str:
    """Return a whole page with the stylesheets of this package; it follows the theme of the browser."""
    head = (
        tag("style", stylesheet("front.css"), stylesheet("alone.css"), stylesheet("print.css")),
        tag("title", title),
    )
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">\n'
        f"{GENERATOR}\n"
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta name="color-scheme" content="light dark">\n'
        f"{join(head)}\n</head>\n<body>\n{tag('main', *body)}\n</body>\n</html>\n"
    )


@cache
def stylesheet(name: str) -> Markup:
    """Return a stylesheet of this package."""
    return Markup((files(__package__) / name).read_text(encoding="utf-8"))
