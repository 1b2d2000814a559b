"""Who loses something once kubelets are closed: named before, with what they get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import Facts
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.project import POLICIES
from kubeharden.plan.callers import losses
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity import read_policies
from kubeharden.show.views import facts_view, plan_view
from support import ROOT

OPEN = {
    "readOnlyPort": 10255,
    "authentication": {"anonymous": {"enabled": True}, "webhook": {"enabled": False}},
    "authorization": {"mode": "AlwaysAllow"},
}
CLOSED = ("readOnlyPort", "authentication.anonymous.enabled", "authorization.mode")
REFUSED, UNAUTHORIZED, FORBIDDEN = "the connection is refused", "a token gets 401", "a token gets 403"


def deployment(
    container: dict[str, Any], annotations: dict[str, str] | None = None, **spec: Any
) -> dict[str, Any]:
    template = {"metadata": {"annotations": annotations or {}}, "spec": {"containers": [container], **spec}}
    meta = {"namespace": "monitoring", "name": "caller", "uid": "u1"}
    return {"kind": "Deployment", "metadata": meta, "spec": {"replicas": 1, "template": template}}


def said(item: dict[str, Any], closed: tuple[str, ...] = CLOSED, **config: Any) -> str:
    found = list(losses({"deployments": (item,)}, [OPEN | config], closed))
    assert all(r.subject == "monitoring/caller (Deployment, service account default)" for r in found)
    return "\n".join(r.text for r in found)


@pytest.mark.parametrize(
    "container",
    [
        {"args": ["--source=kubernetes:https://kubernetes.default?kubeletPort=10255"]},
        {"command": ["/bin/sh", "-c", "curl http://$NODE:10255/stats/summary"]},
        {"env": [{"name": "KUBELET_PORT", "value": "10255"}]},
        {"ports": [{"containerPort": 10255}]},
        {"livenessProbe": {"httpGet": {"port": 10255, "path": "/healthz"}}},
        {"image": "gcr.io/heapster-amd64:v1.5.4", "args": ["--kubelet-port=10255"]},
    ],
)
def test_who_names_the_port_is_named(container: dict[str, Any]) -> None:
    assert REFUSED in said(deployment(container))
    assert "10255" not in said(deployment(container), readOnlyPort=0)
    assert said(deployment(container), closed=()) == ""


def test_an_annotation_names_the_port_and_another_number_does_not() -> None:
    assert REFUSED in said(deployment({}, {"prometheus.io/port": "10255"}))
    for other in ("--port=110255", "a-10255-b", "10255x", "1.10255"):
        assert said(deployment({"args": [other]})) == ""
    assert REFUSED in said(deployment({"args": ["--port=20255"]}), readOnlyPort=20255)


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("k8s.gcr.io/metrics-server-amd64:v0.3.6", "metrics-server"),
        ("registry.k8s.io/metrics-server/metrics-server@sha256:00", "metrics-server"),
        ("registry.example.com:5000/heapster", "heapster"),
        ("quay.io/prometheus/prometheus:v2.45.0", "prometheus"),
        ("datadog/agent:7", "datadog/agent"),
        ("otel/opentelemetry-collector-contrib:0.90", "opentelemetry-collector-contrib"),
    ],
)
def test_a_program_that_reads_metrics_is_named_with_what_its_token_gets(image: str, name: str) -> None:
    item = deployment({"image": image})
    assert said(item).startswith(f"it is {name}, which calls kubelets")
    assert UNAUTHORIZED in said(item)
    assert FORBIDDEN in said(
        item, authentication={"anonymous": {"enabled": True}, "webhook": {"enabled": True}}
    )
    assert said(item, closed=("readOnlyPort",)) == ""
    closed = {"anonymous": {"enabled": False}, "webhook": {"enabled": True}}
    assert said(item, authentication=closed, authorization={"mode": "Webhook"}) == ""


@pytest.mark.parametrize(
    "image", ["prom/node-exporter", "quay.io/prometheus/node-exporter", "prometheus-adapter", "nginx", ""]
)
def test_others_are_not(image: str) -> None:
    assert said(deployment({"image": image})) == ""


def test_what_is_not_in_use_or_has_no_containers_is_not() -> None:
    idle = deployment({"args": ["10255"]})
    idle["spec"]["replicas"] = 0
    assert said(idle) == ""
    assert said({**idle, "spec": {}}) == ""


def with_caller(name: str) -> Facts:
    facts = read_facts(PLANS / name)
    item = deployment({"image": "metrics-server:v0.3", "args": ["--kubelet-port=10255"]})
    objects = {**facts.cluster.objects, "deployments": (*facts.cluster.of("deployments"), item)}
    return replace(facts, cluster=replace(facts.cluster, objects=objects))


@pytest.mark.parametrize("name", ["article-1.10", "handbuilt-1.20"])
def test_look_and_plan_say_it(name: str) -> None:
    facts = with_caller(name)
    words = "monitoring/caller (Deployment, service account default)"
    assert f"{words} would lose something by hardening: it names port 10255" in str(facts_view(facts))
    policies = read_policies(ROOT / POLICIES)
    plan = make_plan(facts, Parameters(), policies)
    assert f"{words}: it names port 10255" in str(plan_view(plan))
    assert REFUSED in str(plan_view(plan))
    assert "10255" not in str(plan_view(make_plan(facts, Parameters(profile="none"), policies)))
    assert "caller" not in str(plan_view(make_plan(facts, Parameters(steps=("kube-proxy",)), policies)))
