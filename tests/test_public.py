"""What is public has a list and exports nothing else; what is private says so; users are shown public names only."""

from __future__ import annotations

import ast
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from documents.api import PUBLIC
from pages import blocks, pages
from support import ROOT

LIBRARY = ROOT / "lib"
PACKAGES = ("kubeharden", "kubeharden_fleet", "kubeharden_rehearsal")
# Engineers work inside the package: their pages show its private parts.
FOR_ENGINEERS = {"ARCHITECTURE.md", "CONTRIBUTING.md", "docs/internals.md"}


def modules() -> Iterator[tuple[str, Path]]:
    for package in PACKAGES:
        for path in sorted((LIBRARY / package).glob("**/*.py")):
            name = ".".join(path.relative_to(LIBRARY).with_suffix("").parts)
            yield name.removesuffix(".__init__"), path


MODULES = dict(modules())


def says_private(name: str) -> bool:
    return (ast.get_docstring(ast.parse(MODULES[name].read_text())) or "").startswith("Private. ")


def with_those_around(name: str) -> list[str]:
    parts = name.split(".")
    return [".".join(parts[:count]) for count in range(1, len(parts) + 1)]


def exported(module: ModuleType) -> set[str]:
    """All that can be imported from a module by a name without an underscore, but for modules below it."""
    return {
        name
        for name in dir(module)
        if not name.startswith("_")
        and not (
            isinstance(thing := getattr(module, name), ModuleType)
            and thing.__name__.startswith(f"{module.__name__}.")
        )
    }


@pytest.mark.parametrize("name", PUBLIC)
def test_a_public_module_exports_what_it_lists_and_nothing_else(name: str) -> None:
    module = importlib.import_module(name)
    assert exported(module) == {each for each in module.__all__ if not each.startswith("_")}


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_public_or_it_or_a_package_around_it_says_that_it_is_private(name: str) -> None:
    assert (name in PUBLIC) != any(says_private(each) for each in with_those_around(name))


@pytest.mark.parametrize("package", PACKAGES)
def test_each_package_is_typed(package: str) -> None:
    assert (LIBRARY / package / "py.typed").exists()


def shown() -> Iterator[tuple[str, str]]:
    """The Python that users are shown: cells of notebooks, and blocks of pages."""
    for path in sorted((ROOT / "notebooks").glob("[!o]*.ipynb")):
        cells = json.loads(path.read_text())["cells"]
        code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
        yield path.name, re.sub(r"^[%!].*$", "", code, flags=re.MULTILINE)
    for page in pages():
        name = str(page.relative_to(ROOT))
        if page.parent.name != "howto" and name not in FOR_ENGINEERS:
            for block in blocks(page):
                if block.language == "python" and "import " in block.text:
                    yield f"{name}:{block.line}", block.text


SHOWN = list(shown())


def private_names(code: str) -> Iterator[str]:
    """Each name of ours that some code imports and that is not public."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            yield from (a.name for a in node.names if _is_ours(a.name) and a.name not in PUBLIC)
        elif isinstance(node, ast.ImportFrom) and _is_ours(node.module or ""):
            module = node.module or ""
            listed = importlib.import_module(module).__all__ if module in PUBLIC else ()
            names = ((alias.name, f"{module}.{alias.name}") for alias in node.names)
            yield from (whole for name, whole in names if name not in listed and whole not in PUBLIC)


def _is_ours(module: str) -> bool:
    return module.partition(".")[0] in PACKAGES


@pytest.mark.parametrize(("where", "code"), SHOWN, ids=[where for where, _ in SHOWN])
def test_users_are_shown_public_names_only(where: str, code: str) -> None:
    assert list(private_names(code)) == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("import kubeharden.plan", "kubeharden.plan"),
        ("from kubeharden.plan import model", "kubeharden.plan.model"),
        ("from kubeharden import errors", "kubeharden.errors"),
        ("from kubeharden.podsecurity import impact", "kubeharden.podsecurity.impact"),
        ("from kubeharden_rehearsal import Rehearsal", "kubeharden_rehearsal.Rehearsal"),
    ],
)
def test_a_private_name_is_found(code: str, found: str) -> None:
    assert list(private_names(code)) == [found]


def test_there_is_something_to_look_at() -> None:
    places = {where.partition(":")[0] for where, _ in SHOWN}
    assert {"harden.ipynb", "records.ipynb", "docs/library.md", "docs/fleet.md"} <= places
