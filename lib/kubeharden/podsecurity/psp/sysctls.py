"""Kernel parameters: pkg/security/podsecuritypolicy/sysctl/mustmatchpatterns.go.

True to 1.11 and later. In 1.10 sysctls were annotations of pods, and a policy's list an annotation of the policy:
an alpha feature, not judged here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.podsecurity.psp.wording import forbidden, quoted
from kubeharden.releases import Release

# Each with the release in which SafeSysctlWhitelist first had it.
_SAFE = {
    "kernel.shm_rmid_forced": "1.10",
    "net.ipv4.ip_local_port_range": "1.10",
    "net.ipv4.tcp_syncookies": "1.10",
    "net.ipv4.ping_group_range": "1.18",
    "net.ipv4.ip_unprivileged_port_start": "1.22",
}


def safe_sysctls(release: Release) -> frozenset[str]:
    """What no policy needs to allow: it is of the pod alone, and does no harm to others on its node."""
    return frozenset(name for name, since in _SAFE.items() if not release.older_than(since))


@dataclass(frozen=True)
class SysctlsStrategy:
    """allowedUnsafeSysctls and forbiddenSysctls: names, or beginnings of names that end in ``*``."""

    safe: frozenset[str]
    allowed: tuple[str, ...] = ()
    forbidden: tuple[str, ...] = ()

    def refusals(self, sysctls: Iterable[Mapping[str, Any]]) -> list[str]:
        """Why a pod may not set these."""
        reasons = []
        for index, sysctl in enumerate(sysctls):
            name = sysctl.get("name") or ""
            path = f"pod.spec.securityContext.sysctls[{index}]"
            if _matches(name, self.forbidden):
                reasons.append(forbidden(path, f"sysctl {quoted(name)} is not allowed"))
            elif name not in self.safe and not _matches(name, self.allowed):
                reasons.append(forbidden(path, f"unsafe sysctl {quoted(name)} is not allowed"))
        return reasons


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(name.startswith(p[:-1]) if p.endswith("*") else name == p for p in patterns)
