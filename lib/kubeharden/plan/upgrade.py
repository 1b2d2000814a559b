"""Findings about a cluster on its way to a later release: every component of every node, and the API. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from kubeharden.components import Effect, Finding, readiness
from kubeharden.components.readiness import leave_policies
from kubeharden.errors import KubehardenError, ParameterError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.plan.model import NodeChange
from kubeharden.releases import LAST, Release, feature, is_covered

NOTHING: Mapping[tuple[str, str], NodeChange] = {}


def upgrade_findings(
    facts: Facts, target_release: str, planned: Mapping[tuple[str, str], NodeChange] = NOTHING
) -> tuple[tuple[str, Finding], ...]:
    """Node and finding, in the order of the releases; the node is empty for what concerns the API.

    Args:
        target_release: the release wanted; empty for the newest that the tables cover.
        planned: what is going to be changed, by node and service: it counts instead of what is there.

    Raises:
        ParameterError: the release is older than one that runs.
    """
    target = Release.parse(target_release) if target_release else LAST
    findings: list[tuple[str, Finding]] = []
    for node in facts.nodes:
        for service in node.present:
            if is_covered(service.name):
                change = planned.get((node.name, service.name))
                findings += [(node.name, finding) for finding in _of(node, service, target, change)]
    findings += [("", finding) for finding in _of_the_api(facts, target)]
    return tuple(sorted(findings, key=lambda item: item[1].release))


def _of(node: NodeFacts, service: ServiceFacts, target: Release, change: NodeChange | None) -> list[Finding]:
    try:
        running = service.release
        argv = list(change.expected_argv) if change else service.unit_argv()
        config = change.expected_config if change else service.config(argv)[1]
        if running <= target:
            return readiness(service.name, running, target, argv, config, cgroup=node.cgroup)
    except KubehardenError as error:
        why, todo = f"it cannot be judged: {error}", "mend that first"
        return [Finding(service.name, target, Effect.STOPS, "", why, todo)]
    if running.is_newer_than_tables and target == LAST:
        return [
            Finding(
                service.name,
                running,
                Effect.NOT_JUDGED,
                "",
                running.reservation,
                "install a newer kubeharden",
            )
        ]
    raise ParameterError(
        f"target_release: {target} is older than what runs ({service.name} {running} on {node.name}); "
        "expected the same release or a later one"
    )


def _of_the_api(facts: Facts, target: Release) -> list[Finding]:
    policies = [item["metadata"]["name"] for item in facts.cluster.of("podsecuritypolicies")]
    end = feature("PodSecurityPolicy").until
    if not policies or not Release.parse(facts.cluster.version) < end <= target:
        return []
    why = f"PodSecurityPolicies are gone, and these with them: {', '.join(policies)}. Pods are admitted without them"
    then = "namespaces enforce levels of Pod Security Admission then, and plugin and policies are gone"
    return [Finding("API", end, Effect.CHANGES, "PodSecurityPolicy", why, f"{leave_policies()}: {then}")]
