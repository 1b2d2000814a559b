"""Before and after, judged by what runs: is everything in effect, and did nothing else change? Pure."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kubeharden.components.mismatches import mismatches, same_field
from kubeharden.components.paths import walk
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import sensitive_command, sensitive_value
from kubeharden.facts.warnings import flag_and_message, group
from kubeharden.kube.manifests import title_of
from kubeharden.kube.rbac import Authorization, Identity
from kubeharden.plan.machines import left_out_words, unlisted_words
from kubeharden.plan.model import NodeChange, Plan, subject_of
from kubeharden.plan.step import POD_SECURITY
from kubeharden.podsecurity.levels import label_text, labels_of
from kubeharden.redaction import mask
from kubeharden.releases import release_table

# What an API server that serves says to /healthz: 401 and 403 refuse only a request without a credential.
SERVING = ("200", "401", "403")


@dataclass(frozen=True)
class Proof:
    """The result of a second look.

    Attributes:
        problems: what is not as promised; nothing, if all is.
        confirmed: what was checked and holds, in sentences.
        notes: warnings that the release gives whatever one does, and what could not be verified.
        services: rows of node, service, process, start time, warnings before and after.
        differences: rows of node, service, field, before, after, declared: the effective configuration.
    """

    problems: tuple[str, ...]
    confirmed: tuple[str, ...]
    notes: tuple[str, ...]
    differences: tuple[tuple[str, ...], ...]
    services: tuple[tuple[str, ...], ...]


def compare(
    before: Facts, after: Facts, plan: Plan, *, applied: bool, carried_out: Collection[str] | None = None
) -> Proof:
    """Compare what runs now with what ran before and with what the plan promised.

    Args:
        before: as seen before the plan was made.
        after: as seen now.
        applied: whether it was carried out; in ``plan`` mode, nothing at all may have changed.
        carried_out: the subjects of the changes that were; None for all. The others are named once, and not judged.
    """
    differences = [row for node in after.nodes for row in _differences(before.node(node.name), node, plan)]
    problems = [
        f"{row[1]} on {row[0]}: {row[2]} changed from {mask(row[3])} to {mask(row[4])}, which nothing declared"
        for row in differences
        if row[5] == "NO"
    ]
    problems += _stops(before, after)
    notes = [f"the inventory {words}" for words in (unlisted_words(after),) if words]
    notes += [f"the parameter nodes {words}" for words in (left_out_words(after),) if words]
    if applied:
        missing = plan.subjects - set(plan.subjects if carried_out is None else carried_out)
        judged = plan.without(missing)
        problems += _grouped_problems(
            (change, problem)
            for change in judged.node_changes
            for problem in unproved(change, after.node(change.node), before.node(change.node))
        )
        problems += _avoidable(after, judged)
        problems += _missing_objects(after, judged)
        problems += _other_labels(after, judged)
        problems += _not_yet(plan, missing)
        left = (f"{r.subject} was left as it is: {r.text}" for r in plan.left_out)
        notes += [*left, *_unavoidable(before, after, judged), *_unverified(after, judged)]
    return Proof(
        tuple(problems),
        () if problems else tuple(_confirmations(after, plan, differences, applied=applied)),
        tuple(notes),
        tuple(differences),
        tuple(_services(before, after, plan)),
    )


def _grouped_problems(problems: Iterable[tuple[NodeChange, str]]) -> Iterator[str]:
    """Yield problems of changes, the same one of several nodes once."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for change, problem in problems:
        nodes.setdefault((change.service, problem), []).append(change.node)
    for (service, problem), names in nodes.items():
        yield f"{service} on {', '.join(names)}: {problem}"


def _avoidable(after: Facts, plan: Plan) -> Iterator[str]:
    """Yield the warnings that were to go, those of several flags and nodes once."""
    warnings = (
        (change.service, change.node, warning)
        for change in plan.node_changes
        for warning in _warnings(change, after.node(change.node))[0]
    )
    for service, names, flags, message in group(warnings):
        yield f"{service} on {', '.join(names)} still warns{_list(flags, ' of {}')}: {message}"


def _list(flags: Sequence[str], form: str) -> str:
    names = ", ".join(filter(None, flags))
    return form.format(names) if names else ""


def _not_yet(plan: Plan, missing: Collection[str]) -> Iterator[str]:
    """Yield the changes that were planned and not carried out, in one sentence."""
    nodes: dict[str, list[str]] = {}
    objects = [change for change in plan.object_changes if change.name in missing]
    for change in plan.node_changes:
        if change.subject in missing:
            nodes.setdefault(change.service, []).append(change.node)
    words = [f"{len(objects)} API object{'s' if len(objects) > 1 else ''}"] if objects else []
    words += [f"{service} on {', '.join(names)}" for service, names in nodes.items()]
    if words:
        yield f"not carried out yet: {'; '.join(words)}"


