"""The register as pages that open from a file, short names of runs, and two runs side by side."""

from __future__ import annotations

import os
import re
from contextlib import closing
from pathlib import Path
from urllib.parse import unquote, unquote_to_bytes

import pytest

from browser import Browser, missing_browser
from kubeharden.cli import main
from kubeharden.plan.events import Finished, RunStarted
from kubeharden.records.folder import Record
from kubeharden.records.seal import seal
from record_support import make_key, make_notebook, make_run


@pytest.fixture
def runs(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project's outputs/, and nobody's keys."""
    (tmp_path / "parameters").mkdir()
    (tmp_path / "parameters/pod-security.yaml").write_text("")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "outputs"


def on_cluster(parent: Path, cluster: str, change: str) -> Path:
    record = Record(parent, cluster, change)
    record(RunStarted(cluster=cluster, mode="plan", change_id=change))
    record(Finished(mode="plan"))
    record.close()
    return record.folder


def links_in(page: Path) -> list[Path]:
    return [page.parent / unquote(link) for link in re.findall(r'href="([^"]*)"', page.read_text())]


@pytest.mark.skipif(bool(missing_browser()), reason=missing_browser() or "there is one")
@pytest.mark.parametrize("width", [640, 1280])
def test_names_of_runs_are_read_in_a_narrow_window_too(runs: Path, tmp_path: Path, width: int) -> None:
    """They stood in columns of three letters, and the page was wider than the window."""
    make_run(runs, "CHG-1")
    assert main(["register", "--key", f"{make_key(tmp_path)}.pub"]) == 0
    with closing(Browser(tmp_path / "profile", width=width)) as browser:
        browser.call("Page.navigate", url=(runs / "index.html").as_uri())
        browser.until("document.readyState === 'complete' && !!document.querySelector('.khf-register a')")
        assert browser.value("document.documentElement.scrollWidth <= window.innerWidth")
        lines = "document.querySelector('.khf-register a').getClientRects().length"
        assert browser.value(lines) <= 3


def test_the_register_opens_from_a_file_and_every_link_leads_somewhere(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_key(tmp_path)
    first, second = make_run(runs, "CHG-1"), make_run(runs, "CHG-2", parameters={"inventory": "rehearsal"})
    other, odd = on_cluster(runs, "staging", "CHG-3"), on_cluster(runs, "lab", "A:b?c#d%20e")
    odd = odd.rename(odd.with_name(f"{odd.name}?x#y%2e"))
    seal(first, make_notebook(tmp_path / "out.ipynb", first), key)
    assert main(["register", "--key", f"{key}.pub"]) == 0
    index = runs / "index.html"
    assert str(index) in capsys.readouterr().out
    text = index.read_text()
    assert "<script" not in text
    assert "default-src &#x27;none&#x27;" in text or "default-src 'none'" in text
    found = links_in(index)
    assert all(page.is_file() for page in found), found
    names = {page.relative_to(runs).as_posix() for page in found}
    assert f"{first.name}/notebook.html" in names
    assert {f"register/{run.name}.html" for run in (first, second, other)} <= names
    assert f"register/{second.name}.before.html" in names, "beside the run before it on the same cluster"
    assert f"register/{other.name}.before.html" not in names
    assert re.search(r"✔ the-given-key, 20\S+Z", text)
    assert "· rehearsal, not sealed" in text
    assert "✘ it is not sealed" in text
    assert text.index("<h2>lab: 3 runs</h2>") < text.index("<h2>staging: 1 run</h2>")
    assert "✔ as sealed on" in (runs / f"register/{first.name}.html").read_text()
    assert main(["verify", str(first), "--key", f"{key}.pub"]) == 0, "nothing was added to a record"


def test_the_register_is_written_anew_and_never_over_what_is_not_one(
    runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_run(runs, "CHG-1")
    assert main(["register", str(runs)]) == 0
    assert "not sealed" in (runs / "index.html").read_text()
    make_run(runs, "CHG-2")
    assert main(["register", str(runs)]) == 0
    assert "2 runs" in (runs / "index.html").read_text()
    (runs / "index.html").write_text("<h1>Ours</h1>")
    assert main(["register", str(runs)]) == 2
    assert "is not a register that kubeharden wrote" in capsys.readouterr().err
    assert (runs / "index.html").read_text() == "<h1>Ours</h1>"


def test_a_run_that_cannot_be_read_has_a_page_that_says_so(runs: Path) -> None:
    run = make_run(runs, "CHG-1")
    (run / "files.json").write_text("[{]")
    (run / "record.json").write_text("{}")
    (run / "record.json.sig").write_text("no signature")
    assert main(["register"]) == 0
    assert "✘ record.json" in (runs / f"register/{run.name}.html").read_text()


def test_a_run_with_any_name_has_a_page(runs: Path) -> None:
    run = make_run(runs)
    odd = run.rename(os.fsdecode(os.fsencode(run) + b"\xed\xa0\x80\xff<svg>"))
    assert main(["register"]) == 0
    text = (runs / "index.html").read_text()
    assert "<svg>" not in text
    assert [os.fsencode(odd.name)] == [
        unquote_to_bytes(link)[9:-5] for link in re.findall(r'href="([^"]*)"', text)
    ]


def test_a_link_in_the_place_of_its_pages_is_not_followed(runs: Path, tmp_path: Path) -> None:
    make_run(runs)
    (tmp_path / "elsewhere").mkdir()
    (runs / "register").symlink_to(tmp_path / "elsewhere")
    assert main(["register"]) == 1
    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_runs_have_short_names(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    key = make_key(tmp_path)
    one, two, three = (make_run(runs, change) for change in ("CHG-1", "CHG-2", "CHG-2"))
    whose = ["--key", f"{key}.pub"]

    def shown(name: str) -> str:
        assert main(["show", name, *whose]) == 0
        return capsys.readouterr().out

    assert one.name in shown("CHG-1")
    assert three.name in shown("last")
    assert three.name in shown("CHG-2"), "the newest of those with this change"
    assert main(["diff", "CHG-1", "last"]) == 0
    assert main(["verify", "last", *whose]) == 1
    assert main(["seal", "CHG-2", "--no-notebook", "--key", str(key)]) == 2
    said = capsys.readouterr().err
    assert f"is the change of 2 runs, {two.name}, {three.name}; name one of them" in said
    assert main(["seal", "CHG-1", "--no-notebook", "--key", str(key)]) == 0
    assert main(["verify", "CHG-1", *whose]) == 0
    assert main(["show", "CHG-9", *whose]) == 2
    assert f"no run of that name or change in {runs}" in capsys.readouterr().err


def test_runs_on_two_clusters_are_not_compared_as_if_they_were_on_one(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    one, other = make_run(runs, "CHG-1"), on_cluster(runs, "staging", "CHG-2")
    assert main(["diff", one.name, other.name]) == 0
    said = capsys.readouterr().out
    assert f"✘ Two clusters: {one.name} is a run on lab, and {other.name} on staging." in said
    assert "Result of each change" not in said
    same = make_run(runs, "CHG-3")
    page = tmp_path / "page.html"
    assert main(["diff", one.name, same.name, "--html", "-o", str(page)]) == 0
    assert "Two runs side by side" in page.read_text()
    assert "Two clusters" not in page.read_text()
    assert main(["diff", one.name, same.name, "-o", str(page)]) == 2
