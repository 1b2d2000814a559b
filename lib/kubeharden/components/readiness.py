"""Findings about a node whose component is to run a later release.

A command line and a config file are held against the table of every release between the one that runs and the
one that is wanted, one by one, so that each finding names the release in which it begins. What the tables
cannot say (cgroup v1, dockershim) is in ``releases/upgrades.yaml``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from kubeharden.components import paths
from kubeharden.components.admission_plugins import DISABLE, ENABLE, OLD, flag_value, list_values
from kubeharden.components.effective import caseless, decode, effective_config, from_flags
from kubeharden.components.flags import FlagUse, FlagValueError, split_flags, value_of
from kubeharden.components.gates import FLAG, from_flag, judge_gates, not_pairs, with_prefix
from kubeharden.components.programs import arguments
from kubeharden.components.validate import names_port, problems
from kubeharden.components.values import as_json, duration_ns, same_value
from kubeharden.errors import ParameterError, UnknownReleaseError
from kubeharden.releases import (
    LAST,
    Decoding,
    FlagTable,
    Release,
    ReleaseTable,
    UpgradeRule,
    admission_plugins,
    find_component,
    flag_table,
    release_table,
    releases,
    releases_with,
    upgrade_rules,
)

NO_PREFIX = "it takes no kube: before the name of a gate: unrecognized feature gate"


class Effect(Enum):
    """The effect of an upgrade on a component that stays configured as it is."""

    STOPS = "does not start"
    CHANGES = "behaves differently"
    MEANS_OTHER = "the same text means something else"
    WARNS = "warns"
    NOT_JUDGED = "was not judged"


@dataclass(frozen=True)
class Finding:
    """One thing that an upgrade meets.

    Attributes:
        component: the name of its service.
        release: the first release in which it is so.
        effect: what happens if nothing is done.
        setting: the flag or the path of the field; empty for the file as a whole.
        why: what changes, in a sentence.
        todo: what to do about it.
    """

    component: str
    release: Release
    effect: Effect
    setting: str
    why: str
    todo: str


def readiness(
    component: str,
    release: str | Release,
    target: str | Release,
    argv: Sequence[str],
    config: Mapping[str, Any] | None = None,
    *,
    cgroup: str = "",
) -> list[Finding]:
    """Return what a component meets on its way to a later release, in the order of the releases.

    Args:
        component: the name of its service; what of it is not judged, a finding says.
        release: what runs now.
        target: the release wanted; the same as ``release`` or later.
        argv: its command line, with or without the program's name.
        config: the content of the file that ``--config`` names, if it has one.
        cgroup: ``v1`` or ``v2``, the node's cgroup hierarchy; empty where it is not known.

    Raises:
        UnknownReleaseError: no table covers a release, or the target is older; or there is no such component.
        ParameterError: ``cgroup`` is something else.
        UnitError: the command line cannot be read.
    """
    running, wanted = Release.parse(release), Release.parse(target)
    if wanted < running:
        raise UnknownReleaseError(f"{wanted} is older than {running}: readiness looks at what is to come")
    if cgroup not in ("", "v1", "v2"):
        raise ParameterError(f"cgroup: {cgroup!r}; expected v1, v2 or nothing")
    row = find_component(component)
    words = arguments(component, argv)
    config = None if config is None else paths.with_text_keys(config)
    by_setting: dict[tuple[str, str], Finding] = {}
    # Nothing is known of releases beyond the tables, so that one step stands for all of them.
    steps = [step for step in releases(running, LAST)[1:] if step <= wanted]
    for step in [*steps, wanted] if wanted.is_newer_than_tables and wanted != running else steps:
        if row.config is not None:
            findings = _Step(component, step, words, config, cgroup).findings()
        else:
            findings = _flags_alone(component, words, step, row.serves_api)
        for finding in findings:
            # What stops a component once stops it in every later release too: said once, when it begins.
            by_setting.setdefault((finding.setting, finding.effect.value), _with_reservation(finding))
    for finding in _not_judged(component, wanted, words if steps else ()):
        by_setting.setdefault((finding.setting, finding.effect.value), finding)
    return sorted(by_setting.values(), key=lambda f: f.release)


def _with_reservation(finding: Finding) -> Finding:
    """Say of a verdict on a release that is newer than the tables what it rests on."""
    reservation = finding.release.reservation
    return replace(finding, why=f"{finding.why} ({reservation})") if reservation else finding


def _not_judged(component: str, release: Release, words: Sequence[str]) -> Iterator[Finding]:
    for flag in find_component(component).versioned_files:
        if flag_value(words, flag):
            why = "it names a file with an apiVersion of its own, which was not read"
            todo = f"look up whether {release} still reads that apiVersion"
            yield Finding(component, release, Effect.NOT_JUDGED, flag, why, todo)
    if release.reservation:
        why, todo = release.reservation, "read the release's notes, or install a newer kubeharden"
        yield Finding(component, release, Effect.NOT_JUDGED, "", why, todo)
    if find_component(component).config is None and flag_table(component, release) is None:
        why = "there is no table of its flags, so that none was judged"
        yield Finding(
            component, release, Effect.NOT_JUDGED, "its flags", why, "read the notes of its own releases"
        )


def _flags_alone(
    component: str, words: Sequence[str], release: Release, serves_api: bool
) -> Iterator[Finding]:
    """Yield what a component without a config file meets in ``release``, coming from the one before."""
    before, after = flag_table(component, release.previous), flag_table(component, release)
    if before is None or after is None:
        return
    uses = split_flags(words, before)
    for name in dict.fromkeys(use.name for use in uses):
        old, new = before.flag(name), after.flag(name)
        if new is None and old is not None:
            yield Finding(
                component, release, Effect.STOPS, name, "the flag is gone", "take it off the command line"
            )
        elif new is None and not after.removed_in(name):
            why, todo = f"the tables of {release} do not have the flag", f"look it up in {component} --help"
            yield Finding(component, release, Effect.NOT_JUDGED, name, why, todo)
        elif new is not None and new.deprecated and old is not None and not old.deprecated:
            why = _deprecation(new.deprecated)
            yield Finding(component, release, Effect.WARNS, name, why, "plan for its removal")
    typed, odd = _read_values(after, uses)
    for name, why in odd:
        todo = "write a value that it takes, or take it off the command line"
        yield Finding(component, release, Effect.STOPS, name, why, todo)
    given_gates = [use.value for use in uses if use.name == FLAG]
    for item in not_pairs(given_gates):
        why = "is not a name with a truth value, with which no release starts"
        yield Finding(
            component, release, Effect.STOPS, f"{FLAG}: {item}", why, "write NAME=true or NAME=false"
        )
    for name in with_prefix(given_gates, component, release):
        yield Finding(component, release, Effect.STOPS, f"{FLAG}: {name}", NO_PREFIX, "write the name alone")
    gates = from_flag(given_gates)
    for gate in judge_gates(gates, release):
        effect = Effect.STOPS if gate.stops else Effect.NOT_JUDGED
        yield Finding(component, release, effect, f"{FLAG}: {gate.name}", gate.why, gate.todo)
    values = {use.name: use.value for use in uses}
    for rule in upgrade_rules(component, release):
        spared = any(_holds({"featureGates": gates}, path, value) for path, value in rule.unless.items())
        if not spared and _flags_hold(rule, values, uses) and _values_hold(rule, typed.get, release):
            yield Finding(component, release, Effect[rule.effect.upper()], rule.setting, rule.why, rule.todo)
    if serves_api:
        yield from _admission(component, words, release)


class _Step:
    """The upgrade from one release to the next."""

    def __init__(
        self,
        component: str,
        release: Release,
        words: Sequence[str],
        config: Mapping[str, Any] | None,
        cgroup: str,
    ) -> None:
        self.component, self.release, self.config, self.cgroup = component, release, config, cgroup
        self.version = str((config or {}).get("apiVersion", ""))
        before = release_table(component, release.previous)
        self.accepted = not self.version or self.version in release_table(component, release).api_versions
        self.before = self._table(before)
        self.after = self._table(release_table(component, release))
        self.uses = split_flags(words, self.before)

    def _table(self, newest: ReleaseTable) -> ReleaseTable:
        if self.version in newest.api_versions:
            return release_table(self.component, newest.release, self.version)
        return newest

    def findings(self) -> Iterator[Finding]:
        yield from self._flags()
        if not self.accepted:
            why = f"{self.version} is accepted no longer"
            todo = f"write the file as {' or '.join(self.after.api_versions)}"
            yield self._finding(Effect.STOPS, "apiVersion", why, todo)
        elif self.config is not None:
            yield from self._fields(self.config)
        yield from self._gates()
        yield from self._defaults()
        yield from self._rules()
        yield from self._values()

    def _gates(self) -> Iterator[Finding]:
        """Yield the gates that stop the component; of a flag that its file outdoes, none is in effect."""
        in_file = (self.config or {}).get("featureGates")
        gates = (
            {name: value is True for name, value in in_file.items()} if isinstance(in_file, Mapping) else {}
        )
        known = self.before.flag(FLAG)
        if self.config is None or self.before.flags_beside_config_win or (known is not None and known.stays):
            given = [use.value for use in self.uses if use.name == FLAG]
            gates |= from_flag(given)
            for name in with_prefix(given, self.component, self.release):
                yield self._finding(Effect.STOPS, f"featureGates.{name}", NO_PREFIX, "write the name alone")
        for gate in judge_gates(gates, self.release):
            effect = Effect.STOPS if gate.stops else Effect.NOT_JUDGED
            yield self._finding(effect, f"featureGates.{gate.name}", gate.why, gate.todo)

    def _finding(self, effect: Effect, setting: str, why: str, todo: str) -> Finding:
        return Finding(self.component, self.release, effect, setting, why, todo)

    def _flags(self) -> Iterator[Finding]:
        for name in dict.fromkeys(use.name for use in self.uses):
            before, after = self.before.flag(name), self.after.flag(name)
            if after is None:
                where = f"the field {before.field} says the same" if before and before.fields else ""
                todo = "take it off the command line" + (
                    f"; {where}" if where else " when the node is upgraded"
                )
                yield self._finding(Effect.STOPS, name, "the flag is gone", todo)
            elif after.deprecated and before is not None and not before.deprecated:
                todo = f"move it to {after.field}" if after.fields else "plan for its removal"
                yield self._finding(Effect.WARNS, name, _deprecation(after.deprecated), todo)

    def _fields(self, config: Mapping[str, Any]) -> Iterator[Finding]:
        effect = {
            Decoding.STRICT: Effect.STOPS,
            Decoding.LENIENT: Effect.CHANGES,
            Decoding.SILENT: Effect.CHANGES,
        }
        stricter = self.after.decoding is not self.before.decoding
        known_before = set(decode(self.before, config))
        for path in decode(self.after, config):
            if spelling := caseless(self.before, path):
                old = self.before.release
                why = f"{old}.0 to {old}.4 take it for {spelling}, and {self.release} does not"
                yield self._finding(Effect.CHANGES, path, why, f"write {spelling} if it is to hold")
                continue
            if path in known_before and not stricter:
                continue  # it means nothing now either
            why = f"{self.after.api_version} has no such field" + (
                "" if path in known_before else " any more"
            )
            yield self._finding(effect[self.after.decoding], path, why, "take it out of the file")

    def _defaults(self) -> Iterator[Finding]:
        """Yield values that hold because nobody says otherwise, and that will be others."""
        if not self.accepted:
            return  # the file must be rewritten first
        old, new = (
            dict(paths.leaves(effective_config(table, self.readable(table), self.config), table.fields))
            for table in (self.before, self.after)
        )
        judged = (
            {rule.setting for rule in upgrade_rules(self.component, self.release)} if self.cgroup else set()
        )
        for path in old:
            known = self.after.field(path)
            if path not in judged and known and not same_value(known.type, old[path], new.get(path)):
                why = f"its default changes from {as_json(old[path])} to {as_json(new.get(path))}"
                yield self._finding(
                    Effect.CHANGES, path, why, "set the old one explicitly, or accept the new one"
                )

    def readable(self, table: ReleaseTable) -> list[FlagUse]:
        """Return the flags of the command line that a release has."""
        return [use for use in self.uses if table.flag(use.name) is not None]

    def _values(self) -> Iterator[Finding]:
        """Yield values that the release does not start with, although their fields have them."""
        if not self.accepted:
            return
        given: dict[str, Any] = paths.without_nulls(self.config or {})
        if self.config is None or self.after.flags_beside_config_win:
            for path, value in paths.leaves(
                from_flags(self.after, self.readable(self.after)), self.after.fields
            ):
                paths.put(given, path, value)
        for path, why in problems(self.after, given):
            if self.after.field(path) is not None:
                yield self._finding(Effect.STOPS, path, why, "write a value that it takes, or take it out")

    def says(self, path: str) -> bool:
        """Return whether the config file or the command line gives a field a value."""
        flags = (self.before.flag(use.name) for use in self.uses if use.value)
        return bool(paths.get(self.config or {}, path)) or any(flag and path in flag.fields for flag in flags)

    def _rules(self) -> Iterator[Finding]:
        for rule in upgrade_rules(self.component, self.release):
            if _concerns(rule, self):
                yield self._finding(Effect[rule.effect.upper()], rule.setting, rule.why, rule.todo)


def _concerns(rule: UpgradeRule, step: _Step) -> bool:
    """Return whether a rule's conditions all hold."""
    effective = effective_config(step.after, step.readable(step.after), step.config)
    known = ((use, step.before.flag(use.name)) for use in step.uses)
    values = {use.name: value_of(use, flag) for use, flag in known if flag is not None}
    return (
        all(_holds(effective, path, value) for path, value in rule.fields.items())
        and not any(_holds(effective, path, value) for path, value in rule.unless.items())
        and _flags_hold(rule, values, step.uses)
        and _values_hold(rule, lambda key: values.get(key, paths.get(effective, key)), step.release)
        and not any(step.says(path) for path in rule.unsaid)
        and all(names_port(step.config or {}, path) for path in rule.ports)
        and (not rule.cgroup or rule.cgroup == step.cgroup)
    )


