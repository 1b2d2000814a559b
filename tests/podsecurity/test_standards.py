"""The Pod Security Standards: every check at every version in which its rule changed, by the fixtures."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest

from kubeharden.errors import ParameterError
from kubeharden.podsecurity import Violation, evaluate_pss, smallest_change
from kubeharden.podsecurity.pss import standards
from kubeharden.podsecurity.pss.standards import CHECKS, NEWEST
from standards_cases import FIXTURES, LAST, Case, cases, documents

CASES = list(cases())
VARIANTS = [(check.id, since) for check in CHECKS for since in check.rules]
BY_ID = {check.id: check for check in CHECKS}


def found(pod: dict, level: str, version: str) -> list[str]:
    return sorted({violation.check for violation in evaluate_pss(pod, level, version)})


def test_every_check_has_cases_for_every_version_in_which_its_rule_changed() -> None:
    assert {p.stem for p in FIXTURES.glob("*.yaml")} == {"base", *BY_ID}
    for check in CHECKS:
        document = documents()[check.id]
        assert document["level"] == check.level
        assert list(document["versions"]) == [f"v1.{since}" for since in check.rules]
        for said in document["versions"].values():
            assert said["pass"]
            assert said["fail"]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_pod_passes_or_fails_by_exactly_that_check(case: Case) -> None:
    expected = [] if case.passes else [case.check]
    for version in case.versions:
        assert found(case.pod(), case.level, version) == expected, version
    if case.until == LAST + 1:
        assert found(case.pod(), case.level, "latest") == expected
        assert found(case.pod(), case.level, "v1.99") == expected


@pytest.mark.parametrize("case", [c for c in CASES if c.level == "baseline"], ids=str)
def test_what_baseline_forbids_restricted_forbids_by_one_check_only(case: Case) -> None:
    """By the same check, or by the one that stands in its place."""
    pod = case.pod("restricted")
    for minor in range(case.since, case.until):
        instead = [c.id for c in CHECKS if c.overrides == case.check and c.rule(minor)]
        if not case.passes:
            assert found(pod, "restricted", f"v1.{minor}") == (instead or [case.check])
        elif not instead:
            assert found(pod, "restricted", f"v1.{minor}") == []


@pytest.mark.parametrize("check", [c for c in CHECKS if min(c.rules) > 0], ids=lambda c: c.id)
def test_a_check_says_nothing_before_its_first_version(check: standards.Check) -> None:
    first = min(check.rules)
    failing = [c for c in CASES if c.check == check.id and c.since == first and not c.passes]
    for case in failing:
        assert check.id not in found(case.pod(), check.level, f"v1.{first - 1}")


def test_privileged_forbids_nothing() -> None:
    assert all(evaluate_pss(case.pod(), "privileged", "latest") == [] for case in CASES)


@pytest.mark.parametrize(("check", "since"), VARIANTS)
@pytest.mark.parametrize("answer", [(), ("anything",)], ids=["passes everything", "fails everything"])
def test_a_broken_rule_turns_a_fixture_red(
    check: str, since: int, answer: tuple, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = [standards.baseline.Fault("spec", "x", "y", "z") for _ in answer]
    broken = replace(BY_ID[check], rules=BY_ID[check].rules | {since: lambda pod: faults})
    monkeypatch.setattr(standards, "CHECKS", tuple(broken if c.id == check else c for c in CHECKS))
    standards._rules.cache_clear()
    try:
        own = [case for case in CASES if (case.check, case.since) == (check, since)]
        red = [
            case
            for case in own
            if found(case.pod(), case.level, case.versions[0]) != ([] if case.passes else [check])
        ]
    finally:
        standards._rules.cache_clear()
    assert red == [case for case in own if case.passes == bool(answer)]


@pytest.mark.parametrize(("check", "since"), [v for v in VARIANTS if v[1] > min(BY_ID[v[0]].rules)])
def test_a_forgotten_change_of_a_rule_turns_a_fixture_red(
    check: str, since: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rule before the change, kept on, must not do."""
    rules = {minor: rule for minor, rule in BY_ID[check].rules.items() if minor != since}
    monkeypatch.setattr(
        standards, "CHECKS", tuple(replace(c, rules=rules) if c.id == check else c for c in CHECKS)
    )
    standards._rules.cache_clear()
    try:
        assert any(
            found(case.pod(), case.level, case.versions[0]) != ([] if case.passes else [check])
            for case in CASES
            if (case.check, case.since) == (check, since)
        )
    finally:
        standards._rules.cache_clear()


