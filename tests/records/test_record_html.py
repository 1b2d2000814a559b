"""The page of an executed notebook: it opens without a network, and nothing of the notebook is missing in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from contextlib import closing
from html.parser import HTMLParser
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from browser import Browser
from kubeharden.errors import RecordError
from kubeharden.records.html import render
from kubeharden.records.pages.markup import POLICY, tag
from kubeharden.show.display import BAD, Diff, Message, Table, View

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# What a browser would fetch, but for what is in the page itself.
EXTERNAL = re.compile(
    r"""(?ix) (?: (?<![\w-])(?:src|href|srcset|action|poster|data) \s*=\s* ["']? | @import\s+["']? | url\(\s*["']? )
    (?!data:|\#) (?P<what>[^"'\s)>]+)"""
)


class Page(HTMLParser):
    """The tags with their attributes, and the text, of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture
def notebook() -> nbformat.NotebookNode:
    view = View(
        [
            Message("kubelet on n1 did not come up", BAD),
            Table("Services", ("Node", "Service"), [("n1", "kubelet"), ("n2", "<script>alert(1)</script>")]),
            Diff(
                "n1: /etc/kubernetes/kubelet.conf", "--- a\n+++ b\n-readOnlyPort: 10255\n+readOnlyPort: 0\n"
            ),
        ]
    )
    shown = v4.new_output("execute_result", {"text/html": view._repr_html_(), "text/plain": str(view)})
    error = v4.new_output(
        "error", ename="NodeError", evalue="x", traceback=["\x1b[31mNodeError\x1b[0m: n1 is away"]
    )
    widget = {"application/vnd.jupyter.widget-view+json": {"model_id": "a", "version_major": 2}}
    slider = v4.new_output("display_data", {**widget, "text/plain": "a slider at 3"})
    return v4.new_notebook(
        cells=[
            v4.new_markdown_cell("# Runbook\n\n| a | b |\n|---|---|\n| one | two |\n\nmath: $x^2$"),
            v4.new_code_cell("run.apply()", execution_count=1, outputs=[shown, error, slider]),
        ],
        metadata={"widgets": {"application/vnd.jupyter.widget-state+json": {"state": {}}}},
    )


def test_nothing_is_fetched_and_no_script_is_there(notebook: nbformat.NotebookNode) -> None:
    text = render(notebook, "a run")
    page = Page(text)
    assert not [tag for tag, _ in page.tags if tag in ("script", "link", "iframe", "object", "embed", "base")]
    assert [found["what"] for found in EXTERNAL.finditer(text)] == []
    assert ("meta", {"http-equiv": "Content-Security-Policy", "content": POLICY}) in page.tags


def test_an_output_that_wants_to_fetch_something_is_forbidden_to(notebook: nbformat.NotebookNode) -> None:
    """Whatever an output holds: the page's own policy comes before it."""
    beacon = '<img src="https://example.org/beacon.png"><script>alert(1)</script>'
    notebook.cells[1].outputs[0].data["text/html"] = beacon
    text = render(notebook, "a run")
    assert text.index(POLICY) < text.index("example.org")
    assert "default-src 'none'" in POLICY
    assert "http" not in POLICY
    assert "base-uri 'none'; form-action 'none'" in POLICY


REFRESH = '<meta http-equiv="refresh" content="0;url=https://example.org/">'
ACTIVE = [
    REFRESH,
    "<META\tHTTP-EQUIV=refresh CONTENT='0;url=//example.org'>",
    '<meta/http-equiv="&#114;efresh"/content="0;url=//example.org">',
    '<meta\n\nhttp-equiv\n=\nrefresh content="0;url=//example.org">',
    f"<svg><foreignObject>{REFRESH}</foreignObject></svg>",
    f"<p title='{REFRESH}'>ok</p>",
    f"<!--> {REFRESH} -->",
    f"<textarea></textarea>{REFRESH}",
    f"<noscript>{REFRESH}</noscript>",
    '<base href="https://example.org/" target="_top">',
    '<link rel="dns-prefetch" href="//example.org"><link rel=preconnect href=//example.org>',
    '<script type="speculationrules">{"prerender": [{"urls": ["//example.org"]}]}</script>',
    '<form action="https://example.org/"><input name=a autofocus><button>ok</button></form>',
    '<iframe srcdoc="&lt;meta http-equiv=refresh content=0&gt;"></iframe>',
    '<object data="//example.org"></object><embed src="//example.org"><applet code=a></applet>',
    '<frameset><frame src="//example.org"></frameset>',
    f"</body></html>{REFRESH}",
    f"<style>a {{}}</style>{REFRESH}<style>",
]


