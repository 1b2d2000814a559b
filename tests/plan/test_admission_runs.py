"""Run after run, from facts to labels: what each run does to a cluster until there is nothing left to do.

The facts are those of ``fixtures/plans``; what every run is to do is in ``fixtures/admission``.
``python tests/plan/test_admission_runs.py`` writes it anew, to be looked at as a diff.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from test_decide import POLICIES

from facts_fixtures import PLANS, read_facts
from kubeharden.components.admission_plugins import flag_value
from kubeharden.errors import ParameterError
from kubeharden.facts import Facts, FileFact, NodeFacts
from kubeharden.inputs.parameters import Parameters
from kubeharden.kube.names import POD_SECURITY_LABEL
from kubeharden.kube.resources import RESOURCES
from kubeharden.plan import NodeChange, Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.proof import compare
from kubeharden.podsecurity.levels import label_text

FIXTURES = Path(__file__).parents[1] / "fixtures" / "admission"
CASES = {
    "psp-1.22": "psp-1.23",
    "psp-1.23": "psp-1.23",
    "psp-1.23 enforce": "psp-1.23",
    "containerd-1.24": "containerd-1.24",
    "containerd-1.25": "containerd-1.25",
    "containerd-1.25 enforce": "containerd-1.25",
    "containerd-1.36": "containerd-1.36",
}


def facts_of(case: str) -> Facts:
    facts = read_facts(PLANS / CASES[case])
    return at_release(facts, "v1.22.17") if case == "psp-1.22" else facts


def at_release(facts: Facts, version: str) -> Facts:
    def of(node: NodeFacts) -> NodeFacts:
        services = {
            name: dataclasses.replace(service, version=version) for name, service in node.services.items()
        }
        return dataclasses.replace(node, services=services)

    cluster = dataclasses.replace(facts.cluster, version=version)
    return Facts(tuple(map(of, facts.nodes)), cluster)


def plan_of(facts: Facts, **parameters: object) -> Plan:
    return make_plan(facts, Parameters(steps=("pod-security",), **parameters), POLICIES)


def after(facts: Facts, plan: Plan) -> Facts:
    """The facts as they are once a plan has been carried out."""
    assert not plan.refused
    objects = {name: list(items) for name, items in facts.cluster.objects.items()}
    for change in plan.object_changes:
        items = objects.setdefault(RESOURCES[change.manifest["kind"]].plural, [])
        items[:] = [item for item in items if item is not change.before]
        if not change.delete:
            items.append(dict(change.manifest))
    nodes = {node.name: node for node in facts.nodes}
    for change in plan.node_changes:
        nodes[change.node] = carried_out(nodes[change.node], change)
    cluster = dataclasses.replace(facts.cluster, objects={k: tuple(v) for k, v in objects.items()})
    return Facts(tuple(nodes.values()), cluster)


def carried_out(node: NodeFacts, change: NodeChange) -> NodeFacts:
    service = node.services[change.service]
    files = {f.path: FileFact(f.path, f.mode, f.owner, f.group, f.after) for f in change.files}
    new = dataclasses.replace(service, files={**service.files, **files}, cmdline=change.expected_argv)
    assert new.unit_argv() == list(change.expected_argv)
    return dataclasses.replace(node, services={**node.services, change.service: new})


def run_after_run(case: str) -> list[dict]:
    facts, enforce = facts_of(case), case.endswith("enforce")
    runs = []
    while True:
        plan = plan_of(facts, enforce=enforce)
        facts = after(facts, plan)
        runs.append(summary(plan, facts))
        if not plan.needed or len(runs) > 6:
            return runs


def summary(plan: Plan, facts: Facts) -> dict:
    server = facts.node("k8s-master").services["kube-apiserver"]
    path = flag_value(server.cmdline, "--admission-control-config-file")
    configuration = yaml.safe_load(server.files[path].content)["plugins"][0]["configuration"] if path else {}
    return {
        "namespaces": {
            n.namespace: {
                "level": n.level,
                "why": n.why,
                **{mode: label_text(n.then, mode) for mode in ("enforce", "audit", "warn")},
                "stage": n.stage,
            }
            for n in plan.namespaces
        },
        "new namespaces": {
            key: configuration[key] for key in ("apiVersion", "defaults") if key in configuration
        },
        "plugins": flag_value(server.cmdline, "--enable-admission-plugins"),
        "changes": [f"{c.action} {c.name}" for c in plan.object_changes]
        + [f"{c.service} on {c.node}: {'; '.join(c.notes)}" for c in plan.node_changes if c.needed],
        "remarks": [f"{r.subject}: {r.text}" for r in plan.remarks],
    }


@pytest.mark.parametrize("case", CASES)
def test_every_run_does_what_is_expected_of_it(case: str) -> None:
    assert run_after_run(case) == json.loads((FIXTURES / f"{case}.json").read_text())


@pytest.mark.parametrize("case", CASES)
def test_the_runs_come_to_an_end(case: str) -> None:
    runs = run_after_run(case)
    assert len(runs) <= 4
    assert runs[-1]["changes"] == []


@pytest.mark.parametrize("case", CASES)
def test_a_plan_names_what_the_next_run_changes_by_intent(case: str) -> None:
    facts, named = facts_of(case), None
    for _ in range(4):
        plan = plan_of(facts, enforce=case.endswith("enforce"))
        assert named is None or set(named) == plan.subjects
        facts, named = after(facts, plan), plan.next_run
    assert named == ()


def test_a_plugin_beside_enforced_levels_goes_first_and_the_policies_are_for_the_next_run() -> None:
    facts = facts_of("psp-1.23")
    enforced = after(facts, plan_of(facts, enforce=True))
    facts = Facts(facts.nodes, enforced.cluster)  # somebody has put the plugin back
    plan = plan_of(facts)
    assert plan.subjects == {"kube-apiserver on k8s-master"}
    assert plan.next_run
    assert set(plan.next_run) == plan_of(after(facts, plan)).subjects


def test_what_waits_for_somebody_is_not_for_the_next_run() -> None:
    facts = facts_of("psp-1.23")
    wishes = [{"name": "shop", "level": "restricted", "reason": "the shop takes money"}]
    policies = POLICIES.model_validate({**POLICIES.model_dump(), "namespaces": wishes})
    plan = make_plan(facts, Parameters(steps=("pod-security",)), policies)
    assert plan.next_run
    assert not {"Namespace shop", "kube-apiserver on k8s-master"} & set(plan.next_run)


@pytest.mark.parametrize("case", ["psp-1.23", "psp-1.23 enforce"])
def test_from_policies_to_admission_there_is_no_time_without_either(case: str) -> None:
    """The plugin goes in a run that leaves every namespace enforcing; the policies, in one that finds it gone."""
    runs = run_after_run(case)
    plugin = ["PodSecurityPolicy" in run["plugins"] for run in runs]
    enforced = [all(n["enforce"] for n in run["namespaces"].values()) for run in runs]
    deleted = [any(change.startswith("delete") for change in run["changes"]) for run in runs]
    assert all(on or safe for on, safe in zip(plugin, enforced, strict=True))
    first_off, first_deleted = plugin.index(False), deleted.index(True)
    assert enforced[first_off]
    assert first_deleted > first_off
    assert plugin[-1] is False


def test_what_1_25_cannot_start_with_is_gone_at_the_end() -> None:
    facts = facts_of("psp-1.23")
    for _ in range(4):
        facts = after(facts, plan_of(facts))
    assert facts.cluster.of("podsecuritypolicies") == ()
    names = {item["metadata"]["name"] for item in facts.cluster.of("clusterroles")}
    assert "operators" in names  # allows more than the use of policies
    assert not names & {"use-policy-host", "use-policy-ordinary"}
    assert not [b for b in facts.cluster.of("rolebindings") if b["metadata"]["name"] == "use-policy-host"]


def test_the_plugin_stays_while_a_namespace_cannot_enforce_what_is_asked_for() -> None:
    facts = facts_of("psp-1.23")
    wishes = [{"name": "shop", "level": "restricted", "reason": "the shop takes money"}]
    policies = POLICIES.model_validate({**POLICIES.model_dump(), "namespaces": wishes})
    for _ in range(3):
        plan = make_plan(facts, Parameters(steps=("pod-security",), enforce=True), policies)
        facts = after(facts, plan)
    assert not plan.needed
    server = facts.node("k8s-master").services["kube-apiserver"]
    assert "PodSecurityPolicy" in flag_value(server.cmdline, "--enable-admission-plugins")
    [shop] = [n for n in plan.namespaces if n.namespace == "shop"]
    assert (shop.then["warn"], shop.enforced, shop.pending) == ("restricted", False, True)
    assert "enforcing waits for what it would refuse" in shop.stage
    [remark] = [r for r in plan.remarks if r.subject == "namespace shop"]
    assert "Deployment web" in remark.text


def test_what_the_release_does_not_have_is_refused_before_anything_is_touched() -> None:
    with pytest.raises(ParameterError, match=r"pod_security: 'psp' cannot be on Kubernetes 1\.25"):
        plan_of(facts_of("containerd-1.25"), pod_security="psp")
    with pytest.raises(ParameterError, match=r"pod_security: 'psa' cannot be on Kubernetes 1\.22"):
        plan_of(facts_of("psp-1.22"), pod_security="psa")


def test_policies_can_still_be_asked_for_on_1_24() -> None:
    plan = plan_of(facts_of("containerd-1.24"), pod_security="psp")
    assert plan.namespaces == ()
    assert "create PodSecurityPolicy privileged" in [f"{c.action} {c.name}" for c in plan.object_changes]


def test_a_control_plane_of_static_pods_is_reported_and_its_namespaces_are_labelled() -> None:
    facts = facts_of("psp-1.23")
    nodes = tuple(
        dataclasses.replace(n, services={k: v for k, v in n.services.items() if k != "kube-apiserver"})
        for n in facts.nodes
    )
    facts = dataclasses.replace(facts, nodes=nodes)
    for _ in range(3):
        plan = plan_of(facts)
        facts = after(facts, plan)
    assert not plan.needed
    assert all(n.enforced for n in plan.namespaces)
    assert len(facts.cluster.of("podsecuritypolicies")) == 2
    remarks = "\n".join(r.text for r in plan.remarks)
    assert "By hand: --admission-control-config-file with enforce baseline" in remarks
    assert "whether the admission plugin PodSecurityPolicy is on cannot be seen" in remarks


def with_server(facts: Facts, old: str, new: str, **files: str) -> Facts:
    """The facts with other words in the API server's unit, and with other files that it reads."""
    master = facts.node("k8s-master")
    service = master.services["kube-apiserver"]
    path = service.show["FragmentPath"]
    texts = {path: service.files[path].content.replace(old, new), **files}
    assert old in service.files[path].content
    facts_of_files = {p: FileFact(p, "640", "root", "adm", text) for p, text in texts.items()}
    changed = dataclasses.replace(service, files={**service.files, **facts_of_files})
    changed = dataclasses.replace(changed, cmdline=tuple(changed.unit_argv()))
    other = dataclasses.replace(master, services={**master.services, "kube-apiserver": changed})
    return Facts(tuple(other if n is master else n for n in facts.nodes), facts.cluster)


