"""The tables against the programs themselves: what the --help of each release says that the lab has built."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from help_text import table_of, wrong_defaults, wrong_deprecations, wrong_flags
from kubeharden.releases import ReleaseTable

CACHE = Path(os.environ.get("KUBEHARDEN_LAB_CACHE") or Path.home() / ".cache" / "kubeharden-lab")
PROGRAMS = sorted(
    (path for path in CACHE.glob("kubernetes-1.*[0-9]/usr/bin/kube*") if path.name != "kubectl"),
    key=lambda path: (path.parts[-4], path.name),
)
NOTHING = "no release is built here (make lab-cache)"


def release_of(program: Path) -> str:
    return program.parts[-4].removeprefix("kubernetes-")


def label(program: Path) -> str:
    return f"{program.name}-{release_of(program)}"


@pytest.fixture(params=PROGRAMS or [pytest.param(None, marks=pytest.mark.skip(reason=NOTHING))], ids=label)
def program(request: pytest.FixtureRequest) -> Path:
    return request.param


def test_the_table_has_the_flags_that_the_program_takes_and_no_other(program: Path) -> None:
    assert wrong_flags(program, release_of(program)) == {}


def test_what_is_deprecated_is_deprecated_in_the_usage(program: Path) -> None:
    assert wrong_deprecations(program, release_of(program)) == set()


def test_the_defaults_are_those_of_the_usage(program: Path) -> None:
    if not isinstance(table_of(program, release_of(program)), ReleaseTable):
        pytest.skip("has no config file: the table has no defaults of its flags")
    assert wrong_defaults(program, release_of(program)) == {}
