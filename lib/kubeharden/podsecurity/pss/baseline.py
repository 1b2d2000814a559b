"""The rules of the baseline level: known ways out of a container.

Source of every rule: the file of its name in kubernetes/pod-security-admission v0.36, ``policy/check_<check>.go``.
Two of them were changed without a new policy version, so that what they say now holds for v1.0 as well: the
AppArmor field, and image volumes at the restricted level.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from kubeharden.kube.names import APPARMOR_CONTAINER, SECCOMP_CONTAINER, SECCOMP_POD
from kubeharden.podsecurity.pss.pod import Pod


class Fault(NamedTuple):
    """One field that a rule does not allow: see ``Violation``."""

    field: str
    found: str
    allowed: str
    change: str


Rule = Callable[[Pod], Iterable[Fault]]

CAPABILITIES = (
    "AUDIT_WRITE",
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "FSETID",
    "KILL",
    "MKNOD",
    "NET_BIND_SERVICE",
    "SETFCAP",
    "SETGID",
    "SETPCAP",
    "SETUID",
    "SYS_CHROOT",
)
SELINUX_TYPES = ("container_t", "container_init_t", "container_kvm_t")
SELINUX_TYPES_1_31 = (*SELINUX_TYPES, "container_engine_t")
SYSCTLS = (
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
)
SYSCTLS_1_27 = (*SYSCTLS, "net.ipv4.ip_local_reserved_ports")
SYSCTLS_1_29 = (
    *SYSCTLS_1_27,
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
)
SYSCTLS_1_32 = (*SYSCTLS_1_29, "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem")
SYSCTLS_1_37 = (*SYSCTLS_1_32, "net.ipv4.tcp_slow_start_after_idle", "net.ipv4.tcp_notsent_lowat")
PROFILE_TYPES = ("RuntimeDefault", "Localhost")

_HANDLERS = (
    ("livenessProbe",),
    ("readinessProbe",),
    ("startupProbe",),
    ("lifecycle", "postStart"),
    ("lifecycle", "preStop"),
)
_UNSET = "false or unset"


def host_namespaces(pod: Pod) -> Iterator[Fault]:
    """Check that the pod does not share the node's network, processes or IPC."""
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.spec.flag(key):
            yield Fault(f"spec.{key}", "true", _UNSET, f"remove {key} from the pod's spec")


def privileged(pod: Pod) -> Iterator[Fault]:
    """Check that no container is privileged."""
    for container in pod.containers:
        if container.security.flag("privileged"):
            change = f"remove securityContext.privileged in {container.label}"
            yield Fault(f"{container.security.path}.privileged", "true", _UNSET, change)


def capabilities(pod: Pod) -> Iterator[Fault]:
    """Check that only capabilities of the container runtimes' default set are added, and NET_RAW is not."""
    return added_capabilities(pod, CAPABILITIES)


def added_capabilities(pod: Pod, allowed: tuple[str, ...]) -> Iterator[Fault]:
    """Check that only these capabilities are added."""
    for container in pod.containers:
        holder = container.security.child("capabilities")
        if holder is None:
            continue
        extra = sorted({name for name in holder.texts("add") if name not in allowed})
        if extra:
            names = ", ".join(name or '""' for name in extra)
            change = f"remove {names} from securityContext.capabilities.add in {container.label}"
            yield Fault(f"{holder.path}.add", names, f"only {', '.join(allowed)}", change)


def host_path_volumes(pod: Pod) -> Iterator[Fault]:
    """Check that no volume is a path of the node."""
    for volume in pod.spec.children("volumes"):
        source = volume.child("hostPath")
        if source is not None:
            change = f"replace the hostPath of volume {volume.text('name')} by another kind of volume"
            yield Fault(source.path, source.text("path") or "set", "unset", change)


def host_ports(pod: Pod) -> Iterator[Fault]:
    """Check that no container takes a port of the node."""
    for container in pod.containers:
        for port in container.fields.children("ports"):
            number = port.number("hostPort")
            if number:
                change = f"remove hostPort {number} in {container.label}"
                yield Fault(f"{port.path}.hostPort", str(number), "0 or unset", change)


