"""Who loses something once kubelets are closed: named before, with what they get."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from facts_fixtures import PLANS, read_facts
from kubeharden.facts import ConfigMapPorts, Facts
from kubeharden.inputs.parameters import Parameters
from kubeharden.inputs.project import POLICIES
from kubeharden.plan.callers import config_maps_of, config_maps_to_read, losses, names_port
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies
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


def said(
    item: dict[str, Any],
    closed: tuple[str, ...] = CLOSED,
    maps: dict[str, set[int]] | None = None,
    **config: Any,
) -> str:
    named = {("monitoring", name): frozenset(ports) for name, ports in (maps or {}).items()}
    found = list(losses({"deployments": (item,)}, [OPEN | config], closed, ConfigMapPorts(named)))
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
        ("rancher/mirrored-prometheus-prometheus:v2.42.0", "prometheus"),
        ("rancher/prom-prometheus:v2.12.0", "prometheus"),
        ("rancher/mirrored-metrics-server:v0.6.3", "metrics-server"),
        ("gcr.io/datadoghq/agent:7", "datadoghq/agent"),
        ("grafana/agent:v0.40.0", "grafana/agent"),
        ("docker.elastic.co/beats/elastic-agent:8.9.0", "elastic-agent"),
        ("public.ecr.aws/aws-observability/aws-otel-collector:v0.33.0", "aws-otel-collector"),
        ("quay.io/signalfx/splunk-otel-collector:0.85.0", "splunk-otel-collector"),
        ("amazon/cloudwatch-agent:1.2", "cloudwatch-agent"),
        ("newrelic/nri-kubernetes:3.5.0", "nri-kubernetes"),
        ("datadog/agent:7", "datadog/agent"),
        ("otel/opentelemetry-collector-contrib:0.90", "opentelemetry-collector-contrib"),
        ("lachlanevenson/k8s-heapster:v1.5", "heapster"),
        ("registry.example.com/lib/k8s-metrics-server:0.3", "metrics-server"),
        ("quay.io/openshift/origin-prometheus:v3.11", "prometheus"),
        ("registry.redhat.io/openshift3/metrics-heapster:v3.9", "heapster"),
        ("newrelic/infrastructure-k8s:2.8", "infrastructure-k8s"),
        ("datadog/docker-dd-agent:latest", "docker-dd-agent"),
        ("quay.io/signalfx/signalfx-agent:5", "signalfx-agent"),
        ("victoriametrics/victoria-metrics:v1.93", "victoria-metrics"),
        ("netdata/netdata:v1.40", "netdata"),
        ("instana/agent", "instana/agent"),
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
    "image",
    [
        *("prom/node-exporter", "quay.io/prometheus/node-exporter", "prometheus-adapter", "nginx", ""),
        *(
            "mycorp/agent",
            "rancher/rancher-agent",
            "rancher/mirrored-prometheus-node-exporter",
            "prom/prometheus-x",
        ),
    ],
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


def with_map(name: str = "scrape") -> dict[str, Any]:
    return deployment({"image": "x"}, volumes=[{"name": "v", "configMap": {"name": name}}])


def test_who_is_told_the_port_by_a_config_map_is_named() -> None:
    item = with_map()
    assert "its ConfigMap scrape names port 10255, on which" in said(item, maps={"scrape": {10255}})
    assert said(item, maps={"other": {10255}}) == ""
    assert said(item, maps={"scrape": {10255}}, readOnlyPort=0) == ""
    own = "its ConfigMap scrape names port 10250, that of kubelets: a token gets 401"
    assert own in said(item, maps={"scrape": {10250}}, port=10250)
    assert said(item, closed=("readOnlyPort",), maps={"scrape": {10250}}, port=10250) == ""


def test_a_scraper_whose_configuration_is_in_a_secret_is_named() -> None:
    secret = {"volumes": [{"name": "config", "secret": {"secretName": "prometheus"}}]}
    item = deployment({"image": "prom/prometheus"}, **secret)
    words = said(item, closed=("readOnlyPort",))
    assert "a Secret, which may hold its configuration and is not read: a call of port 10255" in words
    assert said(deployment({"image": "nginx"}, **secret), closed=("readOnlyPort",)) == ""


def test_what_was_not_read_is_reported_where_it_matters() -> None:
    maps = ConfigMapPorts(unread="those of workloads were not all read (403)")
    [remark] = losses({}, [OPEN], CLOSED, maps)
    assert remark.subject == "ConfigMaps"
    assert remark.text.startswith("those of workloads were not all read (403): a workload")
    assert not list(losses({}, [OPEN], ("clusterDNS",), maps))


# What a tenant may write for the name of a ConfigMap: the API server does not check it in a pod template.
HOSTILE = ("", "..", "../secrets/x", "a/b", "a?x=y", "a%2fb", "a b", "a\nb", "-a", "A", "a" * 254)


def test_the_config_maps_of_a_template_are_those_of_volumes_and_variables() -> None:
    spec = {
        "volumes": [
            {"name": "a", "configMap": {"name": "one"}},
            {
                "name": "b",
                "projected": {"sources": [{"configMap": {"name": "two"}}, {"secret": {"name": "s"}}]},
            },
            {"name": "c", "configMap": {"name": 7}},
            {"name": "d", "configMap": None},
            *({"name": "f", "configMap": {"name": name}} for name in HOSTILE),
            {"name": "e", "emptyDir": {}},
        ],
        "initContainers": [{"name": "i", "envFrom": [{"configMapRef": {"name": "three"}}]}],
        "containers": [
            {
                "name": "x",
                "env": [{"name": "E", "valueFrom": {"configMapKeyRef": {"name": "four", "key": "k"}}}],
            },
            {"name": "y", "envFrom": [{"configMapRef": {"name": "one"}}, {"configMapRef": {}}]},
        ],
    }
    names = {name for _, name in config_maps_of({"spec": spec}, "shop")}
    assert names == {"one", "two", "three", "four"}
    assert config_maps_of({}, "shop") == []


def test_config_maps_are_asked_for_only_while_kubelets_are_open() -> None:
    facts = read_facts(PLANS / "article-1.10")
    mine = [with_map("nginx"), with_map("mine")]
    mine[0]["metadata"] = {**mine[0]["metadata"], "name": "a"}
    mine[1]["spec"]["template"]["spec"]["containers"] = [{"image": "prom/prometheus"}]
    objects = {**facts.cluster.objects, "deployments": tuple(mine)}
    open_ones = replace(facts, cluster=replace(facts.cluster, objects=objects))
    names, ports = config_maps_to_read(open_ones)
    assert names[0] == ("monitoring", "mine")
    assert ("monitoring", "nginx") in names
    assert ports == {10250, 10255}
    closed = {"port": 10250, "readOnlyPort": 0, "authentication": {"anonymous": {"enabled": False}}}
    nodes = tuple(node.with_configz(closed | {"authorization": {"mode": "Webhook"}}) for node in facts.nodes)
    assert config_maps_to_read(replace(open_ones, nodes=nodes)) == ([], frozenset())


def test_a_port_in_the_text_of_a_config_map_is_found() -> None:
    text = "scrape_configs:\n- relabel_configs:\n  - {target_label: __address__, replacement: '$1:10255'}\n"
    assert names_port({"prometheus.yml": text}, 10255)
    assert not names_port({"prometheus.yml": text}, 1025)
    assert not names_port(None, 10255)
