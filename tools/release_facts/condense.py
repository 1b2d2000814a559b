"""Turn what an experiment found into the facts about a release, in the words of the tables.

What an experiment cannot see is taken from the facts about the release before: the values that an enumeration allows,
types that are finer than Go's, and whether a flag without a field keeps its effect beside a config file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

Row = dict[str, Any]

# pflag's names of types, and Go's, as the tables have them. Others are their own name.
TYPES = {
    "stringSlice": "list(string)",
    "stringArray": "list(string)",
    "int32Slice": "list(int32)",
    "mapStringString": "map(string,string)",
    "mapStringBool": "map(string,bool)",
    "mapStringSliceBool": "map(string,bool)",
    "stringToString": "list(string)",  # an item may hold commas; it is passed on as it is
    "colonSeparatedMultimapStringString": "map(string,list(string))",
    "quantityvalue": "quantity",
    "[]v1.Taint": "list(taint)",
    "ipport": "address",
    "version": "bool",
    "Level": "uint32",
    "pattern=N,...": "list({filePattern,verbosity})",
    "reserved-memory": "list(object)",
    "ProxyMode": "enum(string)",
    "LocalMode": "enum(string)",
}
# Flags that an experiment on Linux does not see: those of Windows, and the kubelet's --help, which its command adds.
UNSEEN = {
    "--enable-dsr",
    "--forward-healthcheck-vip",
    "--help",
    "--network-name",
    "--root-hnsendpoint-name",
    "--source-vip",
    "--windows-priorityclass",
    "--windows-service",
}
# Defaults that an experiment does not tell from an unset field, where a field holds the value itself.
ZEROS = ("", 0, False, "0s")
NO_QUANTITY = "0"
# Flags whose effect the component joins with the file's by itself, after its config is made: the kubelet runs with
# seccompDefault where the flag or the file says so.
JOINED = {"--seccomp-default"}
# A flag that sets other fields, too: its value says where others are written.
ONE_FIELD = {"--proxy-mode": "mode"}


def condense(found: Mapping[str, Any], before: Mapping[str, Any], standard: str) -> Row:
    """Return the facts about one component.

    Args:
        found: what the experiment printed.
        before: the facts about it in the release before.
        standard: what it says of every flag that has a field; a flag's ``deprecated: true`` stands for that.
    """
    facts: Row = {}
    if "configs" in found:
        facts = {
            "kind": found["kind"],
            "decoding": found["unknown"],
            "flags_beside_config": before["flags_beside_config"],
        }
    rows = before.get("flags", {})
    flags = {
        name: _flag(name, flag, rows.get(name), found, standard) for name, flag in found["flags"].items()
    }
    unseen = {name: row for name, row in rows.items() if name in UNSEEN and name not in flags}
    facts["flags"] = dict(sorted({**unseen, **flags}.items()))
    if "configs" in found:
        versions = before["apiVersions"]
        facts["apiVersions"] = {
            name: _fields(fields, versions.get(name) or next(reversed(versions.values())))
            for name, fields in sorted(found["configs"].items(), key=lambda item: _age(item[0]))
        }
    facts["gates"] = {name: gate_row(row) for name, row in sorted((found.get("gates") or {}).items())}
    if "plugins" in found:
        facts["plugins"] = {name: {"default": on} for name, on in sorted(found["plugins"].items())}
    return {key: value for key, value in facts.items() if value}


def _flag(name: str, flag: Row, before: Row | None, found: Mapping[str, Any], standard: str) -> Row:
    old = before or {}
    row: Row = {"type": old.get("type") or TYPES.get(flag["type"], flag["type"])}
    if "configs" in found:
        row |= _sets(name, flag, old)
        if with_ := _with(name, flag):
            row["with"] = with_
    if flag.get("deprecated"):
        row["deprecated"] = flag["deprecated"] == standard or flag["deprecated"]
    if _stays(flag, before, row, found):
        row["stays"] = True
    if "field" in row and (legacy := _legacy(row["field"], found)) is not None:
        row["legacy_default"] = legacy
    if "enum" in old:
        row["enum"] = old["enum"]
    return row


def _sets(name: str, flag: Row, old: Row) -> Row:
    """Return the fields that a flag sets: ``field`` if they are the same in each apiVersion, or else ``fields``."""
    kept: Row = {key: old[key] for key in ("field", "fields", "part") if key in old}
    gives_way = not flag.get("sets") and old.get("part")  # a port flag, to the port that its address has
    if not flag.get("tried") or gives_way or name in JOINED:
        return kept
    sets = flag.get("sets") or {}
    by_version = {version.rpartition("/")[2]: _paths(name, values) for version, values in sets.items()}
    row: Row = {}
    if by_version and len({tuple(paths) for paths in by_version.values()}) == 1:
        [paths, *_] = by_version.values()
        row["field"] = paths[0] if len(paths) == 1 else paths
    elif by_version:
        row["fields"] = by_version
    if row and "part" in old:
        row["part"] = old["part"]
    return row


def _with(name: str, flag: Row) -> Row:
    """Return what a flag sets beside others, by those and their values; empty where it then sets nothing."""
    if name in ONE_FIELD:
        return {}
    result: Row = {}
    for other, sets in (flag.get("with") or {}).items():
        mode, _, text = other.partition("=")
        paths = sorted({path for values in (sets or {}).values() for path in _paths(name, values)})
        result.setdefault(mode, {})[text] = paths
    return result


def _paths(name: str, values: Iterable[str]) -> list[str]:
    return [ONE_FIELD[name]] if name in ONE_FIELD else sorted(values)


def _stays(flag: Row, before: Row | None, row: Row, found: Mapping[str, Any]) -> bool:
    if before is not None:
        return bool(before.get("stays"))
    if "configs" not in found or found["component"] == "kubelet":
        return False
    return not ("field" in row or "fields" in row) or bool(flag.get("beside"))


def _legacy(field: Any, found: Mapping[str, Any]) -> Any:
    """Return the value without a config file, where it is another one than with an empty file."""
    for version, values in (found.get("withoutFile") or {}).items():
        if field in values:
            kind = found["configs"][version][field]["type"]
            return {} if values[field] is None and kind.startswith("map") else values[field]
    return None


def _fields(fields: Mapping[str, Row], before: Mapping[str, Row]) -> Row:
    rows = {}
    for path in _in_order(sorted(fields, key=lambda path: int(fields[path]["place"])), before):
        field, old = fields[path], before.get(path, {})
        row = {"type": old.get("type") or TYPES.get(field["type"], field["type"])}
        default = field.get("default") if field.get("default") != NO_QUANTITY else None
        # The default of the scheduler's profiles is a page of plugins, which nothing here judges.
        if default is not None and row["type"] != "list(object)":
            known = old.get("default")
            row["default"] = (
                {
                    key: default[key]
                    for key in _in_order(list(default), known if isinstance(known, dict) else {})
                }
                if isinstance(default, dict)
                else default
            )
        elif old.get("default") in ZEROS:
            row["default"] = old["default"]
        rows[path] = row
    return rows


def _in_order(names: Sequence[str], before: Iterable[str]) -> list[str]:
    """Keep the order of the release before, so that files are written alike; a new name follows its predecessor."""
    order = [name for name in before if name in names]
    for index, name in enumerate(names):
        if name not in order:
            order.insert(order.index(names[index - 1]) + 1 if index else 0, name)
    return order


def gate_row(row: Row) -> Row:
    """Return what a table says of a feature gate."""
    keys = {"default": row["default"], "stage": row.get("stage"), "locked": row.get("locked")}
    return {key: value for key, value in keys.items() if value is not None}


def _age(version: str) -> tuple[int, ...]:
    """Order v1alpha1, v1beta2 and v1 as Kubernetes does: oldest first."""
    name = version.rpartition("/")[2]
    number, _, rest = name.removeprefix("v").partition("alpha")
    if rest:
        return (int(number), 0, int(rest))
    number, _, rest = number.partition("beta")
    return (int(number), 1, int(rest)) if rest else (int(number), 2, 0)
