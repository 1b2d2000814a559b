"""What the tests of records share: a key, a small run, and a notebook that says it is of that run."""

from __future__ import annotations

import os
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nbformat
from nbformat import v4

from kubeharden.plan.events import Completed, Finished, RunStarted, Started
from kubeharden.records.executed_notebook import RUN_TYPE
from kubeharden.records.folder import Record
from support import wait_until


def make_key(folder: Path, name: str = "key", passphrase: str = "") -> Path:
    """An SSH key of its own."""
    path = folder / name
    subprocess.run(
        ["ssh-keygen", "-q", "-t", "ed25519", "-N", passphrase, "-C", f"{name}@test", "-f", path], check=True
    )
    return path


def approve(plan: Path, key: Path) -> Path:
    """The signature of an approver over a plan, beside it, as ssh-keygen makes it; one that is there is replaced."""
    signature = plan.with_name(f"{plan.name}.sig")
    signature.unlink(missing_ok=True)
    words = ["ssh-keygen", "-q", "-Y", "sign", "-f", key, "-n", "kubeharden-approval", plan]
    subprocess.run(words, check=True, capture_output=True)
    return signature


@contextmanager
def in_agent(key: Path) -> Iterator[str]:
    """The socket of an agent that holds a key, and the certificate beside it."""
    with tempfile.TemporaryDirectory(prefix="agent-") as folder:  # a socket has a short path
        socket = f"{folder}/agent"
        with subprocess.Popen(["ssh-agent", "-D", "-a", socket], stdout=subprocess.DEVNULL) as process:
            try:
                wait_until(lambda: Path(socket).exists())
                words = ["ssh-add", "-q", key]
                subprocess.run(words, check=True, env={**os.environ, "SSH_AUTH_SOCK": socket})
                yield socket
            finally:
                process.terminate()


def make_run(
    parent: Path,
    label: str = "CHG-1",
    *,
    finished: bool = True,
    nodes: Sequence[str] = ("n1",),
    about: str = "",
    login: str = "ops",
    kubernetes_user: str = "",
    parameters: Mapping[str, Any] | None = None,
) -> Path:
    """The folder of a run that restarted the kubelets of some nodes, or did something about an object."""
    record = Record(parent, "lab", label)
    record(
        RunStarted(
            cluster="lab",
            mode="apply",
            change_id=label,
            reason="a test",
            steps=["kubelet"],
            nodes=["n1", "n2"],
            who={"login": login, "uid": 1000, "host": "desk", "sudo_user": ""},
            kubernetes_user=kubernetes_user,
            parameters=parameters or {},
        )
    )
    for node in nodes:
        what = {
            "subject": about or f"kubelet on {node}",
            "service": "kubelet",
            "step": "kubelet",
        }
        record(Started(**what))
        if finished:
            record(Completed(**what, seconds=1.5, words="kubelet runs as process 7"))
    if finished:
        record(Finished(mode="apply", changed=["kubelet"], not_carried_out=[], why=""))
    record.close()
    kept = record.folder / "files" / "n1"
    kept.parent.mkdir(mode=0o700)
    kept.mkdir(mode=0o700)
    (kept / ("a" * 64)).write_text("kind: KubeletConfiguration\n")
    return record.folder


def make_notebook(path: Path, run: Path, text: str = "kubelet on n1: done", *, executed: bool = True) -> Path:
    """The executed notebook of a run, with ``text`` in an output."""
    header = v4.new_output(
        "execute_result",
        {"text/plain": "This run", RUN_TYPE: {"run": run.name, "folder": str(run)}},
        execution_count=1,
    )
    cells = [
        v4.new_markdown_cell("# A runbook\n\n**Expect** a table."),
        v4.new_code_cell("run", execution_count=1, outputs=[header]),
        v4.new_code_cell("run.apply()", execution_count=2, outputs=[v4.new_output("stream", text=text)]),
    ]
    if not executed:
        for cell in cells[1:]:
            cell.outputs, cell.execution_count = [], None
    nbformat.write(v4.new_notebook(cells=cells), path)
    return path
