"""The example of docs/ci.md for a hosted CI is run, step by step, as GitHub's runner runs it.

What is GitHub's own is replaced by what its documentation says of it: a job begins in an empty folder, ``run`` is a
script of ``bash -e``, after a failure only steps with ``if: always()`` are run, and an artefact has neither hidden
files nor permissions, and refuses names that some file systems do not have.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeharden_rehearsal import Rehearsal
from pages import blocks
from record_support import make_key
from support import ROOT

CHECKED_OUT = ("Makefile", "pyproject.toml", "requirements.lock", "notebooks", "outputs", "parameters")
REFUSED_IN_NAMES = set('":<>|*?\r\n')
ETC = "/etc/kubeharden"


class Runner:
    """Runs jobs, each in a folder of its own below ``folder``.

    Attributes:
        artifacts: the files of each artefact, by its name.
    """

    def __init__(self, folder: Path, variables: dict[str, str]) -> None:
        self.folder = folder
        self.variables = variables
        self.artifacts: dict[str, dict[str, bytes]] = {}
        self.jobs = 0

    def run(self, job: dict[str, Any]) -> tuple[Path, list[str]]:
        """Run a job; return its folder, and what each step said that failed."""
        self.jobs += 1
        place = self.folder / f"job-{self.jobs}"
        place.mkdir()
        failed: list[str] = []
        for step in job["steps"]:
            assert step.get("if", "always()") == "always()"
            if (not failed or "if" in step) and (said := self.step(step, place)):
                failed.append(said)
        return place, failed

    def step(self, step: dict[str, Any], place: Path) -> str:
        """Take a step; return what it said if it failed, else nothing."""
        given = step.get("with", {})
        match step.get("uses", "").partition("@")[0]:
            case "actions/checkout":
                check_out(place)
            case "actions/upload-artifact":
                assert given["name"] not in self.artifacts, "an artefact is written once"
                self.artifacts[given["name"]] = uploaded(place / given["path"])
            case "actions/download-artifact":
                for name, content in self.artifacts[given["name"]].items():
                    target = place / given["path"] / name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_bytes(content)
            case "":
                return self.script(step, place)
            case other:
                pytest.fail(f"say in this test what {other} does")
        return ""

    def script(self, step: dict[str, Any], place: Path) -> str:
        (place.parent / "script").write_text(step["run"])
        done = subprocess.run(
            ["bash", "-e", place.parent / "script"],
            cwd=place,
            env={**os.environ, **self.variables, **step.get("env", {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        return done.stdout or "without a word" if done.returncode else ""


def check_out(place: Path) -> None:
    """What git has of the project, and an environment in which ``make setup`` finds nothing to do."""
    tracked = ["git", "ls-files", "-z", *CHECKED_OUT]
    listed = subprocess.run(tracked, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in filter(None, listed.split("\0")):
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    (place / ".venv").mkdir()
    (place / ".venv" / "bin").symlink_to(Path(sys.prefix) / "bin")
    (place / ".venv" / ".ready").touch()


def uploaded(folder: Path) -> dict[str, bytes]:
    found = [path for path in folder.glob("**/*") if path.is_file()]
    names = {path.relative_to(folder).as_posix(): path for path in found}
    assert not [name for name in names if set(name) & REFUSED_IN_NAMES]
    hidden = [name for name in names if any(part.startswith(".") for part in name.split("/"))]
    return {name: path.read_bytes() for name, path in names.items() if name not in hidden}


def results(place: Path, variables: dict[str, str]) -> list[str]:
    done = subprocess.run(
        [Path(sys.executable).with_name("kubeharden"), "records", "--json"],
        cwd=place,
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    return [entry["result"] for entry in json.loads(done.stdout)]


@pytest.mark.skipif(
    not (Path(sys.prefix) / "bin" / "activate").exists() or not (ROOT / ".git").exists(),
    reason="needs a virtual environment, and a checkout to check out from",
)
def test_the_plan_is_approved_and_carried_out_by_two_jobs(article: Rehearsal, tmp_path: Path) -> None:
    [block] = [b for b in blocks(ROOT / "docs" / "ci.md") if b.language == "yaml"]
    jobs = yaml.safe_load(block.text.replace(ETC, str(tmp_path / "etc")))["jobs"]
    assert list(jobs) == ["plan", "apply"]
    assert jobs["apply"]["needs"] == "plan"

    (tmp_path / "etc").mkdir()
    make_key(tmp_path / "etc", "seal_ed25519")
    inventory = article.inventory.read_text()
    for name in ("kubeconfig", "identity_file", "known_hosts"):
        inventory = inventory.replace(f"{name}: ", f"{name}: {article.inventory.parent}/", 1)
    (tmp_path / "etc" / "prod.yaml").write_text(inventory)

    variables = {
        "HOME": str(tmp_path),
        "PYTHONPATH": os.pathsep.join((str(ROOT / "lib"), os.environ.get("PYTHONPATH", ""))),
    }
    runner = Runner(tmp_path, variables)
    _, failed = runner.run(jobs["plan"])
    assert failed == []

    planned = runner.artifacts["plan"]
    runner.artifacts["plan"] = {**planned, "approved": b"0" * 64}
    place, failed = runner.run(jobs["apply"])
    assert "ApprovalError" in "".join(failed)
    assert results(place, variables) == ["failed", "planned"]
    assert any(name.endswith("/record.json.sig") for name in runner.artifacts.pop("record"))

    runner.artifacts["plan"] = planned
    place, failed = runner.run(jobs["apply"])
    assert failed == []
    assert results(place, variables) == ["done", "planned"]
    assert sum(name.endswith("/record.json.sig") for name in runner.artifacts["record"]) == 2
