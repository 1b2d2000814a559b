"""Make the release tables from facts gathered out of Kubernetes' own sources.

    python tools/make_tables.py FACTS_DIRECTORY

The facts are one row per flag and one file per release; the tables in lib/kubeharden/releases are the
same knowledge as histories (since, until), which is what a lookup needs and what a person can review.
Prose in the facts (``healthzBindAddress (port part)``) is turned into data here, in one place:
``PROXY_ROWS`` and ``SCHEDULER_FIELDS``. kube-apiserver.yaml is kept by hand.
"""

from __future__ import annotations

import copy
import re
import sys
from pathlib import Path
from typing import Any

import yaml

Row = dict[str, Any]

FIRST, LAST = (1, 10), (1, 36)

# Rows of the facts that describe a part of a field, or more than one field.
PROXY_ROWS: dict[str, Row] = {
    "--healthz-port": {"field": "healthzBindAddress", "part": "port", "stays": False},
    "--metrics-port": {"field": "metricsBindAddress", "part": "port", "stays": False},
    "--windows-service": {"field": "windowsRunAsService"},
    # "ip (ip:port with default port appended for healthz/metrics)" in the facts
    "--healthz-bind-address": {"type": "address"},
    "--metrics-bind-address": {"type": "address"},
    "--iptables-min-sync-period": {
        "defaults": [{"since": "1.10", "value": "0s"}, {"since": "1.19", "value": "1s"}]
    },
}
# Field of a scheduler flag by apiVersion: "*" is every version without a name of its own.
SCHEDULER_FIELDS: dict[str, Row] = {
    "--address": {"*": ["healthzBindAddress", "metricsBindAddress"], "part": "host"},
    "--port": {"*": ["healthzBindAddress", "metricsBindAddress"], "part": "port"},
    "--algorithm-provider": {"v1alpha1": ["algorithmSource.provider"]},
    "--policy-config-file": {"v1alpha1": ["algorithmSource.policy.file.path"]},
    "--policy-configmap": {"v1alpha1": ["algorithmSource.policy.configMap.name"]},
    "--policy-configmap-namespace": {"v1alpha1": ["algorithmSource.policy.configMap.namespace"]},
    "--scheduler-name": {"v1alpha1": ["schedulerName"], "*": ["profiles[0].schedulerName"]},
    "--hard-pod-affinity-symmetric-weight": {"v1alpha1": ["hardPodAffinitySymmetricWeight"]},
    "--failure-domains": {"v1alpha1": ["failureDomains"]},
    "--lock-object-namespace": {
        "v1alpha1": ["leaderElection.lockObjectNamespace"],
        "*": ["leaderElection.resourceNamespace"],
    },
    "--lock-object-name": {
        "v1alpha1": ["leaderElection.lockObjectName"],
        "*": ["leaderElection.resourceName"],
    },
}
# Defaults that changed, told as prose in the facts.
SCHEDULER_DEFAULTS = {
    "enableProfiling": [{"since": "1.18", "value": True}],
    # "by default if profiling is enabled", in the same SetDefaults; the usage of the 1.20.2 binary says true.
    "enableContentionProfiling": [{"since": "1.18", "value": True}],
}
# The scheduler's insecure server: its addresses stay fields up to v1beta2, and from 1.23 on name no port.
INSECURE_ADDRESSES = ("healthzBindAddress", "metricsBindAddress")
# Types inlined from k8s.io/apiserver in the 1.12 types, spelled out as every later release has them.
INLINED = {
    "LeaderElectionConfiguration": {
        "leaderElect": "bool",
        "leaseDuration": "duration",
        "renewDeadline": "duration",
        "retryPeriod": "duration",
        "resourceLock": "string",
    },
    # k8s.io/kube-scheduler/config/v1alpha1 SchedulerPolicySource: the facts name the object only.
    "SchedulerPolicySource": {
        "file": "object",
        "file.path": "string",
        "configMap": "object",
        "configMap.namespace": "string",
        "configMap.name": "string",
    },
    "DebuggingConfiguration": {"enableProfiling": "bool", "enableContentionProfiling": "bool"},
}
# The scheduler facts give these groups by name only; the types are pflag's registrations.
SCHEDULER_TYPES = {
    "--config": "string",
    "--feature-gates": "map(string,bool)",
    "--master": "string",
    "--write-config-to": "string",
    "--show-hidden-metrics-for-version": "string",
    "--v": "uint32",
    "--vmodule": "list({filePattern,verbosity})",
    "--log-flush-frequency": "duration",
    "--secure-port": "int32",
    "--http2-max-streams-per-connection": "int32",
    "--bind-address": "ip",
    "--permit-port-sharing": "bool",
    "--permit-address-sharing": "bool",
    "--experimental-logging-sanitization": "bool",
    "--authentication-token-webhook-cache-ttl": "duration",
    "--authorization-webhook-cache-authorized-ttl": "duration",
    "--authorization-webhook-cache-unauthorized-ttl": "duration",
    "--tls-cipher-suites": "list(string)",
    "--requestheader-allowed-names": "list(string)",
    "--requestheader-extra-headers-prefix": "list(string)",
    "--requestheader-group-headers": "list(string)",
    "--requestheader-username-headers": "list(string)",
    "--authorization-always-allow-paths": "list(string)",
    "--authentication-skip-lookup": "bool",
    "--authentication-tolerate-lookup-failure": "bool",
}
REQUEST_HEADER_FLAGS = [
    "--requestheader-allowed-names",
    "--requestheader-client-ca-file",
    "--requestheader-extra-headers-prefix",
    "--requestheader-group-headers",
    "--requestheader-username-headers",
]
# Fields whose type changed: time.Duration as a number, then metav1.Duration or a number
# (component-base/config/types.go; fields/kubelet-1.23 to 1.28 of the facts).
FIELD_TYPES = {
    "logging.flushFrequency": [
        {"since": "1.23", "type": "int64"},
        {"since": "1.28", "type": "duration or int64 nanoseconds"},
    ]
}
# What the facts' groups leave out: the usage of the 1.20.2 binary has them (k8s.io/apiserver
# pkg/server/options/{serving,authentication,authorization}.go; CHANGELOG-1.21 for --permit-address-sharing).
SCHEDULER_PLAIN_FLAGS: dict[str, Row] = {
    "--permit-port-sharing": {"since": "1.20"},
    "--permit-address-sharing": {"since": "1.21"},
    "--experimental-logging-sanitization": {"since": "1.20", "removed": "1.24"},
    "--authentication-token-webhook-cache-ttl": {"since": "1.12"},
    "--authorization-webhook-cache-authorized-ttl": {"since": "1.12"},
    "--authorization-webhook-cache-unauthorized-ttl": {"since": "1.12"},
}
# Types of what the facts name in groups only: klog's InitFlags, cAdvisor's flags, verflag, each as the usage of the
# 1.20.2 binary has it. The others of those groups are strings.
GLOBAL_TYPES = dict.fromkeys(
    [
        "--add-dir-header",
        "--alsologtostderr",
        "--docker-only",
        "--docker-tls",
        "--enable-load-reader",
        "--help",
        "--log-cadvisor-usage",
        "--logtostderr",
        "--one-output",
        "--skip-headers",
        "--skip-log-headers",
        "--storage-driver-secure",
        "--version",
    ],
    "bool",
) | {
    "--application-metrics-count-limit": "int32",
    "--global-housekeeping-interval": "duration",
    "--housekeeping-interval": "duration",
    "--log-file-max-size": "uint32",
    "--storage-driver-buffer-duration": "duration",
}
# cmd/kubelet/app/options/globalflags_linux.go, registerDeprecated; one flag of either group that it names.
CADVISOR_FLAGS = {"--docker-only", "--boot-id-file"}
CADVISOR_MESSAGE = (
    "This is a cadvisor flag that was mistakenly registered with the Kubelet. Due to legacy concerns, it will "
    "follow the standard CLI deprecation timeline before being removed."
)
# Registered for nothing but its warning (``_ = fs.Bool(…)``), so the facts have the warning alone:
# cmd/kubelet/app/options/container_runtime.go; the 1.20.2 binary accepts it.
KUBELET_EMPTY_FLAGS = {"--redirect-container-streaming": "bool"}
# Flags that have a field and keep working as flags, undeprecated, beside the file.
KUBELET_STAYS = {"--v", "--vmodule", "--log-flush-frequency"}
# options/deprecated.go took the place of server.go in 1.12, with the MarkDeprecated call as a comment ("hides the
# flag from the help. We don't want that"); the 1.20.2 binary has no warning for it.
SCHEDULER_UNDEPRECATED = {"--hard-pod-affinity-symmetric-weight": "1.12"}
# Flags whose effect beside --config the scheduler facts describe in prose (rules of that file).
# Applied outside the branch that reads the file (cmd/kube-scheduler/app/options/options.go ApplyTo).
SCHEDULER_BESIDE_CONFIG = [
    "--feature-gates",
    "--pod-max-in-unschedulable-pods-duration",
    "--show-hidden-metrics-for-version",
]
SCHEDULER_LOGGING = ["--logging-format", "--v", "--vmodule", "--log-flush-frequency"]
HEADER = "# Made by make_tables.py from Kubernetes' own sources (named below). Do not edit by hand.\n"


