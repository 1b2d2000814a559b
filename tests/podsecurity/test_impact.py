"""Who breaks: for every folder of ``fixtures/impact``, the very table; and what is refused, accepted and proposed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from impact_cases import FOLDERS, objects_in, what_would_become_of_them
from kubeharden.kube.admitted_pod import TOKEN_PATH, as_created, without_token
from kubeharden.kube.workloads import KINDS
from kubeharden.podsecurity.impact import Impact, WorkloadVerdict, breaking, idle_names
from kubeharden.releases import Release
from kubeharden.show.impact_views import impact_view

CASES = FOLDERS[0].parent


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_the_table_is_the_expected_one(folder: Path) -> None:
    assert what_would_become_of_them(folder) == (folder / "impact.txt").read_text()


def test_the_folders_have_every_kind_that_makes_pods() -> None:
    made = {
        item["kind"] for f in FOLDERS for items in objects_in(f / "objects.yaml").values() for item in items
    }
    assert made >= KINDS | {"Pod"}


def judged(name: str, *, admitted: bool = False, in_use: bool = True, pods: int = 1) -> WorkloadVerdict:
    kind, _, place = name.partition(" ")
    namespace, _, own = place.partition("/")
    return WorkloadVerdict(
        kind, namespace, own, "default", pods=pods, in_use=in_use,
        policy="p" if admitted else "", reasons=() if admitted else ("may use no policy",),
    )  # fmt: skip


THREE = (
    judged("Deployment shop/web", pods=3),
    judged("StatefulSet shop/web"),
    judged("CronJob shop/nightly", pods=0),
    judged("Job shop/done", in_use=False, pods=0),
    judged("Deployment shop/api", admitted=True),
)


@pytest.mark.parametrize(
    ("accepted", "left"),
    [
        ((), ["Deployment shop/web", "StatefulSet shop/web", "CronJob shop/nightly"]),
        (("shop/web",), ["CronJob shop/nightly"]),
        (("StatefulSet shop/web", "shop/nightly"), ["Deployment shop/web"]),
        (
            ("web", "Shop/web", "shop/done"),
            ["Deployment shop/web", "StatefulSet shop/web", "CronJob shop/nightly"],
        ),
    ],
)
def test_what_is_accepted_is_accepted_by_its_whole_name(accepted: tuple[str, ...], left: list[str]) -> None:
    assert [str(j) for j in breaking(THREE, accepted)] == left


def test_a_name_that_would_not_break_is_idle() -> None:
    assert idle_names(THREE, ["shop/web", "shop/done", "shop/api", "Deployment shop/web"]) == [
        "shop/done",
        "shop/api",
    ]


def shown(*found: WorkloadVerdict) -> str:
    return str(impact_view([Impact("PodSecurityPolicy", "once it is on", found)]))


def test_the_view_opens_with_what_runs_and_would_not_start_again() -> None:
    text = shown(*reversed(THREE))
    first, *_ = text.splitlines()
    assert first.startswith(
        "✘ 2 workloads with 4 pods KEEP RUNNING and WILL NOT START AGAIN, once it is on: "
    )
    assert "1 workload without a pod now will not get one: CronJob shop/nightly" in text
    table = text[text.index("Who breaks") :].splitlines()
    order = [line.split("  ")[0] for line in table[3:8]]
    assert order == [
        "Deployment shop/web", "StatefulSet shop/web", "CronJob shop/nightly", "Job shop/done", "Deployment shop/api",
    ]  # fmt: skip


def test_where_nothing_breaks_the_view_says_so() -> None:
    assert "Who breaks, once it is on: nobody\n" in shown(THREE[-1], THREE[-2])
    assert "nobody" not in shown(*THREE)
    assert shown(THREE[-1], THREE[-2]).startswith(
        "✔ Everything that is in use would be admitted again, once it is on"
    )


def test_of_very_many_that_are_admitted_some_are_shown_and_all_that_break() -> None:
    many = [judged(f"Deployment n/ok-{n}", admitted=True) for n in range(500)]
    broken = [judged(f"Deployment n/bad-{n}") for n in range(300)]
    text = shown(*many, *broken)
    assert all(f"Deployment n/bad-{n} " in text for n in range(300))
    assert "300 more are admitted" in text


def test_the_chart_has_its_numbers_beside_it_and_parts_that_differ_in_shape() -> None:
    more = [judged(f"Deployment big/ok-{n}", admitted=True) for n in range(100)]
    view = impact_view([Impact("PodSecurityPolicy", "once it is on", (*THREE, *more))])
    html = view._repr_html_()
    chart = html[html.index("<caption>Workloads by namespace, once it is on</caption>") :]
    rows = re.findall(r"<tr><td>(.*?)</td></tr>", chart)
    assert [row.split("</td><td>")[:-1] for row in rows] == [
        ["shop", "3", "1", "1"],
        ["big", "0", "0", "100"],
    ]
    bars = [re.findall(r'class="(part\d)" d="M(\d+) 7h(\d+)"', row) for row in rows]
    assert bars[0] == [("part1", "0", "7"), ("part2", "7", "2"), ("part3", "9", "2")]
    assert bars[1] == [("part3", "0", "240")], (
        "the longest bar fills the width, and a part of none is not drawn"
    )
    style = {
        part: re.findall(rf"\.kh \.{part} {{stroke: #\w+; (.*)}}", html)
        for part in ("part1", "part2", "part3")
    }
    assert len({shape for [shape] in style.values()}) == 3, "without any colour"
    assert html.count("<svg") == html.count("</svg>") == html.count('aria-hidden="true"') == 5
    assert "<script" not in html
    text = str(view)[str(view).index("Workloads by namespace") :].splitlines()
    assert [cell.strip() for cell in re.split("  +", text[1])[:4]] == [
        "Namespace", "X will not start again", ". refused, not in use", "= admitted",
    ]  # fmt: skip
    assert text[3].split() == ["shop", "3", "1", "1", "X.="], (
        "what is counted is visible beside a bar of many"
    )
    assert text[4].split() == ["big", "0", "0", "100", "=" * 40]


def test_a_namespace_that_looks_like_markup_stays_text() -> None:
    html = impact_view([Impact("x", "y", (judged("Deployment a<b>&c/web"),))])._repr_html_()
    assert "a<b>" not in html
    assert "a&lt;b&gt;&amp;c" in html


def test_what_admission_put_into_a_pod_comes_off_and_goes_on_again() -> None:
    template = {"metadata": {}, "spec": {"containers": [{"name": "a"}], "initContainers": [{"name": "b"}]}}
    for text, kind in (("1.20", "secret"), ("1.21", "projected")):
        made = as_created(template, "shop", None, Release.parse(text))
        [volume] = made["spec"]["volumes"]
        assert kind in volume
        mounts = [c["volumeMounts"][0] for key in ("containers", "initContainers") for c in made["spec"][key]]
        assert {(m["name"], m["mountPath"]) for m in mounts} == {(volume["name"], TOKEN_PATH)}
        bare = without_token(made)
        assert bare["spec"]["volumes"] == []
        assert bare["spec"]["containers"] == [{"name": "a"}]
    assert "volumes" not in template["spec"]
