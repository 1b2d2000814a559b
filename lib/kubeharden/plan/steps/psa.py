"""Pod Security Admission: labels, the default of new namespaces, and the way there from PodSecurityPolicy.

The order is that of the official migration (kubernetes.io, "Migrate from PodSecurityPolicy to the Built-In
PodSecurity Admission Controller"): levels are announced, then enforced; only when every namespace enforces one does
the policies' plugin go; and only when it is seen to be gone do the policies themselves. So there is no time without
either, and what 1.25 cannot start with is gone before.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from kubeharden.components.admission_plugins import (
    CONFIG_FILE,
    AdmissionChange,
    enable_admission_plugin,
    feature_gate,
    flag_value,
    remove_admission_plugin,
    switches_on,
)
from kubeharden.components.edit import rewrite
from kubeharden.errors import MigrationRefusedError, UnitError
from kubeharden.facts import NodeFacts, ServiceFacts, read_config
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import FileChange, NodeChange, ObjectChange, subject_of
from kubeharden.plan.service_files import comments_go, unit_changes
from kubeharden.plan.step import POD_SECURITY
from kubeharden.plan.steps.breakage import judge_levels
from kubeharden.plan.steps.psp import PSP_PLUGIN, api_servers
from kubeharden.podsecurity.admission_config import PATH, PLUGIN, render_config, with_defaults_set
from kubeharden.podsecurity.levels import NamespaceLevel, missing_namespaces, namespace_levels, with_labels
from kubeharden.podsecurity.policies import PolicySet
from kubeharden.podsecurity.retirement import also_about_policies, leftovers, mutating_fields
from kubeharden.releases import Release, feature


def plan_admission(draft: Draft, policies: PolicySet) -> None:
    """Plan the namespaces' labels, the API servers' configuration, and what is left of PodSecurityPolicy."""
    _Planner(draft, policies).plan()


def _in_words(defaults: Mapping[str, str]) -> str:
    return ", ".join(f"{mode} {level}" for mode, level in defaults.items())


def _may_enforce_policies(service: ServiceFacts) -> bool:
    """Return whether an API server has the policies' plugin on, or will have when it is started again."""
    try:
        will_run = service.unit_argv()
    except UnitError:
        return True
    return any(switches_on(argv, PSP_PLUGIN) for argv in (service.cmdline, will_run))


