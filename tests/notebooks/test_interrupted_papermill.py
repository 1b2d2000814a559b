"""A signal to papermill itself in the middle of a step: nothing is half, and the next run carries on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from kubeharden.edges.nodes import Nodes
from kubeharden.inputs.inventory import read_inventory
from kubeharden.plan.events import OUTCOMES, Completed, Error, Started
from kubeharden.records.folder import read_run
from kubeharden.records.summary import build_record
from kubeharden_rehearsal import Rehearsal
from support import ROOT, Papermill, environment, wait_until

NODE, UNIT, CONFIG = "k8s-node1", "etc/systemd/system/kubelet.service", "etc/kubernetes/kubelet.conf"

CONFIRM_SECONDS = 15


def papermill_on(rehearsal: Rehearsal, folder: Path, number: int) -> subprocess.Popen[bytes]:
    """papermill with the notebook on a cluster that outlives it, in a process of its own."""
    words = [sys.executable, "-m", "papermill", "harden.ipynb", str(folder / f"out-{number}.ipynb")]
    given = {
        "inventory": str(rehearsal.inventory),
        "output_dir": str(folder / "records"),
        "steps": ["kubelet"],
        "confirm_timeout": CONFIRM_SECONDS,
    }
    words += ["-y", json.dumps(given), "--no-progress-bar"]
    with (folder / f"out-{number}.txt").open("wb") as output:
        return subprocess.Popen(
            words, cwd=ROOT / "notebooks", env=environment(), stdout=output, stderr=subprocess.STDOUT
        )


@pytest.mark.sample(1)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_a_signal_to_papermill_leaves_nothing_half(
    article: Rehearsal, papermill: Papermill, tmp_path: Path, number: signal.Signals
) -> None:
    nodes = article.directory / "nodes"
    names = sorted(path.name for path in nodes.iterdir())
    old = {name: (nodes / name / UNIT).read_text() for name in names}

    interrupted = papermill_on(article, tmp_path, 1)
    wait_until(lambda: (nodes / NODE / UNIT).read_text() != old[NODE] or interrupted.poll() is not None, 60)
    interrupted.send_signal(number)
    assert interrupted.wait(60) != 0

    with Nodes(read_inventory(article.inventory)) as looking:
        wait_until(lambda: not any(found.open for found in looking.state([NODE])[NODE]), 60)
    [folder] = (tmp_path / "records").iterdir()
    wait_until(lambda: not read_run(folder).running)
    past = read_run(folder)
    assert past.problems == ()
    [started] = past.of(Started)  # no other node was begun
    assert started.subject == f"kubelet on {NODE}"
    over = [event for kind in OUTCOMES for event in past.of(kind)]
    if number == signal.SIGTERM and not over:
        # papermill kills the kernel after five seconds: then the node has put itself back, and the record is cut off.
        assert build_record(past)["result"] == "cut off"
    else:
        assert [event.subject for event in over] == [started.subject]
    if past.of(Error):
        # Whoever pressed Ctrl-C reads it there and then: papermill shows no words of a run that it interrupts.
        said = (tmp_path / "out-1.txt").read_text()
        assert "kubeharden: apply failed (StoppedError): stopped by " in said
        assert f"In hand were, and are finished: {started.subject}: " in said
    new = bool(past.of(Completed))
    assert (nodes / NODE / CONFIG).exists() == new
    assert ((nodes / NODE / UNIT).read_text() != old[NODE]) == new
    others = [name for name in names if name != NODE]
    assert {name: (nodes / name / UNIT).read_text() for name in others} == {n: old[n] for n in others}
    assert not any((nodes / name / CONFIG).exists() for name in others)

    again = papermill_on(article, tmp_path, 2)
    assert again.wait(120) == 0, (tmp_path / "out-2.txt").read_text()
    assert all((nodes / name / CONFIG).exists() for name in names)
