"""Workloads that call kubelets, and what they get once a kubelet is closed to callers without a name. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import effective_config
from kubeharden.components.flags import split_flags
from kubeharden.components.programs import arguments
from kubeharden.errors import UnitError, UnknownReleaseError
from kubeharden.facts import Facts, ServiceFacts
from kubeharden.kube.pods import containers
from kubeharden.kube.workloads import workloads
from kubeharden.plan.model import Remark
from kubeharden.releases import release_table

PORT, ANONYMOUS, MODE = "readOnlyPort", "authentication.anonymous.enabled", "authorization.mode"
WEBHOOK = "authentication.webhook.enabled"
# Programs that read metrics from kubelets, by the last word of their images' names.
_SCRAPERS = re.compile(
    r"(?:^|/)(metrics-server|heapster|prometheus|vmagent|telegraf|metricbeat|grafana-agent|alloy"
    r"|opentelemetry-collector(?:-contrib|-k8s)?|datadog/agent)(?:-(?:amd64|arm64|arm|ppc64le|s390x))?(?:[:@]|$)"
)


def losses(
    objects: Mapping[str, Iterable[Mapping[str, Any]]],
    before: Iterable[Mapping[str, Any]],
    closed: Collection[str],
) -> Iterator[Remark]:
    """Yield the workloads that lose something, with what they get then.

    Args:
        objects: the cluster's, by resource.
        before: the effective configurations of the kubelets.
        closed: the fields that get another value.
    """
    configs = list(before)
    found = (paths.get(config, PORT) for config in configs if PORT in closed)
    ports = {port for port in found if isinstance(port, int) and port > 0}
    opened = [config for config in configs if is_open(config) and {ANONYMOUS, MODE} & set(closed)]
    if not ports and not opened:
        return
    for item in workloads(objects):
        if not item.in_use:
            continue
        named = sorted(port for port in ports if _names(item.template, port))
        scraper = _scraper(item.template)
        if named:
            why = (
                f"it names port {named[0]}, on which kubelets answer everybody: there, the connection is refused once "
                f"{PORT} is 0. Let it call port 10250, with the token of its service account"
            )
            yield Remark(str(item), f"{why}: {_with_token(configs)}" if opened else why)
        elif scraper and opened:
            yield Remark(str(item), f"it is {scraper}, which calls kubelets: {_with_token(opened)}")


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


def _names(template: Mapping[str, Any], port: int) -> bool:
    """Return whether a pod template has a number somewhere: in arguments, variables, probes, ports, annotations."""
    number = re.compile(rf"(?<![\w.-]){port}(?![\w-])")
    known = (template.get("spec"), (template.get("metadata") or {}).get("annotations"))
    return any(number.search(text) for text in _texts(known))


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
    return next((found[1] for image in images if (found := _SCRAPERS.search(image))), "")
