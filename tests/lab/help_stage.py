"""The stage that needs no cluster: the tables against what the programs of a release say at --help.

help_stage.py RELEASE
"""

from __future__ import annotations

import sys

from lab_releases import LabRelease, find_release
from places import binaries
from stages import Row

from help_text import ask, wrong_defaults, wrong_deprecations, wrong_flags
from kubeharden.releases import find_component
from release_facts.experiment import COMPONENTS

NODES = 2  # as many as `make lab` boots


def hold(row: Row, release: LabRelease) -> None:
    """Hold every flag, what is deprecated and every default of five programs against the tables."""
    with row.stage("--help") as saw:
        counts = []
        for component in COMPONENTS:
            said = ask(binaries(release) / "usr" / "bin" / component, release.version)
            assert wrong_flags(said) == {}, component
            assert wrong_deprecations(said) == set(), component
            if find_component(component).config:
                assert wrong_defaults(said) == {}, component
            counts.append(f"{component} {len(said.shown)}")
        saw.append(f"flags in the usage, all as the tables say: {', '.join(counts)}")


if __name__ == "__main__":
    wanted = find_release(sys.argv[1])
    hold(Row(wanted, binaries(wanted) / "usr" / "bin", NODES), wanted)
