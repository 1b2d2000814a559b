"""papermill's engine ``kubeharden``, as a user calls it: it seals what it ran, and lets no secret through."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import jsonschema
import nbformat
import pytest
from nbformat import v4

from kubeharden.records.execution import Manager
from kubeharden.records.summary import record_schema
from kubeharden_rehearsal import Rehearsal
from record_support import make_key
from rehearsals import Rehearsals
from support import Papermill, environment

SECRET = "hunter2horse"


@pytest.fixture(autouse=True)
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = make_key(tmp_path)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(path))
    monkeypatch.delenv("KUBEHARDEN_ALLOWED_SIGNERS", raising=False)
    return path


def kubeharden(*words: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "kubeharden", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def sealed_record(records: Path) -> dict:
    [run] = records.iterdir()
    record = json.loads((run / "record.json").read_text())
    jsonschema.validate(record, record_schema())
    return record


def test_a_run_is_sealed_when_it_ends(papermill: Papermill, article: Rehearsal) -> None:
    words = {"inventory": str(article.inventory), "steps": "kube-scheduler", "change_id": "CHG-4711"}
    run = papermill("--engine", "kubeharden", **words)
    assert run.status == 0, run.output
    record = sealed_record(run.records)
    assert record["result"] == "done"
    assert record["seal"]["notebook"] is True
    verified = kubeharden("verify", run.records)
    assert verified.returncode == 0, verified.stdout
    assert re.search(r"✔ \S+-article-1\.10-CHG-4711: as sealed on ", verified.stdout)
    again = kubeharden("seal", next(run.records.iterdir()), run.notebook)
    assert (again.returncode, "nothing has changed since" in again.stdout) == (0, True), again.stderr


def test_a_plain_run_says_how_it_is_sealed_and_is(papermill: Papermill, rehearsals: Rehearsals) -> None:
    inventory = str(rehearsals.untouched("article-1.10").inventory)
    run = papermill("-p", "mode", "plan", steps="kube-scheduler", inventory=inventory)
    assert run.status == 0, run.output
    [folder] = run.records.iterdir()
    assert f"kubeharden seal {folder} NOTEBOOK" in run.shown("run.finish()")
    assert kubeharden("verify", folder).returncode == 1
    done = kubeharden("seal", folder, run.notebook)
    assert done.returncode == 0, done.stderr
    assert kubeharden("verify", folder).returncode == 0
    assert sealed_record(run.records)["result"] == "planned"


def test_a_run_that_failed_is_sealed_as_failed(papermill: Papermill, article: Rehearsal) -> None:
    (article.directory / "nodes/k8s-node1/etc/kubernetes/pki/ca.crt").unlink()
    run = papermill("--engine", "kubeharden", inventory=str(article.inventory), steps="kubelet")
    assert run.status != 0
    assert "kubelet did not come up" in run.error()
    record = sealed_record(run.records)
    assert record["result"] == "failed"
    assert kubeharden("verify", run.records).returncode == 0
    page = next(run.records.glob("*/notebook.html")).read_text()
    assert "kubelet did not come up" in page


def test_without_a_key_nothing_is_executed(
    papermill: Papermill, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("KUBEHARDEN_SIGNING_KEY")
    monkeypatch.setenv("HOME", str(tmp_path / "nobody"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", "/dev/null")
    run = papermill("--engine", "kubeharden", rehearsal_dir=str(tmp_path / "rehearsal"))
    assert run.status != 0
    assert "signing key: none was found; give --key FILE" in run.error()
    assert not run.records.exists()
    assert not (tmp_path / "rehearsal").exists()


def test_wrong_parameters_leave_nothing_to_seal(papermill: Papermill, tmp_path: Path) -> None:
    run = papermill("--engine", "kubeharden", "-p", "dns_pi", "10.0.0.10")
    assert run.status != 0
    assert "dns_pi: there is no such parameter" in run.error()
    assert not run.records.exists()


def test_whatever_a_cell_prints_passes_the_redaction(papermill: Papermill, tmp_path: Path) -> None:
    """Also what comes from elsewhere than this library: a stray print, a library's traceback."""
    cells = [
        f"print('password={SECRET}')",
        f"import sys; sys.stderr.write('Authorization: Bearer {SECRET}{SECRET}')",
        f"{{'token': '{SECRET}'}}",
        f"""from IPython.display import display
handle = display("soon", display_id=True)
handle.update("api_key={SECRET}")""",
        f"raise ValueError('joined with --token {SECRET}')",
    ]
    source, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(c) for c in cells], metadata=kernel), source)
    files = [word for name in ("stdout", "stderr") for word in (f"--{name}-file", tmp_path / name)]
    done = subprocess.run(
        [sys.executable, "-m", "papermill", source, out, "--engine", "kubeharden", "--log-output", *files],
        env=environment(),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode != 0
    assert "ValueError" in done.stderr
    for text in (
        done.stdout,
        done.stderr,
        out.read_text(),
        *((tmp_path / n).read_text() for n in ("stdout", "stderr")),
    ):
        assert "‹redacted sha256:" in text.replace("\\u2039", "‹") or not text
        assert SECRET not in text


def test_it_is_saved_at_the_start_after_each_cell_with_code_and_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved: list[str] = []
    monkeypatch.setattr(
        "papermill.engines.write_ipynb",
        lambda notebook, _: saved.append(" ".join(c.metadata.papermill["status"] for c in notebook.cells)),
    )
    cells = [v4.new_markdown_cell("words"), v4.new_code_cell("1"), v4.new_code_cell("2")]
    manager = Manager(v4.new_notebook(cells=cells, metadata={"papermill": {}}), tmp_path, progress_bar=False)
    manager.notebook_start()
    for cell in cells:
        manager.cell_start(cell)
        manager.cell_complete(cell)
    manager.notebook_complete()
    assert saved == [
        "pending pending pending",
        "completed completed pending",
        "completed completed completed",
        "completed completed completed",
    ]


def test_who_executes_another_notebook_does_not_import_the_library() -> None:
    """papermill imports every engine that is installed."""
    told = """
import sys, types
for name in ("papermill", "papermill.engines"):
    sys.modules[name] = types.ModuleType(name)
sys.modules["papermill.engines"].Engine = object
import kubeharden.records.engine
print(*(name for name in sys.modules if name.startswith("kubeharden")))
"""
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {
        "kubeharden",
        "kubeharden.errors",
        "kubeharden.records",
        "kubeharden.records.engine",
    }


LISTENS = """
import os
from pathlib import Path
own = {os.readlink(f"/proc/self/fd/{n}") for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")}
rows = [row.split() for name in ("tcp", "tcp6") for row in Path(f"/proc/net/{name}").read_text().splitlines()[1:]]
from ipykernel.kernelapp import IPKernelApp
app = IPKernelApp.instance()
children = app.iopub_thread._pipe_port  # where ipykernel takes what forked children print; it is told a secret there
ports = {int(row[1].split(":")[1], 16) for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in own}
print("ports:", sorted(ports - {children}))
folder = Path(app.ip).parent
print("folder:", folder, oct(folder.stat().st_mode & 0o777), len(list(folder.iterdir())))
"""


@pytest.mark.sample(1)
@pytest.mark.parametrize("temporary", ["t", "t" * 120])
def test_the_kernel_listens_on_no_port(
    tmp_path: Path, temporary: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / temporary).mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / temporary))
    source, out = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    kernel = {"kernelspec": {"name": "python3", "language": "python", "display_name": "Python 3"}}
    nbformat.write(v4.new_notebook(cells=[v4.new_code_cell(LISTENS)], metadata=kernel), source)
    words = [sys.executable, "-m", "papermill", source, out, "--engine", "kubeharden", "--no-progress-bar"]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    shown = "".join(out["text"] for out in nbformat.read(out, as_version=4).cells[0].outputs)
    assert "ports: []" in shown
    [(folder, mode, sockets)] = re.findall(r"folder: (\S+) 0o(\d+) (\d+)", shown)
    assert (mode, sockets) == ("700", "5")
    assert not Path(folder).exists()
