"""An approved plan is carried out, any other is refused, and nobody approves for themselves."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import yaml

from fakes import World
from kubeharden import runbook
from kubeharden.errors import ApprovalError, ParameterError
from kubeharden.plan import ObjectChange, Plan
from kubeharden.plan.events import Approved, Started
from kubeharden.records.approval import Approval, check_approved, find_approval
from kubeharden.records.folder import read_run
from kubeharden.records.keys import fingerprint, keys_at_hand, public_part
from kubeharden.records.summary import build_record
from kubeharden_rehearsal import Rehearsal, available
from record_support import approve, in_agent, make_key
from rehearsals import Rehearsals

Starts = Callable[..., runbook.Run]

pytestmark = pytest.mark.usefixtures("home")


@pytest.fixture
def starts(tmp_path: Path) -> Starts:
    """Start a run: over SSH, or on a cluster in this process."""

    def start(world: World | None = None, **parameters: str) -> runbook.Run:
        given = {"In": [""], "output_dir": str(tmp_path / "records"), **parameters}
        return runbook.start(given, connect=world.ports) if world else runbook.start(given)

    return start


@pytest.fixture
def world() -> World:
    return World("article-1.10")


@pytest.fixture
def starts_here(starts: Starts, world: World) -> Starts:
    """Start a run on a cluster in this process."""
    return partial(starts, world)


@pytest.fixture
def key(tmp_path: Path) -> Path:
    """The approver's key."""
    return make_key(tmp_path, "approver")


def planned(run: runbook.Run) -> tuple[str, Path]:
    """Look, plan and finish; the plan's digest and its file."""
    run.look()
    shown = str(run.plan())
    run.finish()
    path = run.record.folder / "plan.json"
    digest = json.loads(path.read_text())["digest"]
    assert f"Digest of this plan: {digest}" in shown
    return digest, path


def inventory_with(world: World, folder: Path, **changes: object) -> str:
    return str(world.inventory(folder / "inventory", **changes))


def allowed(tmp_path: Path, key: Path) -> str:
    path = tmp_path / "approvers"
    path.write_text(f'chief@example.org namespaces="kubeharden-approval" {public_part(key)}\n')
    return str(path)


@pytest.mark.sample(1)
@pytest.mark.parametrize("scenario", available())
def test_what_was_planned_is_carried_out_with_its_digest(
    scenario: str, starts: Starts, rehearsals: Rehearsals
) -> None:
    inventory = str(rehearsals.fresh(scenario).inventory)
    # One rehearsal cluster has a workload that no policy is for; what it is, is not this test's business.
    accepted = {"accept_breaking": "[shop/web]"}
    digest, _ = planned(starts(inventory=inventory, mode="plan", **accepted))
    run = starts(inventory=inventory, approved_plan=digest, **accepted)
    run.look()
    assert "This is the plan that somebody approved." in str(run.plan())
    run.apply("kube-scheduler")
    run.finish()
    [event] = read_run(run.record.folder).of(Approved)
    assert (event.plan, event.how) == (digest, "approved_plan")
    assert build_record(read_run(run.record.folder))["approval"]["plan"] == digest


def test_a_plan_that_changed_since_is_refused_and_the_difference_is_shown(
    starts: Starts, article: Rehearsal
) -> None:
    inventory, etc = str(article.inventory), article.directory / "nodes/k8s-node1/etc/kubernetes"
    digest, _ = planned(starts(inventory=inventory, mode="plan"))
    (etc / "kube-proxy.conf").write_text("# by somebody else\n")
    run = starts(inventory=inventory, approved_plan=digest)
    run.look()
    assert "This is NOT the plan that was approved" in str(run.plan())
    with pytest.raises(
        ApprovalError, match="not the one that was approved, and nothing was changed"
    ) as error:
        run.apply("kubelet")
    changed = [line for line in str(error.value).splitlines() if line.startswith(("-", "+"))]
    assert {line[:1] for line in changed} == {"-", "+"}
    # The file that was to be written is taken now, so that another one is planned.
    path = "nodes > kube-proxy: kube-proxy on k8s-node1 > files > /etc/kubernetes/kube-proxy.conf"
    assert f"- {path}" in changed, str(error.value)
    assert not (etc / "kubelet.conf").exists()
    assert not {Started, Approved} & {type(event) for event in read_run(run.record.folder).events}
    run.close()


