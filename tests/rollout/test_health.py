"""Each gate that a changed node must pass before it may keep its change, on its own.

The first tests prove the same kubelet, which was changed and is healthy: what each one makes wrong is the only thing
wrong. Those at the end prove an API server behind an address where another one may answer: the API does, all the time.
"""

from __future__ import annotations

import itertools
import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from fakes import ALWAYS, FakeCluster, World, planned
from kubeharden.edges.observe import observe_nodes
from kubeharden.errors import ProofError, RevertedError
from kubeharden.plan import NodeChange
from kubeharden.redaction import Redactor
from kubeharden.rollout.health import Before, Health
from rolling import events_of, fails, subjects

NODE, MASTER = "k8s-node1", "k8s-master"
LONG_AGO, NOT_YET = "2000-01-01T00:00:00Z", "2100-01-01T00:00:00Z"
ON_NODE = f"^/api/v1/nodes/{NODE}"


class Changed:
    """A cluster whose kubelets were changed."""

    def __init__(self, folder: Path) -> None:
        self.world = World("handbuilt-1.20")
        self.clock, self.faults = self.world.clock, self.world.faults
        self.run = planned(self.world, folder, steps=["kubelet"], accept_breaking=["shop/web"])
        self.run.apply("kubelet")

    def change(self, node: str = NODE) -> NodeChange:
        return next(
            c for c in self.run.current_plan.node_changes if c.node == node and c.service == "kubelet"
        )

    def health(self, settle: float = 0.2) -> Health:
        return Health(self.run.ports, settle, threading.Event())

    def before(self, node: str = NODE) -> Before:
        """The node as it was before its change, and its pods as they are: a healthy cluster keeps them."""
        return self.health().before(self.change(node), self.run.facts.node(node))

    def prove(
        self,
        change: NodeChange | None = None,
        before: Before | None = None,
        restarted: str = LONG_AGO,
        *,
        settle: float = 0.2,
        seconds: float = 20,
    ) -> str:
        end = self.clock.monotonic() + seconds
        return self.health(settle).prove(change or self.change(), before or self.before(), restarted, end)

    def node_object(self, ready: str, reported: str = "") -> bytes:
        """The Node as the API has it, but for its condition Ready."""
        node = self.run.cluster.get("Node", NODE)
        assert node is not None
        for condition in node["status"]["conditions"]:
            if condition["type"] == "Ready":
                condition["status"] = ready
                condition["lastHeartbeatTime"] = reported or condition["lastHeartbeatTime"]
        return json.dumps(node).encode()


@pytest.fixture(scope="module")
def changed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Changed]:
    made = Changed(tmp_path_factory.mktemp("health"))
    yield made
    made.run.close()


@pytest.fixture
def cluster(changed: Changed) -> Iterator[Changed]:
    yield changed
    changed.faults.faults.clear()


def test_a_healthy_node_is_proved(cluster: Changed) -> None:
    """What the others rely on: where nothing is made wrong, nothing is."""
    assert "Ready for 0.2 s with a new heartbeat" in cluster.prove()


def test_the_process_of_before_is_no_proof(cluster: Changed) -> None:
    [now] = observe_nodes(cluster.run.nodes, cluster.run.cluster, [NODE], ["kubelet"])
    pid = now.services["kubelet"].main_pid
    with pytest.raises(ProofError, match=f"process {pid} is the one that ran before: it was not restarted"):
        cluster.prove(before=replace(cluster.before(), facts=now))


def test_a_process_that_systemd_had_to_restart_is_no_proof(cluster: Changed) -> None:
    machine = cluster.world.machines[NODE]
    kubelet = machine.facts.services["kubelet"]
    machine.set(replace(kubelet, show={**kubelet.show, "NRestarts": "1"}))
    try:
        with pytest.raises(ProofError, match="it has been restarted by systemd 1 times since"):
            cluster.prove()
    finally:
        machine.set(kubelet)


def test_ready_by_the_word_of_the_old_kubelet_is_no_proof(cluster: Changed) -> None:
    start = cluster.clock.monotonic()
    with pytest.raises(ProofError, match=rf"last heartbeat is of 2\S+, before the restart \({NOT_YET}\)"):
        cluster.prove(restarted=NOT_YET, seconds=20)
    assert cluster.clock.monotonic() - start < 21  # it gave up when it had to


