"""Private. The file of policies and their users, and the objects that it stands for."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from kubeharden.errors import ParameterError
from kubeharden.inputs.documents import mistakes, read_document
from kubeharden.kube.names import (
    PSP_API_VERSION,
    PSP_GROUP,
    PSP_RESOURCE,
    RBAC_API_VERSION,
    RBAC_GROUP,
    SECCOMP_ALLOWED,
)
from kubeharden.podsecurity.psp.policy import PolicySpec

SECCOMP_NAMES = ("*", "runtime/default", "docker/default", "unconfined")


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class PolicyUser(_Strict):
    """A service account, or a group, that may use a policy in a namespace.

    Attributes:
        if_static_pods: only where the namespace has mirror pods of static pods. The kubelet makes them as the
            node's user, so its group needs a policy there, or they are not seen in the API any more.
    """

    namespace: Annotated[str, Field(min_length=1)]
    service_account: str = ""
    group: str = ""
    binding: str = ""
    if_static_pods: bool = False

    @model_validator(mode="after")
    def _one_subject(self) -> PolicyUser:
        if bool(self.service_account) == bool(self.group):
            raise ValueError("expected either service_account or group")
        if self.group and not self.binding:
            raise ValueError("a group needs a name for its binding")
        return self

    @property
    def binding_name(self) -> str:
        """Return what its RoleBinding's name begins with."""
        return self.binding or self.service_account

    @property
    def subject(self) -> dict[str, str]:
        """The subject of its RoleBinding."""
        if self.group:
            return {"apiGroup": RBAC_GROUP, "kind": "Group", "name": self.group}
        return {"kind": "ServiceAccount", "name": self.service_account, "namespace": self.namespace}


class Policy(_Strict):
    """A PodSecurityPolicy and who may use it.

    Attributes:
        annotations: of the policy: the seccomp and AppArmor profiles that it allows are there, not in its spec.
    """

    name: Annotated[str, Field(pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$")]
    annotations: dict[str, str] = {}
    spec: dict[str, Any]
    used_by: list[PolicyUser]

    @field_validator("spec")
    @classmethod
    def _readable(cls, spec: dict[str, Any]) -> dict[str, Any]:
        """Refuse unknown keys: a server drops them without a message, and with them what was meant."""
        try:
            PolicySpec.model_validate(spec)
        except ValidationError as error:
            raise ValueError("; ".join(mistakes(error, PolicySpec).split("\n")).replace("  ", "")) from None
        return spec

    @field_validator("annotations")
    @classmethod
    def _known_profiles(cls, annotations: dict[str, str]) -> dict[str, str]:
        """Refuse seccomp profiles that a server refuses (pkg/apis/policy/validation/validation.go)."""
        allowed = annotations.get(SECCOMP_ALLOWED, "")
        for name in allowed.split(",") if allowed else ():
            if name not in SECCOMP_NAMES and not name.startswith("localhost/"):
                expected = f"{', '.join(SECCOMP_NAMES)} or localhost/FILE"
                raise ValueError(f"{SECCOMP_ALLOWED} names the profile {name!r}; expected {expected}")
        return annotations


Level = Literal["privileged", "baseline", "restricted"]


class NamespaceWish(_Strict):
    """The Pod Security Standard that somebody asks for in a namespace, and why."""

    name: Annotated[str, Field(min_length=1)]
    level: Level
    reason: Annotated[str, Field(min_length=1)]


class PolicySet(_Strict):
    """The pod security that a cluster is to have.

    Attributes:
        namespaces: levels of Pod Security Admission that are asked for.
        new_namespaces: the level of namespaces without labels, and of those in which nothing runs.
    """

    policies: Annotated[list[Policy], Field(min_length=1)]
    namespaces: list[NamespaceWish] = []
    new_namespaces: Level = "baseline"

    @model_validator(mode="after")
    def _each_namespace_once(self) -> PolicySet:
        names = [wish.name for wish in self.namespaces]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"namespaces names {', '.join(twice)} more than once")
        return self


def read_policies(path: Path) -> PolicySet:
    """Read a policies file.

    Raises:
        ParameterError: it cannot be read or is wrong; every mistake is named.
    """
    raw = read_document(path, "policies", "parameters/pod-security.yaml")
    try:
        return PolicySet.model_validate(raw)
    except ValidationError as error:
        raise ParameterError(f"policies: {path} is wrong:\n{mistakes(error, PolicySet)}") from None


def policy_objects(policies: PolicySet, static_pods: Collection[str] = ()) -> list[dict[str, Any]]:
    """Return the objects of a policy set in the order in which they must be made: policies, Roles, RoleBindings.

    ``static_pods`` are the namespaces with mirror pods of static pods.
    """
    users = {
        policy.name: [u for u in policy.used_by if not u.if_static_pods or u.namespace in static_pods]
        for policy in policies.policies
    }
    objects = [*map(_policy, policies.policies)]
    for policy in policies.policies:
        objects += [
            role_object(policy.name, ns)
            for ns in dict.fromkeys(user.namespace for user in users[policy.name])
        ]
    for policy in policies.policies:
        objects += [
            binding_object(policy.name, user.binding_name, user.subject, user.namespace)
            for user in users[policy.name]
        ]
    return objects


def _policy(policy: Policy) -> dict[str, Any]:
    return {
        "apiVersion": PSP_API_VERSION,
        "kind": "PodSecurityPolicy",
        "metadata": {
            "name": policy.name,
            **({"annotations": policy.annotations} if policy.annotations else {}),
        },
        "spec": policy.spec,
    }


def role_object(policy: str, namespace: str = "") -> dict[str, Any]:
    """Return the Role that lets a policy be used in a namespace; without one, a ClusterRole."""
    rule = {
        "apiGroups": [PSP_GROUP],
        "resources": [PSP_RESOURCE],
        "resourceNames": [policy],
        "verbs": ["use"],
    }
    return {
        "apiVersion": RBAC_API_VERSION,
        "kind": "Role" if namespace else "ClusterRole",
        "metadata": _metadata(f"psp:{policy}", namespace),
        "rules": [rule],
    }


def binding_object(policy: str, who: str, subject: Mapping[str, str], namespace: str = "") -> dict[str, Any]:
    """Return the binding of a subject to the role of ``role_object``; ``who`` begins its name."""
    kind = "Role" if namespace else "ClusterRole"
    return {
        "apiVersion": RBAC_API_VERSION,
        "kind": f"{kind}Binding",
        "metadata": _metadata(f"{who}:psp:{policy}", namespace),
        "roleRef": {"apiGroup": RBAC_GROUP, "kind": kind, "name": f"psp:{policy}"},
        "subjects": [dict(subject)],
    }


def _metadata(name: str, namespace: str) -> dict[str, str]:
    return {"name": name, "namespace": namespace} if namespace else {"name": name}
