"""The Pod Security Standards as a table, and the judgement of a pod by it.

Source: kubernetes/pod-security-admission v0.37 (``policy/check_*.go``; ``policy/registry.go`` for what overrides
what). A policy version is the version of the Standards, not the cluster's: a namespace that says
``enforce-version: v1.25`` is judged by the rules of 1.25 on every later release.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from dataclasses import field as option
from functools import lru_cache
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.podsecurity.pss import baseline, restricted
from kubeharden.podsecurity.pss.baseline import Rule, unless_user_namespace
from kubeharden.podsecurity.pss.pod import Pod
from kubeharden.podsecurity.pss.restricted import not_for_windows
from kubeharden.releases import feature

# Policy versions from which on the rules leave out pods for Windows, and pods in a user namespace.
WINDOWS = feature("Pod Security Standards leave out Windows pods").since.minor
USERS = feature("Pod Security Standards leave out user namespaces").since.minor
LEVELS = ("privileged", "baseline", "restricted")
LATEST = "latest"
# As a label may say it (api/helpers.go, versionRegexp); the v may be left out here, as in other releases.
_VERSION = re.compile(r"v?1\.(0|[1-9][0-9]{0,8})")


@dataclass(frozen=True)
class Violation:
    """One field of a pod that a check does not allow.

    Attributes:
        check: the check's id, as Kubernetes names it: ``hostNamespaces``, ``capabilities_restricted``.
        field: the path of the field, with the indexes of lists: ``spec.containers[0].securityContext.privileged``,
            ``metadata.annotations[seccomp.security.alpha.kubernetes.io/pod]``.
        found: its value, or ``unset``.
        allowed: what may stand there.
        change: the smallest change that would satisfy the check, as a person would say it.
    """

    check: str
    field: str
    found: str
    allowed: str
    change: str = option(default="", compare=False)


@dataclass(frozen=True)
class Check:
    """A check of the Standards.

    Attributes:
        level: the level that it belongs to; those of ``baseline`` hold at ``restricted`` too.
        rules: the minor version from which on a rule holds, and the rule; oldest first.
        overrides: the check of ``baseline`` in whose place this one stands at ``restricted``, from its first
            version on.
    """

    id: str
    level: str
    rules: Mapping[int, Rule]
    overrides: str = ""

    def rule(self, minor: int) -> Rule | None:
        """Return the rule that holds in this policy version; None before the first."""
        rules = [rule for since, rule in self.rules.items() if since <= minor]
        return rules[-1] if rules else None


CHECKS = (
    Check("appArmorProfile", "baseline", {0: baseline.app_armor}),
    Check("capabilities_baseline", "baseline", {0: baseline.capabilities}),
    Check("hostNamespaces", "baseline", {0: baseline.host_namespaces}),
    Check("hostPathVolumes", "baseline", {0: baseline.host_path_volumes}),
    Check("hostPorts", "baseline", {0: baseline.host_ports}),
    Check("hostProbesAndHostLifecycle", "baseline", {34: baseline.host_probes}),
    Check("privileged", "baseline", {0: baseline.privileged}),
    Check(
        "procMount",
        "baseline",
        {0: baseline.proc_mount, USERS: unless_user_namespace(baseline.proc_mount)},
    ),
    Check(
        "seLinuxOptions",
        "baseline",
        {0: baseline.selinux(baseline.SELINUX_TYPES), 31: baseline.selinux(baseline.SELINUX_TYPES_1_31)},
    ),
    Check("seccompProfile_baseline", "baseline", {0: baseline.seccomp_annotations, 19: baseline.seccomp}),
    Check(
        "sysctls",
        "baseline",
        {
            0: baseline.sysctls(baseline.SYSCTLS),
            27: baseline.sysctls(baseline.SYSCTLS_1_27),
            29: baseline.sysctls(baseline.SYSCTLS_1_29),
            32: baseline.sysctls(baseline.SYSCTLS_1_32),
            37: baseline.sysctls(baseline.SYSCTLS_1_37),
        },
    ),
    Check("windowsHostProcess", "baseline", {0: baseline.windows_host_process}),
    Check(
        "allowPrivilegeEscalation",
        "restricted",
        {
            8: restricted.allow_privilege_escalation,
            WINDOWS: not_for_windows(restricted.allow_privilege_escalation),
        },
    ),
    Check(
        "capabilities_restricted",
        "restricted",
        {22: restricted.capabilities, WINDOWS: not_for_windows(restricted.capabilities)},
        overrides="capabilities_baseline",
    ),
    Check("procMount_restricted", "restricted", {USERS: baseline.proc_mount}, overrides="procMount"),
    Check("restrictedVolumes", "restricted", {0: restricted.restricted_volumes}, overrides="hostPathVolumes"),
    Check(
        "runAsNonRoot",
        "restricted",
        {0: restricted.run_as_non_root, USERS: unless_user_namespace(restricted.run_as_non_root)},
    ),
    Check(
        "runAsUser",
        "restricted",
        {23: restricted.run_as_user, USERS: unless_user_namespace(restricted.run_as_user)},
    ),
    Check(
        "seccompProfile_restricted",
        "restricted",
        {19: restricted.seccomp, WINDOWS: not_for_windows(restricted.seccomp)},
        overrides="seccompProfile_baseline",
    ),
)
# The last version in which a rule changed; every later one is the same.
NEWEST = max(since for check in CHECKS for since in check.rules)


def evaluate_pss(pod: Mapping[str, Any], level: str, version: str) -> list[Violation]:
    """Return what the Pod Security Standards say against a pod: nothing, if Pod Security Admission would admit it.

    It judges what is there. The API server judges after it has filled in its defaults (with ``hostNetwork`` a
    container's ports become host ports) and after what other admission plugins changed.

    Args:
        pod: a Pod object, or a pod template: ``metadata`` and ``spec``. It is not changed.
        level: ``privileged``, ``baseline`` or ``restricted``.
        version: the policy version, ``v1.0`` to ``v1.37`` or ``latest``; a later one is judged as the latest.

    Raises:
        ParameterError: there is no such level or version, or Kubernetes would not accept the pod.
    """
    rules = _rules(_text("level", level), _text("version", version))
    if not rules:
        return []
    view = Pod(pod)
    return [Violation(check, *fault) for check, rule in rules for fault in rule(view)]


def smallest_change(pod: Mapping[str, Any], level: str, version: str) -> str:
    """Return what would have to change in a pod for the level to admit it, in words; empty if nothing must.

    Args and errors are those of ``evaluate_pss``.
    """
    return "; ".join(dict.fromkeys(violation.change for violation in evaluate_pss(pod, level, version)))


@lru_cache
def _rules(level: str, version: str) -> tuple[tuple[str, Rule], ...]:
    """Return the ids and rules that hold at a level in a policy version."""
    if level not in LEVELS:
        raise ParameterError(f"level: {level!r} is not one of {', '.join(LEVELS)}")
    minor = _minor(version)
    if level == "privileged":
        return ()
    rules = {c.id: rule for c in CHECKS if c.level in ("baseline", level) and (rule := c.rule(minor))}
    overridden = {c.overrides for c in CHECKS if c.level == "restricted" and c.id in rules}
    return tuple((check, rule) for check, rule in rules.items() if check not in overridden)


def _text(name: str, value: object) -> str:
    """Return a text, and refuse a number: 1.30 would be 1.3."""
    if not isinstance(value, str):
        raise ParameterError(f"{name}: expected text in quotes, found {value!r}")
    return value


def _minor(version: str) -> int:
    if version == LATEST:
        return NEWEST
    match = _VERSION.fullmatch(version)
    if not match:
        raise ParameterError(
            f"version: {version!r} is not a policy version; expected one like v1.29, or {LATEST}"
        )
    return int(match[1])
