"""Each machine is the one that its Node object is about, is there once, and has the role that the inventory says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from facts_fixtures import PLANS, read_facts
from fakes import World, planned
from kubeharden.edges.nodes.nodes import Nodes
from kubeharden.errors import MigrationRefusedError
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import Remark
from kubeharden.plan.decide import make_plan
from kubeharden.plan.events import Observed
from kubeharden.plan.machines import refusals, remarks
from kubeharden.plan.proof import compare
from kubeharden.podsecurity.policies import read_policies
from kubeharden.show.views import facts_view, plan_view
from rehearsals import Rehearsals

POLICIES = read_policies(Path(__file__).parents[2] / "parameters" / "pod-security.yaml")
ONE, TWO = "k8s-node1", "k8s-node2"


def cluster(reports: Mapping[str, Mapping[str, str]] | None = None, **machines: Mapping[str, Any]) -> Facts:
    """handbuilt-1.20, each machine with ids of its own that its kubelet has reported.

    Args:
        reports: other fields of what a kubelet reported, by node.
        machines: other facts of a machine, by the last word of its name.
    """
    facts = read_facts(PLANS / "handbuilt-1.20")
    nodes = tuple(
        replace(
            node,
            **{
                "machine": f"m-{node.name}",
                "boot": f"b-{node.name}",
                **machines.get(node.name.removeprefix("k8s-"), {}),
            },
        )
        for node in facts.nodes
    )
    items = tuple(
        reported(
            item,
            **{
                "machineID": f"m-{name}".replace("-", ""),
                "bootID": f"b-{name}",
                **(reports or {}).get(name, {}),
            },
        )
        for name, item in ((item["metadata"]["name"], item) for item in facts.cluster.of("nodes"))
    )
    return Facts(nodes, replace(facts.cluster, objects={**facts.cluster.objects, "nodes": items}))


def reported(item: Mapping[str, Any], **info: str) -> dict[str, Any]:
    status = {**item["status"], "nodeInfo": {**item["status"]["nodeInfo"], **info}}
    return {**item, "status": status}


def without(facts: Facts, *names: str) -> Facts:
    """The same, with an inventory that leaves these out."""
    return replace(facts, nodes=tuple(node for node in facts.nodes if node.name not in names))


def exchanged(facts: Facts, first: str, second: str) -> Facts:
    """The same, with the machines of two nodes exchanged."""
    found = {node.name: node for node in facts.nodes}
    found[first], found[second] = replace(found[second], name=first), replace(found[first], name=second)
    return replace(facts, nodes=tuple(found.values()))


def said(found: Callable[[Facts], Any], facts: Facts) -> dict[str, str]:
    return {remark.subject: remark.text for remark in found(facts)}


def test_the_ids_are_compared_as_they_are_written() -> None:
    """machine-id has no hyphens, and so has what the kubelet reports of it; older ones report a UUID."""
    facts = cluster()
    assert said(refusals, facts) == {}
    assert said(remarks, facts) == {}


def test_an_id_that_is_null_is_none() -> None:
    null, none = ({ONE: dict.fromkeys(("machineID", "bootID"), value)} for value in (None, ""))
    for found in (refusals, remarks):
        assert said(found, cluster(reports=null)) == said(found, cluster(reports=none))


@pytest.mark.parametrize(
    "status",
    [
        {"addresses": [{"address": "10.0.0.1"}]},
        {"addresses": [{"type": "Hostname"}]},
        {"addresses": None},
        {},
    ],
)
def test_a_node_object_may_leave_out_anything(status: dict[str, Any]) -> None:
    facts = cluster()
    items = tuple(
        {**item, "status": {"nodeInfo": item["status"]["nodeInfo"], **status}}
        for item in facts.cluster.of("nodes")
    )
    bare = replace(facts, cluster=replace(facts.cluster, objects={**facts.cluster.objects, "nodes": items}))
    assert (said(refusals, bare), said(remarks, bare)) == ({}, {})


def test_exchanged_hosts_are_refused_with_the_right_name() -> None:
    found = said(refusals, exchanged(cluster(), ONE, TWO))
    assert list(found) == [ONE, TWO]
    assert f"It is the machine of the Node {TWO}. Mend the inventory" in found[ONE]
    assert f"has the host name {TWO}, the machine id m-{TWO} and the boot id b-{TWO}" in found[ONE]


SAME = {"machineID": "clone"}
CLONES = {ONE: SAME, TWO: SAME, "k8s-node3": SAME, "k8s-master": SAME}


@pytest.mark.parametrize(
    ("reports", "machines", "refused", "remarked"),
    [
        # Rebooted, and the kubelet has not reported since.
        ({ONE: {"bootID": "old"}}, {}, {}, {}),
        # Another machine id since it was installed anew: the boot is the same.
        ({ONE: {"machineID": "old"}}, {}, {}, {}),
        # Another machine altogether, which has the right host name: that of another cluster.
        ({}, {"node1": {"machine": "x", "boot": "y"}}, {ONE: "It is another machine"}, {}),
        ({}, {"node1": {"machine": "x", "boot": "y", "hostname": "db7"}}, {ONE: "host name db7"}, {}),
        # Cloned machines have one machine id; their boot ids differ.
        (CLONES, {n: {"machine": "clone"} for n in ("node1", "node2", "node3", "master")}, {}, {}),
        # So do containers on one host have one boot id.
        (
            {n: {"bootID": "host"} for n in (ONE, TWO)},
            {n: {"boot": "host"} for n in ("node1", "node2")},
            {},
            {},
        ),
        # Clones, of which one was rebooted: the host name decides.
        (
            {**CLONES, ONE: {**SAME, "bootID": "old"}},
            {n: {"machine": "clone"} for n in ("node1", "node2", "node3", "master")},
            {},
            {},
        ),
        (
            {**CLONES, ONE: {**SAME, "bootID": "old"}},
            {n: {"machine": "clone", **({"hostname": "x"} if n == "node1" else {})}
             for n in ("node1", "node2", "node3", "master")},
            {ONE: "It is another machine"},
            {},
        ),
        # A kubelet that reports nothing of its machine, and a machine without an id.
        ({ONE: {"machineID": "", "bootID": ""}}, {}, {}, {}),
        ({ONE: {"machineID": "", "bootID": ""}}, {"node1": {"hostname": "x"}}, {}, {ONE: "cannot be told"}),
        ({ONE: {"bootID": "old"}}, {"node1": {"machine": ""}}, {}, {ONE: "is its kubelet down"}),
        ({ONE: {"bootID": "old"}}, {"node1": {"machine": "", "hostname": "x"}}, {ONE: "another machine"}, {}),
        # Two names for one machine.
        (
            {TWO: {"machineID": f"m-{ONE}", "bootID": f"b-{ONE}"}},
            {"node2": {"machine": f"m-{ONE}", "boot": f"b-{ONE}", "hostname": ONE}},
            {f"{ONE} and {TWO}": f"are one machine (its host name is {ONE}", TWO: "It is another machine"},
            {},
        ),
    ],
)  # fmt: skip
def test_a_machine_is_known_by_its_ids_and_where_they_do_not_do_by_its_host_name(
    reports: dict[str, dict[str, str]],
    machines: dict[str, dict[str, str]],
    refused: dict[str, str],
    remarked: dict[str, str],
) -> None:
    facts = cluster(reports, **machines)
    for found, wanted in ((said(refusals, facts), refused), (said(remarks, facts), remarked)):
        assert set(found) == set(wanted), found
        assert all(words in found[subject] for subject, words in wanted.items()), found


def test_nodes_that_the_inventory_leaves_out_are_named_everywhere() -> None:
    facts = without(cluster(), TWO, "k8s-node3")
    words = "leaves out nodes of the API, on which nothing is seen, changed or proved: k8s-node2, k8s-node3"
    plan = make_plan(facts, Parameters(), POLICIES)
    assert Remark("inventory of handbuilt-1.20", words) in plan.remarks
    assert list(refusals(facts)) == []
    assert words in " ".join(str(facts_view(facts)).split())
    assert words in " ".join(str(plan_view(plan)).split())
    for applied in (False, True):
        assert f"the inventory {words}" in compare(facts, facts, plan, applied=applied).notes
    assert Observed.of(facts).content()["unlisted"] == (TWO, "k8s-node3")
    assert "unlisted" not in Observed.of(cluster()).content()


def role(facts: Facts, **of: bool) -> Facts:
    nodes = tuple(
        replace(n, control_plane=of.get(n.name.removeprefix("k8s-"), n.control_plane)) for n in facts.nodes
    )
    return replace(facts, nodes=nodes)


def in_pods(facts: Facts, *names: str) -> Facts:
    """The same, with kube-apiserver in static pods on these nodes in place of its service."""
    nodes = tuple(
        replace(n, services={k: v for k, v in n.services.items() if k != "kube-apiserver"})
        for n in facts.nodes
    )
    pods = tuple(
        {
            "kind": "Pod",
            "metadata": {"name": f"kube-apiserver-{name}", "namespace": "kube-system"},
            "spec": {"nodeName": name, "containers": [{"name": "kube-apiserver"}]},
        }
        for name in names
    )
    objects = {**facts.cluster.objects, "pods": (*facts.cluster.of("pods"), *pods)}
    return Facts(nodes, replace(facts.cluster, objects=objects))


@pytest.mark.parametrize(
    ("facts", "refused"),
    [
        (
            role(cluster(), master=False),
            {"k8s-master": "kube-apiserver runs there, and the inventory does not say"},
        ),
        (role(cluster(), node1=True), {ONE: "kube-apiserver is not there, but on k8s-master"}),
        (in_pods(cluster(), "k8s-master"), {}),
        (
            in_pods(cluster(), ONE),
            {"k8s-master": f"not there, but on {ONE}", ONE: "kube-apiserver runs there"},
        ),
        (in_pods(without(cluster(), TWO), TWO), {"k8s-master": f"not there, but on {TWO}"}),
        (in_pods(cluster()), {}),
    ],
)
def test_the_control_plane_is_where_the_api_server_runs(facts: Facts, refused: dict[str, str]) -> None:
    found = said(refusals, facts)
    assert set(found) == set(refused), found
    assert all(words in found[subject] for subject, words in refused.items()), found


def test_where_nobody_knows_of_an_api_server_that_is_reported() -> None:
    assert "kube-apiserver was not found on any node" in said(remarks, in_pods(cluster()))["control plane"]


def test_an_api_server_that_is_installed_and_does_not_run_makes_no_control_plane() -> None:
    facts = cluster()
    server = next(n.services["kube-apiserver"] for n in facts.nodes if n.control_plane)
    idle = replace(server, show={**server.show, "ActiveState": "inactive", "MainPID": "0"})
    nodes = tuple(
        n if n.control_plane else replace(n, services={**n.services, "kube-apiserver": idle})
        for n in facts.nodes
    )
    assert said(refusals, replace(facts, nodes=nodes)) == {}


def test_nothing_is_drained_or_changed_on_a_machine_that_is_another(tmp_path: Path) -> None:
    world = World()
    for machine in world.machines.values():
        machine.facts = replace(machine.facts, machine=f"m-{machine.name}")
    world._beat()
    world.exchanged = {ONE: TWO, TWO: ONE}
    run = planned(world, tmp_path, mode="apply", drain=True)
    with pytest.raises(MigrationRefusedError, match=f"(?s){ONE}: .*It is the machine of the Node {TWO}"):
        run.apply("kubelet")
    run.close()
    assert not any(machine.changes for machine in world.machines.values())
    assert not any(item["spec"].get("unschedulable") for item in world.store.items("Node"))


def test_machines_say_who_they_are(rehearsals: Rehearsals) -> None:
    """What a rehearsal's machines say is what its kubelets report."""
    rehearsal = rehearsals.fresh("article-1.10")
    with Nodes(read_inventory(rehearsal.inventory)) as nodes:
        found = nodes.observe()
    assert all(len(node.machine) == 32 for node in found)
    assert len({node.machine for node in found}) == len(found)


def test_a_host_that_is_called_by_its_address_is_not_another_of_its_network() -> None:
    facts = cluster({ONE: {"bootID": "old"}}, node1={"machine": "", "hostname": "10.0.0.12"})
    items = tuple(
        {**item, "metadata": {**item["metadata"], "labels": {"kubernetes.io/hostname": "10.0.0.11"}}}
        if item["metadata"]["name"] == ONE
        else item
        for item in facts.cluster.of("nodes")
    )
    facts = replace(facts, cluster=replace(facts.cluster, objects={**facts.cluster.objects, "nodes": items}))
    assert "It is another machine" in said(refusals, facts)[ONE]
