"""From facts and parameters to a plan. Pure: the same facts give the same plan, with the same digest."""

from __future__ import annotations

import ipaddress

from kubeharden.components.admission_plugins import flag_value
from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Network
from kubeharden.inputs.parameters import Parameters, check_dns_ip
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import Plan
from kubeharden.plan.steps.components import plan_component
from kubeharden.plan.steps.pod_security import plan_pod_security, uses_policies
from kubeharden.podsecurity import PolicySet

__all__ = ["make_plan", "service_range", "uses_policies"]


def make_plan(facts: Facts, parameters: Parameters, policies: PolicySet) -> Plan:
    """What a run with these parameters would do to the nodes and the API as they are.

    Raises:
        ParameterError: a parameter does not fit the cluster (nothing was touched).
    """
    check_dns_ip(parameters.dns_ip, service_range(facts), "read from kube-apiserver's command line")
    draft = Draft(facts, parameters)
    draft.check_names()
    for step in parameters.steps:
        if step == "pod-security":
            plan_pod_security(draft, policies)
        else:
            plan_component(draft, step)
    return draft.plan()


def service_range(facts: Facts) -> tuple[Network, ...]:
    """The API server's ``--service-cluster-ip-range``, one or one of each family, where a unit says it."""
    for node in facts.nodes:
        service = node.service("kube-apiserver")
        if service is None:
            continue
        text = flag_value(service.cmdline or service.unit_argv(), "--service-cluster-ip-range")
        if text:
            return tuple(ipaddress.ip_network(part, strict=False) for part in text.split(","))
    return ()
