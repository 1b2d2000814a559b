"""A rollback writes nothing that a tampered record says: what it writes is vouched for by a seal, or by the node."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from fakes import World, decided, files_of, planned
from kubeharden import runbook
from kubeharden.errors import KubehardenError, MigrationRefusedError, RecordError, UnexpectedError
from kubeharden.kube.manifests import without_server_parts
from kubeharden.plan import digest_of, sha256
from kubeharden.plan.events import Planned
from kubeharden.records.evidence import evidence_of, foreign_parts
from kubeharden.records.folder import read_run
from kubeharden.records.seal import seal
from record_support import make_key
from support import ROOT, unpack

EVIL = "[Service]\nExecStart=/usr/bin/kubelet --evil\n"
UNIT = "/etc/systemd/system/kubelet.service"
CONFIG = "/etc/kubernetes/kubelet.conf"
STEPS = ["kubelet", "pod-security"]
pytestmark = pytest.mark.usefixtures("home")


@dataclass
class Hardened:
    """A cluster after a run, the record of that, and what was there before and after."""

    world: World
    record: Path
    before: object
    after: object
    inventory: Path
    runs: list[runbook.Run]

    def start(self, **given: Any) -> runbook.Run:
        """Start a rollback that has looked and planned."""
        given = {
            "In": [""],
            "record": str(self.record),
            "inventory": str(self.inventory),
            "output_dir": str(self.record.parents[1] / "rollbacks"),
            **given,
        }
        run = runbook.start(given, "rollback", connect=self.world.ports)
        self.runs.append(run)
        run.check()
        run.look()
        run.plan()
        return run

    def refused(self, match: str, **given: Any) -> None:
        """Roll back, and see that it is refused and that nothing has changed."""
        with pytest.raises((RecordError, MigrationRefusedError), match=match):
            self.start(**given).roll_back()
        assert state_of(self.world) == self.after

    def rolled_back(self, **given: Any) -> runbook.Run:
        run = self.start(**given)
        run.roll_back()
        run.prove()
        assert state_of(self.world) == self.before
        return run


def state_of(world: World) -> object:
    """Return what runs on the nodes, and every object that people decide."""
    return files_of(world), decided(world)


@pytest.fixture(scope="module")
def once(tmp_path_factory: pytest.TempPathFactory) -> Hardened:
    """The run of which each test has a copy."""
    world, folder = World("article-1.10"), tmp_path_factory.mktemp("once")
    before = state_of(world)
    run = planned(world, folder, steps=STEPS, dns_ip="10.0.0.10")
    for step in STEPS:
        run.apply(step)
    run.finish()
    return Hardened(world, run.record.folder, before, state_of(world), folder, [])


@pytest.fixture
def hardened(once: Hardened, tmp_path: Path) -> Iterator[Hardened]:
    world, record = once.world.copy(), tmp_path / "records" / once.record.name
    shutil.copytree(once.record, record)
    made = replace(once, world=world, record=record, inventory=world.inventory(tmp_path), runs=[])
    yield made
    for other in made.runs:
        other.close()


@pytest.fixture
def key(tmp_path: Path) -> Path:
    return make_key(tmp_path)


def rewritten(path: Path, change: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    change(content)
    path.chmod(0o600)
    path.write_text(json.dumps(content))


def forge(
    record: Path, change: Callable[[list[dict[str, Any]], list[dict[str, Any]], dict[str, Any]], object]
) -> None:
    """Change a record so that all of it agrees: its lists, its plan, and the chain of its journal."""
    lists = {
        name: json.loads((record / name).read_text()) for name in ("files.json", "objects.json", "plan.json")
    }
    files, objects, plan = (lists[name] for name in ("files.json", "objects.json", "plan.json"))
    change(files, objects, plan)
    plan["nodes"] = [{**one, "restart": "", "files": [one]} for one in files]
    plan["objects"] = [planned_object(record, one) for one in objects]
    plan["digest"] = digest_of({name: value for name, value in plan.items() if name != "digest"})
    for name, content in lists.items():
        (record / name).write_text(json.dumps(content))
    subjects = {f"{one['service']} on {one['node']}" for one in files} | {one["name"] for one in objects}
    lines = [json.loads(raw) for raw in (record / "journal.jsonl").read_bytes().splitlines()]
    begun = {line["subject"] for line in lines if line["action"] == "started"}
    lines[-1:-1] = [{**lines[-1], "action": "started", "subject": name} for name in sorted(subjects - begun)]
    raw, previous = [], ""
    for number, line in enumerate(lines, 1):
        more = {"digest": plan["digest"]} if line["action"] == "planned" else {}
        whole = {**line, "seq": number, "previous": previous, **more}
        raw.append(json.dumps(whole, sort_keys=True, ensure_ascii=False).encode())
        previous = hashlib.sha256(raw[-1]).hexdigest()
    (record / "journal.jsonl").write_bytes(b"".join(line + b"\n" for line in raw))
    past = read_run(record)
    assert (past.problems, foreign_parts(past)) == ((), [])


def planned_object(record: Path, one: dict[str, Any]) -> dict[str, Any]:
    """The object as a plan has it."""
    sides = {}
    for side in ("before", "after"):
        path = record / f"objects/{one['number']}-{side}.json"
        sides[side] = without_server_parts(json.loads(path.read_text())) if path.exists() else None
    return {
        "step": one["step"],
        "action": one["action"],
        "manifest": sides["after"] or sides["before"],
        "before": digest_of(sides["before"]) if sides["before"] else "absent",
    }


def entry(entries: list[dict[str, Any]], path: str) -> dict[str, Any]:
    return next(one for one in entries if one.get("path") == path or one.get("name") == path)


def content_kept(record: Path, node: str, text: str) -> str:
    digest = sha256(text)
    (record / "files" / node / digest).write_text(text)
    return digest


def test_an_unsealed_record_is_called_that_and_the_nodes_vouch_for_it(hardened: Hardened) -> None:
    words = "is not sealed: nothing vouches for what is in it"
    assert words in str(hardened.start(mode="plan").plan())
    for path in (hardened.record / "files").glob("*/*"):
        path.write_text(EVIL)
    run = hardened.rolled_back()
    run.finish()
    planned_once = read_run(run.record.folder).last(Planned)
    assert planned_once is not None
    assert any(words in remark for remark in planned_once.remarks)


@pytest.mark.parametrize(
    "values",
    [
        {"path": "/etc/cron.d/evil"},
        {"path": "/etc/systemd/system/../../cron.d/evil"},
        {"path": "etc/cron.d/evil"},
        {"path": "/etc/x\n/etc/y"},
        {"before": "../../../../etc/shadow"},
        {"before": "0" * 64},
        {"before": "A" * 64},
        {"after": "absent"},
        {"node": "../k8s-node1"},
        {"node": "k8s-node1\x00"},
        {"node": "k8s-master" * 2},
        {"service": "sshd"},
        {"step": "../kubelet"},
        {"before_mode": "9"},
        {"before_owner": "root root 0"},
        {"mode": 644},
        {"redacted": "no"},
        {"more": 1},
    ],
)
def test_an_entry_that_the_run_did_not_write_ends_it_before_anything_is_contacted(
    hardened: Hardened, values: dict[str, object]
) -> None:
    rewritten(hardened.record / "files.json", lambda entries: entry(entries, UNIT).update(values))
    hardened.refused("was altered, and nothing in it counts: files.json")
    assert not hardened.runs


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("objects.json", lambda entries: entries[0].update(name="ClusterRole cluster-admin")),
        ("objects.json", lambda entries: entries[0].update(action="explode")),
        ("objects.json", lambda entries: entries[0].update(number=-1)),
        ("objects.json", lambda entries: entries.append({**entries[0], "number": 99})),
        ("plan.json", lambda plan: plan["cluster"].update(uid="another")),
        ("plan.json", lambda plan: plan["rollout"].update(batch_size="100%")),
        ("plan.json", lambda plan: plan.update(digest="0" * 64)),
        ("files.json", lambda entries: entries.clear() or entries.append("x")),
    ],
)
def test_other_documents_that_the_run_did_not_write_end_it_as_well(
    hardened: Hardened, name: str, change: Callable[[Any], object]
) -> None:
    rewritten(hardened.record / name, change)
    hardened.refused(f"was altered, and nothing in it counts: {name}")


def test_a_journal_that_was_changed_ends_it(hardened: Hardened) -> None:
    path = hardened.record / "journal.jsonl"
    path.write_bytes(path.read_bytes().replace(b'"completed"', b'"failed"', 1))
    hardened.refused("does not follow the line before it")


def test_a_record_in_another_folder_is_not_that_of_its_run(hardened: Hardened) -> None:
    hardened.record = hardened.record.rename(hardened.record.with_name("20200101T000000.000Z-lab-x"))
    hardened.refused("is of another run")


def test_a_record_behind_a_link_is_none(hardened: Hardened, tmp_path: Path) -> None:
    elsewhere = hardened.record.rename(tmp_path / "elsewhere")
    hardened.record.symlink_to(elsewhere)
    hardened.refused("it is a link")


def test_a_content_behind_a_link_is_not_read(hardened: Hardened, tmp_path: Path) -> None:
    hardened.world.machines["k8s-node1"].set(
        replace(
            (kubelet := hardened.world.machines["k8s-node1"].facts.services["kubelet"]),
            files={**kubelet.files, UNIT: replace(kubelet.files[UNIT], content="# by somebody else\n")},
        )
    )
    hardened.after = state_of(hardened.world)
    left = entry(json.loads((hardened.record / "files.json").read_text())[::-1], UNIT)["after"]
    for path in (hardened.record / "files").glob(f"*/{left}"):
        path.rename(tmp_path / path.parent.name)
        path.symlink_to(tmp_path / path.parent.name)
    hardened.refused("cannot be read as a regular file")


def test_a_forged_content_is_not_on_the_nodes_backup(hardened: Hardened) -> None:
    def change(files: list[dict[str, Any]], objects: object, plan: object) -> None:
        for one in files:
            if one["path"] == UNIT:
                one["before"] = content_kept(hardened.record, one["node"], EVIL)

    forge(hardened.record, change)
    hardened.refused("the node has no backup of .* any more.*seal it")


@pytest.mark.parametrize(
    ("values", "match"),
    [
        ({"path": "/root/.ssh/authorized_keys", "after": "absent"}, "a file that the service does not use"),
        (
            {"path": "/etc/kubernetes/manifests/evil.yaml", "after": "absent"},
            "a file that the service does not use",
        ),
        ({"before": "absent"}, "is not a file that kubeharden adds"),
        ({"before_mode": "4755"}, "has another mode or owner than the record says"),
        ({"before_owner": "kube"}, "has another mode or owner than the record says"),
    ],
)
def test_a_forged_record_reaches_no_other_file_and_removes_none(
    hardened: Hardened, values: dict[str, str], match: str
) -> None:
    def change(files: list[dict[str, Any]], objects: object, plan: object) -> None:
        entry(files, UNIT).update(values)

    forge(hardened.record, change)
    hardened.refused(match)


def forged_object(
    record: Path, item: dict[str, Any], action: str, after: dict[str, Any] | None = None
) -> None:
    """The record says that the run deleted, or changed, this object."""
    assert action == ("update" if after else "delete")
    forged_change(record, item, after)


def forged_change(record: Path, before: dict[str, Any] | None, after: dict[str, Any] | None) -> None:
    """The record says that the run made an object, changed it, or deleted it."""
    item = before or after or {}

    def change(files: object, objects: list[dict[str, Any]], plan: object) -> None:
        meta = item["metadata"]
        number = len(objects) + 1
        namespace = f"{meta['namespace']}/" if "namespace" in meta else ""
        for side, content in (("before", before), ("after", after)):
            if content is not None:
                (record / f"objects/{number}-{side}.json").write_text(json.dumps(content))
        objects.append(
            {
                "number": number,
                "step": "pod-security",
                "action": "create" if before is None else "update" if after else "delete",
                "name": f"{item['kind']} {namespace}{meta['name']}",
                "before": digest_of(before) if before else "absent",
                "after": digest_of(after) if after else "absent",
                "redacted": False,
            }
        )

    forge(record, change)


RBAC = "rbac.authorization.k8s.io/v1"
ROOT_FOR_ALL = {
    "apiVersion": RBAC,
    "kind": "ClusterRoleBinding",
    "metadata": {"name": "evil"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": "cluster-admin"},
    "subjects": [{"kind": "Group", "name": "system:authenticated"}],
}
ALL_RIGHTS = {
    "apiVersion": RBAC,
    "kind": "Role",
    "metadata": {"name": "psp:privileged", "namespace": "weave"},
    "rules": [{"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}],
}


@pytest.mark.parametrize(
    ("item", "match"),
    [
        (ROOT_FOR_ALL, "it allows more than the use of policies"),
        ({**ALL_RIGHTS, "metadata": {"name": "evil", "namespace": "weave"}}, "it allows more than the use"),
        ({"kind": "Pod", "metadata": {"name": "evil", "namespace": "weave"}}, "no run writes a Pod"),
        ({"apiVersion": "v1", "kind": "Evil", "metadata": {"name": "evil"}}, "no run writes a Evil"),
        (
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "evil"}},
            "no run changes more of a namespace",
        ),
        ({**ROOT_FOR_ALL, "roleRef": {"kind": "ClusterRole"}}, "roleRef.name is missing"),
        ({**ROOT_FOR_ALL, "subjects": 7}, "subjects is not a list"),
        (
            {**ALL_RIGHTS, "metadata": {"name": "evil", "namespace": "weave"}, "rules": 5},
            "rules is not a list",
        ),
    ],
)
def test_a_forged_record_makes_no_object_that_allows_more(
    hardened: Hardened, item: dict[str, Any], match: str
) -> None:
    forged_object(hardened.record, item, "delete")
    hardened.refused(match)


def test_a_forged_record_gives_no_role_more_than_it_had(hardened: Hardened) -> None:
    role = hardened.world.store.get("Role", "psp:privileged", "weave")
    forged_object(hardened.record, {**role, "rules": ALL_RIGHTS["rules"]}, "update", role)
    hardened.refused("it allows more than the use of policies, and nobody whose signature counts")


def test_a_forged_record_changes_only_labels_of_pod_security(hardened: Hardened) -> None:
    item = hardened.world.store.get("Namespace", "weave")
    other = {**item, "metadata": {**item["metadata"], "labels": {"team": "evil"}}}
    forged_object(hardened.record, other, "update", item)
    hardened.refused("no run changes more of a namespace than its labels of pod security")


def use_of(policy: str) -> dict[str, Any]:
    """A role that somebody else made: it allows nothing but the use of a policy."""
    rule = {
        "apiGroups": ["policy"],
        "resources": ["podsecuritypolicies"],
        "resourceNames": [policy],
        "verbs": ["use"],
    }
    return {"apiVersion": RBAC, "kind": "ClusterRole", "metadata": {"name": "use"}, "rules": [rule]}


def bound_to(role: str, name: str) -> dict[str, Any]:
    """A binding that somebody else made."""
    return {**ROOT_FOR_ALL, "metadata": {"name": name}, "roleRef": {**ROOT_FOR_ALL["roleRef"], "name": role}}


def as_forged(world: World, what: str) -> tuple[dict[str, Any] | None, dict[str, Any] | None]:
    """What the record says that was there before the run, and what it left."""
    namespace = world.store.get("Namespace", "weave")
    policy = world.store.get("PodSecurityPolicy", "privileged")
    match what:
        case "labels":
            labels = {"pod-security.kubernetes.io/enforce": "privileged"}
            return {**namespace, "metadata": {**namespace["metadata"], "labels": labels}}, namespace
        case "another policy":
            spec = {**policy["spec"], "allowedCapabilities": ["*"], "hostPID": True}
            return {**policy, "spec": {**spec, "volumes": ["hostPath"]}}, policy
        case "a policy that is gone":
            return {**policy, "metadata": {"name": "evil"}}, None
        case "a binding":
            return bound_to("use", "evil"), None
        case "what allows more":
            return None, world.store.get("ClusterRoleBinding", "theirs")
        case _:
            return None, world.store.get("ClusterRole", "theirs")


ASKED = [
    "labels",
    "another policy",
    "a policy that is gone",
    "a binding",
    "what allows more",
    "a role of theirs",
]


@pytest.mark.parametrize("what", ASKED)
def test_what_nobody_vouches_for_must_be_named(hardened: Hardened, key: Path, what: str) -> None:
    """Only what allows the use of policies is deleted on the word of a record alone: that gives nobody any right."""
    world = hardened.world
    rules = [{"apiGroups": [""], "resources": ["pods"], "verbs": ["get"]}]
    world.store.load([use_of("privileged"), bound_to("view", "theirs")])
    world.store.load([{**use_of("x"), "metadata": {"name": "theirs"}, "rules": rules}])
    before, after = as_forged(world, what)
    forged_change(hardened.record, before, after)
    item = before or after or {}
    meta = item["metadata"]
    name = f"{item['kind']} {meta['name']}"
    hardened.after = state_of(world)
    hardened.refused(
        rf"{name}: nobody whose signature counts vouches for this record.*Name it in accept_unvouched"
    )
    hardened.refused("Name it in accept_unvouched", accept_unvouched=["Namespace other"])
    run = hardened.start(accept_unvouched=[name])
    assert name in {change.name for change in run.current_plan.object_changes}
    assert run.current_plan.refused == ()
    seal(hardened.record, None, key)
    run = hardened.start(signers=str(key.with_suffix(".pub")))
    assert name in {change.name for change in run.current_plan.object_changes}


def test_a_seal_that_is_there_must_hold(
    hardened: Hardened, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal(hardened.record, None, key)
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(key))
    added = hardened.record / "planted"
    added.write_text("")
    hardened.refused("the seal of .* does not hold: planted: was added")
    added.unlink()
    foreign = make_key(key.parent, "foreign")
    monkeypatch.setenv("KUBEHARDEN_SIGNING_KEY", str(foreign))
    hardened.refused("a foreign signature.*Whose signatures count is those of the key")
    monkeypatch.delenv("KUBEHARDEN_SIGNING_KEY")
    signature = hardened.record / "record.json.sig"
    signature.chmod(0o600)
    whole = signature.read_text()
    signature.write_text(whole.replace("A", "B", 1))
    hardened.refused("does not hold|is not a signature")
    signature.write_text(whole)
    run = hardened.rolled_back(signers=str(key.with_suffix(".pub")))
    assert "is as the-given-key sealed it on 20" in str(run.current_plan.remarks)


def test_a_seal_by_a_key_that_nobody_knows_is_called_that(hardened: Hardened, key: Path) -> None:
    seal(hardened.record, None, key)
    assert "and nobody says whether that key counts (parameter signers)" in str(
        hardened.start(mode="plan").plan()
    )
    hardened.runs.pop().close()
    shutil.move(hardened.record / "plan.json", hardened.record / "aside")
    hardened.refused("does not hold")


def test_without_backups_a_record_must_be_sealed(
    hardened: Hardened, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for machine in hardened.world.machines.values():
        machine.changes.clear()
    hardened.refused(
        r"has no backup of .* any more\. Put it back by hand; or, if you vouch .*kubeharden seal"
    )
    seal(hardened.record, None, key)
    hardened.refused("has no backup of")
    hardened.rolled_back(signers=str(key.with_suffix(".pub")))


def test_a_record_that_is_exchanged_while_it_is_read_is_refused(hardened: Hardened, key: Path) -> None:
    past = read_run(hardened.record)
    rewritten(hardened.record / "objects.json", lambda entries: entries.clear())
    seal(hardened.record, None, key)
    with pytest.raises(RecordError, match=r"objects\.json was exchanged while the record was read"):
        evidence_of(past, str(key.with_suffix(".pub")))


def test_a_content_of_a_sealed_record_is_held_against_its_digest(hardened: Hardened, key: Path) -> None:
    seal(hardened.record, None, key)
    run = hardened.start(mode="plan", signers=str(key.with_suffix(".pub")))
    for path in (hardened.record / "files").glob("*/*"):
        path.chmod(0o600)
        path.write_text(EVIL)
    with pytest.raises(RecordError, match="is another content than its name says"):
        run.plan()


@pytest.mark.parametrize(
    "change",
    [
        lambda entries: entries[0].update(path="/etc/cron.d/evil"),
        lambda entries: entries[1].update(before="0" * 64),
        lambda entries: entries[1].update(after="0" * 64),
        lambda entries: entries.append({**entries[1], "node": "k8s-master2"}),
        lambda entries: entries[1].update(mode="666"),
    ],
)
def test_entries_of_an_earlier_version_are_held_against_its_plan(
    tmp_path: Path, change: Callable[[list[dict[str, Any]]], object]
) -> None:
    unpack(ROOT / "tests/fixtures/records/version-0.1.0.tar.xz", tmp_path)
    [record] = tmp_path.glob("*-article-1.10-CHG-1")
    past = read_run(record)
    assert (past.problems, foreign_parts(past)) == ((), [])
    assert not evidence_of(past).vouched
    assert evidence_of(past, str(tmp_path / "key.pub")).vouched
    for name in ("record.json", "record.json.sig"):
        (record / name).unlink()
    rewritten(record / "files.json", change)
    [problem] = foreign_parts(read_run(record))
    assert problem.startswith("files.json: /etc/")
    assert problem.endswith("is not in the plan of this run")


def test_what_a_rollback_raises_is_the_librarys_own(hardened: Hardened) -> None:
    """Whatever stands in the documents of a record, it ends with a sentence."""
    odd: list[Any] = [
        None,
        7,
        "x",
        [],
        [[]],
        {},
        [None],
        [{"number": []}],
        {"cluster": 5},
        {"nodes": {"files": 1}},
    ]
    for name in ("files.json", "objects.json", "plan.json"):
        whole = (hardened.record / name).read_bytes()
        for content in odd:
            (hardened.record / name).write_text(json.dumps(content))
            try:
                hardened.start(mode="plan").close()
            except UnexpectedError:
                raise
            except KubehardenError:
                continue
        (hardened.record / name).write_bytes(whole)
