"""What the tests of fleets share: a fleet.yaml, and runs as records have them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from kubeharden.records.archive import runs_in
from kubeharden.records.journal import JOURNAL
from kubeharden_fleet.fleet import Fleet, read_fleet
from kubeharden_fleet.judge import FleetRun

DIGEST = "ab" * 32


def content(**changes: Any) -> dict[str, Any]:
    """A fleet.yaml of four clusters in three waves; a change of None leaves a key out."""
    made = {
        "fleet": "europe",
        "notebook": "harden.ipynb",
        "records": "records",
        "clusters": [{"name": name, "inventory": f"{name}.yaml"} for name in ("canary", "a", "b", "c")],
        "waves": [
            {"name": "canary", "clusters": ["canary"]},
            {"name": "some", "clusters": ["a", "b"]},
            {"name": "rest", "clusters": ["c"]},
        ],
        **changes,
    }
    return {key: value for key, value in made.items() if value is not None}


def write_fleet(folder: Path, **changes: Any) -> Path:
    """Write a fleet.yaml with the files that it names."""
    made = content(**changes)
    for name in ("harden.ipynb", *(str(cluster.get("inventory", "")) for cluster in made["clusters"])):
        if name and ":" not in name and "missing" not in name:
            (folder / name).write_text("{}")
    path = folder / "fleet.yaml"
    path.write_text(yaml.safe_dump(made))
    return path


def fleet(folder: Path, **changes: Any) -> Fleet:
    """A fleet that has been read."""
    return read_fleet(write_fleet(folder, **changes))


def fleet_run(result: str = "planned", *, at: str = "20261129T140000.000Z", **changes: Any) -> FleetRun:
    """A run; ``left`` are the subjects that are not done, ``kind`` that of the error that ended it, ``words`` those of
    its changes, each of a node that was not Ready for ``not_ready`` seconds."""
    own = {name: changes.pop(name) for name in ("sealed", "running", "wrong") if name in changes}
    not_ready = changes.pop("not_ready", None)
    left, kind, words = (
        changes.pop("left", ()),
        changes.pop("kind", ""),
        changes.pop("words", ()),
    )
    record = {
        "result": result,
        "mode": "plan" if result == "planned" else "apply",
        "ended": "2026-11-29T14:00:09.000+00:00",
        "plan": {"digest": DIGEST, "refused": [], "remarks": [], "breaking": []},
        "not_done": [{"step": "kubelet", "subject": subject, "why": ""} for subject in left],
        "errors": [{"kind": kind, "verb": "apply", "message": f"{kind}: a sentence"}] if kind else [],
        "changes": [
            {"subject": f"kubelet on n{number}", "result": "completed", "words": text, "not_ready": not_ready}
            for number, text in enumerate(words)
        ],
        "approval": None,
        **changes,
    }
    return FleetRun(f"{at}-europe", record, **own)


def has_begun(runs: Path) -> bool:
    """Whether something was carried out by one of these runs."""
    journals = [run / JOURNAL for run in runs_in(runs)] if runs.is_dir() else []
    return any(path.is_file() and '"completed"' in path.read_text() for path in journals)
