"""The eviction subresource of pods."""

from __future__ import annotations

from kubeharden.kube.manifests import selects
from kubeharden_rehearsal.api.rules import Object
from kubeharden_rehearsal.api.status import ApiError, bad_request
from kubeharden_rehearsal.api.store import ObjectStore

_NEVER_DISRUPTED = frozenset({"Pending", "Succeeded", "Failed"})


def evict(store: ObjectStore, name: str, namespace: str, eviction: Object) -> None:
    """Delete a pod, if its PodDisruptionBudget allows it, and count the disruption.

    As the real API server does, this trusts ``status.disruptionsAllowed``, which the disruption controller keeps; a
    budget without status allows nothing.

    Source: pkg/registry/core/pod/rest/eviction.go.
    """
    versions = store.catalog.eviction_versions()
    kind, version = eviction.get("kind", "Eviction"), eviction.get("apiVersion", versions[0])
    if kind != "Eviction" or version not in versions:
        raise bad_request(f'{kind} in version "{version}" cannot be handled as an Eviction')
    pod = store.get("Pod", name, namespace)
    labels = pod["metadata"].get("labels") or {}
    budgets = [
        budget
        for budget in store.items("PodDisruptionBudget", namespace)
        if selects(budget.get("spec", {}).get("selector") or {}, labels)
    ]
    if len(budgets) > 1:
        words = (
            "This pod has more than one PodDisruptionBudget, which the eviction subresource does not support."
        )
        raise ApiError(500, "InternalError", words)
    if budgets and pod.get("status", {}).get("phase") not in _NEVER_DISRUPTED:
        _count_disruption(store, budgets[0])
    options = eviction.get("deleteOptions") or {}
    store.delete("Pod", name, namespace, options.get("preconditions"))


def _count_disruption(store: ObjectStore, budget: Object) -> None:
    status = budget.get("status", {})
    allowed = status.get("disruptionsAllowed", 0)
    if allowed < 1:
        words = "Cannot evict pod as it would violate the pod's disruption budget."
        raise ApiError(429, "TooManyRequests", words)
    changed = {**budget, "status": {**status, "disruptionsAllowed": allowed - 1}}
    store.put("PodDisruptionBudget", changed, subresource="status")
