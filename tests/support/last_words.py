"""Why a service of a control plane ended, by what it said itself: its journal is the witness, and no exit status."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence

# They work only while they hold a lease, and end themselves once they could not renew it for 10 s
# (--leader-elect-renew-deadline), which an API server that is away for that long makes them do.
LEADERS = frozenset({"kube-scheduler", "kube-controller-manager"})
LOST = "leaderelection lost"
KLOG = re.compile(r"([IWEF])\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] (.*)")


def lost_its_lease(service: str, lines: Iterable[str]) -> bool:
    """Whether a process says that it ended because it could not renew its lease, and names no other reason.

    What klog logs as fatal ends the process, and the stacks of all goroutines follow it: the reason is not in the last
    line. A process that was killed or panicked has no such line; schedulers of 1.21 and later that were told to stop
    have, but none that they could not renew.
    """
    said = [(match[1], match[2].strip()) for line in lines if (match := KLOG.match(line))]
    reasons = {text for severity, text in said if severity == "F"}
    failed = any(text.startswith(f"failed to renew lease kube-system/{service}: ") for _, text in said)
    return service in LEADERS and failed and reasons == {LOST}


def processes_since(journal: str, first: str, now: str) -> list[list[str]]:
    """What each process of a service said that has ended: from the one that ran first up to the one that runs now.

    Args:
        journal: entries of one service, as ``journalctl -o json`` shows them.
        first: the invocation of the service that ran at the beginning.
        now: the invocation that runs now.
    """
    said: dict[str, list[str]] = {}
    for entry in map(json.loads, journal.splitlines()):
        said.setdefault(entry.get("_SYSTEMD_INVOCATION_ID", ""), []).append(_text(entry.get("MESSAGE")))
    order = list(said)
    if first not in said:
        return [[]]  # it ran, and nothing is known of its end
    return [said[invocation] for invocation in order[order.index(first) :] if invocation != now]


def end_of(lines: Sequence[str]) -> str:
    """How a process ended, in short: its reasons, or its last line."""
    reasons = [line for line in lines if KLOG.match(line) and line.startswith("F")] or list(lines[-1:])
    return " / ".join(reasons) or "it said nothing"


def _text(message: str | list[int] | None) -> str:
    """A message; journalctl shows one that is no text as its bytes."""
    return bytes(message).decode(errors="replace") if isinstance(message, list) else message or ""