@pytest.mark.parametrize("overriding", [c for c in CHECKS if c.overrides], ids=lambda c: c.id)
def test_a_forgotten_override_is_seen(overriding: standards.Check, monkeypatch: pytest.MonkeyPatch) -> None:
    without = tuple(replace(c, overrides="") if c.id == overriding.id else c for c in CHECKS)
    monkeypatch.setattr(standards, "CHECKS", without)
    standards._rules.cache_clear()
    try:
        first = min(overriding.rules)
        failing = [c for c in CASES if c.check == overriding.overrides and not c.passes and c.until > first]
        both = sorted([overriding.id, overriding.overrides])
        assert any(
            found(c.pod("restricted"), "restricted", f"v1.{max(first, c.since)}") == both for c in failing
        )
    finally:
        standards._rules.cache_clear()


def test_a_violation_says_where_what_and_what_is_allowed() -> None:
    pod = {
        "spec": {
            "hostPID": True,
            "initContainers": [{"name": "setup", "ports": [{"containerPort": 1}, {"hostPort": 80}]}],
            "containers": [
                {"name": "web", "securityContext": {"capabilities": {"add": ["SYS_ADMIN", "BPF"]}}}
            ],
            "volumes": [{"name": "logs", "hostPath": {"path": "/var/log"}}],
        }
    }
    assert [(v.check, v.field, v.found) for v in evaluate_pss(pod, "baseline", "latest")] == [
        ("capabilities_baseline", "spec.containers[0].securityContext.capabilities.add", "BPF, SYS_ADMIN"),
        ("hostNamespaces", "spec.hostPID", "true"),
        ("hostPathVolumes", "spec.volumes[0].hostPath", "/var/log"),
        ("hostPorts", "spec.initContainers[0].ports[1].hostPort", "80"),
    ]
    assert evaluate_pss(pod, "baseline", "latest")[1] == Violation(
        "hostNamespaces", "spec.hostPID", "true", "false or unset"
    )
    assert smallest_change(pod, "baseline", "latest") == (
        "remove BPF, SYS_ADMIN from securityContext.capabilities.add in container web; "
        "remove hostPID from the pod's spec; "
        "replace the hostPath of volume logs by another kind of volume; "
        "remove hostPort 80 in init container setup"
    )


def test_what_a_plain_deployment_lacks_for_restricted_is_one_sentence_each() -> None:
    pod = copy.deepcopy(documents()["base"]["baseline"])
    pod["spec"]["initContainers"] = [{"name": "setup"}]
    assert smallest_change(pod, "restricted", "v1.29").split("; ") == [
        "set securityContext.allowPrivilegeEscalation: false in init container setup",
        "set securityContext.allowPrivilegeEscalation: false in container web",
        "set securityContext.capabilities.drop: [ALL] in init container setup",
        "set securityContext.capabilities.drop: [ALL] in container web",
        "set securityContext.runAsNonRoot: true in the pod",
        "set securityContext.seccompProfile.type: RuntimeDefault in the pod",
    ]
    assert smallest_change(pod, "baseline", "v1.29") == ""


@pytest.mark.parametrize("case", [c for c in CASES if not c.passes], ids=str)
def test_every_violation_comes_with_its_change(case: Case) -> None:
    for violation in evaluate_pss(case.pod(), case.level, case.versions[-1]):
        assert violation.change.split(" ")[0] in ("set", "remove", "replace")
        assert violation.field.startswith(("spec.", "metadata.annotations["))
        assert violation.found
        assert violation.allowed