def _unavoidable(before: Facts, after: Facts, plan: Plan) -> Iterator[str]:
    """Yield the warnings that stay, and why."""
    nodes: dict[tuple[str, str], list[str]] = {}
    for change in plan.node_changes:
        for warning in _warnings(change, after.node(change.node))[1]:
            nodes.setdefault((change.service, warning), []).append(change.node)
    for (service, warning), names in nodes.items():
        yield f"{service} on {', '.join(names)} still warns, which its release cannot avoid: {warning}"
    again: list[tuple[str, str, str]] = []
    never: list[tuple[str, str, str]] = []
    for change in plan.node_changes:
        new = after.node(change.node).service(change.service)
        old = before.node(change.node).service(change.service)
        known = {flag_and_message(warning) for warning in (old.warnings if old else ())}
        for warning in new.warnings if new and change.migration is None else ():
            place = never if flag_and_message(warning) in known else again
            place.append((change.service, change.node, warning))
    for words, warnings in (
        ("warns of what this runbook does not move", never),
        ("warns again, as it did before its flags went", again),
    ):
        for service, nodes_of, flags, message in group(warnings):
            yield f"{service} on {', '.join(nodes_of)} {words}{_list(flags, ' ({})')}: {message}"


def _verifiable(change: NodeChange, after: Facts) -> bool:
    return after.node(change.node).effective_config(change.service) is not None


def _unverified(after: Facts, plan: Plan) -> Iterator[str]:
    nodes: dict[tuple[str, str], list[str]] = {}
    for change in plan.node_changes:
        if change.expected_config is not None and not _verifiable(change, after):
            runs = after.node(change.node).service(change.service)
            nodes.setdefault((change.service, runs.unread if runs else ""), []).append(change.node)
    for (service, why), names in nodes.items():
        yield (
            f"{service} on {', '.join(names)} does not serve its effective configuration{f' ({why})' if why else ''}: "
            "that its file is in effect is not verified, only that it runs with it"
        )
    for change in plan.node_changes:
        server = after.node(change.node).service(change.service)
        if server is not None and server.component.healthz is not None and not server.healthz:
            yield (
                f"{change.subject} could not be asked on its own node (no curl, no wget): that the API answers is "
                "known, and not which server it is that does"
            )


def unproved(change: NodeChange, node: NodeFacts, before: NodeFacts) -> list[str]:
    """Return what is not as a change promised, judged by what runs: nothing, if all is.

    Args:
        change: what was to be done.
        node: its node as seen now.
        before: the node as seen before.
    """
    service = node.service(change.service)
    if service is None or not service.running:
        return ["it does not run"]
    problems = []
    if service.running_argv != list(change.expected_argv):
        command = mask(sensitive_command(service.name, service.cmdline)).replace("\n", " ")
        problems.append(f"it runs with another command line than planned: {command}")
    effective = node.effective_config(change.service)
    if change.expected_config is not None and effective is not None:
        table = release_table(change.service, service.release)
        for path, wanted, got in mismatches(table, change.expected_config, effective, service.cmdline):
            was, is_now = (_mask_value(change.service, path, repr(value)) for value in (wanted, got))
            problems.append(f"{path} is {is_now} in effect, not {was}")
    if effective is None and before.effective_config(change.service) is not None:
        problems.append("its effective configuration could be read before, and cannot be read any more")
    if silent := not_serving(service):
        problems.append(silent)
    return problems


def _mask_value(component: str, path: str, text: str) -> str:
    """Return the text of a value without what may be secret in it."""
    return mask(sensitive_value(component, text, field=path))


def not_serving(service: ServiceFacts) -> str:
    """Return why a service does not serve, by its own word on its own node.

    Nothing where it serves, and where it could not be asked: there may be neither curl nor wget.
    """
    if service.healthz in ("", *SERVING):
        return ""
    if service.healthz == "000":
        return "it does not answer /healthz on its own node"
    return f"it answers /healthz on its own node with {service.healthz}"


def _differences(before: NodeFacts, after: NodeFacts, plan: Plan) -> Iterator[tuple[str, ...]]:
    for change in plan.node_changes:
        if change.node != after.name:
            continue
        first, second = before.effective_config(change.service), after.effective_config(change.service)
        if first is None or second is None:
            continue
        hardened = change.migration.hardened if change.migration else []
        declared = [*(setting.field for setting in hardened if setting.field), *change.pending]
        flat_old, flat_new = _set_values(first), _set_values(second)
        for path in {**flat_old, **flat_new}:
            if flat_old.get(path) != flat_new.get(path):
                known = any(same_field(field, path) for field in declared)
                yield (
                    after.name,
                    change.service,
                    path,
                    sensitive_value(change.service, _text(flat_old.get(path)), field=path),
                    sensitive_value(change.service, _text(flat_new.get(path)), field=path),
                    "yes" if known else "NO",
                )


