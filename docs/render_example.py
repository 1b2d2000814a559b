"""Run the runbook on the rehearsal cluster article-1.10 and render it: the executed example of the docs.

    python docs/render_example.py

Writes docs/harden-article-1.10.html, which opens without a network. Where Chromium is installed, it also takes
docs/harden.png, the picture in the README.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat

from kubeharden.records.html import render

DOCS = Path(__file__).resolve().parent
NOTEBOOK = DOCS.parent / "notebooks" / "harden.ipynb"
HTML = DOCS / "harden-article-1.10.html"
PICTURE = DOCS / "harden.png"
PAGE = "harden on article-1.10"
PICTURED = (
    "kubelet-intent",
    "kubelet-show",
    "kubelet-apply-intent",
    "kubelet-apply",
    "prove-intent",
    "prove",
)
PARAMETERS = {
    "dns_ip": "10.0.0.10",
    "cluster_cidr": "10.32.0.0/16",
    "change_id": "CHG-1024",
    "reason": "flags to config files, and pod security, as the article does it by hand",
}


def execute(folder: Path) -> Path:
    """Execute the notebook in ``folder`` and return its path."""
    out = folder / "harden.ipynb"
    words = [word for name, value in PARAMETERS.items() for word in ("-r", name, value)]
    folders = ["-r", "output_dir", str(folder / "outputs"), "-r", "rehearsal_dir", str(folder / "rehearsal")]
    subprocess.run(
        [sys.executable, "-m", "papermill", NOTEBOOK, out, *words, *folders, "--no-progress-bar"], check=True
    )
    return out


def photograph(notebook: nbformat.NotebookNode, folder: Path) -> None:
    """Take the picture of the README, where Chromium is installed."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.stderr.write("no chromium here: docs/harden.png is left as it is\n")
        return
    notebook.cells = [cell for cell in notebook.cells if cell.id in PICTURED]
    page = folder / "picture.html"
    page.write_text(render(notebook, PAGE), encoding="utf-8")
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            "--window-size=1280,1900", f"--screenshot={PICTURE}", page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="kubeharden-docs-") as scratch:
        executed = nbformat.read(execute(Path(scratch)), as_version=4)
        HTML.write_text(render(executed, PAGE), encoding="utf-8")
        photograph(executed, Path(scratch))
