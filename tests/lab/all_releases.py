"""Every release of the lab, one after another: boot, every stage of test_releases.py, and the page of what was found.

all_releases.py [--built] [--only EXPRESSION | --without-cluster] [RELEASE …]

--built leaves out what would have to be built first, and says so. --only tries the tests that pytest's -k finds alone,
and keeps what an earlier run of the same programs has written of the others, with its date. --without-cluster does that
with the stage that needs no cluster.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import host
from lab_releases import LabRelease, lab_releases
from places import HERE, SWITCH, binaries
from stages import KEEP, write_left_out
from stages import SWITCH as RESULTS_SWITCH

RESULTS = HERE / "results"
TOOLS = HERE.parents[1] / "tools"


def main(words: Sequence[str]) -> int:
    """Try them all, also when one fails; the exit status says whether all of those that were tried passed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--built", action="store_true")
    parser.add_argument("--only", metavar="EXPRESSION", default="")
    parser.add_argument("releases", nargs="*", metavar="RELEASE", choices=[[], *lab_releases()])
    parser.add_argument("--without-cluster", action="store_true")
    given = parser.parse_args(words)
    if reason := host.unfit():
        sys.stderr.write(f"{reason}\n")
        return 1
    outcomes = [
        _hold(row) if given.without_cluster else _try(row, built=given.built, only=given.only)
        for name, row in lab_releases().items()
        if not given.releases or name in given.releases
    ]
    made = {**os.environ, "PYTHONPATH": str(TOOLS)}
    subprocess.run([sys.executable, "-m", "documents.pages"], env=made, check=True)
    return 0 if all(outcomes) else 1


def _hold(release: LabRelease) -> bool:
    if not binaries(release).exists():
        sys.stdout.write(f"{release.release}: left out: it was not built\n")
        return True
    paths = os.pathsep.join(str(HERE.parent / name) for name in ("support", "../lib", "../tools"))
    variables = {RESULTS_SWITCH: str(RESULTS), KEEP: "1", "PYTHONPATH": paths}
    command = [sys.executable, HERE / "help_stage.py", str(release.release)]
    return not subprocess.run(command, env={**os.environ, **variables}, check=False).returncode


def _try(release: LabRelease, *, built: bool, only: str) -> bool:
    if not binaries(release).exists():
        reason = host.unbuildable(release)
        if not reason and built:
            reason = f"it was not built: make lab-cache RELEASE={release.release}"
        if reason:
            write_left_out(RESULTS, release, reason)
            sys.stdout.write(f"{release.release}: left out: {reason}\n")
            return True
    lab = [sys.executable, HERE / "lab.py"]
    tests = [sys.executable, "-m", "pytest", "-x", "-q", HERE / "test_releases.py"]
    variables = {SWITCH: str(release.release), "KUBEHARDEN_LAB": "1", RESULTS_SWITCH: str(RESULTS)}
    if only:
        tests += ["-k", only]
        variables[KEEP] = "1"
    commands: list[list[str | Path]] = [[*lab, "prepare"], tests, [*lab, "down"]]
    done = [
        subprocess.run(command, env={**os.environ, **variables}, check=False, cwd=HERE.parents[1]).returncode
        for command in commands
    ]
    return not any(done)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
