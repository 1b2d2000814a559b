"""From facts and parameters to a plan. Pure: the same facts give the same plan, with the same digest."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden import systemd
from kubeharden.components import Finding, Migration, migrate
from kubeharden.components.kube_apiserver import enable_admission_plugin, flag_value
from kubeharden.errors import MigrationRefusedError, ParameterError, UnitError, UnknownReleaseError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.inventory import Network
from kubeharden.parameters import STEPS, Parameters, check_dns_ip
from kubeharden.plan import FileChange, NodeChange, ObjectChange, Plan, Remark
from kubeharden.podsecurity import PolicySet, policy_objects, static_pod_namespaces, uncovered
from kubeharden.podsecurity.objects import key_of, lacking, merged, served
from kubeharden.releases import Release
from kubeharden.resources import RESOURCES
from kubeharden.service_files import (
    SCHEDULER_USER,
    config_changes,
    config_target,
    pending_fields,
    pending_restart,
    unit_changes,
    unreadable,
)
from kubeharden.upgrade import upgrade_findings

PSP_PLUGIN = "PodSecurityPolicy"
PSP_LAST = Release(1, 24)
# The article's units run the kubelet and kube-proxy as root and the scheduler as a user of its own.
ROOT_SERVICES = {"kubelet", "kube-proxy"}
KUBELET_CLIENT = "--kubelet-client-certificate"
UNREAD_UNIT = (
    "its unit was edited, and systemd has not read it since. Run systemctl daemon-reload and restart it, or take "
    "the edit back, and look again"
)


def make_plan(facts: Facts, parameters: Parameters, policies: PolicySet) -> Plan:
    """What a run with these parameters would do to the nodes and the API as they are.

    Raises:
        ParameterError: a parameter does not fit the cluster (nothing was touched).
    """
    check_dns_ip(parameters.dns_ip, service_range(facts), "read from kube-apiserver's command line")
    builder = _Builder(facts, parameters, policies)
    builder.check_names()
    for step in parameters.steps:
        builder.add(step)
    return builder.plan()


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


class _Builder:
    def __init__(self, facts: Facts, parameters: Parameters, policies: PolicySet) -> None:
        self.facts, self.parameters, self.policies = facts, parameters, policies
        self.node_changes: list[NodeChange] = []
        self.object_changes: list[ObjectChange] = []
        self.remarks: list[Remark] = []
        self.refused: list[Remark] = []
        self.uncovered: tuple[str, ...] = ()
        self.lacking: dict[str, list[str]] = {}

    def check_names(self) -> None:
        """Refuse names of the inventory that are not those of Node objects."""
        known = {item["metadata"]["name"] for item in self.facts.cluster.of("nodes")}
        for node in self.facts.nodes:
            if node.service("kubelet") is not None and node.name not in known:
                why = f"the API has no Node object of that name; it has {', '.join(sorted(known))}. Mend the inventory"
                self.refused.append(Remark(node.name, why))

    def add(self, step: str) -> None:
        if step == "pod-security":
            self._pod_security()
            return
        for node in self.facts.nodes:
            service = node.service(step)
            if service is not None:
                self._guarded(node, service, lambda n=node, s=service: self._component(step, n, s))

    def plan(self) -> Plan:
        """The plan; raises ParameterError where a node lacks a value that no parameter gives."""
        if self.lacking:
            lines = [
                f"  {name}: is empty, and {', '.join(nodes)} has none of its own"
                for name, nodes in self.lacking.items()
            ]
            raise ParameterError("nothing was touched, because of the parameters:\n" + "\n".join(lines))
        return Plan(
            steps=tuple(step for step in STEPS if step in self.parameters.steps),
            node_changes=tuple(self.node_changes),
            object_changes=tuple(self.object_changes),
            remarks=tuple(self.remarks),
            refused=tuple(self.refused),
            uncovered=self.uncovered,
            target_release=self.parameters.target_release,
            findings=self._findings(),
        )

    def _findings(self) -> tuple[tuple[str, Finding], ...]:
        """What stands between the cluster, as it will be, and the release that is asked for."""
        if not self.parameters.target_release:
            return ()
        planned = {(change.node, change.service): change for change in self.node_changes}
        return upgrade_findings(self.facts, self.parameters.target_release, planned)

    def _guarded(self, node: NodeFacts, service: ServiceFacts, change: Any) -> None:
        try:
            self.node_changes.append(change())
        except (UnitError, UnknownReleaseError, MigrationRefusedError) as error:
            why = UNREAD_UNIT if service.needs_reload and isinstance(error, UnitError) else str(error)
            self.refused.append(Remark(f"{service.name} on {node.name}", why))

    def _component(self, step: str, node: NodeFacts, service: ServiceFacts) -> NodeChange:
        argv = service.unit_argv()
        named, config = service.config(argv)
        path = named or config_target(service)
        migration = migrate(
            step,
            service.release,
            argv,
            config,
            profile=self.parameters.profile,
            config_path=path,
            fields=self._fields(step),
            flags=self._flags(step),
            target_release=self.parameters.target_release or None,
        )
        if migration.refused:
            reasons = "; ".join(f"{s.flag or s.field}: {s.why}" for s in migration.refused)
            raise MigrationRefusedError(reasons)
        self._require(step, node, migration)
        files = [  # the config file first: a unit must never name one that is not there
            *config_changes(service, path, config, migration),
            *unit_changes(service, argv, migration.argv, self._users(node, service, migration)),
        ]
        self._closing(node, service, migration)
        self._unused_variables(node, service, files)
        return self._node_change(step, node, service, tuple(files), migration.argv, migration)

    def _fields(self, step: str) -> dict[str, Any]:
        p = self.parameters
        if step == "kubelet":
            wanted = {"clusterDNS": [p.dns_ip] if p.dns_ip else None, "clusterDomain": p.dns_domain}
        elif step == "kube-proxy":
            wanted = {"clusterCIDR": p.cluster_cidr}
        else:
            wanted = {}
        return {path: value for path, value in wanted.items() if value}

    def _flags(self, step: str) -> dict[str, str]:
        image = self.parameters.pause_image
        return {"--pod-infra-container-image": image} if image and step == "kubelet" else {}

    def _require(self, step: str, node: NodeFacts, migration: Migration) -> None:
        for name, path in (("dns_ip", "clusterDNS"), ("dns_domain", "clusterDomain")):
            if step == "kubelet" and not migration.config.get(path):
                self.lacking.setdefault(name, []).append(node.name)

    def _users(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> dict[str, str]:
        """``User=`` and ``Group=`` for the unit, where it has none of its own."""
        settings = {key: service.service.values("Service", key) for key in ("User", "Group")}
        if any(settings.values()):
            return {}
        if service.name in ROOT_SERVICES:
            return {"User": "root", "Group": "root"}
        why = unreadable(node, service, migration)
        if why:
            self.remarks.append(Remark(f"{service.name} on {node.name}", f"keeps running as root: {why}"))
            return {}
        return {"User": SCHEDULER_USER, "Group": SCHEDULER_USER}

    def _closing(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> None:
        """Refuse to close a kubelet that the API server could then not enter any more."""
        closed = {s.field for s in migration.hardened} & {
            "authentication.anonymous.enabled",
            "authorization.mode",
        }
        servers = [found for n in self.facts.nodes if (found := n.service("kube-apiserver"))]
        if service.name != "kubelet" or not closed:
            return
        if servers and not any(flag_value(s.unit_argv(), KUBELET_CLIENT) for s in servers):
            raise MigrationRefusedError(
                f"kube-apiserver has no {KUBELET_CLIENT}: it could not log in to this kubelet any more once "
                "anonymous access is off (logs, exec, metrics). Give it a client certificate first"
            )
        if not servers:
            why = (
                "anonymous access is switched off: kube-apiserver, which is no service on these nodes, must have "
                f"{KUBELET_CLIENT}, or logs, exec and metrics stop"
            )
            self.remarks.append(Remark(f"kubelet on {node.name}", why))

    def _unused_variables(self, node: NodeFacts, service: ServiceFacts, files: Sequence[FileChange]) -> None:
        """Say that variables which the command was made from do not count any more."""
        commands = [c for c in service.service.values("Service", "ExecStart") if "$" in c.replace("$$", "")]
        paths = [p.removeprefix("-") for p in service.service.values("Service", "EnvironmentFile")]
        if commands and any(file.path.startswith("/etc/systemd/") for file in files):
            source = f" from {', '.join(paths)}" if paths else ""
            why = (
                f"its command is made from variables{source}; they are now written out, and whoever changes them "
                "there later changes nothing"
            )
            self.remarks.append(Remark(f"{service.name} on {node.name}", why))

    def _node_change(
        self,
        step: str,
        node: NodeFacts,
        service: ServiceFacts,
        files: tuple[FileChange, ...],
        argv: Sequence[str],
        migration: Migration | None = None,
        notes: tuple[str, ...] = (),
    ) -> NodeChange:
        pending = pending_fields(node, service)
        running = tuple(systemd.unwrapped(list(service.cmdline)))
        subject = f"{service.name} on {node.name}"
        if files and service.needs_reload:
            raise MigrationRefusedError(UNREAD_UNIT)
        if files and running and list(running) != service.unit_argv():
            raise MigrationRefusedError(
                "its unit was edited but never put in effect: it runs with another command line than the unit "
                "says. Restart it, or take the edit back, and look again"
            )
        if files and not running:
            raise MigrationRefusedError(
                "it is not running; mend it first, so that its new configuration can be proved"
            )
        restart = "its files change" if files else pending_restart(node, service, argv)
        if restart and not files:
            self.remarks.append(Remark(subject, restart))
        elif files and pending:
            why = f"its config file was edited and not put in effect; the restart does that: {', '.join(pending)}"
            self.remarks.append(Remark(subject, why))
        return NodeChange(
            step,
            node.name,
            service.name,
            files,
            restart,
            tuple(argv),
            migration.config if migration else None,
            migration,
            notes,
            pending,
        )

    def _pod_security(self) -> None:
        release = Release.parse(self.facts.cluster.version)
        if release > PSP_LAST:
            why = (
                f"Kubernetes {release} has no PodSecurityPolicy (gone in 1.25); nothing is planned for this step. "
                "Pod Security Admission takes its place"
            )
            self.remarks.append(Remark("pod-security", why))
            return
        after = self._policy_changes()
        servers = [(node, node.service("kube-apiserver")) for node in self.facts.nodes]
        found = [(node, service) for node, service in servers if service is not None]
        for node, service in found:
            self._guarded(node, service, lambda n=node, s=service: self._admission(n, s))
        if not found:
            why = (
                "no node has a kube-apiserver.service (a static pod?): the policies are put in place, and "
                f"the admission plugin {PSP_PLUGIN} must be switched on by hand"
            )
            self.remarks.append(Remark("pod-security", why))
        self.uncovered = tuple(str(workload) for workload in uncovered(after))

    def _policy_changes(self) -> dict[str, list[Mapping[str, Any]]]:
        """Plan the objects, and return the cluster's objects as they would be then."""
        objects = {name: list(items) for name, items in self.facts.cluster.objects.items()}
        namespaces = {item["metadata"]["name"] for item in objects.get("namespaces", ())}
        accounts = {key_of(item) for item in objects.get("serviceaccounts", ())}
        for manifest in policy_objects(self.policies, static_pod_namespaces(objects)):
            absent = lacking(manifest, namespaces, accounts)
            if absent:
                self.remarks.append(Remark(ObjectChange("", manifest).name, f"is left out: {absent}"))
                continue
            items = objects.setdefault(RESOURCES[manifest["kind"]].plural, [])
            existing = next((item for item in items if key_of(item) == key_of(manifest)), None)
            items[:] = [item for item in items if item is not existing]
            items.append(self._object_change(manifest, existing))
        return objects

    def _object_change(
        self, manifest: Mapping[str, Any], existing: Mapping[str, Any] | None
    ) -> Mapping[str, Any]:
        """Plan one object, and return it as it would be then."""
        if existing is None:
            self.object_changes.append(ObjectChange("pod-security", manifest))
            return manifest
        if manifest["kind"] == "RoleBinding" and existing.get("roleRef") != manifest["roleRef"]:
            name = ObjectChange("", manifest).name
            role = existing.get("roleRef", {}).get("name")
            why = f"exists and binds {role}; a roleRef cannot be changed. Rename or delete it by hand first"
            self.refused.append(Remark(name, why))
            return existing
        wanted = merged(existing, manifest)
        if served(wanted) != served(existing):
            self.object_changes.append(ObjectChange("pod-security", wanted, existing))
        return wanted

    def _admission(self, node: NodeFacts, service: ServiceFacts) -> NodeChange:
        argv = service.unit_argv()
        modes = (flag_value(argv, "--authorization-mode") or "AlwaysAllow").split(",")
        if "RBAC" not in modes:
            raise MigrationRefusedError(
                f"--authorization-mode is {','.join(modes)}: Roles and RoleBindings have no effect without RBAC"
            )
        change = enable_admission_plugin(service.release, argv, PSP_PLUGIN)
        files = tuple(unit_changes(service, argv, list(change.argv), {}))
        return self._node_change("pod-security", node, service, files, change.argv, notes=change.notes)
