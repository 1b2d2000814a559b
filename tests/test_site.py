"""The site is put together from the pages, and what is wrong in it is found; make docs builds it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from browser import Browser, missing_browser
from documents import site
from pages import pages
from support import ROOT

NAV = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text())["project"]["nav"]


def listed(entry: object) -> Iterator[str]:
    if isinstance(entry, str):
        yield entry
    for each in entry.values() if isinstance(entry, dict) else entry if isinstance(entry, list) else ():
        yield from listed(each)


def test_every_page_has_a_place_in_the_navigation() -> None:
    names = {site.site_name(str(page.relative_to(ROOT))) for page in pages()}
    assert names - set(listed(NAV)) == {"outputs.md"}
    assert set(listed(NAV)) - names == {"examples.md"}


def test_links_lead_to_where_the_site_has_their_targets() -> None:
    text = "[a](../records.md#approval) [b](../../tests/test_site.py) [c](https://x.org/y.md) `[d](e.md)` [f](#g)\n"
    assert site.Stage().rewritten("docs/howto/step.md", text) == (
        "[a](../records.md#approval) [b](../source/tests/test_site.py.md) [c](https://x.org/y.md) `[d](e.md)` [f](#g)\n"
    )
    assert site.Stage().rewritten("README.md", "![p](docs/pictures/course.png) [l](LICENSE)") == (
        "![p](pictures/course.png) [l](source/LICENSE.md)"
    )


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ('<a href="gone.html">x</a>', "index.html: gone.html leads nowhere"),
        ('<a href="other.html#no">x</a>', "index.html: other.html#no has no such place there"),
        ('<script src="https://cdn.example/x.js"></script>', "index.html: loads https://cdn.example/x.js"),
        ('<link rel="stylesheet" href="//cdn.example/x.css">', "index.html: loads //cdn.example/x.css"),
        ('<a href="other.html#there">x</a><a href="https://example.org">y</a>', None),
    ],
)
def test_what_is_wrong_in_a_site_is_found(tmp_path: Path, body: str, found: str | None) -> None:
    (tmp_path / "index.html").write_text(body)
    (tmp_path / "other.html").write_text('<h2 id="there">x</h2>')
    assert list(site.faults(tmp_path)) == ([found] if found else [])


@pytest.mark.skipif(bool(missing_browser()), reason=missing_browser() or "there is one")
def test_a_long_command_is_read_whole_and_copied_as_one_line(tmp_path: Path) -> None:
    command = "papermill notebooks/rollback.ipynb outputs/back.ipynb -p record CHG-4711 " * 3
    style = "<style>pre > code {display: block; overflow: auto;}</style>"  # as Zensical's
    sheet = f'<link rel="stylesheet" href="{(ROOT / "docs/site.css").as_uri()}">'
    page = tmp_path / "page.html"
    page.write_text(f'{style}{sheet}<div class="md-typeset"><pre><code>{command}</code></pre></div>')
    with closing(Browser(tmp_path / "profile", width=700)) as browser:
        browser.call("Page.navigate", url=page.as_uri())
        browser.until("document.readyState === 'complete' && !!document.querySelector('code')")
        assert browser.value("(c => c.scrollWidth <= c.clientWidth)(document.querySelector('code'))")
        assert browser.value("document.querySelector('code').innerText").count("\n") == 0


def test_a_font_from_elsewhere_is_found(tmp_path: Path) -> None:
    (tmp_path / "x.css").write_text("@font-face { src: url('https://fonts.example/x.woff2') }")
    assert list(site.faults(tmp_path)) == ["x.css: loads https://fonts.example/x.woff2"]


def test_the_lock_of_the_site_has_hashes_and_names_no_index() -> None:
    lock = (ROOT / "docs" / "requirements.lock").read_text()
    entries = re.split(r"\n(?=[a-z0-9])", lock)
    assert any(entry.startswith("zensical==") for entry in entries)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert "://" not in lock
