"""The policies for everybody else: as strong as the level of the Pod Security Standards that they are named after."""

from __future__ import annotations

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

import sampling
from generated_pods import near_pods, pods
from kubeharden.errors import ParameterError
from kubeharden.podsecurity import evaluate_psp, evaluate_pss, prepare_psps
from kubeharden.podsecurity.default_policy import NONE, STRENGTHS, default_policies, default_policy_objects
from kubeharden.podsecurity.psp.policy import VOLUME_TYPES
from kubeharden.releases import Release
from standards_cases import documents

FIXED = settings(deadline=None, derandomize=True, print_blob=True, max_examples=sampling.examples(300))
# The last release with PodSecurityPolicies, and the last policy version in which seccomp was annotations: the policies
# look at both fields and annotations.
LAST, ANNOTATIONS = "v1.24", "v1.18"
PREPARED = {name: prepare_psps([psp], LAST) for name, psp in default_policies(LAST).items()}
# What default-policies.yaml says that a PodSecurityPolicy cannot say.
BEYOND = {
    "baseline": {"appArmorProfile", "seLinuxOptions", "seccompProfile_baseline", "windowsHostProcess"},
    "restricted": {"appArmorProfile", "windowsHostProcess"},
}


NEAR_OR_ANY = {level: st.one_of(near_pods(documents()["base"][level]), pods()) for level in STRENGTHS}


def own_profiles_of_the_node(pod: dict) -> bool:
    holders = [pod, *(c for kind, c in pod["spec"].items() if kind.lower().endswith("containers"))]
    return "Localhost" in str(holders) or "localhost/" in str(holders)


@pytest.mark.parametrize("strength", STRENGTHS)
@FIXED
@given(data=st.data())
def test_what_the_level_admits_the_policy_admits(strength: str, data: st.DataObject) -> None:
    """All but profiles of the node. (Images as volumes are unknown to every release with such policies.)"""
    pod = data.draw(NEAR_OR_ANY[strength])
    if any(evaluate_pss(pod, strength, version) for version in (LAST, ANNOTATIONS)):
        event("the level refuses it")
        return
    decision = evaluate_psp(pod, PREPARED[strength])
    if own_profiles_of_the_node(pod):
        event("a profile of the node")
        assert decision.admitted or "localhost/" in str(decision.refusals)
    else:
        event("both admit it")
        assert decision.admitted, decision.refusals


@pytest.mark.parametrize("strength", STRENGTHS)
@FIXED
@given(data=st.data())
def test_what_the_policy_admits_is_as_the_level_wants_it(strength: str, data: st.DataObject) -> None:
    """The pod that is judged is the one that the policy has filled in."""
    decision = evaluate_psp(data.draw(NEAR_OR_ANY[strength]), PREPARED[strength])
    event(f"admitted: {decision.admitted}")
    left = evaluate_pss(stored(decision.pod), strength, LAST) if decision.admitted else []
    assert {v.check for v in left if not beyond(v.check, v.found, decision.pod)} <= BEYOND[strength]


def stored(pod: dict) -> dict:
    """The server writes the annotation of a seccomp profile into the field (registry/core/pod, from 1.19 on)."""
    security = pod["spec"].get("securityContext") or {}
    noted = (pod["metadata"].get("annotations") or {}).get("seccomp.security.alpha.kubernetes.io/pod")
    if noted in ("docker/default", "runtime/default") and security.get("seccompProfile") is None:
        security = {**security, "seccompProfile": {"type": "RuntimeDefault"}}
    return {**pod, "spec": {**pod["spec"], "securityContext": security}}


def beyond(check: str, found: str, pod: dict) -> bool:
    """A profile without a type, which the server refuses whatever the policies say; a user by number."""
    users = "runAsUser" in str(pod["spec"])
    return (check.startswith("seccompProfile") and found == '""') or (check == "runAsNonRoot" and users)


def test_a_plain_pod_is_filled_in_by_restricted_and_left_alone_by_baseline() -> None:
    pod = documents()["base"]["baseline"]
    assert evaluate_psp(pod, PREPARED["baseline"]).pod == pod
    made = stored(evaluate_psp(pod, PREPARED["restricted"]).pod)
    assert evaluate_pss(made, "restricted", LAST) == []
    assert evaluate_pss(pod, "restricted", LAST) != []


@pytest.mark.parametrize("strength", STRENGTHS)
@pytest.mark.parametrize(
    "changes",
    [
        {"hostNetwork": True},
        {"hostPID": True},
        {"volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}]},
        {"containers": [{"name": "web", "securityContext": {"privileged": True}}]},
        {"containers": [{"name": "web", "securityContext": {"capabilities": {"add": ["SYS_ADMIN"]}}}]},
        {"containers": [{"name": "web", "ports": [{"containerPort": 80, "hostPort": 80}]}]},
    ],
    ids=str,
)
def test_ways_out_of_a_container_are_closed_by_both(strength: str, changes: dict) -> None:
    pod = documents()["base"]["restricted"]
    assert not evaluate_psp({**pod, "spec": pod["spec"] | changes}, PREPARED[strength]).admitted


def test_every_release_knows_every_type_of_volume_in_its_policies() -> None:
    volumes = {
        release: default_policies(release)["baseline"]["spec"]["volumes"]
        for release in ("1.10", "1.16", "1.20")
    }
    assert set(volumes["1.20"]) == {*VOLUME_TYPES.values()} - {"hostPath"}
    assert set(volumes["1.20"]) - set(volumes["1.16"]) == {"ephemeral"}
    assert set(volumes["1.16"]) - set(volumes["1.10"]) == {"csi"}
    assert default_policies() == default_policies(Release(1, 10))
    assert "csi" not in default_policies("1.10")["restricted"]["spec"]["volumes"]


@pytest.mark.parametrize("strength", STRENGTHS)
def test_everybody_may_use_the_policy(strength: str) -> None:
    policy, role, binding = default_policy_objects(strength, "1.20")
    assert policy == default_policies("1.20")[strength]
    assert role["rules"] == [
        {
            "apiGroups": ["policy"],
            "resources": ["podsecuritypolicies"],
            "resourceNames": [f"unprivileged-{strength}"],
            "verbs": ["use"],
        }
    ]
    assert (role["kind"], binding["kind"], binding["roleRef"]["name"]) == (
        "ClusterRole",
        "ClusterRoleBinding",
        role["metadata"]["name"],
    )
    assert [subject["name"] for subject in binding["subjects"]] == ["system:authenticated"]


def test_no_policy_and_no_such_policy() -> None:
    assert default_policy_objects(NONE) == []
    with pytest.raises(ParameterError, match="restricted, baseline, none"):
        default_policy_objects("privileged")


@pytest.mark.parametrize("strength", STRENGTHS)
def test_no_profile_in_a_list_is_an_empty_name(strength: str) -> None:
    """The API server refuses such a policy (ValidatePodSecurityPolicySpecificAnnotations of pkg/apis/policy)."""
    for text in default_policies(LAST)[strength]["metadata"]["annotations"].values():
        assert all(text.split(","))
