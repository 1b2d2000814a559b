"""The package says who made it, under which licence, and which version it is."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

import kubeharden
from kubeharden.cli import main
from kubeharden.inputs.project import shipped_files
from pages import blocks
from support import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_the_licence_is_the_text_that_the_metadata_name() -> None:
    assert PROJECT["license"] == "Apache-2.0"
    assert PROJECT["license-files"] == ["LICENSE"]
    text = " ".join((ROOT / "LICENSE").read_text().split())
    assert text.startswith("Apache License Version 2.0, January 2004")
    assert "END OF TERMS AND CONDITIONS" in text


def test_the_metadata_name_no_place_that_is_not_there() -> None:
    assert "urls" not in PROJECT
    assert not any(classifier.startswith("License ::") for classifier in PROJECT["classifiers"])


def test_the_newest_version_of_the_changelog_is_that_of_the_package() -> None:
    versions = re.findall(r"^## \[?(\d+\.\d+\.\d+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert versions[0] == kubeharden.__version__


def run(words: list[str | Path], folder: Path, **variables: str) -> str:
    names = ("PYTHONPATH", "VIRTUAL_ENV")
    env = {name: value for name, value in os.environ.items() if name not in names} | variables
    done = subprocess.run(
        words, cwd=folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the wheel and the source archive, made of what is here as docs/howto/package-release.md says."""
    source = tmp_path_factory.mktemp("source")
    for name in ("lib", "notebooks", "parameters"):
        shutil.copytree(
            ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info")
        )
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    [block] = [b for b in blocks(ROOT / "docs/howto/package-release.md") if b.mark.startswith("run by")]
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    run(["sh", "-euc", block.text], source, PATH=path, VIRTUAL_ENV=sys.prefix)
    return source / "build" / "dist"


def test_both_have_what_the_package_is_made_of(built: Path) -> None:
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    with zipfile.ZipFile(next(built.glob("*.whl"))) as archive:
        wheel = {re.sub(r"^[^/]+[.]data/data/share/kubeharden/", "", name) for name in archive.namelist()}
    shipped = set(shipped_files())
    library = {
        path.relative_to(ROOT / "lib").as_posix()
        for path in (ROOT / "lib").glob("kubeharden*/**/*")
        if path.is_file()
    }
    library = {name for name in library if "__pycache__" not in name and ".egg-info" not in name}
    assert {
        "LICENSE",
        "README.md",
        "pyproject.toml",
        *shipped,
        *(f"lib/{name}" for name in library),
    } <= source
    assert shipped | library <= wheel


def test_the_wheel_alone_runs_the_rehearsal(built: Path, tmp_path: Path) -> None:
    """Where nothing of the checkout is; only the dependencies are those of this environment."""
    home = tmp_path / "environment"
    run([sys.executable, "-m", "venv", "--without-pip", home], tmp_path)
    [site] = home.glob("lib/python*/site-packages")
    [dependencies] = Path(sys.prefix).glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(f"{dependencies}\n")
    uv = Path(sys.executable).with_name("uv")
    wheel = next(built.glob("*.whl"))
    run(
        [uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", home / "bin/python", wheel],
        tmp_path,
    )
    python = home / "bin" / "python"
    where = run(
        [
            python,
            "-c",
            "import kubeharden, kubeharden_rehearsal as r; print(kubeharden.__file__, r.__file__)",
        ],
        tmp_path,
    )
    assert all(Path(path).is_relative_to(home) for path in where.split())

    run([home / "bin" / "kubeharden", "init", "work"], tmp_path)
    work = tmp_path / "work"
    words = [
        "notebooks/harden.ipynb",
        "outputs/out.ipynb",
        "-p",
        "dns_ip",
        "10.0.0.10",
        "-p",
        "steps",
        "[kube-scheduler]",
    ]
    run([python, "-m", "papermill", *words, "--no-progress-bar"], work)
    [record] = (work / "outputs").glob("*/journal.jsonl")
    assert f'"kubeharden": "{kubeharden.__version__}"' in record.read_text()
    assert '"result"' in run([home / "bin" / "kubeharden", "records", "--json"], work)


def test_a_folder_to_work_in_is_made_and_nothing_in_it_is_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = tmp_path / "parameters" / "pod-security.yaml"
    own.parent.mkdir()
    own.write_text("policies: []\n")
    assert main(["init", str(tmp_path)]) == 0
    assert "parameters/pod-security.yaml is there already" in capsys.readouterr().out
    assert own.read_text() == "policies: []\n"
    notebooks = {path.name for path in (ROOT / "notebooks").glob("[!o]*.ipynb")}
    assert {path.name for path in (tmp_path / "notebooks").iterdir()} == notebooks
    assert (tmp_path / "outputs").is_dir()
    (tmp_path / "file").write_text("")
    assert main(["init", str(tmp_path / "file")]) == 2
    assert "cannot be written" in capsys.readouterr().err
