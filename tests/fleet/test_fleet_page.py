"""The page of a fleet says what the records say, and opens without a network."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest

from fleet_support import DIGEST, fleet, fleet_run, write_fleet
from kubeharden.records.pages.markup import POLICY
from kubeharden.records.seal import seal
from kubeharden_fleet import __main__ as command
from kubeharden_fleet.judge import FleetRun
from kubeharden_fleet.page import not_ready_seconds, render
from printing import beyond_the_edge, needs_printer, print_page, text_of
from record_support import make_key, make_notebook, make_run

RUNS = {
    "canary": [
        fleet_run(left=["kubelet on n1"]),
        fleet_run(
            "done",
            at="20261129T150000.000Z",
            words=["kubelet runs"],
            not_ready=0.2,
            approval={"approver": "chief <b>, 2026-11-29T14:20:01Z", "plan": DIGEST},
            seal={"notebook": True},
        ),
        fleet_run(at="20261129T160000.000Z"),
    ],
    "a": [fleet_run("failed", kind="StepError")],
    "b": [fleet_run(left=["kubelet on n1"])],
}


class Text(HTMLParser):
    """The cells of each row, and the links."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.links: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "a":
            self.links.append(str(dict(attrs)["href"]))

    def handle_data(self, data: str) -> None:
        if self.rows and self.rows[-1]:
            self.rows[-1][-1] += data.strip("\n")


@pytest.fixture
def page(tmp_path: Path) -> str:
    return render(fleet(tmp_path), RUNS, tmp_path / "records", "2026-11-29 16:00 UTC")


def test_each_cluster_has_its_outcome_digest_approver_seconds_and_records(page: str) -> None:
    found = Text(page)
    assert re.findall(r"<h2>(.*?)</h2>", page) == ["Wave 1: canary", "Wave 2: some", "Wave 3: rest"]
    rows = {row[0]: row[1:] for row in found.rows}
    assert list(rows) == ["Cluster", "canary", "a", "b", "c"]
    assert rows["canary"][:5] == [
        "✔ done",
        DIGEST[:12],
        "chief <b>, 2026-11-29T14:20:01Z",
        "0.2",
        "2026-11-29 14:00:09",
    ]
    assert rows["a"][0] == "✘ failedStepError: a sentence"
    assert rows["b"][0] == "· to do1 to do: kubelet on n1"
    assert rows["c"] == ["– no runit has no run yet", "", "", "", "", ""]
    assert "canary/20261129T150000.000Z-europe/notebook.html" in found.links
    assert "1 of 4 clusters are done. From" in page


def test_what_is_left_to_the_next_run_is_reported(tmp_path: Path) -> None:
    plan = {"digest": DIGEST, "next_run": ["Namespace shop"]}
    runs = {
        "canary": [fleet_run(left=["x"]), fleet_run("done", plan=plan), fleet_run(left=["Namespace shop"])],
        "a": [fleet_run()],
    }
    page = render(fleet(tmp_path), runs, tmp_path / "records", "")
    assert (
        dict(row[:2] for row in Text(page).rows)["canary"]
        == "✔ done so far1 for its next run: Namespace shop"
    )
    assert "1 of 4 clusters are done, and 1 so far: their next run has the rest." in page


@needs_printer
def test_its_waves_are_on_one_sheet_of_paper_with_their_words_whole(page: str, tmp_path: Path) -> None:
    """Each wave had a page of its own, and "Record/s" and "14:00:0/9" were cut."""
    (tmp_path / "fleet.html").write_text(page)
    paper = print_page(tmp_path / "fleet.html", tmp_path)
    assert beyond_the_edge(paper) == []
    sheet, rest = text_of(paper).split("\f")
    assert rest == ""
    for word in ("canary", "some", "rest", "Records", "seconds", "14:00:09", "planned", "ab" * 6):
        assert re.search(rf"(?<!\S){word}(?!\S)", sheet), word


def test_nothing_is_fetched_and_no_script_runs(page: str) -> None:
    assert POLICY.split("; ")[0] == "default-src 'none'"
    assert POLICY in page
    assert not re.search(r"<(script|link|img|iframe)|https?://|url\(", page)


def test_a_link_leads_to_a_run_whose_name_has_other_characters(tmp_path: Path) -> None:
    strange = FleetRun(
        "20261129T150000.000Z-europe-CHG?1#%20", {**fleet_run().record, "seal": {"notebook": True}}
    )
    [link] = Text(render(fleet(tmp_path), {"a": [strange]}, tmp_path / "records", "")).links
    assert unquote(link) == f"a/{strange.name}/notebook.html"
    assert not {"?", "#"} & set(link)


def test_seconds_not_ready_are_those_of_all_nodes() -> None:
    one = fleet_run("done", words=["kubelet runs as process 7"], not_ready=0.2)
    before = [  # of an earlier version, whose records had them in words alone
        {"subject": "kubelet on n1", "result": "completed", "words": "it runs; node not Ready for 12 s"},
        {"subject": "kube-proxy on n1", "result": "completed", "words": "it runs"},
    ]
    assert not_ready_seconds([one, fleet_run("done", changes=before), fleet_run()]) == pytest.approx(12.2)
    assert not_ready_seconds([fleet_run("done", words=["kube-proxy runs"])]) is None


def test_the_commands_read_sealed_records_and_no_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    key = make_key(tmp_path)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    monkeypatch.delenv("KUBEHARDEN_ALLOWED_SIGNERS", raising=False)
    path = write_fleet(tmp_path)
    run = make_run(tmp_path / "records" / "canary")
    assert command.main(["judge", str(path), "canary"]) == 1
    assert "canary: cut off" in capsys.readouterr().out
    seal(run, make_notebook(tmp_path / "executed.ipynb", run), key)
    assert command.main(["judge", str(path), "canary"]) == 1
    assert "canary: applied" in capsys.readouterr().out
    assert command.main(["judge", str(path), "canary", "--since", "29991231T"]) == 1
    assert "canary: no run" in capsys.readouterr().out
    (run / "journal.jsonl").chmod(0o600)
    with (run / "journal.jsonl").open("a") as file:
        file.write("{}\n")
    assert command.main(["judge", str(path), "canary"]) == 1
    assert "canary: unsound" in capsys.readouterr().out
    assert command.main(["page", str(path)]) == 0
    written = (tmp_path / "records" / "fleet.html").read_text()
    assert "unsound" in written
    assert f"canary/{run.name}/notebook.html" in written
