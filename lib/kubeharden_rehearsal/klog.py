"""Log lines as Kubernetes components write them (glog up to 1.12, klog after it: the same header)."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime


@dataclass(frozen=True)
class Klog:
    """The log of one process."""

    pid: int
    time: float

    def line(self, severity: str, source: str, text: str) -> str:
        """``I0428 15:31:39.812345    1370 server.go:182] text``; severity is I, W, E or F."""
        moment = datetime.fromtimestamp(self.time, UTC)
        return f"{severity}{moment:%m%d %H:%M:%S.%f} {self.pid:7d} {source}] {text}"

    def command_failed(self, error: str) -> str:
        """What component-base's cli.Run logs of an error, since 1.23 or 1.24."""
        return self.line("E", "run.go:74", f'"command failed" err={json.dumps(error)}')
