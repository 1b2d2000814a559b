"""Memory-saving representation of API objects: a big cluster has a hundred thousand of them.

As JSON, half of a pod is ``managedFields`` and status; as Python objects, 50,000 pods would take more than a gigabyte.
Most of what remains is equal in all pods of one template, and is kept once.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.kube.admitted_pod import ONE_PROJECTED_NAME, PROJECTED_NAME
from kubeharden.kube.manifests import without_managed_fields

# What pods are told apart, counted and judged by; their conditions are asked for where they matter (``health.py``).
POD_METADATA = (
    "name",
    "namespace",
    "uid",
    "labels",
    "annotations",
    "ownerReferences",
    "deletionTimestamp",
)
POD_STATUS = ("phase",)


class Compactor:
    """Makes objects small: equal parts are held once. Nobody may write to what it returns."""

    def __init__(self) -> None:
        self._plain: dict[Any, Any] = {}
        self._parts: dict[tuple[Any, ...], Any] = {}

    def compact(self, kind: str, item: dict[str, Any]) -> dict[str, Any]:
        """Return what is to be kept of an object."""
        pruned = _of_pod(item) if kind == "Pod" else without_managed_fields(item)
        return {key: self._within(value) for key, value in pruned.items()}

    def _within(self, value: Any) -> Any:
        """Metadata, or a spec: hardly ever equal as a whole, for names and nodes, and so not compared."""
        if isinstance(value, dict):
            return {key: self._share(part) for key, part in value.items()}
        return self._share(value)

    def _share(self, value: Any) -> Any:
        """Return a value that is equal to this one: the one that came first.

        Parts of an object are known by their identity, since equal ones are one already, and none of them goes as
        long as this lives.
        """
        if isinstance(value, str):
            # The token's volume has a name that ends at random in every single pod: no two of them would be equal.
            shared_text = ONE_PROJECTED_NAME if PROJECTED_NAME.fullmatch(value) else value
            return self._plain.setdefault(value, shared_text)
        if isinstance(value, dict):
            made = {key: self._share(part) for key, part in value.items()}
            return self._parts.setdefault((dict, *made, *map(id, made.values())), made)
        if isinstance(value, list):
            parts = [self._share(part) for part in value]
            return self._parts.setdefault((list, *map(id, parts)), parts)
        return self._plain.setdefault((type(value), value), value)  # 1 is equal to True, and is not the same


def _of_pod(pod: Mapping[str, Any]) -> dict[str, Any]:
    metadata, status = pod["metadata"], pod.get("status") or {}
    return {
        **pod,
        "metadata": {key: metadata[key] for key in POD_METADATA if key in metadata},
        "status": {key: status[key] for key in POD_STATUS if key in status},
    }
