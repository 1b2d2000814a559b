"""Requests that fail: which are sent again, when, and that none does harm the second time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import CUT, HANG, Faults, between
from kubeharden.edges.cluster import Cluster, client
from kubeharden.errors import ClusterError, StaleError
from kubeharden.plan import ObjectChange
from kubeharden.redaction import Redactor
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals

CONFIG_MAPS = "/api/v1/namespaces/kube-system/configmaps"


@pytest.fixture(scope="module")
def rehearsal(rehearsals: Rehearsals) -> Rehearsal:
    return rehearsals.fresh("article-1.10")


@pytest.fixture
def faults(rehearsal: Rehearsal) -> Iterator[Faults]:
    with between(rehearsal.directory / "admin.kubeconfig", hang_seconds=0.8) as found:
        yield found


@pytest.fixture
def cluster(faults: Faults, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    monkeypatch.setattr(client, "TIMEOUT_SECONDS", (0.4, 0.4))
    monkeypatch.setattr(client, "FIRST_PAUSE_SECONDS", 0.02)
    made = Cluster(str(faults.kubeconfig))
    yield made
    made.close()


def config_map(name: str, **data: str) -> dict:
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "kube-system"},
        "data": data,
    }


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504, CUT, HANG])
def test_a_read_is_tried_again(cluster: Cluster, faults: Faults, status: int) -> None:
    faults.add("GET", "^/version$", status, times=2)
    assert cluster.version() == "v1.10.0"
    assert faults.count("GET", "^/version$") == 3


def test_not_for_ever_and_the_last_answer_is_reported(cluster: Cluster, faults: Faults) -> None:
    faults.add("GET", "^/version$", 503, times=99)
    with pytest.raises(ClusterError, match="the API server answered 503: as the test wants it"):
        cluster.version()
    assert faults.count("GET", "^/version$") == 1 + client.RETRIES


def test_the_servers_own_retry_after_is_kept_to(cluster: Cluster, faults: Faults) -> None:
    faults.add("GET", "^/version$", 429, Retry_After="1")
    cluster.version()
    first, second = (at for at, _, path in faults.requests if path == "/version")
    assert second - first >= 1.0


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 410, 422])
def test_what_does_not_pass_is_not_tried_again(cluster: Cluster, faults: Faults, status: int) -> None:
    faults.add("GET", "^/version$", status, times=99)
    with pytest.raises((ClusterError, StaleError)):
        cluster.version()
    assert faults.count("GET", "^/version$") == 1


@pytest.mark.parametrize("status", [429, 500, 503, CUT, HANG])
def test_a_create_whose_answer_is_lost_is_looked_for(cluster: Cluster, faults: Faults, status: int) -> None:
    name = f"created-{abs(status)}"
    faults.add("POST", CONFIG_MAPS, status)
    made = cluster.create(config_map(name, answer="42"))
    assert made["data"] == {"answer": "42"}
    assert faults.count("POST", CONFIG_MAPS) == 2


def test_a_create_does_not_take_somebody_elses_object_for_its_own(cluster: Cluster, faults: Faults) -> None:
    cluster.create(config_map("theirs", answer="41"))
    faults.add("POST", CONFIG_MAPS, 503)  # whether it was carried out is not known
    with pytest.raises(StaleError, match="already exists"):
        cluster.create(config_map("theirs", answer="42"))
    found = cluster.get("ConfigMap", "theirs", "kube-system")
    assert found is not None
    assert found["data"] == {"answer": "41"}


@pytest.mark.parametrize("status", [429, 502, CUT, HANG])
def test_a_replacement_whose_answer_is_lost_happens_once(
    cluster: Cluster, faults: Faults, status: int
) -> None:
    made = cluster.create(config_map(f"replaced-{abs(status)}", answer="1"))
    faults.add("PUT", CONFIG_MAPS, status)
    written = cluster.replace({"kind": "ConfigMap", **made, "data": {"answer": "2"}})
    assert written["data"] == {"answer": "2"}
    assert faults.count("PUT", CONFIG_MAPS) == 2


def test_a_replacement_of_what_somebody_else_changed_is_refused(cluster: Cluster, faults: Faults) -> None:
    made = {"kind": "ConfigMap", **cluster.create(config_map("contested", answer="1"))}
    cluster.replace({**made, "data": {"answer": "theirs"}})
    faults.add("PUT", CONFIG_MAPS, 502)
    with pytest.raises(StaleError, match="Somebody else changed it"):
        cluster.replace({**made, "data": {"answer": "ours"}})
    found = cluster.get("ConfigMap", "contested", "kube-system")
    assert found is not None
    assert found["data"] == {"answer": "theirs"}


@pytest.mark.parametrize("status", [503, CUT, HANG])
def test_a_deletion_whose_answer_is_lost_is_done(cluster: Cluster, faults: Faults, status: int) -> None:
    name = f"deleted-{abs(status)}"
    made = {"kind": "ConfigMap", **cluster.create(config_map(name))}
    faults.add("DELETE", CONFIG_MAPS, status)
    cluster.apply(ObjectChange.deletion("pod-security", made))
    assert cluster.get("ConfigMap", name, "kube-system") is None


def test_a_deletion_of_what_somebody_else_changed_is_refused(cluster: Cluster) -> None:
    made = {"kind": "ConfigMap", **cluster.create(config_map("kept", answer="1"))}
    cluster.replace({**made, "data": {"answer": "2"}})
    with pytest.raises(StaleError):
        cluster.delete(made)
    assert cluster.get("ConfigMap", "kept", "kube-system") is not None


def test_a_server_that_is_not_there_is_reported_soon(
    rehearsal: Rehearsal, cluster: Cluster, faults: Faults
) -> None:
    text = faults.kubeconfig.read_text()
    nowhere = faults.kubeconfig.with_name("nowhere.kubeconfig")
    port = text.rpartition("http://127.0.0.1:")[2].split()[0]
    nowhere.write_text(text.replace(port, "1"))
    other = Cluster(str(nowhere))
    with pytest.raises(ClusterError, match=r"cannot reach the API server.*[Cc]onnection refused"):
        other.version()
    other.close()


def test_what_a_plugin_is_told_is_withheld_and_ordinary_words_stay(tmp_path: Path) -> None:
    told = {
        "AWS_PROFILE": "default",
        "AWS_REGION": "eu-west-1",
        "AWS_SDK_LOAD_CONFIG": "true",
        "CODE": "xk-94-Qpz7",
    }
    told["CLIENT_SECRET"] = "hunterhorse"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "false",
        "env": [{"name": name, "value": value} for name, value in told.items()],
    }
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": "https://127.0.0.1:1"}}],
        "users": [{"name": "unused", "user": {"exec": plugin}}, {"name": "u", "user": {}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(kubeconfig))
    redactor = Redactor()
    Cluster(str(path), redactor=redactor).close()
    plain = '{"namespace": "default", "value": true, "node": "ip-10-0-0-1.eu-west-1.compute.internal"}'
    assert redactor.redact(plain) == plain
    shown = redactor.redact("tried xk-94-Qpz7 and hunterhorse")
    assert "xk-94-Qpz7" not in shown
    assert "hunterhorse" not in shown