def _release_of(text: object) -> str | None:
    """Return the minor release named in a fact such as ``1.13 (first seen)``; None for "before 1.10"."""
    match = re.search(r"(\d+)\.(\d+)", str(text or ""))
    if not match or (int(match[1]), int(match[2])) <= FIRST:
        return None
    return f"{match[1]}.{match[2]}"


def _removed_in(text: object) -> str | None:
    """Like ``release_of``, but a release after the last one covered counts as "not removed"."""
    release = _release_of(text)
    if release and tuple(map(int, release.split("."))) > LAST:
        return None
    return release


def _tidy(row: Row) -> Row:
    """Without what is absent, so that the tables stay short."""
    return {key: value for key, value in row.items() if value not in (None, "", [], {})}


def _enum_of(values: list[str]) -> dict[str, str | None]:
    """Read ``['A', 'B (accepted from 1.15)']`` as ``{'A': None, 'B': '1.15'}``: value and since when."""
    return {value.split(" ")[0]: _release_of(value.partition(" ")[2]) for value in values}


def kubelet(facts: Path) -> Row:
    """Return the kubelet's table, from its flags and the history of its fields."""
    source = _load(facts / "kubelet-flags.yaml")
    flags: dict[str, Row] = {}
    for row in source["config_flags"]:
        flags[row["flag"]] = _tidy(
            {
                "type": row["type"],
                "field": row["config"],
                "since": _release_of(row["flag_since"]),
                "deprecated": row["deprecated_since"],
                "undeprecated": row.get("undeprecated_in"),
                "removed": _removed_in(row["removed_in"]),
                "enum": _enum_of(row["enum"]) if "enum" in row else None,
                "note": row.get("note"),
            }
        )
        if "default_without_config_file" in row:
            flags[row["flag"]]["legacy_default"] = row["default_without_config_file"]
        if row["flag"] in KUBELET_STAYS:
            flags[row["flag"]]["stays"] = True
    for row in source["plain_flags"]:
        kind = KUBELET_EMPTY_FLAGS.get(row["flag"], row["type"])
        if kind == "markdeprecated-only":
            continue  # a leftover MarkDeprecated call: no such flag is registered
        flags[row["flag"]] = _plain_flag({**row, "type": kind})
    for group in source["global_flags"]:
        flags |= {name: _global_flag(name, group) for name in group["flags"]}
    versions = _load(facts / "component-config-versions.yaml")["kubelet"]
    return {
        "component": "kubelet",
        "kind": versions["kind"],
        "apiVersions": _api_versions(versions["versions"]),
        "decoding": [
            {"since": "1.10", "mode": "silent"},
            {"since": "1.17", "mode": "lenient"},
        ],
        "flags_beside_config": "win",
        "rules": source["rules"],
        "sources": source["sources"],
        "flags": dict(sorted(flags.items())),
        "fields": {"*": _kubelet_fields(facts)},
    }


