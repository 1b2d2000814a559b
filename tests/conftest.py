"""Marks, samples and shared fixtures: papermill as a user calls it, and rehearsal clusters."""

from __future__ import annotations

import gc
import os
import pwd
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

import sampling
from kubeharden.redaction import Redactor
from kubeharden_rehearsal import Rehearsal
from marks import in_turns, mark_of
from rehearsals import Rehearsals
from support import QUICK, Papermill


def pytest_configure(config: pytest.Config) -> None:
    sampling.begin()
    # Of the processes that tests start; see there.
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(QUICK), os.environ.get("PYTHONPATH"))))
    settings.register_profile("sampled", max_examples=sampling.examples(settings.default.max_examples))
    settings.load_profile("sampled")


def pytest_report_header() -> str:
    return sampling.header()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for line in sampling.summary(terminalreporter.stats.get("passed", ())):
        terminalreporter.write_line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        item.add_marker(mark_of(item))
    sampling.leave_out(items)
    items[:] = in_turns(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))


@pytest.hookimpl(trylast=True)
def pytest_collection_finish() -> None:
    gc.collect()
    gc.freeze()  # thousands of tests, which stay to the end: no collection of garbage need look through them


@pytest.fixture(autouse=True)
def no_cluster_where_it_is_fast(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the marks "fast" and "wide" to their word; nor do they wait for a disk: no test cuts off the power here."""
    if mark_of(request.node) in ("fast", "wide"):
        monkeypatch.setattr(Rehearsal, "start", _refuse)
        monkeypatch.setattr(os, "fsync", lambda _: None)


def _refuse(*_: object) -> None:
    pytest.fail("a test that starts a cluster is not fast: take it from the fixture 'rehearsals'")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home without keys, for every way to look for them: those of whoever runs the tests are not asked."""
    made, user = tmp_path / "home", pwd.getpwuid(os.getuid())
    (made / ".ssh").mkdir(parents=True)
    monkeypatch.setenv("HOME", str(made))
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    for name in ("KUBEHARDEN_SIGNING_KEY", "KUBEHARDEN_ALLOWED_SIGNERS", "SSH_AUTH_SOCK", "SUDO_USER"):
        monkeypatch.delenv(name, raising=False)
    there = pwd.struct_passwd((*user[:5], str(made), user.pw_shell))
    monkeypatch.setattr(pwd, "getpwuid", lambda _: there)
    return made


@pytest.fixture
def redactor() -> Redactor:
    """A redactor that has learnt nothing yet."""
    return Redactor()


@pytest.fixture
def papermill(tmp_path: Path) -> Papermill:
    """Run ``papermill harden.ipynb``, or another source, with parameters, in a process of its own."""
    return Papermill(tmp_path)


@pytest.fixture(scope="session")
def rehearsals(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rehearsals]:
    """The rehearsal clusters that tests share."""
    found = Rehearsals(tmp_path_factory.mktemp("rehearsals"))
    yield found
    found.stop()


@pytest.fixture
def article(rehearsals: Rehearsals) -> Rehearsal:
    """The rehearsal cluster article-1.10 as it is when it starts."""
    return rehearsals.fresh("article-1.10")
