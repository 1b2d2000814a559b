"""The picture of a run: events in, SVG and the same numbers out."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from dataclasses import replace

from kubeharden.plan.event import Event
from kubeharden.plan.events import (
    Completed,
    Drained,
    Failed,
    Finished,
    ReadyAgain,
    Restarted,
    Reverted,
    Started,
)
from kubeharden.plan.timeline import HEADINGS, MOST_BARS, Timeline


def at(seconds: float, event: Event) -> Event:
    return replace(event, time=f"2026-11-01T08:30:{seconds:06.3f}+00:00")


ON_N1 = ("kubelet on n1", "kubelet", "n1", "kubelet")
ON_N2 = ("kubelet on n2", "kubelet", "n2", "kubelet")
OBJECTS = [
    at(30 + n / 10, kind(f"Role r{n}", "pod-security", object=f"Role r{n}"))
    for n in range(9)
    for kind in (Started, Completed)
]
EVENTS = [
    at(0, Started(*ON_N1)),
    at(4, Drained("n1")),
    at(9, Restarted(*ON_N1, at="2026-11-01T08:30:06Z")),
    at(18, ReadyAgain(*ON_N1)),
    at(21, Completed(*ON_N1, words="w", seconds=21.0, not_ready=11.5)),
    at(22, Started(*ON_N2)),
    at(24, Restarted(*ON_N2, at="2026-11-01T07:00:00Z")),  # its clock is an hour and a half behind
    at(29, Reverted(*ON_N2, error="e", seconds=7.0)),
    *OBJECTS,
    at(40, Started("kube-proxy on <n1>", "kube-proxy", "<n1>")),
    at(41, Failed("kube-proxy on <n1>", "kube-proxy", "<n1>", error="e")),
    at(42, Started("kube-proxy on n2", "kube-proxy", "n2")),
    Finished("apply"),
]  # fmt: skip


def test_the_rows_have_the_seconds_of_each_part() -> None:
    rows = [dict(zip(HEADINGS, row, strict=True)) for row in Timeline.of(EVENTS).rows()]
    first, second, *_, failed, cut = rows
    assert (first["Draining"], first["Staging"], first["Restarting"], first["Proving"]) == (
        "4.0 s", "2.0 s", "12.0 s", "3.0 s"
    )  # fmt: skip
    assert (first["Not Ready"], first["Outcome"], first["Took"]) == ("11.5 s", "completed", "21.0 s")
    assert (second["Staging"], second["Restarting"], second["Outcome"]) == ("", "2.0 s", "reverted")
    assert (failed["Outcome"], failed["Staging"]) == ("failed", "1.0 s")
    assert (cut["Outcome"], cut["Took"]) == ("not over", "0.0 s")
    assert first["Began (UTC)"] == "08:30:00"


def test_the_picture_is_whole_and_says_the_outcome_in_words_too() -> None:
    svg = Timeline.of(EVENTS).svg()
    root = ET.fromstring(svg)
    texts = ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")]
    assert "kubelet, from 08:30:00 UTC" in texts
    assert "✔ completed, 21.0 s" in texts
    assert "↩ reverted, 7.0 s" in texts
    assert "✘ failed, 1.0 s" in texts
    assert "… not over, 0.0 s" in texts
    assert texts.count("9 API objects") == 1
    assert "kube-proxy on <n1>" in texts
    assert {"draining", "staging", "restarting", "proving"} <= set(texts)
    assert not [
        text for text in root.iter("{http://www.w3.org/2000/svg}text") if text.get("fill") != "currentColor"
    ]
    assert "<script" not in svg
    assert "http" not in svg.replace("http://www.w3.org/2000/svg", "")


def test_parts_differ_without_colour() -> None:
    root = ET.fromstring(Timeline.of(EVENTS).svg())
    paths = [path for path in root.iter("{http://www.w3.org/2000/svg}path") if len(path)]
    looks = {
        path[0].text.split()[0]: (path.get("stroke-width"), path.get("stroke-dasharray")) for path in paths
    }
    assert len(set(looks.values())) == len(looks) >= 4


def test_a_record_of_before_has_one_part_a_change() -> None:
    old = [at(0, Started("kubelet on n1")), at(5, Completed("kubelet on n1", seconds=5.0))]
    [bar] = Timeline.of(old).bars
    assert bar.parts == (("changing", 5.0),)
    assert Timeline.of([]).svg() == ""
    assert Timeline.of([Started("kubelet on n1")]).bars == ()


def test_a_picture_of_hundreds_of_nodes_ends() -> None:
    many = [at(n / 10, Started(f"kubelet on n{n}", "kubelet", f"n{n}")) for n in range(300)]
    assert f"… and {300 - MOST_BARS} more, see the table" in Timeline.of(many).svg()
