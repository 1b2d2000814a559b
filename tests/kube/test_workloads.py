"""Who makes pods, and as whom: for every folder of ``fixtures/impact``, the very table."""

from __future__ import annotations

from pathlib import Path

import pytest

from impact_cases import FOLDERS, objects_in, who_makes_pods
from kubeharden.kube.rbac import Authorization, Identity
from kubeharden.kube.workloads import workloads

POLICY = {"kind": "PodSecurityPolicy", "metadata": {"name": "ordinary"}, "spec": {}}


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda f: f.name)
def test_the_table_is_the_expected_one(folder: Path) -> None:
    assert who_makes_pods(folder) == (folder / "workloads.txt").read_text()


def test_a_superuser_may_use_every_policy_without_any_role() -> None:
    master = Identity("admin", frozenset({"system:masters", "system:authenticated"}))
    authorization = Authorization({"podsecuritypolicies": [POLICY]})
    assert authorization.usable(master, "shop") == {"ordinary"}
    assert authorization.usable(Identity.of_user("admin"), "shop") == frozenset()


def test_a_policy_that_does_not_exist_cannot_be_used() -> None:
    objects = objects_in(FOLDERS[0].parent / "rbac-forms" / "objects.yaml")
    objects["podsecuritypolicies"] = []
    account = Identity.of_service_account("wildcards", "default")
    assert Authorization(objects).usable(account, "wildcards") == frozenset()


def test_the_roles_that_let_one_policy_be_used_and_none_besides() -> None:
    objects = objects_in(FOLDERS[0].parent / "rbac-forms" / "objects.yaml")
    authorization = Authorization(objects)
    assert authorization.roles_for("ordinary", "shop") == [
        "ClusterRole use-ordinary",
        "ClusterRole use-ordinary-by-extensions",
    ]
    assert "Role use-ordinary" in authorization.roles_for("ordinary", "role")
    assert authorization.roles_for("anything", "role") == []


def test_what_a_workload_is_called() -> None:
    names = [str(w) for w in workloads(objects_in(FOLDERS[0].parent / "static-pods" / "objects.yaml"))]
    assert names[0] == "kube-system/etcd-n1 (Pod, node n1)"
