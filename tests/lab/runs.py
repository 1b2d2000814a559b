"""Runs of the lab's commands and of the runbook on the lab, as a user does both."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from places import HERE, INVENTORY, LAB_RELEASE, release_there
from truth import Truth, look

from support import ROOT, Executed, Papermill


def lab(*words: str) -> None:
    """Run one of the lab's commands; its own words are the error if it fails."""
    done = subprocess.run(
        [sys.executable, HERE / "lab.py", *words], capture_output=True, text=True, timeout=1800, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def before_state() -> None:
    """Take the lab to the state it was made in, whatever was done to it; make it where there is none of the release."""
    lab("reset" if release_there() == str(LAB_RELEASE.release) else "up")


class Runbook:
    """The runbook on the lab, as a user calls it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._papermill = Papermill(folder)

    def __call__(self, *words: str, inventory: Path = INVENTORY, **parameters: str) -> Executed:
        # The lab has an ordinary Deployment that no policy of the article is for.
        given = {"dns_ip": "10.0.0.10", "accept_breaking": "[shop/web]", **parameters}
        return self._papermill(*words, cwd=ROOT, inventory=str(inventory), **given)


class Hardened:
    """What was seen around the two runs of the runbook that this is about."""

    def __init__(self, folder: Path) -> None:
        self.runbook = Runbook(folder)
        self.before: Truth = look()
        self.planned: Executed = self.runbook(mode="plan")
        self.after_plan: Truth = look()
        self.applied: Executed = self.runbook()
        self.after: Truth = look()
