"""Take the pictures of the docs: the first page of a record, the course of a run, the register.

Two runs of the rehearsal cluster article-1.10 and one of containerd-1.24 are carried out and sealed for it, with a key
of their own. Needs Chromium. Each picture is in docs/pictures/ and has less than 200 kB.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from documents.examples import Example, execute, make_key

ROOT = Path(__file__).resolve().parents[2]
PICTURES = ROOT / "docs" / "pictures"
MOST_BYTES = 200_000
LIGHT, DARK = "1", "0"  # preferredColorScheme of Blink
DNS = {"dns_ip": "10.0.0.10"}
RUNS = (
    Example(
        "change",
        "harden",
        "article-1.10",
        "its first page, and the course of it",
        {
            **DNS,
            "change_id": "CHG-4711",
            "reason": "flags to config files, and pod security, as the article does it by hand",
            "requester": "Mia Tanaka, platform",
            "change_kind": "normal",
            "risk": "a kubelet that does not become Ready; its node puts the old files back by itself",
            "back_out": "rollback.ipynb with this record",
        },
    ),
    Example(
        "again",
        "harden",
        "article-1.10",
        "a row of the register",
        {**DNS, "change_id": "CHG-4712", "mode": "plan", "reason": "nothing is left to do"},
    ),
    Example(
        "staging",
        "harden",
        "containerd-1.24",
        "a row of the register",
        {**DNS, "change_id": "CHG-4713", "change_kind": "standard", "reason": "staging"},
    ),
)


@dataclass(frozen=True)
class Picture:
    """A picture of a page.

    Attributes:
        name: of its file.
        page: which one: ``first`` or ``register``.
        width: CSS pixels, like ``height``.
        theme: ``LIGHT`` or ``DARK``.
        part: a style that shows only a part of the page; empty for its beginning.
    """

    name: str
    page: str
    width: int
    height: int
    theme: str
    part: str = ""


# The course alone: everything before it is left out.
_COURSE = ".khf > :not(h2, .khf-course, details), main > :not(.khf) {display: none;} .khf {padding-top: 0;}"
TAKEN = (
    Picture("first-page", "first", 1280, 720, LIGHT),
    Picture("first-page-dark", "first", 900, 760, DARK),
    Picture("course", "first", 900, 420, LIGHT, _COURSE),
    Picture("course-dark", "first", 900, 420, DARK, _COURSE),
    Picture("register", "register", 1280, 500, LIGHT),
    Picture("register-dark", "register", 900, 620, DARK),
)


def carry_out(folder: Path) -> Path:
    """Carry out the runs and seal them; return the folder of runs, with its register."""
    key, runs = make_key(folder), folder / "outputs"
    for run in RUNS:
        execute(run, folder, key)
    signers = folder / "signers"
    signers.write_text(f"ann@example.org {key.with_suffix('.pub').read_text()}")
    subprocess.run(
        [sys.executable, "-m", "kubeharden", "register", runs, "--allowed-signers", signers], check=True
    )
    return runs


def photograph(picture: Picture, runs: Path, folder: Path, chromium: str) -> None:
    """Take one picture; it ends the program where the picture is too big."""
    first = min(path for path in (runs / "register").glob("*.html") if not path.name.endswith(".before.html"))
    text = (runs / "index.html" if picture.page == "register" else first).read_text(encoding="utf-8")
    page, out = folder / f"{picture.name}.html", PICTURES / f"{picture.name}.png"
    page.write_text(text.replace("</head>", f"<style>{picture.part}</style></head>", 1), encoding="utf-8")
    subprocess.run(
        [
            chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--hide-scrollbars",
            "--disable-background-networking", f"--user-data-dir={folder}/profile",
            f"--blink-settings=preferredColorScheme={picture.theme}",
            f"--window-size={picture.width},{picture.height}", f"--screenshot={out}", page.as_uri(),
        ],
        check=True,
        capture_output=True,
    )  # fmt: skip
    if out.stat().st_size > MOST_BYTES:
        sys.exit(f"{out}: has {out.stat().st_size} bytes, more than {MOST_BYTES}")


def main() -> None:
    """Take all pictures."""
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("no chromium here: the pictures stay as they are")
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="kubeharden-docs-") as scratch:
        runs = carry_out(Path(scratch))
        for picture in TAKEN:
            photograph(picture, runs, Path(scratch), chromium)


if __name__ == "__main__":
    main()
