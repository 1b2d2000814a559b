"""What a run changed is put back, byte for byte, and what somebody else changed since is not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, decided, files_of, planned
from kubeharden import runbook
from kubeharden.errors import MigrationRefusedError, ParameterError, RecordError, StaleError
from kubeharden.plan.events import Started
from kubeharden.records.folder import read_run
from kubeharden.runs.kinds.rollback import check_past
from kubeharden.show.display import Table
from rolling import fails

DNS = "10.0.0.10"
RollBack = Callable[..., runbook.Run]


@dataclass
class Hardened:
    """A hardened cluster, the folder of the run that did it, and what was there before."""

    world: World
    record: Path
    files: dict[str, tuple[str, str, str]]
    objects: dict[tuple[str, ...], object]


def harden(name: str, folder: Path) -> Hardened:
    world = World(name)
    files, objects = files_of(world), decided(world)
    accepted = ["shop/web"] if name == "handbuilt-1.20" else []
    run = planned(world, folder, dns_ip=DNS, accept_breaking=accepted)
    for step in run.parameters.steps:
        run.apply(step)
    run.prove()
    run.finish()
    assert files_of(world) != files
    return Hardened(world, run.record.folder, files, objects)


@pytest.fixture
def hardened(tmp_path: Path) -> Hardened:
    return harden("article-1.10", tmp_path)


@pytest.fixture
def roll_back(tmp_path: Path, request: pytest.FixtureRequest) -> RollBack:
    """Start a rollback that has looked and planned; all of them end with the test."""

    def begun(world: World, record: Path, **given: Any) -> runbook.Run:
        given |= {
            "In": [""],
            "record": str(record),
            "inventory": str(world.inventory(tmp_path)),
            "output_dir": str(tmp_path / "rollbacks"),
        }
        run = runbook.start(given, "rollback", connect=world.ports)
        request.addfinalizer(run.close)
        run.check()
        run.look()
        run.plan()
        return run

    return begun


@pytest.mark.parametrize("name", ["CHG-9", "last"])
def test_a_run_is_named_by_its_change_and_one_that_changed_nothing_is_not_meant(
    tmp_path: Path, name: str
) -> None:
    world = World("article-1.10")
    planned(world, tmp_path, change_id="CHG-9").close()
    run = planned(world, tmp_path, change_id="CHG-9")
    run.apply("kube-proxy")
    run.finish()
    again = planned(world, tmp_path, change_id="CHG-9", steps=["kube-proxy"])
    again.apply("kube-proxy")
    again.finish()

    places = {"inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    back = runbook.start({"In": [""], "record": name, **places}, "rollback", connect=world.ports)
    assert back.kind.past.run == run.record.folder.name
    back.close()


def test_a_change_of_several_runs_and_one_of_none_are_refused(tmp_path: Path) -> None:
    world = World("article-1.10")
    for step in ("kube-proxy", "kube-scheduler"):
        run = planned(world, tmp_path, change_id="CHG-9", steps=[step])
        run.apply(step)
        run.finish()
    places = {"inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    for name, words in {"CHG-9": "is the change of 2 runs", "CHG-8": "there is no such folder"}.items():
        with pytest.raises(ParameterError, match=f"record: {name}: {words}"):
            runbook.start({"In": [""], "record": name, **places}, "rollback", connect=world.ports)


def test_nothing_is_put_back_on_a_machine_that_is_another(hardened: Hardened, roll_back: RollBack) -> None:
    world = hardened.world
    for machine in world.machines.values():
        machine.facts = replace(machine.facts, machine=f"m-{machine.name}")
    world._beat()
    world.exchanged = {"k8s-master": "k8s-node1", "k8s-node1": "k8s-master"}
    run = roll_back(world, hardened.record)
    with pytest.raises(MigrationRefusedError, match="It is the machine of the Node k8s-node1"):
        run.roll_back()


@pytest.mark.sample(2)
@pytest.mark.parametrize(
    "name",
    ["article-1.10", "handbuilt-1.20", "psp-1.23", "containerd-1.24", "containerd-1.25", "containerd-1.36"],
)
def test_everything_is_as_it_was_and_a_second_time_finds_nothing_to_do(
    name: str, tmp_path: Path, roll_back: RollBack
) -> None:
    hardened = harden(name, tmp_path)
    names = [kept.name for kept in read_run(hardened.record).objects]
    run = roll_back(hardened.world, hardened.record, batch_size="50%", accept_unvouched=names)
    run.show_all()
    run.roll_back()
    assert "✘" not in str(run.prove())
    run.finish()
    assert files_of(hardened.world) == hardened.files
    again = roll_back(hardened.world, hardened.record)
    assert "There is nothing to do" in str(again.plan())
    assert "nothing was changed, nothing restarted" in str(again.roll_back())
    again.finish()
    assert decided(hardened.world) == hardened.objects


@pytest.mark.sample(1)
@pytest.mark.parametrize("name", ["article-1.10", "handbuilt-1.20"])
def test_the_table_of_a_plan_has_the_order_in_which_it_is_carried_out(
    name: str, tmp_path: Path, roll_back: RollBack
) -> None:
    """Workers before the control plane; objects before the nodes of their step, and after them where it is put back."""

    def table(run: runbook.Run) -> list[str]:
        rows = next(
            b for b in run.plan().blocks if isinstance(b, Table) and b.title == "What would be done"
        ).rows
        return [what if where == "API" else f"{what} on {where}" for _, where, what, _ in rows]

    world = World(name)
    run = planned(world, tmp_path, dns_ip=DNS, accept_breaking=["shop/web"])
    shown = table(run)
    for step in run.parameters.steps:
        run.apply(step)
    run.finish()
    assert shown == [event.subject for event in read_run(run.record.folder).of(Started)]
    back = roll_back(
        world, run.record.folder, accept_unvouched=[k.name for k in read_run(run.record.folder).objects]
    )
    shown = table(back)
    back.roll_back()
    back.finish()
    assert shown == [event.subject for event in read_run(back.record.folder).of(Started)]


def test_mode_plan_shows_and_changes_nothing(hardened: Hardened, roll_back: RollBack) -> None:
    before = files_of(hardened.world)
    run = roll_back(hardened.world, hardened.record, mode="plan")
    assert "remove /etc/kubernetes/kubelet.conf" in str(run.plan())
    assert "was not carried out" in str(run.roll_back())
    assert "Nothing has changed" in str(run.prove())
    run.finish()
    assert files_of(hardened.world) == before


def test_what_somebody_else_changed_since_is_refused_with_the_difference(
    hardened: Hardened, roll_back: RollBack
) -> None:
    machine, path = hardened.world.machines["k8s-node1"], "/etc/kubernetes/kubelet.conf"
    kubelet = machine.facts.services["kubelet"]
    file = kubelet.files[path]
    theirs = replace(file, content=file.content + "maxPods: 42\n")
    machine.set(replace(kubelet, files={**kubelet.files, path: theirs}))
    before = files_of(hardened.world)
    run = roll_back(hardened.world, hardened.record)
    with pytest.raises(MigrationRefusedError, match="changed since by somebody else") as error:
        run.roll_back()
    assert "+maxPods: 42" in str(error.value)
    assert files_of(hardened.world) == before


@pytest.mark.parametrize("name", ["containerd-1.25", "psp-1.23"])
def test_what_a_later_run_changed_since_is_told_by_its_name(
    name: str, tmp_path: Path, roll_back: RollBack
) -> None:
    """A first run announced, a second one enforced: the records know who changed it, and the order of the way back."""
    world = World(name)
    before = files_of(world), decided(world)
    runs = []
    for _ in range(2):
        run = planned(world, tmp_path, steps=["pod-security"])
        run.apply("pod-security")
        run.finish()
        runs.append(run.record)
        world.clock.sleep(5)
    announced, enforced = runs
    back = roll_back(world, announced.folder)
    with pytest.raises(MigrationRefusedError) as error:
        back.roll_back()
    words = str(error.value)
    assert f"was changed since by run {enforced.run}; roll that back first" in words
    assert "by somebody else" not in words
    for record in (enforced, announced):
        names = [kept.name for kept in read_run(record.folder).objects]
        again = roll_back(world, record.folder, accept_unvouched=names)
        again.roll_back()
        again.finish()
    assert (files_of(world), decided(world)) == before


def test_another_cluster_of_the_same_name_is_left_alone(hardened: Hardened, roll_back: RollBack) -> None:
    """Files and objects to the letter as that run left them, on a cluster that it never saw."""
    world = hardened.world
    namespace = world.store.get("Namespace", "kube-system")
    was, other = namespace["metadata"]["uid"], "11111111-2222-3333-4444-555555555555"
    world.store.load([{**namespace, "metadata": {**namespace["metadata"], "uid": other}}])
    before = files_of(world)
    run = roll_back(world, hardened.record)
    with pytest.raises(
        MigrationRefusedError,
        match=f"cluster article-1.10: is another cluster than .*{other}, and that one's had {was}",
    ):
        run.roll_back()
    assert files_of(world) == before


def test_an_object_that_somebody_changed_since_is_refused_with_the_difference(
    tmp_path: Path, roll_back: RollBack
) -> None:
    world = World("article-1.10")
    run = planned(world, tmp_path, steps=["pod-security"])
    run.apply("pod-security")
    run.finish()
    back = roll_back(world, run.record.folder)
    role = back.cluster.get("Role", "psp:privileged", "weave")
    assert role is not None
    role["rules"][0]["resourceNames"] = ["privileged", "another"]
    back.cluster.replace(role)
    back.look()
    assert "Role weave/psp:privileged: was changed since by somebody else" in str(back.plan())
    with pytest.raises(MigrationRefusedError, match=r"\+  - another"):
        back.roll_back()
    found = back.cluster.get("Role", "psp:privileged", "weave")
    assert found is not None
    assert found["rules"][0]["resourceNames"] == ["privileged", "another"]


def test_what_somebody_else_had_made_first_is_left_alone(tmp_path: Path, roll_back: RollBack) -> None:
    """The run meant to create the very same object, and was refused: it is not the run's to delete."""
    world = World("article-1.10")
    run = planned(world, tmp_path, steps=["pod-security"])
    theirs = run.current_plan.object_changes[0].manifest
    run.cluster.create(dict(theirs))
    with fails(StaleError, match="already exists"):
        run.apply("pod-security")
    run.close()
    back = roll_back(world, run.record.folder)
    back.roll_back()
    assert back.cluster.get(theirs["kind"], theirs["metadata"]["name"]) is not None