def test_who_approved_by_digest_is_kept_as_the_run_was_told(
    starts_here: Starts, world: World, tmp_path: Path
) -> None:
    inventory, chief = inventory_with(world, tmp_path), "chief, 2026-11-29T14:20:01Z, in Airflow"
    digest, _ = planned(starts_here(inventory=inventory, mode="plan"))
    run = starts_here(inventory=inventory, approved_plan=digest, approved_by=chief)
    run.look()
    assert f"This is the plan that {chief} approved." in str(run.plan())
    run.apply("kube-scheduler")
    run.finish()
    record = build_record(read_run(run.record.folder))
    assert (record["approval"]["approver"], record["approval"]["how"]) == (chief, "approved_plan")
    assert record["change"]["approver"] == chief


def test_who_approved_is_nothing_without_what(starts_here: Starts, world: World, tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match="approved_plan names no plan"):
        starts_here(inventory=inventory_with(world, tmp_path), approved_by="chief")


def test_other_parameters_are_another_plan(starts_here: Starts, world: World, tmp_path: Path) -> None:
    inventory = inventory_with(world, tmp_path)
    digest, _ = planned(starts_here(inventory=inventory, mode="plan"))
    run = starts_here(inventory=inventory, approved_plan=digest, profile="none")
    run.look()
    run.plan()
    with pytest.raises(
        ApprovalError, match=r"What differs .*:\n- nodes > kubelet: kubelet on [-\w]+ > files > /etc/"
    ):
        run.apply("kubelet")
    run.close()


PACE = {
    "batch_size": "50%",
    "max_failures": 1,
    "confirm_timeout": 121,
    "drain": True,
    "drain_timeout": 299,
}


def test_how_it_is_carried_out_is_part_of_what_is_approved(
    starts_here: Starts, world: World, tmp_path: Path
) -> None:
    """A plan that was approved at one node at a time is not carried out on all at once, or elsewhere."""
    inventory = inventory_with(world, tmp_path)
    run = starts_here(inventory=inventory, mode="plan")
    digests = {"": planned(run)[0]}
    shown = json.loads((run.record.folder / "plan.json").read_text())["rollout"]
    assert shown["batch_size"] == "1"
    assert [(node["name"], node["control_plane"]) for node in shown["nodes"]] == [
        ("k8s-master", True),
        ("k8s-node1", False),
    ]

    def digest(given: str, **parameters: object) -> str:
        run = starts_here(inventory=given, mode="plan", **parameters)
        run.look()
        run.plan()
        digest = run.current_plan.digest
        run.close()
        return digest

    assert digest(inventory) == digests[""]
    for name, value in PACE.items():
        digests[name] = digest(inventory, **{name: value})
    nodes = yaml.safe_load(Path(inventory).read_text())["nodes"]
    changed = {
        "settle_seconds": {"settle_seconds": 2},
        "order": {"nodes": nodes[::-1]},
        "host": {"nodes": [nodes[0], {**nodes[1], "host": "localhost"}]},
        "control plane": {"nodes": [{**node, "control_plane": True} for node in nodes]},
    }
    for name, changes in changed.items():
        digests[name] = digest(inventory_with(world, tmp_path, **changes))
    assert len(set(digests.values())) == len(digests), digests

    run = starts_here(inventory=inventory_with(world, tmp_path), approved_plan=digests[""], batch_size="2")
    run.look()
    run.plan()
    with pytest.raises(ApprovalError, match=r"- rollout > batch_size: 1\n\+ rollout > batch_size: 2"):
        run.apply("kubelet")
    run.close()


