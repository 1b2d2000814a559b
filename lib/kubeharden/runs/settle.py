"""Waiting before a run looks: for changes of other runs, and for services that systemd starts again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from kubeharden.edges.observe import observe
from kubeharden.errors import LockedError, NodeError
from kubeharden.plan.events import Waited
from kubeharden.plan.open_changes import STUCK, open_lines
from kubeharden.plan.proof import started_again
from kubeharden.rollout.leftovers import wait_for_open_changes
from kubeharden.show.live import Reading

if TYPE_CHECKING:
    from kubeharden.facts import Facts, OpenChange
    from kubeharden.runs.run import Run

# How long a node may take to be over with a change, once its time to be confirmed is up.
OVER_SECONDS = 120
# How long what lost its lease while the API server was away may take to run again, and how often that is looked at.
AGAIN_SECONDS, AGAIN_POLL_SECONDS = 60, 2.0


def wait_for_other_runs(run: Run) -> tuple[OpenChange, ...]:
    """Wait until the changes are over that other runs have open on nodes; return what is still open then.

    Raises:
        NodeError: a node cannot be reached; or, in ``apply`` mode, a change could not be put back.
        LockedError: in ``apply`` mode, a change is still open.
    """
    seconds = run.rollout.pace.confirm_timeout + OVER_SECONDS
    waited, left = wait_for_open_changes(run.nodes, run.ports.clock, seconds, run.say)
    if waited:
        run.emit(Waited(sorted({change.node for change in waited} - {change.node for change in left})))
    if left and run.kind.mode == "apply":
        raises = NodeError if any(change.state == STUCK for change in left) else LockedError
        raise raises(
            f"a change that another run began is still open:\n{open_lines(left)}\nRun again once it is over"
        )
    return left


def observe_all(run: Run) -> Facts:
    """Read every node of a run and the cluster, and show how far that is."""
    return replace(observe(run.ports, Reading()), left_out=run.left_out)


def observe_settled(run: Run) -> Facts:
    """Look, and again until systemd has started again what ended when the API server was away for too long."""
    clock, waited = run.ports.clock, False
    end = clock.monotonic() + AGAIN_SECONDS
    while (ended := started_again(run.facts, after := observe_all(run))) and clock.monotonic() < end:
        if not waited:
            run.say(f"These ended, and are waited for until systemd starts them: {', '.join(ended)}.")
        waited = True
        clock.sleep(AGAIN_POLL_SECONDS)
    return after
