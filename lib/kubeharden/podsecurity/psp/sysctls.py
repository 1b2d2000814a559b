"""Kernel parameters: pkg/security/podsecuritypolicy/sysctl/mustmatchpatterns.go.

True to 1.11 and later. In 1.10 sysctls were annotations of pods, and a policy's list an annotation of the policy:
an alpha feature, not judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubeharden.podsecurity.psp.policy import PolicySpec
from kubeharden.podsecurity.psp.wording import forbidden, quote
from kubeharden.releases import Release, features_of


def safe_sysctls(release: Release) -> frozenset[str]:
    """Return the sysctls that no policy needs to allow: they concern the pod alone and do no harm on its node."""
    return frozenset(name for name, row in features_of("safe sysctl ").items() if row.in_release(release))


def sysctl_refusals(
    spec: PolicySpec, safe: frozenset[str], sysctls: Iterable[Mapping[str, Any]]
) -> list[str]:
    """Return why a pod may not set these."""
    reasons = []
    for index, sysctl in enumerate(sysctls):
        name = sysctl.get("name") or ""
        path = f"pod.spec.securityContext.sysctls[{index}]"
        if _matches(name, spec.forbidden_sysctls):
            reasons.append(forbidden(path, f"sysctl {quote(name)} is not allowed"))
        elif name not in safe and not _matches(name, spec.allowed_sysctls):
            reasons.append(forbidden(path, f"unsafe sysctl {quote(name)} is not allowed"))
    return reasons


def _matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether a name is among names, or beginnings of names that end in ``*``."""
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)