def _plain_flag(row: Row) -> Row:
    return _tidy(
        {
            "type": row["type"],
            "since": _release_of(row["flag_since"]),
            "deprecated": row["deprecated_since"] and (_release_of(row["deprecated_since"]) or "1.10"),
            "undeprecated": row.get("undeprecated_in"),
            "message": row.get("deprecation_message"),
            "removed": _removed_in(row["removed_in"]),
            "note": row.get("note"),
        }
    )


def _global_flag(name: str, group: Row) -> Row:
    return _tidy(
        {
            "type": GLOBAL_TYPES.get(name, "string"),
            "deprecated": group.get("deprecated_since")
            and (_release_of(group["deprecated_since"]) or "1.10"),
            "message": CADVISOR_MESSAGE if CADVISOR_FLAGS & set(group["flags"]) else None,
            "removed": _removed_in(group.get("removed_in")),
            "note": group.get("note"),
        }
    )


def _logging_flags(facts: Path) -> dict[str, Row]:
    """Return the flags of glog and klog: k8s.io/component-base/logs registers the same in every component."""
    groups = _load(facts / "kubelet-flags.yaml")["global_flags"]
    [group] = [group for group in groups if "--logtostderr" in group["flags"]]
    flags = {name: {**_global_flag(name, group), "stays": True} for name in group["flags"]}
    return flags | {name: {"type": "bool", "stays": True} for name in ("--help", "--version")}


