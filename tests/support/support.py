"""What tests share: papermill as a user calls it, and a command on a rehearsal node."""

from __future__ import annotations

import json
import os
import tarfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import paramiko

from kubeharden.inputs.inventory import read_inventory
from kubeharden_rehearsal import Rehearsal
from papermill_server import papermill_server

ROOT = Path(__file__).parents[2]
QUICK = Path(__file__).parent / "quick"  # modules that take the place of slow ones
# A privileged Deployment that no policy is for; its image is never pulled, where images are real.
MINER: dict[str, Any] = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "miner", "namespace": "shop"},
    "spec": {
        "replicas": 1,
        "selector": {"matchLabels": {"app": "miner"}},
        "template": {
            "metadata": {"labels": {"app": "miner"}},
            "spec": {
                "containers": [
                    {
                        "name": "miner",
                        "image": "nginx:1.19",
                        "imagePullPolicy": "Never",
                        "securityContext": {"privileged": True},
                    }
                ]
            },
        },
    },
}


@dataclass
class Executed:
    """A papermill run: its exit status, what it printed, and the executed notebook."""

    status: int
    output: str
    notebook: Path
    records: Path

    def cells(self) -> list[tuple[str, str]]:
        """Source and plain-text output of each code cell that ran."""
        return [
            ("".join(cell["source"]), "\n".join(map(_text, cell["outputs"])))
            for cell in json.loads(self.notebook.read_text())["cells"]
            if cell["cell_type"] == "code" and cell["execution_count"]
        ]

    def shown(self, source: str) -> str:
        """What the cell with this source showed."""
        return next(text for code, text in self.cells() if source in code)

    def error(self) -> str:
        """The error of the cell that failed."""
        assert self.status != 0
        return self.output


def _text(output: dict) -> str:
    data = output.get("data", {}).get("text/plain") or output.get("text") or output.get("traceback") or ""
    return "".join(data)


def environment(*, s3: bool = False) -> dict[str, str]:
    """The environment of a process that a user starts, but that papermill is imported in a third of the time.

    Args:
        s3: papermill can read and write there.
    """
    # With this, ipykernel leaves alone what child processes print, as no user has it.
    ours = {name: value for name, value in os.environ.items() if name != "PYTEST_CURRENT_TEST"}
    paths = [*([] if s3 else [str(QUICK / "without_s3")]), str(QUICK), ours.get("PYTHONPATH", "")]
    return {**ours, "PYTHONPATH": os.pathsep.join(filter(None, paths))}


@dataclass
class Papermill:
    """Runs ``papermill NOTEBOOK`` with parameters, in a process of its own; results go to ``folder``.

    The process is not started as a user starts it; that is tried by ``notebooks/test_interrupted_papermill.py``,
    ``records/test_record_engine.py`` and ``test_pages_run.py``.
    """

    folder: Path
    source: str = "harden.ipynb"

    def __call__(self, *words: str, cwd: Path = ROOT / "notebooks", **parameters: str) -> Executed:
        notebook = self.folder / f"out-{len(list(self.folder.glob('out-*.ipynb')))}.ipynb"
        records = self.folder / "records"
        if not any(word.startswith("output_dir") for word in words):
            parameters.setdefault("output_dir", str(records))
        given = [word for name, value in parameters.items() for word in ("-r", name, value)]
        # Saved once: papermill writes the whole notebook before and after each cell, which takes more than its start.
        given += ["--no-progress-bar", "--no-request-save-on-cell-execute"]
        source = os.path.relpath(ROOT / "notebooks" / self.source, cwd)
        line = [source, str(notebook), *words, *given]
        status, output = papermill_server().run(line, cwd, environment(), 240)
        return Executed(status, output, notebook, records)


def on_node(rehearsal: Rehearsal, node: str, command: str) -> str:
    """Run a command on a node of a rehearsal as root, over SSH; what it printed."""
    inventory = read_inventory(rehearsal.inventory)
    place = next(n for n in inventory.nodes if n.name == node)
    client = paramiko.SSHClient()
    client.load_host_keys(str(inventory.ssh.known_hosts))
    client.connect(place.host, place.port, inventory.ssh.user, key_filename=inventory.ssh.identity_file)
    _, out, err = client.exec_command(f"sudo -n {command}")
    printed = out.read().decode() + err.read().decode()
    client.close()
    return printed


def unpack(archive: Path, folder: Path) -> None:
    """Unpack an archive of tar; Python before 3.11.4, such as that of Debian 12, has no filters for that."""
    filters = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
    with tarfile.open(archive) as opened:
        opened.extractall(folder, **filters)


def eventually(check: Callable[[], Any], seconds: float = 15) -> Any:
    """The first true answer of a check, or the last one."""
    end = time.monotonic() + seconds
    while not (answer := check()) and time.monotonic() < end:
        time.sleep(0.05)
    return answer


def wait_until(holds: Callable[[], bool], seconds: float = 30) -> None:
    """Wait until something holds; it is an error if it does not in that time."""
    assert eventually(holds, seconds), "it did not come true in time"
