"""Approvals: a plan that a second person agreed to, and their signature.

A plan is approved by its digest, which the parameter ``approved_plan`` names, or by a signature over the ``plan.json``
of a run in mode ``plan``, made with ``ssh-keygen -Y sign -n kubeharden-approval`` by one of the inventory's
``approvers`` with a key that does not belong to the person who runs it.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.errors import ApprovalError, ParameterError, RecordError
from kubeharden.plan import Plan, digest_of
from kubeharden.records.archive import runs_in
from kubeharden.records.folder import PLAN, json_file
from kubeharden.records.plan_difference import plan_difference
from kubeharden.records.reader import SIGNATURE_LIMIT, one_line, parse_json, read, read_path
from kubeharden.records.signature import fingerprint_in, signer_of, signers_in

NAMESPACE = "kubeharden-approval"
_FINGERPRINT = re.compile(r"SHA256:[A-Za-z0-9+/]{43}")


@dataclass(frozen=True)
class Approval:
    """An approval as it was given, before any plan is held against it."""

    plan: str  # the digest of the plan that was approved
    how: str  # ``approved_plan``, or ``signature``
    # As the file of approvers calls them; without a signature, as the run was told, or empty.
    approver: str = ""
    key: str = ""  # ``SHA256:…`` of the key that signed; empty without a signature
    content: Mapping[str, Any] | None = None  # the plan that was approved, where it is known


def find_approval(
    approved_plan: str,
    approval: Path | None,
    *,
    required: bool,
    approvers: str | None,
    own_keys: Callable[[], Collection[str]],
    approved_by: str = "",
) -> Approval | None:
    """Return the approval that a run was given; None for none, where none is required.

    Args:
        approved_plan: the parameter: a digest, or empty.
        approval: the parameter: a signature over a ``plan.json``, which lies beside it; or None.
        required: whether there must be one; a signature, where there are approvers.
        approvers: the file of allowed signers; None where there is none.
        own_keys: gives the fingerprints (``SHA256:…``) of the keys of the person who runs it.
        approved_by: the parameter: who approved ``approved_plan`` and when, in words; a signature says that itself.

    Raises:
        ApprovalError: an approval is required and is missing, the signature does not count, or what was approved is
            not said.
    """
    if approved_by and not approved_plan:
        raise ApprovalError(
            f"approved_by is {approved_by!r}, but approved_plan names no plan; give the digest of the plan that they "
            "approved, or leave approved_by out. Nothing was touched"
        )
    if approval is not None:
        approved = _from_signature(approval, approvers)
        check_signer(approved, own_keys())
        if approved_plan and approved_plan != approved.plan:
            raise ApprovalError(
                f"approved_plan is {approved_plan}, but {approval} approves the plan {approved.plan}; give the one "
                "that belongs to the signature, or leave it out"
            )
        return approved
    if required and (approvers or not approved_plan):
        needed = "a signature by one of its approvers (parameter approval)" if approvers else "approved_plan"
        raise ApprovalError(
            f"the inventory requires an approval, and there is none: run with mode=plan, have the plan looked at, and "
            f"run again with {needed}. Nothing was touched"
        )
    return Approval(approved_plan, "approved_plan", approved_by) if approved_plan else None


def check_approved(plan: Plan, approval: Approval, runs: Path) -> None:
    """Hold a plan against the one that was approved.

    Args:
        runs: the folder of all runs, in which the approved plan is looked for, so as to show what differs.

    Raises:
        ApprovalError: it is another plan, or one for another cluster; the message shows the difference where the
            approved one is found.
    """
    if plan.digest == approval.plan:
        return
    content = approval.content or _plan_of(runs, approval.plan)
    now = plan.as_json()
    approved_for = (content or {}).get("cluster", now["cluster"])  # a plan of an earlier version names none
    if approved_for != now["cluster"]:
        raise ApprovalError(
            f"the plan that was approved is for {_cluster(approved_for)}, and this is {_cluster(now['cluster'])}: an "
            "approval counts on its own cluster, and nothing was changed"
        )
    if content is None:
        difference = f"No run in {runs} has the approved plan: what differs cannot be shown."
    else:
        difference = f"What differs (- approved, + now):\n{plan_difference(content, now)}"
    raise ApprovalError(
        f"this plan is not the one that was approved, and nothing was changed.\n  approved: {approval.plan}\n"
        f"  now:      {plan.digest}\n{difference}"
    )


def check_signer(approval: Approval, own_keys: Collection[str]) -> None:
    """Refuse, with an ApprovalError, what somebody approves for themselves: with one of ``own_keys``."""
    if approval.key and approval.key in own_keys:
        raise ApprovalError(
            f"the approval by {approval.approver} was signed with {approval.key}, a key of the person who runs this; "
            "expected the signature of somebody else"
        )


def _cluster(identity: Mapping[str, str]) -> str:
    """Return a cluster in words: its name alone may be that of another one, too."""
    return f"the cluster {identity['name']} (kube-system has the UID {identity['uid'] or 'unknown'})"


def _from_signature(signature: Path, approvers: str | None) -> Approval:
    """Return the approval in a signature file; both files are read once, and what was verified is what is used."""
    plan = signature.with_suffix("")
    try:
        made, signed = read_path(signature, SIGNATURE_LIMIT), read_path(plan)
    except RecordError as error:
        raise ApprovalError(
            f"approval: {one_line(str(signature))} is not a signature beside the plan that it signs ({error}); "
            f"expected the plan.json.sig that `ssh-keygen -Y sign -f KEY -n {NAMESPACE} plan.json` makes"
        ) from None
    if not approvers:
        raise ApprovalError(
            "approval: the inventory names no approvers; expected the path of a file of allowed signers (ssh-keygen(1))"
        )
    try:
        with signers_in(Path(approvers), "approvers of the inventory") as signers:
            approver = signer_of(plan.name, signed, made, signers, namespace=NAMESPACE)
        key = fingerprint_in(signed, made, namespace=NAMESPACE)
        content = parse_plan(signed)
    except (ParameterError, RecordError) as error:
        raise ApprovalError(f"approval: {error}") from None
    match = _FINGERPRINT.search(key)
    if match is None:
        raise ApprovalError(f"approval: which key made {signature.name} cannot be told ({key})")
    return Approval(content["digest"], "signature", approver, match[0], content)


def parse_plan(data: bytes) -> dict[str, Any]:
    """Return the plan that the bytes of a ``plan.json`` hold.

    Only the bytes that a run writes for a plan count: in any others, people and programs may read different things.

    Raises:
        RecordError: they are something else, or not the plan whose digest they name.
    """
    try:
        content = parse_json(data)
        same = isinstance(content, dict) and json_file(content) == data
    except (ValueError, RecursionError) as error:
        raise RecordError(f"{PLAN} is not a plan: {error}") from None
    if not same:
        raise RecordError(
            f"{PLAN} is not as a run in mode plan writes it; sign that file, and leave it as it is"
        )
    body = {key: value for key, value in content.items() if key != "digest"}
    if content.get("digest") != digest_of(body):
        raise RecordError(
            f"what stands in {PLAN} is not the plan whose digest it names: it was altered, or the redaction took a "
            "secret out of it. Approve such a plan by its digest (approved_plan)"
        )
    return dict(content)


def _plan_of(runs: Path, digest: str) -> dict[str, Any] | None:
    """Return the plan with this digest, from the newest run that has it."""
    for run in reversed(runs_in(runs)):
        try:
            content = parse_plan(read(run, PLAN))
        except RecordError:
            continue
        if content["digest"] == digest:
            return content
    return None
