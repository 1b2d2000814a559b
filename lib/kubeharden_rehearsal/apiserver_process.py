"""The start of kube-apiserver: its admission plugins, and the files that it must be able to read.

Its flags are not checked by name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kubeharden.components.admission_plugins import CONFIG_FILE, DISABLE, ENABLE, OLD
from kubeharden.releases import Release, admission_plugins, flag_table
from kubeharden_rehearsal import pod_security_plugin
from kubeharden_rehearsal.behaviour import Started, Surroundings, read_or_refuse, refusal

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
_UNKNOWN = {
    OLD: 'admission-control plugin "{}" is unknown',
    ENABLE: 'enable-admission-plugins plugin "{}" is unknown',
    DISABLE: 'disable-admission-plugins plugin "{}" is unknown',
}
_OVERLAP = "[{}] in enable-admission-plugins and disable-admission-plugins overlapped"


def flag_values(argv: Sequence[str]) -> dict[str, list[str]]:
    """Return every flag of a command line with its values; a flag without one has ``true``."""
    values: dict[str, list[str]] = {}
    words = list(argv)
    while words:
        name, has_value, value = words.pop(0).partition("=")
        if not has_value:
            value = words.pop(0) if words and not words[0].startswith("--") else "true"
        values.setdefault("--" + name.lstrip("-").replace("_", "-"), []).append(value)
    return values


def start_apiserver(argv: Sequence[str], around: Surroundings) -> Started:
    """Start a kube-apiserver.

    Returns:
        A component whose ``config`` has ``plugins``, the names of the admission plugins that are on,
        ``podSecurity``, the configuration of that plugin, ``allowPrivileged``, ``securePort`` and ``anonymous``,
        whether it answers requests without a credential.

    Raises:
        RefusedError: it does not start.
    """
    flags = flag_values(argv)
    known = flag_table("kube-apiserver", around.release)
    flag = known.flag(OLD) if known else None
    lines = [f"Flag {OLD} has been deprecated, {flag.deprecated}" for _ in flags.get(OLD, ()) if flag]
    refuse = refusal("kube-apiserver", around, lines)
    errors = _plugin_errors(flags, around.release)
    if errors:
        # k8s.io/apimachinery's Aggregate has brackets around more than one error only.
        raise refuse(errors[0] if len(errors) == 1 else f"[{', '.join(errors)}]")
    for name in _FILE_FLAGS.split():
        for path in flags.get(f"--{name}", ()):
            read_or_refuse(around, path, refuse)
    pod_security_config: dict[str, Any] = {}
    for path in flags.get(CONFIG_FILE, ())[-1:]:
        text = read_or_refuse(around, path, refuse)
        pod_security_config = pod_security_plugin.read_configuration(text, around.release, refuse)
    if "etcd.service" not in around.running:
        servers = ",".join(flags.get("--etcd-servers", ["http://127.0.0.1:2379"]))
        raise refuse(f"problem initializing API group: unable to reach etcd at {servers}: connection refused")
    plugins = plugins_on(flags, around.release)
    port = flags.get("--secure-port", ["6443"])[-1]
    log = around.log.line
    lines += [
        log("I", "server.go:135", f"Version: {around.version}"),
        log("I", "plugins.go:158", f"Loaded {len(plugins)} admission controller(s): {','.join(plugins)}."),
        log("I", "serve.go:96", f"Serving securely on 0.0.0.0:{port}"),
    ]
    allow_privileged = flags.get("--allow-privileged", ["false"])[-1] == "true"
    config = {
        "plugins": plugins,
        "podSecurity": pod_security_config,
        "allowPrivileged": allow_privileged,
        "securePort": int(port),
        "anonymous": flags.get("--anonymous-auth", ["true"])[-1] != "false",
    }
    return Started(lines, config, seconds=0.2)


def plugins_on(flags: dict[str, list[str]], release: Release) -> list[str]:
    """Return the names of the admission plugins that are on (computePluginNames, k8s.io/apiserver)."""
    if OLD in flags:
        return sorted(set(_names(flags, OLD)))
    on = {*admission_plugins(release).default_on, *_names(flags, ENABLE)}
    return sorted(on - set(_names(flags, DISABLE)))


def _names(flags: dict[str, list[str]], name: str) -> list[str]:
    return [item for value in flags.get(name, ()) for item in value.split(",") if item]


def _plugin_errors(flags: dict[str, list[str]], release: Release) -> list[str]:
    """Return the errors that AdmissionOptions.Validate of that release finds."""
    errors = [_EXCLUSIVE] if OLD in flags and (ENABLE in flags or DISABLE in flags) else []
    known = admission_plugins(release).known
    for flag, words in _UNKNOWN.items():
        errors += [words.format(name) for name in _names(flags, flag) if name not in known]
    both = sorted({*_names(flags, ENABLE)} & {*_names(flags, DISABLE)})
    return [*errors, _OVERLAP.format(" ".join(both))] if both else errors
