"""The configuration that a component runs with: its flags, its file and its release's defaults together."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from kubeharden.components import paths
from kubeharden.components.flags import FlagUse, value_of
from kubeharden.components.values import check_value, duration_ns, merge
from kubeharden.errors import UnitError
from kubeharden.releases import Flag, ReleaseTable, feature

# What a config file says about itself; /configz does not show it.
TYPE_META = ("kind", "apiVersion")
_PORT = re.compile(r"\d{1,5}", re.ASCII)


class FieldValueError(UnitError):
    """A value in a config file does not have the type of its field; ``field`` is its path."""

    def __init__(self, field: str, why: str) -> None:
        super().__init__(f"{field}: {why}")
        self.field = field


def from_flags(table: ReleaseTable, flags: Sequence[FlagUse]) -> dict[str, Any]:
    """Return the flags that have a config field, as a nested dict of those fields.

    Raises:
        FlagValueError: a value does not have its flag's type.
    """
    config: dict[str, Any] = {}
    addresses: dict[str, dict[str | None, Any]] = {}
    for use in flags:
        flag = table.flag(use.name)
        if flag is None or not flag.fields or flag.stays:
            continue
        value = value_of(use, flag)
        if says_nothing(table, flag, value):
            continue
        for path in flag.fields:
            if path in table.rules.addresses:
                addresses.setdefault(path, {})[flag.part] = value
                paths.put(config, path, address(table, path, addresses[path]))
            else:
                paths.put(config, path, merge(flag.type, paths.get(config, path), value))
    return config


def says_nothing(table: ReleaseTable, flag: Flag, value: Any) -> bool:
    """Return whether a flag is empty and changes nothing: an address (see ``values``), or the default holds then."""
    known = table.field(flag.fields[0])
    has_default = known is not None and known.default is not None
    by_rule = has_default and flag.fields[0] in table.rules.unset_when_empty
    return value == "" and (flag.type in ("ip", "address") or by_rule)


def address(table: ReleaseTable, path: str, values: Mapping[str | None, Any]) -> str:
    """``host:port`` out of what flags gave of it.

    Args:
        given: the values of flags by ``Flag.part``: ``host``, ``port``, None for the whole.
    """
    default_port = table.rules.addresses[path]
    default = str(paths.get(defaults(table), path) or f"0.0.0.0:{default_port}")
    port_flag = values.get("port")
    if table.rules.ports_give_way(table.release) and port_flag != 0:
        return "{}:{}".format(*split_address(str(values.get(None, default)), port_flag or default_port))
    host, port = split_address(str(values.get(None, default)), default_port)
    host = bracket(str(values.get("host", host)))
    return f"{host}:{port if port_flag is None else port_flag}"


def split_address(text: str, default_port: int) -> tuple[str, int]:
    """``10.0.0.1:80``, ``10.0.0.1``, ``[::1]:80`` or ``::1`` as host (bracketed if IPv6) and port."""
    host, colon, port = text.rpartition(":")
    if colon and _PORT.fullmatch(port) and (":" not in host or host.endswith("]")):
        return host, int(port)
    return bracket(text), default_port


def bracket(host: str) -> str:
    """Return an IPv6 address in brackets, anything else as it is."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def defaults(table: ReleaseTable) -> dict[str, Any]:
    """Return the defaults of a config file's fields, nested."""
    result: dict[str, Any] = {}
    for path, field in table.fields.items():
        if field.default is not None and field.type != "object":
            paths.put(result, path, copy.deepcopy(field.default))
    return result


def legacy_defaults(table: ReleaseTable) -> dict[str, Any]:
    """Return the defaults that hold only while no config file is used, by path.

    Source: applyLegacyDefaults in cmd/kubelet/app/options/options.go, 1.10-1.36.
    """
    return {
        flag.fields[0]: flag.legacy_default
        for flag in table.flags.values()
        if flag.legacy_default is not None and flag.fields
    }


def effective_config(
    table: ReleaseTable, flags: Sequence[FlagUse], config: Mapping[str, Any] | None
) -> dict[str, Any]:
    """Return what the component runs with, nested as ``/configz`` shows it.

    Args:
        flags: the command line.
        config: the content of the file that ``--config`` names; None without one.

    Raises:
        FlagValueError: a value does not have its flag's type.
        FieldValueError: a value in the file does not have its field's type.
    """
    for path, why in misfits(table, config or {}):
        raise FieldValueError(path, why)
    table = table.with_flags({use.name: use.value for use in flags})
    result = defaults(table)
    if config is None:
        for path, value in legacy_defaults(table).items():
            paths.put(result, path, value)
    else:
        for path, value in paths.leaves(config, table.fields):
            if path not in TYPE_META and counts(table, path, value):
                paths.put(result, path, copy.deepcopy(value))
        _depend(table, result, config)
    if config is None or table.flags_beside_config_win:
        _lay_over(result, paths.leaves(from_flags(table, flags), table.fields))
    return result


