"""Users and groups: runAsUser, runAsGroup, supplementalGroups and fsGroup.

Sources: pkg/security/podsecuritypolicy/user and pkg/security/podsecuritypolicy/group. A policy's mutation comes
before its validation, so what it would have filled in is never missing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from kubeharden.podsecurity.psp.wording import invalid


class Range(NamedTuple):
    """From min to max, both included."""

    min: int
    max: int


def _within(number: int, ranges: Sequence[Range]) -> bool:
    return any(low <= number <= high for low, high in ranges)


def _go(ranges: Sequence[Range]) -> str:
    """Ranges as Go's %v shows them: ``[{1 10} {20 30}]``."""
    return "[" + " ".join(f"{{{low} {high}}}" for low, high in ranges) + "]"


@dataclass(frozen=True)
class UserStrategy:
    """pkg/security/podsecuritypolicy/user: MustRunAs, MustRunAsNonRoot and RunAsAny."""

    rule: str
    ranges: tuple[Range, ...] = ()

    @property
    def must_be_non_root(self) -> bool:
        """Return whether a container that names no user gets ``runAsNonRoot``."""
        return self.rule == "MustRunAsNonRoot"

    @property
    def default(self) -> int | None:
        """The user given to a container that names none."""
        return self.ranges[0].min if self.rule == "MustRunAs" else None

    def refusals(self, path: str, non_root: bool | None, user: int | None) -> list[str]:
        """Return why a container may not run so; the path is that of its security context."""
        if self.rule == "MustRunAs" and user is not None and not _within(user, self.ranges):
            return [invalid(f"{path}.runAsUser", user, f"must be in the ranges: {_go(self.ranges)}")]
        if not self.must_be_non_root:
            return []
        if non_root is False:
            return [invalid(f"{path}.runAsNonRoot", value=False, detail="must be true")]
        if user == 0:
            return [invalid(f"{path}.runAsUser", 0, "running with the root UID is forbidden")]
        return []


@dataclass(frozen=True)
class GroupStrategy:
    """pkg/security/podsecuritypolicy/group: MustRunAs, MayRunAs and RunAsAny."""

    rule: str
    ranges: tuple[Range, ...] = ()

    @property
    def default(self) -> int | None:
        """The group given to what names none."""
        return self.ranges[0].min if self.rule == "MustRunAs" else None

    def refusals(self, path: str, groups: Sequence[int]) -> list[str]:
        """Return why these groups may not be used; MustRunAs refuses a list that is empty on purpose."""
        if self.rule == "RunAsAny":
            return []
        if not groups and self.rule == "MustRunAs":
            return [invalid(path, groups, "unable to validate empty groups against required ranges")]
        return [
            invalid(path, groups, f"group {group} must be in the ranges: {_go(self.ranges)}")
            for group in groups
            if not _within(group, self.ranges)
        ]
