"""The notebook, run by papermill as a user runs it, on every rehearsal cluster and in both modes."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path

import pytest
import yaml

from kubeharden.releases import Release, known_components
from kubeharden_rehearsal import Rehearsal, available
from rehearsals import Rehearsals
from support import ROOT, Papermill, on_node, wait_until

ARTICLE = ROOT / "tests" / "fixtures" / "article"
SCENARIOS = sorted(available())
# From 1.23 on, a cluster gets Pod Security Admission instead of policies.
WITH_POLICIES = [name for name in SCENARIOS if Release.parse(name) < Release(1, 23)]
LABEL = "pod-security.kubernetes.io"
# What a node's processes write by themselves while nobody changes anything.
# Beside it, the commands name the process of the rehearsal that answers them.
LIVING = ("proc/", "var/log", "run/", "usr/bin/")


def files_of(rehearsal: Path) -> dict[str, str]:
    """Path and digest of every file on every node, but for what lives by itself."""
    found = {}
    for path in sorted((rehearsal / "nodes").rglob("*")):
        name = str(path.relative_to(rehearsal / "nodes"))
        if path.is_file() and not any(part in name for part in LIVING):
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def objects_of(rehearsal: Path) -> dict[str, dict]:
    items = json.loads((rehearsal / "cluster.json").read_text())["items"]
    return {
        "/".join((o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"])): o for o in items
    }


def versions_of(rehearsal: Path) -> dict[str, str]:
    """resourceVersion of every object but those that a running kubelet keeps fresh."""
    return {
        name: item["metadata"]["resourceVersion"]
        for name, item in objects_of(rehearsal).items()
        if item["kind"] not in ("Node", "Event", "Lease")
    }


def starts_of(text: str, *, judged: bool = True) -> list[str]:
    """The start times in the table of services, of those that are judged or of the others."""
    names = "|".join(row.name for row in known_components() if row.is_judged == judged)
    return sorted(re.findall(rf" (?:{names}) .*(\w{{3}} \d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d UTC)", text))


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", SCENARIOS)
def test_apply_then_apply_again(papermill: Papermill, tmp_path: Path, name: str) -> None:
    folder = tmp_path / "rehearsal"
    ours = {"rehearsal_dir": str(folder), "default_policy": "baseline" if name in WITH_POLICIES else "none"}
    first = papermill("-p", "dns_ip", "10.0.0.10", rehearsal=name, change_id="CHG-1", **ours)
    assert first.status == 0, first.output
    assert "changed in the declared values and in nothing else" in first.shown("run.prove()")
    assert "CHG-1" in first.shown("runbook.start")
    assert "may read everything and " in first.shown("run.check()")
    assert re.search(
        r"kubelet on k8s-node1 .*node not Ready for \d+\.\d s", first.shown('run.apply("kubelet")')
    )
    objects = objects_of(folder)
    if name in WITH_POLICIES:
        assert {"PodSecurityPolicy//privileged", "PodSecurityPolicy//coredns"} <= objects.keys()
        assert "RoleBinding/weave/weave-default:psp:privileged" in objects
    else:
        assert labels_of(objects, "weave")["enforce"] == "privileged"
        assert labels_of(objects, "shop").keys() == {"audit", "audit-version", "warn", "warn-version"}
    for node in (folder / "nodes").iterdir():
        config = yaml.safe_load((node / "etc/kubernetes/kubelet.conf").read_text())
        assert config["clusterDNS"] == ["10.0.0.10"]
        assert config["readOnlyPort"] == 0
        assert (
            "--config=/etc/kubernetes/kubelet.conf"
            in (node / f"proc/{pid_of(node, 'kubelet')}/cmdline").read_text()
        )

    if name not in WITH_POLICIES:
        enforce_what_was_announced(papermill, folder, name)
    before, versions = files_of(folder), versions_of(folder)
    second = papermill(rehearsal=name, rehearsal_dir=str(folder))
    assert second.status == 0, second.output
    assert "There is nothing to do" in second.shown("run.plan()")
    assert "Nothing had to be done" in second.shown("run.finish()")
    assert files_of(folder) == before
    assert versions_of(folder) == versions
    looked, others = second.shown("run.look()"), starts_of(first.shown("run.look()"), judged=False)
    assert starts_of(looked) == starts_of(second.shown("run.prove()")) != []
    assert starts_of(looked, judged=False) == others
    assert len(others) == 2
    assert marks_in(tmp_path, second.records) == []  # nothing in a rehearsal is secret


def marks_in(executed: Path, records: Path) -> list[str]:
    """The executed notebooks and files of records that something was taken out of."""
    files = [*executed.glob("out-*.ipynb"), *(path for path in records.rglob("*") if path.is_file())]
    assert len(files) > 10
    return [str(path) for path in files if re.search(r"(?:‹|\\u2039)redacted", path.read_text())]


def enforce_what_was_announced(papermill: Papermill, folder: Path, name: str) -> None:
    """The runs after the first: levels are enforced, then what is left of PodSecurityPolicy goes."""
    version = f"v{Release.parse(name)}"
    second = papermill(rehearsal=name, rehearsal_dir=str(folder))
    assert second.status == 0, second.output
    assert re.search(r"kubelet on k8s-node1: as it should be", second.shown('run.apply("kubelet")'))
    assert f"shop baseline:{version}" in second.shown("run.prove()")
    objects = objects_of(folder)
    for namespace, level in LEVELS.items():
        if f"Namespace//{namespace}" in objects:
            labels = dict.fromkeys(("enforce", "audit", "warn"), level)
            labels |= {f"{mode}-version": version for mode in ("enforce", "audit", "warn")}
            assert labels_of(objects, namespace) == labels
    etc = folder / "nodes/k8s-master/etc"
    [plugin] = yaml.safe_load((etc / "kubernetes/admission.yaml").read_text())["plugins"]
    assert plugin["configuration"]["defaults"]["enforce"] == "baseline"
    assert "PodSecurityPolicy" not in (etc / "systemd/system/kube-apiserver.service").read_text()
    if any(kind.startswith("PodSecurityPolicy/") for kind in objects):
        third = papermill(rehearsal=name, rehearsal_dir=str(folder))
        assert third.status == 0, third.output
        assert "PodSecurityPolicy host" in third.shown('run.apply("pod-security")')
    left = objects_of(folder)
    assert not [kind for kind in left if "PodSecurityPolicy" in kind or "use-policy" in kind]


LEVELS = {
    "bank": "restricted",
    "default": "baseline",
    "infra": "privileged",
    "kube-system": "privileged",
    "shop": "baseline",
    "weave": "privileged",
}


def labels_of(objects: dict[str, dict], namespace: str) -> dict[str, str]:
    labels = objects[f"Namespace//{namespace}"]["metadata"].get("labels", {})
    return {key.partition("/")[2]: value for key, value in labels.items() if key.startswith(LABEL)}


def pid_of(node: Path, service: str) -> str:
    [pid] = [
        path.parent.name
        for path in (node / "proc").glob("[0-9]*/cmdline")
        if path.read_text().split("\0")[0].endswith(f"/{service}")
    ]
    return pid


def test_plan_changes_nothing_anywhere(papermill: Papermill, tmp_path: Path) -> None:
    """Each cluster, by its facts, is in ``test_cells.py``."""
    name = "article-1.10"
    folder = tmp_path / "rehearsal"
    Rehearsal.start(name, folder).stop()
    before, versions = files_of(folder), versions_of(folder)
    wanted = "baseline" if name in WITH_POLICIES else "none"
    words = ("-p", "mode", "plan", "-p", "default_policy", wanted)
    run = papermill(*words, rehearsal=name, rehearsal_dir=str(folder), cwd=ROOT)
    assert run.status == 0, run.output
    assert "write /etc/kubernetes/kubelet.conf" in run.shown("run.plan()")
    assert "was not carried out" in run.shown('run.apply("kubelet")')
    assert "Nothing was changed anywhere" in run.shown("run.finish()")
    assert "Nothing has changed" in run.shown("run.prove()")
    assert files_of(folder) == before
    assert versions_of(folder) == versions


def test_the_article_comes_out_on_the_article_cluster(papermill: Papermill, tmp_path: Path) -> None:
    folder = tmp_path / "rehearsal"
    run = papermill("-p", "dns_ip", "10.0.0.10", rehearsal_dir=str(folder), cluster_cidr="10.32.0.0/16")
    assert run.status == 0, run.output
    etc = folder / "nodes" / "k8s-master" / "etc"
    for name in ("kubelet", "kube-proxy"):
        made = yaml.safe_load((etc / "kubernetes" / f"{name}.conf").read_text())
        wanted = yaml.safe_load((ARTICLE / f"{name}.conf").read_text())
        if name == "kubelet":
            wanted["authentication"]["webhook"]["cacheTTL"] = "2m0s"  # a departure: docs/article.md
        assert made == wanted
        assert unit_lines(etc / f"systemd/system/{name}.service") == unit_lines(ARTICLE / f"{name}.service")
    objects = objects_of(folder)
    for name in ("privileged", "coredns"):
        wanted = yaml.safe_load((ARTICLE / f"psp-{name}.yaml").read_text())
        assert objects[f"PodSecurityPolicy//{name}"]["spec"] == wanted["spec"]
    server = (etc / "systemd/system/kube-apiserver.service").read_text()
    assert "ResourceQuota,NodeRestriction,DenyEscalatingExec,PodSecurityPolicy" in server
    assert "--disable-admission-plugins=PersistentVolumeLabel" in server
    assert "--admission-control=" not in server
    scheduler = (etc / "systemd/system/kube-scheduler.service").read_text()
    assert "[Service]\nUser=kubernetes\nGroup=kubernetes\n" in scheduler
    assert "--allow-privileged" in run.shown("run.prove()")
    assert "58010" in run.shown("run.prove()")


def unit_lines(path: Path) -> list[str]:
    """The lines of a unit; the order of the flags makes no difference."""
    return sorted(line.rstrip("\\ ").strip() for line in path.read_text().splitlines())


def test_only_the_steps_that_are_asked_for(papermill: Papermill, article: Rehearsal) -> None:
    run = papermill("--log-output", "-p", "steps", "kube-proxy", inventory=str(article.inventory))
    assert run.status == 0, run.output
    # For who reads a log: a line for each result when it comes, and at the end where the rest is.
    for node in ("k8s-node1", "k8s-master"):
        assert re.search(rf"kube-proxy on {node}: completed in \d+\.\d s: kube-proxy runs", run.output)
    [record] = run.records.iterdir()
    [digest] = {json.loads((record / "plan.json").read_text())["digest"]}
    assert f"kubeharden: done; plan {digest}; record {record}\n" in run.output
    etc = article.directory / "nodes" / "k8s-node1" / "etc" / "kubernetes"
    assert (etc / "kube-proxy.conf").exists()
    assert not (etc / "kubelet.conf").exists()
    assert "not among the steps" in run.shown('run.apply("kubelet")')


def test_a_node_that_fails_stops_the_run_with_its_own_words(
    papermill: Papermill, rehearsals: Rehearsals
) -> None:
    rehearsal = rehearsals.fresh("handbuilt-1.20")
    nodes, inventory = rehearsal.directory / "nodes", str(rehearsal.inventory)
    # The kubelet of node 2 reads this file only when it starts.
    (nodes / "k8s-node2/etc/kubernetes/pki/ca.crt").unlink()
    accepted = ("-p", "accept_breaking", "[shop/web]")
    run = papermill(*accepted, inventory=inventory)
    assert run.status != 0
    assert "kubelet on k8s-node2: kubelet did not come up" in run.error()
    assert "ca.crt" in run.error()
    assert "Its journal says" not in run.error()
    assert "k8s-node2: its journal since the restart" in run.shown('run.apply("kubelet")')
    assert "kubeharden: apply failed" in run.output
    assert "Untouched because of it: k8s-node3, k8s-master, every later step" in run.error()
    assert (nodes / "k8s-node1/etc/kubernetes/kubelet.conf").exists()
    assert not (nodes / "k8s-node2/etc/kubernetes/kubelet.conf").exists()
    assert not (nodes / "k8s-node3/etc/kubernetes/kubelet.conf").exists()
    assert not (nodes / "k8s-master/etc/kubernetes/kube-proxy.conf").exists()
    [journal] = run.records.glob("*/journal.jsonl")
    events = [json.loads(line) for line in journal.read_text().splitlines()]
    assert [e["subject"] for e in events if e["action"] == "failed"] == ["kubelet on k8s-node2"]

    # Mended, the same run carries on: what is done is found done.
    (nodes / "k8s-node2/etc/kubernetes/pki/ca.crt").write_text("-----BEGIN CERTIFICATE-----\n")
    on_node(rehearsal, "k8s-node2", "systemctl start kubelet")
    again = papermill(*accepted, inventory=inventory)
    assert again.status == 0, again.output
    assert re.search(r"kubelet on k8s-node1: as it should be", again.shown('run.apply("kubelet")'))


def test_wrong_input_is_refused_in_the_first_cell(papermill: Papermill, tmp_path: Path) -> None:
    """Each kind of it is in ``test_cells.py``."""
    run = papermill("-p", "dns_pi", "10.0.0.10", rehearsal_dir=str(tmp_path / "rehearsal"))
    assert run.status != 0
    assert "dns_pi: there is no such parameter; did you mean dns_ip?" in run.error()
    assert "Causes and ways out: docs/errors.md#parametererror" in run.error()
    assert "run.look()" not in [code for code, _ in run.cells()]
    assert not run.records.exists()
    assert not (tmp_path / "rehearsal").exists()


def test_enforcing_in_the_first_run_ends_the_migration_one_run_earlier(
    papermill: Papermill, rehearsals: Rehearsals
) -> None:
    rehearsal = rehearsals.fresh("psp-1.23")
    folder, inventory = rehearsal.directory, str(rehearsal.inventory)
    first = papermill("-p", "enforce", "True", inventory=inventory)
    assert first.status == 0, first.output
    wait_until(lambda: labels_of(objects_of(folder), "shop").get("enforce") == "baseline")
    second = papermill(inventory=inventory, steps="pod-security")
    assert second.status == 0, second.output
    assert "delete PodSecurityPolicy host" in second.shown("run.finish()")
    wait_until(lambda: not [kind for kind in objects_of(folder) if kind.startswith("PodSecurityPolicy/")])
