"""Plan a component with a config file: from its command line to the file, and what remains of the command line."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import partial
from typing import Any

from kubeharden.components import Migration, Setting, migrate, paths
from kubeharden.components.admission_plugins import flag_value
from kubeharden.errors import MigrationRefusedError
from kubeharden.facts import NodeFacts, ServiceFacts
from kubeharden.kube.pods import single_replicas
from kubeharden.plan.callers import losses
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import NodeChange, Remark, subject_of
from kubeharden.plan.service_files import (
    comments_go,
    config_changes,
    config_target,
    ends_by_itself,
    environment_files,
    made_at_start,
    other_documents,
    unit_changes,
    unreadable,
    written_anew,
)
from kubeharden.plan.step import Step
from kubeharden.releases import Component, ConfigFile, api_server, known_components, release_table

RUNTIME = ("/run/", "/var/run/")  # what is there goes with the next boot, and is made by it
ALIKE = 0.8  # how alike two names are, from 0 to 1, so that one may be the other misspelt


def plan_component(row: Component, rules: ConfigFile, draft: Draft) -> None:
    """Plan one component on every node that has it."""
    alone = single_replicas(draft.facts.cluster.objects) if row.runs_pods else {}
    services = [(node, service) for node in draft.facts.nodes if (service := node.service(row.name))]
    draft.add_changes(services, _Planner(draft, row, rules).change, row.name)
    for node in draft.facts.nodes:
        if not node.service(row.name) and (units := node.other_units(row.name)):
            why = (
                f"runs as {' and '.join(f'{unit}.service' for unit in units)}: which of them is meant? Say it in the "
                f"inventory (services: {{{row.name}: NAME}})"
            )
            draft.refused.append(Remark(subject_of(row.name, node.name), why, row.name))
    if row.runs_pods:
        migrations = [change.migration for change in draft.node_changes if change.needed and change.migration]
        closed = {setting.field for migration in migrations for setting in migration.hardened}
        cluster, before = draft.facts.cluster, (migration.before for migration in migrations)
        draft.remarks += losses(cluster.objects, before, closed, cluster.config_maps)
    for change in draft.node_changes:
        if change.needed and change.node in alone:
            draft.remark(change.subject, _single_pods(alone[change.node]))


STEPS = tuple(
    Step(row.name, row.step_order, partial(plan_component, row, row.config))
    for row in known_components()
    if row.step_order is not None and row.config is not None
)


def _single_pods(workloads: Sequence[str]) -> str:
    return (
        f"these workloads run one pod only, and it runs there: {', '.join(workloads)}. While the node is not Ready, "
        "their Services may have no endpoint (kubernetes/kubernetes issue 78733)"
    )


def _reason(setting: Setting, file: str) -> str:
    """Return why a setting is refused, with the file that it stands in where no flag says it."""
    if setting.flag:
        return f"{setting.flag}: {setting.why}"
    return ": ".join(filter(None, (file, setting.field, setting.why)))


class _Planner:
    def __init__(self, draft: Draft, row: Component, rules: ConfigFile) -> None:
        self.draft, self.facts, self.parameters = draft, draft.facts, draft.parameters
        self.row, self.rules = row, rules

    def change(self, node: NodeFacts, service: ServiceFacts) -> NodeChange:
        argv = service.unit_argv()
        named, config = service.config(argv)
        path = named or config_target(service)
        migration = migrate(
            self.row.name,
            service.release,
            argv,
            config,
            profile=self.draft.profile,
            config_path=path,
            fields=self._fields(),
            flags=self._flags(),
            target_release=self.parameters.target_release or None,
            text=service.files[path].content if path in service.files else "",
        )
        if migration.refused:
            raise MigrationRefusedError("; ".join(_reason(s, named) for s in migration.refused))
        self._require(node, migration)
        files = [  # the config file first: a unit must never name one that is not there
            *config_changes(service, path, config, migration),
            *unit_changes(service, argv, migration.argv, self._users(node, service, migration)),
        ]
        if any(file.path == path for file in files):
            self._remark(node, written_anew(service, path))
            self._remark(node, comments_go(path, migration.lost))
            self._remark(node, ends_by_itself(service) if named else "")
        self._remark(node, other_documents(service, named) if named else "")
        self._unknown_fields(node, service, migration, path)
        self._closing(node, service, migration)
        if migration.argv != argv:
            self._unused_variables(node, service, migration)
        return self.draft.node_change(self.row.name, node, service, tuple(files), migration.argv, migration)

    def _fields(self) -> dict[str, Any]:
        values = {
            path: getattr(self.parameters, each.parameter) for path, each in self.rules.parameters.items()
        }
        return {
            path: [value] if self.rules.parameters[path].list else value
            for path, value in values.items()
            if value
        }

    def _flags(self) -> dict[str, str]:
        values = {flag: getattr(self.parameters, name) for flag, name in self.rules.flag_parameters.items()}
        return {flag: value for flag, value in values.items() if value}

    def _require(self, node: NodeFacts, migration: Migration) -> None:
        for path, each in self.rules.parameters.items():
            if each.needed and not paths.get(migration.config, path):
                self.draft.missing.setdefault(each.parameter, []).append(node.name)

    def _users(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> dict[str, str]:
        """``User=`` and ``Group=`` for the unit, where it has none of its own."""
        settings = {key: service.service.values("Service", key) for key in ("User", "Group")}
        user = self.row.user
        is_dynamic = service.service.values("Service", "DynamicUser")[-1:] not in (
            [],
            ["no"],
            ["false"],
            ["0"],
        )
        if any(settings.values()) or not user or is_dynamic:
            return {}
        if self.row.own_user and (why := unreadable(node, service, migration)):
            self._remark(node, f"keeps running as root: {why}")
            return {}
        return {"User": user, "Group": user}

    def _closing(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> None:
        """Refuse to close a component that the API server could then not log in to any more."""
        entry = self.rules.entry
        if entry is None or not entry.closed_by & {s.field for s in migration.hardened}:
            return
        name, flag = api_server().name, entry.client_flag
        servers = [server for n in self.facts.nodes if (server := n.api_server)]
        if servers and not any(flag_value(s.running_argv or s.unit_argv(), flag) for s in servers):
            raise MigrationRefusedError(
                f"{name} has no {flag}: it could not log in to this {service.name} any more once anonymous access is "
                "off (logs, exec, metrics). Give it a client certificate first"
            )
        if not servers:
            why = (
                f"anonymous access is switched off: {name}, which is not a service on these nodes, must have {flag}, "
                "or logs, exec and metrics stop"
            )
            self._remark(node, why)

    def _unknown_fields(
        self, node: NodeFacts, service: ServiceFacts, migration: Migration, path: str
    ) -> None:
        """Say which fields of the present file the release does not have: it logs that at most, and goes on."""
        known = release_table(service.name, service.release).fields
        fields = {name.lower(): name for name in known}
        for name in (s.field for s in migration.dropped if not s.flag and s.field not in known):
            close = get_close_matches(name.lower(), fields, 1, ALIKE)
            hint = f". Did somebody mean {fields[close[0]]}?" if close else ""
            unknown = f"{service.name} {service.release} does not know"
            why = f"{path} has {name}, which {unknown}: it was never in effect{hint}"
            self._remark(node, why)

    def _unused_variables(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> None:
        """Say that variables and specifiers which the command was made from do not count any more."""
        if lost := service.lost_specifiers(migration.argv):
            why = f"what {', '.join(lost)} in its command is on this node is written to its config file"
            self._remark(node, why)
        paths = environment_files(service)
        if service.service.command().has_variables:
            source = f" from {', '.join(paths)}" if paths else ""
            why = (
                f"its command is made from variables{source}; they are now written out, and changing "
                "them there later has no effect"
            )
            if made := [p for p in paths if p.startswith(RUNTIME) or made_at_start(service, p)]:
                why += (
                    f". {', '.join(made)} may be made anew at each start: an address or a name in it that changes is "
                    "no longer followed"
                )
            self._remark(node, why)

    def _remark(self, node: NodeFacts, text: str) -> None:
        """Add a remark about the service on a node; an empty text says that there is none."""
        if text:
            self.draft.remark(subject_of(self.row.name, node.name), text)
