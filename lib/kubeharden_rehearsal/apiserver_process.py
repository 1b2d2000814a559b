"""The start of kube-apiserver: its admission plugins, and the files that it must be able to read.

Its flags are not checked by name.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from kubeharden.components.admission_plugins import CONFIG_FILE, DISABLE, ENABLE, OLD, flag_value, list_values
from kubeharden.releases import Release, admission_plugins, flag_table
from kubeharden_rehearsal.behaviour import RefusedError, Started, Surroundings, read_or_refuse, refusal
from kubeharden_rehearsal.pod_security_plugin import read_configuration

# Flags that name a file which is read at start-up (kube-apiserver's reference, 1.10 to 1.24).
_FILE_FLAGS = (
    "client-ca-file tls-cert-file tls-private-key-file service-account-key-file service-account-signing-key-file "
    "kubelet-certificate-authority kubelet-client-certificate kubelet-client-key etcd-cafile etcd-certfile "
    "etcd-keyfile requestheader-client-ca-file proxy-client-cert-file proxy-client-key-file token-auth-file "
    "basic-auth-file audit-policy-file admission-control-config-file encryption-provider-config "
    "experimental-encryption-provider-config"
)
# What AdmissionOptions.Validate says (k8s.io/apiserver, pkg/server/options/admission.go, 1.10 and 1.20).
_EXCLUSIVE = (
    "admission-control and enable-admission-plugins/disable-admission-plugins flags are mutually exclusive"
)
_OVERLAP = "[{}] in enable-admission-plugins and disable-admission-plugins overlapped"


def start_apiserver(argv: Sequence[str], around: Surroundings) -> Started:
    """Start a kube-apiserver, or raise a RefusedError; its ``config`` is that of ``configuration``."""
    known = flag_table("kube-apiserver", around.release)
    flag = known.flag(OLD) if known else None
    uses = [word for word in argv if word.partition("=")[0] == OLD]
    lines = [f"Flag {OLD} has been deprecated, {flag.deprecated}" for _ in uses if flag]
    refuse = refusal("kube-apiserver", around, lines)
    errors = _plugin_errors(argv, around.release)
    if errors:
        # k8s.io/apimachinery's Aggregate has brackets around more than one error only.
        raise refuse(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    for name in _FILE_FLAGS.split():
        for path in list_values(argv, f"--{name}") or ():
            read_or_refuse(around, path, refuse)
    config = configuration(argv, around.release, lambda path: read_or_refuse(around, path, refuse), refuse)
    if "etcd.service" not in around.running:
        servers = flag_value(argv, "--etcd-servers") or "http://127.0.0.1:2379"
        raise refuse(f"problem initializing API group: unable to reach etcd at {servers}: connection refused")
    plugins, log = config["plugins"], around.log.line
    lines += [
        log("I", "server.go:135", f"Version: {around.version}"),
        log("I", "plugins.go:158", f"Loaded {len(plugins)} admission controller(s): {','.join(plugins)}."),
        log("I", "serve.go:96", f"Serving securely on 0.0.0.0:{config['securePort']}"),
    ]
    return Started(lines, config, seconds=0.2)


def configuration(
    argv: Sequence[str],
    release: Release,
    read: Callable[[str], bytes],
    refuse: Callable[[str], RefusedError],
) -> dict[str, Any]:
    """Return what a command line makes of an API server, as far as a rehearsal has it.

    Returns:
        ``plugins``, the names of the admission plugins that are on; ``podSecurity``, the configuration of that plugin;
        ``allowPrivileged``; ``securePort``; ``anonymous``, whether it answers requests without a credential.

    Raises:
        RefusedError: the release does not take the plugins' configuration.
    """
    path = flag_value(argv, CONFIG_FILE)
    return {
        "plugins": plugins_on(argv, release),
        "podSecurity": read_configuration(read(path), release, refuse) if path else {},
        "allowPrivileged": flag_value(argv, "--allow-privileged") not in (None, "false"),
        "securePort": int(flag_value(argv, "--secure-port") or "6443"),
        "anonymous": flag_value(argv, "--anonymous-auth") != "false",
    }


def plugins_on(argv: Sequence[str], release: Release) -> list[str]:
    """Return the names of the admission plugins that are on (computePluginNames, k8s.io/apiserver)."""
    if (exact := list_values(argv, OLD)) is not None:
        return sorted(set(exact))
    on = {*admission_plugins(release).default_on, *(list_values(argv, ENABLE) or ())}
    return sorted(on - {*(list_values(argv, DISABLE) or ())})


def _plugin_errors(argv: Sequence[str], release: Release) -> list[str]:
    """Return the errors that AdmissionOptions.Validate of that release finds."""
    given = {flag: list_values(argv, flag) for flag in (OLD, ENABLE, DISABLE)}
    is_mixed = given[OLD] is not None and (given[ENABLE], given[DISABLE]) != (None, None)
    errors = [_EXCLUSIVE] if is_mixed else []
    known = admission_plugins(release).known
    for flag, names in given.items():
        errors += [f'{flag[2:]} plugin "{name}" is unknown' for name in names or () if name not in known]
    both = sorted({*(given[ENABLE] or ())} & {*(given[DISABLE] or ())})
    return [*errors, _OVERLAP.format(" ".join(both))] if both else errors
