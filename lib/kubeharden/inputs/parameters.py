"""papermill parameters: strict, typed, and all checked before anything is touched.

papermill only warns of an unknown name and guesses types (``-p x 010`` is the number 10), so names and types
are checked here. What was injected is read from the notebook's own cells: every name assigned in papermill's
cell, and in any cell that assigns a parameter, must be a parameter.
"""

from __future__ import annotations

import ast
import difflib
import ipaddress
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kubeharden.errors import ParameterError
from kubeharden.inputs.inventory import Network
from kubeharden.inputs.parameter_types import (
    LONGEST_SHOWN,
    NONE,
    Batch,
    ChangeId,
    ChangeKind,
    Cidr,
    DefaultPolicy,
    Digest,
    Domain,
    Image,
    InventoryText,
    Ip,
    Mode,
    NodeNames,
    PathText,
    PlannedWindow,
    PodSecurity,
    ProfileText,
    RehearsalName,
    Steps,
    Switch,
    TargetRelease,
    Text,
    Workloads,
    shown_value,
    whole_number,
)
from kubeharden.inputs.sources import split_inventory
from kubeharden.redaction import Redactor, is_whole

INJECTED = "# Parameters"  # the first line of the cell that papermill injects

M = TypeVar("M", bound=BaseModel)


class RunParameters(BaseModel):
    """The parameters of every run."""

    model_config = ConfigDict(frozen=True)

    inventory: InventoryText = "rehearsal"
    rehearsal: RehearsalName = "article-1.10"
    rehearsal_dir: PathText = ""
    change_id: ChangeId = ""
    reason: Text = ""
    output_dir: PathText = ""

    @model_validator(mode="before")
    @classmethod
    def _named_cluster(cls, values: dict[str, Any]) -> dict[str, Any]:
        """Read ``inventory=rehearsal:NAME`` as the two parameters that it stands for."""
        inventory = values.get("inventory")
        source, cluster = split_inventory(inventory) if isinstance(inventory, str) else ("", "")
        return {**values, "inventory": source, "rehearsal": cluster} if cluster else values


class ChangeParameters(RunParameters):
    """The parameters of a run that may change something.

    Attributes:
        requester: who asked for the change.
        window: when it may be carried out, see ``inputs.window``; with ``outside_window``, at any other time, too.
        test_evidence: a sealed run that tried the change elsewhere, as its folder or name.
        back_out: how the change is undone, in words.
        back_out_evidence: a sealed run that tried that, as its folder or name.
    """

    mode: Mode = "apply"
    approved_plan: Digest = ""
    approval: PathText = ""
    approved_by: Text = ""
    batch_size: Batch = "1"
    max_failures: Annotated[int, whole_number(0, 10_000)] = 0
    confirm_timeout: Annotated[int, whole_number(5, 3600)] = 120
    drain: Switch = False
    drain_timeout: Annotated[int, whole_number(1, 86_400)] = 300
    requester: Text = ""
    change_kind: ChangeKind = ""
    risk: Text = ""
    window: PlannedWindow = ""
    outside_window: Switch = False
    test_evidence: PathText = ""
    back_out: Text = ""
    back_out_evidence: PathText = ""


class Parameters(ChangeParameters):
    """The parameters of ``harden.ipynb``; empty ``steps`` are all steps, and empty ``nodes`` all of the inventory."""

    nodes: NodeNames = ()
    dns_ip: Ip = ""
    dns_domain: Domain = ""
    cluster_cidr: Cidr = ""
    pause_image: Image = ""
    steps: Steps = Field((), validate_default=True)
    profile: ProfileText = "article"
    policies: PathText = ""
    pod_security: PodSecurity = "auto"
    enforce: Switch = False
    default_policy: DefaultPolicy = NONE
    accept_breaking: Workloads = ()
    accept_unknown_release: Switch = False
    target_release: TargetRelease = ""


def assigned_names(sources: Iterable[str], known: Sequence[str]) -> list[str]:
    """Return the names assigned in papermill's injected cell and in every cell that assigns a parameter.

    Args:
        sources: the text of each cell that has run, in order.
        known: the names that are parameters.
    """
    names: list[str] = []
    for source in sources:
        injected = source.lstrip().startswith(INJECTED)
        assigned = _top_level_assignments(source)
        if injected or set(assigned) & set(known):
            names += assigned
    return list(dict.fromkeys(names))


def _top_level_assignments(source: str) -> list[str]:
    try:
        body = ast.parse(source).body
    except SyntaxError:
        return []  # a cell with magics; papermill's cells and the parameters cell are plain Python
    targets: list[ast.expr] = []
    for statement in body:
        if isinstance(statement, ast.Assign):
            targets += statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets.append(statement.target)
    return [target.id for target in targets if isinstance(target, ast.Name)]


