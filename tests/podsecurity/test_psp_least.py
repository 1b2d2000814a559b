"""The least-privileged policy: it admits the pods as they are, and nothing in it can be spared."""

from __future__ import annotations

import copy
import itertools
import random
from collections.abc import Iterator
from typing import Any

import pytest

from kubeharden import ParameterError
from kubeharden.podsecurity import evaluate_psp, least_privileged_policy
from kubeharden.podsecurity.psp.sysctls import safe_sysctls
from kubeharden.releases import Release
from psp_pods import pod as random_pod
from psp_policies import APPARMOR, CAPABILITIES, LABELS, LEVELS, SECCOMP
from psp_stored import sync_profiles

Object = dict[str, Any]

NOBODY = 65534
ANY = {"rule": "RunAsAny"}
SECCOMP_ALLOWED = "seccomp.security.alpha.kubernetes.io/allowedProfileNames"
APPARMOR_ALLOWED = "apparmor.security.beta.kubernetes.io/allowedProfileNames"
SAFE_SYSCTLS = sorted(safe_sysctls(Release(1, 20)))
GROUPS = ("runAsGroup", "supplementalGroups", "fsGroup")


def running(seed: int) -> list[Object]:
    """Some random pods as a server would show them."""
    rng = random.Random(seed)
    pods = [random_pod(rng, f"pod{number}", "red") for number in range(rng.choice([1, 1, 2, 3, 5]))]
    for pod in pods:
        sync_profiles(pod)
    return pods


def admits(policy: Object, pods: list[Object]) -> bool:
    """Whether the policy admits all of them as they are: an update is admitted just then."""
    return all(evaluate_psp(pod, [policy], operation="update").admitted for pod in pods)


def stricter(policy: Object) -> Iterator[tuple[str, Object]]:
    """The policy with one grant less, in every way that there is, with words for it."""
    spec = policy["spec"]
    for key in ("privileged", "hostNetwork", "hostPID", "hostIPC", "allowPrivilegeEscalation"):
        if spec.get(key):
            yield key, _with(policy, {key: False})
    if not spec.get("readOnlyRootFilesystem"):
        yield "readOnlyRootFilesystem", _with(policy, {"readOnlyRootFilesystem": True})
    for name in spec["runtimeClass"]["allowedRuntimeClassNames"]:
        rest = [other for other in spec["runtimeClass"]["allowedRuntimeClassNames"] if other != name]
        yield f"runtimeClass {name}", _with(policy, {"runtimeClass": {"allowedRuntimeClassNames": rest}})
    yield from _shorter_lists(policy)
    yield from _stricter_rules(policy)
    yield from _stricter_profiles(policy)
    yield from _more_forbidden(policy)


def _shorter_lists(policy: Object) -> Iterator[tuple[str, Object]]:
    """Each list of the spec without each of its items; where none would mean any, something else stands in it."""
    spec = policy["spec"]
    something_else: dict[str, list[Any]] = {
        "volumes": [],
        "allowedCapabilities": [],
        "allowedUnsafeSysctls": [],
        "allowedProcMountTypes": [],
        "allowedHostPaths": [{"pathPrefix": "/none"}],
        "allowedFlexVolumes": [{"driver": "none"}],
        "allowedCSIDrivers": [{"name": "none"}],
    }
    for key, instead in something_else.items():
        for index, item in enumerate(spec.get(key) or ()):
            yield f"{key} {item}", _with(policy, {key: _replaced(spec[key], index, []) or instead})
    for index, item in enumerate(spec.get("allowedHostPaths") or ()):
        if not item.get("readOnly"):
            paths = _replaced(spec["allowedHostPaths"], index, [{**item, "readOnly": True}])
            yield f"writing to {item}", _with(policy, {"allowedHostPaths": paths})
    for index, item in enumerate(spec.get("hostPorts") or ()):
        for shrunk in _shrunk(item):
            yield (
                f"hostPorts {item}",
                _with(policy, {"hostPorts": _replaced(spec["hostPorts"], index, shrunk)}),
            )


def _replaced(items: list[Any], index: int, instead: list[Any]) -> list[Any]:
    return [*items[:index], *instead, *items[index + 1 :]]


