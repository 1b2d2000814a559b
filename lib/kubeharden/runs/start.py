"""The beginning of a run, and of a look at the runs that there were: ``kubeharden.runbook`` has both."""

from __future__ import annotations

import atexit
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from kubeharden.edges.connect import connect
from kubeharden.edges.ports import Ports
from kubeharden.edges.webhook import Webhook, find_webhook
from kubeharden.errors import ParameterError
from kubeharden.facts.harmless import harmless_flags
from kubeharden.inputs.inventory import Inventory, networks, read_inventory
from kubeharden.inputs.parameters import ChangeParameters, RunParameters, read_parameters, secret_texts
from kubeharden.inputs.project import NOTEBOOKS, find, project_folder, runs_folder
from kubeharden.inputs.sources import REHEARSAL, OpenCluster, source
from kubeharden.plan.events import RunStarted
from kubeharden.plan.own_words import own_words
from kubeharden.plan.steps import names
from kubeharden.records.approval import Approval, find_approval
from kubeharden.records.change_sample import change_of
from kubeharden.records.folder import Record
from kubeharden.records.keys import keys_at_hand
from kubeharden.records.provenance import file_digest, versions, who
from kubeharden.redaction import Redactor
from kubeharden.runs.kind import AnyKind
from kubeharden.runs.kinds import kind_named
from kubeharden.runs.past_runs import Records
from kubeharden.runs.practice import practice_folder
from kubeharden.runs.run import Run
from kubeharden.runs.sealing import notebook_path
from kubeharden.runs.verb import verb
from kubeharden.show import output_guard
from kubeharden.show.person import Person

IN_WORDS = {"reason", "change_id", "requester", "risk", "back_out"}  # parameters that are people's own words

_current: list[Run] = []  # at most one: the run that this notebook has open


@verb
def start(
    namespace: Mapping[str, Any],
    kind: str = "harden",
    connect: Callable[[Inventory, Redactor], Ports] = connect,
    person: Person | None = None,
) -> Run:
    """Check the parameters, open the inventory or start the rehearsal, and begin the record.

    Where ``KUBEHARDEN_WEBHOOK`` names a URL, it is told of the end of the run and of each verb that fails.

    Args:
        namespace: the notebook's ``globals()``.
        kind: the kind of run, which is the name of its notebook: ``harden``, ``rollback``, ``upgrade-readiness``.
        connect: returns what the run reaches: nodes over SSH and an API server by default.
        person: the one who runs the cells; by default the person at this kernel.

    Raises:
        ParameterError: a parameter, the inventory or a file that they name is wrong; nothing was contacted.
        RecordError: the record to put back cannot be read.
        ApprovalError: an approval is required and missing, or does not count; nothing was contacted.
        RehearsalError: the rehearsal cluster cannot run.
    """
    redactor = _guard(namespace)
    webhook = find_webhook(redactor)
    while _current:
        before = _current.pop()
        before.close()
        before.notebook.copy()
    chosen = kind_named(kind)

    def parameters() -> RunParameters:
        rehearsals = source().available()
        return read_parameters(chosen.parameters_model, namespace, rehearsals=rehearsals, steps=names())

    made = chosen(parameters())
    change, person = _change(made), person or Person()
    with _open(made, watched=person.is_there) as (inventory, rehearsal):
        made.check(inventory)
        left_out = made.choose(inventory)
        approval = _approval(made, inventory)
        p = made.parameters
        chosen_nodes = [node for node in inventory.nodes if node.name not in left_out]
        reached = inventory.model_copy(update={"nodes": chosen_nodes})
        ports = connect(reached, redactor)
        if wrong := secret_texts(p.model_dump(include=IN_WORDS), redactor):  # now it knows passwords
            raise ParameterError(f"nothing was touched, because of the parameters: {'; '.join(wrong)}")
        record = Record(runs_folder(p.output_dir), inventory.cluster, p.change_id or made.label, redactor)
        run = Run(made, reached, record, ports, rehearsal, approval, parameters, person, left_out)
    _emit_start(run, change)
    if webhook:
        about = {"run": record.run, "cluster": inventory.cluster, "change_id": p.change_id, "mode": made.mode}
        run.emit.add(Webhook(webhook, about, redactor, run.say))
    _current.append(run)
    if run.notebook.path is not None:
        atexit.register(run.notebook.copy)  # by then it is saved, as a rule
    return run


