"""The 1.20.2 binaries themselves, run on this machine: what their usage says and what they would run with.

They run in a network namespace of their own that has a loopback and nothing else.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from places import BINARIES

from flag_sets import IPS

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
# "      --name type   text (default value) (DEPRECATED: why)"; klog's --v has the short name -v, too.
USAGE_LINE = re.compile(r"^ {2,6}(?:-\w, )?--(?P<name>[\w-]+)(?: (?P<type>\S+))?(?: {2,}(?P<text>.*))?$")
DEPRECATED = re.compile(r"\(DEPRECATED: (.*)\)$", re.DOTALL)
DEFAULT = re.compile(r"\(default (.*?)\)$", re.DOTALL)


@dataclass(frozen=True)
class Used:
    """One flag in a usage text: its type, its default as text, and why it is deprecated, if it says so."""

    type: str
    default: str | None
    deprecated: str | None


def run(
    component: str, words: Sequence[str], folder: Path, seconds: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run a component until it ends, on a loopback of its own."""
    return subprocess.run(
        ["unshare", "--net", "sh", "-c", ALONE, "sh", FOLDER / component, *words],
        cwd=folder, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False,
    )  # fmt: skip


def usage(component: str, folder: Path) -> dict[str, Used]:
    """What ``--help`` says, by flag."""
    done = run(component, ["--help"], folder)
    assert done.returncode == 0, done.stderr
    texts: dict[str, tuple[str, str]] = {}
    name = ""
    for line in (done.stdout or done.stderr).splitlines():
        if found := USAGE_LINE.match(line):
            name = f"--{found['name']}"
            texts[name] = (found["type"] or "bool", found["text"] or "")
        elif name and line.startswith(" " * 8):  # a text of more than one line
            texts[name] = (texts[name][0], f"{texts[name][1]}\n{line.strip()}")
        else:
            name = ""
    return {name: _used(kind, text) for name, (kind, text) in texts.items()}


def _used(kind: str, text: str) -> Used:
    deprecated = DEPRECATED.search(text)
    text = text[: deprecated.start()].rstrip() if deprecated else text
    default = DEFAULT.search(text)
    return Used(kind, default[1] if default else None, deprecated[1] if deprecated else None)


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