def _with(policy: Object, changes: Object) -> Object:
    return {**policy, "spec": {**policy["spec"], **changes}}


def _shrunk(item: Object) -> Iterator[list[Object]]:
    """A range without each of its numbers."""
    low, high = item["min"], item["max"]
    for number in range(low, high + 1):
        parts = ((low, number - 1), (number + 1, high))
        yield [{"min": first, "max": last} for first, last in parts if first <= last]


def _stricter_rules(policy: Object) -> Iterator[tuple[str, Object]]:
    spec = policy["spec"]
    for level, kind in itertools.product(LEVELS, LABELS) if spec["seLinux"] == ANY else ():
        options = {key: part for key, part in (("level", level), ("type", kind)) if part}
        yield "a label", _with(policy, {"seLinux": {"rule": "MustRunAs", "seLinuxOptions": options}})
    if spec["runAsUser"] == ANY:
        yield "a rule for users", _with(policy, {"runAsUser": {"rule": "MustRunAsNonRoot"}})
    if spec["runAsUser"] == {"rule": "MustRunAsNonRoot"}:
        everybody = [{"min": 0, "max": 2**31 - 1}]
        yield "users to be named", _with(policy, {"runAsUser": {"rule": "MustRunAs", "ranges": everybody}})
    for key in ("runAsUser", *GROUPS):
        rule = spec[key]
        ranges = rule.get("ranges") or []
        if rule["rule"] == "MayRunAs":
            yield f"{key} to be named", _with(policy, {key: {"rule": "MustRunAs", "ranges": ranges}})
        for index, item in enumerate(ranges if ranges != [{"min": NOBODY, "max": NOBODY}] else ()):
            for shrunk in _shrunk(item):
                rest = _replaced(ranges, index, shrunk)
                yield (
                    f"{key} {item}",
                    _with(policy, {key: {**rule, "ranges": rest or [{"min": 77, "max": 77}]}}),
                )


def _stricter_profiles(policy: Object) -> Iterator[tuple[str, Object]]:
    notes = policy["metadata"].get("annotations", {})
    for key, every in ((SECCOMP_ALLOWED, SECCOMP), (APPARMOR_ALLOWED, APPARMOR)):
        listed = notes.get(key)
        if listed == "*" or (listed is None and key == APPARMOR_ALLOWED):
            yield f"{key} listed", _noted(policy, {**notes, key: ",".join(every)})
        elif listed is not None:
            for profile in listed.split(","):
                rest = ",".join(other for other in listed.split(",") if other != profile)
                yield f"{key} {profile}", _noted(policy, {**notes, key: rest})


def _noted(policy: Object, annotations: dict[str, str]) -> Object:
    return {**policy, "metadata": {**policy["metadata"], "annotations": annotations}}


def _more_forbidden(policy: Object) -> Iterator[tuple[str, Object]]:
    """The policy with one more thing forbidden that it does not allow by name."""
    spec = policy["spec"]
    for key, allowing, names in (
        ("requiredDropCapabilities", "allowedCapabilities", CAPABILITIES),
        ("forbiddenSysctls", "allowedUnsafeSysctls", SAFE_SYSCTLS),
    ):
        for name in names:
            if not {name, "*"} & {*spec.get(key, ()), *spec.get(allowing, ())}:
                yield f"{key} without {name}", _with(policy, {key: [*spec.get(key, ()), name]})


@pytest.mark.sample(70)
@pytest.mark.parametrize("seed", range(200))
def test_it_admits_what_runs_and_nothing_in_it_can_be_spared(seed: int) -> None:
    pods = running(seed)
    before = copy.deepcopy(pods)
    policy = least_privileged_policy(pods, name="web")
    assert pods == before
    assert policy["metadata"]["name"] == "web"
    assert admits(policy, pods), [evaluate_psp(pod, [policy], operation="update").refusals for pod in pods]
    spared = [words for words, other in stricter(policy) if admits(other, pods)]
    assert not spared, f"not needed: {spared}\n{policy}"


