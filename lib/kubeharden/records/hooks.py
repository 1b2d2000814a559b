"""What the events of a run say: parameters, facts, plans and proofs as plain data for the journal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kubeharden.facts import Facts
from kubeharden.inputs.inventory import Inventory
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import Plan
from kubeharden.plan.proof import Proof
from kubeharden.plan.results import Checked
from kubeharden.records.approval import Approval
from kubeharden.records.provenance import components, file_digest, versions, who


def run_started(
    parameters: Parameters, inventory: Inventory, source: Path, notebook: Path | None, kubernetes_user: str
) -> dict[str, Any]:
    """Who started what, with which versions and which parameters.

    Args:
        parameters: as they were checked.
        inventory: the cluster.
        source: the inventory's file.
        notebook: the notebook that runs, where that is known.
        kubernetes_user: the user that the kubeconfig names.
    """
    return {
        "cluster": inventory.cluster,
        "mode": parameters.mode,
        "steps": list(parameters.steps),
        "change_id": parameters.change_id,
        "reason": parameters.reason,
        "parameters": asdict(parameters),
        "inventory": {"path": str(source), "sha256": file_digest(source)},
        "nodes": [node.name for node in inventory.nodes],
        "who": who(),
        "kubernetes_user": kubernetes_user,
        "versions": versions(),
        "notebook": None if notebook is None else {"path": str(notebook), "sha256": file_digest(notebook)},
    }


def checked(checks: Sequence[Checked], logins: Mapping[str, Mapping[str, str]]) -> dict[str, Any]:
    """The way in: what was checked, and with which keys both sides showed who they are.

    Args:
        checks: what was checked and found.
        logins: by node: ``user``, ``key`` (fingerprint of the key used), ``host_key`` (type and fingerprint).
    """
    return {
        "checks": [{"what": check.what, "found": check.found, "good": check.good} for check in checks],
        "logins": logins,
    }


def observed(facts: Facts) -> dict[str, Any]:
    """What was looked at, and which versions run."""
    return {
        "nodes": [node.name for node in facts.nodes],
        "systems": {node.name: {"os": node.os, "systemd": node.systemd} for node in facts.nodes},
        "components": components(facts),
        "api_server": facts.cluster.version,
    }


def planned(plan: Plan) -> dict[str, Any]:
    """What is to be done, and what a person must know of it."""
    return {
        "digest": plan.digest,
        "needed": plan.needed,
        "refused": [f"{remark.subject}: {remark.text}" for remark in plan.refused],
        "remarks": [f"{remark.subject}: {remark.text}" for remark in plan.remarks],
        "breaking": [str(judged) for impact in plan.impacts for judged in impact.breaking],
        "changes": [change for step in plan.steps for change in _changes(plan.of(step))],
    }


def _changes(part: Plan) -> list[dict[str, str]]:
    """The changes of one step, in the order in which they are carried out."""
    return [
        *({"step": c.step, "subject": c.name, "action": c.action} for c in part.object_changes),
        *(
            {
                "step": c.step,
                "subject": c.subject,
                "action": "write and restart" if c.files else "restart",
            }
            for c in part.node_changes
            if c.needed
        ),
    ]


def approved(approval: Approval) -> dict[str, Any]:
    """Which plan was approved, how and by whom."""
    return {
        "plan": approval.plan,
        "how": approval.how,
        "approver": approval.approver,
        "key": approval.key,
    }


def proved(proof: Proof, after: Facts) -> dict[str, Any]:
    """What the second look found, and which versions run now."""
    return {
        "problems": list(proof.problems),
        "confirmed": list(proof.confirmed),
        "notes": list(proof.notes),
        "services": [list(row) for row in proof.services],
        "differences": [list(row) for row in proof.differences],
        "components": components(after),
    }


def finished(
    plan: Plan, mode: str, done: Sequence[str], left: Sequence[str], failed: Sequence[str]
) -> dict[str, Any]:
    """How it ended: the steps that were carried out, and those that had something to do and were not, and why."""
    return {
        "mode": mode,
        "changed": list(done),
        "not_carried_out": list(left),
        "failed": list(failed),
        "why": _why(plan, mode, failed) if left else "",
    }


def _why(plan: Plan, mode: str, failed: Sequence[str]) -> str:
    if plan.refused:
        return "the plan is refused: " + "; ".join(f"{r.subject}: {r.text}" for r in plan.refused)
    if failed:
        return f"{', '.join(failed)} failed before"
    return "mode is plan" if mode == "plan" else "nobody ran these steps"