def _kubelet_fields(facts: Path) -> dict[str, Row]:
    fields: dict[str, Row] = {}
    for row in _load(facts / "kubelet-field-history.yaml"):
        since = _release_of(row["firstRelease"])
        if "[]" in row["path"] or (since and tuple(map(int, since.split("."))) > LAST):
            continue  # an item's fields are part of its list
        history = row.get("defaultHistory") or [{"since": "1.10", "default": row.get("default")}]
        fields[row["path"]] = _tidy(
            {
                **(
                    {"types": FIELD_TYPES[row["path"]]}
                    if row["path"] in FIELD_TYPES
                    else {"type": row["type"].replace("v1.Taint{key,value,effect,timeAdded}", "taint")}
                ),
                "since": since,
                "last": None if "newest seen" in row["lastRelease"] else row["lastRelease"],
                "defaults": [
                    {"since": step["since"], "value": step["default"]}
                    for step in history
                    if step["default"] is not None
                ],
            }
        )
    return fields


def kube_proxy(facts: Path) -> Row:
    """kube-proxy's table. All versions of its fields are one group: kubeproxy v1alpha1."""
    source = _load(facts / "kube-proxy-flags.yaml")
    flags: dict[str, Row] = {}
    fields: dict[str, Row] = {}
    for row in source["flags"]:
        name, special = row["flag"], PROXY_ROWS.get(row["flag"], {})
        field = special.get("field", row["config"])
        flags[name] = _tidy(
            {
                "type": special.get("type", row["type"].partition(" (")[0]),
                "field": field,
                "part": special.get("part"),
                "since": _release_of(row["flag_since"]),
                "deprecated": row.get("marked_deprecated_since")
                and (_release_of(row["marked_deprecated_since"]) or "1.10"),
                "message": row.get("deprecation_message"),
                "removed": _removed_in(row["removed_in"]),
                "stays": row["flag"] in {"--v", "--vmodule", "--log-flush-frequency", "--logging-format"}
                or None,
                "note": row.get("note"),
            }
        )
        if field and not special.get("part"):
            defaults = special.get("defaults") or [{"since": "1.10", "value": row.get("default")}]
            fields[field] = _tidy(
                {
                    "type": special.get("type", row["type"].partition(" (")[0]),
                    "since": _release_of(row.get("field_since")),
                    "removed": row.get("field_removed_in"),
                    "defaults": [step for step in defaults if step["value"] is not None],
                }
            )
    for row in source["config_only_fields"]:
        fields[row["field"]] = _tidy(
            {
                "type": row["type"],
                "since": _release_of(row["first"]),
                "last": None if row["last"] == "1.37" else row["last"],
            }
        )
    flags = _logging_flags(facts) | flags
    versions = _load(facts / "component-config-versions.yaml")["kube_proxy"]
    return {
        "component": "kube-proxy",
        "kind": versions["kind"],
        "apiVersions": _api_versions(versions["versions"]),
        "decoding": [{"since": "1.10", "mode": "silent"}, {"since": "1.17", "mode": "lenient"}],
        "flags_beside_config": "ignored",
        "rules": source["rules"],
        "sources": source["sources"],
        "flags": dict(sorted(flags.items())),
        "fields": {"*": _with_parents(fields)},
    }


