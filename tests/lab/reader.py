"""Users of the API server who have a certificate of the lab's authority and no more rights than a role gives them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cluster import kubectl
from pki import kubeconfig, sign
from places import ACCESS, ADMIN, INVENTORY

from kubeharden.kube.names import RBAC_API_VERSION
from kubeharden.kube.resources import RESOURCES

# What a run asks of the kubelets, where their release has a right for no more than that.
KUBELETS = ("nodes/configz", "nodes/healthz")


@contextmanager
def reader(name: str, subresources: Sequence[str] = KUBELETS) -> Iterator[Path]:
    """A user while the context lasts, and the inventory that names their kubeconfig.

    They may read what a plan is made from, and have the lock of a run that changes nodes and no objects.

    Args:
        name: of the user; a kubelet remembers for minutes what a user may do, so that another one has another name.
        subresources: what they may get, besides.
    """
    sign(name, f"/CN={name}")
    access = ACCESS / f"{name}.kubeconfig"
    access.write_text(kubeconfig(name, name))
    access.chmod(0o600)
    inventory = ACCESS / f"{name}.yaml"
    inventory.write_text(INVENTORY.read_text().replace(ADMIN.name, access.name))
    objects = json.dumps({"apiVersion": "v1", "kind": "List", "items": _role(name, subresources)})
    kubectl("apply", "-f", "-", text=objects)
    try:
        yield inventory
    finally:
        kubectl("delete", "-f", "-", text=objects)


def _role(name: str, subresources: Sequence[str]) -> list[dict[str, Any]]:
    groups = {
        kind: version.rpartition("/")[0] for kind, row in RESOURCES.items() for version in row.api_versions
    }
    rules = [
        {"apiGroups": [groups[kind]], "resources": [row.plural], "verbs": ["get", "list"]}
        for kind, row in RESOURCES.items()
    ]
    lock = {"apiGroups": [groups["Lease"]], "resources": [RESOURCES["Lease"].plural]}
    rules.append({**lock, "verbs": ["get", "create", "update", "delete"]})
    if subresources:
        rules.append({"apiGroups": [""], "resources": list(subresources), "verbs": ["get"]})
    head = {"apiVersion": RBAC_API_VERSION, "metadata": {"name": name}}
    group = RBAC_API_VERSION.partition("/")[0]
    return [
        {**head, "kind": "ClusterRole", "rules": rules},
        {
            **head,
            "kind": "ClusterRoleBinding",
            "roleRef": {"apiGroup": group, "kind": "ClusterRole", "name": name},
            "subjects": [{"apiGroup": group, "kind": "User", "name": name}],
        },
    ]
