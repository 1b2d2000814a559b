"""The tables against the programs themselves: what --help says of every flag, of every release that compiles."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from help_text import Help, ask, wrong_defaults, wrong_deprecations, wrong_flags
from kubeharden.releases import find_component
from release_facts.experiment import COMPONENTS
from usage_records import RECORDS, read

CACHE = Path(os.environ.get("KUBEHARDEN_LAB_CACHE") or Path.home() / ".cache" / "kubeharden-lab")
HELPS = [said for path in sorted(RECORDS.iterdir()) for said in read(path)]
BUILT = [said for said in HELPS if (CACHE / f"kubernetes-{said.release}").exists()]
NOTHING = pytest.param(None, marks=pytest.mark.skip(reason="no release is built here (make lab-cache)"))


def label(said: Help | None) -> str:
    return f"{said.program}-{said.release}" if said else "none"


each_program = pytest.mark.parametrize("said", HELPS, ids=label)


@each_program
def test_the_table_has_the_flags_that_the_program_takes_and_no_other(said: Help) -> None:
    assert wrong_flags(said) == {}


@each_program
def test_what_is_deprecated_is_deprecated_in_the_usage(said: Help) -> None:
    assert wrong_deprecations(said) == set()


@pytest.mark.parametrize("said", [s for s in HELPS if find_component(s.program).config], ids=label)
def test_the_defaults_are_those_of_the_usage(said: Help) -> None:
    assert wrong_defaults(said) == {}


@pytest.mark.sample(3, of="said")
@pytest.mark.parametrize("said", BUILT or [NOTHING], ids=label)
def test_what_was_kept_is_what_the_program_says(said: Help) -> None:
    asked = ask(CACHE / f"kubernetes-{said.release}" / "usr" / "bin" / said.program, said.release)
    assert said.hidden == asked.hidden
    assert {name: (shown.type, shown.default) for name, shown in said.shown.items()} == {
        name: (shown.type, shown.default) for name, shown in asked.shown.items()
    }


def test_five_programs_of_each_release_that_compiles_are_kept() -> None:
    releases = [f"1.{minor}" for minor in range(20, 38)]
    assert [path.stem for path in sorted(RECORDS.iterdir())] == releases
    assert len(HELPS) == len(releases) * len(COMPONENTS)
