"""SELinux labels: pkg/security/podsecuritypolicy/selinux."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.podsecurity.psp.wording import invalid


@dataclass(frozen=True)
class SELinuxStrategy:
    """MustRunAs with its options, or RunAsAny with none."""

    options: Mapping[str, Any] | None = None

    def refusals(self, path: str, found: Mapping[str, Any] | None) -> list[str]:
        """Return why these labels may not be used; the path is that of seLinuxOptions.

        Nothing is found only where anything may be: MustRunAs has filled in its own options by then.
        """
        if self.options is None or found is None:
            return []
        reasons = []
        for part in ("level", "role", "type", "user"):
            wanted, actual = self.options.get(part) or "", found.get(part) or ""
            if wanted != actual and not (part == "level" and _same_level(wanted, actual)):
                reasons.append(invalid(f"{path}.{part}", actual, f"must be {wanted}"))
        return reasons


def _same_level(wanted: str, actual: str) -> bool:
    """Return whether two levels differ in nothing but the order of their categories: ``s0:c6,c0`` and ``s0:c0,c6``."""
    wanted_sensitivity, wanted_colon, wanted_categories = wanted.partition(":")
    actual_sensitivity, actual_colon, actual_categories = actual.partition(":")
    return (
        bool(wanted_colon and actual_colon)
        and wanted_sensitivity == actual_sensitivity
        and sorted(wanted_categories.split(",")) == sorted(actual_categories.split(","))
    )
