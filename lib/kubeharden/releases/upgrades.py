"""Rules for changes by an upgrade that no table of flags and fields can express: see ``upgrades.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kubeharden.releases.files import Row, read
from kubeharden.releases.release import Release, ReleaseName


class UpgradeRule(Row):
    """One rule, with the conditions under which it concerns a node; all that are given must hold.

    Attributes:
        component: the component that it concerns.
        release: the first release in which it holds.
        setting: the flag or field that it is about.
        effect: ``stops``, ``changes`` or ``warns``.
        why: what changes.
        todo: what to do about it.
        source: where that is known from.
        fields: values of the effective configuration by path; ``any`` is every value.
        unless: values of the effective configuration by path; one that holds spares the node.
        flags: the values that concern the node, by flag; None is a flag that is not given.
        unless_flags: flags that spare the node.
        unsaid: fields that neither the config file nor the command line gives a value.
        ports: fields of the config file that name a port other than 0.
        cgroup: ``v1`` or ``v2``.
    """

    component: str
    release: ReleaseName
    setting: str
    effect: str
    why: str
    todo: str
    source: str
    fields: Mapping[str, Any] = {}
    unless: Mapping[str, Any] = {}
    flags: Mapping[str, list[str | None]] = {}
    unless_flags: tuple[str, ...] = ()
    unsaid: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    cgroup: str = ""


def upgrade_rules(component: str, release: Release) -> tuple[UpgradeRule, ...]:
    """Return the rules that begin with ``release``."""
    return tuple(rule for rule in _all() if (rule.component, rule.release) == (component, release))


@cache
def _all() -> tuple[UpgradeRule, ...]:
    return tuple(UpgradeRule(**row.pop("when"), **row) for row in read("upgrades"))
