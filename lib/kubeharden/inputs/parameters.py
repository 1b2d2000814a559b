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
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from kubeharden.components import Profile
from kubeharden.errors import ParameterError, UnknownReleaseError
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.inputs.inventory import Network
from kubeharden.inputs.project import wrong_path
from kubeharden.inputs.sources import split_inventory
from kubeharden.inputs.window import Window
from kubeharden.redaction import Redactor, is_whole
from kubeharden.releases import Release

MODES = ("apply", "plan")
POD_SECURITY = ("auto", "psp", "psa")
# Values of default_policy, the strictest first, and the one for no such policy.
STRENGTHS = ("restricted", "baseline")
NONE = "none"
CHANGE_KINDS = ("standard", "normal", "emergency")  # of ITIL
CHANGE_ID_LENGTH = 80  # it becomes part of a folder's name
LONGEST_SHOWN = 200  # characters of a value in a message
INJECTED = "# Parameters"  # the first line of the cell that papermill injects

M = TypeVar("M", bound=BaseModel)


def _text(value: Any, info: ValidationInfo) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"is a value of type {type(value).__name__}; expected text "
            f"(papermill guesses types with -p; -r {info.field_name} VALUE keeps text as it is)"
        )
    return value.strip()


def _check_with(check: Callable[[str], object], *, empty: bool = True) -> AfterValidator:
    """Return the validator that calls ``check``, which raises ValueError; by default, empty text is fine, too."""

    def validate(text: str) -> str:
        if text or not empty:
            check(text)
        return text

    return AfterValidator(validate)


def _one_of(*allowed: str) -> AfterValidator:
    return _check_with(lambda text: _check_one_of(text, allowed), empty=False)


def _check_one_of(text: str, allowed: Sequence[str]) -> None:
    if text not in allowed:
        raise ValueError(f"is not known; expected one of {', '.join(allowed)}")


def _number(least: int, most: int) -> BeforeValidator:
    def validate(value: Any) -> int:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"is a value of type {type(value).__name__}; expected a whole number")
        if not least <= value <= most:
            raise ValueError(f"is out of range; expected {least} to {most}")
        return value

    return BeforeValidator(validate)


def _switch(value: Any) -> bool:
    """Return a switch: papermill makes a truth value of ``True`` and leaves ``true`` as text."""
    text = str(value).strip().lower()
    if not isinstance(value, (bool, str)) or text not in ("true", "false"):
        raise ValueError("is neither true nor false; expected one of them")
    return text == "true"


def _check_rehearsal(text: str, info: ValidationInfo) -> str:
    """Check a rehearsal against those that there are, where the caller says which."""
    known = (info.context or {}).get("rehearsals")
    if known is not None:
        _check_one_of(text, tuple(known))
    return text


def _words(value: Any) -> Any:
    """Return the items of a list that papermill's -p leaves as text: ``[a, b]``."""
    if isinstance(value, str):
        return [word.strip(" '\"") for word in value.strip().strip("[]").split(",") if word.strip()]
    return value