@pytest.mark.parametrize(
    ("renewed", "words"),
    [
        ("2026-01-02T03:04:15.000001Z", ""),
        ("2026-01-02T03:04:05.999999Z", r"and its Lease of 2026\S+: it may be of before"),
        ("", r"of the second of the restart \(2026-01-02T03:04:05Z\): it may be of before"),
    ],
)
def test_a_heartbeat_in_the_second_of_the_restart_counts_once_the_lease_is_renewed(
    cluster: Changed, renewed: str, words: str
) -> None:
    """A kubelet of 1.37 answers within a second of its start, and an unchanged status is posted every 5 minutes."""
    restarted = "2026-01-02T03:04:05Z"
    lease = {"metadata": {"name": NODE}, "spec": {"renewTime": renewed or None}}
    place = f"/namespaces/kube-node-lease/leases/{NODE}"
    cluster.faults.add("GET", place, 200, ALWAYS, json.dumps(lease).encode())
    cluster.faults.add("GET", f"{ON_NODE}$", 200, ALWAYS, cluster.node_object("True", restarted))
    if not words:
        assert "Ready for 0.2 s with a new heartbeat" in cluster.prove(restarted=restarted)
        return
    with pytest.raises(ProofError, match=words):
        cluster.prove(restarted=restarted)


def test_a_node_that_is_not_ready_is_not_proved(cluster: Changed) -> None:
    cluster.faults.add("GET", f"{ON_NODE}$", 200, ALWAYS, cluster.node_object("False"))
    with pytest.raises(ProofError, match="the node is not Ready; look at `journalctl -u kubelet` there"):
        cluster.prove()


def test_a_node_that_does_not_stay_ready_is_not_proved(cluster: Changed) -> None:
    cluster.faults.add("GET", f"{ON_NODE}$", 200, ALWAYS, cluster.node_object("False"), every=3)
    with pytest.raises(ProofError, match=r"the node does not stay Ready for 1\.5 seconds"):
        cluster.prove(settle=1.5)


def test_a_break_while_it_settles_starts_the_time_anew(cluster: Changed) -> None:
    settle = 1.5
    cluster.faults.add("GET", f"{ON_NODE}$", 200, 1, cluster.node_object("False"), every=3)
    cluster.prove(settle=settle)
    [fault] = cluster.faults.faults
    looks = [at for at, _, path in cluster.faults.requests if path == f"/api/v1/nodes/{NODE}"]
    assert not fault.times
    assert looks[-1] - fault.last >= settle - 0.2  # the last look is within a pause of the end


def test_a_kubelet_that_is_not_ok_is_not_proved(cluster: Changed) -> None:
    said = b"[-]syncloop failed: sync Loop took longer than expected"
    cluster.faults.add("GET", f"{ON_NODE}/proxy/healthz", 200, ALWAYS, said)
    with pytest.raises(ProofError, match=r"the kubelet's /healthz says \[-\]syncloop failed"):
        cluster.prove()
    cluster.faults.faults.clear()
    cluster.faults.add("GET", f"{ON_NODE}/proxy/healthz", 500, ALWAYS)
    with pytest.raises(ProofError, match=r"it cannot be seen: .*500"):
        cluster.prove()


def test_another_effective_configuration_is_not_proved(cluster: Changed) -> None:
    change = cluster.change()
    wanted = {**change.expected_config, "maxPods": 42}
    with pytest.raises(ProofError, match=r"maxPods is \d+ in effect, not 42"):
        cluster.prove(replace(change, expected_config=wanted))


def test_a_configuration_that_can_no_longer_be_read_is_not_proved(cluster: Changed) -> None:
    cluster.faults.add("GET", f"{ON_NODE}/proxy/configz", 403, ALWAYS)
    with pytest.raises(ProofError, match="could be read before, and cannot be read any more"):
        cluster.prove()


def test_another_command_line_is_not_proved(cluster: Changed) -> None:
    change = cluster.change()
    planned = replace(change, expected_argv=(*change.expected_argv, "--v=9"))
    with pytest.raises(ProofError, match="it runs with another command line than planned"):
        cluster.prove(planned)


def test_a_pod_that_is_gone_is_named(cluster: Changed) -> None:
    before = cluster.before()
    alone: dict[str, Any] = {
        "metadata": {"namespace": "shop", "name": "alone", "uid": "of-a-pod-that-is-gone"},
        "spec": {"nodeName": NODE},
        "status": {"phase": "Running", "conditions": [{"type": "Ready", "status": "True"}]},
    }
    with pytest.raises(ProofError, match="shop/alone is gone, and nothing makes it anew"):
        cluster.prove(before=replace(before, pods=(*before.pods, alone)))


