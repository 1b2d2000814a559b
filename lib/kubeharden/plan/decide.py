"""From facts and parameters to a plan. Pure: the same facts give the same plan, with the same digest."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from kubeharden.components import Finding, Profile
from kubeharden.components.admission_plugins import flag_value
from kubeharden.errors import ParameterError, UnitError
from kubeharden.facts import Facts, ServiceFacts
from kubeharden.inputs.inventory import Network, networks
from kubeharden.inputs.parameters import Parameters, check_dns_ip
from kubeharden.plan import machines
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import NodeChange, Plan, Remark, subject_of
from kubeharden.plan.steps import select_steps
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.podsecurity.policies import PolicySet
from kubeharden.releases import Release, find_component, known_components

UNREADABLE = ("bad-setting", "error")  # values of LoadState (systemd's UnitLoadState)


def make_plan(
    facts: Facts, parameters: Parameters, policies: PolicySet, profile: Profile | None = None
) -> Plan:
    """Plan what a run with these parameters would do to the nodes and the API as they are.

    Args:
        facts: what was seen.
        parameters: what was asked for.
        policies: the policies file.
        profile: what to harden, where it is one of your own; else the one that the parameters name.

    Raises:
        ParameterError: a parameter does not fit the cluster (nothing was touched).
    """
    check_dns_ip(parameters.dns_ip, service_range(facts), "read from kube-apiserver's command line")
    steps = select_steps(parameters.steps)
    parts = [Draft(facts, parameters, policies, profile) for _ in steps]
    for step, part in zip(steps, parts, strict=True):
        step.plan(part)
    _check_missing(parts)
    changes = [change for part in parts for change in part.node_changes]
    return Plan(
        steps=tuple(step.name for step in steps),
        node_changes=tuple(changes),
        object_changes=tuple(change for part in parts for change in part.object_changes),
        remarks=(
            *machines.remarks(facts),
            *_own_profile(profile),
            *_missing_services(facts),
            *(remark for part in parts for remark in part.remarks),
        ),
        refused=(
            *_wrong_names(facts),
            *_newer_releases(facts, accepted=parameters.accept_unknown_release),
            *machines.refusals(facts),
            *(remark for part in parts for remark in part.refused),
        ),
        namespaces=tuple(level for part in parts for level in part.namespaces),
        impacts=tuple(impact for part in parts for impact in part.impacts),
        target_release=parameters.target_release,
        findings=_findings(facts, parameters.target_release, changes),
        cluster=facts.cluster.name,
        cluster_uid=facts.cluster.uid,
        profile={"path": profile.name, "sha256": profile.digest} if profile else {},
        next_run=tuple(subject for part in parts for subject in part.next_run),
    )


def _own_profile(profile: Profile | None) -> Iterator[Remark]:
    """Yield which file says what to harden, where that is a file of somebody's own."""
    if profile is not None:
        yield Remark("profile", f"what is hardened stands in {profile.name} (SHA-256 {profile.digest})")


def _wrong_names(facts: Facts) -> Iterator[Remark]:
    """Yield the names of the inventory that are not those of Node objects."""
    known = {item["metadata"]["name"] for item in facts.cluster.of("nodes")}
    for node in facts.nodes:
        if node.runs_pods and node.name not in known:
            why = f"the API has no Node object of that name; it has {', '.join(sorted(known))}. Mend the inventory"
            yield Remark(node.name, why)


def _newer_releases(facts: Facts, *, accepted: bool) -> Iterator[Remark]:
    """Yield the releases that run and are newer than the tables, unless a person accepts that."""
    nodes = (
        service.version for node in facts.nodes for service in node.present if service.component.is_judged
    )
    newer = {release for version in (facts.cluster.version, *nodes) if (release := Release.newer(version))}
    for release in sorted(newer if not accepted else ()):
        why = f"{release.reservation}. Install a newer kubeharden, or set accept_unknown_release=True"
        yield Remark(f"Kubernetes {release}", why)


def _missing_services(facts: Facts) -> Iterator[Remark]:
    """Yield what is not a service where one would be changed, so that nothing is."""
    for node in facts.nodes:
        if not any(service.component.is_judged for service in node.present):
            names = ", ".join(row.name for row in known_components() if row.is_judged)
            why = (
                f"has none of the services {names}: nothing is changed there. Say other names of them "
                "in the inventory (services: {kubelet: NAME})"
            )
            yield Remark(node.name, why)
        for name, group in node.elsewhere.items():
            if find_component(name).is_judged:
                why = f"runs in {group}, which is not a service of systemd, and is not changed"
                yield Remark(subject_of(name, node.name), why)
        for service in node.services.values():
            others = ", ".join(f"{unit}.service" for unit in node.other_units(service.name))
            if others and (service.loaded or service.component.step_order is None):
                own = f", here {service.unit}.service" if service.loaded else ""
                why = (
                    f"runs as {others}{', too' if own else ''}, which is not seen, changed or proved: one unit of a "
                    f"component is, on each node{own}. Say which in the inventory (services: {{{service.name}: NAME}})"
                )
                yield Remark(subject_of(service.name, node.name), why)
            state = service.show.get("LoadState")
            if state in UNREADABLE and service.component.is_judged:
                why = (
                    f"systemd cannot read its unit (LoadState={state}), so that it is not changed: systemctl status "
                    f"{service.unit} says why"
                )
                yield Remark(subject_of(service.name, node.name), why)
            named = service.other_unit and not service.loaded
            if named and not any(other.service(service.name) for other in facts.nodes if other != node):
                why = (
                    f"the inventory names its unit {service.unit}, and the node has no {service.unit}.service"
                )
                yield Remark(subject_of(service.name, node.name), why)


def _check_missing(parts: Sequence[Draft]) -> None:
    """Refuse a plan for nodes without a value that no parameter gives.

    Raises:
        ParameterError: there is such a node.
    """
    missing = list(chain.from_iterable(part.missing.items() for part in parts))
    if missing:
        lines = [f"  {name}: is empty, and {', '.join(nodes)} has none of its own" for name, nodes in missing]
        raise ParameterError("nothing was touched, because of the parameters:\n" + "\n".join(lines))


def _findings(
    facts: Facts, target_release: str, changes: Sequence[NodeChange]
) -> tuple[tuple[str, Finding], ...]:
    """Return what stands between the cluster, as it will be, and the release that is asked for."""
    if not target_release:
        return ()
    return upgrade_findings(facts, target_release, {(c.node, c.service): c for c in changes})


def _command_of(service: ServiceFacts) -> Sequence[str]:
    """Return the command line of a service: that of its process, else that of its unit; nothing where none is known."""
    try:
        return service.cmdline or service.unit_argv()
    except UnitError:
        return ()


def service_range(facts: Facts) -> tuple[Network, ...]:
    """Return the API server's ``--service-cluster-ip-range``, one or one of each family, where a unit says it."""
    for node in facts.nodes:
        service = node.api_server
        if service is None:
            continue
        text = flag_value(_command_of(service), "--service-cluster-ip-range")
        try:
            return networks(text, exact=False)
        except ValueError:  # none is given, or one that the API server itself would refuse
            continue
    return ()
