"""By which fields a policy changes pods: those of its strategies that fill something in, and no others."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kubeharden.podsecurity import evaluate_psp
from kubeharden.podsecurity.psp.policy import read_policy
from kubeharden.podsecurity.psp.provider import Provider, UnusableError
from kubeharden.podsecurity.retirement import mutating_fields
from kubeharden.releases import Release
from psp_policies import policy as random_policy

RELEASE = Release(1, 23)
ANY = {"rule": "RunAsAny"}
RANGES = [{"min": 1, "max": 9}]
OPEN: dict[str, Any] = {
    "privileged": True,
    "seLinux": ANY,
    "runAsUser": ANY,
    "supplementalGroups": ANY,
    "fsGroup": ANY,
    "volumes": ["*"],
    "allowedCapabilities": ["*"],
}
SECCOMP = "seccomp.security.alpha.kubernetes.io/"
APPARMOR = "apparmor.security.beta.kubernetes.io/"
POD: dict[str, Any] = {"metadata": {"name": "p"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}


def a_policy(spec: dict[str, Any], **annotations: str) -> dict[str, Any]:
    return {
        "kind": "PodSecurityPolicy",
        "metadata": {"name": "p", "annotations": annotations},
        "spec": {**OPEN, **spec},
    }


CASES: list[tuple[dict[str, Any], list[str]]] = [
    ({}, []),
    ({"runAsUser": {"rule": "MustRunAs", "ranges": RANGES}}, ["runAsUser"]),
    ({"runAsUser": {"rule": "MustRunAsNonRoot"}}, ["runAsUser"]),
    ({"runAsGroup": {"rule": "MustRunAs", "ranges": RANGES}}, ["runAsGroup"]),
    ({"runAsGroup": {"rule": "MayRunAs", "ranges": RANGES}}, []),
    ({"runAsGroup": ANY}, []),
    ({"supplementalGroups": {"rule": "MustRunAs", "ranges": RANGES}}, ["supplementalGroups"]),
    ({"supplementalGroups": {"rule": "MayRunAs", "ranges": RANGES}}, []),
    ({"fsGroup": {"rule": "MustRunAs", "ranges": RANGES}}, ["fsGroup"]),
    ({"fsGroup": {"rule": "MayRunAs", "ranges": RANGES}}, []),
    ({"seLinux": {"rule": "MustRunAs", "seLinuxOptions": {"level": "s0"}}}, ["seLinux"]),
    ({"seLinux": {"rule": "MustRunAs"}}, []),  # the API server passes over such a policy
    ({"defaultAddCapabilities": ["CHOWN"]}, ["defaultAddCapabilities"]),
    ({"requiredDropCapabilities": ["ALL"]}, ["requiredDropCapabilities"]),
    ({"readOnlyRootFilesystem": True}, ["readOnlyRootFilesystem"]),
    ({"readOnlyRootFilesystem": False}, []),
    ({"defaultAllowPrivilegeEscalation": True}, ["defaultAllowPrivilegeEscalation"]),
    ({"defaultAllowPrivilegeEscalation": False}, ["defaultAllowPrivilegeEscalation"]),
    ({"allowPrivilegeEscalation": False}, ["allowPrivilegeEscalation"]),
    ({"allowPrivilegeEscalation": True}, []),
    (
        {"allowPrivilegeEscalation": False, "defaultAllowPrivilegeEscalation": False},
        ["defaultAllowPrivilegeEscalation"],
    ),
    (
        {"runtimeClass": {"allowedRuntimeClassNames": ["a"], "defaultRuntimeClassName": "a"}},
        ["runtimeClass.defaultRuntimeClassName"],
    ),
    ({"runtimeClass": {"allowedRuntimeClassNames": ["a"]}}, []),
    ({"privileged": False, "allowedCapabilities": [], "volumes": []}, []),
]


@pytest.mark.parametrize(("spec", "fields"), CASES, ids=lambda case: str(case)[:80])
def test_a_policy_changes_pods_by_what_its_strategies_fill_in(
    spec: dict[str, Any], fields: list[str]
) -> None:
    policy = a_policy(spec)
    assert mutating_fields(policy, RELEASE) == fields
    decision = evaluate_psp(POD, [policy], release=RELEASE)
    assert (decision.pod != POD) == bool(fields)


@pytest.mark.parametrize(
    ("key", "changes"),
    [
        (f"{SECCOMP}defaultProfileName", True),
        (f"{APPARMOR}defaultProfileName", True),
        (f"{SECCOMP}allowedProfileNames", False),
        (f"{APPARMOR}allowedProfileNames", False),
        ("example.org/defaultProfileName", False),
    ],
)
def test_a_policy_changes_pods_by_its_default_profiles(key: str, changes: bool) -> None:
    policy = a_policy({}, **{key: "runtime/default"})
    assert mutating_fields(policy, RELEASE) == ([key] if changes else [])


def test_any_policy_changes_a_bare_pod_exactly_if_it_has_such_fields() -> None:
    rng, seen = random.Random(7), set[bool]()
    for number in range(500):
        policy = random_policy(rng, f"p{number}")
        try:
            provider = Provider.of(read_policy(policy), RELEASE)
        except UnusableError:
            assert mutating_fields(policy, RELEASE) == []
            continue
        changed = provider.mutate(POD) is not POD
        assert changed == bool(mutating_fields(policy, RELEASE)), policy
        seen.add(changed)
    assert seen == {True, False}
