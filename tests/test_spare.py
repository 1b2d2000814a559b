"""A spare process is what a new one is: its end, what it prints, its folder, session and environment."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from support import ROOT, wait_until

SUPPORT = ROOT / "tests" / "support"
# Starts the same process as a spare one and anew; prints what was seen of each, and which of them was the spare one.
BOTH = """
import json, os, subprocess, sys
sys.path.remove("")
import papermill_server
import spare
papermill_server.import_all()
spare.have_spare()
waits = spare.Popen.spare.pid
def seen():
    process = subprocess.Popen(
        [sys.executable, "-m", "kubeharden_rehearsal", *sys.argv[1:]], cwd="here", env={**os.environ, **given},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True)
    own = os.getsid(process.pid) == process.pid
    out, err = process.communicate(timeout=60)
    return [process.pid, [own, process.returncode, out.decode(), err.decode()]]
given = json.loads(sys.stdin.read())
first, second = seen(), seen()
print(json.dumps([first[0] == waits, second[0] != waits, first[1], second[1]]))
"""
# Starts a kernel as a spare process and ends once it runs; prints its number.
PARENT = """
import os, pathlib, subprocess, sys, time
import papermill_server
import spare
papermill_server.import_all()
spare.have_spare()
kernel = subprocess.Popen(
    [sys.executable, "-m", "ipykernel_launcher", "-f", os.path.abspath("kernel.json")], stdin=subprocess.DEVNULL,
    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "JPY_PARENT_PID": str(os.getpid())})
while not pathlib.Path("kernel.json").exists():
    time.sleep(0.1)
print(kernel.pid, spare.Popen.spare is None)
"""


def run(code: str, folder: Path, *words: str, given: str = "") -> str:
    done = subprocess.run(
        [sys.executable, "-c", code, *words],
        input=given,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": os.pathsep.join((str(SUPPORT), os.environ["PYTHONPATH"]))},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return done.stdout


def seen_of_both(folder: Path, *words: str, given: dict[str, str] | None = None) -> list:
    (folder / "here").mkdir()
    printed = run(BOTH, folder, *words, given=json.dumps(given or {}))
    was_spare, was_new, *seen = json.loads(printed)
    assert (was_spare, was_new) == (True, True)
    return seen


def test_it_ends_and_prints_alike(tmp_path: Path) -> None:
    spare, new = seen_of_both(tmp_path, "serve", "--scenario", "none-such", "--directory", "there")
    assert spare == new
    assert spare[:3] == [True, 2, ""]
    assert "none-such" in spare[3]


@pytest.mark.parametrize("elsewhere", [False, True], ids=["the same", "another"])
def test_it_is_not_what_another_environment_imports(tmp_path: Path, elsewhere: bool) -> None:
    (tmp_path / "kubeharden_rehearsal.py").write_text("print('elsewhere')")
    given = {"PYTHONPATH": str(tmp_path)} if elsewhere else {}
    spare, new = seen_of_both(tmp_path, "--no-such-option", given=given)
    assert spare == new
    assert spare[1:3] == ([0, "elsewhere\n"] if elsewhere else [2, ""])


def test_a_kernel_ends_with_its_parent(tmp_path: Path) -> None:
    pid, was_spare = run(PARENT, tmp_path).split()
    assert was_spare == "True"
    wait_until(lambda: not Path("/proc", pid).exists(), 60)
