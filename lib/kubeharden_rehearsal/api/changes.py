"""The log of writes that watches read."""

from __future__ import annotations

from dataclasses import dataclass

from kubeharden_rehearsal.api.paging import Stored
from kubeharden_rehearsal.api.status import expired

_KEPT = 20_000


@dataclass(frozen=True)
class Change:
    """One write, as a watch tells of it.

    Attributes:
        type: ``ADDED``, ``MODIFIED`` or ``DELETED``.
        stored: the object after the write; for DELETED its last state.
        previous: the object before the write; None for ADDED.
    """

    type: str
    stored: Stored
    previous: Stored | None


class ChangeLog:
    """Every write since the last compaction; the resourceVersion of a write is its number."""

    def __init__(self) -> None:
        self._changes: list[Change] = []
        self._compacted = 0

    def append(self, change: Change) -> None:
        """Note the next write; when the log is long, its older half is forgotten."""
        self._changes.append(change)
        if len(self._changes) > _KEPT:
            self._forget(len(self._changes) // 2)

    def compact(self, resource_version: int) -> None:
        """Forget all writes; the next one has the number after ``resource_version``."""
        self._changes.clear()
        self._compacted = resource_version

    def since(self, resource_version: int) -> list[Change]:
        """All writes after a resourceVersion.

        Raises:
            ApiError: 410, writes after it have been forgotten.
        """
        if resource_version < self._compacted:
            raise expired(f"too old resource version: {resource_version} ({self._compacted})")
        return self._changes[resource_version - self._compacted :]

    def _forget(self, count: int) -> None:
        del self._changes[:count]
        self._compacted += count
