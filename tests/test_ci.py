"""``.ci/run``, with parts that do nothing but what the test is about."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

from support import ROOT

# Each part is a line of the file `parts`, a command; what it is given is kept in `made`.
MAKE = """#!/bin/sh
echo "$1" >>made
echo "output of $1"
command=$(sed -n "s/^$1: //p" parts)
eval "${command:-true}"
"""
LAB = """#!/bin/sh
echo "lab $2" >>made
[ "$2" != status ] || { cat unfit >&2 && exit 3; }
[ "$2" != missing ] || { cat missing && exit 1; } 2>/dev/null || [ ! -e missing ]
"""
pytestmark = pytest.mark.skipif(not shutil.which("ionice"), reason="needs util-linux")


class Ci:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / ".ci").mkdir()
        shutil.copy(ROOT / ".ci" / "run", folder / ".ci" / "run")
        for path, text in (("bin/make", MAKE), ("venv/bin/python", LAB)):
            (folder / path).parent.mkdir(parents=True)
            (folder / path).write_text(text)
            (folder / path).chmod(0o755)

    def begin(
        self, minutes: int = 85, unfit: str = "", missing: str = "", **parts: str
    ) -> subprocess.Popen[str]:
        (self.folder / "parts").write_text("".join(f"{name}: {c}\n" for name, c in parts.items()))
        if missing:
            (self.folder / "missing").write_text(missing)
        if unfit:
            (self.folder / "unfit").write_text(unfit)
        return subprocess.Popen(
            # A shell cannot trap what its caller ignores, as a shell's job in the background does with SIGINT.
            ["env", "--default-signal=INT", "bash", self.folder / ".ci" / "run"],
            env={
                "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
                "VENV": str(self.folder / "venv"),
                "KUBEHARDEN_CI_MINUTES": str(minutes),
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def __call__(self, **given: str) -> tuple[int, str, dict[str, str]]:
        """Its exit status, all it said, and what its table says of each part."""
        process = self.begin(**given)  # type: ignore[arg-type]
        said, _ = process.communicate(timeout=60)
        return process.returncode, said, table(said)

    @property
    def made(self) -> list[str]:
        return (self.folder / "made").read_text().splitlines()

    def until_made(self, name: str) -> None:
        end = time.monotonic() + 60
        while not (self.folder / name).exists():
            assert time.monotonic() < end
            time.sleep(0.05)


def table(said: str) -> dict[str, str]:
    _, _, rows = said.partition("what each part took")
    return dict(re.findall(r"^  (\S+) +\d+:\d\d  (.+)$", rows, re.MULTILINE))


@pytest.fixture
def ci(tmp_path: Path) -> Ci:
    return Ci(tmp_path)


def test_the_lab_is_built_while_the_tests_run(ci: Ci) -> None:
    status, said, rows = ci(**{"test": "until [ -e built ]; do sleep 0.1; done", "lab-cache": "touch built"})
    assert status == 0, said
    assert rows == {
        "setup": "passed",
        "lab-packages": "passed",
        "lint": "passed",
        "test": "passed",
        "lab-cache": "passed, beside the others",
        "test-lab-oldest": "passed",
        "test-lab-newest": "passed",
    }
    assert "output of lab-cache" not in said
    assert ci.made[-4:] == ["test-lab-oldest", "lab missing", "test-lab-newest", "lab down"]


def test_a_newest_release_that_is_not_in_the_cache_is_left_out_and_the_reason_is_reported(ci: Ci) -> None:
    status, said, rows = ci(missing="Kubernetes 9.9.9 is not in the cache")
    assert status == 0, said
    assert rows["test-lab-oldest"] == "passed"
    assert rows["test-lab-newest"] == "left out: Kubernetes 9.9.9 is not in the cache"
    assert "test-lab-newest" not in ci.made


@pytest.mark.parametrize(
    "part", ["setup", "lab-packages", "lint", "test", "lab-cache", "test-lab-oldest", "test-lab-newest"]
)
def test_a_part_that_fails_is_named_and_nothing_comes_after_it(ci: Ci, part: str) -> None:
    status, said, rows = ci(**{part: "echo its words; exit 7"})
    assert status == 7, said
    assert rows[part] == "FAILED"
    assert "its words" in said
    assert [name for name, outcome in rows.items() if not outcome.startswith(("passed", "was ended"))] == [
        part
    ]
    assert ("test-lab-oldest" in ci.made) == (part in ("test-lab-oldest", "test-lab-newest"))


def test_without_what_the_lab_needs_it_is_left_out_and_the_reason_is_reported(ci: Ci) -> None:
    status, said, rows = ci(unfit="the lab needs Debian")
    assert status == 0, said
    assert rows["test-lab-oldest"] == rows["test-lab-newest"] == "left out: the lab needs Debian"
    assert ci.made == ["setup", "lab status", "lint", "test"]


def test_no_part_is_begun_that_cannot_end_in_time(ci: Ci) -> None:
    status, said, rows = ci(minutes=10)  # type: ignore[arg-type]
    assert status == 0, said
    assert rows["lint"] == "passed"
    for name, needed in (("test", 15), ("test-lab-oldest", 30), ("test-lab-newest", 20)):
        assert re.fullmatch(rf"left out: it may need {needed} minutes, and (9|10) of 10 are left", rows[name])
    assert not {"test", "test-lab-oldest", "test-lab-newest"} & set(ci.made)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_when_it_is_ended_nothing_of_it_goes_on(ci: Ci, number: signal.Signals) -> None:
    wait = "touch began-{}; sleep 1000; touch over-{}"
    parts = {name: wait.format(name, name) for name in ("test", "lab-cache")}
    process = ci.begin(**parts)
    for name in parts:
        ci.until_made(f"began-{name}")
    process.send_signal(number)
    said, _ = process.communicate(timeout=30)  # which also waits for everybody who holds its output
    assert process.returncode == 128 + number
    assert table(said)["test"] == table(said)["lab-cache"] == "was ended"
    assert ci.made[-1] == "lab down"
    time.sleep(0.5)
    assert not list(ci.folder.glob("over-*"))


def test_a_failure_ends_the_build(ci: Ci) -> None:
    status, said, rows = ci(
        **{"lab-cache": "touch began; sleep 1000", "lint": "until [ -e began ]; do sleep 0.1; done; false"}
    )
    assert status == 1, said
    assert rows["lab-cache"] == "was ended"
    assert ci.made[-1] == "lab down"
