"""Check a config file against its release before it is ever written.

Up to 1.16 a kubelet drops a misspelt key without a word, so hardening can fail to happen in silence.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from difflib import get_close_matches
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META, split_address
from kubeharden.components.values import TAINT_EFFECTS, check_value, duration_ns, quantity_sign
from kubeharden.releases import ConfigFile, Flag, Release, ReleaseTable, features_of, releases, upgrade_rules

# pkg/kubelet/eviction/api/types.go, 1.10-1.36, all releases together.
SIGNALS = {
    "memory.available",
    "allocatableMemory.available",
    "nodefs.available",
    "nodefs.inodesFree",
    "imagefs.available",
    "imagefs.inodesFree",
    "containerfs.available",
    "containerfs.inodesFree",
    "pid.available",
}
# cmd/kubelet/app/server.go, parseResourceList
RESERVABLE = {"cpu", "memory", "ephemeral-storage", "pid"}
# ValidateKubeletConfiguration, pkg/kubelet/apis/config/validation, 1.10-1.37, all releases together.
ENFORCEMENTS = {
    *("none", "pods", "system-reserved", "kube-reserved"),
    *("system-reserved-compressible", "kube-reserved-compressible"),
}
_PERCENTAGE = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)%", re.ASCII)
_WHOLE_PERCENTAGE = re.compile(r"\d+%", re.ASCII)


def problems(table: ReleaseTable, config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return path and reason of everything in ``config`` that the release would refuse, ignore or misread."""
    mistakes: list[tuple[str, str]] = []
    enums, closed = _enums(table), _closed_ports(table)
    for path, value in paths.leaves(config, table.fields):
        known = table.field(path)
        if path in TYPE_META:
            continue
        if known is None:
            mistakes.append((path, f"{table.kind} of {table.release} has no such field"))
            continue
        try:
            check_value(known.type, value)
            if value is not None and path in table.rules.checks:
                _CHECKS[table.rules.checks[path]](value)
            check_sense(table.rules, path, value, table.release)
            if path in table.rules.addresses and value:
                _check_address(value, may_be_off=path in closed)
        except ValueError as error:
            mistakes.append((path, str(error)))
        allowed = enums.get(path)
        if allowed and value not in (*allowed, "", None):
            mistakes.append((path, f"{value!r} is not one of {', '.join(allowed)}"))
    mistakes += _soft_without_grace(config)
    return mistakes + [(path, why) for path, why in closed.items() if names_port(config, path)]


def _check_address(text: str, *, may_be_off: bool) -> None:
    check_value("address", text)
    if not may_be_off and split_address(text, 1)[1] == 0:
        raise ValueError(f"{text!r} has the port 0, which is not one to listen on")


def check_sense(rules: ConfigFile, path: str, value: Any, release: Release | None = None) -> None:
    """Raise ValueError where a value of the right type is one that its component refuses.

    Args:
        release: that it is refused by; None: by every one.
    """
    if value is None:
        return
    if path in rules.ranges:
        least, most = rules.ranges[path]
        if (least is not None and value < least) or (most is not None and value > most):
            raise ValueError(
                f"{value} is out of range; expected {least} {f'to {most}' if most else 'or more'}"
            )
    if path in rules.items:
        known = features_of(rules.items[path])
        unknown = [
            text for text in value if text not in known or (release and not known[text].in_release(release))
        ]
        if unknown:
            whose = f"{release} does not know" if release else "no release knows"
            raise ValueError(f"{whose} {', '.join(unknown)}{_nearest(unknown[0], known)}")


def _nearest(text: str, known: Collection[str]) -> str:
    close = get_close_matches(text, known, 1)
    return f"; did you mean {close[0]}?" if close and close[0] != text else ""


def _closed_ports(table: ReleaseTable) -> dict[str, str]:
    """Return fields that may name no port but 0 any more, and why."""
    rules = [
        rule for release in releases(last=table.release) for rule in upgrade_rules(table.component, release)
    ]
    return {path: f"since {rule.release}, {rule.why}" for rule in rules for path in rule.ports}


def names_port(config: Mapping[str, Any], path: str) -> bool:
    """Return whether an address in the file has a port other than 0, its own or the default one."""
    text = paths.get(config, path)
    return bool(text) and split_address(str(text), 1)[1] != 0


