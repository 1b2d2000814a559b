"""PodSecurityPolicies judged by a real API server 1.20.2: random pods, policies, grants and users, and the examples.

KUBEHARDEN_PSP_PODS=20000 tries that many pods instead of 2,000. A disagreement names its seed;
KUBEHARDEN_PSP_SEED=SEED tries that round alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from apiserver import ApiServer, missing
from psp_judging import Tally, judge_creation, judge_example, judge_updates
from psp_rounds import Round, prepare, seeds

from psp_examples import examples


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    if absent := missing():
        pytest.skip(f"needs the lab's programs (make lab builds them): {absent}")
    with ApiServer(tmp_path_factory.mktemp("judge")) as running:
        prepare(running)
        yield running


OUTCOMES = {
    "admitted as it is",
    "admitted filled in",
    "refused",
    "invalid once filled in",
    "updated",
    "update refused",
}


def test_the_server_agrees_about_random_pods(
    server: ApiServer, record_property: Callable[[str, object], None]
) -> None:
    tally = Tally()
    for seed in seeds():
        there = Round(server, seed)
        with there.on_server():
            judge_creation(there, tally)
            judge_updates(there, tally)
    record_property("judged", tally.outcomes)
    found = tally.disagreements
    assert not found, f"{len(found)} disagreements, the first of them:\n" + "\n\n".join(found[:3])
    assert set(tally.outcomes) == OUTCOMES, "some outcome was never tried"


def test_the_server_agrees_with_the_examples(server: ApiServer) -> None:
    numbered = list(enumerate(examples()))
    found = server.each(numbered, lambda pair: judge_example(server, pair[1], pair[0]))
    wrong = [f"{example.name}: {words}" for (_, example), words in zip(numbered, found, strict=True) if words]
    assert not wrong, "\n\n".join(wrong)
