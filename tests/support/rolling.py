"""Runs of the runbook on a rehearsal that outlives them, as tests of what happens between runs need them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeharden import runbook
from kubeharden.errors import KubehardenError, StepError
from kubeharden_rehearsal import Rehearsal


def inventory_of(rehearsal: Rehearsal, name: str, **changed: Any) -> Path:
    """A copy of a rehearsal's inventory with other values."""
    content = yaml.safe_load(rehearsal.inventory.read_text()) | changed
    path = rehearsal.inventory.with_name(f"{name}.yaml")
    path.write_text(yaml.safe_dump(content))
    return path


def planned_run(
    rehearsal: Rehearsal, records: Path, inventory: Path | None = None, **given: Any
) -> runbook.Run:
    """A run that has looked and planned."""
    run = runbook.start(
        {
            "In": [""],
            "inventory": str(inventory or rehearsal.inventory),
            "output_dir": str(records),
            **given,
        }
    )
    run.check()
    run.look()
    run.plan()
    return run


def events_of(run: runbook.Run, *actions: str) -> list[dict[str, Any]]:
    """The events of a run's journal with one of these actions."""
    lines = (run.record.folder / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["action"] in actions]


@contextmanager
def fails(kind: type[KubehardenError], match: str | None = None) -> Iterator[pytest.ExceptionInfo[StepError]]:
    """Expect a step to fail because of an error of this kind, which is the failure of one of its subjects."""
    with pytest.raises(StepError, match=match) as error:
        yield error
    assert isinstance(error.value.__cause__, kind)
    assert error.value.__cause__ in error.value.failures.values()
    assert all(f"{subject}: " in str(error.value) for subject in error.value.failures)


def subjects(run: runbook.Run, *actions: str) -> list[str]:
    """What the events with one of these actions are about."""
    return [event["subject"] for event in events_of(run, *actions)]


def has_config(rehearsal: Rehearsal, node: str, service: str = "kubelet") -> bool:
    """Whether a service's config file is there."""
    return (rehearsal.directory / f"nodes/{node}/etc/kubernetes/{service}.conf").exists()
