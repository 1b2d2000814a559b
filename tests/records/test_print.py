"""A record on paper: its first page, every line of every diff, and no column beyond the edge."""

from __future__ import annotations

import html
import re
from collections import Counter
from pathlib import Path

import nbformat
import pytest
from nbformat import v4

from kubeharden.cli import main
from kubeharden.plan.events import Completed, Finished, Observed, RunStarted, Started
from kubeharden.records.executed_notebook import RUN_TYPE
from kubeharden.records.folder import Record
from kubeharden.records.seal import seal
from kubeharden.show.display import GOOD, Diff, Listing, Table, View
from printing import beyond_the_edge, needs_printer, print_page, text_of
from record_support import make_key

pytestmark = needs_printer
WIDE = Table(
    "A wide table",
    [f"heading{n}" for n in range(9)],
    [[f"cell{row}x{n}" + "-kubernetes.io/a-long-name" * (n % 3) for n in range(9)] for row in range(30)],
    frozenset({3, 4}),
)


# What a run on a cluster shows: names of workloads, outcomes, and the course of it.
ORDINARY = Table(
    "What was done",
    ("Namespace", "Kind", "Name", "Pods", "As", "What", "Outcome", "Message"),
    [
        (
            "kube-system", "Deployment", "kube-controller-manager", "2", "service account kube-system:weave-net",
            "RoleBinding weave/weave-default:psp:privileged", "completed", f"kubelet runs as process {number}",
        )
        for number in range(3)
    ],
    kinds=[GOOD] * 3,
    kinds_in=6,
)  # fmt: skip


def diff_of(name: str, lines: int) -> Diff:
    text = "\n".join(f"{'+-'[n % 2]}  {name}Line{n}: {'value' * (1 + n % 40)}" for n in range(lines))
    return Diff(f"{name}: /etc/kubernetes/kubelet.conf", f"--- a\n+++ b\n@@ -1 +1 @@\n{text}\n")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A sealed run whose notebook has long diffs, folded."""
    folder = tmp_path_factory.mktemp("printed")
    record = Record(folder / "outputs", "lab", "CHG-4711")
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"], change_id="CHG-4711", reason="flags"))
    record(Observed(systems={n: {"os": "Debian", "systemd": "252"} for n in ("n1", "n2")}))
    about = {"subject": "kubelet on n1", "node": "n1", "service": "kubelet", "step": "kubelet"}
    record(Started(**about))
    record(Completed(**about, words="kubelet runs as process 7; node not Ready for 1.5 s", seconds=4.0))
    record(Finished(mode="apply", changed=["kubelet"]))
    record.close()
    view = View(
        [diff_of("short", 5), WIDE, ORDINARY, diff_of("long", 300), Listing("A listing", "copyThis\n" * 80)]
    )
    said = {RUN_TYPE: {"run": record.run, "folder": str(record.folder)}, "text/html": view._repr_html_()}
    cells = [
        v4.new_markdown_cell("# A runbook"),
        v4.new_code_cell(
            "run.finish()  # " + "a long comment " * 20,
            execution_count=1,
            outputs=[v4.new_output("execute_result", said, execution_count=1)],
        ),
    ]
    nbformat.write(v4.new_notebook(cells=cells), folder / "out.ipynb")
    seal(record.folder, folder / "out.ipynb", make_key(folder))
    return record.folder


def changed_lines(page: Path) -> Counter[str]:
    """The changed lines of every diff of a page, without their white space: paper breaks lines where it likes."""
    spans = re.findall(r'<span class="(?:add|del)">(.*?)</span>', page.read_text(), re.DOTALL)
    return Counter(re.sub(r"\s", "", html.unescape(line)) for line in spans)


def test_every_changed_line_of_every_diff_is_on_paper(run: Path, tmp_path: Path) -> None:
    page = run / "notebook.html"
    paper = print_page(page, tmp_path)
    text = text_of(paper)
    first, *others = text.split("\f")
    lines = changed_lines(page)
    assert sum(lines.values()) == 305
    flat = re.sub(r"\s", "", "".join(others))
    assert [line for line, count in lines.items() if flat.count(line) != count] == []
    assert "".join(others).count("copyThis") == 80
    assert beyond_the_edge(paper) == []
    assert all(f"cell29x{n}" in flat for n in range(9))
    for word in (
        "Namespace",
        "Deployment",
        "controller-",
        "privileged",
        "✔ completed",
        "Outcome",
    ):
        assert re.search(rf"(?<!\S){word}(?!\S)", "".join(others)), word
    for words in (
        run.name,
        "✔ done",
        "CHG-4711",
        "flags",
        "n1",
        "✔ completed",
        "1.5 s",
        "nothing to do",
        "as number 1",
    ):
        assert words in first, words
    assert "A runbook" not in first, "the notebook begins on a page of its own"


def test_the_page_of_show_is_whole_on_paper_too(run: Path, tmp_path: Path) -> None:
    page = tmp_path / "one.html"
    key = str(run.parent.parent / "key.pub")
    assert main(["show", "--html", str(run), "-o", str(page), "--key", key]) == 0
    paper = print_page(page, tmp_path)
    first = text_of(paper).split("\f")[0]
    assert "✔ as sealed on" in first
    assert "What was done" not in first
    assert "What was done" in text_of(paper)
    assert beyond_the_edge(paper) == []
