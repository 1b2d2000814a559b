"""Units as they are met in the wild (``fixtures/units``): what is read is planned, what is written reads the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from facts_fixtures import PLANS, read_facts
from kubeharden.components import readiness, units
from kubeharden.errors import UnitError
from kubeharden.facts import Facts, FileFact, ServiceFacts
from kubeharden.facts.sensitive import sensitive_file, with_sensitive_files
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.plan.service_files import own_places, unit_changes
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.podsecurity.policies import read_policies
from kubeharden.redaction import mask
from kubeharden.releases import Release
from kubeharden.show.views import facts_view, releases_view

ROOT = Path(__file__).parents[2]
POLICIES = read_policies(ROOT / "parameters" / "pod-security.yaml")
FOLDER = ROOT / "tests/fixtures/units"
READ = yaml.safe_load((FOLDER / "read.yaml").read_text())
REFUSED = yaml.safe_load((FOLDER / "refused.yaml").read_text())
SEEN = read_facts(PLANS / "handbuilt-1.20")
GIVEN = Parameters(profile="none", dns_ip="10.0.0.10", dns_domain="cluster.local")
MASTER = next(node.name for node in SEEN.nodes if node.control_plane)


def unit_text(row: dict[str, Any]) -> str:
    return (
        f"[Unit]\nDescription=met\n\n[Service]\n{row['service'].rstrip()}\n\n[Install]\nWantedBy=x.target\n"
    )


def service_of(row: dict[str, Any], text: str = "", path: str = "", **show: str) -> ServiceFacts:
    name = row.get("component", "kubelet")
    old = SEEN.node(MASTER).services[name]
    path = path or f"/etc/systemd/system/{name}.service"
    files = {
        path: FileFact(path, "644", "root", "root", text or unit_text(row)),
        **{
            where: FileFact(where, "600", "root", "root", said)
            for where, said in row.get("files", {}).items()
        },
    }
    running = row.get("runs", row.get("argv", ["/anything"]))
    shown = {**old.show, "FragmentPath": path, **({} if running else {"MainPID": "0"}), **show}
    made = replace(old, files=files, show=shown, cmdline=tuple(running), configz=None)
    return with_sensitive_files(made)


def facts_with(service: ServiceFacts) -> Facts:
    node = SEEN.node(MASTER)
    changed = replace(node, services={**node.services, service.name: service})
    return replace(SEEN, nodes=tuple(changed if one.name == MASTER else one for one in SEEN.nodes))


def plan_of(service: ServiceFacts) -> Plan:
    return make_plan(facts_with(service), GIVEN.model_copy(update={"steps": [service.name]}), POLICIES)


@pytest.mark.parametrize("row", READ, ids=lambda row: row["name"])
def test_a_unit_is_read_as_systemd_reads_it(row: dict[str, Any]) -> None:
    assert service_of(row).unit_argv() == row["argv"]


@pytest.mark.parametrize("row", READ, ids=lambda row: row["name"])
def test_what_is_written_reads_the_same(row: dict[str, Any]) -> None:
    service = service_of(row)
    [path] = [name for name in service.files if name.endswith(".service")]
    made = units.Unit.parse(service.files[path].content).with_line(service.exec_start(row["argv"]))
    assert service_of(row, made.text).unit_argv() == row["argv"]
    assert made.with_line(service_of(row, made.text).exec_start(row["argv"])).text == made.text


@pytest.mark.parametrize("row", [row for row in READ if "kept" in row], ids=lambda row: row["name"])
def test_what_stays_is_kept_when_the_unit_is_written_anew(row: dict[str, Any]) -> None:
    plan = plan_of(service_of(row))
    change = next(change for change in plan.node_changes if change.node == MASTER)
    assert not [remark for remark in plan.refused if MASTER in remark.subject]
    [written] = [file.after for file in change.files if file.path.endswith(".service")]
    assert row["kept"] in written
    assert "--config=" in written
    running = {**row, "runs": list(change.expected_argv)}
    assert service_of(running, written).unit_argv() == list(change.expected_argv)


@pytest.mark.parametrize("row", REFUSED, ids=lambda row: row["name"])
def test_what_is_not_changed_is_named_and_the_others_go_on(row: dict[str, Any]) -> None:
    service = service_of(row)
    if service.component.step_order is None:
        with pytest.raises(UnitError) as raised:
            service.unit_argv()
        assert " ".join(row["why"].split()) in str(raised.value)
        return
    plan = plan_of(service)
    subject = f"{service.name} on {MASTER}"
    [remark] = [remark for remark in plan.refused if remark.subject == subject]
    assert " ".join(row["why"].split()) in remark.text
    assert {change.node for change in plan.node_changes} == {
        node.name for node in SEEN.nodes if node.service(service.name) and node.name != MASTER
    }


def test_a_byte_order_mark_hides_no_section() -> None:
    row = {"service": "ExecStart=/usr/bin/kubelet --v=2", "argv": ["/usr/bin/kubelet", "--v=2"]}
    text = "\ufeff" + unit_text(row).partition("\n\n")[2]
    assert service_of(row, text).unit_argv() == row["argv"]
    assert mask(sensitive_file("kubelet", text)) == text.replace("met", "‹redacted›")
    assert (
        units.Unit.parse(text)
        .with_service_setting("User", "root")
        .text.startswith("\ufeff[Service]\nUser=root")
    )


@pytest.mark.parametrize("component", ["kube-proxy", "kube-scheduler"])
def test_an_empty_argument_is_dropped_where_the_component_takes_it(component: str) -> None:
    command = [f"/usr/bin/{component}", "--kubeconfig=/etc/kubernetes/x.kubeconfig", "", "--v=2"]
    words = " ".join(command).replace("  ", " ${NONE} ")
    row = {"component": component, "service": f"ExecStart={words}", "runs": command}
    [change] = [change for change in plan_of(service_of(row)).node_changes if change.node == MASTER]
    assert change.migration is not None
    assert not change.migration.refused
    assert "" not in change.expected_argv
    assert "--v=2" in change.expected_argv


VENDOR = "/usr/lib/systemd/system/kubelet.service"
MOVED = """kind: KubeletConfiguration
apiVersion: kubelet.config.k8s.io/v1beta1
clusterDNS: [10.0.0.10]
clusterDomain: cluster.local
"""


def vendor_row(*words: str) -> dict[str, Any]:
    return {
        "service": f"EnvironmentFile=/e\nExecStart=-/usr/bin/kubelet {' '.join(words)} $ARGS",
        "files": {"/e": "ARGS=--v=2\n", "/etc/kubernetes/kubelet.conf": MOVED},
        "runs": ["/usr/bin/kubelet", *words, "--v=2"],
    }


def test_a_unit_of_a_package_whose_command_stays_gets_no_drop_in() -> None:
    row = vendor_row("--config=/etc/kubernetes/kubelet.conf", "--kubeconfig=/k")
    plan = plan_of(service_of(row, path=VENDOR))
    [change] = [change for change in plan.node_changes if change.node == MASTER]
    assert not change.files
    assert not [remark for remark in plan.remarks if remark.subject == f"kubelet on {MASTER}"]


def test_a_unit_whose_command_stays_is_not_written_for_the_sake_of_root() -> None:
    row = vendor_row("--config=/etc/kubernetes/kubelet.conf", "--kubeconfig=/k")
    [change] = [change for change in plan_of(service_of(row)).node_changes if change.node == MASTER]
    assert not change.files


def test_a_drop_in_has_the_prefix_of_the_command_and_the_variables_are_reported() -> None:
    row = vendor_row("--kubeconfig=/k", "--cluster-dns=10.0.0.10", "--cluster-domain=cluster.local")
    plan = plan_of(service_of(row, path=VENDOR))
    [change] = [change for change in plan.node_changes if change.node == MASTER]
    [drop_in] = [file.after for file in change.files if "systemd" in file.path]
    assert "ExecStart=\nExecStart=-/usr/bin/kubelet \\\n" in drop_in
    [remark] = [remark for remark in plan.remarks if remark.subject == f"kubelet on {MASTER}"]
    assert remark.text.startswith("its command is made from variables from /e; they are now written out")


CONFIG = "/etc/kubernetes/config/kubelet.yaml"


@pytest.mark.parametrize(
    ("before", "said"),
    [
        ('/bin/sed -e "s/PRIVATE_IPV4/${IP}/g" -i ' + CONFIG, True),
        (f'/bin/bash -c "envsubst <{CONFIG}.in >{CONFIG}"', True),
        ("-/usr/bin/cp /usr/share/kubelet.yaml /etc/kubernetes/config/", True),
        (f"+/opt/bin/setup-kubelet --output={CONFIG}", True),
        (f"/usr/bin/test -f {CONFIG}", False),
        (f"/bin/chmod 600 {CONFIG}", False),
        ("/bin/mkdir -p /etc/kubernetes/config", False),
        (f"/usr/bin/cp /usr/share/other.yaml {CONFIG}.bak", False),
    ],
)
def test_a_command_of_the_unit_that_may_write_the_config_file_is_reported(before: str, said: bool) -> None:
    row = {
        "service": f"ExecStartPre={before}\nExecStart=/usr/bin/kubelet --kubeconfig=/k --config={CONFIG}",
        "files": {CONFIG: "kind: KubeletConfiguration\nmaxPods: 50\n"},
        "runs": ["/usr/bin/kubelet", "--kubeconfig=/k", f"--config={CONFIG}"],
    }
    remarks = [r.text for r in plan_of(service_of(row)).remarks if r.subject == f"kubelet on {MASTER}"]
    assert any(f"ExecStartPre= with {CONFIG} in it" in text for text in remarks) is said


@pytest.mark.parametrize(
    ("path", "before", "said"),
    [
        ("/run/metadata/coreos", "", True),
        ("/etc/network-environment", "/opt/bin/setup >/etc/network-environment", True),
        ("/etc/network-environment", "", False),
    ],
)
def test_variables_that_are_made_at_each_start_are_reported_as_such(
    path: str, before: str, said: bool
) -> None:
    row = {
        "service": f"EnvironmentFile={path}\nExecStartPre={before}\nExecStart=/usr/bin/kubelet --node-ip=${{IP}}",
        "files": {path: "IP=10.0.0.4\n"},
        "runs": ["/usr/bin/kubelet", "--node-ip=10.0.0.4"],
    }
    subject = f"kubelet on {MASTER}"
    [text] = [
        r.text for r in plan_of(service_of(row)).remarks if r.subject == subject and "variables" in r.text
    ]
    assert (f"{path} may be made anew at each start" in text) is said


def test_a_drop_in_for_another_user_has_no_command() -> None:
    row = {
        "component": "kube-scheduler",
        "service": "ExecStart=/usr/bin/kube-scheduler --config=/etc/kubernetes/kube-scheduler.conf",
    }
    row["runs"] = row["service"].removeprefix("ExecStart=").split()
    service = service_of(row, path="/usr/lib/systemd/system/kube-scheduler.service")
    argv = service.unit_argv()
    [change] = unit_changes(service, argv, argv, {"User": "kubernetes", "Group": "kubernetes"})
    assert change.after == "[Service]\nUser=kubernetes\nGroup=kubernetes\n"


@pytest.mark.parametrize("flags", ["/var/lib/kubelet/kubeadm-flags.env", "/etc/default/kubelet"])
def test_who_writes_a_config_file_anew_is_reported(flags: str) -> None:
    row = {
        "service": f"EnvironmentFile=-{flags}\nExecStart=/usr/bin/kubelet --kubeconfig=/k "
        "--config=/var/lib/kubelet/config.yaml",
        "files": {"/var/lib/kubelet/config.yaml": "kind: KubeletConfiguration\nmaxPods: 50\n"},
        "runs": ["/usr/bin/kubelet", "--kubeconfig=/k", "--config=/var/lib/kubelet/config.yaml"],
    }
    remarks = [
        remark.text for remark in plan_of(service_of(row)).remarks if remark.subject == f"kubelet on {MASTER}"
    ]
    said = [
        text
        for text in remarks
        if text.startswith("kubeadm upgrade writes /var/lib/kubelet/config.yaml anew")
    ]
    assert bool(said) is ("kubeadm" in flags)


@pytest.mark.parametrize(("value", "is_added"), [("yes", False), ("true", False), ("no", True), ("", True)])
def test_a_service_with_a_user_of_its_own_gets_no_other(value: str, is_added: bool) -> None:
    words = ["/usr/bin/kube-proxy", "--kubeconfig=/k"]
    lines = f"DynamicUser={value}\nExecStart={' '.join(words)}"
    row = {"component": "kube-proxy", "service": lines, "runs": words}
    [change] = [change for change in plan_of(service_of(row)).node_changes if change.node == MASTER]
    [unit] = [file.after for file in change.files if file.path.endswith(".service")]
    assert ("User=root\nGroup=root" in unit) is is_added


@pytest.mark.parametrize(
    "row", [row for row in READ if "hyperkube" in row["name"]], ids=lambda row: row["name"]
)
def test_hyperkube_is_judged_as_what_it_runs(row: dict[str, Any]) -> None:
    name = row.get("component", "kubelet")
    alone = [f"/usr/bin/{name}", *row["argv"][2:]]
    assert readiness(name, "1.20", "1.24", row["argv"]) == readiness(name, "1.20", "1.24", alone)


def test_a_node_without_any_service_is_reported_and_where_a_component_runs_instead() -> None:
    node = SEEN.node(MASTER)
    none = {
        name: replace(service, show={"LoadState": "not-found"}) for name, service in node.services.items()
    }
    bare = replace(node, services=none, elsewhere={"kubelet": "/docker/0a1b"})
    facts = replace(SEEN, nodes=tuple(bare if one.name == MASTER else one for one in SEEN.nodes))
    said = {remark.subject: remark.text for remark in make_plan(facts, GIVEN, POLICIES).remarks}
    assert said[MASTER].startswith(
        "has none of the services kubelet, kube-proxy, kube-scheduler, kube-apiserver: "
    )
    assert "services: {kubelet: NAME}" in said[MASTER]
    assert (
        said[f"kubelet on {MASTER}"]
        == "runs in /docker/0a1b, which is not a service of systemd, and is not changed"
    )


def test_a_unit_that_the_inventory_names_and_the_node_does_not_have_is_reported() -> None:
    shown = {"Id": "k8s-kubelet.service", "LoadState": "not-found"}
    service = replace(SEEN.node(MASTER).services["kubelet"], show=shown)
    facts = replace(SEEN, nodes=(replace(SEEN.node(MASTER), services={"kubelet": service}),))
    said = [remark.text for remark in make_plan(facts, GIVEN, POLICIES).remarks]
    assert "the inventory names its unit k8s-kubelet, and the node has no k8s-kubelet.service" in said


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("", "with Restart=no, it stays down"),
        ("Restart=always", "with Restart=always, systemd starts it"),
        ("Restart=on-failure", "with Restart=on-failure, systemd starts it"),
        ("Restart=on-success", "with Restart=on-success, it stays down"),
        ("Restart=always\nRestart=Never", "with Restart=always, systemd starts it"),
        ("Restart=always # c", "with Restart=no, it stays down"),
        ("Restart=always\nRestart=", "with Restart=no, it stays down"),
        ("Restart=on-failure\nRestartPreventExitStatus=255 1", "RestartPreventExitStatus=1, it stays down"),
        ("Restart=no\nRestartForceExitStatus=1", "RestartForceExitStatus=1, systemd starts it"),
        ("Restart=on-failure\nSuccessExitStatus=1 SIGKILL", "SuccessExitStatus=1, it stays down"),
        ("Restart=on-success\nSuccessExitStatus=1", "SuccessExitStatus=1, systemd starts it"),
        ("Restart=always\nSuccessExitStatus=143", "with Restart=always, systemd starts it"),
    ],
)
def test_what_systemd_does_with_a_service_that_ends_with_its_file_is_reported(lines: str, said: str) -> None:
    file = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\nunknown: 1\n"
    words = ["/usr/bin/kube-proxy", "--config=/a"]
    row = {"component": "kube-proxy", "service": f"{lines}\nExecStart={' '.join(words)}"}
    plan = plan_of(service_of({**row, "runs": words, "files": {"/a": file}}))
    [text] = [each.text for each in plan.remarks if "watches its config file" in each.text]
    assert said in text


def test_two_services_of_one_component_are_named_and_nobody_guesses_which_is_meant() -> None:
    node, others = SEEN.node(MASTER), ("k8s-kubelet", "kubelet-b")
    beside = replace(node, units={"kubelet": ("kubelet", *others), "etcd": ("etcd-a", "etcd-events")})
    beside = replace(
        beside, services={**node.services, "etcd": ServiceFacts("etcd", show={"LoadState": "not-found"})}
    )
    none = {**node.services, "kubelet": ServiceFacts("kubelet", show={"LoadState": "not-found"})}
    unknown = replace(node, units={"kubelet": others}, services=none)
    given = GIVEN.model_copy(update={"steps": ["kubelet", "kube-proxy"]})
    plans = [
        make_plan(
            replace(SEEN, nodes=tuple(one if n.name == MASTER else n for n in SEEN.nodes)), given, POLICIES
        )
        for one in (beside, unknown)
    ]
    said = {remark.subject: remark.text for remark in plans[0].remarks}
    assert said[f"kubelet on {MASTER}"].startswith(
        "runs as k8s-kubelet.service, kubelet-b.service, too, which is not"
    )
    assert said[f"etcd on {MASTER}"].startswith("runs as etcd-a.service, etcd-events.service, which is")
    assert not plans[0].refused
    [refused] = plans[1].refused
    assert (refused.subject, refused.step) == (f"kubelet on {MASTER}", "kubelet")
    assert refused.text.startswith(
        "runs as k8s-kubelet.service and kubelet-b.service: which of them is meant?"
    )
    assert plans[1].node_changes


@pytest.mark.parametrize("state", ["bad-setting", "error", "masked", "not-found"])
def test_a_unit_that_systemd_cannot_read_is_reported(state: str) -> None:
    service = service_of({"service": "ExecStart=./kubelet"}, LoadState=state)
    said = {remark.subject: remark.text for remark in make_plan(facts_with(service), GIVEN, POLICIES).remarks}
    subject = f"kubelet on {MASTER}"
    assert ("systemd cannot read its unit" in said.get(subject, "")) is (state in ("bad-setting", "error"))


def test_a_drop_in_stands_after_the_one_of_a_package_that_has_the_command() -> None:
    row = {
        "service": "ExecStart=/bin/false",
        "runs": ["/usr/bin/kubelet", "--v=2", "--cluster-dns=10.0.0.10"],
    }
    later = "/usr/lib/systemd/system/kubelet.service.d/90-package.conf"
    service = service_of(row, path=VENDOR, DropInPaths=later)
    text = f"[Service]\nExecStart=\nExecStart={' '.join(row['runs'])}\n"
    service = replace(service, files={**service.files, later: FileFact(later, "644", "root", "root", text)})
    [change] = [change for change in plan_of(service).node_changes if change.node == MASTER]
    [path] = [file.path for file in change.files if "systemd" in file.path]
    assert path > later.replace("/usr/lib/", "/etc/")
    assert path in own_places(service)


def test_a_specifier_that_moves_to_the_file_is_reported() -> None:
    words = "--kubeconfig=/k --hostname-override=%H --v=2"
    row = {"component": "kube-proxy", "service": f"ExecStart=/usr/bin/kube-proxy {words}"}
    row["runs"] = ["/usr/bin/kube-proxy", *words.replace("%H", "n1").split()]
    plan = plan_of(service_of(row))
    said = [remark.text for remark in plan.remarks if remark.subject == f"kube-proxy on {MASTER}"]
    assert said == ["what %H in its command is on this node is written to its config file"]


@pytest.mark.parametrize("version", ["", "2d0083d", "4.9.3"])
def test_a_version_that_is_none_of_kubernetes_stops_no_view_and_no_plan(version: str) -> None:
    row = next(row for row in REFUSED if row["name"] == "U7 podman")
    facts = facts_with(replace(service_of(row), version=version))
    findings = upgrade_findings(facts, "1.24")
    assert str(releases_view(facts, findings, Release.parse("1.24")))
    assert str(facts_view(facts))
    assert make_plan(facts, GIVEN.model_copy(update={"target_release": "1.24"}), POLICIES).node_changes
