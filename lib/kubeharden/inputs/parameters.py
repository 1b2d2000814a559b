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
from dataclasses import dataclass, fields
from typing import Any

from kubeharden.components import Profile
from kubeharden.errors import ParameterError, UnknownReleaseError
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.inputs.inventory import Network
from kubeharden.inputs.sources import split_inventory
from kubeharden.releases import Release

MODES = ("apply", "plan")
POD_SECURITY = ("auto", "psp", "psa")
# Values of default_policy, the strictest first, and what stands for no such policy.
STRENGTHS = ("restricted", "baseline")
NONE = "none"
CHANGE_ID_LENGTH = 80  # it becomes part of a folder's name
# The parameters of a notebook that only looks.
LOOKING = ("inventory", "rehearsal", "rehearsal_dir", "target_release", "change_id", "reason", "output_dir")
# The parameters of a notebook that puts back what a run changed.
ROLLING_BACK = (
    "record",
    "inventory",
    "rehearsal",
    "rehearsal_dir",
    "mode",
    "approved_plan",
    "approval",
    "batch_size",
    "max_failures",
    "confirm_timeout",
    "drain",
    "drain_timeout",
    "change_id",
    "reason",
    "output_dir",
)
INJECTED = "# Parameters"  # the first line of the cell that papermill injects


@dataclass(frozen=True)
class Parameters:
    """The parameters of ``harden.ipynb``; ``steps`` is empty for all of them."""

    dns_ip: str = ""
    dns_domain: str = ""
    cluster_cidr: str = ""
    pause_image: str = ""
    inventory: str = "rehearsal"
    rehearsal: str = "article-1.10"
    rehearsal_dir: str = ""
    mode: str = "apply"
    steps: tuple[str, ...] = ()
    profile: str = "article"
    policies: str = ""
    pod_security: str = "auto"
    enforce: bool = False
    default_policy: str = NONE
    accept_breaking: tuple[str, ...] = ()
    target_release: str = ""
    approved_plan: str = ""
    approval: str = ""
    batch_size: str = "1"
    max_failures: int = 0
    confirm_timeout: int = 120
    drain: bool = False
    drain_timeout: int = 300
    change_id: str = ""
    reason: str = ""
    output_dir: str = ""


@dataclass(frozen=True)
class RollbackParameters(Parameters):
    """The parameters of ``rollback.ipynb``: those of ``ROLLING_BACK``; the others are not asked for.

    Attributes:
        record: the folder of the run to put back.
    """

    record: str = ""


