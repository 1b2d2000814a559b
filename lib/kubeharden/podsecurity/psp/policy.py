"""A PodSecurityPolicy, read strictly.

Sources: staging/src/k8s.io/api/policy/v1beta1/types.go (fields), pkg/apis/policy/v1beta1/defaults.go
(allowPrivilegeEscalation is true unless said) and pkg/apis/policy/validation/validation.go (rules).
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeharden.errors import ParameterError
from kubeharden.inputs.documents import mistakes
from kubeharden.podsecurity.psp.ids import Groups, RunAsUser, Strict

# Field of a volume → its type in a policy, in the order in which the server looks.
VOLUME_TYPES = {
    "hostPath": "hostPath",
    "emptyDir": "emptyDir",
    "gcePersistentDisk": "gcePersistentDisk",
    "awsElasticBlockStore": "awsElasticBlockStore",
    "gitRepo": "gitRepo",
    "secret": "secret",
    "nfs": "nfs",
    "iscsi": "iscsi",
    "glusterfs": "glusterfs",
    "persistentVolumeClaim": "persistentVolumeClaim",
    "rbd": "rbd",
    "flexVolume": "flexVolume",
    "cinder": "cinder",
    "cephfs": "cephFS",
    "flocker": "flocker",
    "downwardAPI": "downwardAPI",
    "fc": "fc",
    "azureFile": "azureFile",
    "configMap": "configMap",
    "vsphereVolume": "vsphereVolume",
    "quobyte": "quobyte",
    "azureDisk": "azureDisk",
    "photonPersistentDisk": "photonPersistentDisk",
    "storageos": "storageos",
    "projected": "projected",
    "portworxVolume": "portworxVolume",
    "scaleIO": "scaleIO",
    "csi": "csi",
    "ephemeral": "ephemeral",
}


class HostPortRange(Strict):
    """Ports of a node, both ends included; the API server does not look at the numbers."""

    min: int = 0
    max: int = 0


class SELinuxOptions(Strict):
    """Parts of a label."""

    level: str = ""
    role: str = ""
    type: str = ""
    user: str = ""


class SELinux(Strict):
    """The rule for labels."""

    rule: Literal["MustRunAs", "RunAsAny"]
    options: SELinuxOptions | None = Field(default=None, alias="seLinuxOptions")


class AllowedHostPath(Strict):
    """A path and all below it."""

    path_prefix: Annotated[str, Field(alias="pathPrefix", min_length=1)]
    read_only: bool = Field(default=False, alias="readOnly")


class AllowedFlexVolume(Strict):
    """A driver of flex volumes."""

    driver: Annotated[str, Field(min_length=1)]


class AllowedCSIDriver(Strict):
    """A driver of inline CSI volumes."""

    name: Annotated[str, Field(min_length=1)]


class RuntimeClasses(Strict):
    """The runtime classes of pods."""

    allowed: list[str] = Field(default=[], alias="allowedRuntimeClassNames")
    default: str | None = Field(default=None, alias="defaultRuntimeClassName")


class PolicySpec(Strict):
    """The spec of a PodSecurityPolicy with the API's own names and defaults."""

    privileged: bool = False
    default_add: list[str] = Field(default=[], alias="defaultAddCapabilities")
    required_drop: list[str] = Field(default=[], alias="requiredDropCapabilities")
    allowed_capabilities: list[str] = Field(default=[], alias="allowedCapabilities")
    volumes: list[str] = Field(default=[])
    host_network: bool = Field(default=False, alias="hostNetwork")
    host_ports: list[HostPortRange] = Field(default=[], alias="hostPorts")
    host_pid: bool = Field(default=False, alias="hostPID")
    host_ipc: bool = Field(default=False, alias="hostIPC")
    se_linux: SELinux = Field(alias="seLinux")
    run_as_user: RunAsUser = Field(alias="runAsUser")
    run_as_group: Groups = Field(default=Groups(rule="RunAsAny"), alias="runAsGroup")
    supplemental_groups: Groups = Field(alias="supplementalGroups")
    fs_group: Groups = Field(alias="fsGroup")
    read_only_root: bool = Field(default=False, alias="readOnlyRootFilesystem")
    default_escalation: bool | None = Field(default=None, alias="defaultAllowPrivilegeEscalation")
    escalation: bool = Field(default=True, alias="allowPrivilegeEscalation")
    host_paths: list[AllowedHostPath] = Field(default=[], alias="allowedHostPaths")
    flex_volumes: list[AllowedFlexVolume] = Field(default=[], alias="allowedFlexVolumes")
    csi_drivers: list[AllowedCSIDriver] = Field(default=[], alias="allowedCSIDrivers")
    allowed_sysctls: list[str] = Field(default=[], alias="allowedUnsafeSysctls")
    forbidden_sysctls: list[str] = Field(default=[], alias="forbiddenSysctls")
    proc_mounts: list[Literal["Default", "Unmasked"]] = Field(default=[], alias="allowedProcMountTypes")
    runtime_class: RuntimeClasses | None = Field(default=None, alias="runtimeClass")

    @model_validator(mode="after")
    def _known_volumes(self) -> PolicySpec:
        types = set(VOLUME_TYPES.values())
        unknown = sorted(set(self.volumes) - types - {"*"})
        if unknown:
            known = ", ".join(sorted(types))
            raise ValueError(f"volumes: there is no type {', '.join(unknown)}; there are {known} and *")
        return self


class _Metadata(BaseModel):
    """The metadata that is read; a server adds more."""

    model_config = ConfigDict(frozen=True, strict=True)

    name: Annotated[str, Field(min_length=1)]
    annotations: dict[str, str | None] | None = None


class PolicyObject(BaseModel):
    """A PodSecurityPolicy as the API has it."""

    model_config = ConfigDict(frozen=True, strict=True)

    metadata: _Metadata
    spec: PolicySpec

    @property
    def annotations(self) -> dict[str, str]:
        """Its annotations; null is the empty text."""
        return {key: value or "" for key, value in (self.metadata.annotations or {}).items()}


def read_policy(policy: object) -> PolicyObject:
    """Read a policy.

    Raises:
        ParameterError: it has not the shape of one, or names a rule or a type that there is not; every mistake
            is named.
    """
    try:
        return PolicyObject.model_validate(policy)
    except ValidationError as error:
        metadata = policy.get("metadata") if isinstance(policy, dict) else None
        name = metadata.get("name") if isinstance(metadata, dict) else None
        raise ParameterError(
            f"PodSecurityPolicy {name or '(no name)'} is wrong:\n{mistakes(error)}"
        ) from None