def kube_scheduler(facts: Path) -> Row:
    """kube-scheduler's table; its fields differ by apiVersion."""
    source = _load(facts / "kube-scheduler-flags.yaml")
    flags: dict[str, Row] = {}
    for row in source["flags"]:
        for name in row["flag"].split("/"):
            flag = name if name.startswith("--") else f"--{name}"
            flags[flag] = _scheduler_flag(flag, row)
    for group in source["plain_flag_groups"]:
        names = [name for name in group["flags"] if name != "--requestheader-*"]
        if "--requestheader-*" in group["flags"]:
            names += REQUEST_HEADER_FLAGS
        for name in names:
            flags[name] = _tidy(
                {
                    "type": SCHEDULER_TYPES.get(name, "string"),
                    "since": "1.12",
                    "stays": True,
                    "note": group["note"],
                }
            )
    for name, row in SCHEDULER_PLAIN_FLAGS.items():
        flags[name] = {"type": SCHEDULER_TYPES[name], **row, "stays": True, "note": "stay flags"}
    versions = _load(facts / "component-config-versions.yaml")["kube_scheduler"]
    fields = _scheduler_fields(facts, flags)
    for row in flags.values():
        row.pop("default", None)  # it is the field's by now
    flags = _logging_flags(facts) | flags
    return {
        "component": "kube-scheduler",
        "kind": versions["kind"],
        "apiVersions": _api_versions(versions["versions"]),
        "decoding": [
            {"since": "1.10", "mode": "silent"},
            {"since": "1.17", "mode": "lenient"},
            {"since": "1.19", "mode": "strict"},
        ],
        "flags_beside_config": "ignored",
        "rules": source["rules"],
        "sources": source["sources"],
        "flags": dict(sorted(flags.items())),
        "fields": fields,
    }


def _scheduler_flag(name: str, row: Row) -> Row:
    special = SCHEDULER_FIELDS.get(name)
    by_version = {key: value for key, value in special.items() if key != "part"} if special else None
    if special is None and row["config"]:
        by_version = {"*": [row["config"]]}
    return _tidy(
        {
            "type": SCHEDULER_TYPES.get(name) or str(row.get("type", "string")).replace("enum", "string"),
            "fields": by_version,
            "part": special.get("part") if special else None,
            # The row of the logging flags gives the release of --logging-format only; klog's are older.
            "since": _release_of(row["since"])
            if name not in {"--v", "--vmodule", "--log-flush-frequency"}
            else None,
            "deprecated": _scheduler_deprecation(row.get("deprecated")),
            "undeprecated": SCHEDULER_UNDEPRECATED.get(name),
            "removed": _removed_in(row.get("removed_in")),
            "default": _plain_default(row),
            "stays": name in {*SCHEDULER_LOGGING, *SCHEDULER_BESIDE_CONFIG} or None,
            "note": row.get("note"),
        }
    )


def _scheduler_deprecation(text: str | None) -> str | None:
    """Since when the scheduler says so when it starts; a usage text alone makes no warning."""
    return None if text is None or "text" in text else _release_of(text) or "1.10"