def assigned_names(sources: Iterable[str], known: Sequence[str]) -> list[str]:
    """The names assigned in papermill's injected cell and in every cell that assigns a parameter.

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


def read_parameters(
    namespace: Mapping[str, Any],
    *,
    rehearsals: Iterable[str],
    steps: Sequence[str],
    looks_only: bool = False,
    rolls_back: bool = False,
) -> Parameters:
    """The parameters in a notebook's global names.

    Args:
        namespace: ``globals()`` of the notebook; ``In`` in it holds the cells that have run.
        rehearsals: the names of the rehearsal clusters that there are.
        steps: the names of the steps that there are, in their order.
        looks_only: the notebook has the parameters of ``LOOKING`` alone, and its mode is ``plan``.
        rolls_back: the notebook has those of ``ROLLING_BACK``, and ``RollbackParameters`` come back.

    Raises:
        ParameterError: an unknown name, a wrong type, a value that cannot be; it names the parameter, the
            value and what is expected. All that is wrong is named at once.
    """
    known = [field.name for field in fields(Parameters)]
    if looks_only or rolls_back:
        known = list(LOOKING if looks_only else ROLLING_BACK)
    wrong = _unknown(namespace, known)
    values = {name: namespace[name] for name in known if name in namespace}
    if rolls_back:
        values.setdefault("record", "")
    values |= _named_cluster(values.get("inventory"))
    for name, value in values.items():
        try:
            values[name] = _checked(name, value, tuple(rehearsals), steps)
        except ValueError as error:
            wrong.append(f"{name}: {value!r} {error}")
    if wrong:
        raise ParameterError(
            "nothing was touched, because of the parameters:\n" + "\n".join(f"  {w}" for w in wrong)
        )
    if looks_only:
        values["mode"] = "plan"
    values.setdefault("steps", tuple(steps))
    return RollbackParameters(**values) if rolls_back else Parameters(**values)


def _named_cluster(inventory: Any) -> dict[str, str]:
    """Read ``inventory=rehearsal:NAME`` as the two parameters that it stands for."""
    source, cluster = split_inventory(inventory) if isinstance(inventory, str) else ("", "")
    return {"inventory": source, "rehearsal": cluster} if cluster else {}


def read_texts(namespace: Mapping[str, Any], known: Sequence[str]) -> dict[str, str]:
    """The parameters of a notebook whose parameters are all text.

    Args:
        namespace: ``globals()`` of the notebook.
        known: the names of the parameters.

    Raises:
        ParameterError: an unknown name or another type.
    """
    values = {name: namespace[name] for name in known if name in namespace}
    wrong = _unknown(namespace, known)
    for name, value in values.items():
        try:
            values[name] = _text(name, value)
        except ValueError as error:
            wrong.append(f"{name}: {value!r} {error}")
    if wrong:
        raise ParameterError("the parameters are wrong:\n" + "\n".join(f"  {w}" for w in wrong))
    return values


def _unknown(namespace: Mapping[str, Any], known: Sequence[str]) -> list[str]:
    """A sentence for each name that was given and is no parameter."""
    wrong = []
    for name in assigned_names(namespace.get("In", ()), known):
        if name not in known and name in namespace:  # a cell that was mended and run again has deleted it
            close = difflib.get_close_matches(name, known, 1)
            hint = f"; did you mean {close[0]}?" if close else "."
            wrong.append(f"{name}: there is no such parameter{hint} There are: {', '.join(known)}")
    return wrong


def check_dns_ip(dns_ip: str, service_ranges: Sequence[Network], source: str) -> None:
    """Check that the cluster DNS Service can have this IP.

    Args:
        dns_ip: the parameter; empty is fine.
        service_ranges: the API server's ``--service-cluster-ip-range``; empty where it is not known.
        source: where it is known from, for the message.

    Raises:
        ParameterError: the IP is outside the range.
    """
    if dns_ip and service_ranges and not any(ipaddress.ip_address(dns_ip) in r for r in service_ranges):
        ranges = ", ".join(map(str, service_ranges))
        raise ParameterError(
            f"dns_ip: '{dns_ip}' is outside the API server's --service-cluster-ip-range {ranges} "
            f"({source}); expected the IP of the cluster DNS Service, an address inside it"
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


def _checked(name: str, value: Any, rehearsals: tuple[str, ...], steps: Sequence[str]) -> Any:
    if name == "steps":
        return _steps(value, steps)
    if name == "accept_breaking":
        return _workloads(value)
    if name in _SWITCHES:
        return _switch(value)
    if name in _NUMBERS:
        return _number(value, *_NUMBERS[name])
    if name == "batch_size" and isinstance(value, int) and not isinstance(value, bool):
        value = str(value)  # papermill -p makes a number of 3
    text = _text(name, value)
    if name in _CHECKS and (text or name in _NEVER_EMPTY):
        _CHECKS[name](text)
    if name == "rehearsal":
        _one_of(text, rehearsals)
    return text


def _text(name: str, value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(
            f"is a value of type {type(value).__name__}; expected text "
            f"(papermill guesses types with -p; -r {name} VALUE keeps text as it is)"
        )
    return value.strip()


def _words(value: Any) -> Any:
    """The items of a list that papermill's -p leaves as text: ``[a, b]``."""
    if isinstance(value, str):
        return [word.strip(" '\"") for word in value.strip().strip("[]").split(",") if word.strip()]
    return value


