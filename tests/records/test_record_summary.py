"""``record.json``: everything that a run's folder says of it, in a form that a schema describes."""

from __future__ import annotations

import getpass
import json
import os
import subprocess
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jsonschema
import paramiko
import pytest

from kubeharden import runbook
from kubeharden.errors import KubehardenError
from kubeharden.plan.event import Event
from kubeharden.plan.events import Completed, Error, Finished, Planned, Proved, RunStarted, Started
from kubeharden.records.folder import Record, read_run
from kubeharden.records.provenance import file_digest, versions, who
from kubeharden.records.summary import build_record, record_schema
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals
from support import ROOT


def valid(record: Mapping[str, Any]) -> Mapping[str, Any]:
    jsonschema.Draft202012Validator(record_schema()).validate(record)
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    return record


def summary(folder: Path) -> Mapping[str, Any]:
    return valid(build_record(read_run(folder)))


def started(rehearsal: Rehearsal, tmp_path: Path, **parameters: str) -> runbook.Run:
    places = {"inventory": str(rehearsal.inventory), "output_dir": str(tmp_path / "records")}
    return runbook.start({"In": [""], **places, "dns_ip": "10.0.0.10", **parameters})


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(record_schema())


def test_a_run_that_was_carried_out(article: Rehearsal, tmp_path: Path) -> None:
    run = started(article, tmp_path, change_id="CHG-4711", reason="flags to config files")
    run.check()
    run.look()
    run.plan()
    for step in run.parameters.steps:
        run.apply(step)
    run.prove()
    assert summary(run.record.folder)["result"] == "open"
    run.finish()
    record = summary(run.record.folder)

    assert (record["result"], record["mode"], record["cluster"]) == ("done", "apply", "article-1.10")
    assert {name: value for name, value in record["change"].items() if value} == {
        "id": "CHG-4711",
        "reason": "flags to config files",
    }
    assert record["started"] < record["ended"]
    assert record["who"] == who()
    assert record["kubernetes_user"] == "kubernetes-admin"
    rehearsal = article.directory
    key = paramiko.Ed25519Key.from_private_key_file(str(run.inventory.ssh.identity_file))
    assert {name: login["key"] for name, login in record["logins"].items()} == {
        "k8s-master": key.fingerprint,
        "k8s-node1": key.fingerprint,
    }
    known = paramiko.HostKeys(str(run.inventory.ssh.known_hosts))
    shown = {f"{k.get_name()} {k.fingerprint}" for keys in known.values() for k in keys.values()}
    assert {login["host_key"] for login in record["logins"].values()} == shown
    assert record["inventory"]["sha256"] == file_digest(rehearsal / "inventory.yaml")
    assert record["notebook"]["sha256"] == file_digest(ROOT / "notebooks/harden.ipynb")
    assert record["components"]["k8s-node1"] == {"kubelet": "v1.10.0", "kube-proxy": "v1.10.0"}
    assert record["components_after"] == record["components"]
    assert record["plan"]["digest"] == json.loads((run.record.folder / "plan.json").read_text())["digest"]
    assert record["not_done"] == []
    assert record["errors"] == []
    assert record["proof"]["problems"] == []
    assert ["k8s-node1", "kubelet", "readOnlyPort", "10255", "0", "yes"] in record["proof"]["differences"]

    changes = {change["subject"]: change for change in record["changes"]}
    assert {change["result"] for change in record["changes"]} == {"completed"}
    kubelet = changes["kubelet on k8s-node1"]
    assert kubelet["seconds"] > 0
    config, unit = kubelet["files"]
    assert (config["path"], config["before"]) == ("/etc/kubernetes/kubelet.conf", "absent")
    assert config["after"] == file_digest(rehearsal / "nodes/k8s-node1/etc/kubernetes/kubelet.conf")
    assert "+readOnlyPort: 0" in config["diff"]
    assert "-  --cluster-dns=10.0.0.10" in unit["diff"]
    [role] = changes["Role weave/psp:privileged"]["objects"]
    assert role["action"] == "create"
    assert '+  "kind": "Role",' in role["diff"]


def test_what_a_run_deletes_is_in_its_record(rehearsals: Rehearsals, tmp_path: Path) -> None:
    cluster = rehearsals.fresh("psp-1.23")
    for _ in range(2):
        run = started(cluster, tmp_path, steps="[pod-security]", enforce="true")
        run.look()
        run.plan()
        run.apply("pod-security")
        run.finish()
    changes = {change["subject"]: change for change in summary(run.record.folder)["changes"]}
    [policy] = changes["PodSecurityPolicy host"]["objects"]
    assert (policy["action"], policy["after"]) == ("delete", "absent")
    assert '-  "kind": "PodSecurityPolicy",' in policy["diff"]


def test_a_run_in_mode_plan_says_what_it_left(rehearsals: Rehearsals, tmp_path: Path) -> None:
    run = started(rehearsals.untouched("article-1.10"), tmp_path, mode="plan", steps="[kube-proxy]")
    run.look()
    run.plan()
    run.apply("kube-proxy")
    run.finish()
    record = summary(run.record.folder)
    assert (record["result"], record["changes"]) == ("planned", [])
    assert record["not_done"] == [
        {"step": "kube-proxy", "subject": f"kube-proxy on {node}", "why": "mode is plan"}
        for node in ("k8s-master", "k8s-node1")
    ]


