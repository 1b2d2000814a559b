"""The executed notebook as one HTML page that opens without a network, runs no script and fetches nothing."""

from __future__ import annotations

import copy
import re
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.records.pages.markup import POLICY, Markup, stylesheet, tag

# Elements that act by themselves, some of which no policy forbids: a refresh, a name to be looked up beforehand. The
# page has none of its own after its head, and a sign that is only shown is written as "&lt;".
_ACTIVE = re.compile(
    r"(?i)<(?=(?:meta|base|link|script|form|i?frame|frameset|fencedframe|portal|object|embed|applet)(?![\w-]))"
)
_STYLE = re.compile(r"""(?i)<style(?:\s(?:[^<>"']|"[^"<>]*"|'[^'<>]*')*)?>""")
_STYLE_END = re.compile(r"(?i)</style\s*>")
_STYLE_BEGIN = re.compile(r"(?i)<(?=style)")
# nbconvert's own template, without the scripts that it takes from content delivery networks (require.js, MathJax,
# mermaid, widgets): the runbooks need none of them. What would need a script is shown as its text.
_TEMPLATE = f"""{{%- extends 'lab/index.html.j2' -%}}
{{%- block html_head_js -%}}
<meta http-equiv="Content-Security-Policy" content="{POLICY}">
{{%- endblock html_head_js -%}}
{{%- block jupyter_widgets -%}}{{%- endblock jupyter_widgets -%}}
{{%- block html_head_js_mathjax -%}}{{%- endblock html_head_js_mathjax -%}}
{{%- block html_head_js_mermaidjs -%}}{{%- endblock html_head_js_mermaidjs -%}}
{{%- block data_javascript -%}}{{{{ self.data_text() }}}}{{%- endblock data_javascript -%}}
{{%- block data_widget_view -%}}{{{{ self.data_text() }}}}{{%- endblock data_widget_view -%}}
{{%- block footer -%}}</html>{{%- endblock footer -%}}
"""

_STYLES = tag("style", stylesheet("view.css"), stylesheet("front.css"), stylesheet("print.css"))
NO_FRONT = Markup()


def render(notebook: Any, title: str, front: Markup = NO_FRONT) -> str:
    """Return the page.

    Args:
        notebook: an nbformat 4 notebook that has passed the redaction.

    Raises:
        RecordError: nbconvert cannot make a page of it.
    """
    from nbconvert import HTMLExporter  # noqa: PLC0415 - two seconds, and verifying needs no Jupyter

    exporter = HTMLExporter(raw_template=_TEMPLATE)  # type: ignore[no-untyped-call]
    whole = copy.deepcopy(notebook)
    for cell in whole.cells:
        if cell.cell_type != "code":  # whose source is shown as text
            _without_styles(cell, "source")
        for output in cell.get("outputs", ()):
            for kind in ("text/html", "text/markdown", "text/vnd.mermaid", "image/svg+xml"):
                _without_styles(output.get("data", {}), kind)
    try:
        page, _ = exporter.from_notebook_node(whole, {"metadata": {"name": title}})
    # nbconvert has errors of many kinds, such as for an attachment that is missing.
    except Exception as error:
        raise RecordError(f"notebook: a page cannot be made of it ({error})") from error
    head, style, rest = str(page).partition("<style")
    rest = _ACTIVE.sub("&lt;", rest)
    # The first of each is the template's own: no cell comes before it.
    rest = rest.replace("</head>", f"{_STYLES}</head>", 1).replace("<main>", f"<main>{front}", 1)
    return f"{head}{style}{rest}"


def _without_styles(part: Any, key: str) -> None:
    """Take out the styles that a text brings, which reach the whole page and could hide its verdict.

    One that is left open is shown as text: it would hide all that comes after it.
    """
    text = part.get(key)
    if not isinstance(text, str):
        return
    pieces, at = list[str](), 0
    while (start := _STYLE.search(text, at)) and (end := _STYLE_END.search(text, start.end())):
        pieces.append(text[at : start.start()])
        at = end.end()
    part[key] = _STYLE_BEGIN.sub("&lt;", "".join([*pieces, text[at:]]))
