"""The policies file and the objects that it stands for: exactly the article's."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubeharden.errors import ParameterError
from kubeharden.kube.manifests import merge, without_zero_values
from kubeharden.kube.rbac import Authorization, Identity
from kubeharden.podsecurity.policies import policy_objects, read_policies

ROOT = Path(__file__).parents[2]
ARTICLE = ROOT / "tests" / "fixtures" / "article"


SPEC = (
    "{"
    + ", ".join(
        f"{key}: {{rule: RunAsAny}}" for key in ("seLinux", "runAsUser", "supplementalGroups", "fsGroup")
    )
    + "}"
)


def objects() -> list[dict]:
    return policy_objects(read_policies(ROOT / "parameters" / "pod-security.yaml"))


@pytest.mark.parametrize("name", ["privileged", "coredns"])
def test_the_policies_are_exactly_those_of_the_article(name: str) -> None:
    [made] = [o for o in objects() if o["kind"] == "PodSecurityPolicy" and o["metadata"]["name"] == name]
    assert made == yaml.safe_load((ARTICLE / f"psp-{name}.yaml").read_text())


def usable_by(
    objects: Mapping[str, Iterable[Mapping[str, Any]]], namespace: str, account: str
) -> frozenset[str]:
    """Return the policies that a service account may use."""
    return Authorization(objects).usable(Identity.of_service_account(namespace, account), namespace)


def test_the_roles_and_bindings_are_those_of_the_article() -> None:
    made = objects()
    assert [(o["metadata"]["namespace"], o["metadata"]["name"]) for o in made if o["kind"] == "Role"] == [
        ("kube-system", "psp:privileged"),
        ("weave", "psp:privileged"),
        ("kube-system", "psp:coredns"),
    ]
    bindings = {
        o["metadata"]["name"]: (o["roleRef"]["name"], o["subjects"][0]["namespace"], o["subjects"][0]["name"])
        for o in made
        if o["kind"] == "RoleBinding"
    }
    assert bindings == {
        "weave-net:psp:privileged": ("psp:privileged", "kube-system", "weave-net"),
        "weave-scope:psp:privileged": ("psp:privileged", "weave", "weave-scope"),
        "weave-default:psp:privileged": ("psp:privileged", "weave", "default"),
        "coredns:psp:coredns": ("psp:coredns", "kube-system", "coredns"),
    }
    for role in (o for o in made if o["kind"] == "Role"):
        assert role["rules"][0]["verbs"] == ["use"]
        assert role["rules"][0]["resourceNames"] == [role["metadata"]["name"].removeprefix("psp:")]


def test_policies_come_before_roles_and_roles_before_bindings() -> None:
    kinds = [o["kind"] for o in objects()]
    assert kinds == sorted(kinds, key=["PodSecurityPolicy", "Role", "RoleBinding"].index)


def test_mistakes_in_the_file_are_named(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("policies:\n- {name: x, spec: {}, usedby: []}\n")
    with pytest.raises(ParameterError, match=r"policies.0.used_by"):
        read_policies(path)


def test_a_spec_that_the_server_would_not_take_as_meant_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text("policies:\n- {name: x, spec: {priviledged: true, seLinux: {rule: Any}}, used_by: []}\n")
    with pytest.raises(ParameterError) as refused:
        read_policies(path)
    assert "policies.0.spec: " in str(refused.value)
    for words in ("seLinux.rule: ", "runAsUser: is missing", "priviledged: there is no such key"):
        assert words in str(refused.value)


def test_annotations_of_a_policy_are_made_and_those_of_others_stay(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"policies:\n- {{name: x, annotations: {{a: '1'}}, spec: {SPEC}, used_by: []}}\n")
    [wanted] = policy_objects(read_policies(path))
    assert wanted["metadata"] == {"name": "x", "annotations": {"a": "1"}}
    lacks = {**wanted, "metadata": {"name": "x", "uid": "u", "annotations": {"b": "2"}}}
    assert without_zero_values(merge(lacks, wanted)) != without_zero_values(lacks)
    has = merge(lacks, wanted)
    assert has["metadata"] == {"name": "x", "uid": "u", "annotations": {"a": "1", "b": "2"}}
    assert without_zero_values(merge(has, wanted)) == without_zero_values(has)


def test_empty_lists_and_what_is_not_there_are_the_same_to_a_server() -> None:
    spec = {
        "volumes": [],
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "runtimeClass": {"allowedRuntimeClassNames": None},
        "allowedHostPaths": [{"pathPrefix": "/", "readOnly": False}],
    }
    assert without_zero_values({"kind": "PodSecurityPolicy", "spec": spec})["spec"] == {
        "allowPrivilegeEscalation": False,
        "runtimeClass": {},
        "allowedHostPaths": [{"pathPrefix": "/"}],
    }


def world(*more: dict) -> dict:
    made = [*objects(), *more]
    plural = {
        "PodSecurityPolicy": "podsecuritypolicies",
        "Role": "roles",
        "RoleBinding": "rolebindings",
        "ClusterRole": "clusterroles",
        "ClusterRoleBinding": "clusterrolebindings",
    }
    result: dict[str, list] = {}
    for item in made:
        result.setdefault(plural[item["kind"]], []).append(item)
    return result


def cluster_binding(kind: str, name: str, rule: dict) -> tuple[dict, dict]:
    role = {"kind": "ClusterRole", "metadata": {"name": "r"}, "rules": [rule]}
    subject = {"kind": kind, "name": name}
    ref = {"kind": "ClusterRole", "name": "r"}
    return role, {
        "kind": "ClusterRoleBinding",
        "metadata": {"name": "b"},
        "roleRef": ref,
        "subjects": [subject],
    }


def test_a_role_binding_counts_in_its_namespace_only() -> None:
    assert usable_by(world(), "kube-system", "weave-net") == {"privileged"}
    assert usable_by(world(), "kube-system", "coredns") == {"coredns"}
    assert usable_by(world(), "default", "weave-net") == frozenset()


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("Group", "system:authenticated"),
        ("Group", "system:serviceaccounts"),
        ("Group", "system:serviceaccounts:shop"),
        ("User", "system:serviceaccount:shop:web"),
    ],
)
@pytest.mark.parametrize("group", ["policy", "extensions", "*"])
def test_groups_users_and_api_groups(kind: str, name: str, group: str) -> None:
    rule = {
        "apiGroups": [group],
        "resources": ["podsecuritypolicies"],
        "verbs": ["use"],
        "resourceNames": ["coredns"],
    }
    assert usable_by(world(*cluster_binding(kind, name, rule)), "shop", "web") == {"coredns"}


@pytest.mark.parametrize(
    "rule",
    [
        {"apiGroups": ["apps"], "resources": ["podsecuritypolicies"], "verbs": ["use"]},
        {"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "verbs": ["get"]},
        {"apiGroups": ["policy"], "resources": ["pods"], "verbs": ["use"]},
        {
            "apiGroups": ["policy"],
            "resources": ["podsecuritypolicies"],
            "verbs": ["use"],
            "resourceNames": ["other"],
        },
    ],
)
def test_rules_that_do_not_allow_it(rule: dict) -> None:
    more = cluster_binding("Group", "system:authenticated", rule)
    assert usable_by(world(*more), "shop", "web") == frozenset()


def test_a_rule_for_everything_allows_every_policy() -> None:
    rule = {"apiGroups": ["*"], "resources": ["*"], "verbs": ["*"]}
    more = cluster_binding("User", "system:serviceaccount:shop:web", rule)
    assert usable_by(world(*more), "shop", "web") == {"privileged", "coredns"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("- {name: a, level: strict, reason: x}", r"namespaces.0.level: Input should be 'privileged'"),
        ("- {name: a, level: baseline}", r"namespaces.0.reason: is missing"),
        ("- {name: a, level: baseline, reason: x}\n" * 2, r"namespaces names a more than once"),
    ],
)
def test_mistakes_in_the_levels_that_are_asked_for_are_named(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(f"policies:\n- {{name: x, spec: {SPEC}, used_by: []}}\nnamespaces:\n{text}\n")
    with pytest.raises(ParameterError, match=words):
        read_policies(path)


def test_a_seccomp_profile_that_a_server_would_refuse_is_refused_in_the_file(tmp_path: Path) -> None:
    path = tmp_path / "policies.yaml"
    key = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"
    for names in ("'*'", "'runtime/default,localhost/x.json'"):
        path.write_text(
            f"policies:\n- {{name: x, annotations: {{{key}: {names}}}, spec: {SPEC}, used_by: []}}\n"
        )
        read_policies(path)
    path.write_text(
        f"policies:\n- {{name: x, annotations: {{{key}: 'runtime/default,'}}, spec: {SPEC}, used_by: []}}\n"
    )
    with pytest.raises(ParameterError, match="names the profile ''; expected "):
        read_policies(path)
