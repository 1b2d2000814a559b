"""What must hold for every pod, level and policy version of the Pod Security Standards."""

from __future__ import annotations

import random
import re
from typing import Any

from hypothesis import event, example, given, settings
from hypothesis import strategies as st

import sampling
from generated_pods import json_like, near_pods, pods
from kubeharden.errors import ParameterError
from kubeharden.podsecurity import evaluate_pss, smallest_change
from kubeharden.podsecurity.pss.standards import CHECKS
from standards_cases import cases, documents

FIXED = settings(deadline=None, derandomize=True, print_blob=True, max_examples=sampling.examples(300))
CHANGED = sorted({since for check in CHECKS for since in check.rules} | {36})
VERSIONS = st.sampled_from([f"v1.{minor}" for minor in CHANGED])
LEVELS = st.sampled_from(["baseline", "restricted"])
KINDS = ("initContainers", "containers", "ephemeralContainers")
# Fields that a pod for Windows cannot have: from 1.25 on the restricted level does not look at them there, and its
# checks stand in the place of those of baseline, which do.
NOT_ON_WINDOWS = {"capabilities_baseline", "seccompProfile_baseline"}
KEYS = sorted(
    {
        "metadata",
        "annotations",
        "spec",
        "containers",
        "initContainers",
        "ephemeralContainers",
        "securityContext",
    }
    | {
        "hostNetwork",
        "hostUsers",
        "os",
        "name",
        "volumes",
        "hostPath",
        "emptyDir",
        "ports",
        "hostPort",
        "sysctls",
    }
    | {
        "privileged",
        "capabilities",
        "add",
        "drop",
        "seccompProfile",
        "appArmorProfile",
        "type",
        "seLinuxOptions",
    }
    | {
        "runAsUser",
        "runAsNonRoot",
        "procMount",
        "windowsOptions",
        "hostProcess",
        "livenessProbe",
        "httpGet",
        "host",
    }
    | {"lifecycle", "preStop", "user", "allowPrivilegeEscalation", "seccomp.security.alpha.kubernetes.io/pod"}
)


def for_windows() -> dict:
    """Admitted by restricted alone: with a capability that baseline forbids."""
    [case] = [
        c for c in cases() if (c.check, c.since, c.name) == ("capabilities_restricted", 25, "for Windows")
    ]
    pod = case.pod()
    pod["spec"]["containers"][0]["securityContext"] = {"capabilities": {"add": ["SYS_ADMIN"]}}
    return pod


@FIXED
@example(for_windows(), "v1.25")
@given(st.one_of(pods(), near_pods(documents()["base"]["restricted"])), VERSIONS)
def test_what_restricted_admits_baseline_admits(pod: dict, version: str) -> None:
    if evaluate_pss(pod, "restricted", version):
        event("refused")
        return
    event("admitted")
    against = {violation.check for violation in evaluate_pss(pod, "baseline", version)}
    assert not against - (NOT_ON_WINDOWS if (pod["spec"].get("os") or {}).get("name") == "windows" else set())


def by_name(pod: dict, level: str, version: str) -> list[tuple[str, ...]]:
    """The violations, with the name of the container in the place of its index."""
    names = {
        f"spec.{kind}[{i}]": container["name"]
        for kind in KINDS
        for i, container in enumerate(pod["spec"].get(kind) or ())
    }
    return sorted(
        (v.check, re.sub(r"^spec\.\w+ontainers\[\d\]", lambda m: names[m[0]], v.field), v.found, v.change)
        for v in evaluate_pss(pod, level, version)
    )


@FIXED
@given(pods(), LEVELS, VERSIONS, st.randoms(use_true_random=False))
def test_the_order_of_containers_does_not_matter(
    pod: dict, level: str, version: str, chance: random.Random
) -> None:
    spec = dict(pod["spec"])
    for kind in KINDS:
        if kind in spec:
            spec[kind] = chance.sample(spec[kind], len(spec[kind]))
    assert by_name({**pod, "spec": spec}, level, version) == by_name(pod, level, version)


@FIXED
@given(pods(), LEVELS, VERSIONS)
def test_a_container_more_never_makes_a_pod_admissible(pod: dict, level: str, version: str) -> None:
    without = {**pod, "spec": {k: v for k, v in pod["spec"].items() if k != "initContainers"}}
    assert {v.check for v in evaluate_pss(without, level, version)} <= {
        v.check for v in evaluate_pss(pod, level, version)
    }


@FIXED
@given(pods(), LEVELS, VERSIONS)
def test_there_is_something_to_change_exactly_where_something_is_wrong(
    pod: dict, level: str, version: str
) -> None:
    assert bool(smallest_change(pod, level, version)) == bool(evaluate_pss(pod, level, version))


@settings(FIXED, max_examples=sampling.examples(1000))
@given(json_like(KEYS), json_like(KEYS), LEVELS, VERSIONS)
def test_whatever_json_can_say_is_judged_or_refused(
    spec: Any, container: Any, level: str, version: str
) -> None:
    for pod in (
        spec,
        {"spec": spec},
        {"metadata": spec, "spec": {"containers": [container], "volumes": [spec]}},
    ):
        try:
            found = evaluate_pss(pod, level, version)
        except ParameterError:
            event("refused")
        else:
            event("judged")
            assert all(type(v.found) is str and v.field for v in found)