def _soft_without_grace(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """See ParseThresholdConfig in pkg/kubelet/eviction/helpers.go: 0% and 100% mean that there is no threshold."""
    soft, grace = config.get("evictionSoft"), config.get("evictionSoftGracePeriod")
    if not isinstance(soft, Mapping) or not isinstance(grace or {}, Mapping):
        return []
    return [
        ("evictionSoft", f"{signal} has no grace period in evictionSoftGracePeriod")
        for signal, value in soft.items()
        if signal not in (grace or {}) and value not in ("0%", "100%")
    ]


def _share_or_quantity(name: str, value: str, at_least: int) -> None:
    """Check a percentage, or a quantity whose sign is ``at_least`` 0 or 1."""
    if value.endswith("%"):
        percentage = _PERCENTAGE.fullmatch(value)
        if not percentage or float(percentage[1]) > 100:  # noqa: PLR2004
            raise ValueError(f"{name}: {value!r} is not a percentage from 0% to 100%")
        return
    if quantity_sign(value) < at_least:
        raise ValueError(f"{name}: {value!r} must {'be more than 0' if at_least else 'not be negative'}")


def _thresholds(value: Mapping[str, str], at_least: int = 1) -> None:
    for signal, text in value.items():
        _one_of(signal, SIGNALS, "an eviction signal")
        _share_or_quantity(signal, text, at_least)


def _grace_periods(value: Mapping[str, str]) -> None:
    for signal, text in value.items():
        _one_of(signal, SIGNALS, "an eviction signal")
        if duration_ns(text) < 0:
            raise ValueError(f"{signal}: {text!r} must not be negative")


def _check_reserved(value: Mapping[str, str]) -> None:
    for resource, text in value.items():
        _one_of(resource, RESERVABLE, "a resource that can be reserved")
        if quantity_sign(text) < 0:
            raise ValueError(f"{resource}: {text!r} must not be negative")


def _enforcements(value: list[str]) -> None:
    for name in value:
        _one_of(name, ENFORCEMENTS, "an enforcement")
    if "none" in value and len(value) > 1:
        raise ValueError("none stands beside others; write none alone, or the others")


def _qos_reserved(value: Mapping[str, str]) -> None:
    """See ParseQOSReserved in pkg/kubelet/cm/container_manager.go: memory only, a whole percentage."""
    for resource, text in value.items():
        _one_of(resource, {"memory"}, "a resource that can be reserved for QoS")
        if not _WHOLE_PERCENTAGE.fullmatch(text) or int(text[:-1]) > 100:  # noqa: PLR2004
            raise ValueError(f"{resource}: {text!r} is not a whole percentage from 0% to 100%")


def _taints(value: list[Any]) -> None:
    for taint in value:
        _keys(taint, {"key", "value", "effect", "timeAdded"}, "taint")
        if not isinstance(taint.get("key"), str) or not taint["key"]:
            raise ValueError(f"the taint {taint!r} has no key")
        check_value("string", taint.get("value"))
        _one_of(taint.get("effect"), set(TAINT_EFFECTS), "an effect of a taint")


def _reserved_memory(value: list[Any]) -> None:
    """See validateReservedMemoryConfiguration in pkg/kubelet/apis/config/validation, 1.21-1.36."""
    nodes: set[tuple[int, str]] = set()
    for item in value:
        _keys(item, {"numaNode", "limits"}, "reservation")
        node, limits = item.get("numaNode", 0), item.get("limits") or {}
        check_value("int32", node)
        check_value("map(string,quantity)", limits)
        for kind, size in limits.items():
            if kind != "memory" and not kind.startswith("hugepages-"):
                raise ValueError(f"{kind!r} is not a type of memory; expected memory or hugepages-SIZE")
            if quantity_sign(str(size)) < 1:
                raise ValueError(f"{kind} of NUMA node {node}: {size!r} must be more than 0")
            if (node, kind) in nodes:
                raise ValueError(f"{kind} of NUMA node {node} is reserved twice")
            nodes.add((node, kind))


def _items(kinds: Mapping[str, str], name: str) -> Callable[[list[Any]], None]:
    def check(value: list[Any]) -> None:
        for item in value:
            _keys(item, set(kinds), name)
            for key, kind in kinds.items():
                check_value(kind, item.get(key))

    return check


def _keys(item: Any, allowed: set[str], name: str) -> None:
    if not isinstance(item, Mapping):
        raise ValueError(f"{item!r} is not a {name}")
    unknown = set(item) - allowed
    if unknown:
        raise ValueError(
            f"a {name} has no {', '.join(sorted(map(str, unknown)))}; it has {', '.join(sorted(allowed))}"
        )


def _one_of(value: Any, allowed: set[str], name: str) -> None:
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{value!r} is not {name}; expected one of {', '.join(sorted(allowed))}")


# By the names that components.yaml has for them.
_CHECKS: dict[str, Callable[[Any], None]] = {
    "enforcements": _enforcements,
    "thresholds": _thresholds,
    "reclaims": lambda value: _thresholds(value, at_least=0),
    "grace_periods": _grace_periods,
    "reserved": _check_reserved,
    "qos_reserved": _qos_reserved,
    "taints": _taints,
    "reserved_memory": _reserved_memory,
    "patterns": _items({"filePattern": "string", "verbosity": "uint32"}, "pattern"),
    "shutdown_grace_periods": _items(
        {"priority": "int32", "shutdownGracePeriodSeconds": "int64"}, "grace period"
    ),
}


def _enums(table: ReleaseTable) -> dict[str, tuple[str, ...]]:
    def of(flag: Flag) -> dict[str, tuple[str, ...]]:
        return dict.fromkeys(flag.fields, flag.enum) if flag.enum else {}

    return {path: enum for flag in table.flags.values() for path, enum in of(flag).items()}
