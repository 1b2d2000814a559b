"""A change that fails on a real node, and what must be as it was afterwards."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from changes import Hands
from cluster import wait_for_nodes
from places import existing
from steps import wait
from truth import (
    differences,
    leaders_missing,
    look,
    restarted,
    services_missing,
    unexplained,
    without_kubeharden,
)

from kubeharden.errors import KubehardenError
from kubeharden.plan import NodeChange

EVER = datetime.min.replace(tzinfo=UTC)


def poisoned(hand: Hands, change: NodeChange, *, clean: bool = True) -> str:
    """Carry a change out that fails; the words. Nothing of any node has changed, and nobody restarted anything else.

    With ``clean``, what kubeharden keeps on the node goes afterwards, and with it the backups of runs before.
    """
    before = look()
    with pytest.raises(KubehardenError) as caught:
        hand.roll_out(change)
    if clean:
        hand.nodes.clean([change.node])
    came_back = datetime.now(UTC)
    wait_for_nodes(existing(), EVER)
    wait("the leaders", lambda: leaders_missing(came_back), seconds=90)
    wait("every service", lambda: services_missing(before), seconds=60)
    after = look()
    of_others = dict if clean else without_kubeharden
    assert differences(of_others(before.files), of_others(after.files)) == {}
    others = restarted(before, after) - {(change.node, change.service)}
    if change.service == "kube-apiserver":  # whoever lost a lease meanwhile ended itself: nobody touched it
        assert unexplained(before, after, others) == {}
    else:
        assert others == set()
    assert after.configz == before.configz
    assert after.containers == before.containers
    return str(caught.value)