def uid(world: World) -> str:
    """What tells its cluster from all others: the UID of kube-system."""
    return str(world.store.get("Namespace", "kube-system")["metadata"]["uid"])


def test_an_approval_for_one_cluster_is_refused_on_another_that_is_the_same_to_the_letter(
    starts: Starts, world: World, tmp_path: Path
) -> None:
    """The same nodes, files and objects: the second is a copy of the first, but for what makes it another cluster."""
    digests: dict[str, str] = {}
    first = uid(world)
    inventory = inventory_with(world, tmp_path, cluster="a")
    digests["a"], _ = planned(starts(world, inventory=inventory, mode="plan"))
    digests["again"], _ = planned(starts(world, inventory=inventory, mode="plan"))
    digests["renamed"], _ = planned(
        starts(world, inventory=inventory_with(world, tmp_path, cluster="b"), mode="plan")
    )
    assert digests["a"] == digests["again"] != digests["renamed"]
    other = World("article-1.10")
    second = uid(other)
    assert first != second
    run = starts(other, inventory=inventory_with(other, tmp_path, cluster="b"), approved_plan=digests["a"])
    run.look()
    assert "This is NOT the plan that was approved" in str(run.plan())
    sentence = (
        rf"is for the cluster a \(kube-system has the UID {first}\), and this is the cluster b "
        rf"\(kube-system has the UID {second}\): an approval counts on its own cluster"
    )
    with pytest.raises(ApprovalError, match=sentence):
        run.apply("kubelet")
    assert not {Started, Approved} & {type(event) for event in read_run(run.record.folder).events}
    run.close()
    # The name alone is what an inventory says, and two may say the same.
    digests["namesake"], _ = planned(
        starts(other, inventory=inventory_with(other, tmp_path, cluster="a"), mode="plan")
    )
    assert digests["namesake"] != digests["a"]


def test_where_an_approval_is_required_nothing_goes_without(
    starts_here: Starts, world: World, tmp_path: Path
) -> None:
    inventory = inventory_with(world, tmp_path, require_approval=True)
    with pytest.raises(ApprovalError, match="requires an approval, and there is none: run with mode=plan"):
        starts_here(inventory=inventory)
    digest, _ = planned(starts_here(inventory=inventory, mode="plan"))
    run = starts_here(inventory=inventory, approved_plan=digest)
    run.look()
    run.plan()
    run.apply("kube-scheduler")
    run.close()


def test_a_signature_by_an_approver_counts(
    starts_here: Starts, world: World, tmp_path: Path, key: Path
) -> None:
    inventory = inventory_with(world, tmp_path, require_approval=True, approvers=allowed(tmp_path, key))
    digest, plan = planned(starts_here(inventory=inventory, mode="plan"))
    with pytest.raises(ApprovalError, match="a signature by one of its approvers"):
        starts_here(inventory=inventory, approved_plan=digest)
    with pytest.raises(ApprovalError, match="give the one that belongs to the signature"):
        starts_here(inventory=inventory, approved_plan="0" * 64, approval=str(approve(plan, key)))
    run = starts_here(inventory=inventory, approval=str(plan.with_name("plan.json.sig")))
    run.look()
    assert "This is the plan that chief@example.org approved." in str(run.plan())
    run.apply("kube-scheduler")
    run.finish()
    record = build_record(read_run(run.record.folder))
    assert record["change"]["approver"] == "chief@example.org"
    assert record["approval"]["key"] == fingerprint(public_part(key)).split()[1]
    assert record["approval"]["how"] == "signature"


