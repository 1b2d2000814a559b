"""Comparison of the configuration that a component reports with its config file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden.components import paths
from kubeharden.components.effective import TYPE_META, beside_flags, counts, misfits
from kubeharden.components.flags import split_flags
from kubeharden.components.programs import arguments
from kubeharden.components.values import same_value
from kubeharden.releases import ReleaseTable, find_component

# The name that the internal types of 1.10 and 1.11 have for a field (kubeproxyconfig/types.go and
# componentconfig/types.go there: ClientConnection.KubeConfigFile; "kubeconfig" is its JSON name).
INTERNAL_NAMES = {"clientconnection.kubeconfig": "clientconnection.kubeconfigfile"}

# With reservedSystemCPUs, the kubelet puts the number of those CPUs in the place of their cpu
# (cmd/kubelet/app/server.go, 1.17-1.36).
RESERVED = {"systemReserved", "kubeReserved"}
LISTS_OF_OBJECTS = ("list(object)", "list({")


def mismatches(
    table: ReleaseTable, config: Mapping[str, Any], configz: Mapping[str, Any], argv: Sequence[str] = ()
) -> list[tuple[str, Any, Any]]:
    """Return path, wanted and actual value of every field of ``config`` that is not in effect.

    A component that serves its file's own names leaves out what is empty, so an absent value is an empty one.
    The others serve their internal types: names such as ``BindAddress`` (compared without
    case), nothing left out, some fields under another name in some releases. What they do not name as the file
    does cannot be compared, and is passed over; so are lists of objects, which they fill with defaults.

    Args:
        config: the content of the config file.
        configz: the object inside what the component serves at ``/configz``.
        argv: the command line beside the file: a field that a flag overrules has the flag's value in effect.
    """
    if argv:
        config = beside_flags(table, split_flags(arguments(table.component, argv), table), config)
    row = find_component(table.component).configz
    internal = row is not None and row.has_internal_names(table.release)
    actual = _fold(configz)
    differences = []
    unreadable = dict(misfits(table, config))
    by_mode = table.rules.by_mode
    mode = paths.get(actual, by_mode.field.lower()) if by_mode is not None else None
    for path, wanted in paths.leaves(config, table.fields):
        if path in TYPE_META or (path not in unreadable and not counts(table, path, wanted)):
            continue
        if table.rules.is_unread(path, mode, table.release):
            continue  # another field says it in this mode
        name = _name_in(actual, path.lower())
        if internal and (name is None or table.fields[path].type.startswith(LISTS_OF_OBJECTS)):
            continue
        got = paths.get(actual, name or path.lower())
        by_name = path in RESERVED and paths.get(config, "reservedSystemCPUs")
        if not _same(table, path, *(map(_without_cpu, (wanted, got)) if by_name else (wanted, got))):
            differences.append((path, wanted, got))
    return differences


def _without_cpu(resources: Any) -> Any:
    if not isinstance(resources, Mapping):
        return resources
    return {key: value for key, value in resources.items() if key != "cpu"}


def same_field(path: str, served: str) -> bool:
    """Return whether a name that a component serves is that of a field: by case, or regrouped in a later release.

    kube-proxy 1.31 serves ``clusterCIDR`` as ``DetectLocal.ClusterCIDRs``.
    """
    one, other = path.lower(), served.lower()
    last = [name.rpartition(".")[2].rstrip("s") for name in (one, other)]
    return one == other or INTERNAL_NAMES.get(one) == other or last[0] == last[1]


def _name_in(actual: Mapping[str, Any], path: str) -> str | None:
    return next((name for name in (path, INTERNAL_NAMES.get(path)) if name and paths.has(actual, name)), None)


def _fold(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key).lower(): _fold(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_fold(item) for item in value]
    return value


def _same(table: ReleaseTable, path: str, wanted: Any, got: Any) -> bool:
    if not wanted and not got:
        return True
    known = table.field(path)
    if known is not None and known.type == "duration" and isinstance(got, str):
        return same_value("duration", wanted, got)
    return bool(_fold(wanted) == _fold(got))
