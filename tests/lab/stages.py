"""What a run of every stage on one release found: a row of docs/releases.md, written as the stages end."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml
from lab_releases import LabRelease

SWITCH = "KUBEHARDEN_LAB_RESULTS"  # the folder of the results; without it, nothing is written
# Stages that this run does not try stay as an earlier run of the same programs has written them.
KEEP = "KUBEHARDEN_LAB_KEEP"
PASSED = "passed"
NEXT = "next release"


class Row:
    """The stages of one release, in their order."""

    def __init__(self, release: LabRelease, programs: Path, nodes: int) -> None:
        folder = os.environ.get(SWITCH)
        self._path = Path(folder) / f"{release.release}.yaml" if folder else None
        self._content: dict[str, Any] = {
            "version": release.version,
            "date": datetime.now(UTC).date().isoformat(),
            "nodes": nodes,
            "runtime": release.runtime,
            "binaries": {
                path.name: sha256(path.read_bytes()).hexdigest()[:12] for path in sorted(programs.iterdir())
            },
            "stages": [],
        }
        self._earlier = self._kept()
        self._write()

    def _kept(self) -> dict[str, Any]:
        """Stages of an earlier run by name, where they are to be kept."""
        if not os.environ.get(KEEP) or not self._path or not self._path.exists():
            return {}
        found = yaml.safe_load(self._path.read_text())
        if any(found.get(key) != self._content[key] for key in ("binaries", "nodes", "runtime")):
            return {}
        return {stage["stage"]: {"date": found["date"], **stage} for stage in found["stages"]}

    @contextmanager
    def stage(self, name: str) -> Iterator[list[str]]:
        """Record how a stage ends; what is put into the list is what it saw, in words."""
        saw: list[str] = []
        outcome, began = PASSED, time.monotonic()
        try:
            yield saw
        except BaseException as error:
            outcome = f"FAILED: {(str(error) or type(error).__name__).splitlines()[0][:200]}"
            raise
        finally:
            result = {"stage": name, "outcome": outcome, "seconds": round(time.monotonic() - began)}
            self._content["stages"].append(result | ({"saw": saw} if saw else {}))
            self._write()

    def _write(self) -> None:
        if self._path:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            tried = {stage["stage"]: stage for stage in self._content["stages"]}
            stages = list({**self._earlier, **tried}.values())
            if any(name.startswith(NEXT) for name in tried):  # another release may be the next one now
                stages = [row for row in stages if row["stage"] in tried or not row["stage"].startswith(NEXT)]
            self._path.write_text(
                yaml.safe_dump({**self._content, "stages": stages}, sort_keys=False, width=120)
            )


def write_left_out(folder: Path, release: LabRelease, reason: str) -> None:
    """Record that a release was not tried, and why."""
    folder.mkdir(parents=True, exist_ok=True)
    content = {
        "version": release.version,
        "date": datetime.now(UTC).date().isoformat(),
        "left_out": reason,
    }
    (folder / f"{release.release}.yaml").write_text(yaml.safe_dump(content, sort_keys=False, width=120))
