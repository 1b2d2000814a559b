"""The 1.20.2 binaries themselves, run on this machine: what their usage says and what they would run with.

They run in a network namespace of their own that has a loopback and nothing else.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from places import BINARIES

from flag_sets import IPS
from usage_text import Shown, usage_of

FOLDER = BINARIES / "usr" / "bin"
COMPONENTS = ("kubelet", "kube-proxy", "kube-scheduler")

# Every address that a generated flag may name is one of the loopback's, so that it can be listened on.
ALONE = (
    "ip link set lo up; "
    + "".join(
        f"ip addr add {ip} dev lo nodad 2>/dev/null; "
        for ip in IPS
        if ip not in ("0.0.0.0", "::", "127.0.0.1")
    )
    + 'exec "$@"'
)


def run(
    component: str, words: Sequence[str], folder: Path, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a component until it ends, on a loopback of its own."""
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", ALONE, "sh", FOLDER / component, *words],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def usage(component: str, folder: Path) -> dict[str, Shown]:
    """What ``--help`` says, by flag."""
    done = run(component, ["--help"], folder)
    assert done.returncode == 0, done.stderr
    return usage_of(done.stdout or done.stderr)


def says(component: str, word: str, folder: Path) -> str:
    """What a component says to a flag that its usage may not show: it reads the flags before it helps."""
    return run(component, [word, "--help"], folder).stderr


class RefusedError(Exception):
    """The component does not start with it; the message is what it says last."""


def written(component: str, words: Sequence[str], folder: Path) -> dict[str, Any]:
    """What kube-proxy or kube-scheduler would run with, as ``--write-config-to`` tells.

    Raises:
        RefusedError: it does not start.
    """
    target = folder / "written.yaml"
    target.unlink(missing_ok=True)
    done = run(component, [*words, f"--write-config-to={target}"], folder)
    if done.returncode or not target.exists():
        raise RefusedError(_why(done.stderr))
    return yaml.safe_load(target.read_text())


def _why(said: str) -> str:
    """The lines that are neither the usage nor the log of a start."""
    lines = [line for line in said.partition("Usage:")[0].splitlines() if not re.match(r"[IW]\d{4}", line)]
    return "\n".join(lines[-3:]) or said[-300:]
