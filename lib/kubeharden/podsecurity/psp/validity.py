"""Validation of a pod that a policy has filled in, as the API server does it: pkg/apis/core/validation/validation.go.

The plugin admits such a pod, and the validation that comes after it refuses it (``ValidatePodSecurityContext``,
``ValidateSecurityContext``), with no other policy tried. Only what a policy can bring about is looked at.
"""

from __future__ import annotations

from kubeharden.kube.pods import containers
from kubeharden.podsecurity.psp.pod import Object, context
from kubeharden.podsecurity.psp.wording import invalid

# apimachinery's pkg/util/validation, IsValidUserID and IsValidGroupID.
_LAST_ID = 2**31 - 1
_IDS = ("runAsUser", "runAsGroup", "fsGroup")


def invalidities(pod: Object) -> list[str]:
    """Return why the server would not store this pod; empty if it would."""
    reasons = _ids("spec.securityContext", context(pod["spec"]))
    for where, container in containers(pod):
        path, security = f"{where}.securityContext", context(container)
        reasons += _ids(path, security)
        if security.get("allowPrivilegeEscalation") is not False:
            continue
        begin = f"{path}: cannot set allowPrivilegeEscalation to false and"
        if security.get("privileged"):
            reasons.append(f"{begin} privileged to true")
        if "CAP_SYS_ADMIN" in ((security.get("capabilities") or {}).get("add") or ()):
            reasons.append(f"{begin} add the capability CAP_SYS_ADMIN")
    return reasons


def _ids(path: str, security: Object) -> list[str]:
    numbers = [(f"{path}.{key}", security[key]) for key in _IDS if security.get(key) is not None]
    numbers += [
        (f"{path}.supplementalGroups[{index}]", group)
        for index, group in enumerate(security.get("supplementalGroups") or ())
    ]
    words = f"must be between 0 and {_LAST_ID}, inclusive"
    return [invalid(where, number, words) for where, number in numbers if not 0 <= number <= _LAST_ID]
