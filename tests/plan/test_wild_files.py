"""Config files as people have them, in a plan: what stays of them, and what the plan says of the rest."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import cache

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.errors import ParameterError
from kubeharden.facts import Facts, FileFact, NodeFacts
from kubeharden.facts.sensitive import with_sensitive_files
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.project import POLICIES
from kubeharden.plan import NodeChange, Plan
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
from kubeharden.redaction import mask
from kubeharden.show.views import plan_view
from support import ROOT

NODE, PATH = "k8s-node1", "/etc/kubernetes/kubelet.conf"


def decide(facts: Facts, **given: object) -> Plan:
    return make_plan(facts, Parameters(steps=("kubelet",), **given), read_policies(ROOT / POLICIES))


def planned(facts: Facts, **given: object) -> NodeChange:
    return on_node(decide(facts, **given))


def on_node(plan: Plan) -> NodeChange:
    [change] = [change for change in plan.node_changes if change.node == NODE]
    return change


@cache
def before(name: str) -> tuple[Facts, NodeChange]:
    """A cluster, and what its first worker would have of a run."""
    facts = read_facts(PLANS / name)
    return facts, planned(facts)


def with_config(text: str, name: str = "handbuilt-1.20") -> Facts:
    """A cluster whose first worker has a kubelet with that file, in effect."""
    facts, change = before(name)

    def of(node: NodeFacts) -> NodeFacts:
        if node.name != NODE:
            return node
        service = node.services["kubelet"]
        files = {f.path: FileFact(f.path, f.mode, f.owner, f.group, f.after) for f in change.files}
        files[PATH] = FileFact(PATH, "600", "root", "root", text)
        service = replace(
            service, files={**service.files, **files}, cmdline=change.expected_argv, configz=None
        )
        return replace(node, services={**node.services, "kubelet": with_sensitive_files(service)})

    return replace(facts, nodes=tuple(map(of, facts.nodes)))


def own_text(name: str = "handbuilt-1.20") -> str:
    [text] = [f.after for f in before(name)[1].files if f.path == PATH]
    return str(text)


def remarks(plan: Plan) -> list[str]:
    return [r.text for r in plan.remarks if r.subject == f"kubelet on {NODE}"]


def test_comments_stay_and_what_goes_is_reported() -> None:
    text = f"# Password of Anna: hunter22x\n{own_text()}maxpods: 50 # a big node\n"
    facts = with_config(text)
    [file] = planned(facts).files
    assert file.after == text.replace("maxpods: 50 # a big node\n", "")
    line = text.count("\n")
    said = remarks(decide(facts))
    assert f"comments in {PATH} go with what they stand in or beside, in line {line}: see the diff" in said
    assert (
        f"{PATH} has maxpods, which kubelet 1.20 does not know: it was never in effect. Did somebody mean maxPods?"
        in said
    )
    assert "hunter22x" not in mask(file.diff)
    assert f"{PATH} has maxpods" in str(plan_view(decide(facts)))


def test_a_file_that_says_all_that_it_should_stays_as_it_is() -> None:
    text = own_text().replace("authentication:", "logging: null\nauthentication:")
    assert planned(with_config(text)).files == ()


def test_json_stays_json_whatever_it_is_called() -> None:
    content = dict(planned(with_config(own_text())).expected_config or {})
    del content["tlsMinVersion"]
    [file] = planned(with_config(json.dumps(content, indent="\t"))).files
    assert json.loads(file.after)["tlsMinVersion"] == "VersionTLS12"
    assert '\n\t"kind": "KubeletConfiguration"' in file.after


def test_a_refusal_names_the_file_and_the_others_go_on() -> None:
    plan = decide(with_config("kind: KubeletConfiguration\nsyncFrequency: 60\n"))
    [refused] = plan.refused
    assert refused.subject == f"kubelet on {NODE}"
    assert refused.text == f"{PATH}: syncFrequency: 60 is not of type duration"
    assert {change.node for change in plan.node_changes if change.needed} == {
        "k8s-master",
        "k8s-node2",
        "k8s-node3",
    }


@pytest.mark.parametrize(
    ("release", "restart", "words"),
    [
        ("v1.20.2", "Restart=always", "with Restart=always, systemd starts it"),
        ("v1.20.2", "Restart=on-failure", "with Restart=on-failure, systemd starts it"),
        ("v1.20.2", "Restart=no", "with Restart=no, it stays down until this run has restarted it"),
        ("v1.20.2", "", "with Restart=no, it stays down until this run has restarted it"),
        ("v1.13.0", "Restart=always", ""),
    ],
)
def test_a_proxy_that_ends_with_its_file_is_named(release: str, restart: str, words: str) -> None:
    def of(node: NodeFacts) -> NodeFacts:
        service = node.services["kube-proxy"]
        unit, path = service.show["FragmentPath"], "/etc/kubernetes/kube-proxy.conf"
        text = f"[Service]\nExecStart=/usr/bin/kube-proxy --config={path}\n{restart}\n"
        config = "kind: KubeProxyConfiguration\napiVersion: kubeproxy.config.k8s.io/v1alpha1\nmode: ipvs\n"
        files = {p: FileFact(p, "644", "root", "root", t) for p, t in ((unit, text), (path, config))}
        cmdline = ("/usr/bin/kube-proxy", f"--config={path}")
        service = replace(service, files=files, cmdline=cmdline, version=release, configz=None)
        return replace(node, services={**node.services, "kube-proxy": with_sensitive_files(service)})

    facts = read_facts(PLANS / "handbuilt-1.20")
    facts = replace(facts, nodes=tuple(map(of, facts.nodes)))
    given = Parameters(steps=("kube-proxy",), cluster_cidr="10.2.0.0/16")
    plan = make_plan(facts, given, read_policies(ROOT / POLICIES))
    said = [
        r.text for r in plan.remarks if r.subject == f"kube-proxy on {NODE}" and "may end by itself" in r.text
    ]
    assert len(said) == bool(words)
    assert all(text.endswith(words) for text in said)


DOCUMENTS = (
    ("---\nkind: Other\n", True),
    ("---\n[ {\n", True),
    ("---\n", False),
    ("...\n", False),
    ("---\n# of Bert\n\n...\n", False),
)


@pytest.mark.parametrize(("more", "is_said"), DOCUMENTS)
@pytest.mark.parametrize("lead", ["", "# of Anna\n", "---\n"])
def test_what_follows_the_first_document_stays_and_is_reported(lead: str, more: str, is_said: bool) -> None:
    own = own_text()
    assert planned(with_config(lead + own + more)).files == ()
    text = f"{lead}{own}maxpods: 50\n{more}"
    plan = decide(with_config(text))
    [file] = on_node(plan).files
    assert file.after == (lead if "#" in lead else "") + own + more
    line = text[: -len(more)].count("\n") + 1
    words = (
        f"{PATH} has more than one document: kubelet reads the first one alone, and what stands from line {line} on "
        "is not in effect"
    )
    assert (words in remarks(plan)) is is_said


def test_what_no_component_reads_is_not_shown() -> None:
    text = f"{own_text()}maxpods: 50\n---\npassword: hunter2-Zq9\n"
    [file] = planned(with_config(text)).files
    assert "hunter2-Zq9" in file.after
    assert "hunter2-Zq9" not in mask(file.diff)


def test_aliases_count_as_what_they_stand_for() -> None:
    own = own_text()
    text = own.replace("maxPods: 60", "maxPods: &many 60") + "podsPerCore: *many\n"
    change = planned(with_config(text))
    assert change.files == ()
    assert (change.expected_config or {})["podsPerCore"] == 60
    text = "# of Anna\nmaxPods: &many 60\n" + text.replace("maxPods: &many 60\n", "")
    change = planned(with_config(text.replace("readOnlyPort: 0", "readOnlyPort: *many")))
    [file] = change.files
    assert file.after == text
    assert (change.expected_config or {})["readOnlyPort"] == 0


@pytest.mark.parametrize("comment", ["", "# of Anna\n"])
def test_an_anchor_that_goes_takes_its_aliases_with_it(comment: str) -> None:
    """What they stood for is written out; the comments that the text had are named."""
    text = (
        f"{comment}readOnlyPort: &port 10255\n{own_text().replace('readOnlyPort: 0', 'healthzPort: *port')}"
    )
    facts = with_config(text)
    change = planned(facts)
    [file] = change.files
    assert "&port" not in file.after
    assert (change.expected_config or {})["healthzPort"] == 10255
    gone = f"comments in {PATH} go with what they stand in or beside, in line 1: see the diff"
    assert (gone in remarks(decide(facts))) is (bool(comment) and comment not in file.after)


@pytest.mark.parametrize(
    "value", ["10.0.0.0/16", "10.0.0.1/16", "$(SERVICE_CIDR)", "10.0.0.0/16,", "10.0.0.0/16,fd00::/112"]
)
def test_the_service_range_of_the_api_server_is_read_as_far_as_it_can_be(value: str) -> None:
    def of(node: NodeFacts) -> NodeFacts:
        server = node.services.get("kube-apiserver")
        if server is None or not server.cmdline:
            return node
        words = [word for word in server.cmdline if "service-cluster-ip-range" not in word]
        server = replace(server, cmdline=(*words, f"--service-cluster-ip-range={value}"))
        return replace(node, services={**node.services, "kube-apiserver": server})

    facts = read_facts(PLANS / "handbuilt-1.20")
    facts = replace(facts, nodes=tuple(map(of, facts.nodes)))
    assert decide(facts, dns_ip="10.0.0.10")
    known = value in ("10.0.0.0/16", "10.0.0.1/16", "10.0.0.0/16,fd00::/112")
    for dns_ip, is_wrong in (
        ("10.7.0.10", known),
        ("fd00::a", known and "fd00" not in value),
        ("10.0.0.1", known),
    ):
        if is_wrong:
            with pytest.raises(ParameterError, match="dns_ip"):
                decide(facts, dns_ip=dns_ip)
        else:
            assert decide(facts, dns_ip=dns_ip)