def test_a_rollback_can_be_rolled_back(tmp_path: Path, roll_back: RollBack) -> None:
    world = World("article-1.10")
    files = files_of(world)
    run = planned(world, tmp_path, dns_ip=DNS, steps=["kubelet", "kube-scheduler"])
    for step in run.parameters.steps:
        run.apply(step)
    run.finish()
    hard = files_of(world)
    first = roll_back(world, run.record.folder)
    first.roll_back()
    first.finish()
    assert files_of(world) == files
    second = roll_back(world, first.record.folder)
    second.roll_back()
    second.finish()
    assert files_of(world) == hard


def test_a_record_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    world = World("article-1.10")
    given = {"In": [""], "inventory": str(world.inventory(tmp_path)), "output_dir": str(tmp_path / "records")}
    with pytest.raises(ParameterError, match="record: '' is empty"):
        runbook.start(given, "rollback", connect=world.ports)
    with pytest.raises(RecordError, match="is not the record of a run"):
        runbook.start({**given, "record": str(tmp_path)}, "rollback", connect=world.ports)
    other = planned(world, tmp_path, mode="plan")
    with pytest.raises(ParameterError, match="still goes on"):
        check_past(read_run(other.record.folder), "article-1.10")
    other.finish()
    with pytest.raises(ParameterError, match=r"is a run on article-1\.10, and the inventory is of elsewhere"):
        check_past(read_run(other.record.folder), "elsewhere")