def _set_values(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return path and value of everything that a configuration sets to something."""
    return {
        ".".join(map(str, path)): value for path, value in walk(config) if value not in (None, "", [], {})
    }


def _text(value: Any) -> str:
    return "unset" if value is None else json.dumps(value)


def _stops(before: Facts, after: Facts) -> list[str]:
    return [
        f"{subject_of(service.name, node.name)} ran before and does not run now"
        for node, service in _services_that_ended(before, after)
    ]


def started_again(before: Facts, after: Facts) -> list[str]:
    """Return in words what ran before, has ended, and is started again by systemd once its ``RestartSec=`` is over.

    Source: org.freedesktop.systemd1(5), ``ActiveState``: a unit that waits for that is ``activating``.
    """
    return [
        subject_of(service.name, node.name)
        for node, service in _services_that_ended(before, after)
        if service.show.get("ActiveState") == "activating"
    ]


def _services_that_ended(before: Facts, after: Facts) -> Iterator[tuple[NodeFacts, ServiceFacts]]:
    for node in after.nodes:
        for service in node.services.values():
            old = before.node(node.name).service(service.name)
            if service.component.is_judged and old and old.running and not service.running:
                yield node, service


def _warnings(change: NodeChange, node: NodeFacts) -> tuple[list[str], list[str]]:
    """Return the deprecation warnings of the running process: those that could be avoided, and those that cannot."""
    migration = change.migration
    stayed = [*migration.kept, *(s for s in migration.hardened if not s.field)] if migration else []
    reasons = {setting.flag: setting.why for setting in stayed}
    service = node.service(change.service)
    avoidable, unavoidable = [], []
    for warning in service.warnings if service and change.migration else ():
        flag = next((name for name in reasons if f"Flag {name} has been deprecated" in warning), None)
        if flag:
            unavoidable.append(f"{flag}: {reasons[flag]}")
        else:
            avoidable.append(warning)
    return avoidable, unavoidable


def _missing_objects(after: Facts, plan: Plan) -> list[str]:
    names = {title_of(item) for items in after.cluster.objects.values() for item in items}
    return [
        f"{change.name} is {'still' if change.delete else 'not'} there"
        for change in plan.object_changes
        if (change.name in names) == change.delete
    ]


def _other_labels(after: Facts, plan: Plan) -> Iterator[str]:
    """Yield the namespaces whose pod security labels are not the planned ones."""
    labels = {item["metadata"]["name"]: labels_of(item) for item in after.cluster.of("namespaces")}
    for change in plan.namespaces:
        actual = labels.get(change.namespace, {})
        if actual != change.then:
            words = ", ".join(f"{key}={value}" for key, value in actual.items()) or "none"
            yield f"namespace {change.namespace} has other pod security labels than planned: {words}"


def _services(before: Facts, after: Facts, plan: Plan) -> Iterator[tuple[str, ...]]:
    for change in plan.node_changes:
        old = before.node(change.node).service(change.service)
        new = after.node(change.node).service(change.service)
        if old is not None and new is not None:
            yield (
                change.node,
                change.service,
                str(new.main_pid),
                new.started,
                "no" if old.main_pid == new.main_pid and old.started == new.started else "yes",
                str(len(old.warnings)),
                str(len(new.warnings)),
            )


def _confirmations(
    after: Facts, plan: Plan, differences: Sequence[tuple[str, ...]], *, applied: bool
) -> Iterator[str]:
    if not applied:
        yield "Nothing has changed: the effective configuration and the processes are what they were."
        return
    if plan.node_changes:
        names = (change.subject for change in plan.node_changes)
        yield f"Running with the command line that was planned: {', '.join(names)}."
    verified = [c for c in plan.node_changes if c.expected_config is not None and _verifiable(c, after)]
    if verified:
        names = (change.subject for change in verified)
        yield f"Every value of the config file is in effect: {', '.join(names)}."
    if differences:
        yield "The effective configuration changed in the declared values and in nothing else."
    if plan.namespaces:
        names = (f"{n.namespace} {label_text(n.then, 'enforce')}" for n in plan.namespaces if n.enforced)
        yield f"Namespaces and the level that they enforce: {', '.join(names) or 'none yet'}."
    accounts = [
        (subject["namespace"], subject["name"])
        for binding in after.cluster.of("rolebindings")
        if ":psp:" in binding["metadata"]["name"]
        for subject in binding.get("subjects") or ()
        if subject["kind"] == "ServiceAccount"
    ]
    authorization = Authorization(after.cluster.objects)
    allowed = {
        f"{namespace}:{name}": authorization.usable(Identity.of_service_account(namespace, name), namespace)
        for namespace, name in (dict.fromkeys(accounts) if POD_SECURITY in plan.steps else ())
    }
    if any(allowed.values()):
        pairs = (f"{account} {', '.join(sorted(names))}" for account, names in allowed.items() if names)
        yield f"Service accounts and the policies that they may use: {'; '.join(pairs)}."