def _workloads(value: Any) -> tuple[str, ...]:
    value = _words(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a list of names like shop/web")
    for name in value:
        if not isinstance(name, str) or not re.fullmatch(r"([A-Za-z]+ )?[a-z0-9.-]+/[A-Za-z0-9.:_-]+", name):
            raise ValueError(f"holds {name!r}; expected a name like shop/web, or Deployment shop/web")
    return tuple(dict.fromkeys(value))


def _steps(value: Any, known: Sequence[str]) -> tuple[str, ...]:
    value = _words(value)
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a list of {', '.join(known)}")
    for step in value:
        if step not in known:
            raise ValueError(f"names the step {step!r}; expected some of {', '.join(known)}")
    return tuple(step for step in known if step in value) or tuple(known)


def _switch(value: Any) -> bool:
    """A switch: papermill makes a truth value of ``True`` and leaves ``true`` as text."""
    text = str(value).strip().lower()
    if not isinstance(value, (bool, str)) or text not in ("true", "false"):
        raise ValueError("is neither true nor false; expected one of them")
    return text == "true"


def _number(value: Any, least: int, most: int) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a whole number")
    if not least <= value <= most:
        raise ValueError(f"is out of range; expected {least} to {most}")
    return value


def _one_of(text: str, allowed: Sequence[str]) -> None:
    if text not in allowed:
        raise ValueError(f"is not known; expected one of {', '.join(allowed)}")


def _ip(text: str) -> None:
    try:
        zone = getattr(ipaddress.ip_address(text), "scope_id", None)
    except ValueError:
        raise ValueError("is no IP address; expected one like 10.0.0.10") from None
    if zone:
        raise ValueError("has a zone, which means nothing on other machines; expected one like fd00::a")


def _cidr(text: str) -> None:
    for part in text.split(","):  # dual stack has one of each family
        try:
            network = ipaddress.ip_network(part, strict=False)
        except ValueError:
            raise ValueError("is no CIDR; expected one like 10.32.0.0/16") from None
        if not part.partition("/")[2].isdigit():
            raise ValueError(f"has no prefix length; expected one like {part.partition('/')[0]}/16")
        if str(network.network_address) != str(ipaddress.ip_address(part.split("/")[0])):
            raise ValueError(f"has host bits set; expected the network itself, {network}")


def _domain(text: str) -> None:
    label = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
    if not re.fullmatch(rf"{label}(\.{label})*", text):
        raise ValueError("is no DNS domain; expected one like cluster.local")


def _image(text: str) -> None:
    # distribution/reference: host[:port]/path[:tag][@digest]
    part = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
    host = r"[a-zA-Z0-9](?:[a-zA-Z0-9.-]*[a-zA-Z0-9])?(?::[0-9]+)?"
    tag, digest = r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", r"sha256:[0-9a-f]{64}"
    if not re.fullmatch(rf"(?:{host}/)?{part}(?:/{part})*(?::{tag})?(?:@{digest})?", text):
        raise ValueError("is no image; expected one like k8s.gcr.io/pause-amd64:3.1")


def _release(text: str) -> None:
    try:
        Release.parse(text)
    except UnknownReleaseError as error:
        raise ValueError(f"is no release to go to: {error}") from None


def _record(text: str) -> None:
    if not text:
        raise ValueError("is empty; expected the folder of a run, one of those in outputs/")


def _batch_size(text: str) -> None:
    BatchSize.parse(text)


def _change_id(text: str) -> None:
    if len(text) > CHANGE_ID_LENGTH:
        raise ValueError(f"is too long; expected at most {CHANGE_ID_LENGTH} characters")


def _digest(text: str) -> None:
    if not re.fullmatch("[0-9a-f]{64}", text):
        raise ValueError("is no digest of a plan; expected the 64 digits that a run in mode plan shows")


_SWITCHES = ("enforce", "drain")
_NEVER_EMPTY = ("record", "mode", "profile", "pod_security", "default_policy", "batch_size")
# Lowest and highest; seconds but for max_failures.
_NUMBERS = {"max_failures": (0, 10_000), "confirm_timeout": (5, 3600), "drain_timeout": (1, 86_400)}
_CHECKS: dict[str, Callable[[str], None]] = {
    "dns_ip": _ip,
    "dns_domain": _domain,
    "cluster_cidr": _cidr,
    "pause_image": _image,
    "target_release": _release,
    "approved_plan": _digest,
    "batch_size": _batch_size,
    "record": _record,
    "change_id": _change_id,
    "mode": lambda text: _one_of(text, MODES),
    "default_policy": lambda text: _one_of(text, (*STRENGTHS, NONE)),
    "profile": lambda text: _one_of(text, Profile.names()),
    "pod_security": lambda text: _one_of(text, POD_SECURITY),
}
