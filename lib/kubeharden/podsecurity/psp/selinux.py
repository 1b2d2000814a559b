"""SELinux labels: pkg/security/podsecuritypolicy/selinux."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.podsecurity.psp.wording import invalid


def label_refusals(path: str, wanted: Mapping[str, Any] | None, label: Mapping[str, Any] | None) -> list[str]:
    """Return why a label may not be used; the path is that of seLinuxOptions.

    Args:
        wanted: that of MustRunAs; None for RunAsAny.
        label: nothing only where anything may be: MustRunAs has filled in its own by then.
    """
    if wanted is None or label is None:
        return []
    reasons = []
    for part in ("level", "role", "type", "user"):
        must, actual = wanted.get(part) or "", label.get(part) or ""
        if must != actual and not (part == "level" and _same_level(must, actual)):
            reasons.append(invalid(f"{path}.{part}", actual, f"must be {must}"))
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
