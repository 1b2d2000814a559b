"""Seccomp and AppArmor profiles, which a policy names in annotations of its own.

Sources: pkg/security/podsecuritypolicy/seccomp/strategy.go, pkg/security/podsecuritypolicy/apparmor/strategy.go and
pkg/api/pod/util.go (``SeccompAnnotationForField``). When a pod is stored, from 1.19 to 1.26 the server makes seccomp
annotations and fields say the same (``applySeccompVersionSkew``); that is after the policies, and none of their doing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kubeharden.kube.manifests import annotations_of
from kubeharden.kube.names import (
    APPARMOR_ALLOWED,
    APPARMOR_CONTAINER,
    APPARMOR_DEFAULT,
    SECCOMP_ALLOWED,
    SECCOMP_CONTAINER,
    SECCOMP_DEFAULT,
    SECCOMP_POD,
)
from kubeharden.kube.pods import containers
from kubeharden.podsecurity.psp.pod import Object, context, name_of
from kubeharden.podsecurity.psp.wording import annotation, forbidden, quote

_ANY = "*"
_LOCALHOST = "localhost/"
# Two names of one profile since seccomp is a field of pods.
DEFAULT_NAMES = frozenset({"runtime/default", "docker/default"})


def profile_of_field(field: Mapping[str, Any] | None) -> str:
    """Return the annotation that says the same as a seccompProfile field; empty for none and for an incomplete one."""
    match field or {}:
        case {"type": "Unconfined"}:
            return "unconfined"
        case {"type": "RuntimeDefault"}:
            return "runtime/default"
        case {"type": "Localhost", "localhostProfile": str(name)}:
            return _LOCALHOST + name
    return ""


def pod_profile(pod: Object) -> str:
    """Return the seccomp profile of a pod: its annotation, or its field; empty for none."""
    return annotations_of(pod).get(SECCOMP_POD) or profile_of_field(
        context(pod["spec"]).get("seccompProfile")
    )


def container_profile(pod: Object, container: Object) -> str:
    """Return the seccomp profile of a container: its field, its annotation, the pod's field or the pod's annotation."""
    key, notes = SECCOMP_CONTAINER + name_of(container), annotations_of(pod)
    field, pod_field = (context(item).get("seccompProfile") for item in (container, pod["spec"]))
    if field is not None:
        return profile_of_field(field)
    if key in notes:
        return notes[key] or ""
    return profile_of_field(pod_field) if pod_field is not None else notes.get(SECCOMP_POD) or ""


def app_armor_profile(pod: Object, container: Object) -> str:
    """Return the AppArmor profile of a container; empty for none."""
    return annotations_of(pod).get(APPARMOR_CONTAINER + name_of(container)) or ""


def _list(notes: Mapping[str, str], key: str) -> frozenset[str] | None:
    """Return what a list with commas says; an empty one says the empty name. None without the annotation."""
    return frozenset((notes[key] or "").split(",")) if key in notes else None


@dataclass(frozen=True)
class SeccompStrategy:
    """The default profile and the allowed ones; without a list of allowed ones, none may be set."""

    default: str = ""
    allowed: frozenset[str] = frozenset()
    any_allowed: bool = False
    shown: str = ""

    @classmethod
    def of(cls, notes: Mapping[str, str], same_defaults: bool) -> SeccompStrategy:
        """Return the strategy of a policy with these annotations.

        With ``same_defaults``, docker/default and runtime/default allow one another, as from 1.19 on.
        """
        names = _list(notes, SECCOMP_ALLOWED) or frozenset()
        allowed = names - {_ANY}
        if same_defaults and allowed & DEFAULT_NAMES:
            allowed |= DEFAULT_NAMES
        return cls(notes.get(SECCOMP_DEFAULT) or "", allowed, _ANY in names, notes.get(SECCOMP_ALLOWED) or "")

    def generate(self, pod: Object) -> str:
        """Return the profile for the pod's annotation, or else that of its field; empty for none."""
        field = context(pod["spec"]).get("seccompProfile")
        return annotations_of(pod).get(SECCOMP_POD) or (
            self.default if field is None else profile_of_field(field)
        )

    def refusals(self, pod: Object) -> list[str]:
        """Return why the pod's own profile may not be used."""
        return self._refusals(pod_profile(pod), SECCOMP_POD)

    def container_refusals(self, pod: Object, container: Object) -> list[str]:
        """Return why a container's profile may not be used."""
        key = SECCOMP_CONTAINER + name_of(container)
        return self._refusals(container_profile(pod, container), key)

    def _refusals(self, profile: str, key: str) -> list[str]:
        if self.any_allowed or profile in self.allowed or not (self.allowed or profile):
            return []
        if not self.allowed:
            return [forbidden(annotation(key), "seccomp may not be set")]
        words = f"{profile} is not an allowed seccomp profile. Valid values are {self.shown}"
        return [forbidden(annotation(key), words)]


@dataclass(frozen=True)
class AppArmorStrategy:
    """The default profile and the allowed ones; without a list of allowed ones, anything may be set or left out."""

    default: str = ""
    allowed: frozenset[str] | None = None
    shown: str = ""

    @classmethod
    def of(cls, notes: Mapping[str, str]) -> AppArmorStrategy:
        """Return the strategy of a policy with these annotations."""
        return cls(
            notes.get(APPARMOR_DEFAULT) or "",
            _list(notes, APPARMOR_ALLOWED),
            notes.get(APPARMOR_ALLOWED) or "",
        )

    def generate(self, pod: Object) -> dict[str, str]:
        """Return the annotations that are missing: the default profile for every container without one."""
        if not self.default:
            return {}
        keys = [APPARMOR_CONTAINER + name_of(container) for _, container in containers(pod)]
        return {key: self.default for key in keys if not annotations_of(pod).get(key)}

    def refusals(self, pod: Object, container: Object) -> list[str]:
        """Return why a container's profile may not be used."""
        if self.allowed is None:
            return []
        key, profile = APPARMOR_CONTAINER + name_of(container), app_armor_profile(pod, container)
        if not profile:
            return [forbidden(annotation(key), "AppArmor profile must be set")]
        if profile not in self.allowed:
            words = f"{profile} is not an allowed profile. Allowed values: {quote(self.shown)}"
            return [forbidden(annotation(key), words)]
        return []
