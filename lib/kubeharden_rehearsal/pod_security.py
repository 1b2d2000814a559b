"""The PodSecurity admission plugin: refuses pods, warns of workloads, and looks at what a namespace's labels mean.

Source: admission/admission.go and api/helpers.go of k8s.io/pod-security-admission. The sentences are upstream's; what
stands in brackets behind each of the reasons is the field that was found. Audit annotations are not kept anywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import yaml

from kubeharden.kube.rbac import Identity
from kubeharden.kube.workloads import TEMPLATES
from kubeharden.podsecurity.admission_config import inner_versions
from kubeharden.podsecurity.pss.standards import LATEST, LEVELS, Violation, evaluate_pss
from kubeharden.releases import Release
from kubeharden_rehearsal.api.status import Cause, Forbidden, invalid
from kubeharden_rehearsal.behaviour import RefusedError
from kubeharden_rehearsal.store import Object, ObjectStore

PLUGIN = "PodSecurity"
LABEL = "pod-security.kubernetes.io"
MODES = ("enforce", "audit", "warn")
_OUTER = ("apiserver.k8s.io/v1alpha1", "apiserver.config.k8s.io/v1alpha1", "apiserver.config.k8s.io/v1")
_PATHS = dict(TEMPLATES.values())
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


def read_configuration(
    text: bytes, release: Release, refuse: Callable[[str], RefusedError]
) -> dict[str, Any]:
    """The plugin's part of an AdmissionConfiguration; empty where it has none.

    Raises:
        RefusedError: the file, or that part of it, is none that this release takes.
    """
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise refuse(f"failed to read plugin config: {str(error).splitlines()[0]}") from None
    outer = content if isinstance(content, dict) else {}
    if outer.get("kind") != "AdmissionConfiguration" or outer.get("apiVersion") not in _OUTER:
        words = f'no kind "{outer.get("kind", "")}" is registered for version "{outer.get("apiVersion", "")}"'
        raise refuse(f"failed to read plugin config: {words}")
    found: dict[str, Any] = next((p for p in outer.get("plugins") or () if p.get("name") == PLUGIN), {})
    part: dict[str, Any] = found.get("configuration") or {}
    if part and part.get("apiVersion") not in inner_versions(release):
        words = f'no kind "{part.get("kind", "")}" is registered for version "{part.get("apiVersion", "")}"'
        raise refuse(f'failed to initialize admission: couldn\'t init admission plugin "{PLUGIN}": {words}')
    wrong = [
        value for mode in MODES if (value := (part.get("defaults") or {}).get(mode, LEVELS[0])) not in LEVELS
    ]
    if wrong:
        words = f'defaults: Invalid value: "{wrong[0]}": must be one of {", ".join(LEVELS)}'
        raise refuse(f'failed to initialize admission: couldn\'t init admission plugin "{PLUGIN}": {words}')
    return part


class PodSecurity:
    """The plugin with one configuration.

    Args:
        store: the objects.
        configuration: what ``read_configuration`` gave.
    """

    def __init__(self, store: ObjectStore, configuration: Mapping[str, Any]) -> None:
        self._store = store
        self._defaults: Mapping[str, str] = configuration.get("defaults") or {}
        self._exemptions: Mapping[str, Any] = configuration.get("exemptions") or {}

    def admit(self, user: Identity, operation: str, obj: Object) -> list[str]:
        """Judge an object that is created or updated, and return the warnings for whoever asks.

        Raises:
            Forbidden: a pod violates what its namespace enforces.
            ApiError: a namespace has labels that are none.
        """
        kind = obj["kind"]
        if kind == "Namespace":
            return self._namespace(operation, obj)
        namespace = obj["metadata"].get("namespace", "")
        exempt = namespace in (self._exemptions.get("namespaces") or ())
        if (
            (kind != "Pod" and kind not in _PATHS)
            or exempt
            or user.user in (self._exemptions.get("usernames") or ())
        ):
            return []
        if kind == "Pod" and operation == "UPDATE" and not self._is_significant(obj):
            return []
        labels = self._store.get("Namespace", namespace)["metadata"].get("labels") or {}
        pod = obj if kind == "Pod" else _template(obj)
        if kind == "Pod":
            violated = self._violations(labels, "enforce", pod)
            if violated:
                raise Forbidden(f"violates PodSecurity {violated}")
        warned = self._violations(labels, "warn", pod)
        return [f"would violate PodSecurity {warned}"] if warned else []

    def _violations(self, labels: Mapping[str, str], mode: str, pod: Mapping[str, Any]) -> str:
        level, version = self._policy(labels, mode)
        violations = evaluate_pss(dict(pod), level, version)
        return f'"{level}:{version}": {_detail(violations)}' if violations else ""

    def _policy(self, labels: Mapping[str, str], mode: str) -> tuple[str, str]:
        level = labels.get(f"{LABEL}/{mode}") or self._defaults.get(mode) or LEVELS[0]
        version = labels.get(f"{LABEL}/{mode}-version") or self._defaults.get(f"{mode}-version") or LATEST
        # What is not a level counts as the strictest where it is enforced, and for nothing elsewhere.
        unknown = LEVELS[-1] if mode == "enforce" else LEVELS[0]
        return level if level in LEVELS else unknown, version if _is_version(version) else LATEST

    def _namespace(self, operation: str, obj: Object) -> list[str]:
        name, labels = obj["metadata"].get("name", ""), obj["metadata"].get("labels") or {}
        exists = operation == "UPDATE"
        old = self._store.get("Namespace", name)["metadata"].get("labels") or {} if exists else {}
        wrong = _label_errors(labels)
        if wrong and wrong != _label_errors(old):
            raise invalid(self._store.catalog.preferred("Namespace"), name, wrong)
        level, version = self._policy(labels, "enforce")
        before, before_version = self._policy(old, "enforce")
        relaxed = version == before_version and LEVELS.index(level) <= LEVELS.index(before)
        if not exists or level == LEVELS[0] or relaxed:
            return []
        return self._existing_pods(name, level, version)

    def _existing_pods(self, namespace: str, level: str, version: str) -> list[str]:
        pods: dict[str, list[str]] = {}
        for pod in self._store.list("Pod", namespace):
            violations = evaluate_pss(pod, level, version)
            if violations:
                pods.setdefault(", ".join(_reasons(violations)), []).append(pod["metadata"]["name"])
        if not pods:
            return []
        head = f'existing pods in namespace "{namespace}" violate the new PodSecurity enforce level "{level}:{version}"'
        lines = []
        for reason, names in pods.items():
            more = len(names) - 1
            others = f" (and {more} other pod{'s' if more > 1 else ''})" if more else ""
            lines.append(f"{min(names)}{others}: {reason}")
        return [head, *sorted(lines)]

    def _is_significant(self, pod: Mapping[str, Any]) -> bool:
        old = self._store.get("Pod", pod["metadata"]["name"], pod["metadata"]["namespace"])
        return _images(pod) != _images(old)


def _template(obj: Mapping[str, Any]) -> Mapping[str, Any]:
    found: Any = obj
    for key in _PATHS[obj["kind"]]:
        found = (found or {}).get(key)
    return {"metadata": {}, "spec": {}, **(found or {})}


def _images(pod: Mapping[str, Any]) -> list[list[Any]]:
    keys = ("containers", "initContainers", "ephemeralContainers")
    return [[container.get("image") for container in pod["spec"].get(key) or ()] for key in keys]


def _is_version(text: str) -> bool:
    return text == LATEST or (text.startswith("v1.") and text[3:].isdigit())


def _label_errors(labels: Mapping[str, str]) -> list[Cause]:
    errors = []
    for mode in MODES:
        for key, good, words in (
            (f"{LABEL}/{mode}", LEVELS.__contains__, f"must be one of {', '.join(LEVELS)}"),
            (f"{LABEL}/{mode}-version", _is_version, 'must be "latest" or "v1.x"'),
        ):
            value = labels.get(key)
            if value is not None and not good(value):
                errors.append(
                    Cause(
                        "FieldValueInvalid", f'Invalid value: "{value}": {words}', f"metadata.labels[{key}]"
                    )
                )
    return errors


def _reasons(violations: list[Violation]) -> list[str]:
    return list(dict.fromkeys(_REASONS.get(violation.check, violation.check) for violation in violations))


def _detail(violations: list[Violation]) -> str:
    """Upstream's ForbiddenDetail: each reason with what was found."""
    found: dict[str, list[str]] = {}
    for violation in violations:
        reason = _REASONS.get(violation.check, violation.check)
        found.setdefault(reason, []).append(f"{violation.field} {violation.found}")
    return ", ".join(f"{reason} ({', '.join(fields)})" for reason, fields in found.items())
