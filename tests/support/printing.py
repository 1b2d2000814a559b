"""Pages printed by a real browser, and what can be read on the paper."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
needs_printer = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("pdftotext") is None,
    reason="chromium or pdftotext (poppler-utils) is not installed",
)
_WORD = re.compile(r'<word xMin="([-\d.]+)" yMin="[-\d.]+" xMax="([-\d.]+)" yMax="[-\d.]+">')
_PAGE = re.compile(r'<page width="([\d.]+)"')


def print_page(page: Path, folder: Path) -> Path:
    """Print a page as a browser does; the PDF."""
    paper = folder / f"{page.stem}.pdf"
    subprocess.run(
        [
            str(CHROMIUM), "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            "--host-resolver-rules=MAP * ~NOTFOUND", f"--print-to-pdf={paper}", page.as_uri(),
        ],
        capture_output=True, timeout=120, check=True,
    )  # fmt: skip
    return paper


def text_of(paper: Path, *words: str) -> str:
    """The text of a PDF, page after page with a form feed between them."""
    command = ["pdftotext", "-layout", *words, paper, "-"]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


def beyond_the_edge(paper: Path) -> list[str]:
    """The words of a PDF that are not whole on their page."""
    command = ["pdftotext", "-bbox", paper, "-"]
    boxes = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    wrong, width = [], 0.0
    for line in boxes.splitlines():
        if page := _PAGE.search(line):
            width = float(page[1])
        if (word := _WORD.search(line)) and not (float(word[1]) >= 0 and float(word[2]) <= width):
            wrong.append(line)
    return wrong