def _flags_hold(rule: UpgradeRule, values: Mapping[str, Any], uses: Sequence[FlagUse]) -> bool:
    """Return whether a rule's conditions on the command line hold; ``values`` has those of the flags that count."""
    lists = [use for use in uses if use.name in rule.items]
    items = [(use.name, item.strip()) for use in lists for item in use.value.split(",")]
    names = {name for name, item in items if re.fullmatch(rule.items[name], item)}
    return (
        all(values.get(name) in allowed for name, allowed in rule.flags.items())
        and all(values.get(name) for name in rule.given)
        and not any(name in values for name in rule.unless_flags)
        and names == rule.items.keys()
    )


def _read_values(table: FlagTable, uses: Sequence[FlagUse]) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """Return the values of flags with their types, by name, and name and reason of each that its release does not take.

    A flag that is given more than once has no value where one of its texts is not taken.
    """
    values: dict[str, Any] = {}
    odd: list[tuple[str, str]] = []
    for use in uses:
        flag = table.flag(use.name)
        if flag is None or use.name == FLAG:  # gates are judged one by one
            continue
        try:
            values[use.name] = value_of(use, flag)
        except FlagValueError as error:
            odd.append((use.name, str(error)))
    for name, _ in odd:
        values.pop(name, None)
    return values, odd