def test_a_daemonsets_pod_counts_by_its_owner(cluster: Changed) -> None:
    """It comes back with another name; until it does, it is missed by its old one."""
    before = cluster.before()
    daemon = next(
        pod
        for pod in before.pods
        if pod["spec"].get("nodeName") == NODE
        and any(owner["kind"] == "DaemonSet" for owner in pod["metadata"].get("ownerReferences", ()))
    )
    meta = daemon["metadata"]
    path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
    FakeCluster(cluster.world, Redactor())._client.call("DELETE", path)
    cluster.prove(before=before)
    there = {pod["metadata"]["name"] for pod in cluster.run.cluster.pods_on(NODE)}
    assert meta["name"] not in there

    cluster.faults.add("GET", "^/api/v1/pods", 200, ALWAYS, b'{"metadata": {}, "items": []}')
    cluster.faults.add(
        "GET", f"^/api/v1/namespaces/{meta['namespace']}/pods", 200, ALWAYS, b'{"metadata": {}, "items": []}'
    )
    with pytest.raises(ProofError, match=f"{meta['namespace']}/{meta['name']} was ready before and is gone"):
        cluster.prove(before=before)


class Balanced:
    """An API server that is to be changed, behind an address where another one answers whatever becomes of it."""

    def __init__(self, folder: Path) -> None:
        self.world = World("handbuilt-1.20")
        self.machine = self.world.machines[MASTER]
        self.world.faults.add("GET", "^/healthz$", 200, ALWAYS, b"ok")
        given = {"steps": ["pod-security"], "accept_breaking": ["shop/web"], "confirm_timeout": 60}
        self.run = planned(self.world, folder, **given)
        [self.change] = (c for c in self.run.current_plan.node_changes if c.service == "kube-apiserver")

    def says(self, *words: str) -> None:
        """Let the API server say these to ``/healthz`` on its own node, again and again."""
        answers = itertools.cycle(words)
        self.world.healthz[MASTER] = lambda: next(answers)

    @property
    def unit(self) -> str:
        service = self.machine.facts.services["kube-apiserver"]
        return service.files["/etc/systemd/system/kube-apiserver.service"].content

    def stop(self) -> None:
        server = self.machine.facts.services["kube-apiserver"]
        self.machine.set(replace(server, show={**server.show, "ActiveState": "inactive", "MainPID": "0"}))

    def prove(self, settle: float = 0.2) -> str:
        health = Health(self.run.ports, settle, threading.Event())
        before = Before(self.run.facts.node(MASTER))
        return health.prove(self.change, before, LONG_AGO, self.world.clock.monotonic() + 20)

    def words(self) -> str:
        """What is said of the API server that was changed."""
        [event] = [
            e for e in events_of(self.run, "completed") if e["subject"] == f"kube-apiserver on {MASTER}"
        ]
        return str(event["words"])


@pytest.fixture
def balanced(tmp_path: Path) -> Iterator[Balanced]:
    made = Balanced(tmp_path)
    yield made
    made.run.close()


def test_an_api_server_is_asked_on_its_own_node(balanced: Balanced) -> None:
    balanced.run.apply("pod-security")
    assert "its own server answered /healthz with 200 for 0.2 s" in balanced.words()
    start = balanced.world.clock.monotonic()
    assert balanced.prove(1.5) == "its own server answered /healthz with 200 for 1.5 s"
    assert balanced.world.clock.monotonic() - start >= 1.5


def test_an_api_server_that_wants_a_credential_serves(balanced: Balanced) -> None:
    balanced.says("401")
    balanced.run.apply("pod-security")
    assert "its own server answered /healthz with 401" in balanced.words()


def test_an_api_server_that_another_one_answers_for_is_not_proved(balanced: Balanced) -> None:
    balanced.run.apply("pod-security")
    balanced.says("500")
    with pytest.raises(ProofError, match=r"^it answers /healthz on its own node with 500$"):
        balanced.prove()
    balanced.run.look()
    with pytest.raises(ProofError, match=f"{MASTER}: it answers /healthz on its own node with 500"):
        balanced.run.prove()
    balanced.stop()
    with pytest.raises(ProofError, match=r"^it does not run$"):
        balanced.prove()


def test_an_api_server_that_does_not_stay_healthy_is_not_proved(balanced: Balanced) -> None:
    balanced.run.apply("pod-security")
    balanced.says("200", "200", "500")
    with pytest.raises(ProofError, match="its own server does not stay healthy for 5 seconds"):
        balanced.prove(5)


def test_where_nobody_can_ask_an_api_server_the_proof_says_so(balanced: Balanced) -> None:
    balanced.says("")
    balanced.run.apply("pod-security")
    assert "the API answers; the node has neither curl nor wget to ask its own server" in balanced.words()
    assert f"kube-apiserver on {MASTER} could not be asked on its own node" in str(balanced.run.prove())


def test_an_api_server_that_another_one_answers_for_is_put_back(balanced: Balanced) -> None:
    old = balanced.unit
    balanced.world.healthz[MASTER] = lambda: "000" if "PodSecurityPolicy" in balanced.unit else "200"
    with fails(RevertedError, match="it does not answer /healthz on its own node"):
        balanced.run.apply("pod-security")
    assert balanced.unit == old
    assert subjects(balanced.run, "reverted") == [f"kube-apiserver on {MASTER}"]
