"""A step's part of a plan while it is being made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from kubeharden.components import Migration, Profile
from kubeharden.errors import MigrationRefusedError, UnitError, UnknownReleaseError
from kubeharden.facts import Facts, NodeFacts, ServiceFacts
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import managers
from kubeharden.plan.model import FileChange, NodeChange, ObjectChange, Remark, subject_of
from kubeharden.plan.service_files import hindrance, pending_fields, pending_restart, transience
from kubeharden.podsecurity.impact import Impact
from kubeharden.podsecurity.levels import NamespaceLevel
from kubeharden.podsecurity.policies import PolicySet

UNREAD_UNIT = (
    "its unit was edited, and systemd has not read it since. Run systemctl daemon-reload and restart it, or take "
    "the edit back, and look again"
)


class Draft:
    """The part of a plan that one step makes.

    Args:
        profile: what to harden, where it is one of your own; else the one that the parameters name.

    Attributes:
        node_changes, object_changes, remarks, refused, namespaces, impacts, next_run: as in ``Plan``.
        missing: the nodes without a value that no parameter gives, by the parameter's name.
    """

    def __init__(
        self, facts: Facts, parameters: Parameters, policies: PolicySet, profile: Profile | None = None
    ) -> None:
        self.facts, self.parameters, self.policies = facts, parameters, policies
        self.profile = profile or Profile.load(parameters.profile)
        self.node_changes: list[NodeChange] = []
        self.object_changes: list[ObjectChange] = []
        self.remarks: list[Remark] = []
        self.refused: list[Remark] = []
        self.namespaces: tuple[NamespaceLevel, ...] = ()
        self.impacts: list[Impact] = []
        self.next_run: list[str] = []
        self.missing: dict[str, list[str]] = {}
        self._node_objects = {item["metadata"]["name"]: item for item in facts.cluster.of("nodes")}

    def remark(self, subject: str, text: str) -> None:
        """Add something that a person must know."""
        self.remarks.append(Remark(subject, text))

    def add_changes(
        self,
        services: Iterable[tuple[NodeFacts, ServiceFacts]],
        change: Callable[[NodeFacts, ServiceFacts], NodeChange],
        step: str = "",
    ) -> None:
        """Add the change of each service, or say why it is refused: alone, where a step can go on without it."""
        for node, service in services:
            try:
                self.node_changes.append(change(node, service))
            except (UnitError, UnknownReleaseError, MigrationRefusedError) as error:
                why = UNREAD_UNIT if service.needs_reload and isinstance(error, UnitError) else str(error)
                self.refused.append(Remark(subject_of(service.name, node.name), why, step))

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
        """Return the change of a service whose files and command line are decided.

        Raises:
            MigrationRefusedError: the service is in no state to be changed.
        """
        pending = pending_fields(node, service)
        running = service.running_argv
        subject = subject_of(service.name, node.name)
        restart = "its files change" if files else pending_restart(node, service, argv)
        item = self._node_objects.get(node.name, {})
        if restart and (why := managers.refusal(node, item) or transience(service)):
            raise MigrationRefusedError(why)
        if why := hindrance(service, files):
            raise MigrationRefusedError(why)
        if files and service.needs_reload:
            raise MigrationRefusedError(UNREAD_UNIT)
        if files and running and running[0] != service.unit_argv()[0]:
            raise MigrationRefusedError(
                f"its unit runs {service.unit_argv()[0]}, and the process that runs is {running[0]}. If the first is a "
                "script, write the command that it makes into ExecStart=; if the unit was edited, restart it, or take "
                "the edit back. Then look again"
            )
        if files and running and running != service.unit_argv():
            raise MigrationRefusedError(
                "its unit was edited but never put in effect: it runs with another command line than the unit "
                "says. Restart it, or take the edit back, and look again"
            )
        if files and not running:
            raise MigrationRefusedError(
                "it is not running; mend it first, so that its new configuration can be proved"
            )
        if restart and not files:
            self.remark(subject, restart)
        elif files and pending:
            why = f"its config file was edited and not put in effect; the restart does that: {', '.join(pending)}"
            self.remark(subject, why)
        self.remarks += [Remark(subject, why) for why in managers.warnings(node, item, service, files)]
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
            service.other_unit,
        )
