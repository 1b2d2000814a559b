"""Canary, batches, and the control plane last and one by one: pure, so tables are enough."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeharden.facts import NodeFacts
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.rollout.order import batches

WORKERS = [NodeFacts(f"w{number}", control_plane=False) for number in range(1, 8)]
MASTERS = [NodeFacts(f"m{number}", control_plane=True) for number in range(1, 4)]


def shown(found: list[list[str]]) -> str:
    return " | ".join(" ".join(batch) for batch in found)


@pytest.mark.parametrize(
    ("places", "wanted", "size", "expected"),
    [
        (WORKERS, "w1 w2 w3 w4 w5 w6 w7", 1, "w1 | w2 | w3 | w4 | w5 | w6 | w7"),
        (WORKERS, "w1 w2 w3 w4 w5 w6 w7", 3, "w1 | w2 w3 w4 | w5 w6 w7"),
        (WORKERS, "w1 w2 w3 w4 w5 w6 w7", 4, "w1 | w2 w3 w4 w5 | w6 w7"),
        (WORKERS, "w1 w2 w3 w4 w5 w6 w7", 50, "w1 | w2 w3 w4 w5 w6 w7"),
        (MASTERS + WORKERS[:3], "m1 m2 m3 w1 w2 w3", 5, "w1 | w2 w3 | m1 | m2 | m3"),
        (MASTERS, "m1 m2 m3", 3, "m1 | m2 | m3"),
        (MASTERS[:1], "m1", 3, "m1"),
        # What is done already takes no place in a batch; the first of the rest is the canary again.
        (MASTERS + WORKERS, "m2 w4 w6 w7", 2, "w4 | w6 w7 | m2"),
        (WORKERS, "", 2, ""),
    ],
)
def test_the_order(places: list[NodeFacts], wanted: str, size: int, expected: str) -> None:
    assert shown(batches(places, wanted.split(), size)) == expected


@given(
    st.lists(st.booleans(), max_size=30),
    st.sets(st.integers(min_value=0, max_value=29)),
    st.integers(min_value=1, max_value=40),
)
def test_every_node_once_and_never_two_of_the_control_plane(
    roles: list[bool], chosen: set[int], size: int
) -> None:
    places = [NodeFacts(f"n{number}", control_plane) for number, control_plane in enumerate(roles)]
    wanted = [place.name for number, place in enumerate(places) if number in chosen]
    found = batches(places, wanted, size)
    assert sorted(name for batch in found for name in batch) == sorted(wanted)
    assert all(1 <= len(batch) <= size for batch in found)
    masters = {place.name for place in places if place.control_plane}
    order = ["m" if set(batch) & masters else "w" for batch in found]
    assert order == sorted(order, reverse=True)  # all workers, then the control plane
    assert all(len(batch) == 1 for batch in found if set(batch) & masters)
    assert not found or len(found[0]) == 1


@pytest.mark.parametrize(
    ("text", "nodes", "expected"),
    [("1", 50, 1), ("3", 50, 3), ("25%", 50, 12), ("25%", 4, 1), ("10%", 4, 1), ("100%", 7, 7), ("9", 4, 9)],
)
def test_a_size_is_a_number_or_a_percentage(text: str, nodes: int, expected: int) -> None:
    assert BatchSize.parse(text).of(nodes) == expected


@pytest.mark.parametrize("text", ["", "0", "0%", "-1", "1.5", "101%", "25 %", "half", "%", "1_0", "٣"])
def test_any_other_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size of a batch"):
        BatchSize.parse(text)