def _values_hold(rule: UpgradeRule, value_at: Callable[[str], Any], release: Release) -> bool:
    """Return whether a rule's conditions on values hold; ``value_at`` returns that of a flag or a path, or None."""
    return (
        all(_is_beyond(value_at(key), *limits) for key, limits in rule.beyond.items())
        and all(_is_doubled(value_at(key)) for key in rule.doubled)
        and all(value_at(key) not in (None, "", str(release.previous)) for key in rule.not_previous)
    )


def _is_beyond(value: Any, least: float | str | None, most: float | str | None) -> bool:
    sizes = [None if each is None else _size(each) for each in (value, least, most)]
    size, first, last = sizes
    return size is not None and ((first is not None and size < first) or (last is not None and size > last))


def _size(value: float | str) -> float:
    return duration_ns(value) if isinstance(value, str) else value


def _is_doubled(value: Any) -> bool:
    return isinstance(value, list) and len(set(map(str, value))) < len(value)


def _deprecation(message: str) -> str:
    return "deprecated" if message == "deprecated" else f"deprecated: {message}"


def _holds(effective: Mapping[str, Any], path: str, value: Any) -> bool:
    return paths.has(effective, path) and (value == "any" or paths.get(effective, path) == value)


def speakable(target: ReleaseTable, config: Mapping[str, Any], path: str) -> bool:
    """Return whether a file of ``config`` with a value at ``path`` is one that the target release starts with."""
    return path not in dict(problems(target, config))


