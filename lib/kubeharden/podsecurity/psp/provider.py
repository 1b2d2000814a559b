"""One policy applied to a pod: pkg/security/podsecuritypolicy/provider.go and factory.go.

``mutate`` comes first and fills in what the policy wants and the pod does not say; ``refusals`` judges the result.
Neither changes what it is given: a pod that needs nothing comes back as the same object.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeharden.kube.manifests import annotations_of
from kubeharden.kube.names import APPARMOR_DEFAULT, SECCOMP_DEFAULT, SECCOMP_POD
from kubeharden.kube.pods import CONTAINER_LISTS, containers
from kubeharden.podsecurity.psp.capabilities import capability_refusals, with_required
from kubeharden.podsecurity.psp.pod import Object, context, effective
from kubeharden.podsecurity.psp.policy import PolicyObject, PolicySpec
from kubeharden.podsecurity.psp.profiles import AppArmorStrategy, SeccompStrategy
from kubeharden.podsecurity.psp.selinux import label_refusals
from kubeharden.podsecurity.psp.sysctls import safe_sysctls, sysctl_refusals
from kubeharden.podsecurity.psp.volumes import volume_refusals
from kubeharden.podsecurity.psp.wording import invalid
from kubeharden.releases import Release, feature


class UnusableError(ValueError):
    """The server stores the policy, but cannot apply it, and passes over it."""


@dataclass(frozen=True)
class Provider:
    """A policy that is ready to be applied.

    Attributes:
        label: the SELinux label of MustRunAs; None for RunAsAny.
        safe_sysctls: those of the release.
    """

    name: str
    spec: PolicySpec
    label: dict[str, Any] | None
    seccomp: SeccompStrategy
    app_armor: AppArmorStrategy
    safe_sysctls: frozenset[str]

    @classmethod
    def of(cls, policy: PolicyObject, release: Release) -> Provider:
        """Make the strategies of a policy (factory.go, ``CreateStrategies``).

        Raises:
            UnusableError: a rule is without what it must have.
        """
        spec, notes = policy.spec, policy.annotations
        _check_usable(spec)
        must_label = spec.se_linux.options if spec.se_linux.rule == "MustRunAs" else None
        same_defaults = feature("seccomp field of pods").in_release(release)
        return cls(
            name=policy.metadata.name,
            spec=spec,
            label=None if must_label is None else must_label.model_dump(exclude_defaults=True),
            seccomp=SeccompStrategy.of(notes, same_defaults),
            app_armor=AppArmorStrategy.of(notes),
            safe_sysctls=safe_sysctls(release),
        )

    def mutate(self, pod: Object) -> Object:
        """Return the pod with what the policy fills in (``MutatePod``); the same object where that is nothing."""
        spec = pod["spec"]
        changed = self._pod_changes(spec)
        pod_context = {**context(spec), **changed.get("securityContext", {})}
        for key in CONTAINER_LISTS:
            before = spec.get(key) or ()
            after = [self._container(item, pod_context) for item in before]
            if any(new is not old for new, old in zip(after, before, strict=True)):
                changed[key] = after
        notes = self._notes(pod)
        if not changed and not notes:
            return pod
        result = {**pod, "spec": {**spec, **changed}}
        if notes:
            result["metadata"] = {
                **(pod.get("metadata") or {}),
                "annotations": {**annotations_of(pod), **notes},
            }
        return result

    def _pod_changes(self, spec: Object) -> Object:
        """Return the fields of the pod's spec that the policy fills in."""
        security = context(spec)
        filled: Object = {}
        if security.get("supplementalGroups") is None and self.spec.supplemental_groups.default is not None:
            filled["supplementalGroups"] = [self.spec.supplemental_groups.default]
        if security.get("fsGroup") is None and self.spec.fs_group.default is not None:
            filled["fsGroup"] = self.spec.fs_group.default
        if security.get("seLinuxOptions") is None and self.label is not None:
            filled["seLinuxOptions"] = dict(self.label)
        changed: Object = {"securityContext": {**security, **filled}} if filled else {}
        if self._runtime_class() is not None and spec.get("runtimeClassName") is None:
            changed["runtimeClassName"] = self._runtime_class()
        return changed

    def _notes(self, pod: Object) -> dict[str, str]:
        """Return the annotations that the policy adds."""
        profile = self.seccomp.generate(pod)
        changes = profile and profile != annotations_of(pod).get(SECCOMP_POD)
        return {**({SECCOMP_POD: profile} if changes else {}), **self.app_armor.generate(pod)}

    def _container(self, container: Object, pod_context: Object) -> Object:
        """Return a container with what the policy fills in (``mutateContainer``)."""
        security = context(container)
        filled: Object = {}
        user = effective(pod_context, security, "runAsUser")
        if user is None and self.spec.run_as_user.default is not None:
            user = filled["runAsUser"] = self.spec.run_as_user.default
        if (
            effective(pod_context, security, "runAsGroup") is None
            and self.spec.run_as_group.default is not None
        ):
            filled["runAsGroup"] = self.spec.run_as_group.default
        if (
            self.spec.run_as_user.must_be_non_root
            and user is None
            and effective(pod_context, security, "runAsNonRoot") is None
        ):
            filled["runAsNonRoot"] = True
        capabilities = with_required(self.spec, security.get("capabilities"))
        if capabilities is not security.get("capabilities"):
            filled["capabilities"] = capabilities
        if self.spec.read_only_root and security.get("readOnlyRootFilesystem") is None:
            filled["readOnlyRootFilesystem"] = True
        if security.get("allowPrivilegeEscalation") is None and (default := self._escalation()) is not None:
            filled["allowPrivilegeEscalation"] = default
        return {**container, "securityContext": {**security, **filled}} if filled else container

    def _escalation(self) -> bool | None:
        """Return what allowPrivilegeEscalation is set to where a container does not say; None leaves it."""
        if self.spec.default_escalation is not None:
            return self.spec.default_escalation
        return None if self.spec.escalation else False

    def _runtime_class(self) -> str | None:
        return self.spec.runtime_class.default if self.spec.runtime_class is not None else None

    @property
    def mutating_fields(self) -> list[str]:
        """The fields and annotations of the policy by which it fills something into a pod that leaves it open."""
        default = self.spec.default_escalation
        fills_in = {
            "runAsUser": self.spec.run_as_user.default is not None or self.spec.run_as_user.must_be_non_root,
            "runAsGroup": self.spec.run_as_group.default is not None,
            "seLinux": self.label is not None,
            "supplementalGroups": self.spec.supplemental_groups.default is not None,
            "fsGroup": self.spec.fs_group.default is not None,
            "defaultAddCapabilities": bool(self.spec.default_add),
            "requiredDropCapabilities": bool(self.spec.required_drop),
            "readOnlyRootFilesystem": self.spec.read_only_root,
            "defaultAllowPrivilegeEscalation": default is not None,
            "allowPrivilegeEscalation": default is None and self._escalation() is not None,
            "runtimeClass.defaultRuntimeClassName": self._runtime_class() is not None,
            SECCOMP_DEFAULT: bool(self.seccomp.default),
            APPARMOR_DEFAULT: bool(self.app_armor.default),
        }
        return [name for name, fills in fills_in.items() if fills]

    def refusals(self, pod: Object) -> list[str]:
        """Return why a pod, mutated already, is not admitted (``ValidatePod``); empty if it is."""
        spec, security = pod["spec"], context(pod["spec"])
        path = "spec.securityContext"
        reasons = []
        if security.get("fsGroup") is not None:
            reasons += self.spec.fs_group.refusals(f"{path}.fsGroup", [security["fsGroup"]])
        reasons += self.spec.supplemental_groups.refusals(
            f"{path}.supplementalGroups", security.get("supplementalGroups") or ()
        )
        reasons += self.seccomp.refusals(pod)
        reasons += label_refusals(f"{path}.seLinuxOptions", self.label, security.get("seLinuxOptions"))
        for key, allowed, name in (
            ("hostNetwork", self.spec.host_network, "Host network"),
            ("hostPID", self.spec.host_pid, "Host PID"),
            ("hostIPC", self.spec.host_ipc, "Host IPC"),
        ):
            if spec.get(key) and not allowed:
                reasons.append(
                    invalid(f"{path}.{key}", value=True, detail=f"{name} is not allowed to be used")
                )
        reasons += sysctl_refusals(self.spec, self.safe_sysctls, security.get("sysctls") or ())
        reasons += volume_refusals(self.spec, pod)
        reasons += self._runtime_class_refusals(spec.get("runtimeClassName"))
        for where, container in containers(pod):
            reasons += self._container_refusals(pod, where, container)
        return reasons

    def _runtime_class_refusals(self, name: str | None) -> list[str]:
        classes = self.spec.runtime_class
        if name is None or classes is None or not {"*", name}.isdisjoint(classes.allowed):
            return []
        return [invalid("spec.runtimeClassName", name)]

    def _container_refusals(self, pod: Object, where: str, container: Object) -> list[str]:
        """Return why a container is not admitted (``validateContainer``)."""
        security, pod_context = context(container), context(pod["spec"])
        path = f"{where}.securityContext"

        def value_of(key: str) -> Any:
            return effective(pod_context, security, key)

        reasons = self.spec.run_as_user.refusals(path, value_of("runAsNonRoot"), value_of("runAsUser"))
        if value_of("runAsGroup") is not None:
            reasons += self.spec.run_as_group.refusals(path, [value_of("runAsGroup")])
        reasons += label_refusals(f"{path}.seLinuxOptions", self.label, value_of("seLinuxOptions"))
        reasons += self.app_armor.refusals(pod, container)
        reasons += self.seccomp.container_refusals(pod, container)
        if security.get("privileged") and not self.spec.privileged:
            reasons.append(
                invalid(f"{path}.privileged", value=True, detail="Privileged containers are not allowed")
            )
        proc_mount = security.get("procMount") or "Default"
        if proc_mount not in (self.spec.proc_mounts or ("Default",)):
            reasons.append(invalid(f"{path}.procMount", proc_mount, "ProcMountType is not allowed"))
        reasons += capability_refusals(self.spec, f"{path}.capabilities", security.get("capabilities"))
        reasons += self._host_port_refusals(where, container)
        if self.spec.read_only_root and not security.get("readOnlyRootFilesystem"):
            words = "ReadOnlyRootFilesystem must be set to true"
            reasons.append(invalid(f"{path}.readOnlyRootFilesystem", value=False, detail=words))
        if security.get("allowPrivilegeEscalation") and not self.spec.escalation:
            words = "Allowing privilege escalation for containers is not allowed"
            reasons.append(invalid(f"{path}.allowPrivilegeEscalation", value=True, detail=words))
        return reasons

    def _host_port_refusals(self, where: str, container: Object) -> list[str]:
        ranges = [(r.min, r.max) for r in self.spec.host_ports]
        text = ",".join(str(low) if low == high else f"{low}-{high}" for low, high in ranges)
        return [
            invalid(
                f"{where}.hostPort",
                port,
                f"Host port {port} is not allowed to be used. Allowed ports: [{text}]",
            )
            for port in (item.get("hostPort") or 0 for item in container.get("ports") or ())
            if port > 0 and not any(low <= port <= high for low, high in ranges)
        ]


def _check_usable(spec: PolicySpec) -> None:
    if spec.se_linux.rule == "MustRunAs" and spec.se_linux.options is None:
        raise UnusableError("MustRunAs requires SELinuxOptions")
    if spec.run_as_user.rule == "MustRunAs" and not spec.run_as_user.ranges:
        raise UnusableError("MustRunAs requires at least one range")
    for groups in (spec.run_as_group, spec.supplemental_groups, spec.fs_group):
        if groups.rule != "RunAsAny" and not groups.ranges:
            raise UnusableError(f"ranges must be supplied for {groups.rule}")
