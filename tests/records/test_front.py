"""The first page of a record: what it says of the run, of each node and of each step."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from kubeharden.cli import main
from kubeharden.plan.events import (
    Completed,
    Error,
    Failed,
    Finished,
    Judged,
    Observed,
    Planned,
    Reverted,
    RunStarted,
    Started,
)
from kubeharden.plan.timeline import Timeline
from kubeharden.records.folder import Record, read_run
from kubeharden.records.front import MOST_ROWS, front_of, not_ready_of
from kubeharden.records.pages.front_page import front_html
from kubeharden.records.pages.markup import document, tag
from kubeharden.records.register import record_of
from kubeharden.records.summary import build_record
from kubeharden.show.records_views import run_view
from record_support import make_key, make_run


def on(node: str, service: str = "kubelet", step: str = "") -> dict[str, str]:
    return {"subject": f"{service} on {node}", "node": node, "service": service, "step": step or service}


def record_with(folder: Path, nodes: int = 4, **changes: Any) -> dict[str, Any]:
    record = Record(folder, "lab", "CHG-1")
    names = [f"n{number}" for number in range(nodes)]
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet", "pod-security"], nodes=names, **changes))
    record(
        Observed(systems={name: {"os": "Debian", "systemd": "252"} for name in names}, api_server="v1.30.0")
    )
    planned = [{"step": "kubelet", "subject": f"kubelet on {name}"} for name in names]
    record(Planned(digest="0" * 64, needed=True, changes=planned))
    outcomes = [Completed(**on("n0"), words="runs", not_ready=2.5)]
    outcomes += [Reverted(**on("n1"), error="not Ready"), Failed(**on("n2"), error="away")]
    for end in outcomes:
        record(Started(**on(end.node)))
        record(end)
    for name in ("Role a/b", "Role a/c"):
        record(Started(subject=name, step="pod-security", object=name))
        record(Completed(subject=name, step="pod-security", object=name, words="created"))
    record(Finished(mode="apply", changed=["kubelet"], not_carried_out=["kubelet"], why="n2 failed before"))
    record.close()
    return build_record(read_run(record.folder))


def test_a_run_in_which_all_that_was_begun_failed_failed_and_its_page_says_of_what(tmp_path: Path) -> None:
    """It ended with its last cell, and was "partly done" because of a proof that something was not carried out."""
    record = Record(tmp_path, "lab", "CHG-1")
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"], nodes=["n1", "n2"]))
    record(Started(**on("n1")))
    record(Failed(**on("n1"), error="/etc/x has changed since it was read"))
    record(Error(verb="apply", kind="StaleError", message="kubelet on n1: /etc/x has changed\nUntouched: n2"))
    record(
        Error(verb="prove", kind="ProofError", message="not everything is as planned:\n  not carried out yet")
    )
    record(Finished(mode="apply", not_carried_out=["kubelet"], why="kubelet on n1 failed before"))
    record.close()
    made = build_record(read_run(record.folder))
    front = front_of(made)
    assert front.headline == "✘ failed"
    assert dict(front.rows)["Error"] == "kubelet on n1: /etc/x has changed since it was read"
    made["errors"].reverse()
    assert dict(front_of(made).rows)["Error"] == "kubelet on n1: /etc/x has changed\nUntouched: n2"
    assert "kubelet on n1: /etc/x has changed Untouched: n2" in str(run_view(made)), "a row of one line"


@pytest.mark.parametrize(
    ("stops", "headline", "kind"),
    [
        (0, "✔ On the way to 1.25, nothing is known that would not start", "good"),
        (1, "• On the way to 1.25, something would not start in one place", "open"),
        (11, "• On the way to 1.25, something would not start in 11 places", "open"),
    ],
)
def test_a_run_that_judged_opens_with_what_it_found(
    tmp_path: Path, stops: int, headline: str, kind: str
) -> None:
    """Its page said "planned" over a grid of nodes without steps."""
    record = Record(tmp_path, "lab", "upgrade-readiness")
    record(RunStarted(cluster="lab", mode="plan", nodes=["n1"]))
    record(Observed(systems={"n1": {"os": "Debian", "systemd": "252"}}, api_server="v1.20.2"))
    record(Judged("1.25", 2 * stops, stops))
    record(Finished(mode="plan"))
    record.close()
    made = build_record(read_run(record.folder))
    front = front_of(made)
    assert (front.headline, front.kind, front.grid) == (headline, kind, ())
    assert re.search(rf"Result +{re.escape(headline)}", str(run_view(made)))
    assert made["readiness"] == {"target_release": "1.25", "findings": 2 * stops, "stops": stops}
    assert (
        front_of({name: part for name, part in made.items() if name != "readiness"}).headline == "• planned"
    )


def test_a_journal_from_before_stops_were_counted_does_not_say_that_there_are_none(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "upgrade-readiness")
    record(RunStarted(cluster="lab", mode="plan", nodes=["n1"]))
    record(Judged("1.25", 12))
    record(Finished(mode="plan"))
    record.close()
    assert front_of(build_record(read_run(record.folder))).headline == "• planned"


def test_each_node_and_each_step_has_a_word_and_a_sign(tmp_path: Path) -> None:
    front = front_of(record_with(tmp_path))
    assert front.steps == ("kubelet", "pod-security")
    assert [(row.name, row.cells(), row.not_ready) for row in front.grid] == [
        ("n0", ["✔ completed", "· nothing to do"], 2.5),
        ("n1", ["↩ reverted", "· nothing to do"], None),
        ("n2", ["✘ failed", "· nothing to do"], None),
        ("n3", ["– not carried out", "· nothing to do"], None),
        ("API objects", ["· nothing to do", "✔ completed (2)"], None),
    ]
    assert (front.headline, front.kind) == ("• partly done", "open")


@pytest.mark.parametrize(
    ("change", "seconds"),
    [
        ({"words": "runs", "not_ready": 2.5}, 2.5),
        ({"words": "runs; node not Ready for 9.9 s", "not_ready": 0.0}, 0.0),
        ({"words": "runs; node not Ready for 12 s; it stays cordoned"}, 12),  # a record of an earlier version
        ({"words": "runs", "not_ready": None}, None),
        ({"words": "node not Ready for ever"}, None),
    ],
)
def test_seconds_not_ready_are_those_of_the_field_and_of_the_words_before_there_was_one(
    change: dict[str, Any], seconds: float | None
) -> None:
    assert not_ready_of(change) == seconds


def test_who_what_and_why_are_on_it(tmp_path: Path) -> None:
    who = {"login": "ops", "uid": 1000, "host": "desk", "sudo_user": "ann"}
    rows = dict(front_of(record_with(tmp_path, change_id="CHG-1", reason="because", who=who)).rows)
    assert (rows["Change"], rows["Reason"]) == ("CHG-1", "because")
    assert rows["Carried out by"] == "ops (uid 1000) on desk (ann before sudo)"
    assert rows["Cluster"] == "lab, API server v1.30.0"
    assert rows["Approved by"] == "– (nobody)"
    assert rows["Plan"] == "0" * 64


def test_a_big_cluster_is_still_one_page(tmp_path: Path) -> None:
    """Nodes of which the same is to be said share a row."""
    front = front_of(record_with(tmp_path, nodes=500))
    assert len(front.grid) <= MOST_ROWS
    [many] = [row for row in front.grid if row.nodes > 1]
    assert (many.name, many.nodes) == ("n10 … n99 (497)", 497)
    assert many.cells() == ["– not carried out", "· nothing to do"]


def test_what_others_have_named_is_text(tmp_path: Path) -> None:
    bad = '<script>alert(1)</script>"&\x1b[31m\u202e'
    record = record_with(tmp_path) | {"run": bad, "cluster": bad, "who": {"login": bad}}
    front = front_html(front_of(record), [("Seal", bad)], Timeline())
    assert "<script" not in front
    assert "\x1b" not in front
    assert front.count("&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;\\x1b[31m\\u202e") == 4
    page = document(bad, front, tag("p", bad, title=bad))
    assert "<script" not in page
    assert page.index("Content-Security-Policy") < page.index("alert(1)")


def test_show_html_goes_to_a_file_and_never_into_a_record(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run, key = make_run(tmp_path / "outputs"), make_key(tmp_path).with_suffix(".pub")
    words = ["show", "--html", str(run), "--key", str(key)]
    assert main(words) == 0
    printed = capsys.readouterr().out
    assert printed.startswith("<!DOCTYPE html>")
    assert "<h2>The course of the run</h2>" in printed
    assert "Time line of 1 change;" in printed
    assert "– (not sealed)" in printed
    assert "– (not sealed)" in str(run_view(record_of(run))), (
        "also where nobody is named whose signatures count"
    )
    assert main([*words, "-o", str(tmp_path / "page.html")]) == 0
    assert (tmp_path / "page.html").read_text() == printed
    assert main([*words, "-o", str(run / "page.html")]) == 2
    assert main([*words, "-o", str(tmp_path / "no" / "page.html")]) == 2
    assert main(["show", str(run), "-o", "page.html"]) == 2
    assert not (run / "page.html").exists()
    assert main(["show", str(run), "--key", str(key)]) == 0
    assert "✔ completed" in capsys.readouterr().out
