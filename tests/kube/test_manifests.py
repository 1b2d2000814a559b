"""What of an object counts where: each function leaves out what its table says, and nothing else."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from kubeharden.kube.manifests import (
    SERVER_METADATA,
    controller_of,
    own_state,
    parts_like,
    without_managed_fields,
    without_server_parts,
)
from kubeharden.plan import Plan, Remark, digest_of, state_digest
from kubeharden.plan.model import NodeChange

OWN = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"name": "shop", "labels": {"team": "blue"}, "annotations": {"note": "ours"}},
    "spec": {"finalizers": ["kubernetes"]},
}
ADDED = {
    "resourceVersion": "7",
    "uid": "u",
    "creationTimestamp": "2020-01-01T00:00:00Z",
    "generation": 2,
    "managedFields": [{"manager": "kubectl"}],
    "selfLink": "/api/v1/namespaces/shop",
}
READ = {**OWN, "metadata": {**OWN["metadata"], **ADDED, "finalizers": ["x"]}, "status": {"phase": "Active"}}


def kept(function: Callable[[Any], dict[str, Any]]) -> set[str]:
    """The keys of an object, and of its metadata, that are kept."""
    found = function(READ)
    return {*found, *(f"metadata.{key}" for key in found["metadata"])}


EVERYTHING = {*READ, *(f"metadata.{key}" for key in READ["metadata"])}


@pytest.mark.parametrize(
    ("function", "left_out"),
    [
        (without_managed_fields, {"metadata.managedFields"}),
        (without_server_parts, {"status", *(f"metadata.{key}" for key in ADDED)}),
        (own_state, {"apiVersion", "status", "metadata.finalizers", *(f"metadata.{key}" for key in ADDED)}),
        (
            lambda item: parts_like(item, {**OWN, "spec": {}}),
            {"status", "metadata.annotations", "metadata.finalizers", *(f"metadata.{key}" for key in ADDED)},
        ),
        (lambda item: parts_like(item, {"kind": ""}), EVERYTHING - {"kind", "apiVersion", "metadata"}
         - {"metadata.name", "metadata.labels"}),
    ],
    ids=["managed", "server", "own", "like", "like a part"],
)  # fmt: skip
def test_what_is_left_out(function: Callable[[Any], dict[str, Any]], left_out: set[str]) -> None:
    assert kept(function) == EVERYTHING - left_out
    assert set(ADDED) == set(SERVER_METADATA)
    assert READ["metadata"]["managedFields"]  # what was passed stays as it is


def test_the_digest_of_a_state_is_that_of_earlier_versions() -> None:
    """It stands in journals: a rollback of an older record compares it."""
    assert state_digest(READ) == "8bd3bc059bd62623a203f38e1f6859483cb106b421aedccad6086069611721b4"
    assert state_digest(READ) == state_digest({**READ, "apiVersion": "v2", "status": {}})
    assert state_digest(READ) != state_digest({**READ, "spec": {}})


def test_the_controller_is_the_owner_that_says_so() -> None:
    owners = [{"name": "a"}, {"name": "b", "controller": True}]
    assert controller_of({"metadata": {"ownerReferences": owners}}) == owners[1]
    assert controller_of({"metadata": {"ownerReferences": owners[:1]}}) is None
    assert controller_of({"metadata": {}}) is None


def test_a_part_of_a_plan_is_of_the_same_cluster_and_release() -> None:
    changes = tuple(NodeChange(step, "node1", "kubelet", restart="why") for step in ("kubelet", "kube-proxy"))
    whole = Plan(
        ("kubelet", "kube-proxy"),
        changes,
        remarks=(Remark("node1", "word"),),
        target_release="1.25",
        findings=(("node1", None),),
        cluster="prod",
        cluster_uid="uid",
    )
    part = whole.of("kubelet")
    assert (part.steps, part.node_changes) == (("kubelet",), changes[:1])
    assert part.digest == digest_of(
        {**whole.as_json(), "steps": ["kubelet"], "nodes": whole.as_json()["nodes"][:1]}
    )
    assert (part.target_release, part.findings, part.remarks) == ("1.25", whole.findings, whole.remarks)