@pytest.mark.parametrize(
    "kind", ["text/html", "text/markdown", "text/vnd.mermaid", "image/svg+xml", "a cell"]
)
def test_nothing_in_an_output_acts_by_itself(notebook: nbformat.NotebookNode, kind: str) -> None:
    if kind == "a cell":
        notebook.cells += [v4.new_markdown_cell(text) for text in ACTIVE]
    else:
        notebook.cells[1].outputs = [v4.new_output("display_data", {kind: text}) for text in ACTIVE]
    tags = Page(render(notebook, "a run")).tags
    active = {"base", "link", "script", "form", "iframe", "frame", "frameset", "object", "embed", "applet"}
    assert not [tag for tag, _ in tags if tag in active]
    metas = [attributes for tag, attributes in tags if tag == "meta"]
    assert sorted(one.get("http-equiv") or "" for one in metas) == ["", "", "Content-Security-Policy"]


@pytest.mark.parametrize("kind", ["text/html", "text/markdown", "text/vnd.mermaid", "a cell"])
def test_nothing_in_an_output_hides_what_comes_after_it(notebook: nbformat.NotebookNode, kind: str) -> None:
    for text in (
        "<style>",
        "<select><STYLE a>",
        "<style></style><style",
        "<!-- ",
        "<textarea>",
        "<plaintext>",
        "<title>",
    ):
        if kind == "a cell":
            notebook.cells.append(v4.new_markdown_cell(text))
        else:
            notebook.cells[1].outputs.append(v4.new_output("display_data", {kind: text}))
    notebook.cells.append(v4.new_markdown_cell("the end of the run"))
    assert "the end of the run" in Page(render(notebook, "a run")).text


STYLES = [
    "<style>.khf {display: none !important}</style>",
    "<STYLE media='all'>\n.khf {opacity: 0}\n</STYLE >",
    "<st<style>a {}</style>yle>.khf {opacity: 0}</style>",
    "<svg><style>.khf {opacity: 0}</style></svg>",
    '<div style="position: fixed; inset: 0; background: white; z-index: 9">done</div>',
    '<div style="position: absolute; top: -4000px; height: 9000px; width: 100%; background: white">done</div>',
    '<div style="margin-top: -4000px; height: 9000px; background: white">done</div>',
]


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_nothing_in_an_output_lies_over_the_first_page(
    notebook: nbformat.NotebookNode, tmp_path: Path
) -> None:
    notebook.cells += [v4.new_markdown_cell(text) for text in STYLES]
    for kind in ("text/html", "text/markdown", "image/svg+xml"):
        notebook.cells[1].outputs += [v4.new_output("display_data", {kind: text}) for text in STYLES]
    path = tmp_path / "page.html"
    path.write_text(render(notebook, "a run", tag("section", "FAILED", class_="khf")), encoding="utf-8")
    with closing(Browser(tmp_path / "profile")) as browser:
        browser.call("Page.navigate", url=path.as_uri())
        browser.until("document.readyState === 'complete' && !!document.querySelector('.khf')")
        seen = browser.value(
            "(() => { const page = document.querySelector('.khf'), at = page.getBoundingClientRect();"
            "const top = document.elementFromPoint(at.left + at.width / 2, at.top + at.height / 2);"
            "return [top === page, getComputedStyle(page).opacity, page.innerText]; })()"
        )
    assert seen == [True, "1", "FAILED"]


def test_a_notebook_without_a_page_is_called_that(notebook: nbformat.NotebookNode) -> None:
    notebook.cells[0].source = "![a](attachment:a.png)"
    with pytest.raises(RecordError, match=r"a page cannot be made of it .*attachment"):
        render(notebook, "a run")


def test_nothing_of_the_notebook_is_missing(notebook: nbformat.NotebookNode) -> None:
    page = Page(render(notebook, "a run"))
    for words in (
        "a run",
        "Runbook",
        "two",
        "run.apply()",
        "kubelet on n1 did not come up",
        "<script>alert(1)</script>",
        "n1: /etc/kubernetes/kubelet.conf",
        "+readOnlyPort: 0",
        "n1 is away",
        "a slider at 3",
    ):
        assert words in page.text


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_a_browser_without_a_network_shows_it_whole(notebook: nbformat.NotebookNode, tmp_path: Path) -> None:
    """The page as the browser has it after loading; a script would have changed it."""
    beacon = '<p id="b">before</p><script>document.getElementById("b").textContent = "script ran"</script>'
    notebook.cells[1].outputs.append(v4.new_output("display_data", {"text/html": beacon}))
    path = tmp_path / "page.html"
    path.write_text(render(notebook, "a run"), encoding="utf-8")
    done = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--dump-dom",
            "--disable-background-networking", f"--user-data-dir={tmp_path}/profile",
            "--host-resolver-rules=MAP * ~NOTFOUND", path.as_uri(),
        ],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    page = Page(done.stdout)
    assert "kubelet on n1 did not come up" in page.text
    assert "n1 is away" in page.text
    assert "before" in page.text
    assert '.textContent = "script ran"' in done.stdout
    assert '<p id="b">before</p>' in done.stdout
