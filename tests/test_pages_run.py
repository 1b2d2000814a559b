"""The commands of a page that are marked ``run`` are run, one after the other, as somebody who reads it would."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kubeharden_rehearsal import Rehearsal
from pages import blocks, pages
from record_support import make_key
from support import ROOT

WALKED = [page for page in pages() if any(block.mark == "run" for block in blocks(page))]


@pytest.fixture
def project(article: Rehearsal, tmp_path: Path) -> Path:
    """A project whose inventory parameters/lab.yaml is a rehearsal cluster, and a person with an SSH key."""
    for name in ("notebooks", "parameters"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("out*.ipynb"))
    (tmp_path / "outputs").mkdir()
    text = article.inventory.read_text()
    for name in ("kubeconfig", "identity_file", "known_hosts"):
        text = text.replace(f"{name}: ", f"{name}: {article.inventory.parent}/", 1)
    (tmp_path / "parameters" / "lab.yaml").write_text(text)
    ssh = tmp_path / "home" / ".ssh"
    ssh.mkdir(parents=True, mode=0o700)
    make_key(ssh, "id_ed25519")
    return tmp_path


@pytest.mark.sample(2)
@pytest.mark.parametrize("page", WALKED, ids=lambda page: page.name)
def test_the_commands_of_a_page_do_what_it_says(page: Path, project: Path) -> None:
    commands = "".join(block.text for block in blocks(page) if block.mark == "run")
    done = subprocess.run(
        ["sh", "-euc", commands],
        cwd=project,
        env={
            **os.environ,
            "HOME": str(project / "home"),
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": os.pathsep.join((str(ROOT / "lib"), os.environ.get("PYTHONPATH", ""))),
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    for block in blocks(page):
        if block.language == "console":
            assert rows(block.text) <= rows(done.stdout), "what the page shows was printed by another version"


def rows(printed: str) -> set[str]:
    """The names of rows and columns in what a command printed: what begins a line and has a column after it."""
    return set(re.findall(r"^([A-Z][\w ,()]*?)(?:  +\S|$)", printed, re.MULTILINE))
