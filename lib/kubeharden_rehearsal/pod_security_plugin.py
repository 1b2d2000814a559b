"""The PodSecurity admission plugin: it refuses pods, warns of workloads, and reads what a namespace's labels say.

Source: admission/admission.go and api/helpers.go of k8s.io/pod-security-admission. The sentences are upstream's; in
brackets behind each of the reasons is the field that was found. Audit annotations are dropped.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from kubeharden.kube.names import POD_SECURITY_LABEL
from kubeharden.kube.pods import containers
from kubeharden.kube.rbac import Identity
from kubeharden.kube.workloads import KINDS, template_of
from kubeharden.podsecurity.admission_config import OUTER_KIND, PLUGIN, inner_versions
from kubeharden.podsecurity.levels import MODES, labels_of, stricter_or_same
from kubeharden.podsecurity.pss.standards import LATEST, LEVELS, Violation, evaluate_pss
from kubeharden.releases import Release
from kubeharden_rehearsal.api.rules import Object
from kubeharden_rehearsal.api.status import Forbidden, invalid
from kubeharden_rehearsal.api.store import ObjectStore
from kubeharden_rehearsal.behaviour import RefusedError

_OUTER = ("apiserver.k8s.io/v1alpha1", "apiserver.config.k8s.io/v1alpha1", "apiserver.config.k8s.io/v1")
# ForbiddenReason of each check (policy/check_*.go).
_REASONS = {
    "hostNamespaces": "host namespaces",
    "privileged": "privileged",
    "capabilities_baseline": "non-default capabilities",
    "hostPathVolumes": "hostPath volumes",
    "hostPorts": "hostPort",
    "hostProbesAndHostLifecycle": "probe or lifecycle host",
    "appArmorProfile": "forbidden AppArmor profile",
    "seLinuxOptions": "seLinuxOptions",
    "procMount": "procMount",
    "seccompProfile_baseline": "seccompProfile",
    "sysctls": "forbidden sysctls",
    "windowsHostProcess": "hostProcess",
    "restrictedVolumes": "restricted volume types",
    "allowPrivilegeEscalation": "allowPrivilegeEscalation != false",
    "runAsNonRoot": "runAsNonRoot != true",
    "runAsUser": "runAsUser=0",
    "capabilities_restricted": "unrestricted capabilities",
    "seccompProfile_restricted": "seccompProfile",
    "procMount_restricted": "procMount",
}
_NOT_STARTED = f'failed to initialize admission: couldn\'t init admission plugin "{PLUGIN}"'


def read_configuration(
    text: bytes, release: Release, refuse: Callable[[str], RefusedError]
) -> dict[str, Any]:
    """Return the plugin's part of an AdmissionConfiguration; empty where it has none.

    Where the release does not take the file, or that part of it, it raises what ``refuse`` makes.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise refuse(f"failed to read plugin config: {str(error).splitlines()[0]}") from None
    outer = content if isinstance(content, dict) else {}
    if outer.get("kind") != OUTER_KIND or outer.get("apiVersion") not in _OUTER:
        raise refuse(f"failed to read plugin config: {_not_registered(outer)}")
    found: dict[str, Any] = next((p for p in outer.get("plugins") or () if p.get("name") == PLUGIN), {})
    part: dict[str, Any] = found.get("configuration") or {}
    if part and part.get("apiVersion") not in inner_versions(release):
        raise refuse(f"{_NOT_STARTED}: {_not_registered(part)}")
    wrong = [
        value for mode in MODES if (value := (part.get("defaults") or {}).get(mode, LEVELS[0])) not in LEVELS
    ]
    if wrong:
        words = f'defaults: Invalid value: "{wrong[0]}": must be one of {", ".join(LEVELS)}'
        raise refuse(f"{_NOT_STARTED}: {words}")
    return part


def _not_registered(content: Mapping[str, Any]) -> str:
    kind, version = content.get("kind", ""), content.get("apiVersion", "")
    return f'no kind "{kind}" is registered for version "{version}"'