OTHERS = """\
apiVersion: apiserver.config.k8s.io/v1
kind: AdmissionConfiguration
plugins:
- name: EventRateLimit
  path: rate.yaml
"""


def test_a_file_that_the_api_server_reads_already_is_added_to_and_keeps_its_mode() -> None:
    flag = "--v=2 \\\n  --admission-control-config-file=/etc/k8s/plugins.yaml"
    facts = with_server(facts_of("containerd-1.25"), "--v=2", flag, **{"/etc/k8s/plugins.yaml": OTHERS})
    [change] = [c for c in plan_of(facts).node_changes if c.service == "kube-apiserver"]
    [file] = change.files
    assert (file.path, file.mode, file.owner, file.group) == ("/etc/k8s/plugins.yaml", "640", "root", "adm")
    names = [plugin["name"] for plugin in yaml.safe_load(file.after)["plugins"]]
    assert names == ["EventRateLimit", "PodSecurity"]
    assert file.before is not None


def test_comments_in_a_file_that_the_api_server_reads_stay() -> None:
    flag = "--v=2 \\\n  --admission-control-config-file=/etc/k8s/plugins.yaml"
    text = f"# ask Anna\n{OTHERS}  # of the limits\n# the end\n"
    facts = with_server(facts_of("containerd-1.25"), "--v=2", flag, **{"/etc/k8s/plugins.yaml": text})
    [change] = [c for c in plan_of(facts).node_changes if c.service == "kube-apiserver"]
    [file] = change.files
    assert [line for line in text.splitlines() if line not in file.after.splitlines()] == []
    assert not any("comments" in note for note in change.notes)
    files = {"/etc/k8s/plugins.yaml": "# ask Anna\n{kind: AdmissionConfiguration}\n"}
    facts = with_server(facts_of("containerd-1.25"), "--v=2", flag, **files)
    [change] = [c for c in plan_of(facts).node_changes if c.service == "kube-apiserver"]
    assert any("comments in /etc/k8s/plugins.yaml go" in note and "line 1" in note for note in change.notes)


