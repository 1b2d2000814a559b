"""Provenance of a run: person, machine, notebook and versions, read once when the run starts.

Nothing here talks to a node or a cluster; what is known of those comes with the facts.
"""

from __future__ import annotations

import hashlib
import os
import platform
import socket
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from kubeharden import __version__
from kubeharden.edges.login import login_name
from kubeharden.edges.programs import run

# What a run goes through, besides kubeharden itself and Python.
PACKAGES = ("papermill", "fabric", "paramiko", "kubernetes", "ipykernel", "jupyterlab")
GIT_SECONDS = 10


def who() -> dict[str, Any]:
    """Return the person at the keyboard, as the operating system knows them: login, uid, host.

    ``sudo_user`` is who they were before they became root, where that is known.
    """
    return {
        "login": login_name(),
        "uid": os.getuid(),
        "host": socket.gethostname(),
        "sudo_user": os.environ.get("SUDO_USER", ""),
    }


def versions() -> dict[str, Any]:
    """Return the versions of kubeharden, Python and the packages that a run goes through; empty where one is not there.

    ``commit`` and ``dirty`` are kubeharden's, where it runs from a git checkout; else empty and None. All are as they
    were when this process first asked: what it has loaded by then is what it runs.
    """
    commit, dirty = _checkout(Path(__file__).resolve().parents[1])
    return {
        "kubeharden": __version__,
        "commit": commit,
        "dirty": dirty,
        "python": platform.python_version(),
        **{name: _version(name) for name in PACKAGES},
    }


def file_digest(path: Path) -> str:
    """SHA-256 of a file's bytes; empty where it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


@cache
def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


@cache
def _checkout(folder: Path) -> tuple[str, bool | None]:
    """Return the commit of the checkout that this code is part of, and whether it was changed since."""
    # A package installed into an environment may lie inside somebody else's checkout, which says nothing of it.
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return "", None
    commit = _git(folder, "rev-parse", "HEAD")
    changes = _git(folder, "status", "--porcelain", "--", ".")
    return (commit or "").strip(), None if changes is None else bool(changes.strip())


def _git(folder: Path, *words: str) -> str | None:
    try:
        done = run(["git", "-C", str(folder), *words], GIT_SECONDS)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.decode(errors="replace") if done.returncode == 0 else None