class PodSecurity:
    """The plugin with one configuration."""

    def __init__(self, store: ObjectStore, configuration: Mapping[str, Any]) -> None:
        self._store = store
        self._defaults: Mapping[str, str] = configuration.get("defaults") or {}
        self._exemptions: Mapping[str, Any] = configuration.get("exemptions") or {}

    def admit(self, user: Identity, operation: str, obj: Object) -> list[str]:
        """Judge an object that is created or updated, and return the warnings for the user.

        A pod that violates what its namespace enforces is Forbidden; a namespace with wrong labels is an ApiError.
        """
        kind, namespace = obj["kind"], obj["metadata"].get("namespace", "")
        if kind == "Namespace":
            return self._namespace(operation, obj)
        exempt = namespace in (self._exemptions.get("namespaces") or ())
        exempt = exempt or user.user in (self._exemptions.get("usernames") or ())
        if exempt or kind not in {"Pod", *KINDS}:
            return []
        pod = obj if kind == "Pod" else {"metadata": {}, "spec": {}, **template_of(kind, obj)}
        labels = labels_of(self._store.get("Namespace", namespace))
        if kind == "Pod":
            if operation == "UPDATE" and self._has_the_same_images(obj):
                return []
            if violated := self._violations(labels, "enforce", pod):
                raise Forbidden(f"violates PodSecurity {violated}")
        warned = self._violations(labels, "warn", pod)
        return [f"would violate PodSecurity {warned}"] if warned else []

    def _violations(self, labels: Mapping[str, str], mode: str, pod: Object) -> str:
        level, version = self._policy(labels, mode)
        violations = evaluate_pss(pod, level, version)
        return f'"{level}:{version}": {_detail(violations)}' if violations else ""

    def _policy(self, labels: Mapping[str, str], mode: str) -> tuple[str, str]:
        level = labels.get(mode) or self._defaults.get(mode) or LEVELS[0]
        version = labels.get(f"{mode}-version") or self._defaults.get(f"{mode}-version") or LATEST
        # An unknown level counts as the strictest where it is enforced, and for nothing elsewhere.
        unknown = LEVELS[-1] if mode == "enforce" else LEVELS[0]
        return level if level in LEVELS else unknown, version if _is_version(version) else LATEST

    def _namespace(self, operation: str, obj: Object) -> list[str]:
        name, labels, exists = obj["metadata"].get("name", ""), labels_of(obj), operation == "UPDATE"
        old = labels_of(self._store.get("Namespace", name)) if exists else {}
        wrong = _label_errors(labels)
        if wrong and wrong != _label_errors(old):
            raise invalid(self._store.catalog.by_kind("Namespace"), name, wrong)
        level, version = self._policy(labels, "enforce")
        before, before_version = self._policy(old, "enforce")
        relaxed = version == before_version and stricter_or_same(before, level)
        return (
            [] if not exists or level == LEVELS[0] or relaxed else self._existing_pods(name, level, version)
        )

    def _existing_pods(self, namespace: str, level: str, version: str) -> list[str]:
        pods: dict[str, list[str]] = {}
        for pod in self._store.items("Pod", namespace):
            if violations := evaluate_pss(pod, level, version):
                pods.setdefault(", ".join(_by_reason(violations)), []).append(pod["metadata"]["name"])
        if not pods:
            return []
        head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}:{version}"'
        return [head, *sorted(f"{min(names)}{_others(len(names) - 1)}: {why}" for why, names in pods.items())]

    def _has_the_same_images(self, pod: Object) -> bool:
        old = self._store.get("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        before, after = ([(path, c.get("image")) for path, c in containers(p)] for p in (old, pod))
        return before == after


def _others(count: int) -> str:
    return f" (and {count} other pod{'s' if count > 1 else ''})" if count else ""


def _is_version(text: str) -> bool:
    return text == LATEST or (text.startswith("v1.") and text[3:].isdigit())


def _label_errors(labels: Mapping[str, str]) -> list[str]:
    wrong = []
    for mode in MODES:
        if labels.get(mode, LEVELS[0]) not in LEVELS:
            wrong.append((mode, f"must be one of {', '.join(LEVELS)}"))
        if not _is_version(labels.get(f"{mode}-version", LATEST)):
            wrong.append((f"{mode}-version", 'must be "latest" or "v1.x"'))
    return [
        f'metadata.labels[{POD_SECURITY_LABEL}/{key}]: Invalid value: "{labels[key]}": {words}'
        for key, words in wrong
    ]


def _by_reason(violations: list[Violation]) -> dict[str, list[str]]:
    """Return upstream's reasons, and the fields that were found for each."""
    found: dict[str, list[str]] = {}
    for violation in violations:
        reason = _REASONS.get(violation.check, violation.check)
        found.setdefault(reason, []).append(f"{violation.field} {violation.found}")
    return found


def _detail(violations: list[Violation]) -> str:
    """Return upstream's ForbiddenDetail: each reason with what was found."""
    return ", ".join(f"{reason} ({', '.join(fields)})" for reason, fields in _by_reason(violations).items())
