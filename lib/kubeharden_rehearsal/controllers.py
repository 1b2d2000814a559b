"""The controllers of kube-controller-manager that practising needs: Deployment, ReplicaSet, DaemonSet.

They make the pods that their workloads ask for, under the API server's admission, and collect what no
owner is left for. Rolling updates have no intermediate steps.
"""

from __future__ import annotations

import copy
import hashlib
import json
import random
from collections.abc import Callable, Mapping
from typing import Any

from kubeharden.kube.manifests import controller_of, key_of
from kubeharden.kube.pods import is_ready
from kubeharden.kube.rbac import Identity
from kubeharden.kube.workloads import controller_identity
from kubeharden_rehearsal.api.rules import Object
from kubeharden_rehearsal.api.status import ApiError, Forbidden
from kubeharden_rehearsal.api.store import LETTERS, SUFFIX_LENGTH, ObjectStore

_HASH_LENGTH = 10

Create = Callable[[Object, Identity], None]


class Controllers:
    """Brings the store to what its workloads ask for, as kube-controller-manager does.

    Args:
        create: stores an object as a user; raises ``Forbidden`` or ``ApiError``.
        seed: names of pods follow from it, so that a scenario's first ones are always the same.
    """

    def __init__(self, store: ObjectStore, create: Create, node_names: list[str], seed: str) -> None:
        self._store, self._create, self._nodes = store, create, node_names
        self._random = random.Random(seed)  # noqa: S311 - names, not secrets

    def reconcile(self) -> None:
        """Do one round of all controllers."""
        self._collect("ReplicaSet", {"Deployment"})
        for deployment in self._store.items("Deployment"):
            self._roll_out(deployment)
        self._collect("Pod", {"ReplicaSet", "DaemonSet"})
        for owner in self._store.items("ReplicaSet"):
            self._replicas(owner)
        for owner in self._store.items("DaemonSet"):
            self._one_per_node(owner)

    def _collect(self, kind: str, owners: set[str]) -> None:
        alive = {"", *(o["metadata"]["uid"] for owner in owners for o in self._store.items(owner))}
        for obj in self._store.items(kind, matches=lambda obj: _owner_of(obj, owners) not in alive):
            self._delete(kind, obj)

    def _delete(self, kind: str, obj: Mapping[str, Any]) -> None:
        self._store.delete(kind, obj["metadata"]["name"], obj["metadata"]["namespace"])

    def _roll_out(self, deployment: Object) -> None:
        spec, metadata = deployment["spec"], deployment["metadata"]
        label = _hash(spec["template"])
        name = f"{metadata['name']}-{label}"
        for owned in self._objects_of("ReplicaSet", deployment):
            current = owned["metadata"]["name"] == name
            wanted = spec.get("replicas", 1) if current else 0
            if owned["spec"].get("replicas") != wanted:
                owned["spec"]["replicas"] = wanted
                self._store.put("ReplicaSet", owned)
        if self._store.exists("ReplicaSet", name, metadata["namespace"]):
            return
        template = copy.deepcopy(spec["template"])
        labels = {**(template["metadata"].get("labels") or {}), "pod-template-hash": label}
        template["metadata"]["labels"] = labels
        selector = {"matchLabels": {**spec["selector"]["matchLabels"], "pod-template-hash": label}}
        replica_set = {
            "apiVersion": "apps/v1",
            "kind": "ReplicaSet",
            "metadata": _metadata(name, deployment, labels),
            "spec": {"replicas": spec.get("replicas", 1), "selector": selector, "template": template},
        }
        self._make(replica_set, deployment)

    def _replicas(self, owner: Object) -> None:
        pods = self._objects_of("Pod", owner)
        wanted = owner["spec"].get("replicas", 1)
        for pod in pods[wanted:]:
            self._delete("Pod", pod)
        for _ in range(wanted - len(pods)):
            if not self._make(self._pod(owner), owner):
                break
        ready = sum(is_ready(pod) for pod in self._objects_of("Pod", owner))
        replicas = len(self._objects_of("Pod", owner))
        status = {"replicas": replicas, "readyReplicas": ready, "availableReplicas": ready}
        self._set_status("ReplicaSet", owner, status)
        above = controller_of(owner)
        if above and wanted:
            deployment = self._store.get("Deployment", above["name"], owner["metadata"]["namespace"])
            updated = {**status, "updatedReplicas": status["replicas"], "unavailableReplicas": wanted - ready}
            self._set_status("Deployment", deployment, updated)

    def _one_per_node(self, owner: Object) -> None:
        pods = self._objects_of("Pod", owner)
        there = {pod["spec"].get("nodeName") for pod in pods}
        for node in self._nodes:
            if node not in there:
                pod = self._pod(owner)
                pod["spec"]["nodeName"] = node
                self._make(pod, owner)
        owned = self._objects_of("Pod", owner)
        ready = sum(is_ready(pod) for pod in owned)
        status = {
            "currentNumberScheduled": len(owned),
            "desiredNumberScheduled": len(self._nodes),
            "numberAvailable": ready,
            "numberMisscheduled": 0,
            "numberReady": ready,
            "numberUnavailable": len(self._nodes) - ready,
        }
        self._set_status("DaemonSet", owner, status)

    def _pod(self, owner: Object) -> Object:
        template = copy.deepcopy(owner["spec"]["template"])
        prefix = f"{owner['metadata']['name']}-"
        name = prefix + "".join(self._random.choices(LETTERS, k=SUFFIX_LENGTH))
        metadata = _metadata(name, owner, template["metadata"].get("labels") or {})
        metadata["generateName"] = prefix
        metadata["annotations"] = dict(template["metadata"].get("annotations") or {})
        return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}

    def _objects_of(self, kind: str, owner: Mapping[str, Any]) -> list[Object]:
        kinds, of = {owner["kind"]}, owner["metadata"]
        return self._store.items(kind, of["namespace"], lambda obj: _owner_of(obj, kinds) == of["uid"])

    def _make(self, obj: Object, owner: Object) -> bool:
        accounts = {key_of(account) for account in self._store.items("ServiceAccount", "kube-system")}
        try:
            self._create(obj, controller_identity(owner["kind"], accounts))
        except Forbidden as error:
            name = obj["metadata"].get("generateName") or obj["metadata"]["name"]
            plural = self._store.catalog.by_kind(obj["kind"]).plural
            self._report(owner, f'Error creating: {plural} "{name}" is forbidden: {error.reason}')
            return False
        except ApiError as error:
            self._report(owner, f"Error creating: {error.message}")
            return False
        return True

    def _report(self, owner: Object, message: str) -> None:
        """Store a FailedCreate event about a workload; one object for the same words, as kubectl shows it."""
        metadata = owner["metadata"]
        digest = hashlib.sha256(message.encode()).hexdigest()[:16]
        name = f"{metadata['name']}.{digest}"
        if self._store.exists("Event", name, metadata["namespace"]):
            return
        involved = {"kind": owner["kind"], "apiVersion": owner["apiVersion"]}
        involved |= {key: metadata[key] for key in ("name", "namespace", "uid")}
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": involved,
            "reason": "FailedCreate",
            "message": message,
            "type": "Warning",
            "count": 1,
            "source": {"component": f"{owner['kind'].lower()}-controller"},
        }
        self._store.create("Event", event, metadata["namespace"])

    def _set_status(self, kind: str, obj: Object, status: dict[str, Any]) -> None:
        current = self._store.get(kind, obj["metadata"]["name"], obj["metadata"]["namespace"])
        observed = {"observedGeneration": current["metadata"].get("generation", 1)}
        current["status"] = {**(current.get("status") or {}), **status, **observed}
        self._store.put(kind, current, subresource="status")


def _owner_of(obj: Mapping[str, Any], kinds: set[str]) -> str:
    owner = controller_of(obj)
    return str(owner["uid"]) if owner and owner["kind"] in kinds else ""


def _metadata(name: str, owner: Object, labels: dict[str, str]) -> dict[str, Any]:
    reference = {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    namespace = owner["metadata"]["namespace"]
    return {"name": name, "namespace": namespace, "labels": labels, "ownerReferences": [reference]}


def _hash(template: Mapping[str, Any]) -> str:
    digest = hashlib.sha256(json.dumps(template, sort_keys=True).encode()).digest()
    return "".join(LETTERS[byte % len(LETTERS)] for byte in digest[:_HASH_LENGTH])
