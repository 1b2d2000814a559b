"""Rules for changes by an upgrade that no table of flags and fields can express: see ``upgrades.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any

from kubeharden.releases.files import Row, read
from kubeharden.releases.release import Release, ReleaseName


class UpgradeRule(Row):
    """One rule, with the conditions under which it concerns a node; all that are given must hold."""

    component: str
    release: ReleaseName | None = None
    since: ReleaseName | None = None
    setting: str
    effect: str
    why: str
    todo: str
    source: str
    fields: Mapping[str, Any] = {}
    unless: Mapping[str, Any] = {}
    flags: Mapping[str, list[str | None]] = {}
    given: tuple[str, ...] = ()
    unless_flags: tuple[str, ...] = ()
    items: Mapping[str, str] = {}
    unsaid: tuple[str, ...] = ()
    ports: tuple[str, ...] = ()
    beyond: Mapping[str, tuple[float | str | None, float | str | None]] = {}
    doubled: tuple[str, ...] = ()
    not_previous: tuple[str, ...] = ()
    cgroup: str = ""


def upgrade_rules(component: str, release: Release) -> tuple[UpgradeRule, ...]:
    """Return the rules that begin with ``release``, and those of every release that hold in it."""
    return tuple(rule for rule in _all() if rule.component == component and _holds_in(rule, release))


def _holds_in(rule: UpgradeRule, release: Release) -> bool:
    return rule.release == release if rule.release else rule.since is None or rule.since <= release


@cache
def _all() -> tuple[UpgradeRule, ...]:
    return tuple(UpgradeRule(**row.pop("when"), **row) for row in read("upgrades"))
