"""The text of a flag and the value of a config field: the same thing in two notations.

Types are those of the release tables. Text is read as the component reads it (pflag and
k8s.io/component-base/cli/flag), values are written as the component prints them (``2m0s``, not ``120s``).
"""

from __future__ import annotations

import csv
import ipaddress
import json
import re
from collections.abc import Callable
from decimal import Decimal
from typing import Any

_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "μs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9}
_UNITS["h"] = 3600 * 10**9
_DURATION_PART = re.compile(r"(?<![0-9.])([0-9]+(?:\.[0-9]*)?|\.[0-9]+)(ns|us|µs|μs|ms|s|m|h)")
_QUANTITY = re.compile(
    r"[+-]?(\d+(?:\.\d*)?|\.\d+)(n|u|m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?\d+)?", re.ASCII
)
_NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
# strconv.ParseBool
_TRUE, _FALSE = {"1", "t", "T", "TRUE", "true", "True"}, {"0", "f", "F", "FALSE", "false", "False"}
_INT_BITS = {"int32": 31, "int64": 63, "uint32": 32}
TAINT_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")


def as_json(value: Any) -> str:
    """Return a value as it is written in a config file, in words; ``unset`` for none."""
    return "unset" if value is None else json.dumps(value, ensure_ascii=False)


def duration_ns(text: str) -> int:
    """Return a Go duration (``1h30m``, ``250ms``, ``0``) in nanoseconds.

    Raises:
        ValueError: the text cannot be read as one.
    """
    sign, body = (-1, text[1:]) if text[:1] == "-" else (1, text.removeprefix("+"))
    if body == "0":
        return 0
    parts = _DURATION_PART.findall(body)
    if not body or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"{text!r} is not a duration; expected one like 30s or 1h0m0s")
    return sign * int(sum(Decimal(number) * _UNITS[unit] for number, unit in parts))


