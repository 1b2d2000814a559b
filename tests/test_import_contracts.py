"""Each import contract goes red for an import that it is there to prevent."""

from __future__ import annotations

import configparser
import itertools
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# module, an import that it must not have, and the contract that says so
FORBIDDEN = (
    ("kubeharden/components/flags.py", "import kubeharden.plan", "layers"),
    ("kubeharden/records/journal.py", "import kubeharden.rollout", "layers"),
    ("kubeharden/errors.py", "import kubeharden.show.display", "pure"),
    ("kubeharden_rehearsal/admission.py", "import kubeharden.edges", "pure"),
    ("kubeharden/plan/model.py", "import subprocess", "machines"),
    ("kubeharden/facts/parser.py", "from time import sleep", "machines"),
    ("kubeharden/inputs/sources.py", "import kubeharden_rehearsal", "rehearsal"),
    ("kubeharden/runbook.py", "import kubeharden_fleet", "fleet"),
    ("kubeharden_fleet/windows.py", "import kubeharden_fleet.judge", "fleet_layers"),
    ("kubeharden_fleet/records.py", "from airflow.sdk import DAG", "airflow"),
    ("kubeharden_fleet/judge.py", "import kubeharden.records.archive", "pure"),
    ("kubeharden_rehearsal/api/store.py", "import kubeharden_rehearsal.machine", "rehearsal_layers"),
    ("kubeharden/rollout/order.py", "import paramiko", "ssh"),
    ("kubeharden/edges/observe.py", "from fabric import Connection", "ssh"),
    ("kubeharden/edges/nodes/ssh.py", "from kubernetes import client", "kubernetes"),
    ("kubeharden/runs/run.py", "import urllib3", "kubernetes"),
    ("kubeharden/show/display.py", "from IPython.display import HTML", "jupyter"),
    ("kubeharden/records/folder.py", "import nbformat", "jupyter"),
    ("kubeharden/records/folder.py", "import boto3", "s3"),
    ("kubeharden/show/views.py", "import jinja2", "rendering"),
    ("kubeharden/edges/nodes/ssh.py", "import asyncssh", "servers"),
    ("kubeharden/edges/nodes/ssh.py", "import invoke", "nobody"),
    ("kubeharden/cli.py", "import requests", "nobody"),
)


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """A copy of lib/."""
    copy = tmp_path / "lib"
    shutil.copytree(
        ROOT / "lib", copy, ignore=shutil.ignore_patterns("__pycache__", "scenarios", "*.egg-info")
    )
    return copy


def contracts() -> dict[str, str]:
    config = configparser.ConfigParser()
    config.read(ROOT / ".importlinter")
    sections = (name for name in config.sections() if name.startswith("importlinter:contract:"))
    return {name.rpartition(":")[2]: config[name]["name"] for name in sections}


def lint(library: Path) -> str:
    command = [
        Path(sys.executable).with_name("lint-imports"),
        "--config",
        ROOT / ".importlinter",
        "--no-cache",
    ]
    environment = {**os.environ, "PYTHONPATH": str(library), "COLUMNS": "500"}
    done = subprocess.run(command, cwd=library, env=environment, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def broken(output: str) -> set[str]:
    return {key for key, name in contracts().items() if f"{name} BROKEN" in output}


def test_every_contract_prevents_what_it_says(library: Path) -> None:
    for module, line, _ in FORBIDDEN:
        with (library / module).open("a") as file:
            file.write(f"\n{line}\n")
    output = lint(library)
    assert broken(output) == {key for _, _, key in FORBIDDEN} == set(contracts())
    for module, line, key in FORBIDDEN:
        importer = ".".join(Path(module).with_suffix("").parts)
        imported = line.split()[1] if "kubeharden" in line else line.split()[1].partition(".")[0]
        parts = re.split(r"\n-+\n", output.partition("Broken contracts")[2])
        [found] = [text for name, text in itertools.pairwise(parts) if name.endswith(contracts()[key])]
        assert re.search(rf"{re.escape(importer)} -> {re.escape(imported)}\b", found), (module, line)


def test_a_new_package_has_no_place_and_is_pure_until_it_is_named(library: Path) -> None:
    package = library / "kubeharden" / "cellar"
    package.mkdir()
    (package / "__init__.py").write_text("import kubeharden.edges.nodes\nimport time\n")
    assert broken(lint(library)) == {"layers", "pure", "machines"}


def test_no_contract_has_exemptions() -> None:
    assert "ignore_imports" not in (ROOT / ".importlinter").read_text()
