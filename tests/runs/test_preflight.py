"""What is refused before anything is looked at, with what to do about it."""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeharden.edges.cluster import Cluster
from kubeharden.edges.nodes import Nodes
from kubeharden.errors import ClusterError
from kubeharden.inputs.inventory import read_inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan.events import Check
from kubeharden.runs.kinds.harden import Harden
from kubeharden.runs.preflight import preflight
from kubeharden_rehearsal import Rehearsal


def check(rehearsal: Rehearsal, *, may: object = None, **parameters: object) -> list[Check]:
    inventory = read_inventory(rehearsal.inventory)
    cluster = Cluster(inventory.kubeconfig)
    if may is not None:
        cluster.may = may  # type: ignore[method-assign]
    try:
        with Nodes(inventory) as nodes:
            return preflight(Harden(Parameters(**parameters)), inventory, nodes, cluster)
    finally:
        cluster.close()


def test_what_was_checked_is_listed(article: Rehearsal) -> None:
    found = check(article)
    text = " ".join(f"{c.what} {c.found}" for c in found)
    for word in (
        "SSH",
        "sudo",
        "API server v1.10.0",
        "kubernetes-admin",
        "policies",
        "effective configuration",
    ):
        assert word in text
    assert all(c.good for c in found)


def viewer(verb: str, *_: object, **__: object) -> bool:
    return verb in ("get", "list")


def test_a_user_who_may_not_write_policies_is_refused_unless_nothing_is_written(article: Rehearsal) -> None:
    with pytest.raises(ClusterError, match=r"kubernetes-admin may not .*create podsecuritypolicies; update"):
        check(article, may=viewer)
    assert check(article, may=viewer, mode="plan")
    with pytest.raises(
        ClusterError, match=r"may not .*create configmaps in kube-system"
    ):  # 1.10 has no Lease
        check(article, may=viewer, steps=("kubelet",))
    assert check(
        article, may=lambda verb, kind, *_, **__: viewer(verb) or kind == "ConfigMap", steps=("kubelet",)
    )


def test_from_1_23_on_namespaces_must_be_updated_and_what_policies_leave_deleted(tmp_path: Path) -> None:
    with Rehearsal.start("psp-1.23", tmp_path / "rehearsal") as rehearsal:
        with pytest.raises(
            ClusterError, match=r"may not .*update namespaces; delete podsecuritypolicies; delete"
        ):
            check(rehearsal, may=viewer)
        with pytest.raises(ClusterError, match=r"create podsecuritypolicies; update podsecuritypolicies"):
            check(rehearsal, may=viewer, pod_security="psp")
        assert "write namespaces and the lock" in " ".join(c.found for c in check(rehearsal))


def test_a_token_that_the_server_does_not_know_is_refused(article: Rehearsal) -> None:
    path = article.directory / "admin.kubeconfig"
    text = path.read_text()
    token = text.split("token: ")[1].split()[0]
    path.write_text(text.replace(token, "expired-and-gone"))
    with pytest.raises(ClusterError, match=r"does not know kubernetes-admin.*expired"):
        check(article)
