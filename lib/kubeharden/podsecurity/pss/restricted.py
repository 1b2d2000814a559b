"""The rules that the restricted level adds: what hardened pods do.

Source of every rule: the file of its name in kubernetes/pod-security-admission v0.36, ``policy/check_<check>.go``.
"""

from __future__ import annotations

from collections.abc import Iterator

from kubeharden.podsecurity.pss.baseline import PROFILE_TYPES, Fault, Rule, added_capabilities
from kubeharden.podsecurity.pss.pod import Fields, Pod

VOLUMES = (
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "image",
    "persistentVolumeClaim",
    "projected",
    "secret",
)


def restricted_volumes(pod: Pod) -> Iterator[Fault]:
    """Check that volumes are of these kinds only.

    A volume of no kind is an emptyDir: the API server makes it one before it judges (``SetDefaults_Volume``), and
    upstream's own fixtures have one among the pods that pass.
    """
    for volume in pod.spec.children("volumes"):
        kinds = [key for key, value in volume.values.items() if key != "name" and value is not None]
        if kinds and not any(volume.child(kind) is not None for kind in VOLUMES):
            yield Fault(
                f"{volume.path}.{kinds[0]}",
                str(kinds[0]),
                f"only {', '.join(VOLUMES)}",
                f"replace volume {volume.text('name')} by a persistentVolumeClaim or another allowed kind",
            )


def allow_privilege_escalation(pod: Pod) -> Iterator[Fault]:
    """Check that every container says that its processes gain no privileges, as by set-user-ID."""
    for container in pod.containers:
        value = container.security.flag("allowPrivilegeEscalation")
        if value is not False:
            yield Fault(
                f"{container.security.path}.allowPrivilegeEscalation",
                "unset" if value is None else "true",
                "false",
                f"set securityContext.allowPrivilegeEscalation: false in {container.label}",
            )


def run_as_non_root(pod: Pod) -> Iterator[Fault]:
    """Check that the pod, or each of its containers, says that it does not run as root, and none says otherwise."""
    whole = pod.security.flag("runAsNonRoot")
    if whole is False:
        yield _as_root(pod.security, "the pod")
    for container in pod.containers:
        own = container.security.flag("runAsNonRoot")
        if own is False:
            yield _as_root(container.security, container.label)
        elif own is None and whole is None:
            yield Fault(
                f"{container.security.path}.runAsNonRoot",
                "unset",
                "true, here or in spec.securityContext",
                "set securityContext.runAsNonRoot: true in the pod",
            )


def _as_root(security: Fields, label: str) -> Fault:
    change = f"set securityContext.runAsNonRoot: true in {label}"
    return Fault(f"{security.path}.runAsNonRoot", "false", "true", change)


def run_as_user(pod: Pod) -> Iterator[Fault]:
    """Check that neither the pod nor a container names root as its user."""
    for label, security in pod.contexts():
        if security.number("runAsUser") == 0:
            change = f"set securityContext.runAsUser to a number that is not 0, or remove it, in {label}"
            yield Fault(f"{security.path}.runAsUser", "0", "not 0, or unset", change)


def capabilities(pod: Pod) -> Iterator[Fault]:
    """Check that every container drops all capabilities, and adds none but NET_BIND_SERVICE."""
    for container in pod.containers:
        holder = container.security.child("capabilities")
        dropped = holder.texts("drop") if holder is not None else []
        if "ALL" not in dropped:
            yield Fault(
                f"{container.security.path}.capabilities.drop",
                ", ".join(dropped) or "unset",
                "must have ALL",
                f"set securityContext.capabilities.drop: [ALL] in {container.label}",
            )
    yield from added_capabilities(pod, ("NET_BIND_SERVICE",))


def seccomp(pod: Pod) -> Iterator[Fault]:
    """Check that the pod, or each of its containers, has the runtime's seccomp profile or one of the node."""
    whole = _profile(pod.security)
    if whole not in (None, *PROFILE_TYPES):
        yield _no_profile(pod.security, "the pod", whole)
    for container in pod.containers:
        own = _profile(container.security)
        if own is None and whole is None:
            yield Fault(
                f"{container.security.path}.seccompProfile.type",
                "unset",
                "RuntimeDefault or Localhost, here or in spec.securityContext",
                "set securityContext.seccompProfile.type: RuntimeDefault in the pod",
            )
        elif own not in (None, *PROFILE_TYPES):
            yield _no_profile(container.security, container.label, own)


def _profile(security: Fields) -> str | None:
    """Return the type of a seccomp profile: None without a profile, empty for a profile without a type."""
    profile = security.child("seccompProfile")
    return None if profile is None else profile.text("type") or ""


def _no_profile(security: Fields, label: str, found: str | None) -> Fault:
    change = f"set securityContext.seccompProfile.type: RuntimeDefault in {label}"
    return Fault(f"{security.path}.seccompProfile.type", found or '""', "RuntimeDefault or Localhost", change)


def not_for_windows(rule: Rule) -> Rule:
    """Return the rule for all pods but those for Windows, which cannot have these fields."""
    return lambda pod: () if pod.windows else rule(pod)
