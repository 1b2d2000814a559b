"""Feature gates: which ones a release knows, and what they are by default."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from kubeharden.releases.files import read
from kubeharden.releases.release import Release
from kubeharden.releases.spans import in_release, removal

# Names that switch all gates of a stage (k8s.io/component-base/featuregate, 1.15 and later; AllAlpha before).
SWITCHES = ("AllAlpha", "AllBeta")


@dataclass(frozen=True)
class Gate:
    """A feature gate as one release has it.

    Attributes:
        default: whether it is on where nobody says anything.
        stage: ``ALPHA``, ``BETA``, ``DEPRECATED``, or ``GA``.
        locked: it cannot be set to anything but its default.
        needs: gates that must be on where it is.
    """

    default: bool
    stage: str = "GA"
    locked: bool = False
    needs: tuple[str, ...] = ()


@cache
def feature_gates(release: Release) -> Mapping[str, Gate]:
    """Return the gates that the components of a release know, by name."""
    needs = {name: tuple(row["needs"]) for name, row in in_release(_dependencies(), release).items()}
    return {
        name: Gate(row["default"], row.get("stage", "GA"), row.get("locked", False), needs.get(name, ()))
        for name, row in in_release(_raw(), release).items()
    }


def gate_gone(name: str, release: Release) -> str | None:
    """Return the release in which a gate that this one no longer knows went, such as ``1.24``; else None."""
    return removal(_raw().get(name, ()), release)


@cache
def _raw() -> dict[str, Any]:
    table: dict[str, Any] = read("feature-gates")
    return table


@cache
def _dependencies() -> dict[str, Any]:
    table: dict[str, Any] = read("gate-dependencies")
    return table
