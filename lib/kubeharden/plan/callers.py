"""Workloads that call kubelets, and what they get once a kubelet is closed to callers without a name. Pure.

A workload calls kubelets where its pod template says so, or a ConfigMap that the template names: of those, the ports
that they name are read, and nothing else of them is kept. Secrets are never read.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import effective_config
from kubeharden.components.flags import split_flags
from kubeharden.components.programs import arguments
from kubeharden.errors import UnitError, UnknownReleaseError
from kubeharden.facts import ConfigMapPorts, Facts, ServiceFacts
from kubeharden.kube.pods import containers
from kubeharden.kube.workloads import workloads
from kubeharden.plan.model import Remark
from kubeharden.releases import release_table

Name = tuple[str, str]  # namespace and name of a ConfigMap
KUBELET_PORT = "port"
PORT, ANONYMOUS, MODE = "readOnlyPort", "authentication.anonymous.enabled", "authorization.mode"
WEBHOOK = "authentication.webhook.enabled"
# A name as the API server takes it for a ConfigMap. That in a pod template it does not check: a way to another object
# may stand there (../secrets/x).
_NAME = re.compile(r"[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?")
# The references of volumes and their sources, of envFrom and of valueFrom.
_REFERENCES = ("configMap", "configMapRef", "configMapKeyRef")
# Programs that read metrics from kubelets, by the last word of their images' names.
_SCRAPERS = re.compile(
    r"(?:^|/)(?:mirrored-|prom-|prometheus-|k8s-|origin-|metrics-)*"  # as those who tag them anew name them
    r"(metrics-server|heapster|prometheus|vmagent|victoria-metrics|telegraf|metricbeat|elastic-agent|netdata"
    r"|grafana-agent|alloy|(?:opentelemetry|splunk-otel|aws-otel)-collector(?:-contrib|-k8s)?|cloudwatch-agent"
    r"|newrelic-infrastructure|infrastructure-k8s|nri-kubernetes|docker-dd-agent|signalfx-agent|kubernetes-collector"
    r"|wavefront-kubernetes-collector|(?:datadog|datadoghq|grafana|sysdig|instana)/agent)"
    r"(?:-(?:amd64|arm64|arm|ppc64le|s390x))?(?:[:@]|$)"
)


def losses(
    objects: Mapping[str, Iterable[Mapping[str, Any]]],
    before: Iterable[Mapping[str, Any]],
    closed: Collection[str],
    config_maps: ConfigMapPorts,
) -> Iterator[Remark]:
    """Yield the workloads that lose something, with what they get then.

    Args:
        objects: the cluster's, by resource.
        before: the effective configurations of the kubelets.
        closed: the fields that get another value.
        config_maps: the ports that ConfigMaps name.
    """
    configs = list(before)
    ports = _ports(configs, PORT) if PORT in closed else set()
    opened = [config for config in configs if is_open(config) and {ANONYMOUS, MODE} & set(closed)]
    if not ports and not opened:
        return
    if config_maps.unread:
        why = f"{config_maps.unread}: a workload that calls kubelets by what is in them is not named here"
        yield Remark("ConfigMaps", why)
    for item in workloads(objects):
        if not item.in_use:
            continue
        own = config_maps_of(item.template, item.namespace)
        ways = [("it", port) for port in sorted(ports) if names_port(_port_places(item.template), port)]
        ways += _in_config_maps(own, config_maps, ports)
        calls = _in_config_maps(own, config_maps, _ports(opened, KUBELET_PORT))
        scraper = _scraper(item.template)
        if ways:
            who, port = ways[0]
            why = (
                f"{who} names port {port}, on which kubelets answer everybody: there, the connection is refused once "
                f"{PORT} is 0. Let it call port 10250, with the token of its service account"
            )
            yield Remark(str(item), f"{why}: {_with_token(configs)}" if opened else why)
        elif opened and scraper:
            yield Remark(str(item), f"it is {scraper}, which calls kubelets: {_with_token(opened)}")
        elif opened and calls:
            who, port = calls[0]
            yield Remark(str(item), f"{who} names port {port}, that of kubelets: {_with_token(opened)}")
        elif scraper and _has_secret(item.template):
            why = (
                f"it is {scraper}, and has a Secret, which may hold its configuration and is not read: a call of port "
                f"{min(ports)}, on which kubelets answer everybody, is refused once {PORT} is 0"
            )
            yield Remark(str(item), why)


def config_maps_to_read(facts: Facts) -> tuple[list[Name], frozenset[int]]:
    """Return the ConfigMaps that are worth reading, and the ports to look for; none where kubelets are closed already.

    Those of programs that are known to read metrics from kubelets come first.
    """
    configs = list(open_kubelets(facts))
    opened = [config for config in configs if is_open(config)]
    ports = _ports(configs, PORT) | _ports(opened, KUBELET_PORT)
    if not ports:
        return [], frozenset()
    in_use = [item for item in workloads(facts.cluster.objects) if item.in_use]
    in_use.sort(key=lambda item: not _scraper(item.template))
    named = (name for item in in_use for name in config_maps_of(item.template, item.namespace))
    return list(dict.fromkeys(named)), frozenset(ports)


def config_maps_of(template: Mapping[str, Any], namespace: str) -> list[Name]:
    """Return the ConfigMaps that a pod template names: in volumes, and for variables."""
    return list(dict.fromkeys((namespace, name) for name in _references(template.get("spec"))))


def _references(value: Any, key: str = "") -> Iterator[str]:
    if isinstance(value, Mapping):
        name = value.get("name")
        if key in _REFERENCES and isinstance(name, str) and _NAME.fullmatch(name):
            yield name
        for name, part in value.items():
            yield from _references(part, name)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _references(part)


def _in_config_maps(
    names: Iterable[Name], config_maps: ConfigMapPorts, ports: Collection[int]
) -> list[tuple[str, int]]:
    numbers = ((name, port) for name in names for port in config_maps.named.get(name, ()) if port in ports)
    return [(f"its ConfigMap {name}", port) for (_, name), port in sorted(numbers)]


def _ports(configs: Iterable[Mapping[str, Any]], field: str) -> set[int]:
    numbers = (paths.get(config, field) for config in configs)
    return {port for port in numbers if isinstance(port, int) and port > 0}


def open_kubelets(facts: Facts) -> Iterator[Mapping[str, Any]]:
    """Yield the effective configurations of the kubelets: what they say of it, or what their files and flags do."""
    for node in facts.nodes:
        for service in node.present:
            if service.component.runs_pods:
                yield service.configz or _configuration(service)


def is_open(config: Mapping[str, Any]) -> bool:
    """Return whether a kubelet answers callers without a name, or lets everybody do everything."""
    return bool(paths.get(config, ANONYMOUS)) or paths.get(config, MODE) == "AlwaysAllow"


def _with_token(configs: Collection[Mapping[str, Any]]) -> str:
    if all(paths.get(config, WEBHOOK) for config in configs):
        return (
            "a token gets 403 once the API server is asked who may do what, unless its service account may get "
            "nodes/metrics, nodes/stats and nodes/proxy"
        )
    return (
        f"a token gets 401 once anonymous access is off, as long as {WEBHOOK} is false; set it first, and let its "
        "service account get nodes/metrics, nodes/stats and nodes/proxy"
    )


def _configuration(service: ServiceFacts) -> Mapping[str, Any]:
    try:
        argv = service.unit_argv()
        table = release_table(service.name, service.release)
        return effective_config(
            table, split_flags(arguments(service.name, argv), table), service.config(argv)[1]
        )
    except (UnitError, UnknownReleaseError):
        return {}


def names_port(value: Any, port: int) -> bool:
    """Return whether a number stands somewhere in data, by itself: ``:10255``, and not ``110255``."""
    number = re.compile(rf"(?<![\w.-]){port}(?![\w-])")
    return any(number.search(text) for text in _texts(value))


def _port_places(template: Mapping[str, Any]) -> Any:
    """Return what of a pod template may name a port: arguments, variables, probes, ports, annotations."""
    return (template.get("spec"), (template.get("metadata") or {}).get("annotations"))


def _has_secret(template: Mapping[str, Any]) -> bool:
    volumes = (template.get("spec") or {}).get("volumes") or ()
    return any(isinstance(each, Mapping) and each.get("secret") for each in volumes)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for part in value.values():
            yield from _texts(part)
    elif isinstance(value, (list, tuple)):
        for part in value:
            yield from _texts(part)
    elif value is not None:
        yield str(value)


def _scraper(template: Mapping[str, Any]) -> str:
    """Return the name of a program that reads metrics from kubelets, by the images of a pod template."""
    images = (
        str(each.get("image") or "") for _, each in (containers(template) if template.get("spec") else ())
    )
    return next((match[1] for image in images if (match := _SCRAPERS.search(image))), "")