def test_a_run_that_fails_says_where_and_what_was_not_done(article: Rehearsal, tmp_path: Path) -> None:
    run = started(article, tmp_path)
    run.look()
    run.plan()
    (article.directory / "nodes/k8s-node1/etc/kubernetes/pki/ca.crt").unlink()
    with pytest.raises(KubehardenError):
        run.apply("kubelet")
    run.close()
    record = summary(run.record.folder)
    assert record["result"] == "failed"
    assert [(c["subject"], c["result"]) for c in record["changes"]] == [("kubelet on k8s-node1", "failed")]
    assert "ca.crt" in record["changes"][0]["words"]
    [error] = record["errors"]
    assert (error["verb"], error["kind"]) == ("apply", "NodeError")
    assert {item["why"] for item in record["not_done"]} == {"kubelet on k8s-node1 failed before"}
    assert "kube-scheduler on k8s-master" in {item["subject"] for item in record["not_done"]}


def test_a_run_that_was_left_or_cut_off(rehearsals: Rehearsals, tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "harden")
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"]))
    changes = [{"step": "kubelet", "subject": f"kubelet on n{n}", "action": "restart"} for n in (1, 2)]
    record(Planned(digest="0" * 64, needed=True, changes=changes))
    record(Started(subject="kubelet on n1", step="kubelet", node="n1", service="kubelet"))
    record.close()
    cut = summary(record.folder)
    assert cut["result"] == "cut off"
    assert [c["result"] for c in cut["changes"]] == ["unknown: the run was cut off"]
    assert cut["not_done"] == [
        {"step": "kubelet", "subject": "kubelet on n2", "why": "the run was cut off before"}
    ]
    again = started(rehearsals.untouched("article-1.10"), tmp_path)
    again.close()
    assert summary(again.record.folder)["result"] == "abandoned"


def test_a_long_error_stands_in_a_record_once_and_in_a_line_beside_each_change(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "harden")
    record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"]))
    changes = [{"step": "kubelet", "subject": f"kubelet on n{n}", "action": "restart"} for n in (1, 2)]
    record(Planned(digest="0" * 64, needed=True, changes=changes))
    record(
        Error(
            verb="apply",
            kind="ApprovalError",
            message="another plan. Approved:\n- batch_size: 1\n+ batch_size: 2",
        )
    )
    record.close()
    failed = summary(record.folder)
    whys = {item["why"] for item in failed["not_done"]}
    assert whys == {"an error ended the run before: ApprovalError: another plan"}
    assert failed["errors"][0]["message"].endswith("+ batch_size: 2")


def test_a_run_that_planned_again_after_its_changes_did_something(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "harden")
    record(RunStarted(mode="apply"))
    record(Started(subject="kubelet on n1"))
    record(Completed(subject="kubelet on n1", words="done", seconds=1.0))
    record(Planned(digest="0" * 64, changes=[]))
    record(Finished(mode="apply", changed=[], not_carried_out=[], why=""))
    record.close()
    assert build_record(read_run(record.folder))["result"] == "done"


@pytest.mark.parametrize("outcome", ["failed", "reverted"])
def test_a_change_that_failed_and_was_not_mended_is_not_done(tmp_path: Path, outcome: str) -> None:
    """``max_failures`` allows it: the run ends as it should, and that node has not got its change."""

    def result(*outcomes: str, problems: tuple[str, ...] = ()) -> str:
        record = Record(tmp_path, "lab", "harden")
        record(RunStarted(cluster="lab", mode="apply", steps=["kubelet"]))
        for number, action in enumerate(("completed", *outcomes)):
            about = {"subject": f"kubelet on n{min(number, 1)}", "step": "kubelet"}
            record(Started(**about))
            record(Event.kinds[action](**about, seconds=1.0))
        rest: dict[str, Any] = {"confirmed": [], "notes": [], "services": [], "differences": []}
        for found in (["what a later look did not find any more"], list(problems)):
            record(Proved(problems=found, components={}, **rest))
        record(Finished(mode="apply", changed=["kubelet"], not_carried_out=[], why=""))
        record.close()
        return str(summary(record.folder)["result"])

    assert result(outcome) == "partly done"
    assert result(outcome, "completed") == "done", "mended by a second look and plan"
    assert result("completed", outcome) == "partly done"
    assert result("completed", problems=("n1: it is not as planned",)) == "partly done"


def test_a_folder_without_a_whole_line_has_a_record(tmp_path: Path) -> None:
    record = Record(tmp_path, "lab", "harden")
    record.close()
    assert summary(record.folder)["result"] == "cut off"


def test_who_and_which_versions() -> None:
    assert (who()["login"], who()["uid"]) == (getpass.getuser(), os.getuid())
    found = versions()
    for package in ("papermill", "fabric", "kubernetes"):
        assert found[package] == version(package)
    head = subprocess.run(
        ["git", "-C", ROOT, "rev-parse", "HEAD"], capture_output=True, text=True, check=True
    ).stdout.strip()
    assert found["commit"] == head
    changed = subprocess.run(
        ["git", "-C", ROOT / "lib/kubeharden", "status", "--porcelain", "."], capture_output=True, check=True
    ).stdout
    assert found["dirty"] == bool(changed)
