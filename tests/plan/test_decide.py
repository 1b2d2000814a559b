"""Facts in, plan out: for every folder of ``fixtures/plans``, the very files and the very plan.

``python tests/plan/test_decide.py`` writes the expected side anew from the facts, and the facts anew from the
rehearsal clusters with ``--facts``; look at the diff before you commit it.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from facts_fixtures import PLANS, POLICIES, plan_of, read_facts
from kubeharden.components import Effect
from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import OBSERVE_SECONDS, Nodes
from kubeharden.errors import ParameterError
from kubeharden.facts import (
    Facts,
    FileFact,
    NodeFacts,
    ServiceFacts,
    observation_request,
)
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.proof import compare
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.podsecurity.policies import read_policies
from kubeharden.releases import Release
from kubeharden.show.display import Table
from kubeharden.show.views import STARTS, facts_view, plan_view, releases_view
from kubeharden_rehearsal import Rehearsal, available

ROOT = Path(__file__).parents[2]


def expected_files(plan: Plan) -> dict[str, str]:
    return {f"{c.node}{f.path}": f.after for c in plan.node_changes for f in c.files}


def expected_plan(plan: Plan) -> dict:
    verdicts = {
        f"{c.service} on {c.node}": {
            verdict: [f"{s.flag} {s.field}".strip() for s in getattr(c.migration, verdict)]
            for verdict in ("moved", "kept", "dropped", "hardened", "defaults")
        }
        for c in plan.node_changes
        if c.migration
    }
    return {
        "digest": plan.digest,
        **plan.as_json(),
        "verdicts": verdicts,
        "remarks": [f"{r.subject}: {r.text}" for r in plan.remarks],
        "refused": [f"{r.subject}: {r.text}" for r in plan.refused],
        "namespaces": {n.namespace: f"{n.level}: {n.stage}" for n in plan.namespaces},
        "breaking": [str(judged) for impact in plan.impacts for judged in impact.breaking],
    }


FOLDERS = sorted(path for path in PLANS.iterdir() if path.is_dir()) if PLANS.exists() else []


def test_there_is_a_folder_for_every_rehearsal_cluster() -> None:
    assert [folder.name for folder in FOLDERS] == sorted(available())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_the_plan_is_the_expected_one(folder: Path) -> None:
    plan = plan_of(folder)
    files = {
        str(path.relative_to(folder / "expected" / "nodes")): path.read_text()
        for path in (folder / "expected" / "nodes").rglob("*")
        if path.is_file()
    }
    assert expected_files(plan) == files
    assert expected_plan(plan) == json.loads((folder / "expected" / "plan.json").read_text())


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_the_same_facts_give_the_same_digest(folder: Path) -> None:
    assert plan_of(folder).digest == plan_of(folder).digest


# Variations on the article's cluster.

ARTICLE = PLANS / "article-1.10"
HANDBUILT = PLANS / "handbuilt-1.20"


def with_service(
    facts: Facts, node: str, service: str, change: Callable[[ServiceFacts], ServiceFacts]
) -> Facts:
    def of(n: NodeFacts) -> NodeFacts:
        if n.name != node:
            return n
        return dataclasses.replace(n, services={**n.services, service: change(n.services[service])})

    return dataclasses.replace(facts, nodes=tuple(of(n) for n in facts.nodes))


def with_file(service: ServiceFacts, path: str, content: str) -> ServiceFacts:
    return dataclasses.replace(
        service, files={**service.files, path: FileFact(path, "644", "root", "root", content)}
    )


def replaced(service: ServiceFacts, old: str, new: str) -> ServiceFacts:
    """Another word in the unit and on the running command line."""
    path = service.show["FragmentPath"]
    assert old in service.files[path].content
    changed = with_file(service, path, service.files[path].content.replace(old, new))
    return dataclasses.replace(changed, cmdline=tuple(changed.unit_argv()))


def with_objects(facts: Facts, **objects: tuple) -> Facts:
    cluster = dataclasses.replace(facts.cluster, objects={**facts.cluster.objects, **objects})
    return dataclasses.replace(facts, cluster=cluster)


def decide(facts: Facts, **parameters: object) -> Plan:
    return make_plan(facts, Parameters(**parameters), POLICIES)


def refusals(plan: Plan) -> str:
    return "\n".join(f"{r.subject}: {r.text}" for r in plan.refused)


def test_a_node_without_cluster_dns_needs_the_parameter() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-node1",
        "kubelet",
        lambda s: replaced(s, "  --cluster-dns=10.0.0.10 \\\n", ""),
    )
    with pytest.raises(ParameterError, match=r"dns_ip: is empty, and k8s-node1 has none of its own"):
        decide(facts)
    assert not decide(facts, dns_ip="10.0.0.10").refused


def test_a_dns_ip_outside_the_range_of_the_api_servers_unit_is_refused() -> None:
    with pytest.raises(ParameterError, match=r"dns_ip: '10.9.0.10' is outside .*10.0.0.0/16"):
        decide(read_facts(ARTICLE), dns_ip="10.9.0.10")


def test_a_unit_that_was_edited_and_never_restarted_is_refused() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-node1",
        "kubelet",
        lambda s: dataclasses.replace(s, cmdline=(*s.cmdline, "--max-pods=7")),
    )
    assert "kubelet on k8s-node1: its unit was edited but never put in effect" in refusals(decide(facts))


def test_a_unit_that_systemd_has_not_read_is_refused() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-node1",
        "kubelet",
        lambda s: dataclasses.replace(s, show={**s.show, "NeedDaemonReload": "yes"}),
    )
    assert "kubelet on k8s-node1: its unit was edited, and systemd has not read it" in refusals(decide(facts))


def test_a_service_that_does_not_run_is_refused() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-node1",
        "kubelet",
        lambda s: dataclasses.replace(
            s, cmdline=(), show={**s.show, "ActiveState": "failed", "MainPID": "0"}
        ),
    )
    assert "kubelet on k8s-node1: it is not running" in refusals(decide(facts))


def test_files_in_place_without_the_restart_are_finished() -> None:
    """A run that was cut off between the files and the restart: the next one restarts, and only that."""
    facts = read_facts(ARTICLE)
    planned = next(c for c in decide(facts).node_changes if (c.node, c.service) == ("k8s-node1", "kubelet"))
    for file in planned.files:
        facts = with_service(facts, "k8s-node1", "kubelet", lambda s, f=file: with_file(s, f.path, f.after))
    [change] = [c for c in decide(facts).node_changes if (c.node, c.service) == ("k8s-node1", "kubelet")]
    assert change.files == ()
    assert change.restart == "it runs with another command line than its unit says"


def test_kubeadms_kubeconfig_at_kubelet_conf_is_not_overwritten() -> None:
    text = "apiVersion: v1\nkind: Config\nusers: []\n"
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-node1",
        "kubelet",
        lambda s: with_file(s, "/etc/kubernetes/kubelet.conf", text),
    )
    [change] = [c for c in decide(facts).node_changes if (c.node, c.service) == ("k8s-node1", "kubelet")]
    assert {f.path for f in change.files} == {
        "/etc/systemd/system/kubelet.service",
        "/etc/kubernetes/kubelet-config.yaml",
    }


def test_the_schedulers_user_must_be_able_to_read_its_kubeconfig() -> None:
    facts = read_facts(ARTICLE)
    master = facts.node("k8s-master")
    modes = {**master.modes, "/etc/kubernetes/scheduler.kubeconfig": (0o600, "root", "root")}
    locked = dataclasses.replace(master, modes=modes)
    facts = dataclasses.replace(facts, nodes=tuple(locked if n is master else n for n in facts.nodes))
    plan = decide(facts)
    [change] = [c for c in plan.node_changes if c.service == "kube-scheduler"]
    assert "User=" not in change.files[0].after
    [remark] = [r for r in plan.remarks if "kube-scheduler" in r.subject]
    assert "cannot read /etc/kubernetes/scheduler.kubeconfig" in remark.text


def test_a_name_that_is_no_node_object_is_refused() -> None:
    facts = read_facts(ARTICLE)
    nodes = tuple(n for n in facts.cluster.of("nodes") if n["metadata"]["name"] != "k8s-node1")
    assert "k8s-node1: the API has no Node object of that name" in refusals(
        decide(with_objects(facts, nodes=nodes))
    )


def test_a_kubelet_that_the_api_server_could_not_enter_is_not_closed() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-master",
        "kube-apiserver",
        lambda s: replaced(s, "--kubelet-client-certificate=", "--kubelet-timeout="),
    )
    assert "kubelet on k8s-node1: kube-apiserver has no --kubelet-client-certificate" in refusals(
        decide(facts)
    )


def test_a_unit_of_a_package_gets_a_drop_in() -> None:
    def packaged(service: ServiceFacts) -> ServiceFacts:
        path = service.show["FragmentPath"]
        moved = with_file(service, "/usr/lib/systemd/system/kubelet.service", service.files[path].content)
        return dataclasses.replace(
            moved, show={**moved.show, "FragmentPath": "/usr/lib/systemd/system/kubelet.service"}
        )

    facts = with_service(read_facts(ARTICLE), "k8s-node1", "kubelet", packaged)
    [change] = [c for c in decide(facts).node_changes if (c.node, c.service) == ("k8s-node1", "kubelet")]
    unit = change.files[-1]
    assert unit.path == "/etc/systemd/system/kubelet.service.d/50-kubeharden.conf"
    assert unit.after.startswith(
        "[Service]\nUser=root\nGroup=root\nExecStart=\nExecStart=/usr/bin/kubelet \\\n"
    )


def test_the_config_file_comes_before_the_unit_that_names_it() -> None:
    for change in decide(read_facts(ARTICLE)).node_changes:
        kinds = ["unit" if "systemd" in file.path else "config" for file in change.files]
        assert kinds == sorted(kinds)


def test_a_policy_as_the_server_gives_it_back_is_no_difference() -> None:
    """policy/v1beta1 leaves out booleans that are false, and fills in allowPrivilegeEscalation."""
    facts = read_facts(ARTICLE)
    made = [c.manifest for c in decide(facts).object_changes if c.manifest["kind"] == "PodSecurityPolicy"]
    served = tuple(
        {
            **p,
            "spec": {k: v for k, v in p["spec"].items() if v is not False},
            "metadata": {**p["metadata"], "uid": "1"},
        }
        for p in made
    )
    again = decide(with_objects(facts, podsecuritypolicies=served))
    assert not [c for c in again.object_changes if c.manifest["kind"] == "PodSecurityPolicy"]


def test_what_does_not_exist_is_reported_and_not_created() -> None:
    facts = read_facts(ARTICLE)
    namespaces = tuple(n for n in facts.cluster.of("namespaces") if n["metadata"]["name"] != "weave")
    accounts = tuple(a for a in facts.cluster.of("serviceaccounts") if a["metadata"]["name"] != "coredns")
    plan = decide(with_objects(facts, namespaces=namespaces, serviceaccounts=accounts))
    made = {change.name for change in plan.object_changes}
    assert "Role weave/psp:privileged" not in made
    assert "RoleBinding kube-system/coredns:psp:coredns" not in made
    said = "\n".join(f"{r.subject}: {r.text}" for r in plan.remarks)
    assert "Role weave/psp:privileged: is left out: there is no namespace weave" in said
    assert "coredns:psp:coredns: is left out: there is no service account kube-system:coredns" in said


def test_an_object_that_says_something_else_is_updated_and_others_subjects_stay() -> None:
    facts = read_facts(ARTICLE)
    made = {c.name: dict(c.manifest) for c in decide(facts).object_changes}
    policy = {
        **made["PodSecurityPolicy coredns"],
        "spec": {"privileged": True, "allowPrivilegeEscalation": True},
    }
    binding = made["RoleBinding kube-system/coredns:psp:coredns"]
    other = {"kind": "ServiceAccount", "namespace": "kube-system", "name": "other"}
    plan = decide(
        with_objects(
            facts,
            podsecuritypolicies=(made["PodSecurityPolicy privileged"], policy),
            rolebindings=({**binding, "subjects": [other]},),
        )
    )
    changes = {c.name: c for c in plan.object_changes}
    assert "PodSecurityPolicy privileged" not in changes
    assert changes["PodSecurityPolicy coredns"].action == "update"
    assert changes["PodSecurityPolicy coredns"].manifest["spec"]["privileged"] is False
    assert changes["RoleBinding kube-system/coredns:psp:coredns"].manifest["subjects"][0] == other


def test_a_binding_to_another_role_is_refused() -> None:
    facts = read_facts(ARTICLE)
    made = {c.name: dict(c.manifest) for c in decide(facts).object_changes}
    binding = {
        **made["RoleBinding kube-system/coredns:psp:coredns"],
        "roleRef": {"kind": "ClusterRole", "name": "admin"},
    }
    assert "a roleRef cannot be changed" in refusals(decide(with_objects(facts, rolebindings=(binding,))))


def test_static_pods_get_a_binding_for_the_nodes_that_make_their_mirror_pods() -> None:
    facts = read_facts(ARTICLE)
    name = "RoleBinding kube-system/nodes:psp:privileged"
    assert name not in {c.name for c in decide(facts).object_changes}
    mirror = {
        "kind": "Pod",
        "metadata": {
            "name": "etcd-k8s-master",
            "namespace": "kube-system",
            "annotations": {"kubernetes.io/config.mirror": "1"},
        },
        "spec": {},
    }
    plan = decide(with_objects(facts, pods=(*facts.cluster.of("pods"), mirror)))
    [change] = [c for c in plan.object_changes if c.name == name]
    assert change.manifest["subjects"] == [
        {"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": "system:nodes"}
    ]
    assert breaking(plan) == []


def test_without_rbac_the_plugin_is_refused() -> None:
    facts = with_service(
        read_facts(ARTICLE),
        "k8s-master",
        "kube-apiserver",
        lambda s: replaced(s, "--authorization-mode=Node,RBAC", "--authorization-mode=Node,ABAC"),
    )
    assert "no effect without RBAC" in refusals(decide(facts))


def breaking(plan: Plan) -> list[str]:
    return [str(judged) for impact in plan.impacts for judged in impact.breaking]


def test_the_articles_policies_admit_what_runs_on_the_articles_cluster() -> None:
    plan = plan_of(ARTICLE)
    [impact] = plan.impacts
    assert [(str(j), j.policy) for j in impact.judged] == [
        ("Deployment kube-system/coredns", "coredns"),
        ("DaemonSet kube-system/weave-net", "privileged"),
        ("DaemonSet weave/weave-scope-agent", "privileged"),
        ("Deployment weave/weave-scope-app", "privileged"),
    ]
    assert plan.refused == ()


def test_the_plugin_is_not_switched_on_while_something_in_use_would_break() -> None:
    plan = plan_of(HANDBUILT)
    assert breaking(plan) == ["Deployment shop/web"]
    [refused] = plan.refused
    assert "Deployment shop/web (3 pods): may use no policy" in refused.text
    [proposed] = [r.text for r in plan.remarks if "default_policy=baseline would add" in r.text]
    assert "admit 1 of the 1 workloads" in proposed


@pytest.mark.parametrize("name", ["shop/web", "Deployment shop/web"])
def test_what_is_accepted_may_break(name: str) -> None:
    plan = plan_of(HANDBUILT, accept_breaking=(name,))
    assert plan.refused == ()
    assert breaking(plan) == ["Deployment shop/web"]


def test_a_name_that_is_accepted_for_nothing_is_reported() -> None:
    plan = plan_of(HANDBUILT, accept_breaking=("shop/web", "shop/wbe", "StatefulSet shop/web"))
    assert [r.subject for r in plan.remarks if "nothing of that name" in r.text] == [
        "shop/wbe",
        "StatefulSet shop/web",
    ]


def test_the_default_policy_is_in_the_plan_when_it_is_asked_for() -> None:
    assert not any("unprivileged" in c.name for c in plan_of(HANDBUILT).object_changes)
    plan = plan_of(HANDBUILT, default_policy="baseline")
    assert [c.name for c in plan.object_changes if "unprivileged" in c.name] == [
        "PodSecurityPolicy unprivileged-baseline",
        "ClusterRole psp:unprivileged-baseline",
        "ClusterRoleBinding authenticated:psp:unprivileged-baseline",
    ]
    assert breaking(plan) == []
    assert plan.refused == ()
    assert not [r for r in plan.remarks if "default_policy" in r.text]


def test_workloads_with_a_policy_of_their_own_keep_it_under_a_default_policy() -> None:
    for plan in (plan_of(HANDBUILT), plan_of(HANDBUILT, default_policy="baseline")):
        by = {str(j): j.policy for j in plan.impacts[0].judged}
        assert by["Deployment kube-system/coredns"] == "coredns"
        assert by["DaemonSet kube-system/weave-net"] == "privileged"


def test_the_policy_that_is_proposed_admits_what_broke_once_it_is_in_the_policies_file(
    tmp_path: Path,
) -> None:
    [(title, text)] = plan_of(HANDBUILT).impacts[0].proposals
    assert "service account shop:default" in title
    assert "&id" not in text
    file = yaml.safe_load((ROOT / "parameters" / "pod-security.yaml").read_text())
    [proposed] = yaml.safe_load(text)
    assert proposed["spec"]["privileged"] is False
    file["policies"].append(proposed)
    (tmp_path / "policies.yaml").write_text(yaml.safe_dump(file))
    policies = read_policies(tmp_path / "policies.yaml")
    plan = make_plan(read_facts(HANDBUILT), Parameters(), policies)
    assert (breaking(plan), plan.refused, plan.impacts[0].proposals) == ([], (), ())
    assert {str(j): j.policy for j in plan.impacts[0].judged}["Deployment shop/web"] == "shop-default"


def test_where_the_plugin_is_on_already_nothing_is_refused() -> None:
    facts = with_service(
        read_facts(HANDBUILT),
        "k8s-master",
        "kube-apiserver",
        lambda s: replaced(s, "NodeRestriction", "NodeRestriction,PodSecurityPolicy"),
    )
    plan = decide(facts)
    assert breaking(plan) == ["Deployment shop/web"]
    assert plan.refused == ()
    assert plan.impacts[0].when == "while the admission plugin PodSecurityPolicy is on"


def test_a_step_that_is_not_asked_for_is_not_judged() -> None:
    plan = plan_of(HANDBUILT, steps=("kubelet",))
    assert plan.impacts == ()
    assert plan.refused == ()


PSA = PLANS / "containerd-1.25"


def test_a_default_policy_is_refused_where_namespaces_get_levels() -> None:
    with pytest.raises(ParameterError, match="default_policy: 'baseline' is a PodSecurityPolicy"):
        plan_of(PSA, default_policy="baseline")


def with_a_miner(facts: Facts) -> Facts:
    """The facts with a privileged Deployment in a namespace whose label says that baseline is announced."""
    labels = {f"pod-security.kubernetes.io/{m}": "baseline" for m in ("warn", "audit")}
    template = {
        "spec": {"containers": [{"name": "m", "image": "m", "securityContext": {"privileged": True}}]}
    }
    miner = {"metadata": {"name": "miner", "namespace": "mine"}, "spec": {"template": template}}
    objects = dict(facts.cluster.objects)
    objects["namespaces"] += ({"metadata": {"name": "mine", "labels": labels}},)
    objects["deployments"] += (miner,)
    return dataclasses.replace(facts, cluster=dataclasses.replace(facts.cluster, objects=objects))


@pytest.mark.parametrize(
    ("accepted", "enforced"),
    [((), False), (("mine/other",), False), (("mine/miner",), True), (("Deployment mine/miner",), True)],
)
def test_a_level_is_not_enforced_while_something_in_use_would_break(
    accepted: tuple[str, ...], enforced: bool
) -> None:
    plan = decide(with_a_miner(read_facts(PSA)), enforce=True, accept_breaking=accepted)
    [level] = [level for level in plan.namespaces if level.namespace == "mine"]
    assert ("enforce" in level.then) == enforced
    assert breaking(plan) == ["Deployment mine/miner"]
    [judged] = [j for j in plan.impacts[0].judged if j.name == "miner"]
    assert "privileged" in judged.reasons[0]
    assert [r.subject for r in plan.remarks if "nothing of that name" in r.text] == [
        name for name in accepted if name == "mine/other"
    ]


def write_facts(name: str, folder: Path) -> None:
    shutil.rmtree(folder / "facts", ignore_errors=True)
    (folder / "facts").mkdir(parents=True)
    with tempfile.TemporaryDirectory() as scratch, Rehearsal.start(name, Path(scratch) / "r") as rehearsal:
        inventory = read_inventory(rehearsal.inventory)
        cluster = Cluster(inventory.kubeconfig)
        seen = cluster.observe()
        with Nodes(inventory) as nodes:
            for node in inventory.nodes:
                answer = nodes._run(node, "observe", observation_request(), "", OBSERVE_SECONDS)
                (folder / "facts" / f"{node.name}.txt").write_bytes(answer)
        content = {
            "version": seen.version,
            "user": seen.user,
            "control_plane": [n.name for n in inventory.nodes if n.control_plane],
            "configz": {n.name: cluster.kubelet_config(n.name) for n in inventory.nodes},
            "objects": seen.objects,
        }
        (folder / "facts" / "cluster.json").write_text(json.dumps(content, indent=1) + "\n")


def write_expected(folder: Path) -> None:
    shutil.rmtree(folder / "expected", ignore_errors=True)
    plan = plan_of(folder)
    for name, text in expected_files(plan).items():
        path = folder / "expected" / "nodes" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (folder / "expected" / "plan.json").write_text(json.dumps(expected_plan(plan), indent=1) + "\n")


def with_another(facts: Facts, name: str, version: str, word: str, active: str = "active") -> Facts:
    path = f"/etc/systemd/system/{name}.service"
    show = {"LoadState": "loaded", "ActiveState": active, "MainPID": "7", "FragmentPath": path}
    unit = FileFact(path, "644", "root", "root", f"[Service]\nExecStart=/usr/bin/{name} {word}\n")
    more = {name: ServiceFacts(name, show, {path: unit}, (f"/usr/bin/{name}", word), version)}
    nodes = (dataclasses.replace(node, services={**node.services, **more}) for node in facts.nodes)
    return dataclasses.replace(facts, nodes=tuple(nodes))


def with_what_is_not_judged(facts: Facts, active: str = "active") -> Facts:
    return with_another(facts, "etcd", "3.4.13", "--gone=1", active)


def test_a_controller_manager_is_judged_like_every_component_that_has_a_table() -> None:
    """1.24.17 ends at once: unknown flag: --address (a real one, tests/lab)."""
    facts = read_facts(HANDBUILT)
    more = with_another(facts, "kube-controller-manager", "v1.20.2", "--address=0.0.0.0")
    plan = make_plan(more, Parameters(target_release="v1.24"), POLICIES)
    found = [(node, each) for node, each in plan.findings if each.component == "kube-controller-manager"]
    assert [(each.effect, each.setting) for _, each in found] == [(Effect.STOPS, "--address")] * len(
        facts.nodes
    )
    view = str(releases_view(more, plan.findings, Release.parse("1.24")))
    assert "Not judged: values of flags" in view
    assert "kube-controller-manager" in view


def test_releases_stand_in_a_table_that_is_as_wide_as_a_window_however_many_there_are() -> None:
    """28 releases were 28 columns, of which a window has 13."""
    facts = read_facts(ARTICLE)
    table = releases_view(facts, upgrade_findings(facts, "1.37"), Release.parse("1.37")).blocks[0]
    assert isinstance(table, Table)
    assert table.headings == ("Component", "Runs", "Nodes", *STARTS)
    spans = {row[0]: tuple(row[3:]) for row in table.rows}
    assert spans["kubelet"] == ("1.10", "1.11 to 1.14", "1.15 to 1.37")
    assert spans["kube-proxy"] == ("1.10 to 1.18", "1.19 to 1.37", "–")
    assert spans["kube-apiserver"] == ("1.10 to 1.19", "–", "1.20 to 1.37")


def test_components_that_are_not_judged_are_shown_and_change_no_plan() -> None:
    facts = read_facts(HANDBUILT)
    more = with_what_is_not_judged(facts)
    assert "etcd " in str(facts_view(more))
    assert "3.4.13" in str(facts_view(more))
    assert "Command line of etcd" in str(facts_view(more))
    parameters = Parameters(target_release="v1.24")
    before, after = (make_plan(each, parameters, POLICIES) for each in (facts, more))
    assert after == before
    view = releases_view(more, after.findings, Release.parse("1.24"))
    assert str(view) == str(releases_view(facts, before.findings, Release.parse("1.24")))
    stopped = with_what_is_not_judged(facts, "inactive")
    assert compare(more, stopped, before, applied=False).problems == ()


def test_a_plan_that_restarts_an_api_server_says_whom_that_can_take_with_it() -> None:
    sentence = (
        "kube-apiserver on k8s-master: a restart that takes longer than 10 s, the renew deadline of leases, takes "
        "kube-scheduler and kube-controller-manager with it"
    )
    whole, kubelets = plan_of(HANDBUILT), plan_of(HANDBUILT, steps=("kubelet",))
    assert str(plan_view(whole)).count(sentence) == 1
    assert sentence not in str(plan_view(kubelets))


if __name__ == "__main__":
    for scenario in available():
        if "--facts" in sys.argv:
            write_facts(scenario, PLANS / scenario)
        write_expected(PLANS / scenario)


def test_a_target_release_is_written_for_and_what_is_left_is_reported() -> None:
    plan = plan_of(PLANS / "handbuilt-1.20", target_release="v1.24")
    left = {(node, f.setting) for node, f in plan.findings if f.effect is Effect.STOPS}
    assert ("k8s-node1", "--network-plugin") in left
    assert ("k8s-master", "--enable-admission-plugins: PodSecurityPolicy") not in left
    to_1_25 = plan_of(PLANS / "handbuilt-1.20", target_release="v1.25")
    gone = [f for node, f in to_1_25.findings if "PodSecurityPolicy" in f.setting and node == "k8s-master"]
    assert [str(f.release) for f in gone] == ["1.25"]
    assert plan_of(PLANS / "handbuilt-1.20").findings == ()


def test_a_target_release_that_is_older_is_refused() -> None:
    with pytest.raises(
        ParameterError, match=r"target_release: 1\.19 is older than what runs \(kubelet 1\.20 on"
    ):
        plan_of(PLANS / "handbuilt-1.20", target_release="1.19")
