"""Tests with a real Airflow. They run with KUBEHARDEN_FLEET=1 only, as `make test-fleet` sets it."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from airflow_here import Airflow, make_key

from marks import mark_of

SWITCH = "KUBEHARDEN_FLEET"
REASON = f"needs an environment with Airflow: run `make test-fleet`, which sets {SWITCH}=1"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if os.environ.get(SWITCH) != "1":
        for item in items:
            if mark_of(item) == "fleet":
                item.add_marker(pytest.mark.skip(reason=REASON))


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Airflow]:
    """A scheduler, a processor of DAGs and an API server; the person who approves is logged in."""
    home = tmp_path_factory.mktemp("airflow")
    variables = {"KUBEHARDEN_SIGNING_KEY": str(make_key(home)), "KUBEHARDEN_ALLOWED_SIGNERS": ""}
    made = Airflow(home, variables)
    made.run("db", "migrate")
    made.run("pools", "set", "kubeharden", "2", "runs at once")
    try:
        for name in ("api-server", "scheduler", "dag-processor"):
            made.begin(name)
        made.log_in()
        os.environ["KUBEHARDEN_SIGNING_KEY"] = variables["KUBEHARDEN_SIGNING_KEY"]
        yield made
    finally:
        os.environ.pop("KUBEHARDEN_SIGNING_KEY", None)
        made.stop()
