"""What a program of Kubernetes says at ``--help``, against the tables: its flags, what is deprecated, its defaults."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
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
# What a program says to a flag: see Help.hidden.
UNKNOWN, DEPRECATED = "unknown", "deprecated"
# How many defaults a usage says at least that a table has, too.
DEFAULTS = {"kubelet": 50, "kube-proxy": 15, "kube-scheduler": 8}


@dataclass(frozen=True)
class Help:
    """What a program says of its flags.

    Attributes:
        program: its name.
        release: such as ``1.37.2``.
        shown: what ``--help`` says, by flag.
        hidden: for each flag that the tables have and ``--help`` does not show, what the program says to it: "unknown",
            "deprecated" (it warns) or "" (it takes it); it reads its flags before it helps.
    """

    program: str
    release: str
    shown: dict[str, Shown]
    hidden: dict[str, str]

    @property
    def names(self) -> set[str]:
        """The flags that are shown, as pflag takes them."""
        return {name.replace("_", "-") for name in self.shown}

    @property
    def table(self) -> FlagTable:
        """The flags that the tables have."""
        component = find_component(self.program)
        table = (
            release_table(component.name, self.release)
            if component.config
            else flag_table(component.name, self.release)
        )
        assert table is not None
        return table


@cache
def ask(program: Path, release: str) -> Help:
    """Ask a program of a release."""
    said = _run(program)
    found = Help(program.name, release, usage_of(said.stdout or said.stderr), {})
    for name in sorted(set(found.table.flags) - found.names):
        words = _run(program, f"{name}={VALUES.get(found.table.flags[name].type, '1')}").stderr
        warns = f"Flag {name} has been deprecated" in words
        found.hidden[name] = UNKNOWN if "unknown flag" in words else DEPRECATED if warns else ""
    return found


def _run(program: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [program, *words, "--help"]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=not words)


def wrong_flags(said: Help) -> dict[str, str]:
    """The flags that the program takes and the table does not have, or the other way round, and why."""
    names, flags = said.names, said.table.flags
    assert len(names) > 40
    wrong = dict.fromkeys(names - set(flags) - {"--help"}, "the table does not have it")
    # MarkDeprecated and MarkHidden keep flags out of the usage.
    for name in set(flags) - names - LATER.get(f"{said.program}-{said.release}", set()):
        answer = said.hidden.get(name, "not asked: see usage_records.py")
        expected = UNKNOWN if name in WINDOWS else DEPRECATED if flags[name].deprecated else ""
        if answer != expected:
            wrong[name] = f"the program says {answer!r}, the table {expected!r}"
    return wrong


def wrong_deprecations(said: Help) -> set[str]:
    """The flags that are deprecated in the usage or in the table alone: the kubelet's says so, the others hide them."""
    flags = said.table.flags
    known = {name for name in said.shown if name in flags and flags[name].deprecated}
    return known ^ {name for name, flag in said.shown.items() if flag.deprecated}


def wrong_defaults(said: Help) -> dict[str, tuple[str, Any]]:
    """The flags of which usage and table say other defaults: both of them. Only of those with a field."""
    table = said.table
    assert isinstance(table, ReleaseTable), f"{said.program} has no config file: its table has no defaults"
    found = list(_defaults(said, table))
    assert len(found) >= DEFAULTS[said.program]
    return {
        name: (text, default)
        for name, text, default, flag in found
        if not same_value(flag.type, _read(text, flag), default)
    }


def _defaults(said: Help, table: ReleaseTable) -> Iterator[tuple[str, str, Any, Flag]]:
    """Name, default in the usage, that of the table, and the flag, of those for which both say one."""
    for name, shown in said.shown.items():
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
