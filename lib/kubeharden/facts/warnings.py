"""Deprecation warnings as components write them, taken apart, so that equal ones can be shown once. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

# The header of a message by klog and glog: severity and date, time, process, file and line.
_KLOG_HEADER = re.compile(r"^[IWEF]\d{4} \d\d:\d\d:\d\d\.\d+ +\d+ \S+\] ")
_FLAG = re.compile(r"Flag (--\S+) (has been deprecated, .*)")  # pflag


def flag_and_message(line: str) -> tuple[str, str]:
    """Return the flag that a warning is about, if it names one as pflag does, and what it says."""
    match = _FLAG.match(line)
    return (match[1], match[2]) if match else ("", _KLOG_HEADER.sub("", line))


def group(warnings: Iterable[tuple[str, str, str]]) -> list[tuple[str, tuple[str, ...], list[str], str]]:
    """Return warnings with those that differ in their nodes and flags only as one.

    Args:
        warnings: service, node and line of each.

    Returns:
        Service, nodes, flags and message of each group.
    """
    nodes: dict[tuple[str, str, str], list[str]] = {}
    for service, node, line in warnings:
        flag, message = flag_and_message(line)
        nodes.setdefault((service, message, flag), []).append(node)
    flags: dict[tuple[str, tuple[str, ...], str], list[str]] = {}
    for (service, message, flag), names in nodes.items():
        flags.setdefault((service, tuple(dict.fromkeys(names)), message), []).append(flag)
    return [(service, names, found, message) for (service, names, message), found in flags.items()]


def node_words(names: Sequence[str], total: int) -> str:
    """Return the names of nodes, or ``all 3 nodes`` where there are no others."""
    different = dict.fromkeys(names)
    return f"all {total} nodes" if 1 < total == len(different) else ", ".join(different)