class _Planner:
    def __init__(self, draft: Draft, policies: PolicySet) -> None:
        self.draft, self.facts, self.policies = draft, draft.facts, policies
        self.objects = draft.facts.cluster.objects
        self.release = Release.parse(draft.facts.cluster.version)
        self.version = f"v{self.release}"
        self.servers = api_servers(draft.facts)

    def plan(self) -> None:
        levels = namespace_levels(
            self.objects,
            self.version,
            self.policies.namespaces,
            self.policies.new_namespaces,
            enforce=self.draft.parameters.enforce,
            accepted=self.draft.parameters.accept_breaking,
        )
        self.draft.namespaces = tuple(levels)
        judge_levels(self.draft, self.objects, levels)
        items = {item["metadata"]["name"]: item for item in self.objects.get("namespaces", ())}
        for level in levels:
            item = items[level.namespace]
            if level.then != level.now:
                change = ObjectChange(POD_SECURITY, with_labels(item, level.then), item)
                self.draft.object_changes.append(change)
            for remark in level.remarks:
                self.draft.remark(f"namespace {level.namespace}", remark)
        for name in missing_namespaces(levels, self.policies.namespaces):
            self.draft.remark(f"namespace {name}", "is left out: there is none of that name")
        enforced = all(level.enforced for level in levels)
        enforced_before = all(level.enforced_before for level in levels)
        self.draft.next_run += self._next_run(levels, enforced_before=enforced_before, enforced=enforced)
        self.draft.add_changes(self.servers, partial(self._server, enforced=enforced))
        if not self.servers:
            self._static_pods(self._defaults(enforced=enforced))
        self._retire(enforced_before=enforced_before, enforced=enforced)

    def _next_run(
        self, levels: Sequence[NamespaceLevel], *, enforced_before: bool, enforced: bool
    ) -> Iterator[str]:
        """Yield what the next run changes by intent: levels are enforced, then the plugin goes, then the policies."""
        to_enforce = [level for level in levels if level.pending and not level.offenders]
        yield from (f"Namespace {level.namespace}" for level in to_enforce)
        if not enforced and all(level.enforced or level in to_enforce for level in levels):
            yield from (subject_of(service.name, node.name) for node, service in self.servers)
        is_on = any(_may_enforce_policies(service) for _, service in self.servers)
        if self.servers and enforced and (is_on or not enforced_before):
            deletions = (ObjectChange.deletion(POD_SECURITY, item) for item in leftovers(self.objects))
            yield from (change.name for change in deletions)

    def _defaults(self, *, enforced: bool) -> dict[str, str]:
        """Return the levels for namespaces without labels; enforced only once every namespace has its own."""
        wanted = self.policies.new_namespaces
        return {"enforce": wanted if enforced else "privileged", "audit": wanted, "warn": wanted}

    def _server(self, node: NodeFacts, service: ServiceFacts, *, enforced: bool) -> NodeChange:
        argv = service.unit_argv()
        if feature_gate(argv, PLUGIN) == "false":
            raise MigrationRefusedError(
                f"--feature-gates switches {PLUGIN} off on purpose; take that out by hand first"
            )
        path = flag_value(argv, CONFIG_FILE) or PATH
        defaults = self._defaults(enforced=enforced)
        files, lost = self._configuration(service, path, defaults, named=path != PATH)
        changes = [enable_admission_plugin(service.release, argv, PLUGIN)]
        if flag_value(argv, CONFIG_FILE) is None:
            changed = (*changes[-1].argv, f"{CONFIG_FILE}={path}")
            changes.append(AdmissionChange(changed, (f"{CONFIG_FILE} names {path}",)))
        if enforced:
            changes.append(remove_admission_plugin(changes[-1].argv, PSP_PLUGIN))
        wanted = list(changes[-1].argv)
        files += unit_changes(service, argv, wanted, {})
        notes = [note for change in changes for note in change.notes]
        if files and files[0].path == path:
            notes.append(f"namespaces without labels: {_in_words(defaults)}, by the rules of {self.version}")
        notes += filter(None, [comments_go(path, lost)])
        return self.draft.node_change(POD_SECURITY, node, service, tuple(files), wanted, notes=tuple(notes))

    def _configuration(
        self, service: ServiceFacts, path: str, defaults: Mapping[str, str], *, named: bool
    ) -> tuple[list[FileChange], Sequence[int]]:
        """Return the change of the file, if there is one to make, and the lines whose comments go with it."""
        fact = service.files.get(path)
        if named and fact is None:
            raise UnitError(f"{CONFIG_FILE} names {path}, but there is no such file")
        existing = read_config(fact) if fact else None
        try:
            content = with_defaults_set(service.release, existing, defaults, self.version)
        except MigrationRefusedError as error:
            raise MigrationRefusedError(f"{path}: {error}") from None
        if content == existing:
            return [], ()
        mode, owner, group = (fact.mode, fact.owner, fact.group) if fact else ("644", "root", "root")
        text = str(fact.content) if fact else ""
        written = rewrite(text, content, render_config(content), path=path)
        return [FileChange(path, fact, written.text, mode, owner, group)], written.lost

    def _static_pods(self, defaults: Mapping[str, str]) -> None:
        self.draft.remark(
            POD_SECURITY,
            "no node has a kube-apiserver.service (a static pod?): the namespaces are labelled, and the default of "
            f"new namespaces is not set. By hand: {CONFIG_FILE} with {_in_words(defaults)}, version {self.version}",
        )
        if self.objects.get("podsecuritypolicies"):
            self.draft.remark(
                POD_SECURITY,
                f"whether the admission plugin {PSP_PLUGIN} is on cannot be seen, so the policies stay. Once every "
                "namespace enforces its level: take the plugin out by hand, then the policies. "
                f"{feature('PodSecurityPolicy').until} does not start with it",
            )

    def _retire(self, *, enforced_before: bool, enforced: bool) -> None:
        """Plan the deletion of the policies that are there, or say what comes before it."""
        policies = [dict(policy) for policy in self.objects.get("podsecuritypolicies", ())]
        useless = leftovers(self.objects)
        is_on = any(_may_enforce_policies(service) for _, service in self.servers)
        if self.servers and enforced_before and not is_on:
            self.draft.object_changes += [ObjectChange.deletion(POD_SECURITY, item) for item in useless]
            if useless:
                for role in also_about_policies(self.objects):
                    self.draft.remark(
                        role, "allows more than the use of policies: it stays, and that rule does nothing"
                    )
        elif self.servers and useless:
            self.draft.remark(POD_SECURITY, self._what_is_next(len(useless), enforced=enforced, is_on=is_on))
        if is_on:
            self._mutations(policies)

    def _what_is_next(self, count: int, *, enforced: bool, is_on: bool) -> str:
        objects = f"{count} objects of PodSecurityPolicy (policies, and roles and bindings for nothing but their use)"
        if not enforced:
            plugin = f", and the plugin {PSP_PLUGIN} stays on" if is_on else ""
            return f"{objects} stay{plugin}, until every namespace enforces a level"
        return f"{objects} are of no use from here on; the next run deletes them"

    def _mutations(self, policies: list[dict[str, Any]]) -> None:
        for policy in policies:
            fields = mutating_fields(policy, self.release)
            if fields:
                name = f"PodSecurityPolicy {policy['metadata']['name']}"
                why = (
                    f"may change pods ({', '.join(fields)}), and Pod Security Admission never does: put what a pod "
                    "needs of that into its template before the plugin goes"
                )
                self.draft.remark(name, why)
