"""What kube-apiserver's admission plugins do to a new pod: ServiceAccount and PodSecurityPolicy.

Sources: plugin/pkg/admission/serviceaccount and plugin/pkg/admission/security/podsecuritypolicy of 1.20.2,
pkg/security/podsecuritypolicy/provider.go. Of a policy's rules only the obvious are checked: privileged,
the host's namespaces, volume types and added capabilities.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from kubeharden.releases import Release, feature
from kubeharden_rehearsal import rbac
from kubeharden_rehearsal.api.requests import Access, User
from kubeharden_rehearsal.api.status import Cause, Forbidden, invalid
from kubeharden_rehearsal.store import ObjectStore

ANNOTATION = "kubernetes.io/psp"
MIRROR = "kubernetes.io/config.mirror"
_TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"  # noqa: S105 - a path
_BOUND_TOKENS = feature("projected service account tokens")
_NEW_WORDS = feature("message: PodSecurityPolicy in front")
_HOST_FIELDS = {
    "hostNetwork": "Host network is not allowed to be used",
    "hostPID": "Host PID is not allowed to be used",
    "hostIPC": "Host IPC is not allowed to be used",
}


def containers(spec: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    """Every container of a pod, with its path."""
    return [
        (f"spec.{key}[{index}]", container)
        for key in ("initContainers", "containers")
        for index, container in enumerate(spec.get(key) or ())
    ]


def is_privileged(container: Mapping[str, Any]) -> bool:
    """Whether a container asks to be privileged."""
    return bool((container.get("securityContext") or {}).get("privileged"))


def refuse_privileged(store: ObjectStore, pod: Mapping[str, Any]) -> None:
    """What an API server without ``--allow-privileged`` does.

    Raises:
        ApiError: a container is privileged.
    """
    causes = [
        Cause(
            "FieldValueForbidden",
            "Forbidden: disallowed by cluster policy",
            f"{path}.securityContext.privileged",
        )
        for path, container in containers(pod["spec"])
        if is_privileged(container)
    ]
    if causes:
        resource = store.catalog.preferred("Pod")
        raise invalid(resource, pod["metadata"].get("name", ""), causes)


def give_service_account(store: ObjectStore, pod: dict[str, Any]) -> None:
    """The ServiceAccount plugin: the default account, and its token as a volume.

    Raises:
        Forbidden: there is no such service account.
    """
    metadata, spec = pod["metadata"], pod["spec"]
    if MIRROR in (metadata.get("annotations") or {}):
        return
    namespace = metadata["namespace"]
    name = spec.get("serviceAccountName") or spec.get("serviceAccount") or "default"
    spec["serviceAccountName"] = spec["serviceAccount"] = name
    if not store.exists("ServiceAccount", name, namespace):
        raise Forbidden(
            f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        )
    if spec.get("automountServiceAccountToken") is not False:
        _mount_token(spec, name, store.release)


def _mount_token(spec: dict[str, Any], account: str, release: Release) -> None:
    mounted = [m for _, c in containers(spec) for m in c.get("volumeMounts") or ()]
    if any(mount.get("mountPath") == _TOKEN_PATH for mount in mounted):
        return
    volume: dict[str, Any] = {"name": f"{account}-token-5kzqx"}
    volume["secret"] = {"secretName": volume["name"], "defaultMode": 420}
    if _BOUND_TOKENS.in_release(release):
        sources: list[dict[str, Any]] = [
            {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
            {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
            {"downwardAPI": {"items": [{"path": "namespace", "fieldRef": _NAMESPACE}]}},
        ]
        volume = {"name": "kube-api-access-5kzqx", "projected": {"sources": sources}}
    spec["volumes"] = [*(spec.get("volumes") or ()), volume]
    mount = {"name": volume["name"], "mountPath": _TOKEN_PATH, "readOnly": True}
    for key in ("initContainers", "containers"):
        for container in spec.get(key) or ():
            container["volumeMounts"] = [*(container.get("volumeMounts") or ()), mount]


_NAMESPACE = {"apiVersion": "v1", "fieldPath": "metadata.namespace"}


def apply_pod_security_policy(store: ObjectStore, user: User, pod: dict[str, Any]) -> None:
    """The PodSecurityPolicy plugin: the pod needs a policy that it keeps and that it may use.

    Raises:
        Forbidden: there is none; with the violations of the policies that it may use.
    """
    policies = store.list("PodSecurityPolicy")
    prefix = "PodSecurityPolicy: " if _NEW_WORDS.in_release(store.release) else ""
    if not policies:
        raise Forbidden(f"{prefix}no providers available to validate pod request")
    usable = [policy for policy in policies if _may_use(store, user, pod, policy["metadata"]["name"])]
    kept = [policy for policy in usable if not any(_violations(policy["spec"], pod["spec"]))]
    chosen = next((p for p in kept if not _mutates(p["spec"])), kept[0] if kept else None)
    if chosen is None:
        found = " ".join(words for policy in usable for words in _violations(policy["spec"], pod["spec"]))
        old = "unable to validate against any pod security policy"
        raise Forbidden(f"{prefix}{'unable to admit pod' if prefix else old}: [{found}]")
    annotations = pod["metadata"].setdefault("annotations", {})
    annotations[ANNOTATION] = chosen["metadata"]["name"]


def _may_use(store: ObjectStore, user: User, pod: Mapping[str, Any], policy: str) -> bool:
    namespace, name = pod["metadata"]["namespace"], pod["spec"].get("serviceAccountName")
    asked = [rbac.service_account(namespace, name)] if name else []
    # Rules for the group policy or, "for backward compatibility", extensions.
    return any(
        rbac.allowed(store, who, Access("use", group, "podsecuritypolicies", "", namespace, policy))
        for who in [*asked, user]
        for group in ("policy", "extensions")
    )


def _violations(policy: Mapping[str, Any], spec: Mapping[str, Any]) -> Iterable[str]:
    for key, words in _HOST_FIELDS.items():
        if spec.get(key) and not policy.get(key):
            yield f"spec.securityContext.{key}: Invalid value: true: {words}"
    volumes = set(policy.get("volumes") or ())
    for index, volume in enumerate(spec.get("volumes") or ()):
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if "*" not in volumes and kind not in volumes and not _is_allowed_token(volume, volumes):
            words = f'Invalid value: "{kind}": {kind} volumes are not allowed to be used'
            yield f"spec.volumes[{index}]: {words}"
    for path, container in containers(spec):
        context = container.get("securityContext") or {}
        if is_privileged(container) and not policy.get("privileged"):
            words = "Invalid value: true: Privileged containers are not allowed"
            yield f"{path}.securityContext.privileged: {words}"
        allowed = {*(policy.get("allowedCapabilities") or ()), *(policy.get("defaultAddCapabilities") or ())}
        for name in (context.get("capabilities") or {}).get("add") or ():
            if "*" not in allowed and name not in allowed:
                words = f'Invalid value: "{name}": capability may not be added'
                yield f"{path}.securityContext.capabilities.add: {words}"


def _is_allowed_token(volume: Mapping[str, Any], allowed: set[str]) -> bool:
    # A policy that allows secrets allows the projected service account token, too (1.21).
    sources = (volume.get("projected") or {}).get("sources") or ()
    return "secret" in allowed and any("serviceAccountToken" in source for source in sources)


def _mutates(policy: Mapping[str, Any]) -> bool:
    """Whether a policy may change a pod; those that do not are preferred."""
    rules = ("runAsUser", "runAsGroup", "seLinux", "supplementalGroups", "fsGroup")
    strict = any((policy.get(key) or {}).get("rule", "RunAsAny") != "RunAsAny" for key in rules)
    lists = ("defaultAddCapabilities", "requiredDropCapabilities")
    return (
        strict
        or any(policy.get(key) for key in lists)
        or bool(policy.get("readOnlyRootFilesystem"))
        or policy.get("allowPrivilegeEscalation") is False
        or policy.get("defaultAllowPrivilegeEscalation") is not None
    )