def _workloads(value: Any) -> tuple[str, ...]:
    value = _words(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a list of names like shop/web")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"([A-Za-z]+ )?[a-z0-9.-]+/[A-Za-z0-9.:_-]+", name):
            raise ValueError(f"holds {_text_of(name)}; expected a name like shop/web, or Deployment shop/web")
    return tuple(dict.fromkeys(value))


def _objects(value: Any) -> tuple[str, ...]:
    value = _words(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(
            f"is a value of type {type(value).__name__}; expected a list of names like Namespace shop"
        )
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"[A-Za-z]+ ([a-z0-9.-]+/)?[A-Za-z0-9.:_-]+", name):
            raise ValueError(f"holds {_text_of(name)}; expected a name like Namespace shop, or Role shop/web")
    return tuple(dict.fromkeys(value))


def _steps(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    """Return steps in their order, all for none, where the caller says which there are."""
    value, known = _words(value), (info.context or {}).get("steps")
    if known is None:
        return tuple(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a list of {', '.join(known)}")
    for step in value:
        if step not in known:
            raise ValueError(f"names the step {_text_of(step)}; expected some of {', '.join(known)}")
    return tuple(step for step in known if step in value) or tuple(known)


def _check_ip(text: str) -> None:
    try:
        zone = getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        raise ValueError("is not an IP address; expected one like 10.0.0.10") from None
    if zone:
        raise ValueError("has a zone, which means nothing on other machines; expected one like fd00::a")


def _check_cidr(text: str) -> None:
    for part in text.split(","):  # dual stack has one of each family
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise ValueError("is not a CIDR; expected one like 10.32.0.0/16") from None
        if not part.partition("/")[2].isdigit():
            raise ValueError(f"has no prefix length; expected one like {part.partition('/')[0]}/16")
        if str(network.network_address) != str(ipaddress.ip_address(part.split("/")[0])):
            raise ValueError(f"has host bits set; expected the network itself, {network}")


def _check_domain(text: str) -> None:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"{label}(\.{label})*", text):
        raise ValueError("is not a DNS domain; expected one like cluster.local")


def _check_image(text: str) -> None:
    # distribution/reference: host[:port]/path[:tag][@digest]
    part = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    host = r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?"
    tag, digest = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"sha256:[0-9a-f]{64}"
    if not re.fullmatch(rf"(?:{host}/)?{part}(?:/{part})*(?::{tag})?(?:@{digest})?", text):
        raise ValueError("is not an image; expected one like k8s.gcr.io/pause-amd64:3.1")


def _check_release(text: str) -> None:
    try:
        Release.parse(text)
    except UnknownReleaseError as error:
        raise ValueError(f"is not a release to go to: {error}") from None


def _check_change_id(text: str) -> None:
    if len(text) > CHANGE_ID_LENGTH:
        raise ValueError(f"is too long; expected at most {CHANGE_ID_LENGTH} characters")


def _check_path(text: str) -> None:
    why = wrong_path(text)
    if why:
        raise ValueError(f"{why}; expected a path")


def _check_profile(text: str) -> None:
    """Check the name of a profile; what has a slash or ends as YAML does is the path of one of your own."""
    if is_own_profile(text):
        _check_path(text)
    elif text not in Profile.names():
        expected = ", ".join(Profile.names())
        raise ValueError(
            f"is not known; expected one of {expected}, or the path of a file such as profile.yaml"
        )


def is_own_profile(text: str) -> bool:
    """Return whether a profile is named by the path of its file."""
    return "/" in text or text.endswith((".yaml", ".yml"))


def _check_digest(text: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("is not the digest of a plan; expected the 64 digits that a run in mode plan shows")


def _check_record(text: str) -> None:
    if not text:
        raise ValueError(
            "is empty; expected a run: its folder, its name in outputs/, the id of its change, or last"
        )


def _nodes(value: Any) -> tuple[str, ...]:
    value = _words(value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(name, str) for name in value):
        raise ValueError(
            f"is {_text_of(value)}; expected a list of names of nodes, as they are in the inventory"
        )
    return tuple(dict.fromkeys(value))


def _digits(value: Any) -> Any:
    """Return a number as text: papermill's -p makes a number of 3."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


# The types of parameters: each with its checks, whatever notebook has it.
Text = Annotated[str, BeforeValidator(_text)]
Switch = Annotated[bool, BeforeValidator(_switch)]
Ip = Annotated[Text, _check_with(_check_ip)]
Cidr = Annotated[Text, _check_with(_check_cidr)]
Domain = Annotated[Text, _check_with(_check_domain)]
Image = Annotated[Text, _check_with(_check_image)]
TargetRelease = Annotated[Text, _check_with(_check_release)]
ChangeId = Annotated[Text, _check_with(_check_change_id)]
Digest = Annotated[Text, _check_with(_check_digest)]
ChangeKind = Annotated[Text, _check_with(lambda text: _check_one_of(text, CHANGE_KINDS))]
PlannedWindow = Annotated[Text, _check_with(Window.parse)]
PathText = Annotated[Text, _check_with(_check_path)]
ProfileText = Annotated[Text, _check_with(_check_profile, empty=False)]
RecordFolder = Annotated[PathText, _check_with(_check_record, empty=False)]
RehearsalName = Annotated[Text, AfterValidator(_check_rehearsal)]
Steps = Annotated[tuple[str, ...], BeforeValidator(_steps)]
Workloads = Annotated[tuple[str, ...], BeforeValidator(_workloads)]
NodeNames = Annotated[tuple[str, ...], BeforeValidator(_nodes)]
Objects = Annotated[tuple[str, ...], BeforeValidator(_objects)]
Batch = Annotated[Text, BeforeValidator(_digits), _check_with(BatchSize.parse, empty=False)]


class RunParameters(BaseModel):
    """The parameters of every run."""

    model_config = ConfigDict(frozen=True)

    inventory: PathText = "rehearsal"
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

    mode: Annotated[Text, _one_of(*MODES)] = "apply"
    approved_plan: Digest = ""
    approval: PathText = ""
    approved_by: Text = ""
    batch_size: Batch = "1"
    max_failures: Annotated[int, _number(0, 10_000)] = 0
    confirm_timeout: Annotated[int, _number(5, 3600)] = 120
    drain: Switch = False
    drain_timeout: Annotated[int, _number(1, 86_400)] = 300
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
    pod_security: Annotated[Text, _one_of(*POD_SECURITY)] = "auto"
    enforce: Switch = False
    default_policy: Annotated[Text, _one_of(*STRENGTHS, NONE)] = NONE
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
    given = {n: namespace[n] for n in names if n in namespace}
    wrong = [*_unknown(namespace, names), *secret_texts(given, Redactor())]
    try:
        made = kind.model_validate(given, context=known)
    except ValidationError as error:
        redact = Redactor().redact
        wrong += [redact(f"{e['loc'][0]}: {_text_of(e['input'])} {_why(e)}") for e in error.errors()]
    if wrong:
        lines = "\n".join(f"  {line}" for line in wrong)
        raise ParameterError(f"nothing was touched, because of the parameters:\n{lines}")
    return made


def changed_parameters(began: BaseModel, now: BaseModel) -> list[str]:
    """Return a sentence for each parameter that has another value now than when a run began."""
    return [
        f"{name}: was {_text_of(value)} when this run began, and is {_text_of(getattr(now, name))} now"
        for name, value in began
        if value != getattr(now, name)
    ]


def _text_of(value: object) -> str:
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"


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
            wrong.append(f"{name}: there is no such parameter{hint} There are: {', '.join(known)}")
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