def read_parameters(kind: type[M], namespace: Mapping[str, Any], **known: Iterable[str]) -> M:
    """Read the parameters in a notebook's global names.

    Args:
        kind: the notebook's parameters.
        namespace: ``globals()`` of the notebook; ``In`` in it holds the cells that have run.
        known: ``rehearsals`` and ``steps``: the names of those that there are.

    Raises:
        ParameterError: an unknown name, a wrong type, a value that cannot be; it names the parameter, the
            value and what is expected. All that is wrong is named at once.
    """
    names = list(kind.model_fields)
    values = {n: namespace[n] for n in names if n in namespace}
    unknown = _unknown(namespace, names)
    wrong = [*unknown, *secret_texts(values, Redactor())]
    try:
        parameters = kind.model_validate(values, context=known)
    except ValidationError as error:
        redact = Redactor().redact
        wrong += [redact(f"{e['loc'][0]}: {shown_value(e['input'])} {_why(e)}") for e in error.errors()]
    if wrong:
        # Once, however many are unknown: a file for another notebook, or another version of this one, has many.
        there_are = [f"The parameters of this notebook are {', '.join(names)}."] if unknown else []
        lines = "\n".join([*(f"  {line}" for line in wrong), *there_are])
        raise ParameterError(f"nothing was touched, because of the parameters:\n{lines}")
    return parameters


def changed_parameters(first: BaseModel, now: BaseModel) -> list[str]:
    """Return a sentence for each parameter that has another value now than when a run began."""
    return [
        f"{name}: was {shown_value(value)} when this run began, and is {shown_value(getattr(now, name))} now"
        for name, value in first
        if value != getattr(now, name)
    ]


def _why(mistake: Mapping[str, Any]) -> str:
    why = str(mistake.get("ctx", {}).get("error") or f"is wrong: {mistake['msg']}")
    return why if len(why) <= 2 * LONGEST_SHOWN else f"{why[: 2 * LONGEST_SHOWN]} …"


def _unknown(namespace: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """Return a sentence for each name that was given and is not a parameter."""
    wrong = []
    for name in assigned_names(namespace.get("In", ()), known):
        if name not in known and name in namespace:  # a cell that was corrected and run again has deleted it
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else "."
            wrong.append(f"{name}: there is no such parameter{hint}")
    return wrong


def secret_texts(texts: Mapping[str, Any], redactor: Redactor) -> list[str]:
    """Return a sentence for each parameter with a secret: papermill has written it down before anything runs here.

    Args:
        texts: the parameters, by name; what is not a text has no secret.
        redactor: knows the secrets.
    """
    return [
        f"{name}: has what looks like a secret in it, and stands in the executed notebook as it was given: remove that "
        "notebook, and run again without the secret"
        for name, text in texts.items()
        if isinstance(text, str) and not is_whole(redactor.redact(text))
    ]


def check_dns_ip(dns_ip: str, service_ranges: Sequence[Network], source: str) -> None:
    """Check that the cluster DNS Service can have this IP.

    Args:
        dns_ip: the parameter; empty is fine.
        service_ranges: the API server's ``--service-cluster-ip-range``; empty where it is not known.
        source: where it is known from, for the message.

    Raises:
        ParameterError: the IP is outside the range, or that of another Service.
    """
    if not dns_ip or not service_ranges:
        return
    address = ipaddress.ip_address(dns_ip)
    ranges = f"--service-cluster-ip-range {','.join(map(str, service_ranges))} ({source})"
    if not any(address in network for network in service_ranges):
        raise ParameterError(
            f"dns_ip: '{dns_ip}' is outside the API server's {ranges}; expected the IP of the cluster DNS Service, an "
            f"address inside the range of its family (IPv{address.version})"
        )
    if address == service_ranges[0].network_address + 1:  # pkg/controlplane/services.go: ServiceIPRange
        raise ParameterError(
            f"dns_ip: '{dns_ip}' is the first one of the API server's {ranges}, which it takes for the Service "
            "kubernetes; expected the IP of the cluster DNS Service"
        )


def check_confirm_timeout(confirm_timeout: int, settle_seconds: float) -> None:
    """Check that there is time to prove a change before its node puts itself back.

    Args:
        confirm_timeout: the parameter.
        settle_seconds: the inventory's: the service settles, then its node, and then there is more to see.

    Raises:
        ParameterError: there is not.
    """
    if confirm_timeout < 4 * settle_seconds:
        raise ParameterError(
            f"confirm_timeout: {confirm_timeout} is too short for settle_seconds {settle_seconds:g} of the inventory; "
            f"expected {math.ceil(4 * settle_seconds)} or more"
        )