def test_a_unit_with_specifiers_is_put_back(tmp_path: Path, roll_back: RollBack) -> None:
    world = World("article-1.10")
    for machine in world.machines.values():
        proxy, kubelet = (machine.facts.services[name] for name in ("kube-proxy", "kubelet"))
        name = machine.facts.hostname
        for service, flag in ((proxy, "--hostname-override="), (kubelet, "--node-labels=host=")):
            path = f"/etc/systemd/system/{service.name}.service"
            fact = service.files[path]
            text = fact.content.replace(" \\\n", f" \\\n  {flag}%H \\\n", 1)
            words = (service.cmdline[0], f"{flag}{name}", *service.cmdline[1:])
            files = {**service.files, path: replace(fact, content=text)}
            shown = {"hostnameOverride": name} if service is proxy else {}
            config = {**(service.configz or {}), **shown}
            machine.set(replace(service, files=files, cmdline=words, configz=config))
    before = files_of(world)
    run = planned(world, tmp_path, dns_ip=DNS)
    for step in run.parameters.steps:
        run.apply(step)
    run.prove()
    run.finish()
    after = files_of(world)
    assert "--node-labels=host=%H" in after["k8s-node1/etc/systemd/system/kubelet.service"][2]
    assert "%H" not in after["k8s-node1/etc/systemd/system/kube-proxy.service"][2]
    names = [kept.name for kept in read_run(run.record.folder).objects]
    back = roll_back(world, run.record.folder, accept_unvouched=names)
    back.roll_back()
    assert "✘" not in str(back.prove())
    assert files_of(world) == before


def test_labels_of_a_namespace_that_kubectl_has_applied_are_put_back(
    tmp_path: Path, roll_back: RollBack
) -> None:
    """What `kubectl apply` writes into an annotation is JSON in a text: the plan and the record keep it to the byte."""
    world = World("containerd-1.36")
    cluster = world.ports().cluster
    applied = '{"apiVersion":"v1","kind":"Namespace","metadata":{"annotations":{},"name":"shop"}}\n'
    namespace = cluster.get("Namespace", "shop")
    assert namespace is not None
    namespace["metadata"]["annotations"] = {"kubectl.kubernetes.io/last-applied-configuration": applied}
    cluster.replace(namespace)
    before = decided(world)
    run = planned(world, tmp_path, steps=["pod-security"])
    run.apply("pod-security")
    run.finish()
    assert decided(world) != before
    names = [kept.name for kept in read_run(run.record.folder).objects]
    back = roll_back(world, run.record.folder, accept_unvouched=names)
    back.roll_back()
    assert decided(world) == before