@pytest.mark.parametrize(
    ("flag", "why"),
    [
        ("--feature-gates=PodSecurity=false", "--feature-gates switches PodSecurity off on purpose"),
        ("--disable-admission-plugins=PodSecurity", "somebody switched it off on purpose"),
        ("--admission-control-config-file=/gone.yaml", "names /gone.yaml, but there is no such file"),
    ],
)
def test_an_api_server_that_does_not_let_it_work_is_refused(flag: str, why: str) -> None:
    plan = plan_of(with_server(facts_of("containerd-1.24"), "--v=2", f"--v=2 \\\n  {flag}"))
    assert why in "\n".join(f"{r.subject}: {r.text}" for r in plan.refused)


def test_an_exact_list_of_plugins_gets_the_plugin_and_loses_the_policies() -> None:
    old = "--enable-admission-plugins=NodeRestriction,PodSecurityPolicy"
    facts = with_server(facts_of("psp-1.23"), old, "--admission-control=NodeRestriction,PodSecurityPolicy")
    [change] = plan_of(facts, enforce=True).node_changes
    assert flag_value(change.expected_argv, "--enable-admission-plugins") == "NodeRestriction,PodSecurity"
    assert "ServiceAccount" in (flag_value(change.expected_argv, "--disable-admission-plugins") or "")


