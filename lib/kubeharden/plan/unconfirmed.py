"""Changes that are open while a plan is made: what was seen there may not last, so no plan is made of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from kubeharden.facts import Facts, OpenChange
from kubeharden.plan.model import Remark, subject_of

STUCK = "stuck"  # the state of transaction.sh


def refusals(facts: Facts) -> Iterator[Remark]:
    """Yield each change that was open while nodes were read: which run began it, until when it lasts, what to do."""
    for change in facts.open_changes:
        yield Remark(subject_of(change.service, change.node), open_words(change))


def open_words(change: OpenChange) -> str:
    """Return which run began a change, until when it is open, and what to do."""
    undo = f"sudo sh /var/lib/kubeharden/transaction.sh undo {change.run}"
    begun = f"run {change.run} ({change.holder}) began a change of it at {change.since}"
    if change.state == STUCK:
        return (
            f"{begun}, and not every file of it could be put back. Mend that, then, on the node: {undo}. Then look and "
            "plan again"
        )
    by_itself = f"at {change.until} or soon after" if change.until else "by itself"
    return (
        f"{begun}, which nobody has confirmed ({change.state}): what was seen there may not last. Unless that run "
        f"confirms it, the node puts it back {by_itself}; at once with: {undo}. Look and plan again once it is over"
    )
