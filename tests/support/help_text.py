"""What a program of Kubernetes says at ``--help``, against the tables: its flags, what is deprecated, its defaults."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from kubeharden.components.values import parse_text, same_value
from kubeharden.releases import Flag, FlagTable, ReleaseTable, find_component, flag_table, release_table
from usage_text import Shown, usage_of

# Registered in programs for Windows alone (cmd/kubelet/app/options, cmd/kube-proxy/app: build tags).
WINDOWS = {"--windows-priorityclass", "--windows-service", "--enable-dsr", "--network-name", "--source-vip"}
WINDOWS |= {"--forward-healthcheck-vip", "--root-hnsendpoint-name"}
# Flags that came with a later patch release than the one that was built.
LATER = {"kube-apiserver-1.20.2": {"--lease-reuse-duration-seconds"}}
# What a flag of a type takes; 1 is a value of most.
VALUES = {
    "duration": "1s",
    "list(string)": "10.0.0.0/8",
    "ip": "10.0.0.1",
    "map(string,bool)": "AllAlpha=false",
    "map(string,string)": "a=b",
}
# How many defaults a usage says at least that a table has, too.
DEFAULTS = {"kubelet": 50, "kube-proxy": 15, "kube-scheduler": 8}


@cache
def usage(program: Path) -> dict[str, Shown]:
    """What ``--help`` says, by flag."""
    done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=60, check=True)
    return usage_of(done.stdout or done.stderr)


def table_of(program: Path, release: str) -> FlagTable:
    """The flags that the tables have of a program."""
    component = find_component(program.name)
    table = (
        release_table(component.name, release) if component.config else flag_table(component.name, release)
    )
    assert table is not None
    return table


def _says(program: Path, word: str) -> str:
    """What a program says to a flag that its usage may not show: it reads the flags before it helps."""
    done = subprocess.run([program, word, "--help"], capture_output=True, text=True, timeout=60, check=False)
    return done.stderr


def wrong_flags(program: Path, release: str) -> dict[str, str]:
    """The flags that the program takes and the table does not have, or the other way round, and why."""
    shown, table = usage(program), table_of(program, release)
    assert len(shown) > 50
    names = {name.replace("_", "-") for name in shown}  # as pflag takes them
    wrong = dict.fromkeys(names - set(table.flags) - {"--help"}, "the table does not have it")
    # MarkDeprecated and MarkHidden keep flags out of the usage.
    for name in set(table.flags) - names - LATER.get(f"{program.name}-{release}", set()):
        said = _says(program, f"{name}={VALUES.get(table.flags[name].type, '1')}")
        is_unknown, warns = "unknown flag" in said, f"Flag {name} has been deprecated" in said
        if is_unknown != (name in WINDOWS):
            wrong[name] = "it is unknown" if is_unknown else "it is not of Windows only"
        elif warns != bool(table.flags[name].deprecated):
            wrong[name] = f"it {'warns' if warns else 'does not warn'}: {said[:100]}"
    return wrong


def wrong_deprecations(program: Path, release: str) -> set[str]:
    """The flags that are deprecated in the usage or in the table alone: the kubelet's says so, the others hide them."""
    shown, table = usage(program), table_of(program, release)
    known = {name for name in shown if name in table.flags and table.flags[name].deprecated}
    return known ^ {name for name, flag in shown.items() if flag.deprecated}


def wrong_defaults(program: Path, release: str) -> dict[str, tuple[str, Any]]:
    """The flags of which usage and table say other defaults: both of them. Only of those with a field."""
    table = table_of(program, release)
    assert isinstance(table, ReleaseTable), f"{program.name} has no config file: its table has no defaults"
    found = list(_defaults(program, table))
    assert len(found) >= DEFAULTS[program.name]
    return {
        name: (text, default)
        for name, text, default, flag in found
        if not same_value(flag.type, _read(text, flag), default)
    }


def _defaults(program: Path, table: ReleaseTable) -> Iterator[tuple[str, str, Any, Flag]]:
    """Name, default in the usage, that of the table, and the flag, of those for which both say one."""
    for name, shown in usage(program).items():
        flag = table.flags.get(name)
        known = table.field(flag.field) if flag is not None and flag.field else None
        if flag is None or shown.default is None or known is None:
            continue
        default = flag.legacy_default if flag.legacy_default is not None else known.default
        if default is None:
            continue
        if flag.part:
            host, _, number = str(default).rpartition(":")
            default = int(number) if flag.part == "port" else host
        yield name, shown.default, default, flag


def _read(text: str, flag: Flag) -> Any:
    """Read a default as pflag prints it: strings in quotes, lists in brackets, each in its flag's notation."""
    text = text.strip('"')
    if flag.type.startswith("list("):
        text = text.strip("[]")
    return parse_text(flag.type, text, "<" if flag.name == "--eviction-hard" else "=")