@pytest.mark.parametrize(
    ("level", "version"),
    [
        ("Baseline", "v1.29"),
        ("", "v1.29"),
        (None, "v1.29"),
        (["baseline"], "v1.29"),
        ("baseline", ""),
        ("baseline", "v2.0"),
        ("baseline", "v1.29.3"),
        ("baseline", "v1.029"),
        ("baseline", "v1.-1"),
        ("baseline", "v1.29\n"),
        ("baseline", "Latest"),
        ("baseline", 1.3),
        ("baseline", None),
        ("privileged", "newest"),
    ],
)
def test_levels_and_versions_that_there_are_not(level: object, version: object) -> None:
    with pytest.raises(ParameterError, match="level: " if level not in standards.LEVELS else "version: "):
        evaluate_pss({}, level, version)  # type: ignore[arg-type]


def test_versions_are_read_as_labels_say_them_and_without_their_v() -> None:
    case = next(c for c in CASES if c.check == "hostProbesAndHostLifecycle" and not c.passes)
    assert [found(case.pod(), "baseline", v) for v in ("v1.33", "1.33")] == [[], []]
    for version in ("v1.34", "1.34", "v1.36", "v1.99999", "latest"):
        assert found(case.pod(), "baseline", version) == [case.check]
    assert NEWEST == 37


@pytest.mark.parametrize(
    ("pod", "where"),
    [
        ([], "the pod must be an object"),
        ({"spec": []}, "spec must be an object"),
        ({"metadata": "web"}, "metadata must be an object"),
        ({"metadata": {"annotations": []}}, "metadata.annotations must be an object"),
        ({"spec": {"containers": {}}}, "spec.containers must be a list"),
        ({"spec": {"containers": ["web"]}}, r"spec.containers\[0\] must be an object"),
        (
            {"spec": {"containers": [{"securityContext": 1}]}},
            r"spec.containers\[0\].securityContext must be an",
        ),
        ({"spec": {"hostNetwork": "true"}}, "spec.hostNetwork must be true or false, found str"),
        ({"spec": {"securityContext": {"runAsUser": "0"}}}, "runAsUser must be an integer, found str"),
        ({"spec": {"securityContext": {"runAsUser": False}}}, "runAsUser must be an integer, found bool"),
        ({"spec": {"containers": [{"ports": [{"hostPort": 80.0}]}]}}, "hostPort must be an integer"),
        (
            {"spec": {"containers": [{"securityContext": {"capabilities": {"add": "ALL"}}}]}},
            "capabilities.add must be a list",
        ),
        ({"kind": "Deployment", "spec": {"template": {}}}, "kind 'Deployment'"),
    ],
)
def test_what_kubernetes_would_not_take_for_a_pod_is_refused(pod: object, where: str) -> None:
    with pytest.raises(ParameterError, match=where):
        evaluate_pss(pod, "restricted", "latest")  # type: ignore[arg-type]


def test_null_is_the_same_as_absent() -> None:
    for pod in ({}, {"spec": None}, {"metadata": None, "spec": {"containers": None, "volumes": None}}):
        assert evaluate_pss(pod, "restricted", "latest") == []
    container = {"name": None, "ports": None, "securityContext": {"capabilities": None, "privileged": None}}
    pod = {"metadata": {"annotations": None}, "spec": {"containers": [container], "securityContext": None}}
    assert evaluate_pss(pod, "baseline", "latest") == []
    assert found({"spec": {"containers": [None]}}, "restricted", "v1.8") == [
        "allowPrivilegeEscalation",
        "runAsNonRoot",
    ]


def test_the_pod_is_not_changed() -> None:
    for case in CASES:
        pod = case.pod()
        before = copy.deepcopy(pod)
        evaluate_pss(pod, "restricted", "latest")
        assert pod == before
