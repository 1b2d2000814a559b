"""The types of parameters, each with its checks, whatever notebook has it.

papermill guesses types (``-p x 010`` is the number 10) and leaves lists as text, so a value of another type is read
where its meaning is clear, and refused where it is not.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Sequence
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, ValidationInfo

from kubeharden.components import Profile
from kubeharden.errors import UnknownReleaseError
from kubeharden.inputs.batch_size import BatchSize
from kubeharden.inputs.project import wrong_path
from kubeharden.inputs.window import Window
from kubeharden.releases import Release

MODES = ("apply", "plan")
POD_SECURITY = ("auto", "psp", "psa")
# Values of default_policy, the strictest first, and the one for no such policy.
STRENGTHS = ("restricted", "baseline")
NONE = "none"
CHANGE_KINDS = ("standard", "normal", "emergency")  # of ITIL
CHANGE_ID_LENGTH = 80  # it becomes part of a folder's name
LONGEST_SHOWN = 200  # characters of a value in a message


def shown_value(value: object) -> str:
    """Return a value for a message, cut where it is long."""
    text = repr(value)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]} …"


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


def whole_number(least: int, most: int) -> BeforeValidator:
    """Return the validator of a whole number in a range."""

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


def _items(value: Any) -> Any:
    """Return the items of a list that papermill's -p leaves as text: ``[a, b]``."""
    if isinstance(value, str):
        return [item.strip(" '\"") for item in value.strip().strip("[]").split(",") if item.strip()]
    return value


def _check_list(value: Any, expected: str) -> None:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"is a value of type {type(value).__name__}; expected a list of {expected}")


def _names(pattern: str, expected: str, example: str) -> BeforeValidator:
    """Return the validator of a list of names, which match a pattern; what is expected of one goes into messages."""

    def validate(value: Any) -> tuple[str, ...]:
        value = _items(value)
        _check_list(value, expected)
        for name in value:
            if not isinstance(name, str) or not re.fullmatch(pattern, name):
                raise ValueError(f"holds {shown_value(name)}; expected a name like {example}")
        return tuple(dict.fromkeys(value))

    return BeforeValidator(validate)


def _steps(value: Any, info: ValidationInfo) -> tuple[str, ...]:
    """Return steps in their order, all for none, where the caller says which there are."""
    value, known = _items(value), (info.context or {}).get("steps")
    _check_list(value, ", ".join(known or ("steps",)))
    if known is None:
        return tuple(value)
    for step in value:
        if step not in known:
            raise ValueError(f"names the step {shown_value(step)}; expected some of {', '.join(known)}")
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


def _check_inventory(text: str) -> None:
    if not text:
        raise ValueError("is empty; expected a file like parameters/inventory.example.yaml (or 'rehearsal')")


def _check_record(text: str) -> None:
    if not text:
        raise ValueError(
            "is empty; expected a run: its folder, its name in outputs/, the id of its change, or last"
        )


def _digits(value: Any) -> Any:
    """Return a number as text: papermill's -p makes a number of 3."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Text = Annotated[str, BeforeValidator(_text)]
Mode = Annotated[Text, _one_of(*MODES)]
PodSecurity = Annotated[Text, _one_of(*POD_SECURITY)]
DefaultPolicy = Annotated[Text, _one_of(*STRENGTHS, NONE)]
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
InventoryText = Annotated[PathText, _check_with(_check_inventory, empty=False)]
ProfileText = Annotated[Text, _check_with(_check_profile, empty=False)]
RecordFolder = Annotated[PathText, _check_with(_check_record, empty=False)]
RehearsalName = Annotated[Text, AfterValidator(_check_rehearsal)]
Steps = Annotated[tuple[str, ...], BeforeValidator(_steps)]
Workloads = Annotated[
    tuple[str, ...],
    _names(
        r"([A-Za-z]+ )?[a-z0-9.-]+/[A-Za-z0-9.:_-]+",
        "names like shop/web",
        "shop/web, or Deployment shop/web",
    ),
]
Objects = Annotated[
    tuple[str, ...],
    _names(
        r"[A-Za-z]+ ([a-z0-9.-]+/)?[A-Za-z0-9.:_-]+",
        "names like Namespace shop",
        "Namespace shop, or Role shop/web",
    ),
]
NodeNames = Annotated[
    tuple[str, ...], _names(".*", "names of nodes, as they are in the inventory", "those in the inventory")
]
Batch = Annotated[Text, BeforeValidator(_digits), _check_with(BatchSize.parse, empty=False)]
