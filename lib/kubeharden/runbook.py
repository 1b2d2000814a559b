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
from collections.abc import Mapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

from kubeharden import gate
from kubeharden.inventory import Inventory, read_inventory
from kubeharden.parameters import Parameters, check_confirm_timeout, check_dns_ip, read_parameters
from kubeharden.past import Records
from kubeharden.podsecurity import read_policies
from kubeharden.project import POLICIES, find, project_folder
from kubeharden.records import Record, hooks
from kubeharden.records.approval import Approval, find_approval, keys_at_hand
from kubeharden.rehearsal import Rehearsal, available, service_range
from kubeharden.run import Run, verb

__all__ = ["Records", "Run", "records", "start"]

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
    gate.install(namespace)
    while _current:
        _current.pop().close()
    parameters = read_parameters(namespace, rehearsals=available(), looks_only=looks_only)
    policies = read_policies(
        find(parameters.policies) if parameters.policies else project_folder() / POLICIES
    )
    rehearsal = None
    if parameters.inventory != "rehearsal":
        inventory = read_inventory(find(parameters.inventory))
        known = inventory.service_cluster_ip_range
        check_dns_ip(parameters.dns_ip, (known,) if known else (), "from the inventory")
    else:
        ranges = (ip_network(service_range(parameters.rehearsal)),)
        check_dns_ip(parameters.dns_ip, ranges, f"of the rehearsal cluster {parameters.rehearsal}")
        rehearsal = Rehearsal.start(parameters.rehearsal, _rehearsal_folder(parameters.rehearsal_dir))
        inventory = read_inventory(rehearsal.inventory)
    try:
        approval = None if looks_only else _approval(parameters, inventory)
        check_confirm_timeout(parameters.confirm_timeout, inventory.settle_seconds)
        parent = (
            Path(parameters.output_dir).expanduser()
            if parameters.output_dir
            else project_folder() / "outputs"
        )
        label = parameters.change_id or _label(parameters, looks_only)
        record = Record(parent, inventory.cluster, label)
        run = Run(
            parameters, inventory, policies, record, rehearsal, approval=approval, looks_only=looks_only
        )
    except BaseException:
        if rehearsal is not None:
            rehearsal.stop()
        raise
    _current.append(run)
    source = rehearsal.inventory if rehearsal else find(parameters.inventory)
    started = hooks.run_started(parameters, inventory, source, _notebook(looks_only), run.cluster.user)
    record.event("run started", **started)
    return run


def _notebook(looks_only: bool) -> Path | None:
    """The notebook that runs: Jupyter says which, papermill does not; then it is one of the project's."""
    named = os.environ.get("JPY_SESSION_NAME", "")
    own = project_folder() / "notebooks" / ("upgrade-readiness.ipynb" if looks_only else "harden.ipynb")
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
    gate.install(namespace)
    return Records(namespace)


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
