"""Fixtures of the tests on a real cluster. They run with KUBEHARDEN_LAB=1 only, as `make test-lab` sets it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from changes import Hands, hands
from places import LAB_RELEASE, Node, existing
from runs import Hardened, Runbook, before_state
from xdist.remote import Producer
from xdist.scheduler import LoadScopeScheduling

from marks import mark_of

SWITCH = "KUBEHARDEN_LAB"
OF_ANY_RELEASE = ("test_releases.py", "test_api_alike.py")
REASON = f"needs a real cluster (root, Debian): run `make test-lab`, which sets {SWITCH}=1"
# Fixtures with the lab's nodes, and the modules that have one. All others have programs of their own.
FIXTURES = {"unhardened_lab", "fresh_lab", "hardened", "rounds"}
# These share a lab that nobody has hardened: each leaves more of it changed than the one before.
SHARE = ("test_bad_days.py", "test_poison.py", "test_crashes.py", "test_kubelet_flag_sets.py")
WITH_NODES = (*SHARE, "test_hardened.py", "test_who_breaks.py", "test_releases.py")
YIELDS = 10  # niceness


class LabState:
    """What the modules of this run have left of the lab."""

    is_unhardened = False  # and it works; what was done to it before is not known


class ByNodes(LoadScopeScheduling):
    """One process has all modules with nodes, and another one may have the rest at the same time."""

    def _split_scope(self, nodeid: str) -> str:
        module = nodeid.partition("::")[0].rpartition("/")[2]
        return "nodes" if module in WITH_NODES else module


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ByNodes:
    return ByNodes(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=_turn)
    for item in items:
        if mark_of(item) != "lab":
            continue
        module = item.path.name
        if _has_nodes(item) != (module in WITH_NODES):
            raise pytest.UsageError(
                f"{item.nodeid}: WITH_NODES in {__file__} says otherwise what has the nodes"
            )
        if os.environ.get(SWITCH) != "1":
            item.add_marker(pytest.mark.skip(reason=REASON))
        elif module not in OF_ANY_RELEASE and LAB_RELEASE.source != "debian":
            item.add_marker(pytest.mark.skip(reason="is about the lab of the oldest release"))


def _has_nodes(item: pytest.Item) -> bool:
    return not FIXTURES.isdisjoint(getattr(item, "fixturenames", ()))


def _turn(item: pytest.Item) -> int:
    return SHARE.index(item.path.name) if item.path.name in SHARE else len(SHARE)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Tests of the lab that compute yield to its nodes, whose tests mostly wait, and would see them late."""
    if mark_of(item) != "lab" or _has_nodes(item) or os.geteuid():  # pytest asks here for tests of any folder
        return (yield)
    before = os.getpriority(os.PRIO_PROCESS, 0)
    os.setpriority(os.PRIO_PROCESS, 0, max(before, YIELDS))
    try:
        return (yield)
    finally:
        os.setpriority(os.PRIO_PROCESS, 0, before)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which random flag sets and pods were tried, those that passed too."""
    for report in terminalreporter.stats.get("passed", ()):
        told = dict(report.user_properties)
        if seeds := told.get("seeds"):
            terminalreporter.write_line(
                f"{report.nodeid.rpartition('::')[2]}: seeds {' '.join(map(str, seeds))}"
            )
        if judged := told.get("judged"):
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(judged.items()))
            terminalreporter.write_line(f"  the API server agrees: {outcomes}")


@pytest.fixture(scope="module")
def worker(unhardened_lab: None) -> Node:
    """A node that is not of the control plane."""
    return existing()[-1]


@pytest.fixture
def at(tmp_path: Path) -> Iterator[Callable[..., Hands]]:
    """The library's hands on the lab, with a settling time."""
    with hands(tmp_path) as make:
        yield make


@pytest.fixture
def runbook(tmp_path: Path) -> Runbook:
    return Runbook(tmp_path)


@pytest.fixture(scope="session")
def lab_state() -> LabState:
    return LabState()


@pytest.fixture(scope="module")
def unhardened_lab(lab_state: LabState) -> None:
    """A lab that works and that nobody has hardened; what modules of ``SHARE`` have left there may be there."""
    if not lab_state.is_unhardened:
        before_state()
        lab_state.is_unhardened = True


@pytest.fixture(scope="module")
def fresh_lab(lab_state: LabState) -> None:
    """The lab in its before-state, whatever the module before left of it; nobody takes it back afterwards."""
    lab_state.is_unhardened = False
    before_state()


@pytest.fixture(scope="session")
def hardened(lab_state: LabState, tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """The lab from its before-state through mode=plan and mode=apply, with a look before, between and after."""
    lab_state.is_unhardened = False
    before_state()
    result = Hardened(tmp_path_factory.mktemp("hardened"))
    assert result.applied.status == 0, result.applied.output[-6000:]
    return result
