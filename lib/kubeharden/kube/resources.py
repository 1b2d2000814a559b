"""The API resources that the runbook reads and writes, by kind: where they are served, from 1.10 on."""

from __future__ import annotations

from dataclasses import dataclass

from kubeharden.kube.names import PSP_API_VERSION, RBAC_API_VERSION


@dataclass(frozen=True)
class Resource:
    """An API resource.

    Attributes:
        api_versions: where it may be served, the preferred first; the server's discovery decides.
        observed: whether a plan is made from it, so that all objects of it are read.
    """

    kind: str
    plural: str
    api_versions: tuple[str, ...]
    namespaced: bool = True
    observed: bool = True


_RBAC = (RBAC_API_VERSION,)
_APPS = ("apps/v1",)

RESOURCES = {
    resource.kind: resource
    for resource in (
        Resource("Namespace", "namespaces", ("v1",), namespaced=False),
        Resource("Node", "nodes", ("v1",), namespaced=False),
        Resource("ServiceAccount", "serviceaccounts", ("v1",)),
        Resource("Pod", "pods", ("v1",)),
        Resource("ReplicationController", "replicationcontrollers", ("v1",)),
        Resource("DaemonSet", "daemonsets", _APPS),
        Resource("Deployment", "deployments", _APPS),
        Resource("ReplicaSet", "replicasets", _APPS),
        Resource("StatefulSet", "statefulsets", _APPS),
        Resource("Job", "jobs", ("batch/v1",)),
        Resource("CronJob", "cronjobs", ("batch/v1", "batch/v1beta1")),
        Resource("PodSecurityPolicy", "podsecuritypolicies", (PSP_API_VERSION,), namespaced=False),
        Resource("Role", "roles", _RBAC),
        Resource("RoleBinding", "rolebindings", _RBAC),
        Resource("ClusterRole", "clusterroles", _RBAC, namespaced=False),
        Resource("ClusterRoleBinding", "clusterrolebindings", _RBAC, namespaced=False),
        # For the lock and for draining. The Lease came with 1.12 (v1 with 1.14).
        Resource("ConfigMap", "configmaps", ("v1",), observed=False),
        Resource(
            "Lease",
            "leases",
            ("coordination.k8s.io/v1", "coordination.k8s.io/v1beta1"),
            observed=False,
        ),
    )
}