def beside_flags(
    table: ReleaseTable, flags: Sequence[FlagUse], config: Mapping[str, Any]
) -> Mapping[str, Any]:
    """Return the content of a config file as it counts beside flags: where these win, their fields have their values.

    Raises:
        FlagValueError: a value does not have its flag's type.
    """
    if not table.flags_beside_config_win:
        return config
    table = table.with_flags({use.name: use.value for use in flags})
    result = copy.deepcopy(dict(config))
    settings = paths.leaves(from_flags(table, flags), table.fields)
    _lay_over(result, [(path, value) for path, value in settings if paths.has(config, path)])
    return result


def _lay_over(config: dict[str, Any], settings: Iterable[tuple[str, Any]]) -> None:
    for path, value in settings:
        gates = path == "featureGates"  # each by itself
        paths.put(config, path, {**(paths.get(config, path) or {}), **value} if gates else value)


# Defaults that hold only while another field is unset; when that stands in the file, they are the same as it:
# nodeStatusReportFrequency (pkg/kubelet/apis/config/v1beta1/defaults.go, 1.13-1.36); the scheduler's
# enableContentionProfiling, "by default if profiling is enabled" (pkg/scheduler/apis/config/*/defaults.go, 1.18-1.36;
# checked with 1.20.2: --profiling=false as a flag leaves it true).
DEPENDENT_DEFAULTS = {
    "nodeStatusReportFrequency": "nodeStatusUpdateFrequency",
    "enableContentionProfiling": "enableProfiling",
}


def _depend(table: ReleaseTable, result: dict[str, Any], config: Mapping[str, Any]) -> None:
    for path, other in DEPENDENT_DEFAULTS.items():
        follows = counts(table, other, paths.get(config, other)) and not counts(
            table, path, paths.get(config, path)
        )
        known = table.field(path)
        if known is not None and known.default is not None and follows:
            paths.put(result, path, paths.get(config, other))


def misfits(table: ReleaseTable, config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield path and reason of every value in a config file that does not have the type of its field."""
    for path, value in paths.leaves(config, table.fields):
        known = table.field(path)
        try:
            if known is not None:
                check_value(known.type, value)
        except ValueError as error:
            yield path, str(error)


def decode(table: ReleaseTable, config: Mapping[str, Any]) -> list[str]:
    """Return the paths in a config file that the release does not know, in their order."""
    return [
        path
        for path, _ in paths.leaves(config, table.fields)
        if path not in TYPE_META and path not in table.fields
    ]


def caseless(table: ReleaseTable, path: str) -> str:
    """Return the field that some patch levels of the release take an unknown path for; empty without one."""
    if not feature("fields in any case").in_release(table.release):
        return ""
    return next((known for known in table.fields if known.lower() == path.lower()), "")


# Plain ints that SetDefaults tests with "== 0": an explicit 0 in the file counts as unset
# (pkg/kubelet/apis/config/v1beta1/defaults.go; pointers such as registryPullQPS take an explicit 0).
# So does RecommendedDefaultClientConnectionConfiguration for kube-proxy and kube-scheduler, and
# SetDefaults_KubeSchedulerConfiguration (checked with 1.20.2 to 1.37.2).
ZERO_IS_UNSET = {
    *("port", "registryBurst", "eventBurst", "maxPods", "maxOpenFiles", "kubeAPIBurst"),
    *("clientConnection.qps", "clientConnection.burst"),
}
# Durations that are pointers, so that an explicit 0 counts (conntrack: "0 to leave as-is"):
# pkg/proxy/apis/config/v1alpha1 and pkg/kubelet/apis/config/v1beta1 types.go; checked with kube-proxy 1.20.2.
ZERO_DURATION_COUNTS = {
    "conntrack.tcpEstablishedTimeout",
    "conntrack.tcpCloseWaitTimeout",
    "cpuCFSQuotaPeriod",
}


def counts(table: ReleaseTable, path: str, value: Any) -> bool:
    """Return whether a value in the file says anything: SetDefaults takes some zero values for "unset".

    A field that the release does not have, null, a duration of 0, an empty string and some plain numbers
    of 0 do not count where the field has a default.
    """
    field = table.field(path.partition("[")[0])
    if field is None or value is None:
        return False
    if field.default is None or "[" in path:
        return True
    if field.type == "duration":
        return path in ZERO_DURATION_COUNTS or duration_ns(str(value)) != 0
    if value == "":
        return path == "resolvConf" and feature("kubelet resolvConf may be empty").in_release(table.release)
    return not (path in ZERO_IS_UNSET and value == 0 and not isinstance(value, bool))