def test_without_the_plugin_the_policies_still_stay_until_every_namespace_enforces() -> None:
    facts = with_server(facts_of("psp-1.23"), "NodeRestriction,PodSecurityPolicy", "NodeRestriction")
    first = plan_of(facts)
    assert not [c for c in first.object_changes if c.delete]
    assert "stay, until every namespace enforces a level" in first.remarks[0].text
    facts = after(facts, first)
    second = plan_of(facts)
    assert not [c for c in second.object_changes if c.delete]
    third = plan_of(after(facts, second))
    assert "PodSecurityPolicy host" in [c.name for c in third.object_changes if c.delete]


def test_labels_are_proved_and_what_is_enforced_is_reported() -> None:
    facts = facts_of("containerd-1.25")
    plan = plan_of(facts, enforce=True)
    now = after(facts, plan)
    proof = compare(facts, now, plan, applied=True)
    assert proof.problems == ()
    assert "bank restricted:v1.25" in "".join(proof.confirmed)
    namespaces = [dict(item) for item in now.cluster.of("namespaces")]
    [shop] = [item for item in namespaces if item["metadata"]["name"] == "shop"]
    shop["metadata"] = {**shop["metadata"], "labels": {f"{POD_SECURITY_LABEL}/enforce": "privileged"}}
    changed = dataclasses.replace(
        now.cluster, objects={**now.cluster.objects, "namespaces": tuple(namespaces)}
    )
    assert compare(facts, Facts(now.nodes, changed), plan, applied=True).problems == (
        "namespace shop has other pod security labels than planned: enforce=privileged",
    )


def test_with_a_later_release_in_view_the_policies_point_to_this_step() -> None:
    plan = plan_of(facts_of("psp-1.23"), target_release="v1.25")
    [finding] = [f for node, f in plan.findings if not node and f.setting == "PodSecurityPolicy"]
    assert "run harden.ipynb on 1.23 or 1.24 until it finds nothing to do" in finding.todo


if __name__ == "__main__":
    FIXTURES.mkdir(exist_ok=True)
    for name in CASES:
        (FIXTURES / f"{name}.json").write_text(json.dumps(run_after_run(name), indent=1) + "\n")