def test_a_plain_pod_is_granted_next_to_nothing() -> None:
    pod = {"metadata": {"name": "web"}, "spec": {"containers": [{"name": "main", "image": "app"}]}}
    nobody = {"rule": "MayRunAs", "ranges": [{"min": NOBODY, "max": NOBODY}]}
    assert least_privileged_policy([pod]) == {
        "apiVersion": "policy/v1beta1",
        "kind": "PodSecurityPolicy",
        "metadata": {"name": "least-privileged"},
        "spec": {
            "privileged": False,
            "allowPrivilegeEscalation": True,
            "forbiddenSysctls": ["*"],
            "seLinux": ANY,
            "runAsUser": ANY,
            "runAsGroup": nobody,
            "supplementalGroups": nobody,
            "fsGroup": nobody,
            "runtimeClass": {"allowedRuntimeClassNames": []},
            "volumes": [],
        },
    }


def test_a_hardened_pod_is_held_to_what_it_says() -> None:
    context = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
        "runAsUser": 1000,
        "runAsGroup": 1000,
    }
    container = {
        "name": "main",
        "securityContext": context,
        "volumeMounts": [{"name": "logs", "readOnly": True}],
    }
    pod = {
        "metadata": {"annotations": {"seccomp.security.alpha.kubernetes.io/pod": "runtime/default"}},
        "spec": {
            "containers": [container],
            "securityContext": {"fsGroup": 1000, "seLinuxOptions": {"type": "container_t"}},
            "volumes": [{"name": "logs", "hostPath": {"path": "/var/log/"}}, {"name": "t", "secret": {}}],
        },
    }
    policy = least_privileged_policy([pod])
    only_1000 = {"rule": "MustRunAs", "ranges": [{"min": 1000, "max": 1000}]}
    assert policy["metadata"]["annotations"] == {SECCOMP_ALLOWED: "runtime/default"}
    assert policy["spec"] == {
        "privileged": False,
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "allowedCapabilities": ["NET_BIND_SERVICE"],
        "requiredDropCapabilities": ["ALL"],
        "forbiddenSysctls": ["*"],
        "seLinux": {"rule": "MustRunAs", "seLinuxOptions": {"type": "container_t"}},
        "runAsUser": only_1000,
        "runAsGroup": only_1000,
        "fsGroup": only_1000,
        "supplementalGroups": {"rule": "MayRunAs", "ranges": [{"min": NOBODY, "max": NOBODY}]},
        "runtimeClass": {"allowedRuntimeClassNames": []},
        "volumes": ["hostPath", "secret"],
        "allowedHostPaths": [{"pathPrefix": "/var/log", "readOnly": True}],
    }


def test_an_older_server_gets_the_fields_that_it_keeps() -> None:
    pod = {
        "metadata": {},
        "spec": {
            "containers": [{"name": "main", "volumeMounts": [{"name": "a", "readOnly": True}]}],
            "volumes": [{"name": "a", "hostPath": {"path": "/a"}}],
        },
    }
    policy = least_privileged_policy([pod], release="1.10")
    assert policy["spec"] == {
        "privileged": False,
        "allowPrivilegeEscalation": True,
        **dict.fromkeys(("seLinux", "runAsUser", "supplementalGroups", "fsGroup"), ANY),
        "volumes": ["hostPath"],
        "allowedHostPaths": [{"pathPrefix": "/a"}],
    }
    assert evaluate_psp(pod, [policy], operation="update", release="1.10").admitted


def test_a_template_whose_seccomp_profile_is_a_field_is_admitted_too() -> None:
    template = {
        "spec": {
            "containers": [{"name": "main"}],
            "securityContext": {"seccompProfile": {"type": "RuntimeDefault"}},
        }
    }
    policy = least_privileged_policy([template])
    assert policy["metadata"]["annotations"] == {SECCOMP_ALLOWED: "runtime/default"}
    assert evaluate_psp(template, [policy]).admitted


@pytest.mark.parametrize(
    ("pods", "message"),
    [
        ([], "there are none"),
        ([{"spec": {"containers": "main"}}], "pod.spec.containers is not a list"),
        ([{"spec": {"volumes": [{"hostPath": {}}]}}], r"spec.allowedHostPaths.0.pathPrefix"),
    ],
)
def test_wrong_pods_are_a_parameter_error(pods: Any, message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        least_privileged_policy(pods)
