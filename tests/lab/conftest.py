"""Fixtures of the tests on a real cluster. They run with KUBEHARDEN_LAB=1 only, as `make test-lab` sets it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from flag_domains import seeds, seeds_of_kubelets
from places import LAB_RELEASE
from psp_rounds import seeds as psp_seeds
from runs import Hardened, Runbook, before_state

from marks import mark_of

SWITCH = "KUBEHARDEN_LAB"
OF_ANY_RELEASE = ("test_releases.py", "test_api_alike.py")
REASON = f"needs a real cluster (root, Debian): run `make test-lab`, which sets {SWITCH}=1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if mark_of(item) != "lab":
            continue
        if os.environ.get(SWITCH) != "1":
            item.add_marker(pytest.mark.skip(reason=REASON))
        elif item.path.name not in OF_ANY_RELEASE and LAB_RELEASE.source != "debian":
            item.add_marker(pytest.mark.skip(reason="is about the lab of the oldest release"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say which random flag sets and pods were tried, those that passed too."""
    tried = any("test_flag_sets" in report.nodeid for report in terminalreporter.stats.get("passed", ()))
    if tried:
        told = f"{' '.join(map(str, seeds()))}; of kubelets {' '.join(map(str, seeds_of_kubelets()))}"
        terminalreporter.write_line(f"random flag sets, by seed: {told}")
    for report in terminalreporter.stats.get("passed", ()):
        if judged := dict(report.user_properties).get("judged"):
            outcomes = ", ".join(f"{count} {outcome}" for outcome, count in sorted(judged.items()))
            terminalreporter.write_line(
                f"random pods and policies, by seed: {' '.join(map(str, psp_seeds()))}"
            )
            terminalreporter.write_line(f"  the API server agrees: {outcomes}")


@pytest.fixture
def runbook(tmp_path: Path) -> Runbook:
    return Runbook(tmp_path)


@pytest.fixture(scope="module")
def fresh_lab() -> None:
    """The lab in its before-state, whatever the module before left of it; nobody takes it back afterwards."""
    before_state()


@pytest.fixture(scope="session")
def hardened(tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """The lab from its before-state through mode=plan and mode=apply, with a look before, between and after."""
    before_state()
    result = Hardened(tmp_path_factory.mktemp("hardened"))
    assert result.applied.status == 0, result.applied.output[-6000:]
    return result