def format_duration(nanoseconds: int) -> str:
    """Nanoseconds as Go's ``time.Duration.String`` prints them: ``2m0s``, ``250ms``, ``0s``."""
    if nanoseconds == 0:
        return "0s"
    sign, rest = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, size in (("ns", 1), ("µs", 10**3), ("ms", 10**6)):
        if rest < size * 1000:
            return f"{sign}{_plain(Decimal(rest) / size)}{unit}"
    seconds = _plain(Decimal(rest % _UNITS["m"]) / _UNITS["s"])
    hours, minutes = rest // _UNITS["h"], rest % _UNITS["h"] // _UNITS["m"]
    return sign + (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{seconds}s"


def _plain(number: Decimal) -> str:
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def quantity_sign(text: str) -> int:
    """Return whether a quantity (``100Mi``, ``-1``, ``0``) is below, at or above zero: -1, 0 or 1.

    Raises:
        ValueError: the text cannot be read as one.
    """
    number = _QUANTITY.fullmatch(text)
    if not number:
        raise ValueError(f"{text!r} is not a quantity; expected one like 100Mi or 0.5")
    size = Decimal(number[1])
    return 0 if not size else -1 if text.startswith("-") else 1


def parse_text(kind: str, text: str, separator: str = "=") -> Any:
    """Return the value that a flag's text stands for.

    Args:
        kind: the type in the release table, ``int32``, ``list(string)`` …
        text: what stands after ``--flag=``.
        separator: between key and value of a map; eviction thresholds have ``<``.

    Raises:
        ValueError: the text is not a value of that type; the message says what is expected.
    """
    return _parser(kind, separator)(text)


def check_value(kind: str, value: Any) -> None:
    """Check a value that stands in a config file against its type.

    Raises:
        ValueError: it does not have that type; the message says what is expected.
    """
    expected = _type_of(kind)
    if isinstance(value, bool) and expected is not bool:
        raise ValueError(f"{value!r} is a boolean; expected {kind}")
    if value is None or (kind == "quantity" and isinstance(value, int)):
        return
    if not isinstance(value, expected):
        raise ValueError(f"{value!r} is not of type {kind}")
    if (kind in {"address", "ip"} and value) or kind in {"duration", "quantity"} or kind in _INT_BITS:
        parse_text(kind, str(value))
    if isinstance(value, dict) and kind.startswith("map(string,"):
        for key, item in value.items():
            _check_item(kind[len("map(string,") : -1], item, str(key))
    elif isinstance(value, list) and kind in {"list(string)", "list(int32)"}:
        for item in value:
            _check_item(kind[len("list(") : -1], item, "one of the list")


def _check_item(kind: str, value: Any, name: str) -> None:
    if value is None:
        raise ValueError(f"{name} is null; write its value, or take it out")
    check_value(kind, value)


def same_value(kind: str, one: Any, other: Any) -> bool:
    """Return whether two values of a field are the same thing, as the component takes them: unset and empty are."""
    if "duration" in kind:
        try:
            return _nanoseconds(one) == _nanoseconds(other)
        except ValueError:  # not durations
            return bool(one == other)
    return bool(one == other or (not one and not other))


def _nanoseconds(value: Any) -> int:
    return value if isinstance(value, int) else duration_ns(str(value or "0"))


def merge(kind: str, earlier: Any, later: Any) -> Any:
    """Return what a flag given twice means: lists and maps grow, for everything else the last one wins.

    A key of ``--manifest-url-header`` may come twice and keeps both values (ColonSeparatedMultimapStringString.Set);
    ``--register-with-taints`` is a list of which the last one wins (RegisterWithTaintsVar.Set, pkg/util/flag/flags.go).
    """
    if kind == "map(string,list(string))" and earlier:
        return {key: [*earlier.get(key, ()), *later.get(key, ())] for key in {**earlier, **later}}
    if kind == "list(taint)":
        return later
    if kind.startswith("map(") and earlier:
        return {**earlier, **later}
    if kind.startswith("list(") and earlier:
        return [*earlier, *later]
    return later


def _type_of(kind: str) -> type | tuple[type, ...]:
    if kind == "bool":
        return bool
    if kind in _INT_BITS:
        return int
    if kind.startswith("float"):
        return (int, float)
    if kind.startswith("map("):
        return dict
    if kind.startswith("list("):
        return list
    if kind == "object":
        return dict
    if kind == "duration or int64 nanoseconds":
        return (int, str)
    return str


def _parser(kind: str, separator: str) -> Callable[[str], Any]:
    if kind.startswith("map("):
        if kind == "map(string,list(string))":
            return _multimap
        item = kind[len("map(string,") : -1]
        return lambda text: _map(text, separator, item)
    if kind.startswith("float"):
        return _float
    return {
        "bool": _bool,
        "int": lambda text: _integer(text, "int64"),
        "int32": lambda text: _integer(text, "int32"),
        "int64": lambda text: _integer(text, "int64"),
        "uint32": lambda text: _integer(text, "uint32"),
        "duration": lambda text: format_duration(duration_ns(text)),
        "quantity": _quantity,
        "ip": _ip,
        "address": _address,
        "list(string)": _strings,
        "list(int32)": lambda text: [_integer(item, "int32") for item in _strings(text)],
        "list(taint)": lambda text: [_taint(item) for item in text.split(",")] if text else [],
        "list({filePattern,verbosity})": lambda text: [_pattern(item) for item in text.split(",") if item],
        "list(object)": _reserved_memory,
    }.get(kind, str)


def _bool(text: str) -> bool:
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{text!r} is not a boolean; expected true or false")
    return text in _TRUE


def _integer(text: str, kind: str) -> int:
    # pflag reads int32 and int64 with strconv.ParseInt(text, 0, …), for which a leading 0 means octal as in C;
    # glog and klog read their levels with base 10. Python's int() would also take spaces and digits of other scripts.
    octal = re.fullmatch(r"[+-]?0[0-7_]+", text)
    base = 10 if kind == "uint32" else 8 if octal else 0
    plain = text if re.fullmatch(r"[+-]?\w+", text, re.ASCII) else ""
    try:
        number = int(plain, base)
    except ValueError:
        raise ValueError(f"{text!r} is not a whole number") from None
    low = 0 if kind == "uint32" else -(2 ** _INT_BITS[kind])
    if not low <= number < 2 ** _INT_BITS[kind]:
        raise ValueError(f"{text} does not fit {kind}")
    return number


def _float(text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{text!r} is not a number")
    number = float(text)
    return int(number) if number.is_integer() else number


def _quantity(text: str) -> str:
    quantity_sign(text)
    return text


def _ip(text: str) -> str:
    # Go's net.ParseIP knows no zones (fe80::1%eth0), Python does. An empty flag changes nothing: IPVar.Set and
    # IPPortVar.Set in pkg/util/flag return early for it, and the default stays (checked with kube-proxy 1.20.2).
    try:
        if text:
            ipaddress.ip_address("" if "%" in text else text)
    except ValueError:
        raise ValueError(f"{text!r} is not an IP address") from None
    return text


def _address(text: str) -> str:
    """Return an IP address with or without a port: ``10.0.0.1:80``, ``10.0.0.1``, ``[::1]:80``, ``::1``."""
    host, colon, port = text.rpartition(":")
    with_port = colon and re.fullmatch(r"\d{1,5}", port, re.ASCII) and (":" not in host or host.endswith("]"))
    bracketed = host[:1] == "[" and host[-1:] == "]"
    _ip((host[1:-1] if bracketed else host) if with_port else text)
    if with_port and not int(port) < 2**16:
        raise ValueError(f"{port} is not a port")
    return text


def _strings(text: str) -> list[str]:
    if not text:
        return []
    # pflag's StringSlice reads one line of CSV, so that "a,b" may be quoted.
    try:
        return next(csv.reader([text], strict=True))
    except csv.Error as error:
        raise ValueError(f"{text!r} is not a list: {error}") from None


def _map(text: str, separator: str, kind: str) -> dict[str, Any]:
    result = {}
    for item in (part.strip() for part in text.split(",") if part):
        key, is_pair, value = item.partition(separator)
        if not is_pair:
            raise ValueError(f"{item!r} is not a pair; expected key{separator}value")
        result[key.strip()] = parse_text(kind, value.strip())
    return result


def parse_configuration(text: str) -> dict[str, str]:
    """Return the items of a flag whose keys may stand without a value: ``a,b=c``."""
    pairs = (item.partition("=") for item in text.split(",") if item)
    return {key.strip(): value.strip() for key, _, value in pairs}


def parse_pair(text: str, separator: str) -> dict[str, str]:
    """Return the one pair of a flag that is not split at commas, ``key=a,b``.

    Raises:
        ValueError: it is not a pair.
    """
    key, is_pair, value = text.partition(separator)
    if not is_pair:
        raise ValueError(f"{text!r} is not a pair; expected key{separator}value")
    return {key.strip(): value.strip()}


def _multimap(text: str) -> dict[str, list[str]]:
    result: dict[str, list[str]] = {}
    for item in (part for part in text.split(",") if part.strip()):
        key, is_pair, value = item.partition(":")
        if not is_pair:
            raise ValueError(f"{item!r} is not a pair; expected key:value")
        result.setdefault(key.strip(), []).append(value.strip())
    return result


def _taint(text: str) -> dict[str, str]:
    # parseTaint in pkg/util/taints: one colon, and at most one equals sign before it.
    pair, _, effect = text.partition(":")
    if effect not in TAINT_EFFECTS or not pair.partition("=")[0] or pair.count("=") > 1:
        raise ValueError(
            f"{text!r} is not a taint; expected key=value:effect with {', '.join(TAINT_EFFECTS)}"
        )
    key, _, value = pair.partition("=")
    return {"key": key, "value": value, "effect": effect} if value else {"key": key, "effect": effect}


def _pattern(text: str) -> dict[str, Any]:
    pattern, is_pair, verbosity = text.partition("=")
    if not is_pair:
        raise ValueError(f"{text!r} is not a pattern=N")
    return {"filePattern": pattern, "verbosity": _integer(verbosity, "uint32")}


def _reserved_memory(text: str) -> list[dict[str, Any]]:
    # --reserved-memory 0:memory=1Gi,hugepages-1Gi=2Gi;1:memory=1Gi (cmd/kubelet/app/options, 1.21+)
    result = []
    for item in (part for part in text.split(";") if part):
        node, _, limits = item.partition(":")
        if not re.fullmatch(r"[^=,:]+=[^=,:]+(,[^=,:]+=[^=,:]+)*", limits):
            raise ValueError(f"{item!r} is not a NUMA node with limits; expected 0:memory=1Gi")
        result.append({"numaNode": _integer(node, "int32"), "limits": _map(limits, "=", "quantity")})
    return result
