"""The eviction subresource of pods."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.kube.manifests import selects
from kubeharden_rehearsal.api.objects import Object
from kubeharden_rehearsal.api.status import ApiError, Cause, bad_request, too_many_requests
from kubeharden_rehearsal.store import ObjectStore

_CANNOT_BE_DISRUPTED = frozenset({"Pending", "Succeeded", "Failed"})


def evict(
    store: ObjectStore, name: str, namespace: str, eviction: Mapping[str, Any], *, dry_run: bool
) -> None:
    """Delete a pod, if its PodDisruptionBudget allows it, and count the disruption.

    As the real API server does, this trusts ``status.disruptionsAllowed``, which the disruption
    controller keeps; a budget without status allows nothing.

    Source: pkg/registry/core/pod/rest/eviction.go.

    Args:
        store: where the pod is.
        name: the pod.
        namespace: its namespace.
        eviction: the Eviction that was posted.
        dry_run: change nothing.

    Raises:
        ApiError: 400, 404, 409 (preconditions), 429 (the budget is used up), or 500 (several budgets).
    """
    _check(store, eviction, name)
    pod = store.get("Pod", name, namespace)
    budgets = _budgets_of(store, pod)
    if len(budgets) > 1:
        raise ApiError(
            500,
            "InternalError",
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does "
            "not support.",
        )
    if budgets and pod.get("status", {}).get("phase") not in _CANNOT_BE_DISRUPTED:
        _count_disruption(store, budgets[0], dry_run=dry_run)
    preconditions = (eviction.get("deleteOptions") or {}).get("preconditions") or {}
    store.delete(
        "Pod",
        name,
        namespace,
        uid=preconditions.get("uid") or "",
        resource_version=preconditions.get("resourceVersion") or "",
        dry_run=dry_run,
    )


def _check(store: ObjectStore, eviction: Mapping[str, Any], name: str) -> None:
    versions = store.catalog.eviction_versions()
    kind, version = eviction.get("kind", "Eviction"), eviction.get("apiVersion", versions[0])
    if kind != "Eviction" or version not in versions:
        raise bad_request(f'{kind} in version "{version}" cannot be handled as an Eviction')
    named = eviction.get("metadata", {}).get("name", name)
    if named != name:
        raise bad_request("name in URL does not match name in Eviction object")


def _budgets_of(store: ObjectStore, pod: Object) -> list[Object]:
    labels = pod["metadata"].get("labels") or {}
    return [
        budget
        for budget in store.list("PodDisruptionBudget", pod["metadata"]["namespace"])
        if selects(budget.get("spec", {}).get("selector") or {}, labels)
    ]


def _count_disruption(store: ObjectStore, budget: Object, *, dry_run: bool) -> None:
    status = budget.get("status", {})
    allowed = status.get("disruptionsAllowed", 0)
    name, namespace = budget["metadata"]["name"], budget["metadata"]["namespace"]
    if allowed < 1:
        message = (
            f"The disruption budget {name} needs {status.get('desiredHealthy', 0)} healthy pods "
            f"and has {status.get('currentHealthy', 0)} currently"
        )
        raise too_many_requests(
            "Cannot evict pod as it would violate the pod's disruption budget.",
            [Cause("DisruptionBudget", message, "")],
        )
    budget["status"] = {**status, "disruptionsAllowed": allowed - 1}
    store.replace("PodDisruptionBudget", budget, namespace=namespace, subresource="status", dry_run=dry_run)
