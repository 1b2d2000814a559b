"""The number of nodes that are changed at the same time. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

FORMS = 'expected a number of nodes from 1 on, or a percentage of them such as "25%"'


@dataclass(frozen=True)
class BatchSize:
    """The size of a batch: a number of nodes, or a percentage of the cluster's nodes."""

    number: int = 1
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> BatchSize:
        """Read ``3`` or ``25%``.

        Raises:
            ValueError: it is neither.
        """
        match = re.fullmatch(r"([0-9]{1,4})(%?)", text)
        if match is None or int(match[1]) < 1 or (match[2] and int(match[1]) > 100):  # noqa: PLR2004
            raise ValueError(f"is not a size of a batch; {FORMS}")
        return cls(int(match[1]), percent=bool(match[2]))

    def __str__(self) -> str:
        return f"{self.number}{'%' if self.percent else ''}"

    def of(self, nodes: int) -> int:
        """Return the number of nodes in a batch of a cluster of ``nodes`` nodes: rounded down, at least one."""
        return max(1, nodes * self.number // 100) if self.percent else self.number
