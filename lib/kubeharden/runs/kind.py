"""A kind of run: its parameters, its rights, its plan and its verbs."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import Any, ClassVar, Generic, TypeVar

from kubeharden.errors import KubehardenError, ParameterError, WindowError
from kubeharden.facts import Facts
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.inputs.inventory import Inventory, Network
from kubeharden.inputs.parameters import (
    ChangeParameters,
    RunParameters,
    changed_parameters,
    check_confirm_timeout,
)
from kubeharden.inputs.window import Window
from kubeharden.plan import Plan
from kubeharden.plan.step import Right
from kubeharden.plan.steps import names
from kubeharden.rollout.rollout import Pace
from kubeharden.show.display import View

# Returns what a node has backed up: the node, the name of the transaction, the digest of the content.
Backup = Callable[[str, str, str], str | None]
R = TypeVar("R", bound=RunParameters)
C = TypeVar("C", bound=ChangeParameters)


class Kind(Generic[R]):
    """A kind of run, made for one run from its parameters; this one only reads and changes nothing.

    Attributes:
        name: the name of its notebook, without ``.ipynb``.
        parameters_model: its parameters.
        verbs: what it can do besides the verbs of every run; each takes the run first.
        plans: it makes a plan.
    """

    name: ClassVar[str]
    parameters_model: ClassVar[type[RunParameters]] = RunParameters
    verbs: ClassVar[tuple[Callable[..., View], ...]] = ()
    plans: ClassVar[bool] = False
    mode: str = "plan"
    steps: tuple[str, ...] = ()

    def __init__(self, parameters: R) -> None:
        """Read what the parameters name, before anything is contacted; a KubehardenError says what cannot be read."""
        self.parameters = parameters

    @property
    def label(self) -> str:
        """The name of the record's folder, where the change has no id."""
        return self.name

    def check(self, inventory: Inventory) -> None:
        """Check the parameters against the inventory; those that do not fit are a ParameterError."""

    def choose(self, inventory: Inventory) -> tuple[str, ...]:  # noqa: ARG002 - the signature of a kind
        """Return the nodes of the inventory that the run leaves alone; a ParameterError says which it does not have."""
        return ()

    def check_network(self, ranges: Sequence[Network], source: str) -> None:
        """Check the parameters against the API server's service range.

        Args:
            ranges: empty where it is not known.
            source: where it is known from, for the message.

        Raises:
            ParameterError: they do not fit.
        """

    def pace(self, inventory: Inventory) -> Pace:
        """Return how carefully its plan is carried out."""
        return Pace(settle=inventory.settle_seconds)

    def rights(self, version: str) -> Sequence[Right]:  # noqa: ARG002 - the signature of a kind
        """Return the rights on an API of this version that it may need in mode apply, besides those of every run."""
        return ()

    def make_plan(self, facts: Facts, backup: Backup) -> Plan:  # noqa: ARG002 - the signature of a kind
        """Return the plan for the cluster as it is; where there is none, raise a KubehardenError."""
        raise KubehardenError(f"{self.name} plans nothing: it only looks")

    def pieces(self, part: Plan) -> Iterable[Plan]:
        """Return a step in pieces that are carried out one after the other."""
        return [part]


class ChangeKind(Kind[C]):
    """A kind of run that may change something."""

    parameters_model: ClassVar[type[RunParameters]] = ChangeParameters
    plans = True

    def __init__(self, parameters: C) -> None:
        super().__init__(parameters)
        self.mode = parameters.mode

    def check(self, inventory: Inventory) -> None:
        """Check that there is time to prove a change before its node puts itself back."""
        check_confirm_timeout(self.parameters.confirm_timeout, inventory.settle_seconds)

    def pace(self, inventory: Inventory) -> Pace:
        """Return the pace that the parameters ask for."""
        p = self.parameters
        return Pace(
            batch_size=BatchSize.parse(p.batch_size),
            max_failures=p.max_failures,
            confirm_timeout=p.confirm_timeout,
            drain=p.drain,
            drain_timeout=p.drain_timeout,
            settle=inventory.settle_seconds,
        )


def rollout_data(pace: Pace, inventory: Inventory, facts: Facts, *, ports: bool) -> dict[str, Any]:
    """Return how a plan is carried out, as it stands in the plan and is approved with it.

    Args:
        facts: which nodes there are, in which order, and which of them are of the control plane.
        ports: whether the ports of the nodes are part of it.
    """
    machines = {node.name: node for node in inventory.nodes}
    return {
        "batch_size": str(pace.batch_size),
        "max_failures": pace.max_failures,
        "confirm_timeout": pace.confirm_timeout,
        "drain": pace.drain,
        "drain_timeout": pace.drain_timeout,
        "settle_seconds": pace.settle,
        "gateway": inventory.ssh.gateway,
        "nodes": [
            {
                "name": node.name,
                "control_plane": node.control_plane,
                "connection": machines[node.name].connection,
                "host": machines[node.name].host,
                "port": (machines[node.name].port or inventory.ssh.port) if ports else None,
            }
            for node in facts.nodes
        ],
    }


AnyKind = Kind[Any]


def check_step(step: str, kind: AnyKind) -> None:
    """Refuse the name of a step that there is in no run, with a ParameterError."""
    known = list(dict.fromkeys((*kind.steps, *names())))
    if step not in known:
        close = difflib.get_close_matches(str(step), known, 1)
        hint = f"; did you mean {close[0]}?" if close else "."
        raise ParameterError(f"there is no step {step!r}{hint} There are: {', '.join(known)}")


def check_parameters(began: RunParameters, now: RunParameters) -> None:
    """Refuse (ParameterError) to go on with other parameters than those the run began with, which its record says."""
    if changed := changed_parameters(began, now):
        lines = "\n".join(f"  {line}" for line in changed)
        raise ParameterError(
            f"nothing was touched, because parameters were changed after this run began:\n{lines}\nRun the cell with "
            "runbook.start(globals()), and those after it, for a run with the new ones; or set them back"
        )


def check_window(parameters: ChangeParameters, now: datetime) -> None:
    """Refuse, with a WindowError, to change anything outside the planned window."""
    if not parameters.window or parameters.outside_window:
        return
    window = Window.parse(parameters.window)
    if not window.holds(now):
        raise WindowError(
            f"it is {now:%Y-%m-%d %H:%M} UTC, and this change is planned for {window}: nothing was changed. Run again "
            "in that time, or with outside_window=True, which the record says"
        )