def _guard(namespace: Mapping[str, Any]) -> Redactor:
    """Return a new redactor, which guards all outputs of the notebook from now on."""
    redactor = Redactor(harmless_flags(), own_words())
    output_guard.install(namespace, redactor)
    return redactor


@contextmanager
def _open(kind: AnyKind, *, watched: bool) -> Iterator[tuple[Inventory, OpenCluster | None]]:
    """Open the inventory; a rehearsal that was started for it ends again if what follows fails.

    Args:
        watched: whether a person is there, who goes on with their rehearsal after a restart.
    """
    p, rehearsal = kind.parameters, None
    if p.inventory != REHEARSAL:
        inventory = read_inventory(find(p.inventory))
        kind.check_network(inventory.service_cluster_ip_range or (), "from the inventory")
    else:
        ranges = networks(source().service_range(p.rehearsal))
        kind.check_network(ranges, f"of the rehearsal cluster {p.rehearsal}")
        folder = Path(p.rehearsal_dir).expanduser().absolute() if p.rehearsal_dir else None
        if folder is None and watched:
            folder = practice_folder(p.rehearsal)
        rehearsal = source().start(p.rehearsal, folder)
        inventory = read_inventory(rehearsal.inventory)
    try:
        yield inventory, rehearsal
    except BaseException:
        if rehearsal is not None:
            rehearsal.stop()
        raise


def _change(kind: AnyKind) -> dict[str, Any] | None:
    """Return what a run that may change something keeps for those who audit it; None where nothing of it was given."""
    p = kind.parameters
    return (change_of(p, runs_folder(p.output_dir)) or None) if isinstance(p, ChangeParameters) else None


def _emit_start(run: Run, change: Mapping[str, Any] | None) -> None:
    p = run.parameters
    path = run.rehearsal.inventory if run.rehearsal else find(p.inventory)
    notebook = _notebook(run.kind.name)
    run.emit(
        RunStarted(
            cluster=run.inventory.cluster,
            mode=run.kind.mode,
            steps=run.kind.steps,
            change_id=p.change_id,
            reason=p.reason,
            parameters=p.model_dump(),
            inventory={"path": str(path), "sha256": file_digest(path)},
            nodes=[node.name for node in run.inventory.nodes],
            who=who(),
            kubernetes_user=run.cluster.user,
            versions=versions(),
            notebook={"path": str(notebook), "sha256": file_digest(notebook)} if notebook else None,
            change=change,
        )
    )


def _notebook(name: str) -> Path | None:
    """Return the notebook that runs: Jupyter says which, papermill does not; then it is one of the project's."""
    own = project_folder() / NOTEBOOKS / f"{name}.ipynb"
    return notebook_path() or (own if own.is_file() else None)


@verb
def records(namespace: Mapping[str, Any]) -> Records:
    """Return the runs that there were; nothing is contacted.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        ParameterError: a parameter is wrong.
        RecordError: the folder of runs is not there.
    """
    return Records(namespace, _guard(namespace))


def _approval(kind: AnyKind, inventory: Inventory) -> Approval | None:
    """Return the approval that this run has; None in mode plan without one, else an ApprovalError."""
    p = kind.parameters
    if not isinstance(p, ChangeParameters):
        return None
    return find_approval(
        p.approved_plan,
        find(p.approval) if p.approval else None,
        required=inventory.require_approval and p.mode == "apply",
        approvers=inventory.approvers,
        own_keys=lambda: keys_at_hand(inventory.ssh.identity_file),
        approved_by=p.approved_by,
    )
