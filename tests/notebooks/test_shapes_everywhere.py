"""A run on a rehearsal with a secret of every shape on a node and in cells: none is in any byte that it leaves."""

from __future__ import annotations

from pathlib import Path

import nbformat

from kubeharden.records.executed_notebook import read_notebook
from kubeharden.records.html import render
from kubeharden_rehearsal import Rehearsal
from secret_shapes import FILES, TEXTS, UNITS, secrets_and_rest
from support import ROOT, Papermill, on_node

WORDS = ("hunter", "swordfish", "horse", "aHVudGVy")
# Those that leave the kubelet's own command as it is.
HARMLESS_UNITS = [text for text in UNITS.values() if not text.startswith("Exec")]


def test_no_shape_of_a_secret_is_in_any_byte(papermill: Papermill, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    Rehearsal.start("article-1.10", folder).stop()
    node = folder / "nodes" / "k8s-node1"
    unit = node / "etc/systemd/system/kubelet.service"
    lines = "".join(f"{secrets_and_rest(text)[1]}\n" for text in HARMLESS_UNITS)
    url = "--manifest-url=http://ops:horse@127.0.0.1/x --manifest-url-header=A:swordfish"
    flags = f"--storage-driver-password=hunter {url}"
    text = unit.read_text().replace(
        "[Service]\n", f"[Service]\n{lines}EnvironmentFile=/etc/default/kubelet\n"
    )
    unit.write_text(text.replace("/usr/bin/kubelet ", f"/usr/bin/kubelet {flags} "))
    (node / "etc/default").mkdir(exist_ok=True)
    files = [text for name, text in FILES.items() if name != "an open quote"]
    (node / "etc/default/kubelet").write_text("\n".join(secrets_and_rest(text)[1] for text in files) + "\n")
    for number, shape in enumerate(TEXTS.values()):
        (tmp_path / f"{number}.txt").write_text(f"{secrets_and_rest(shape)[1]}\n")
    source = notebook_with_cells(tmp_path, len(TEXTS))
    with Rehearsal.start("article-1.10", folder) as rehearsal:
        on_node(rehearsal, "k8s-node1", "systemctl daemon-reload; sudo systemctl restart kubelet")
        papermill.source = str(source)
        run = papermill("--log-output", inventory=str(rehearsal.inventory), mode="plan")
    assert run.status == 0, run.output
    page = render(read_notebook(run.notebook), "page")
    kept = [path.read_bytes() for path in run.records.rglob("*") if path.is_file()]
    everything = b"\n".join([run.output.encode(), run.notebook.read_bytes(), page.encode(), *kept])
    for word in WORDS:
        place = everything.find(word.encode())
        assert place < 0, everything[max(0, place - 300) : place + 100].decode(errors="replace")
    assert everything.count("‹redacted sha256:".encode()) > len(TEXTS) + len(HARMLESS_UNITS)
    assert len(TEXTS) + len(HARMLESS_UNITS) + len(files) >= 60


def notebook_with_cells(folder: Path, count: int) -> Path:
    """The runbook with a cell for each text, which prints it and shows it."""
    notebook = nbformat.read(ROOT / "notebooks/harden.ipynb", as_version=4)
    looked = next(number for number, cell in enumerate(notebook.cells) if cell.source == "run.look()")
    read = f"text = open({str(folder)!r} + '/{{}}.txt').read()\n"
    ways = [
        "print(text)",
        "text",
        "for line in text.splitlines(): print(line, flush=True)",
        "{'said': [text]}",
    ]
    cells = [nbformat.v4.new_code_cell(read.format(n) + ways[n % len(ways)]) for n in range(count)]
    notebook.cells = [*notebook.cells[: looked + 1], *cells, *notebook.cells[looked + 1 :]]
    source = folder / "shapes.ipynb"
    nbformat.write(notebook, source)
    return source
