"""The files that stay on a node between runs: the units of a transaction, and the script that they run. Pure."""

from __future__ import annotations

from kubeharden.releases import known_components

SCRIPT = "var/lib/kubeharden/transaction.sh"
FOLDER = "etc/systemd/system"

# Directives that systemd 219 (CentOS 7) has; StartLimitInterval= was not yet renamed then and 0 is without a limit.
# Type=forking: to start one of these is to wait until the change waits to be confirmed or is over: nobody has to ask.
# What watches the service then is a process that the first one leaves, with its lock.
_APPLY = f"""[Unit]
Description=kubeharden: carries out the change %i
OnFailure=kubeharden-revert@%i.service

[Service]
Type=forking
TimeoutStartSec=0
ExecStart=/bin/sh /{SCRIPT} work %i
"""
_REVERT = f"""[Unit]
Description=kubeharden: puts back the change %i

[Service]
Type=forking
TimeoutStartSec=0
ExecStart=/bin/sh /{SCRIPT} revert %i
Restart=on-failure
RestartSec=5s
StartLimitInterval=0
"""
_BOOT = f"""[Unit]
Description=kubeharden: after a reboot, has what nobody had confirmed put back
Before={{}}
RequiresMountsFor=/var/lib/kubeharden
ConditionPathExists=/{SCRIPT}

[Service]
Type=oneshot
TimeoutStartSec=60
ExecStart=/bin/sh /{SCRIPT} boot

[Install]
WantedBy=multi-user.target
"""


def node_files(script: str, unit: str = "") -> dict[str, str]:
    """Return what the units need on a node, by path without the first slash.

    What is open is put back before a unit starts: those of all components, and ``unit``, without ``.service``.
    """
    names = {component.name for component in known_components()} | ({unit} if unit else set())
    services = sorted(f"{name}.service" for name in names)
    units = {
        "kubeharden-apply@.service": _APPLY,
        "kubeharden-revert@.service": _REVERT,
        "kubeharden-boot.service": _BOOT.format(" ".join(services)),
    }
    return {SCRIPT: script, **{f"{FOLDER}/{name}": text for name, text in units.items()}}
