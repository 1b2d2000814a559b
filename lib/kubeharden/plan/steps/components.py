"""kubelet, kube-proxy and kube-scheduler: from the command line that is there to a config file and what remains."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from kubeharden.components import Migration, migrate
from kubeharden.components.admission_plugins import flag_value
from kubeharden.errors import MigrationRefusedError
from kubeharden.facts import NodeFacts, ServiceFacts
from kubeharden.kube.pods import singles
from kubeharden.plan.draft import Draft
from kubeharden.plan.model import FileChange, NodeChange, Remark
from kubeharden.plan.service_files import (
    SCHEDULER_USER,
    config_changes,
    config_target,
    unit_changes,
    unreadable,
)
from kubeharden.plan.step import Step

# The article's units run the kubelet and kube-proxy as root and the scheduler as a user of its own.
ROOT_SERVICES = {"kubelet", "kube-proxy"}
KUBELET_CLIENT = "--kubelet-client-certificate"


def plan_component(step: str, draft: Draft) -> None:
    """Plan one component on every node that has it."""
    lonely = singles(draft.facts.cluster.objects) if step == "kubelet" else {}
    services = [(node, found) for node in draft.facts.nodes if (found := node.service(step))]
    draft.add_changes(services, partial(_Planner(draft).change, step))
    for change in draft.node_changes:
        if change.needed and change.node in lonely:
            draft.remarks.append(Remark(f"{step} on {change.node}", _alone(lonely[change.node])))


# With room for a step between two components.
STEPS = tuple(
    Step(name, order, partial(plan_component, name))
    for name, order in (("kubelet", 0), ("kube-proxy", 20), ("kube-scheduler", 30))
)


def _alone(workloads: Sequence[str]) -> str:
    return (
        f"these workloads run one pod only, and it runs there: {', '.join(workloads)}. While the node is not Ready, "
        "their Services may have no endpoint (kubernetes/kubernetes issue 78733)"
    )


class _Planner:
    def __init__(self, draft: Draft) -> None:
        self.draft, self.facts, self.parameters = draft, draft.facts, draft.parameters

    def change(self, step: str, node: NodeFacts, service: ServiceFacts) -> NodeChange:
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
        return self.draft.node_change(step, node, service, tuple(files), migration.argv, migration)

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
                self.draft.missing.setdefault(name, []).append(node.name)

    def _users(self, node: NodeFacts, service: ServiceFacts, migration: Migration) -> dict[str, str]:
        """``User=`` and ``Group=`` for the unit, where it has none of its own."""
        settings = {key: service.service.values("Service", key) for key in ("User", "Group")}
        if any(settings.values()):
            return {}
        if service.name in ROOT_SERVICES:
            return {"User": "root", "Group": "root"}
        why = unreadable(node, service, migration)
        if why:
            self.draft.remarks.append(
                Remark(f"{service.name} on {node.name}", f"keeps running as root: {why}")
            )
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
            self.draft.remarks.append(Remark(f"kubelet on {node.name}", why))

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
            self.draft.remarks.append(Remark(f"{service.name} on {node.name}", why))
