"""The start of kubelet, kube-proxy and kube-scheduler (see ``behaviour``)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Sequence
from typing import Any

from kubeharden.components.effective import effective_config
from kubeharden.releases import Release, feature
from kubeharden_rehearsal.behaviour import (
    CommandLine,
    RefusedError,
    Started,
    Surroundings,
    read_command_line,
    read_config,
    read_or_refuse,
    refusal,
    unreadable,
)

Refuse = Callable[[str], RefusedError]

_PROXY_WARNING = (
    "WARNING: all flags other than --config, --write-config-to, and --cleanup are deprecated. "
    "Please begin using a config file ASAP."
)
_SCHEDULER_WARNING = (
    "WARNING: all flags other than --config are deprecated. Please begin using a config file ASAP."
)
_CONFIG_ONLY = "message: flags other than --config are deprecated"
_LISTEN_ERROR_FATAL = feature("kube-scheduler stops where it cannot listen")
_ANY = ("0.0.0.0", "::", "[::]", "")  # noqa: S104 - compared, not bound
SCHEDULER_PORT = 10251


def start_kubelet(argv: Sequence[str], around: Surroundings) -> Started:
    """Start a kubelet, or raise a RefusedError."""
    line = read_command_line("kubelet", argv, around)
    refuse = refusal("kubelet", around, line.lines)
    config = effective_config(line.table, line.uses, read_config(line, around, refuse))
    log = around.log.line
    line.lines.append(log("I", "server.go:182", f"Version: {around.version}"))
    failed = _kubelet_failure(line, around, config)
    if failed:
        raise refuse(f"failed to run Kubelet: {failed}")
    line.lines += [
        log("I", "server.go:129", f"Starting to listen on {config['address']}:{config['port']}"),
        log("I", "kubelet.go:1393", "Starting kubelet main sync loop."),
        log("I", "kubelet_node_status.go:82", f"Successfully registered node {around.node}"),
    ]
    return Started(line.lines, {**config, **_allow_privileged(line)}, seconds=0.15)


def _allow_privileged(line: CommandLine) -> dict[str, Any]:
    # Not a field of the file; kept beside the configuration for the pods' sake, and not shown.
    given = line.value("--allow-privileged")
    default = feature("kubelet runs privileged pods by default").in_release(line.table.release)
    return {"_allowPrivileged": given.lower() in ("1", "t", "true") if given else default}


def _kubelet_failure(line: CommandLine, around: Surroundings, config: dict[str, Any]) -> str:
    ca_file = config.get("authentication", {}).get("x509", {}).get("clientCAFile")
    if ca_file:
        problem = unreadable(around, ca_file)
        if problem:
            return f"unable to load client CA file {ca_file}: {problem}"
    kubeconfig, bootstrap = line.value("--kubeconfig"), line.value("--bootstrap-kubeconfig")
    if kubeconfig and unreadable(around, kubeconfig):
        if not bootstrap:
            return f"invalid kubeconfig: stat {kubeconfig}: no such file or directory"
        if unreadable(around, bootstrap):
            return f"unable to load bootstrap kubeconfig: stat {bootstrap}: no such file or directory"
    driver, theirs = config.get("cgroupDriver"), around.cgroup_driver
    remote = line.value("--container-runtime") == "remote"
    if feature("dockershim").in_release(around.release) and not remote and driver != theirs:
        return (
            f'failed to create kubelet: misconfiguration: kubelet cgroup driver: "{driver}" '
            f'is different from docker cgroup driver: "{theirs}"'
        )
    return ""


def _begin(
    component: str, argv: Sequence[str], around: Surroundings, source: str, warning: str
) -> tuple[CommandLine, dict[str, Any], Refuse]:
    """Read command line and file, and warn of flags beside a file."""
    line = read_command_line(component, argv, around)
    refuse = refusal(component, around, line.lines)
    if not line.value("--config") and feature(f"{_CONFIG_ONLY} ({component})").in_release(around.release):
        line.lines.append(around.log.line("W", source, warning))
    return line, effective_config(line.table, line.uses, read_config(line, around, refuse)), refuse


def start_proxy(argv: Sequence[str], around: Surroundings) -> Started:
    """Start a kube-proxy, or raise a RefusedError."""
    line, config, refuse = _begin("kube-proxy", argv, around, "server.go:191", _PROXY_WARNING)
    _check_proxy(config, refuse)
    _check_client(config, around, refuse)
    mode = config.get("mode") or "iptables"
    line.lines += [
        around.log.line("I", "server_others.go:140", f"Using {mode} Proxier."),
        around.log.line("I", "server.go:444", f"Version: {around.version}"),
        around.log.line("I", "config.go:202", "Starting service config controller"),
    ]
    return Started(line.lines, config)


def _check_proxy(config: dict[str, Any], refuse: Refuse) -> None:
    # pkg/proxy/apis/config/validation/validation.go
    where = "KubeProxyConfiguration"
    address, cidr = str(config.get("bindAddress", "")), str(config.get("clusterCIDR") or "")
    try:
        ipaddress.ip_address(address.strip("[]"))
    except ValueError:
        words = f'{where}.BindAddress: Invalid value: "{address}": not a valid textual representation'
        raise refuse(f"{words} of an IP address") from None
    try:
        for block in filter(None, cidr.split(",")):
            ipaddress.ip_network(block, strict=False)
    except ValueError:
        words = f'{where}.ClusterCIDR: Invalid value: "{cidr}": must be a valid CIDR block'
        raise refuse(f"{words} (e.g. 10.100.0.0/16)") from None


def _check_client(config: dict[str, Any], around: Surroundings, refuse: Refuse) -> None:
    path = config.get("clientConnection", {}).get("kubeconfig")
    if not path:
        raise refuse("invalid configuration: no configuration has been provided")
    read_or_refuse(around, path, lambda words: refuse(words.replace("open", "stat", 1)))


def start_scheduler(argv: Sequence[str], around: Surroundings) -> Started:
    """Start a kube-scheduler, or raise a RefusedError."""
    line, config, refuse = _begin("kube-scheduler", argv, around, "server.go:158", _SCHEDULER_WARNING)
    _settle_addresses(line, around, config, refuse)
    _check_client(config, around, refuse)
    for flag in ("--authentication-kubeconfig", "--authorization-kubeconfig", "--client-ca-file"):
        if line.value(flag):
            read_or_refuse(around, line.value(flag), refuse)
    line.lines.append(around.log.line("I", "server.go:120", f"Version: {around.version}"))
    return Started(line.lines, config)


def _settle_addresses(
    line: CommandLine, around: Surroundings, config: dict[str, Any], refuse: Refuse
) -> None:
    """Settle the two addresses of insecure serving: see the facts in the releases' table.

    Source: pkg/apis/componentconfig/v1alpha1/defaults.go (1.10), options.go and insecure_serving.go
    (1.13-1.22).
    """
    keys = ("healthzBindAddress", "metricsBindAddress")
    if not feature("kube-scheduler insecure port").in_release(around.release):
        return  # the newest apiVersion has no such fields any more
    for key in keys:
        config[key] = _with_port(str(config.get(key) or ""), around.release)
    health, metrics = (config[key].rpartition(":") for key in keys)
    collides = health != metrics and health[2] == metrics[2] != "0"
    if not collides or (health[0] not in _ANY and metrics[0] not in _ANY):
        return
    words = (
        f"failed to listen on {config[keys[1]]}: listen tcp {config[keys[1]]}: bind: address already in use"
    )
    if _LISTEN_ERROR_FATAL.in_release(around.release):
        raise refuse(words.replace(f"listen tcp {config[keys[1]]}: bind: ", ""))
    line.lines.append(around.log.line("E", "server.go:606", f"failed to start metrics server: {words}"))


def _with_port(address: str, release: Release) -> str:
    if address.rpartition(":")[2].isdigit() and ":" in address:
        return address
    if _LISTEN_ERROR_FATAL.in_release(release) and address:
        return f"{address}:{SCHEDULER_PORT}"
    return f"0.0.0.0:{SCHEDULER_PORT}"
