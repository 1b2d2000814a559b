"""A plan while it is being made: what the steps have decided so far, and what they share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from kubeharden.components import Finding, Migration, units
from kubeharden.errors import MigrationRefusedError, ParameterError, UnitError, UnknownReleaseError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.inputs.parameters import STEPS, Parameters
from kubeharden.plan.model import FileChange, NodeChange, ObjectChange, Plan, Remark
from kubeharden.plan.service_files import pending_fields, pending_restart
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.podsecurity import Impact
from kubeharden.podsecurity.levels import NamespaceLevel

UNREAD_UNIT = (
    "its unit was edited, and systemd has not read it since. Run systemctl daemon-reload and restart it, or take "
    "the edit back, and look again"
)


class Draft:
    """What is going to be a plan.

    Args:
        facts: what was seen.
        parameters: what was asked for.

    Attributes:
        node_changes, object_changes, remarks, refused, namespaces, impacts: as in ``Plan``.
        lacking: the nodes that lack a value which no parameter gives, by the parameter's name.
    """

    def __init__(self, facts: Facts, parameters: Parameters) -> None:
        self.facts, self.parameters = facts, parameters
        self.node_changes: list[NodeChange] = []
        self.object_changes: list[ObjectChange] = []
        self.remarks: list[Remark] = []
        self.refused: list[Remark] = []
        self.namespaces: tuple[NamespaceLevel, ...] = ()
        self.impacts: list[Impact] = []
        self.lacking: dict[str, list[str]] = {}

    def check_names(self) -> None:
        """Refuse names of the inventory that are not those of Node objects."""
        known = {item["metadata"]["name"] for item in self.facts.cluster.of("nodes")}
        for node in self.facts.nodes:
            if node.service("kubelet") is not None and node.name not in known:
                why = f"the API has no Node object of that name; it has {', '.join(sorted(known))}. Mend the inventory"
                self.refused.append(Remark(node.name, why))

    def add(self, node: NodeFacts, service: ServiceFacts, change: Callable[[], NodeChange]) -> None:
        """Add what ``change`` makes of a service, or say why it is refused."""
        try:
            self.node_changes.append(change())
        except (UnitError, UnknownReleaseError, MigrationRefusedError) as error:
            why = UNREAD_UNIT if service.needs_reload and isinstance(error, UnitError) else str(error)
            self.refused.append(Remark(f"{service.name} on {node.name}", why))

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
            namespaces=self.namespaces,
            impacts=tuple(self.impacts),
            target_release=self.parameters.target_release,
            findings=self._findings(),
            cluster=self.facts.cluster.name,
            cluster_uid=self.facts.cluster.uid,
        )

    def _findings(self) -> tuple[tuple[str, Finding], ...]:
        """What stands between the cluster, as it will be, and the release that is asked for."""
        if not self.parameters.target_release:
            return ()
        planned = {(change.node, change.service): change for change in self.node_changes}
        return upgrade_findings(self.facts, self.parameters.target_release, planned)

    def node_change(
        self,
        step: str,
        node: NodeFacts,
        service: ServiceFacts,
        files: tuple[FileChange, ...],
        argv: Sequence[str],
        migration: Migration | None = None,
        notes: tuple[str, ...] = (),
    ) -> NodeChange:
        """The change of a service whose files and command line are decided.

        Raises:
            MigrationRefusedError: the service is in no state to be changed.
        """
        pending = pending_fields(node, service)
        running = tuple(units.unwrapped(list(service.cmdline)))
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
