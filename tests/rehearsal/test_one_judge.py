"""Rehearsal and library judge alike: what ``psp_impact`` foretells of a workload is what becomes of it there."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kubeharden.kube.resources import RESOURCES
from kubeharden.podsecurity.impact import WorkloadVerdict, psp_impact
from kubeharden.releases import Release
from kubeharden_rehearsal.api.store import ObjectStore
from kubeharden_rehearsal.control_plane import ControlPlane
from kubeharden_rehearsal.machine import Component
from kubeharden_rehearsal.scenario import load_scenario
from psp_pods import pod
from psp_policies import ACCOUNTS, NAMESPACES, grant, policy

pytest_plugins = ["rehearsal_lab"]

RELEASE = Release.parse("1.23")
READ = [resource for resource in RESOURCES.values() if resource.observed]
POLICIES, GRANTS, ROUNDS, PODS = 12, 16, 20, 25  # 20 rounds of 25: 500 random pods
CONTROLLER = "replicaset-controller"


def words(judged: WorkloadVerdict) -> str:
    """The event of a refusal, with the reasons of psp_impact: there, each has the name of its policy in front."""
    reasons = " ".join(reason.partition(": ")[2] for reason in judged.reasons if ": " in reason)
    return f'" is forbidden: PodSecurityPolicy: unable to admit pod: [{reasons}]'


def deployment(name: str, namespace: str, template: dict[str, Any]) -> dict[str, Any]:
    labels = {"app": name}
    made = {"metadata": {"labels": labels, **template.get("metadata", {})}, "spec": template["spec"]}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": made},
    }


def account(name: str, namespace: str, **fields: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata, **fields}


def random_objects(rng: random.Random) -> list[dict[str, Any]]:
    objects: list[dict[str, Any]] = [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}} for name in NAMESPACES
    ]
    for namespace in NAMESPACES:
        for name in ACCOUNTS:
            mounts = rng.choice([{}, {"automountServiceAccountToken": False}])
            objects.append(account(name, namespace, **mounts))
    if rng.random() < 0.5:
        objects.append(account(CONTROLLER, "kube-system"))
    objects += [policy(rng, f"p{number:02}") for number in range(POLICIES)]
    names = [f"p{number:02}" for number in range(POLICIES)]
    for number in range(GRANTS):
        objects += grant(rng, names, f"g{number:02}")
    for number in range(PODS):
        made = pod(rng, "x", namespace := rng.choice(NAMESPACES))
        template = {
            "metadata": {"annotations": made["metadata"].get("annotations", {})},
            "spec": made["spec"],
        }
        objects.append(deployment(f"d{number:02}", namespace, template))
    return objects


class ControllerManager:
    """A machine on which kube-controller-manager runs, and nothing else."""

    name = "k8s-master"

    def component(self, name: str) -> Component | None:
        return Component(name, (), 0.0) if name == "kube-controller-manager" else None


def seen(store: ObjectStore) -> dict[str, list[dict[str, Any]]]:
    return {resource.plural: store.items(resource.kind) for resource in READ}


def events_about(store: ObjectStore, name: str) -> list[str]:
    return [e["message"] for e in store.items("Event") if e["involvedObject"]["name"].startswith(f"{name}-")]


@pytest.mark.parametrize("first", range(0, ROUNDS, 5))
def test_what_is_foretold_of_random_pods_becomes_of_them(first: int) -> None:
    foretold = [judged for seed in range(first, first + 5) for judged in one_round(seed)]
    admitted = sum(judged.admitted for judged in foretold)
    assert len(foretold) == 5 * PODS
    assert 20 < admitted < len(foretold) - 20  # many are refused, and many are not


def one_round(seed: int) -> list[WorkloadVerdict]:
    cluster = ControlPlane(load_scenario("psp-1.23"), [ControllerManager()])
    cluster.store.load([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "kube-system"}}])
    cluster.store.load(random_objects(random.Random(seed)))
    plugins = {"plugins": ["ServiceAccount", "PodSecurityPolicy"], "allowPrivileged": True, "podSecurity": {}}
    cluster.component_started(ControllerManager(), Component("kube-apiserver", (), 0.0, plugins))
    foretold = psp_impact(seen(cluster.store), RELEASE)

    cluster.reconcile()

    for judged in foretold:
        name = judged.name
        pods = [p for p in cluster.store.items("Pod") if p["metadata"]["name"].startswith(f"{name}-")]
        chosen = [p["metadata"]["annotations"]["kubernetes.io/psp"] for p in pods]
        assert chosen == ([judged.policy] if judged.admitted else []), judged
        told = events_about(cluster.store, name)
        assert len(told) == (not judged.admitted), judged
        assert all(message.endswith(words(judged)) for message in told), judged
    return foretold


PATHS = {
    "apiVersion": "policy/v1beta1",
    "kind": "PodSecurityPolicy",
    "metadata": {"name": "paths"},
    "spec": {
        "volumes": ["*"],
        "allowedHostPaths": [{"pathPrefix": "/var/log"}],
        "runAsUser": {"rule": "MustRunAsNonRoot"},
        **{rule: {"rule": "RunAsAny"} for rule in ("fsGroup", "supplementalGroups", "seLinux")},
    },
}
AS_ROOT = {
    "containers": [{"name": "c", "image": "i", "volumeMounts": [{"name": "etc", "mountPath": "/host"}]}],
    "securityContext": {"runAsUser": 0},
    "volumes": [{"name": "etc", "hostPath": {"path": "/etc"}}],
}


def test_a_root_pod_with_a_host_path_is_refused_with_the_words_of_the_impact(fresh, eventually):
    lab = fresh("psp-1.23")
    rbac = "rbac.authorization.k8s.io"
    rule = {"apiGroups": ["policy"], "resources": ["podsecuritypolicies"], "verbs": ["use"]}
    role = {"metadata": {"name": "paths"}, "rules": [{**rule, "resourceNames": ["paths"]}]}
    binding = {
        "metadata": {"name": "paths"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "paths"},
        "subjects": [{"kind": "ServiceAccount", "name": "default", "namespace": "shop"}],
    }
    for path, item in (
        ("policy/v1beta1/podsecuritypolicies", PATHS),
        (f"{rbac}/v1/namespaces/shop/roles", role),
        (f"{rbac}/v1/namespaces/shop/rolebindings", binding),
        ("apps/v1/namespaces/shop/deployments", deployment("agent", "shop", {"spec": AS_ROOT})),
    ):
        assert lab.api("POST", f"/apis/{path}", item)[0] == 201
    objects = {}
    for resource in READ:
        version = resource.api_versions[0]
        base = f"/apis/{version}" if "/" in version else f"/api/{version}"
        listed = lab.api("GET", f"{base}/{resource.plural}")[1]
        objects[resource.plural] = [
            {"apiVersion": version, "kind": resource.kind, **item} for item in listed["items"]
        ]
    judged = next(j for j in psp_impact(objects, RELEASE) if j.name == "agent")
    assert judged.breaks
    assert any("paths: spec.volumes[0].hostPath.pathPrefix" in reason for reason in judged.reasons)
    assert any("must run as non-root" in reason or "root" in reason for reason in judged.reasons)

    def refusals() -> list[str]:
        events = lab.api("GET", "/api/v1/namespaces/shop/events")[1]["items"]
        return [e["message"] for e in events if e["involvedObject"]["name"].startswith("agent-")]

    assert eventually(refusals)
    assert all(message.endswith(words(judged)) for message in refusals())
    assert lab.pods("shop", "agent") == []