def _admission(component: str, words: Sequence[str], release: Release) -> Iterator[Finding]:
    """Admission plugins that are gone in ``release``, with which it does not start, and those that no table has."""
    table = admission_plugins(release)
    named = {name: flag for flag in (OLD, ENABLE, DISABLE) for name in list_values(words, flag) or ()}
    for name, flag in named.items():
        setting = f"{flag}: {name}"
        if name in table.removed:
            why, todo = f"the admission plugin {name} is gone", _replacement(name)
            yield Finding(component, release, Effect.STOPS, setting, why, todo)
        elif name and name not in table.known:
            why = f"the tables of {release} do not have the admission plugin {name}"
            yield Finding(
                component, release, Effect.NOT_JUDGED, setting, why, f"look it up in {component} --help"
            )


def leave_policies() -> str:
    """Return what to do before PodSecurityPolicy is gone, as the beginning of a sentence."""
    both = " or ".join(map(str, releases_with("PodSecurityPolicy", "Pod Security Admission")))
    return f"run harden.ipynb on {both} until it finds nothing to do in the step pod-security"


def _replacement(plugin: str) -> str:
    if plugin == "PodSecurityPolicy":
        return (
            f"{leave_policies()}: Pod Security Admission takes its place, then the plugin and its objects go"
        )
    return "take it out of the flag"
