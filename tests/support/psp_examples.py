"""The examples of tests/fixtures/psp, as data."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from kubeharden.releases.files import LOADER

FOLDER = Path(__file__).parents[1] / "fixtures" / "psp"


@dataclass(frozen=True)
class Example:
    """A pod and what its folder's policy says of it.

    Attributes:
        reasons: why it is refused; empty if it is admitted.
        becomes: what it is filled in to; the pod itself where nothing is.
    """

    name: str
    policy: dict[str, Any]
    pod: dict[str, Any]
    reasons: list[str]
    becomes: dict[str, Any]

    def __str__(self) -> str:
        return self.name


@cache
def examples() -> tuple[Example, ...]:
    return tuple(_example(path) for path in sorted(FOLDER.glob("*/*/*.yaml")))


def _example(path: Path) -> Example:
    policy = yaml.load((path.parent.parent / "policy.yaml").read_text(), Loader=LOADER)
    text = path.read_text()
    pod, *rest = yaml.load_all(text, Loader=LOADER)
    reasons = [line.removeprefix("# ") for line in text.splitlines() if line.startswith("# ")]
    assert bool(reasons) == (path.parent.name == "refused"), path
    assert bool(rest) == (path.parent.name == "filled-in"), path
    becomes = rest[0] if rest else pod
    return Example(str(path.relative_to(FOLDER).with_suffix("")), policy, pod, reasons, becomes)
