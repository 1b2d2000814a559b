"""Each how-to is followed to the letter, in a copy of the project: its files, its changes and its commands."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from pages import blocks
from support import ROOT

HOWTOS = ROOT / "docs" / "howto"
COPIED = (
    "lib", "notebooks", "parameters", "tools", "tests/support", "tests/conftest.py", "tests/test_project.py",
    "pyproject.toml",
)  # fmt: skip


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A copy of the parts of the project that a how-to changes or uses."""
    for name in COPIED:
        source, target = ROOT / name, tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "out*.ipynb"))
        else:
            shutil.copy(source, target)
    (tmp_path / "tests/fixtures").symlink_to(ROOT / "tests/fixtures")
    (tmp_path / "outputs").mkdir()
    return tmp_path


def follow(page: Path, project: Path, *, commands: bool = True) -> str:
    """Do what a page says, with its commands or without them; return what they printed."""
    printed = ""
    for block in blocks(page):
        kind, _, name = block.mark.partition(": ")
        if kind == "file":
            (project / name).parent.mkdir(parents=True, exist_ok=True)
            (project / name).write_text(block.text)
        elif kind == "append":
            with (project / name).open("a") as file:
                file.write(f"\n{block.text}")
        elif kind == "change":
            (project / name).write_text(changed((project / name).read_text(), block.text))
        elif block.mark == "run by tests/test_howtos.py" and commands:
            printed += run(block.text, project)
    return printed


def changed(text: str, change: str) -> str:
    """Return a text with the changes of a diff without line numbers, in which ``...`` parts what is apart."""
    for part in change.split("...\n"):
        lines = part.splitlines()
        old = "".join(f"{line[1:]}\n" for line in lines if line[:1] in "- ")
        new = "".join(f"{line[1:]}\n" for line in lines if line[:1] in "+ ")
        assert text.count(old) == 1, f"the page's change does not fit any more:\n{old}"
        text = text.replace(old, new)
    return text


def run(commands: str, project: Path) -> str:
    done = subprocess.run(
        ["sh", "-euc", commands],
        cwd=project,
        env={
            **{name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")},
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(project / "lib"),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


NAMES = ["check", "connection", "kind-of-run", "step"]


def passes_its_tests(name: str, project: Path) -> None:
    assert " passed" in follow(HOWTOS / f"{name}.md", project)


def passes_make_lint(project: Path) -> None:
    """Each of them ends with it. Of mypy, the files that they add and change are enough."""
    before = {path: path.read_bytes() for path in (project / "lib").rglob("*.py")}
    for name in NAMES:
        follow(HOWTOS / f"{name}.md", project, commands=False)
    (project / "census.py").unlink()  # its page makes a notebook of it
    new = [p for p in (project / "lib").rglob("*.py") if before.get(p) != p.read_bytes()]
    files = " ".join(str(path.relative_to(project)) for path in new)
    run(
        f"ruff check lib tests && ruff format --check lib tests && mypy --follow-imports=silent {files}",
        project,
    )


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "check", [*(partial(passes_its_tests, name) for name in NAMES), passes_make_lint], ids=[*NAMES, "lint"]
)
def test_what_the_how_tos_add_passes(check: Callable[[Path], None], project: Path) -> None:
    check(project)


def test_a_change_that_fits_no_more_is_found() -> None:
    with pytest.raises(AssertionError, match="does not fit any more"):
        changed("one\ntwo\n", "-three\n+four\n")
    assert changed("one\ntwo\n", " one\n+and\n...\n-two\n") == "one\nand\n"
