"""The page of a fleet says what the records say, opens without a network, and can be read in both themes."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from fleet_support import DIGEST, fleet, seen, write_fleet
from kubeharden.records.seal import seal
from kubeharden_fleet import __main__ as command
from kubeharden_fleet.page import STYLE, render
from record_support import make_key, make_notebook, make_run

RUNS = {
    "canary": [
        seen(left=["kubelet on n1"]),
        seen(
            "done",
            at="20261129T150000.000Z",
            words=["node not Ready for 0.2 s"],
            approval={"approver": "chief <b>, 2026-11-29T14:20:01Z", "plan": DIGEST},
            seal={"notebook": True},
        ),
        seen(at="20261129T160000.000Z"),
    ],
    "a": [seen("failed", kind="StepError")],
    "b": [seen(left=["kubelet on n1"])],
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
    rows = {row[0]: row[1:] for row in Text(page).rows}
    assert list(rows) == [
        "Cluster",
        "Wave 1: canary",
        "canary",
        "Wave 2: some",
        "a",
        "b",
        "Wave 3: rest",
        "c",
    ]
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
    assert "canary/20261129T150000.000Z-europe/notebook.html" in Text(page).links
    assert "1 of 4 clusters are done" in page


def test_nothing_is_fetched_and_no_script_runs(page: str) -> None:
    assert "default-src 'none'; style-src 'unsafe-inline';" in page
    assert not re.search(r"<(script|link|img|iframe)|https?://|url\(", page)


def contrast(one: str, other: str) -> float:
    """The contrast of two colours, as WCAG 2.2 defines it."""

    def light(colour: str) -> float:
        parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((light(one), light(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def test_both_themes_can_be_read() -> None:
    themes = STYLE.split("prefers-color-scheme: dark")
    assert len(themes) == 2
    for theme in themes:
        colours = dict(re.findall(r"--(\w+): (#[0-9a-f]{6})", theme))
        assert {"text", "back", "faint", "good", "bad", "link"} <= set(colours)
        for name in ("text", "faint", "good", "bad", "link"):
            assert contrast(colours[name], colours["back"]) >= 4.5, name


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
