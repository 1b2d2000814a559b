"""The API server's admission of new pods by ServiceAccount, PodSecurityPolicy and ``--allow-privileged``.

Only the sentences around a refusal are here; who may use which policy, what a policy says of a pod, and what the
ServiceAccount plugin puts into it are the library's. Sources: plugin/pkg/admission/serviceaccount and
plugin/pkg/admission/security/podsecuritypolicy of 1.20.2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.errors import ParameterError
from kubeharden.kube.admitted_pod import as_created
from kubeharden.kube.names import PSP_ANNOTATION
from kubeharden.kube.pods import containers, is_mirror, service_account_of
from kubeharden.kube.rbac import Authorization, Identity
from kubeharden.kube.resources import RESOURCES
from kubeharden.podsecurity.psp.evaluate import evaluate_psp
from kubeharden.podsecurity.psp.policy import read_policy
from kubeharden.releases import feature
from kubeharden_rehearsal.api.rules import Object
from kubeharden_rehearsal.api.status import Forbidden, bad_request, invalid
from kubeharden_rehearsal.api.store import ObjectStore

_NEW_WORDS = feature("message: PodSecurityPolicy in front")
_AUTHORIZATION = ("PodSecurityPolicy", "Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")


def is_privileged(container: Mapping[str, Any]) -> bool:
    """Return whether a container asks to be privileged."""
    return bool((container.get("securityContext") or {}).get("privileged"))


def refuse_privileged(store: ObjectStore, pod: Object) -> None:
    """Refuse privileged containers, as an API server without ``--allow-privileged`` does, with an ApiError."""
    problems = [
        f"{path}.securityContext.privileged: Forbidden: disallowed by cluster policy"
        for path, container in containers(pod)
        if is_privileged(container)
    ]
    if problems:
        raise invalid(store.catalog.by_kind("Pod"), pod["metadata"].get("name", ""), problems)


def give_service_account(store: ObjectStore, pod: Object) -> None:
    """Put the service account, which must exist, and the volume with its token into a new pod, as the plugin does."""
    if is_mirror(pod):
        return
    namespace, name = pod["metadata"]["namespace"], service_account_of(pod)
    if not store.exists("ServiceAccount", name, namespace):
        raise Forbidden(
            f'error looking up service account {namespace}/{name}: serviceaccount "{name}" not found'
        )
    account = store.get("ServiceAccount", name, namespace)
    pod["spec"] = {**as_created(pod, namespace, account, store.release)["spec"], "serviceAccount": name}


def apply_pod_security_policy(store: ObjectStore, user: Identity, pod: Object) -> None:
    """Judge a new pod by the policies that its account or its maker may use, and let the chosen one fill it in.

    Raises:
        Forbidden: no policy admits it; with the reasons of each.
        ApiError: the pod has a field of the wrong type.
    """
    objects = {RESOURCES[kind].plural: store.items(kind) for kind in _AUTHORIZATION}
    policies = objects["podsecuritypolicies"]
    prefix = "PodSecurityPolicy: " if _NEW_WORDS.in_release(store.release) else ""
    if not policies:
        raise Forbidden(f"{prefix}no providers available to validate pod request")
    authorization, namespace = Authorization(objects), pod["metadata"]["namespace"]
    usable = authorization.usable(user, namespace)
    if name := pod["spec"].get("serviceAccountName"):
        usable |= authorization.usable(Identity.of_service_account(namespace, name), namespace)
    try:
        decision = evaluate_psp(
            pod, [p for p in policies if p["metadata"]["name"] in usable], release=store.release
        )
    except ParameterError as error:
        raise bad_request(str(error)) from error
    if not decision.admitted:
        reasons = " ".join(why for refusals in decision.refusals.values() for why in refusals)
        old = "unable to validate against any pod security policy"
        raise Forbidden(f"{prefix}{'unable to admit pod' if prefix else old}: [{reasons}]")
    pod |= decision.pod
    metadata = pod["metadata"]
    metadata["annotations"] = {**(metadata.get("annotations") or {}), PSP_ANNOTATION: decision.policy}


def check_policy(policy: Object) -> None:
    """Refuse a PodSecurityPolicy that the API server would not store, with an ApiError."""
    try:
        read_policy(policy)
    except ParameterError as error:
        raise bad_request(str(error)) from error
