"""The order of policies, create against update, what is refused as malformed, and what differs between releases."""

from __future__ import annotations

import copy
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubeharden import ParameterError, UnknownReleaseError
from kubeharden.podsecurity import evaluate_psp, prepare_psps
from psp_examples import examples

EXAMPLES = list(examples())
ANY = {"rule": "RunAsAny"}
FILLS_IN = {"fsGroup": {"rule": "MustRunAs", "ranges": [{"min": 7, "max": 9}]}}
PRIVILEGED = {"privileged": True}
POD_PROFILE = "seccomp.security.alpha.kubernetes.io/pod"
ALLOWED_PROFILES = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"


def policy(name: str, annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    rules = dict.fromkeys(("runAsUser", "seLinux", "supplementalGroups", "fsGroup"), ANY)
    return {"metadata": {"name": name, "annotations": annotations}, "spec": {**rules, **spec}}


def pod(annotations: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    metadata = {"name": "web", **({"annotations": annotations} if annotations else {})}
    return {"metadata": metadata, "spec": {"containers": [{"name": "main", "image": "app"}], **spec}}


def privileged_pod(**metadata: Any) -> dict[str, Any]:
    result = pod()
    result["metadata"] |= metadata
    result["spec"]["containers"][0]["securityContext"] = {"privileged": True}
    return result


# Order


def test_the_first_by_name_that_changes_nothing_wins() -> None:
    decision = evaluate_psp(pod(), [policy("c"), policy("b"), policy("a", **FILLS_IN)])
    assert (decision.admitted, decision.policy, decision.pod) == (True, "b", pod())


def test_without_one_the_first_by_name_that_fills_in_wins() -> None:
    other = {"fsGroup": {"rule": "MustRunAs", "ranges": [{"min": 1, "max": 1}]}}
    decision = evaluate_psp(pod(), [policy("b", **other), policy("a", **FILLS_IN)])
    assert decision.policy == "a"
    assert decision.pod == pod(securityContext={"fsGroup": 7})


def test_a_policy_that_refuses_is_passed_over() -> None:
    decision = evaluate_psp(privileged_pod(), [policy("a"), policy("b", **PRIVILEGED)])
    assert decision.policy == "b"
    assert list(decision.refusals) == ["a"]


def test_every_policy_that_refuses_says_why() -> None:
    decision = evaluate_psp(privileged_pod(), [policy("b"), policy("a", **FILLS_IN)])
    assert (decision.admitted, decision.policy, decision.pod) == (False, None, privileged_pod())
    reason = "spec.containers[0].securityContext.privileged: Invalid value: true: Privileged containers are not allowed"
    assert decision.refusals == {"a": [reason], "b": [reason]}


def test_without_policies_nothing_is_admitted() -> None:
    assert evaluate_psp(pod(), []).admitted is False
    assert evaluate_psp(pod(), []).refusals == {}


def test_what_is_invalid_once_filled_in_is_not_admitted_by_the_next_policy() -> None:
    policies = [
        policy("a", **PRIVILEGED, allowPrivilegeEscalation=False),
        policy("b", **PRIVILEGED, **FILLS_IN),
    ]
    decision = evaluate_psp(privileged_pod(), policies)
    assert decision.admitted is False
    assert list(decision.refusals) == ["a"]


def test_an_identifier_that_no_pod_may_have_is_refused_after_it_was_filled_in() -> None:
    too_high = {"rule": "MustRunAs", "ranges": [{"min": 2**31, "max": 2**32}]}
    decision = evaluate_psp(pod(), [policy("a", supplementalGroups=too_high)])
    reason = (
        "invalid once the policy has filled it in: spec.securityContext.supplementalGroups[0]: "
        "Invalid value: 2147483648: must be between 0 and 2147483647, inclusive"
    )
    assert decision.refusals == {"a": [reason]}


# Updates


def test_an_update_is_never_filled_in() -> None:
    decision = evaluate_psp(pod(), [policy("a", **FILLS_IN)], operation="update")
    assert decision.admitted is False
    assert decision.refusals == {
        "a": ["the policy would have to change the pod, and an update may not be changed"]
    }


def test_an_update_tries_the_policy_of_the_annotation_first() -> None:
    policies = [policy("a"), policy("b"), policy("c")]
    running = pod({"kubernetes.io/psp": "b"})
    assert evaluate_psp(running, policies, operation="update").policy == "b"
    assert evaluate_psp(running, policies).policy == "a"
    assert evaluate_psp(pod({"kubernetes.io/psp": "gone"}), policies, operation="update").policy == "a"


def test_an_update_of_owners_alone_is_not_judged() -> None:
    old = privileged_pod(finalizers=["x"], ownerReferences=[])
    new = privileged_pod(ownerReferences=[{"uid": "1"}])
    decision = evaluate_psp(new, [policy("a")], operation="update", old=old)
    assert (decision.admitted, decision.policy, decision.refusals) == (True, None, {})
    relabelled = privileged_pod(labels={"a": "b"})
    assert evaluate_psp(relabelled, [policy("a")], operation="update", old=old).admitted is False


# Arguments


def test_what_fills_in_changes_no_argument() -> None:
    everything = policy(
        "a",
        {ALLOWED_PROFILES: "*", "apparmor.security.beta.kubernetes.io/defaultProfileName": "runtime/default"},
        **FILLS_IN,
        hostNetwork=True,
        hostPorts=[{"min": 0, "max": 65535}],
        requiredDropCapabilities=["ALL"],
        readOnlyRootFilesystem=True,
    )
    asked = pod({"mine": "1"}, hostNetwork=True, securityContext={"seccompProfile": {"type": "Unconfined"}})
    asked["spec"]["containers"][0]["ports"] = [{"containerPort": 80}]
    before = copy.deepcopy((asked, everything))
    filled = evaluate_psp(asked, [everything]).pod
    assert (asked, everything) == before
    assert filled["metadata"]["annotations"] == {
        "mine": "1",
        POD_PROFILE: "unconfined",
        "container.apparmor.security.beta.kubernetes.io/main": "runtime/default",
    }
    assert filled["spec"]["containers"][0]["ports"] == [{"containerPort": 80, "hostPort": 80}]


def test_a_pod_template_and_ephemeral_containers_are_judged() -> None:
    template = {
        "spec": {"containers": [], "ephemeralContainers": [{"securityContext": {"privileged": True}}]}
    }
    [reason] = evaluate_psp(template, [policy("a")]).refusals["a"]
    assert reason.startswith("spec.ephemeralContainers[0].securityContext.privileged: Invalid value: true")


def test_null_is_what_is_not_there() -> None:
    asked: dict[str, Any] = {
        "metadata": {"annotations": None},
        "spec": {
            "containers": [{"name": "main", "securityContext": None, "ports": None, "volumeMounts": None}],
            "initContainers": None,
            "securityContext": {"supplementalGroups": None, "fsGroup": None},
            "volumes": [{"name": "a", "hostPath": None, "secret": {}}],
        },
    }
    nulls = policy("a", volumes=["secret"], hostPorts=None, runAsGroup=None, privileged=None)
    assert evaluate_psp(asked, [nulls]).policy == "a"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (None, "expected a mapping with metadata and spec"),
        ({"metadata": {}}, "expected a mapping with metadata and spec"),
        (pod(hostNetwork="yes"), "pod.spec.hostNetwork is not true or false"),
        (pod(securityContext=[]), "pod.spec.securityContext is not a mapping"),
        (pod(securityContext={"runAsUser": True}), "pod.spec.securityContext.runAsUser is not a number"),
        (pod(containers={}), "pod.spec.containers is not a list"),
        (pod(containers=[None]), r"pod.spec.containers\[0\] is null"),
        (pod(volumes=[{"hostPath": "/"}]), r"pod.spec.volumes\[0\].hostPath is not a mapping"),
        (pod(volumes=["/"]), r"pod.spec.volumes\[0\] is not a mapping"),
        (
            pod(containers=[{"securityContext": {"capabilities": {"add": [1]}}}]),
            r"capabilities.add\[0\] is not a text",
        ),
        (
            {"metadata": {"annotations": {"a": 1}}, "spec": {}},
            "pod.metadata.annotations.a is not a text",
        ),
    ],
)
def test_a_malformed_pod_is_a_parameter_error(asked: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        evaluate_psp(asked, [policy("a")])


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        (None, "is wrong"),
        ({"metadata": {"name": "a"}}, "spec: is missing"),
        ({"metadata": {}, "spec": policy("a")["spec"]}, "metadata.name: is missing"),
        (policy("a", runAsUser={"rule": "Any"}), "spec.runAsUser.rule"),
        (policy("a", fsGroup=None), "spec.fsGroup: is missing"),
        (policy("a", volumes=["hostpath"]), "there is no type hostpath"),
        (policy("a", priviledged=True), "spec.priviledged: there is no such key"),
        (policy("a", hostPorts=[{"min": "1"}]), "spec.hostPorts.0.min"),
        (
            policy("a", runAsUser={"rule": "MustRunAs", "ranges": [{"min": 2, "max": 1}]}),
            "min cannot be greater than max",
        ),
    ],
)
def test_a_malformed_policy_is_a_parameter_error(asked: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        evaluate_psp(pod(), [asked])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


@given(data=st.data())
def test_whatever_stands_where_a_decision_comes_out_or_a_parameter_error(data: st.DataObject) -> None:
    """Any part of an example's pod or policy is replaced by any JSON."""
    example = data.draw(st.sampled_from(EXAMPLES))
    pair = {"pod": copy.deepcopy(example.pod), "policy": copy.deepcopy(example.policy)}
    at: Any = pair
    key: Any = data.draw(st.sampled_from(sorted(pair)))
    while isinstance(at[key], dict | list) and at[key] and data.draw(st.booleans()):
        at = at[key]
        key = data.draw(st.sampled_from(sorted(at) if isinstance(at, dict) else range(len(at))))
    at[key] = data.draw(JSON)
    try:
        decision = evaluate_psp(pair["pod"], [pair["policy"]])
    except ParameterError:
        return
    assert decision.admitted is (decision.policy is not None)


def test_other_wrong_arguments() -> None:
    with pytest.raises(ParameterError, match="PodSecurityPolicy a is there twice"):
        evaluate_psp(pod(), [policy("a"), policy("a")])
    with pytest.raises(ParameterError, match="operation: expected create or update, not 'delete'"):
        evaluate_psp(pod(), [policy("a")], operation="delete")  # type: ignore[arg-type]
    with pytest.raises(UnknownReleaseError):
        prepare_psps([policy("a")], release="1.9")


# Releases


def test_the_safe_sysctls_are_those_of_the_release() -> None:
    for sysctl, since in {"net.ipv4.ping_group_range": 18, "net.ipv4.ip_unprivileged_port_start": 22}.items():
        asked = pod(securityContext={"sysctls": [{"name": sysctl, "value": "0"}]})
        assert not evaluate_psp(asked, [policy("a")], release=f"1.{since - 1}").admitted
        assert evaluate_psp(asked, [policy("a")], release=f"1.{since}").admitted


def test_the_two_names_of_the_default_seccomp_profile_are_one_from_1_19_on() -> None:
    asked = pod({POD_PROFILE: "runtime/default"})
    docker = policy("a", {ALLOWED_PROFILES: "docker/default"})
    assert not evaluate_psp(asked, [docker], release="1.18").admitted
    assert evaluate_psp(asked, [docker], release="1.19").admitted


# Speed


def test_many_pods_are_judged_in_seconds() -> None:
    prepared = prepare_psps([policy(f"p{n}", **FILLS_IN) for n in range(3)])
    start = time.process_time()
    for _ in range(2_000):
        evaluate_psp(privileged_pod(), prepared)
    assert time.process_time() - start < 2, "50,000 pods would take more than 50 s"