def test_signatures_that_do_not_count(starts_here: Starts, world: World, tmp_path: Path, key: Path) -> None:
    inventory = inventory_with(world, tmp_path, require_approval=True, approvers=allowed(tmp_path, key))
    _, plan = planned(starts_here(inventory=inventory, mode="plan"))
    signature = approve(plan, key)

    def refused(match: str, **parameters: str) -> None:
        with pytest.raises(ApprovalError, match=match):
            starts_here(**{"inventory": inventory, "approval": str(signature), **parameters})

    whole = plan.read_bytes()
    plan.write_bytes(whole.replace(b'"mode": "644"', b'"mode": "666"'))
    refused("was altered after it was signed")
    # The approver reads what stands in the plan: its digest must belong to that.
    approve(plan, key)
    refused("is not the plan whose digest it names")
    plan.write_bytes(whole)
    other = make_key(tmp_path, "other")
    approve(plan, other)
    refused("a foreign signature")
    refused("is not a signature beside the plan", approval=str(tmp_path / "nowhere.sig"))
    refused("the inventory names no approvers", inventory=inventory_with(world, tmp_path))


def test_nobody_approves_for_themselves(
    starts: Starts, article: Rehearsal, tmp_path: Path, key: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = yaml.safe_load(article.inventory.read_text())
    login, edited = (
        article.inventory.parent / given["ssh"]["identity_file"],
        article.inventory.with_name("own.yaml"),
    )
    edited.write_text(
        yaml.safe_dump(given | {"require_approval": True, "approvers": allowed(tmp_path, login)})
    )
    inventory = str(edited)
    _, plan = planned(starts(inventory=inventory, mode="plan"))
    with pytest.raises(ApprovalError, match="a key of the person who runs this"):
        starts(inventory=inventory, approval=str(approve(plan, login)))

    own = fingerprint(public_part(key)).split()[1]
    assert own not in keys_at_hand(None)
    (tmp_path / "home/.ssh/id_ed25519.pub").write_text(public_part(key) + "\n")
    assert own in keys_at_hand(None)
    (tmp_path / "home/.ssh/id_ed25519.pub").unlink()
    with in_agent(key) as socket:
        monkeypatch.setenv("SSH_AUTH_SOCK", socket)
        assert own in keys_at_hand(None)


def test_what_is_no_digest_is_refused_with_the_parameters(starts: Starts) -> None:
    with pytest.raises(ParameterError, match="approved_plan: 'abc' is not the digest of a plan"):
        starts(approved_plan="abc")


def test_a_digest_stands_over_what_the_server_moves_and_falls_with_content() -> None:
    def plan(version: str, rules: list[str], before: list[str]) -> Plan:
        meta = {"name": "psp", "namespace": "weave", "resourceVersion": version, "generation": int(version)}
        role = {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "Role",
            "metadata": meta,
            "rules": rules,
        }
        change = ObjectChange("pod-security", role, before={**role, "rules": before, "status": version})
        return Plan(("pod-security",), object_changes=(change,))

    digest = plan("1", ["a"], ["b"]).digest
    assert plan("2", ["a"], ["b"]).digest == digest
    assert plan("1", ["c"], ["b"]).digest != digest
    assert plan("1", ["a"], ["c"]).digest != digest  # what somebody else made of it since is not written over


def test_without_the_approved_plan_both_digests_are_named(tmp_path: Path) -> None:
    with pytest.raises(ApprovalError, match=f"approved: {'0' * 64}") as error:
        check_approved(Plan(("kubelet",)), Approval("0" * 64, "approved_plan"), tmp_path)
    assert Plan(("kubelet",)).digest in str(error.value)
    assert "what differs cannot be shown" in str(error.value)


def test_the_name_of_an_approval_is_said_on_one_line(tmp_path: Path) -> None:
    with pytest.raises(ApprovalError) as caught:
        find_approval("", tmp_path / "a\u202eb\n✔ c", required=True, approvers=None, own_keys=frozenset)
    assert r"a\u202eb\n✔ c is not a signature" in str(caught.value)
