"""What people read is true: links lead somewhere, commands were run, and what the code says is what it says now."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

import kubeharden
from documents.api import PUBLIC, public_names
from documents.pages import error_parts, error_tree, made_anew
from documents.pages import pages as made_pages
from kubeharden import errors
from kubeharden.releases import FIRST, LAST
from pages import Block, anchors, blocks, links, pages
from support import ROOT

PAGES = pages()
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FOLLOWED = ("append", "change", "file")  # what a how-to does to a copy of the project
COMMANDS = {"sh", "shell", "bash", "console", "yaml"}


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in links(page):
        path, _, anchor = link.partition("#")
        target = (page.parent / path).resolve() if path else page
        assert target.exists(), f"{page.name}: {link}"
        assert target.is_relative_to(ROOT)
        if anchor:
            assert target.suffix == ".md", f"{page.name}: {link}"
            assert anchor in anchors(target), f"{page.name}: {link}"


def test_every_page_can_be_reached_from_the_readme() -> None:
    todo, seen = [ROOT / "README.md"], set[Path]()
    while todo:
        page = todo.pop()
        if page not in seen:
            seen.add(page)
            targets = [(page.parent / link.partition("#")[0]).resolve() for link in links(page)]
            todo += [target for target in targets if target.suffix == ".md"]
    assert {str(p.relative_to(ROOT)) for p in PAGES} <= {str(p.relative_to(ROOT)) for p in seen}


@pytest.mark.parametrize("name", ["README.md", "docs/library.md"])
def test_the_releases_that_a_page_names_are_those_of_the_tables(name: str) -> None:
    assert f"{FIRST} to {LAST}" in (ROOT / name).read_text()


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 150


def marked() -> list[tuple[Path, Block]]:
    return [(page, block) for page in PAGES for block in blocks(page) if block.language in COMMANDS]


@pytest.mark.parametrize(
    ("page", "block"), marked(), ids=[f"{page.name}:{block.line}" for page, block in marked()]
)
def test_every_command_is_run_or_it_says_why_not(page: Path, block: Block) -> None:
    """``run``: by test_pages_run.py. ``run by FILE``: that file names the page, or has the command."""
    kind, _, rest = block.mark.partition(": ")
    if kind.startswith("run by "):
        reader = (ROOT / kind.removeprefix("run by ")).read_text()
        commands = [line.split("  #")[0].strip() for line in block.text.splitlines() if line.strip()]
        assert page.stem in reader or all(re.sub(r"\s+", " ", command) in reader for command in commands)
    elif kind == "not run":
        assert len(rest) > 10, "say why"
    elif kind in FOLLOWED:
        assert (ROOT / rest).parent.is_dir() or page.parent.name == "howto"
    else:
        assert kind == "run", f"{page.name}:{block.line}: say which test runs this, or why none does"


@pytest.mark.parametrize("page", made_pages(), ids=lambda page: page.name)
def test_what_a_page_has_from_the_code_is_what_the_code_says(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert made_anew(text) == text, "run: make pages"


def test_a_part_that_is_changed_by_hand_is_made_anew() -> None:
    page = ROOT / "docs" / "parameters.md"
    text = page.read_text()
    assert made_anew(text.replace("`max_failures`", "`most_failures`")) == text


@pytest.mark.parametrize("error", list(error_tree(errors.KubehardenError)), ids=lambda error: error.__name__)
def test_every_error_says_its_causes_and_the_way_out(error: type[errors.KubehardenError]) -> None:
    assert all(error_parts(error))
    assert error.__name__.lower() in anchors(ROOT / "docs" / "errors.md")
    assert f" {error.__name__} " in (errors.__doc__ or "").replace("\n", " "), "its place in the tree"


@pytest.mark.parametrize("module", list(PUBLIC))
def test_public_names_are_there_and_have_a_place_in_the_reference(module: str) -> None:
    names, found = public_names(module), importlib.import_module(module)
    assert names
    assert set(names) <= set(found.__all__)
    assert {name.lower() for name in names} <= anchors(ROOT / "docs" / "api.md")
    assert all(getattr(found, name).__doc__ for name in names)


def test_what_notebooks_call_is_what_the_reference_has_of_a_run_and_of_records() -> None:
    code = "".join(path.read_text() for path in (ROOT / "notebooks").glob("[!o]*.ipynb"))
    called = {
        ("Run" if of == "run" else "Records", name) for of, name in re.findall(r"\b(run|past)\.(\w+)\(", code)
    }
    listed = re.findall(r"^#### (Run|Records)\.(\w+)", (ROOT / "docs" / "api.md").read_text(), re.MULTILINE)
    assert called == set(listed)


def test_every_error_is_public() -> None:
    names = {error.__name__ for error in error_tree(errors.KubehardenError)}
    assert names == set(errors.__all__)
    assert names <= set(kubeharden.__all__)
