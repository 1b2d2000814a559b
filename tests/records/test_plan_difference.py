"""What tells two plans apart is said by what it is about, and never in the lines of its neighbour."""

from __future__ import annotations

from typing import Any

import pytest

from kubeharden.records.plan_difference import plan_difference


def change(service: str, node: str, after: str = "a1") -> dict[str, Any]:
    files = [{"path": f"/etc/{service}.conf", "before": "absent", "after": after, "mode": "600"}]
    return {"step": service, "service": service, "node": node, "restart": "its files change", "files": files}


def role(name: str, action: str = "create") -> dict[str, Any]:
    manifest = {"kind": "Role", "metadata": {"namespace": "shop", "name": name}}
    return {"step": "pod-security", "action": action, "manifest": manifest, "before": "absent"}


def plan(*nodes: dict[str, Any], objects: tuple[dict[str, Any], ...] = (), **more: Any) -> dict[str, Any]:
    rollout = {"batch_size": "1", "nodes": [{"name": "n1", "port": 22}, {"name": "n2", "port": 22}]}
    return {"digest": "x", "nodes": list(nodes), "objects": list(objects), "rollout": rollout, **more}


KUBELET, PROXY = change("kubelet", "n1"), change("kube-proxy", "n1")


@pytest.mark.parametrize(
    ("approved", "now", "lines"),
    [
        (plan(KUBELET, PROXY), plan(KUBELET), ["- nodes > kube-proxy: kube-proxy on n1"]),
        (plan(KUBELET), plan(KUBELET, PROXY), ["+ nodes > kube-proxy: kube-proxy on n1"]),
        (
            plan(KUBELET),
            plan(change("kubelet", "n1", "b2")),
            [
                "- nodes > kubelet: kubelet on n1 > files > /etc/kubelet.conf > after: a1",
                "+ nodes > kubelet: kubelet on n1 > files > /etc/kubelet.conf > after: b2",
            ],
        ),
        (
            plan(objects=(role("a"),)),
            plan(objects=(role("b", "update"),)),
            [
                "- objects > pod-security: create Role shop/a",
                "+ objects > pod-security: update Role shop/b",
            ],
        ),
        (
            plan(),
            plan(
                rollout={
                    "batch_size": "50%",
                    "nodes": [{"name": "n2", "port": 22}, {"name": "n1", "port": 22}],
                }
            ),
            [
                "- rollout > batch_size: 1",
                "+ rollout > batch_size: 50%",
                "- rollout > nodes > order: n1, n2",
                "+ rollout > nodes > order: n2, n1",
            ],
        ),
        (plan(digest="y"), plan(), []),
        ({"nodes": "none"}, {"nodes": [1, None]}, ["- nodes: none", "+ nodes: [1, null]"]),
        ({"nodes": [{"name": ["n1"]}]}, {"nodes": 1}, ["- nodes > ['n1']", "+ nodes: 1"]),
        ({"nodes": [{"name": "n1"}], "steps": []}, {"steps": []}, ["- nodes"]),
        ({"profile": {}}, {"profile": {"path": "p"}}, ["- profile: {}", "+ profile > path: p"]),
    ],
)
def test_each_entry_is_named_with_what_is_different_in_it(
    approved: dict[str, Any], now: dict[str, Any], lines: list[str]
) -> None:
    assert plan_difference(approved, now).splitlines() == lines
