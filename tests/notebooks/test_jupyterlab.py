"""harden.ipynb in JupyterLab, cell by cell in a browser: what a person meets who edits, repeats, reloads, interrupts.

Printing a record has a test of its own (``tests/records/test_print.py``).
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from browser import Browser, Lab, jupyterlab, missing_browser
from kubeharden.plan.events import OUTCOMES, Asked, Started
from kubeharden.records.folder import PastRun, read_run
from kubeharden_rehearsal import Rehearsal
from record_support import make_key
from support import ROOT, wait_until

pytestmark = pytest.mark.skipif(bool(missing_browser()), reason=missing_browser() or "there is one")

APPLY, PROXY = "kubelet-apply", "kube-proxy-apply"
UNIT = "nodes/k8s-node1/etc/systemd/system/kubelet.service"


@pytest.fixture
def lab(tmp_path: Path, article: Rehearsal) -> Iterator[Lab]:
    """The notebook, open in JupyterLab, with the rehearsal as its inventory."""
    work, settings, profile = (tmp_path / name for name in ("work", "settings", "browser"))
    for folder in (work, settings, profile):
        folder.mkdir()
    shutil.copy(ROOT / "notebooks/harden.ipynb", work / "CHG-1.ipynb")
    key = make_key(tmp_path)
    with jupyterlab(work, settings, KUBEHARDEN_SIGNING_KEY=str(key)) as address:
        browser = Browser(profile, width=900)
        try:
            made = Lab(browser, address)
            made.open("CHG-1.ipynb")
            for name, value in {"inventory": article.inventory, "output_dir": tmp_path / "records"}.items():
                line = next(
                    line
                    for line in str(made.value("parameters", "model.sharedModel.getSource()")).splitlines()
                    if line.startswith(f"{name}: ")
                )
                made.edit("parameters", line, f'{name}: str = "{value}"')
            made.edit(
                "parameters", "steps: list = []", 'steps: list = ["kubelet", "pod-security", "kube-proxy"]'
            )
            yield made
        finally:
            browser.close()


def past(folder: Path) -> PastRun:
    """The newest run in a folder of runs."""
    return read_run(max((folder / "records").iterdir()))


def test_a_person_walks_the_notebook(lab: Lab, tmp_path: Path, article: Rehearsal) -> None:
    tracked = (ROOT / "notebooks/harden.ipynb").read_bytes()
    lab.run("parameters")
    for cell in ("check", "look"):
        lab.run(cell)
    assert (
        "5 restarts, 9 objects, 9 files on 2 nodes, in the order of the table above"
        in lab.run("plan").splitlines()[-1]
    )

    # A parameter that is edited in the middle is named, and nothing is carried out.
    lab.edit("parameters", 'mode: str = "apply"', 'mode: str = "plan"')
    lab.run("parameters")
    refused = lab.run(APPLY)
    assert "mode: was 'apply' when this run began, and is 'plan' now" in refused
    lab.edit("parameters", 'mode: str = "plan"', 'mode: str = "apply"')
    lab.run("parameters")

    # Somebody is asked before anything is changed, and may leave it.
    lab.run(APPLY, wait=False)
    lab.answer("no")
    lab.idle()
    assert "2 restarts, 4 files on 2 nodes; k8s-node1, then k8s-master" in lab.shown(APPLY)
    assert "kubelet was not carried out, and nothing was changed" in lab.shown(APPLY)
    assert not past(tmp_path).of(Started)

    # The page is loaded anew while the step goes on, which it does; run again, the cell has all results.
    lab.save()
    before = (article.directory / UNIT).read_text()
    lab.run(APPLY, wait=False)
    lab.answer("apply")
    wait_until(lambda: (article.directory / UNIT).read_text() != before, 60)
    lab.open("CHG-1.ipynb")
    for _ in range(2):
        again = lab.run(APPLY, seconds=60)
        assert again.count("✔ completed") == 2
        assert again.splitlines()[-1].startswith("kubelet was carried out in this run already")
    assert [event.agreed for event in past(tmp_path).of(Asked)] == [False, True]

    # No word is cut in a narrow window, and nothing is white in the dark theme.
    assert lab.browser.value(ONE_LINE)
    lab.run("impact")
    lab.run("kubelet-show")
    lab.browser.value("window.jupyterapp.commands.execute('application:toggle-left-area')")
    lab.browser.until("document.querySelector('.kh').clientWidth > 600")
    assert lab.browser.value(TOO_WIDE) == []
    lab.browser.value(
        "window.jupyterapp.commands.execute('apputils:change-theme', {theme: 'JupyterLab Dark'})"
    )
    lab.browser.until("document.body.dataset.jpThemeLight == 'false'")
    assert lab.browser.value(GROUNDS) == ["rgba(0, 0, 0, 0)"]

    interrupt_and_seal(lab, tmp_path)
    assert (ROOT / "notebooks/harden.ipynb").read_bytes() == tracked


def interrupt_and_seal(lab: Lab, tmp_path: Path) -> None:
    """An interrupt leaves nothing half, and what was done is sealed from here."""
    lab.run(PROXY, wait=False)
    lab.answer("apply")
    wait_until(lambda: any(e.step == "kube-proxy" for e in past(tmp_path).of(Started)), 60)
    lab.interrupt()
    lab.idle()
    assert "stopped by" in lab.shown(PROXY)
    run = past(tmp_path)
    over = {event.subject for kind in OUTCOMES for event in run.of(kind)}
    assert {event.subject for event in run.of(Started)} == over
    shown = lab.run(PROXY)
    assert "kube-proxy on k8s-node1" in shown
    assert "look and plan again first" in shown

    # The record names this notebook, and is sealed from here as soon as it is saved.
    end = lab.run("finish")
    assert f"kubeharden seal {run.folder} {tmp_path}/work/CHG-1.ipynb" in end
    assert "NOT carried out: " in end
    lab.run("seal", wait=False)
    lab.browser.until(f"{lab.at('seal')}.outputArea.node.innerText.includes('Save this notebook now')")
    lab.save()
    lab.idle()
    assert f"Sealed {run.run}" in lab.shown("seal")
    kept = json.loads((run.folder / "notebook.ipynb").read_text())
    assert any(cell["id"] == "finish" and cell["outputs"] for cell in kept["cells"])
    assert (run.folder / "record.json.sig").exists()


# Each outcome stands on one line: none is as high as two.
ONE_LINE = """
[...document.querySelectorAll('.kh td.good')].length > 0 &&
[...document.querySelectorAll('.kh td.good')].every(cell => {
  const range = document.createRange();
  range.selectNodeContents(cell);
  return range.getClientRects().length == 1;
})
"""
# Tables of which a part can be seen only by scrolling.
TOO_WIDE = """
[...document.querySelectorAll('.kh table')]
  .filter(table => !table.closest('details:not([open])') && table.scrollWidth > table.clientWidth)
  .map(table => `${table.scrollWidth} > ${table.clientWidth}: ${table.innerText.slice(0, 80)}`)
"""
GROUNDS = """
[...new Set([...document.querySelectorAll('.kh svg')].map(svg => getComputedStyle(svg).backgroundColor))]
"""
