"""Changes that are open: their words, and why no plan is made of what was seen meanwhile. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kubeharden.facts import Facts, OpenChange
from kubeharden.plan.model import Remark, subject_of

STUCK = "stuck"  # the state of transaction.sh
UNDO = "sudo sh /var/lib/kubeharden/transaction.sh undo"  # on a node


def refusals(facts: Facts) -> Iterator[Remark]:
    """Yield each change that was open while nodes were read: which run began it, until when it lasts, what to do."""
    return map(_refusal, facts.open_changes)


def refused_for_now(facts: Facts) -> Iterator[Remark]:
    """Yield those of ``refusals`` that are over by themselves: the node puts them back, or their run confirms them."""
    return (_refusal(change) for change in facts.open_changes if change.state != STUCK)


def open_lines(changes: Iterable[OpenChange]) -> str:
    """Return open changes in words, a line each."""
    return "\n".join(f"  {subject_of(c.service, c.node)}: {open_words(c)}" for c in changes)


def open_words(change: OpenChange) -> str:
    """Return which run began a change, until when it is open, and what to do."""
    undo = f"{UNDO} {change.run}"
    begun = f"run {change.run} ({change.holder}) began a change of it at {change.since}"
    if change.state == STUCK:
        return f"{begun}, and not every file of it could be put back. Mend that, then, on the node: {undo}"
    return (
        f"{begun}, which nobody has confirmed ({change.state}). Unless that run confirms it, the node puts it back "
        f"{when_over(change.until)}; at once with: {undo}"
    )


def when_over(until: str) -> str:
    """Return when the node itself ends a change, by the time that it says; empty where it says none."""
    return f"at {until} or soon after" if until else "by itself"


def _refusal(change: OpenChange) -> Remark:
    after = "What was seen there may not last: look and plan again once it is over"
    return Remark(subject_of(change.service, change.node), f"{open_words(change)}. {after}")
