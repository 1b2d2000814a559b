"""Views of checks, facts, plans and results. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden.components import Effect, Finding, Migration, Setting
from kubeharden.errors import UnitError, UnknownReleaseError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.facts.sensitive import sensitive_command, sensitive_value
from kubeharden.facts.warnings import group, node_words
from kubeharden.kube.rbac import Authorization
from kubeharden.kube.workloads import workloads
from kubeharden.plan import FileChange, NodeChange, Plan, Remark, machines, open_changes, subject_of
from kubeharden.plan.callers import ANONYMOUS, MODE, PORT, losses, open_kubelets
from kubeharden.plan.events import AS_IT_SHOULD_BE, Check, Completed, Result
from kubeharden.plan.step import POD_SECURITY
from kubeharden.records.front import readiness_words
from kubeharden.redaction import join
from kubeharden.releases import Release, find_component, is_covered, known_components, releases
from kubeharden.show.amounts import Order, amount_words, count_words
from kubeharden.show.display import BAD, GOOD, NOTE, Block, Diff, Listing, Message, Table, View
from kubeharden.show.impact_views import headline
from kubeharden.show.pod_security_views import namespaces_view

VERDICTS = ("hardened", "moved", "kept", "dropped", "defaults", "refused")
RUNNING = "running"  # the outcome of a change that is not over
# What a release makes of a component as it is; each of them is a span of releases, in this order.
STARTS = ("Starts, and behaves the same", "Starts, and behaves differently", "Does not start")
LONG = 480  # characters of a value, or of what it was and what it becomes


def checks_view(checks: Sequence[Check]) -> View:
    """Show the checks."""
    rows = [("✔" if check.good else "!", check.what, check.found) for check in checks]
    return View([Table("Checked", ("", "What", "Found"), rows)])


def facts_view(facts: Facts) -> View:
    """Show nodes, services, warnings, and the workloads of the cluster."""
    view = View()
    stopping = (*open_changes.refusals(facts), *machines.refusals(facts))
    view.add(*(Message(str(r), BAD) for r in stopping))
    view.add(*(Message(str(r), NOTE) for r in machines.remarks(facts)))
    for node in facts.nodes:
        for service in node.present:
            if differs := _not_in_effect(service):
                view.add(Message(f"{subject_of(service.name, node.name)}: {differs}", BAD))
    view.add(
        Table(
            f"Nodes ({facts.cluster.version} API server, as {facts.cluster.user or 'an unnamed user'})",
            ("Node", "Role, system", "Service", "Version", "State", "Since", "Config file", "Warnings"),
            [row for node in facts.nodes for row in _service_rows(node)],
            frozenset({6}),
        )
    )
    view.add(*_command_lines(facts))
    warnings = _warning_rows(facts)
    if warnings:
        headings = ("Service", "Nodes", "Flags", "Warning")
        view.add(Table("Deprecation warnings in the journals", headings, warnings, frozenset({2})))
    else:
        view.add(Message("No deprecation warnings in any journal.", GOOD))
    cluster, closed = facts.cluster, (PORT, ANONYMOUS, MODE)
    losing = losses(cluster.objects, open_kubelets(facts), closed, cluster.config_maps)
    view.add(*(Message(f"{r.subject} would lose something by hardening: {r.text}", NOTE) for r in losing))
    return view.add(_workload_table(facts))


def plan_view(plan: Plan, orders: Mapping[str, Order] | None = None) -> View:
    """Show the whole plan: refusals and remarks first, then every change, the digest, and at last the verdict.

    Args:
        orders: of each step; left out, the order of its changes is that of the plan.
    """
    view = View()
    stopping = plan.stopping
    view.add(*(Message(str(r), BAD) for r in stopping))
    view.add(*(Message(left_as_it_is(r), BAD) for r in plan.left_out if r not in stopping))
    view.add(*(Message(str(r), NOTE) for r in plan.remarks))
    servers = [c for c in plan.node_changes if c.restart and find_component(c.service).serves_api]
    view.add(*(Message(f"{change.subject}: {_leaders_end()}", NOTE) for change in servers))
    if not plan.needed and not plan.refused:
        view.add(Message("There is nothing to do: everything is as it should be.", GOOD))
    rows: list[tuple[str, str, str, str]] = []
    for step in plan.steps:
        for piece, batches in (orders or {}).get(step, [(plan.of(step), ())]):
            rows += [(step, "API", change.name, change.action) for change in piece.object_changes]
            place = {node: number for number, batch in enumerate(batches) for node in batch}
            changes = sorted(piece.node_changes, key=lambda change: place.get(change.node, -1))
            rows += [(step, change.node, change.service, _changes_of(change)) for change in changes]
    view.add(Table("What would be done", ("Step", "Where", "What", "Change"), rows))
    if plan.target_release:
        view.add(*findings_view(plan.findings, plan.target_release).blocks)
    view.add(Message(f"Digest of this plan: {plan.digest}"))
    return view.add(_verdict(plan)) if plan.needed or plan.refused else view


def _verdict(plan: Plan) -> Message:
    """Say in a line whether the plan would be carried out, and how much that is."""
    if plan.stopping:
        return Message(f"{verdict_words(plan)}: nothing is carried out. What is red above says why.", BAD)
    words = f"{verdict_words(plan)}, in the order of the table above"
    return Message(f"{words}.", BAD if plan.left_out else GOOD)


def verdict_words(plan: Plan) -> str:
    """Return whether a plan is carried out, and how much it is: ``REFUSED, 1 reason``, or ``4 files on 1 node``."""
    if plan.stopping:
        return f"REFUSED, {count_words(len(plan.stopping), 'reason')}"
    left = f"{count_words(len(plan.left_out), 'service')} left as it is; " if plan.left_out else ""
    return f"{left}{amount_words(plan) or 'nothing to do'}"


def left_as_it_is(refused: Remark) -> str:
    """Return the sentence about a service that a plan leaves out."""
    return f"{refused.subject} is left as it is, and the others go on without it: {refused.text}"


def step_view(plan: Plan, step: str) -> View:
    """Show one step in full: the verdict on every setting, and every diff."""
    part, view = plan.of(step), View()
    left_out = [r for r in plan.left_out if r.step == step]
    view.add(*(Message(left_as_it_is(r), BAD) for r in left_out))
    if step == POD_SECURITY:
        view.add(*map(headline, plan.impacts), *namespaces_view(plan.namespaces))
    for same in _alike(part.node_changes):
        names = ", ".join(change.node for change in same)
        change = same[0]
        if change.migration is not None:
            view.add(_settings_table(f"{change.service} on {names}", change.service, change.migration))
        view.add(*(Message(f"{change.service} on {names}: {note}") for note in change.notes))
        view.add(*(Diff(f"{names}: {file.path}", file.diff) for file in change.files))
    view.add(*(Diff(f"API: {change.action} {change.name}", change.diff) for change in part.object_changes))
    if not part.needed and not left_out:
        view.add(Message(f"{step}: nothing to do.", GOOD))
    return view


def findings_view(findings: Sequence[tuple[str, Finding]], target: str) -> View:
    """Show what is left to do before an upgrade: each finding once, with its nodes."""
    nodes: dict[Finding, list[str]] = {}
    for node, finding in findings:
        nodes.setdefault(finding, []).append(node)
    if not nodes:
        return View([Message(f"Nothing is known that stands between this cluster and {target}.", GOOD)])
    view = View()
    if stops := stopping(findings):
        view.add(Message(f"{readiness_words(target, stops)}. See the table.", BAD))
    stopping_first = sorted(nodes.items(), key=lambda item: item[0].effect is not Effect.STOPS)
    rows = [
        (str(f.release), f.component, ", ".join(names), f.effect.value, f.setting or "–", f.why, f.todo)
        for f, names in stopping_first
    ]
    headings = ("From", "Component", "Nodes", "It", "Setting", "Why", "What to do")
    return view.add(Table(f"On the way to {target}", headings, rows, frozenset({4})))


def stopping(findings: Sequence[tuple[str, Finding]]) -> int:
    """Return in how many places something would not start: what is the same on several nodes is one."""
    return len({finding for _, finding in findings if finding.effect is Effect.STOPS})


def releases_view(facts: Facts, findings: Sequence[tuple[str, Finding]], target: Release) -> View:
    """Show whether each component, as it is now, starts on every release up to ``target``."""
    running = {
        (node.name, service.name): _release_of(service)
        for node in facts.nodes
        for service in node.present
        if is_covered(service.name)
    }
    first = min((release for release in running.values() if release), default=target)
    rows: dict[tuple[str, ...], list[str]] = {}
    for (node, component), runs in running.items():
        service = facts.node(node).services[component]
        own = [f for name, f in findings if (name, f.component) == (node, component)]
        verdicts = {release: _verdict_on(release, own) for release in releases(runs or first, target)}
        spans = [_span([r for r, found in verdicts.items() if found == verdict]) for verdict in STARTS]
        rows.setdefault((component, service.version or "?", *spans), []).append(node)
    return View(
        [
            Table(
                "As they are now, would they start?",
                ("Component", "Runs", "Nodes", *STARTS),
                [(key[0], key[1], ", ".join(names), *key[2:]) for key, names in rows.items()],
            ),
            Message(
                "Not judged: values of flags other than those with a rule of their own, what stands in files that "
                "flags name (audit, encryption, admission, authentication), and components in pods or containers."
            ),
        ]
    )


def _release_of(service: ServiceFacts) -> Release | None:
    """Return the release that a service runs; None where it is not known."""
    try:
        return service.release
    except UnknownReleaseError:
        return None


def _verdict_on(release: Release, findings: Sequence[Finding]) -> str:
    here = [f.effect for f in findings if f.release <= release]
    as_now, otherwise, not_at_all = STARTS
    if Effect.STOPS in here:
        return not_at_all
    return otherwise if Effect.CHANGES in here else as_now


def _span(found: Sequence[Release]) -> str:
    """Return releases that follow one another in words: ``1.11 to 1.14``."""
    if not found:
        return "–"
    return str(found[0]) if len(found) == 1 else f"{found[0]} to {found[-1]}"


def results_view(results: Sequence[Result]) -> View:
    """Show the result of each change; what a service that did not come up wrote since its restart is folded."""
    rows = [(r.subject, r.outcome, r.words, f"{r.seconds:.1f} s" if r.seconds else "") for r in results]
    kinds = [outcome_kind(r.outcome) for r in results]
    view = View([Table("", ("What", "Outcome", "Message", "Took"), rows, kinds=kinds, kinds_in=1)])
    return view.add(
        *(Listing(f"{r.subject}: its journal since the restart", r.journal) for r in results if r.journal)
    )


def outcome_kind(outcome: str) -> str:
    """Return whether the outcome of a change is good, bad or neither."""
    return {Completed.action: GOOD, AS_IT_SHOULD_BE: NOTE, RUNNING: NOTE}.get(outcome, BAD)


def services_view(rows: Sequence[Sequence[str]]) -> Table:
    """Show the services of the plan as they run now."""
    headings = ("Node", "Service", "Process", "Since", "Restarted", "Warnings before", "Warnings now")
    return Table("Services", headings, rows)


def effective_view(rows: Sequence[Sequence[str]]) -> Table:
    """Show every difference of the effective configuration, and whether the plan declared it."""
    nodes: dict[tuple[str, ...], list[str]] = {}
    for node, *rest in rows:
        nodes.setdefault(tuple(rest), []).append(node)
    return Table(
        "Effective configuration: every difference between before and after",
        ("Nodes", "Service", "Field", "Before", "After", "Declared"),
        [(", ".join(names), *rest) for rest, names in nodes.items()],
        frozenset({2, 3, 4}),
    )


def summary_view(plan: Plan) -> View:
    """Show the diffs of a plan, node by node."""
    view = View()
    for change in plan.node_changes:
        if change.files:
            view.add(*(Diff(f"{change.node}: {file.path}", file.diff) for file in change.files))
    view.add(*(Diff(f"API: {c.action} {c.name}", c.diff) for c in plan.object_changes))
    return view


def _value_text(value: Any) -> str:
    """Return a value as a person reads it."""
    if value is None:
        return "–"
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True)


def _leaders_end() -> str:
    """Return what a restart of the API server can do to others: as true of a plan that puts its files back."""
    leaders = [row for row in known_components() if row.leader_elected]
    return (
        f"a restart that takes longer than {min(row.renew_deadline for row in leaders)} s, the renew deadline of "
        f"leases, takes {' and '.join(row.name for row in leaders)} with it: each ends itself with "
        '"leaderelection lost", and systemd starts it again'
    )


def _service_rows(node: NodeFacts) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for service in node.present:
        first = not rows
        rows.append(
            (
                node.name if first else "",
                f"{'control plane' if node.control_plane else 'worker'}\n{node.os}" if first else "",
                f"{service.name} ({service.unit}.service)" if service.other_unit else service.name,
                service.version or "?",
                f"{service.show.get('ActiveState', '?')} ({service.show.get('SubState', '?')})",
                service.started,
                _config_of(service),
                str(len(service.warnings)),
            )
        )
    return rows or [(node.name, node.os, "no known service", "", "", "", "", "")]


def _command_lines(facts: Facts) -> list[Block]:
    """Show the command line of each service, folded; nodes with the same one share a block."""
    nodes: dict[tuple[str, tuple[str, ...]], list[str]] = {}
    for node in facts.nodes:
        for service in node.services.values():
            if service.cmdline:
                nodes.setdefault((service.name, service.cmdline), []).append(node.name)
    return [
        Listing(
            f"Command line of {name} on {node_words(names, len(facts.nodes))}", sensitive_command(name, words)
        )
        for (name, words), names in nodes.items()
    ]


def _warning_rows(facts: Facts) -> list[tuple[str, ...]]:
    """Return a row for each warning, with the nodes that have it and the flags that cause it."""
    warnings = (
        (service.name, node.name, line)
        for node in facts.nodes
        for service in node.services.values()
        for line in service.warnings
    )
    return [
        (service, node_words(nodes, len(facts.nodes)), "\n".join(flags), message)
        for service, nodes, flags, message in group(warnings)
    ]


def _config_of(service: ServiceFacts) -> str:
    try:
        return service.config(list(service.cmdline) or service.unit_argv())[0] or "none: flags only"
    except UnitError as error:
        return str(error)


def _not_in_effect(service: ServiceFacts) -> str:
    """Return why a service does not run what its unit says; empty if it does."""
    if service.needs_reload:
        return "its unit was edited, and systemd has not read it since (systemctl daemon-reload)"
    try:
        argv = service.unit_argv()
    except UnitError as error:
        return str(error)
    if service.running and service.running_argv != argv:
        return "its unit was edited but never put in effect: the running process has another command line"
    return "" if service.running else "is not running"


def _workload_table(facts: Facts) -> Table:
    """Show every workload, with the PodSecurityPolicies that it may use where the release has them."""
    objects = facts.cluster.objects
    authorization = Authorization(objects)
    rows = []
    for item in workloads(objects):
        policies = {name for asker in item.askers for name in authorization.usable(asker, item.namespace)}
        usable = ", ".join(sorted(policies)) or "none"
        rows.append((item.namespace, item.kind, item.name, str(item.pods), item.identity, usable))
    headings = ("Namespace", "Kind", "Name", "Pods", "As", "PodSecurityPolicies that may be used now")
    columns = len(headings) if "podsecuritypolicies" in objects else len(headings) - 1
    return Table("Who runs what in the cluster", headings[:columns], [row[:columns] for row in rows])


def _changes_of(change: NodeChange) -> str:
    if not change.needed:
        return "as it should be"
    return "\n".join([*(f"{_word(file)} {file.path}" for file in change.files), "restart"])


def _word(file: FileChange) -> str:
    if file.gone:
        return "remove"
    return "write" if file.before is None else "change"


def _alike(changes: Sequence[NodeChange]) -> list[list[NodeChange]]:
    """Group the nodes with the same change, so that ten equal workers are shown once."""
    groups: dict[str, list[NodeChange]] = {}
    for change in changes:
        key = json.dumps([change.service, [file.diff for file in change.files], change.notes])
        groups.setdefault(key, []).append(change)
    return list(groups.values())


def _settings_table(title: str, component: str, migration: Migration) -> Table:
    rows = [
        (
            _verdict_word(verdict, setting),
            setting.flag or "–",
            setting.field or "–",
            _value_of(verdict, component, setting),
            setting.why,
        )
        for verdict in VERDICTS
        for setting in getattr(migration, verdict)
    ]
    headings = ("Verdict", "Flag", "Field", "Value", "Why")
    return Table(f"Settings of {title}", headings, rows, frozenset({1, 2, 3}), most=LONG)


def _verdict_word(verdict: str, setting: Setting) -> str:
    if verdict == "hardened" and "parameter" in setting.why:
        return "changed"
    return {"defaults": "default"}.get(verdict, verdict)


def _value_of(verdict: str, component: str, setting: Setting) -> str:
    """Return the value of a setting; one that may be secret is marked as such."""
    values = [setting.old, setting.value] if verdict == "hardened" else [setting.value]
    shown = [
        sensitive_value(component, _value_text(value), flag=setting.flag, field=setting.field)
        for value in values
    ]
    return join(part for number, text in enumerate(shown) for part in ([" → "] if number else []) + [text])
