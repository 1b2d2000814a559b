"""The project's own promises: environments in step, notebooks clean, documents true."""

from __future__ import annotations

import ast
import itertools
import json
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from papermill.cli import papermill
from pydantic import BaseModel

from kubeharden.edges.nodes.session import SCRIPTS, script_text
from kubeharden.inputs.parameters import Parameters
from kubeharden.runs.kinds import KINDS, kind_named

ROOT = Path(__file__).parents[1]
NOTEBOOKS = sorted((ROOT / "notebooks").glob("[!o]*.ipynb"))
# conda-forge's name, where it is not PyPI's
CONDA_NAMES = {"kubernetes": "python-kubernetes"}


def requirements() -> dict[str, str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return dict(_split(text) for text in project["dependencies"])


def _split(text: str) -> tuple[str, str]:
    match = re.fullmatch(r"([A-Za-z0-9_.-]+)(?:\[[a-z0-9,-]+\])?(.*)", text)
    assert match
    return match[1].lower(), match[2].replace(" ", "")


def test_environment_yml_is_in_step_with_pyproject() -> None:
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = dict(_split(text) for text in environment if isinstance(text, str))
    wanted = {CONDA_NAMES.get(name, name): bound for name, bound in requirements().items()}
    python = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["requires-python"]
    assert conda == {**wanted, "python": python, "pip": ""}
    assert {"pip": ["-e ."]} in environment


def test_the_lock_has_every_requirement_with_hashes_and_names_no_index() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    locked = set(re.findall(r"^([a-z0-9_.-]+)==", lock, re.MULTILINE))
    dev = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]["dev"]
    assert {*requirements(), *(_split(text)[0] for text in dev)} <= locked
    entries = re.split(r"\n(?=[a-z0-9])", lock)
    assert all("--hash=sha256:" in entry for entry in entries if "==" in entry)
    assert "://" not in lock


def test_airflow_is_in_the_lock_of_the_fleet_and_never_in_the_main_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    lock = (ROOT / "lib/kubeharden_fleet/requirements.lock").read_text()
    assert {_split(text)[0] for text in extras["fleet"]} <= set(
        re.findall(r"^([a-z0-9_.-]+)==", lock, re.MULTILINE)
    )
    assert all("--hash=sha256:" in entry for entry in re.split(r"\n(?=[a-z0-9])", lock) if "==" in entry)
    assert "://" not in lock
    assert "apache-airflow" not in (ROOT / "requirements.lock").read_text()


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda p: p.name)
def test_notebooks_are_prose_and_verbs(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    assert all(cell["outputs"] == [] and cell["execution_count"] is None for cell in code)
    # papermill knows one cell with parameters, so that one is as long as they are many: a line each.
    verbs = [cell for cell in code if "parameters" not in cell["metadata"].get("tags", [])]
    assert max(len(cell["source"]) for cell in verbs) <= 15
    assert sum(len(cell["source"]) for cell in code) <= 70
    for before, cell in itertools.pairwise(cells):
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "parameters" not in cell["metadata"].get("tags", []):
            assert before["cell_type"] == "markdown", "an action without a stated expectation"
            if "apply" in source or "look" in source or "prove" in source:
                assert "**Expect**" in "".join(before["source"])
        if cell["cell_type"] == "code":
            tree = ast.parse(source)
            logic = (ast.If, ast.For, ast.While, ast.Try, ast.FunctionDef, ast.With)
            assert not any(isinstance(node, logic) for node in ast.walk(tree))


def parameters_cell(notebook: str = "harden.ipynb") -> list[tuple[str, str, str]]:
    cells = json.loads((ROOT / "notebooks" / notebook).read_text())["cells"]
    [source] = ["".join(c["source"]) for c in cells if "parameters" in c["metadata"].get("tags", [])]
    return re.findall(r"^(\w+): (?:str|list|int|bool) = (\S+)  # (.+)$", source, re.MULTILINE)


def defaults(model: type[BaseModel]) -> dict[str, object]:
    return {name: field.default for name, field in model.model_fields.items()}


def test_the_parameters_cell_and_the_library_name_the_same_parameters() -> None:
    cell = {name: ast.literal_eval(default) for name, default, _ in parameters_cell()}
    library = defaults(Parameters)
    assert cell.keys() == library.keys()
    lists = {name for name, default in cell.items() if default == []}
    assert lists == {"steps", "nodes", "accept_breaking"}
    assert {k: v for k, v in cell.items() if k not in lists} == {
        k: v for k, v in library.items() if k not in lists
    }


@pytest.mark.parametrize("name", [kind.name for kind in KINDS if kind.name != "harden"])
def test_the_parameters_cell_of_every_kind_of_run_has_its_parameters(name: str) -> None:
    cell = {n: ast.literal_eval(default) for n, default, _ in parameters_cell(f"{name}.ipynb")}
    assert {n: tuple(value) if isinstance(value, list) else value for n, value in cell.items()} == defaults(
        kind_named(name).parameters_model
    )
    # Their order is that of harden.ipynb; what is the kind's own comes first.
    order = [n for n, _, _ in parameters_cell() if n in cell]
    assert list(cell) == [*(n for n in cell if n not in order), *order]


def test_papermill_shows_every_parameter_with_its_type_and_help() -> None:
    done = CliRunner().invoke(papermill, ["--help-notebook", str(ROOT / "notebooks/harden.ipynb")])
    assert done.exit_code == 0, done.output
    shown = done.output
    for name, _, text in parameters_cell():
        assert re.search(rf"{name}: (str|list|int|bool)", shown)
        assert text[:30] in shown


def test_the_glossary_has_each_term_once_in_order_and_none_that_it_forbids() -> None:
    text = (ROOT / "docs" / "glossary.md").read_text()
    entries = re.findall(r"^- \*\*(.+?)\*\*: (.+?)(?=^- |\Z)", text, re.MULTILINE | re.DOTALL)
    assert len(entries) == text.count("\n- ") > 40
    terms = [term for term, _ in entries]
    assert terms == sorted(set(terms))
    forbidden = {
        word
        for _, entry in entries
        for words in re.findall(r"Not: ([^.]+)\.", entry)
        for word in re.split(r",\s+", words)
    }
    assert forbidden.isdisjoint(terms)
    compared = {
        " ".join(term.split())
        for _, entry in entries
        for term in re.findall(r"Compare \*(.+?)\*", entry, re.DOTALL)
    }
    assert compared <= set(terms)


def test_scripts_are_read_by_every_shell_and_pass_shellcheck(tmp_path: Path) -> None:
    """A script that is made of several files is judged as a whole, as it runs."""
    scripts = [ROOT / ".ci/run", *ROOT.glob("tests/lab/*.sh"), *ROOT.glob("tests/bench/stubs/*")]
    of_nodes = [tmp_path / name for name in SCRIPTS]
    for path in of_nodes:
        path.write_text(script_text(path.name))
    of_nodes += [ROOT / "lib/kubeharden/edges/nodes/loader.sh", *ROOT.glob("lib/kubeharden_rehearsal/*.sh")]
    for shell in (["dash"], ["bash"], ["busybox", "sh"]):
        for script in of_nodes if shutil.which(shell[0]) else ():
            subprocess.run([*shell, "-n", script], check=True)
    shellcheck = [Path(sys.executable).with_name("shellcheck"), f"--rcfile={ROOT / '.shellcheckrc'}"]
    subprocess.run([*shellcheck, *scripts], check=True)
    subprocess.run([*shellcheck, "--shell=dash", *of_nodes], check=True)
