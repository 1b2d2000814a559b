"""Programs on this machine: each has an end, whatever it prints, reads, or leaves behind."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from kubeharden.edges import programs
from kubeharden.edges.programs import run
from support import wait_until


def is_alive(number: int) -> bool:
    try:
        return " Z " not in Path(f"/proc/{number}/stat").read_text()
    except OSError:
        return False


def test_what_it_reads_and_prints_is_whole() -> None:
    data = bytes(range(256)) * 4000
    done = run(["sh", "-c", "cat; cat /dev/null >&2; echo said >&2; exit 3"], 20, data)
    assert (done.returncode, done.stdout, done.stderr) == (3, data, b"said\n")
    assert run(["true"], 20, data).returncode == 0, "it need not read"


def test_what_it_leaves_behind_is_not_waited_for() -> None:
    start = time.monotonic()
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        run(["sh", "-c", "setsid sleep 20 & echo said"], 1)
    assert raised.value.output == b"said\n"
    assert time.monotonic() - start < 10


def test_what_it_has_started_ends_with_it() -> None:
    with pytest.raises(subprocess.TimeoutExpired) as raised:
        run(["sh", "-c", "sleep 20 & echo $!; wait"], 1)
    number = int(raised.value.output)
    wait_until(lambda: not is_alive(number))


@pytest.mark.parametrize("line", ["yes", "yes >&2"])
def test_it_prints_no_more_than_it_may(monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(programs, "MOST_BYTES", 1 << 20)
    with pytest.raises(OSError, match="prints more than 1 MiB"):
        run(["sh", "-c", line], 20)
