"""The verbs that a notebook calls. Notebooks import this module and no other.

run = runbook.start(globals())    # checks every parameter before anything is contacted
run.look()                        # reads the nodes and the cluster
run.plan()                        # what would be done; nothing has been changed yet
run.apply("kubelet")              # carries out one step of that plan
run.prove()                       # looks again and compares with what the plan promised
run.finish()                      # closes the record

past = runbook.records(globals()) # the runs that there were
past.list(), past.show(), past.compare(), past.since()
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from ipaddress import ip_network
from pathlib import Path
from typing import Any, cast

from kubeharden.facts.sensitive import harmless_flags
from kubeharden.inputs.inventory import Inventory, read_inventory
from kubeharden.inputs.parameters import (
    Parameters,
    RollbackParameters,
    check_confirm_timeout,
    check_dns_ip,
    read_parameters,
)
from kubeharden.inputs.project import POLICIES, find, project_folder
from kubeharden.inputs.sources import REHEARSAL, OpenCluster, source
from kubeharden.plan.events import RunStarted
from kubeharden.plan.steps import names
from kubeharden.podsecurity import read_policies
from kubeharden.records import Record, read_run
from kubeharden.records.approval import Approval, find_approval, keys_at_hand
from kubeharden.records.provenance import file_digest, versions, who
from kubeharden.redaction import Redactor
from kubeharden.runs.past_runs import Records
from kubeharden.runs.rollback import RollbackRun, check_past
from kubeharden.runs.run import Run, verb
from kubeharden.show import output_guard

__all__ = ["Records", "RollbackRun", "Run", "records", "start", "start_rollback"]

_current: list[Run] = []  # at most one: the run that this notebook has open


@verb
def start(namespace: Mapping[str, Any], *, looks_only: bool = False) -> Run:
    """Check the parameters, open the inventory or start the rehearsal, and begin the record.

    Args:
        namespace: the notebook's ``globals()``.
        looks_only: for a notebook that changes nothing, and has no parameters for it.

    Raises:
        ParameterError: a parameter, the inventory or the policies file is wrong; nothing was contacted.
        ApprovalError: an approval is required and lacks, or does not count; likewise.
        RehearsalError: the rehearsal cluster cannot run.
    """
    redactor = _end_the_last(namespace)
    parameters = read_parameters(
        namespace, rehearsals=source().available(), steps=names(), looks_only=looks_only
    )
    policies = read_policies(
        find(parameters.policies) if parameters.policies else project_folder() / POLICIES
    )
    with _opened(parameters) as (inventory, rehearsal):
        approval = None if looks_only else _approval(parameters, inventory)
        record = _record(
            parameters, inventory, parameters.change_id or _label(parameters, looks_only), redactor
        )
        run = Run(
            parameters, inventory, policies, record, rehearsal, approval=approval, looks_only=looks_only
        )
    _started(run, "upgrade-readiness" if looks_only else "harden")
    return run


@verb
def start_rollback(namespace: Mapping[str, Any]) -> RollbackRun:
    """Likewise for a run that puts back what another one changed: the one whose folder ``record`` names.

    Raises:
        ParameterError: a parameter or the inventory is wrong, or the record is of another cluster; nothing was
            contacted.
        RecordError: the record cannot be read.
        ApprovalError: an approval is required and lacks, or does not count.
        RehearsalError: the rehearsal cluster cannot run.
    """
    redactor = _end_the_last(namespace)
    parameters = read_parameters(namespace, rehearsals=source().available(), steps=names(), rolls_back=True)
    past = read_run(find(cast("RollbackParameters", parameters).record))
    with _opened(parameters) as (inventory, rehearsal):
        check_past(past, inventory.cluster)
        approval = _approval(parameters, inventory)
        record = _record(parameters, inventory, parameters.change_id or "rollback", redactor)
        run = RollbackRun(parameters, inventory, past, record, rehearsal, approval)
    _started(run, "rollback")
    return run


def _end_the_last(namespace: Mapping[str, Any]) -> Redactor:
    """Close the run that the notebook has open; return the redactor of the next one, which guards all outputs."""
    redactor = Redactor(harmless_flags())
    output_guard.install(namespace, redactor)
    while _current:
        _current.pop().close()
    return redactor


@contextmanager
def _opened(parameters: Parameters) -> Iterator[tuple[Inventory, OpenCluster | None]]:
    """The inventory; a rehearsal that was started for it ends again if what follows fails."""
    rehearsal = None
    if parameters.inventory != REHEARSAL:
        inventory = read_inventory(find(parameters.inventory))
        known = inventory.service_cluster_ip_range
        check_dns_ip(parameters.dns_ip, (known,) if known else (), "from the inventory")
    else:
        ranges = (ip_network(source().service_range(parameters.rehearsal)),)
        check_dns_ip(parameters.dns_ip, ranges, f"of the rehearsal cluster {parameters.rehearsal}")
        rehearsal = source().start(parameters.rehearsal, _rehearsal_folder(parameters.rehearsal_dir))
        inventory = read_inventory(rehearsal.inventory)
    try:
        check_confirm_timeout(parameters.confirm_timeout, inventory.settle_seconds)
        yield inventory, rehearsal
    except BaseException:
        if rehearsal is not None:
            rehearsal.stop()
        raise


def _record(parameters: Parameters, inventory: Inventory, label: str, redactor: Redactor) -> Record:
    given = parameters.output_dir
    parent = Path(given).expanduser() if given else project_folder() / "outputs"
    return Record(parent, inventory.cluster, label, redactor)


def _started(run: Run, notebook: str) -> None:
    _current.append(run)
    p = run.parameters
    source = run.rehearsal.inventory if run.rehearsal else find(p.inventory)
    path = _notebook(notebook)
    run.emit(
        RunStarted(
            cluster=run.inventory.cluster,
            mode=p.mode,
            steps=p.steps,
            change_id=p.change_id,
            reason=p.reason,
            parameters=asdict(p),
            inventory={"path": str(source), "sha256": file_digest(source)},
            nodes=[node.name for node in run.inventory.nodes],
            who=who(),
            kubernetes_user=run.cluster.user,
            versions=versions(),
            notebook=None if path is None else {"path": str(path), "sha256": file_digest(path)},
        )
    )


def _notebook(name: str) -> Path | None:
    """The notebook that runs: Jupyter says which, papermill does not; then it is one of the project's."""
    named = os.environ.get("JPY_SESSION_NAME", "")
    own = project_folder() / "notebooks" / f"{name}.ipynb"
    return next((path for path in (Path(named), own) if path.suffix == ".ipynb" and path.is_file()), None)


@verb
def records(namespace: Mapping[str, Any]) -> Records:
    """The runs that there were; nothing is contacted.

    Args:
        namespace: the notebook's ``globals()``.

    Raises:
        ParameterError: a parameter is wrong.
        RecordError: there is no such folder of runs.
    """
    redactor = Redactor(harmless_flags())
    output_guard.install(namespace, redactor)
    return Records(namespace, redactor)


def _approval(parameters: Parameters, inventory: Inventory) -> Approval | None:
    """The approval that this run has; in mode plan it may do without.

    Raises:
        ApprovalError: it lacks, or does not count.
    """
    return find_approval(
        parameters.approved_plan,
        find(parameters.approval) if parameters.approval else None,
        required=inventory.require_approval and parameters.mode == "apply",
        approvers=inventory.approvers,
        own_keys=lambda: keys_at_hand(inventory.ssh.identity_file),
    )


def _label(parameters: Parameters, looks_only: bool) -> str:
    """What the record's folder is called where no change has a name."""
    if looks_only:
        return "upgrade-readiness"
    return parameters.steps[0] if len(parameters.steps) == 1 else "harden"


def _rehearsal_folder(text: str) -> Path | None:
    return Path(text).expanduser().absolute() if text else None