def host_probes(pod: Pod) -> Iterator[Fault]:
    """Check that probes and lifecycle handlers ask the pod itself, and no other host, on the kubelet's behalf."""
    for container in pod.containers:
        for keys in _HANDLERS:
            handler = container.fields.descend(*keys)
            for action in (handler.child("httpGet"), handler.child("tcpSocket")) if handler else ():
                host = action.text("host") if action else None
                if action and host:
                    where = action.path.removeprefix(f"{container.fields.path}.")
                    change = f"remove {where}.host in {container.label}"
                    yield Fault(f"{action.path}.host", host, "unset", change)


def app_armor(pod: Pod) -> Iterator[Fault]:
    """Check that AppArmor profiles are the runtime's or the node's, by field and by annotation."""
    yield from _profiles(pod, "appArmorProfile")
    for key in pod.annotations.values:
        if isinstance(key, str) and key.startswith(APPARMOR_CONTAINER):
            value = pod.annotations.text(key)
            if value and value != "runtime/default" and not value.startswith("localhost/"):
                yield _annotation(key, value, "runtime/default, localhost/*, empty or unset")


def seccomp_annotations(pod: Pod) -> Iterator[Fault]:
    """Check that seccomp profiles are the runtime's or the node's, by annotation."""
    names = (container.fields.text("name") or "" for container in pod.containers)
    for key in dict.fromkeys((SECCOMP_POD, *(SECCOMP_CONTAINER + name for name in names))):
        value = pod.annotations.text(key)
        if value is None or value in ("runtime/default", "docker/default") or value.startswith("localhost/"):
            continue
        yield _annotation(key, value, "runtime/default, docker/default, localhost/* or unset")


def seccomp(pod: Pod) -> Iterator[Fault]:
    """Check that seccomp profiles are the runtime's or the node's."""
    return _profiles(pod, "seccompProfile")


def _profiles(pod: Pod, key: str) -> Iterator[Fault]:
    for label, security in pod.contexts():
        profile = security.child(key)
        if profile is None:
            continue
        kind = profile.text("type") or ""
        if kind not in PROFILE_TYPES:
            change = f"set securityContext.{key}.type: RuntimeDefault in {label}"
            yield Fault(
                f"{profile.path}.type", kind or '""', "RuntimeDefault, Localhost or no profile", change
            )


def _annotation(key: str, value: str, allowed: str) -> Fault:
    return Fault(
        f"metadata.annotations[{key}]", value or '""', allowed, f"remove the annotation {key} from the pod"
    )


def selinux(types: tuple[str, ...]) -> Rule:
    """Return the rule that allows these SELinux types, and no user or role of its own."""
    allowed = {"type": types, "user": (), "role": ()}

    def rule(pod: Pod) -> Iterator[Fault]:
        for label, security in pod.contexts():
            options = security.child("seLinuxOptions")
            if options is None:
                continue
            for key, values in allowed.items():
                value = options.text(key)
                if value and value not in values:
                    change = f"remove securityContext.seLinuxOptions.{key} in {label}"
                    yield Fault(f"{options.path}.{key}", value, ", ".join((*values, "unset")), change)

    return rule


def proc_mount(pod: Pod) -> Iterator[Fault]:
    """Check that /proc is masked as the runtime does by default."""
    for container in pod.containers:
        value = container.security.text("procMount")
        if value not in (None, "Default"):
            change = f"remove securityContext.procMount in {container.label}"
            yield Fault(f"{container.security.path}.procMount", value or '""', "Default or unset", change)


def sysctls(safe: tuple[str, ...]) -> Rule:
    """Return the rule that allows these sysctls."""

    def rule(pod: Pod) -> Iterator[Fault]:
        for sysctl in pod.security.children("sysctls"):
            name = sysctl.text("name") or ""
            if name not in safe:
                change = f"remove the sysctl {name} from the pod's securityContext"
                yield Fault(f"{sysctl.path}.name", name or '""', f"only {', '.join(safe)}", change)

    return rule


def windows_host_process(pod: Pod) -> Iterator[Fault]:
    """Check that no container runs as a process of a Windows node."""
    for label, security in pod.contexts():
        options = security.child("windowsOptions")
        if options is not None and options.flag("hostProcess"):
            change = f"remove securityContext.windowsOptions.hostProcess in {label}"
            yield Fault(f"{options.path}.hostProcess", "true", _UNSET, change)


def unless_user_namespace(rule: Rule) -> Rule:
    """Return the rule for all pods but those in a user namespace (``hostUsers: false``)."""
    return lambda pod: () if pod.in_user_namespace else rule(pod)
