"""kill -9 at random moments: the journal can be read, and what it says happened is what the nodes show."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import random
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import jsonschema

from kubeharden.plan.events import Completed, Started
from kubeharden.records.folder import PastRun, read_run
from kubeharden.records.summary import build_record, record_schema

KILLS = int(os.environ.get("KUBEHARDEN_KILLS", "4"))
SEED = int(os.environ.get("KUBEHARDEN_SEED", "0")) or random.SystemRandom().randrange(1, 10**6)
LINES = 42  # about as many as the journal of a whole run has
DRIVER = """
import sys
from kubeharden import runbook
run = runbook.start({"In": [""], "rehearsal_dir": sys.argv[1], "output_dir": sys.argv[2], "dns_ip": "10.0.0.10"})
run.look()
run.plan()
for step in run.parameters.steps:
    run.apply(step)
run.prove()
run.finish()
"""


def test_what_a_killed_run_says_is_what_the_nodes_show(tmp_path: Path) -> None:
    print(f"KUBEHARDEN_SEED={SEED}")  # noqa: T201 - pytest shows it where the test fails
    dice = random.Random(SEED)
    throws = [(dice.randrange(1, LINES), dice.uniform(0, 0.4)) for _ in range(KILLS)]
    with ThreadPoolExecutor(2) as pool:
        numbered = enumerate(throws)
        results = list(pool.map(lambda throw: _killed(tmp_path / str(throw[0]), *throw[1]), numbered))
    # Not every moment is before the first change or after the last.
    assert {"cut off"} <= set(results) <= {"cut off", "done"}


def _killed(place: Path, lines: int, pause: float) -> str:
    """A run that is killed once its journal has so many lines, and some seconds later; what its record says it is."""
    place.mkdir()
    rehearsal, records = place / "rehearsal", place / "records"
    with subprocess.Popen(
        [sys.executable, "-c", DRIVER, rehearsal, records],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as driver:
        while driver.poll() is None and _lines(records) < lines:
            time.sleep(0.02)
        time.sleep(pause)
        driver.kill()
    _wait_until_free(rehearsal)
    [folder] = records.iterdir()
    past = read_run(folder)
    assert past.problems == ()
    assert not past.running
    record = build_record(past)
    jsonschema.Draft202012Validator(record_schema()).validate(record)
    _compare(past, rehearsal)
    return str(record["result"])


def _compare(past: PastRun, rehearsal: Path) -> None:
    """Hold the journal against the nodes' files and the API's objects."""
    begun = {event.subject for event in past.of(Started)}
    completed = {event.subject for event in past.of(Completed)}
    plan = past.plan or {"nodes": [], "objects": []}
    assert bool(past.plan) or not begun
    for change in plan["nodes"]:
        subject = f"{change['service']} on {change['node']}"
        for file in change["files"]:
            path = rehearsal / "nodes" / change["node"] / file["path"].lstrip("/")
            now = hashlib.sha256(path.read_bytes()).hexdigest() if path.exists() else "absent"
            assert now in _possible(subject, begun, completed, file["before"], file["after"]), (subject, path)
    there = {_name(item) for item in json.loads((rehearsal / "cluster.json").read_text())["items"]}
    for change in plan["objects"]:
        name = _name(change["manifest"])
        assert (name in there) in _possible(name, begun, completed, False, True), name
    for kept in past.files:  # what a rollback needs was kept before anything was changed
        if kept.before != "absent":
            assert hashlib.sha256(past.content(kept.node, kept.before).encode()).hexdigest() == kept.before
    kept_subjects = {f"{kept.service} on {kept.node}" for kept in past.files} | {
        kept.name for kept in past.objects
    }
    assert completed <= kept_subjects


def _possible(
    subject: str, begun: set[str], completed: set[str], before: object, after: object
) -> set[object]:
    if subject in completed:
        return {after}
    return {before, after} if subject in begun else {before}


def _name(item: dict) -> str:
    meta = item["metadata"]
    namespace = f"{meta['namespace']}/" if "namespace" in meta else ""
    return f"{item['kind']} {namespace}{meta['name']}"


def _lines(records: Path) -> int:
    return sum(path.read_bytes().count(b"\n") for path in records.glob("*/journal.jsonl"))


def _wait_until_free(rehearsal: Path) -> None:
    """Wait until the rehearsal has ended, as it does when nobody holds its standard input any more."""
    end = time.monotonic() + 60
    with (rehearsal / "state/lock").open() as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                assert time.monotonic() < end, "the rehearsal outlives the run"
                time.sleep(0.05)
            else:
                return