def _plain_default(row: Row) -> Any:
    """Return a flag's default, unless the facts tell a story about it instead."""
    kinds: dict[str, type | tuple[type, ...]] = {
        "bool": bool,
        "int32": int,
        "ip": str,
        "string": str,
        "duration": str,
        "float": (int, float),
    }
    default = row.get("default")
    return default if isinstance(default, kinds.get(row.get("type", ""), ())) else None


def _scheduler_fields(facts: Path, flags: dict[str, Row]) -> dict[str, dict[str, Row]]:
    """Return the fields of every apiVersion. Their defaults are those of the flags that they replace."""
    defaults = {
        path: flag["default"]
        for flag in flags.values()
        if "default" in flag and "part" not in flag
        for paths in flag.get("fields", {}).values()
        for path in paths
    }
    # The insecure port, until it went in 1.23: v1alpha1 to v1beta2 of the defaults.go of those releases.
    defaults |= dict.fromkeys(INSECURE_ADDRESSES, "0.0.0.0:10251")
    snapshots = _load(facts / "fields" / "kube-scheduler-fields.yaml")
    result: dict[str, dict[str, Row]] = {}
    for snapshot in snapshots:
        if tuple(map(int, snapshot["release"].split("."))) > LAST:
            continue
        fields = result.setdefault(snapshot["apiVersion"], {})
        for path, kind in _spelled_out(snapshot["fields"]).items():
            row = _tidy({"type": kind, "since": _release_of(snapshot["release"])})
            if path in SCHEDULER_DEFAULTS:
                row["defaults"] = copy.deepcopy(SCHEDULER_DEFAULTS[path])
            elif path in defaults:
                row["defaults"] = [{"since": "1.10", "value": defaults[path]}]
            if path in INSECURE_ADDRESSES and snapshot["apiVersion"].endswith("/v1beta2"):
                row["defaults"] += [{"since": "1.23", "value": ""}]
            fields.setdefault(path, row)
    return result


def _spelled_out(fields: list[str]) -> dict[str, str]:
    result: dict[str, str] = {}
    for field in fields:
        path, _, kind = field.partition(": ")
        if path.endswith("<inline>"):
            for name, inner in INLINED[kind.rpartition(".")[2]].items():
                result[path.removesuffix("<inline>") + name] = inner
        elif "[]" not in path:  # an item's fields are part of its list
            result[path] = kind.rstrip("*")
            if path == "algorithmSource.policy":
                result |= {
                    f"{path}.{name}": inner for name, inner in INLINED["SchedulerPolicySource"].items()
                }
    return result


def _with_parents(fields: dict[str, Row]) -> dict[str, Row]:
    """Return the fields with the objects that hold them, in order of their names."""
    result = dict(fields)
    for path in fields:
        parent = path.rpartition(".")[0]
        if parent:
            result.setdefault(parent, {"type": "object"})
    return dict(sorted(result.items()))


def _api_versions(rows: list[Row]) -> list[Row]:
    versions = [
        _tidy(
            {
                "apiVersion": row["apiVersion"],
                "since": _release_of(row["first"]),
                "last": None if "current" in str(row["last"]) else _release_of(row["last"]) or "1.10",
            }
        )
        for row in rows
    ]
    # Versions that ended before the first release covered are of no use to anybody here.
    return [v for row, v in zip(rows, versions, strict=True) if not re.match(r"1\.[0-9]\b", str(row["last"]))]


def _load(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def main(facts: Path, target: Path) -> None:
    """Write kubelet.yaml, kube-proxy.yaml and kube-scheduler.yaml into ``target``."""
    for make in (kubelet, kube_proxy, kube_scheduler):
        table = make(facts)
        text = yaml.safe_dump(table, sort_keys=False, width=100, allow_unicode=True)
        (target / f"{table['component']}.yaml").write_text(HEADER + text, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(__file__).parents[1] / "lib/kubeharden/releases")
