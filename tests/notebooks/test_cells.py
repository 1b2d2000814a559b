"""The cells of the notebooks, one after the other, on the facts of every rehearsal cluster."""

from __future__ import annotations

from pathlib import Path

import pytest

from cells import Cells
from fakes import World, files_of
from kubeharden import runbook
from kubeharden.errors import KubehardenError
from kubeharden.releases import Release
from kubeharden_rehearsal import available

SCENARIOS = sorted(available())
# From 1.23 on, a cluster gets Pod Security Admission instead of policies.
WITH_POLICIES = [name for name in SCENARIOS if Release.parse(name) < Release(1, 23)]


def processes_of(world: World) -> dict[str, int]:
    return {
        f"{service.name} on {name}": service.main_pid
        for name, machine in world.machines.items()
        for service in machine.facts.services.values()
    }


def versions_of(world: World) -> dict[tuple[str, ...], str]:
    """resourceVersion of every object but those that a running kubelet keeps fresh."""
    return {
        (o["kind"], o["metadata"].get("namespace", ""), o["metadata"]["name"]): o["metadata"][
            "resourceVersion"
        ]
        for o in world.store.objects()
        if o["kind"] not in ("Node", "Event", "Lease")
    }


def ours(name: str) -> dict[str, str]:
    return {"default_policy": "baseline" if name in WITH_POLICIES else "none"}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", SCENARIOS)
def test_apply_until_there_is_nothing_to_do(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(name)
    first = Cells("harden", world, tmp_path, monkeypatch, dns_ip="10.0.0.10", change_id="CHG-1", **ours(name))
    assert "changed in the declared values and in nothing else" in first.shown("run.prove()")
    assert "CHG-1" in first.shown("runbook.start")
    assert "carried out, proved and confirmed" in first.shown('run.apply("kubelet")')
    if name not in WITH_POLICIES:  # what was announced is enforced, then what is left of policies goes
        for _ in range(2):
            Cells("harden", world, tmp_path, monkeypatch, **ours(name))
    files, processes, versions = files_of(world), processes_of(world), versions_of(world)
    last = Cells("harden", world, tmp_path, monkeypatch, **ours(name))
    assert "There is nothing to do" in last.shown("run.plan()")
    assert "Nothing had to be done" in last.shown("run.finish()")
    assert (files_of(world), processes_of(world), versions_of(world)) == (files, processes, versions)


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", SCENARIOS)
def test_plan_changes_nothing_anywhere(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(name)
    before = files_of(world), processes_of(world), versions_of(world)
    run = Cells("harden", world, tmp_path, monkeypatch, mode="plan", **ours(name))
    assert "write /etc/kubernetes/kubelet.conf" in run.shown("run.plan()")
    assert "was not carried out" in run.shown('run.apply("kubelet")')
    assert "Nothing was changed anywhere" in run.shown("run.finish()")
    assert "Nothing has changed" in run.shown("run.prove()")
    assert (files_of(world), processes_of(world), versions_of(world)) == before


def test_a_cell_changes_no_more_than_its_tag_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "1").mkdir()
    (tmp_path / "2").mkdir()
    world = World("article-1.10")
    changed = set[str]()

    def state() -> dict[str, object]:
        # Pods are written by kubelets, and the run's lock by each step.
        versions = {
            name: v for name, v in versions_of(world).items() if name[0] != "Pod" and name[2] != "kubeharden"
        }
        return {"changes-nodes": (files_of(world), processes_of(world)), "changes-objects": versions}

    before = state()

    def between(tags: list[str]) -> None:
        nonlocal before
        now = state()
        found = {tag for tag in now if now[tag] != before[tag]}
        assert set(tags) == {"changes-nothing"} or set(tags) <= now.keys()
        assert found <= set(tags)
        changed.update(found)
        before = now

    parameters = {"dns_ip": "10.0.0.10", **ours("article-1.10")}
    Cells("harden", world, tmp_path / "1", monkeypatch, between, **parameters)
    assert changed == {"changes-nodes", "changes-objects"}
    world = World("article-1.10")
    before = state()
    Cells("harden", world, tmp_path / "2", monkeypatch, between, steps=["kube-proxy"], **parameters)
    record = next(path for path in (tmp_path / "2/records").iterdir() if path.is_dir())
    changed.clear()
    Cells("rollback", world, tmp_path / "2", monkeypatch, between, record=str(record))
    assert changed == {"changes-nodes"}


@pytest.mark.sample(2)
@pytest.mark.parametrize("name", SCENARIOS)
def test_readiness_only_looks(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    world = World(name)
    before = files_of(world), processes_of(world), versions_of(world)
    run = Cells("upgrade-readiness", world, tmp_path, monkeypatch, target_release="1.36")
    assert "Nothing was changed anywhere" in run.shown("run.finish()")
    assert (files_of(world), processes_of(world), versions_of(world)) == before


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dns_ip": 10}, "dns_ip: 10 is a value of type int; expected text"),
        ({"dns_ip": "10.0.0.300"}, "dns_ip: '10.0.0.300' is not an IP address"),
        (
            {"dns_ip": "10.1.0.10"},
            "dns_ip: '10.1.0.10' is outside the API server's --service-cluster-ip-range",
        ),
        ({"cluster_cidr": "10.32.0.1/16"}, "cluster_cidr: '10.32.0.1/16' has host bits set"),
        ({"steps": "etcd"}, "names the step 'etcd'; expected some of kubelet"),
        ({"steps": 3}, "steps: 3 is a value of type int; expected a list"),
        ({"mode": "dry-run"}, "mode: 'dry-run' is not known; expected one of apply, plan"),
        ({"inventory": "nowhere.yaml"}, "inventory: cannot read 'nowhere.yaml'"),
        ({"enforce": "soon"}, "enforce: 'soon' is neither true nor false"),
        ({"pod_security": "off"}, "pod_security: 'off' is not known; expected one of auto, psp, psa"),
        ({"default_policy": "strict"}, "default_policy: 'strict' is not known; expected one of restricted"),
        ({"accept_breaking": "[web]"}, "holds 'web'; expected a name like shop/web"),
        ({"profile": "cis"}, "profile: 'cis' is not known; expected one of article, none"),
    ],
)
def test_wrong_input_is_refused_before_anything_is_there(
    given: dict[str, object], message: str, tmp_path: Path
) -> None:
    folders = {"rehearsal_dir": str(tmp_path / "rehearsal"), "output_dir": str(tmp_path / "records")}
    with pytest.raises(KubehardenError) as error:
        runbook.start({"In": [""], **folders, **given})
    assert message in str(error.value)
    assert not (tmp_path / "records").exists()
    assert not (tmp_path / "rehearsal").exists()
