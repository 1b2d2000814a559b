"""Lists of a big cluster: read in pages, kept small, and what a page that is too late costs."""

from __future__ import annotations

import re
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest
from nbclient import NotebookClient
from nbformat.v4 import new_code_cell, new_notebook

from big_cluster import serving
from faults import Faults, between
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.cluster.compact import Compactor
from kubeharden.edges.cluster.objects import PAGE
from kubeharden.kube.admitted_pod import ONE_PROJECTED_NAME
from kubeharden.show import live
from support import ROOT

PODS, TEMPLATES = 1000, 200
PODS_PATH = "^/api/v1/pods"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Any]]:
    with serving(PODS, TEMPLATES, tmp_path_factory.mktemp("big")) as found:
        yield found


@pytest.fixture
def faults(served: dict[str, Any]) -> Iterator[Faults]:
    with between(Path(served["kubeconfig"])) as found:
        yield found


@pytest.fixture
def cluster(faults: Faults) -> Iterator[Cluster]:
    made = Cluster(str(faults.kubeconfig))
    yield made
    made.close()


def test_pods_are_read_in_pages_and_how_far_is_reported(cluster: Cluster, faults: Faults) -> None:
    told: list[tuple[str, int, int | None]] = []
    pods = cluster.observe(["Pod"], lambda *words: told.append(words)).of("pods")
    assert len({(pod["metadata"]["namespace"], pod["metadata"]["name"]) for pod in pods}) == PODS
    asked = [path for _, _, path in faults.requests if re.search(PODS_PATH, path)]
    assert all(f"limit={PAGE}" in path for path in asked)
    assert ["continue=" in path for path in asked] == [False, True]
    assert told == [("pods", n, PODS) for n in (500, 1000)]


def test_pages_that_are_too_late_are_read_again_from_the_first(cluster: Cluster, faults: Faults) -> None:
    faults.add("GET", f"{PODS_PATH}.*continue=", 410)
    told: list[int] = []
    pods = cluster.observe(["Pod"], lambda _, done, __: told.append(done)).of("pods")
    assert len(pods) == len({pod["metadata"]["uid"] for pod in pods}) == PODS
    assert told == [500, 500, 1000]


def test_a_pod_is_kept_with_what_it_is_judged_by(cluster: Cluster) -> None:
    full = {pod["metadata"]["uid"]: pod for pod in cluster.items("Pod")}
    for pod in cluster.observe(["Pod"]).of("pods"):
        whole = full[pod["metadata"]["uid"]]
        assert set(pod) == {"apiVersion", "kind", "metadata", "spec", "status"}
        assert pod["status"] == {"phase": whole["status"]["phase"]}
        for key in ("name", "namespace", "labels", "annotations", "ownerReferences"):
            assert pod["metadata"][key] == whole["metadata"][key]
        assert "managedFields" not in pod["metadata"]
        named = re.sub(r"kube-api-access-[a-z0-9]{5}", ONE_PROJECTED_NAME, repr(whole["spec"]))
        assert repr(pod["spec"]) == named


def test_equal_parts_are_kept_once_and_a_number_is_no_truth_value() -> None:
    compactor = Compactor()
    first, second, other = (
        compactor.compact(
            "Pod", {"metadata": {"name": name}, "spec": {"nodeName": name, "containers": [{"x": x}]}}
        )
        for name, x in (("a", 1), ("b", 1), ("c", True))
    )
    assert first["spec"]["containers"] is second["spec"]["containers"]
    assert repr(other["spec"]["containers"]) == "[{'x': True}]"


def test_what_is_kept_of_a_pod_is_smaller_than_its_json(cluster: Cluster, served: dict[str, Any]) -> None:
    cluster.observe(["Pod"])  # whatever is loaded once, is
    tracemalloc.start()
    try:
        pods = cluster.observe(["Pod"]).of("pods")
        kept, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(pods) == PODS
    assert 4000 < served["bytes_a_pod"] < 7000
    assert kept / PODS < served["bytes_a_pod"]
    assert most - kept < 40 * 2**20  # a page, and what tells equal parts


class Bar:
    """Where a bar would be drawn."""

    def __init__(self) -> None:
        self.text = ""

    def write(self, text: str) -> int:
        self.text += text
        return len(text)

    def flush(self) -> None:
        """Nothing is held back."""


def reading(monkeypatch: pytest.MonkeyPatch, place: Bar | None) -> live.Reading:
    monkeypatch.setattr(live, "_place_for_bars", lambda: place)
    monkeypatch.setattr(live.Reading, "MOMENT_SECONDS", 0)
    return live.Reading()


def test_a_bar_ends_with_all_that_was_read(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    bar = Bar()
    cluster.observe(["Node", "Pod"], reading(monkeypatch, bar))
    assert re.search(r"reading pods: 100%.* 1000/1000 ", bar.text.splitlines()[-1])
    assert "nodes" not in bar.text  # one page


def test_no_bar_where_nobody_looks(cluster: Cluster, capfd: pytest.CaptureFixture[str]) -> None:
    cluster.observe(["Pod"], live.Reading())
    assert capfd.readouterr() == ("", "")


def test_in_a_notebook_one_output_holds_how_it_ended() -> None:
    code = """
    from kubeharden.show.live import Reading
    told = Reading()
    told.MOMENT_SECONDS = 0
    for done in (500, 1000, 1500):
        told("pods", done, 1500)
    """
    notebook = new_notebook(cells=[new_code_cell(dedent(code))])
    NotebookClient(notebook, kernel_name="python3").execute()
    [output] = notebook.cells[0].outputs
    assert output.output_type == "display_data"
    assert re.match(r"reading pods: 100%.* 1500/1500 ", output.data["text/plain"])


def test_the_bench_finds_what_was_planted_and_nothing_else() -> None:
    command = [sys.executable, "tests/bench/many_pods.py", "--pods", "600", "--templates", "300"]
    said = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert "600 pods of" in said
    assert "each of them planted and none missed" in said
