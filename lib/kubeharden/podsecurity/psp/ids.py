"""Users and groups: runAsUser, runAsGroup, supplementalGroups and fsGroup.

Sources: pkg/security/podsecuritypolicy/user and pkg/security/podsecuritypolicy/group. A policy's mutation comes
before its validation, so what it would have filled in is never missing here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from kubeharden.podsecurity.psp.wording import invalid

_Id = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """Go reads null as the field's zero value; so an explicit null is a field that is not there."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, value: Any) -> Any:
        return {k: v for k, v in value.items() if v is not None} if isinstance(value, dict) else value


class IdRange(Strict):
    """Users or groups, both ends included."""

    min: _Id = 0
    max: _Id = 0

    @model_validator(mode="after")
    def _in_order(self) -> IdRange:
        if self.min > self.max:
            raise ValueError("min cannot be greater than max")
        return self


class _Rule(Strict):
    rule: str
    ranges: list[IdRange] = []

    @property
    def default(self) -> int | None:
        """The user or group given to what names none."""
        return self.ranges[0].min if self.rule == "MustRunAs" else None

    def _has(self, number: int) -> bool:
        return any(each.min <= number <= each.max for each in self.ranges)

    def _must(self) -> str:
        """Return what is wanted, with the ranges as Go's %v shows them: ``[{1 10} {20 30}]``."""
        text = " ".join(f"{{{each.min} {each.max}}}" for each in self.ranges)
        return f"must be in the ranges: [{text}]"


class RunAsUser(_Rule):
    """pkg/security/podsecuritypolicy/user."""

    rule: Literal["MustRunAs", "MustRunAsNonRoot", "RunAsAny"]

    @property
    def must_be_non_root(self) -> bool:
        """Return whether a container that names no user gets ``runAsNonRoot``."""
        return self.rule == "MustRunAsNonRoot"

    def refusals(self, path: str, non_root: bool | None, user: int | None) -> list[str]:
        """Return why a container may not run so; the path is that of its security context."""
        if self.rule == "MustRunAs" and user is not None and not self._has(user):
            return [invalid(f"{path}.runAsUser", user, self._must())]
        if not self.must_be_non_root:
            return []
        if non_root is False:
            return [invalid(f"{path}.runAsNonRoot", value=False, detail="must be true")]
        if user == 0:
            return [invalid(f"{path}.runAsUser", 0, "running with the root UID is forbidden")]
        return []


class Groups(_Rule):
    """pkg/security/podsecuritypolicy/group."""

    rule: Literal["MustRunAs", "MayRunAs", "RunAsAny"]

    def refusals(self, path: str, groups: Sequence[int]) -> list[str]:
        """Return why these groups may not be used; MustRunAs refuses a list that is empty on purpose."""
        if self.rule == "RunAsAny":
            return []
        if not groups and self.rule == "MustRunAs":
            return [invalid(path, groups, "unable to validate empty groups against required ranges")]
        return [
            invalid(path, groups, f"group {group} {self._must()}") for group in groups if not self._has(group)
        ]
