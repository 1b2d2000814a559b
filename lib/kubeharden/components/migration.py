"""From a command line to a config file and what must stay a flag, without losing anything.

Every setting of the command line ends in exactly one list: *moved* to a field, *kept* as a flag, *dropped*
because it has no effect, *hardened* (changed by the profile or by a parameter) or *refused*. Where anything
is refused, nothing is to be changed. The result is checked against itself: what the component would run
with after the change differs from what it runs with now in the hardened fields and nowhere else.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from kubeharden.components import paths, render
from kubeharden.components.differences import changes
from kubeharden.components.edit import rewrite
from kubeharden.components.effective import (
    DEPENDENT_DEFAULTS,
    TYPE_META,
    caseless,
    counts,
    decode,
    effective_config,
    from_flags,
    legacy_defaults,
    misfits,
)
from kubeharden.components.flags import FlagUse, free_path, names_file, split_flags, value_in
from kubeharden.components.profile import ComponentProfile, Profile, strict_enough
from kubeharden.components.programs import program_words
from kubeharden.components.readiness import speakable
from kubeharden.components.settings import Migration, Setting
from kubeharden.components.validate import problems
from kubeharden.components.values import as_json, same_value
from kubeharden.components.verdicts import GROWING, FlagVerdict, judge
from kubeharden.components.versions import Versions
from kubeharden.errors import UnitError
from kubeharden.releases import Decoding, Flag, Release, find_component, release_table


def migrate(
    component: str,
    release: str | Release,
    argv: Sequence[str],
    config: Mapping[str, Any] | None = None,
    *,
    profile: str | Profile = "article",
    config_path: str | None = None,
    fields: Mapping[str, Any] | None = None,
    flags: Mapping[str, str] | None = None,
    target_release: str | Release | None = None,
    text: str = "",
) -> Migration:
    """Move the settings of a command line to the config file of its release.

    Args:
        component: one with a config file, such as ``kube-proxy``.
        release: what the node runs: ``1.20``, ``v1.20.2`` …
        argv: the command line, with or without the program's name.
        config: the content of the file that ``--config`` names, if the component has one.
        profile: what to harden: ``article``, ``none``, or a profile of your own.
        config_path: where the file is to be; by default where ``--config`` names it now, else
            ``/etc/kubernetes/<component>.conf``.
        fields: values asked for beside the profile, by field path, such as ``{"clusterDNS": [...]}``.
        flags: values of flags by name, such as ``{"--pod-infra-container-image": …}``.
        target_release: a later release that is to start with the result too, as far as there is a form that
            both accept; what is left to do for it, ``readiness`` says.
        text: what stands now where the file is to be: lines of people stay as they are.

    Returns:
        The migration. Its ``refused`` is empty unless something is contradictory or unreadable; then
        ``config``, ``yaml`` and ``argv`` are not to be used.

    Raises:
        UnknownReleaseError: no table covers the release.
        ParameterError: there is no such profile.
        UnitError: the text is neither YAML nor JSON.
    """
    chosen = Profile.load(profile) if isinstance(profile, str) else profile
    config = None if config is None else paths.with_text_keys(config)
    result = Migration(component, Release.parse(release))
    wanted, kind = release_table(component, result.release).kind, (config or {}).get("kind")
    if kind not in (None, wanted):
        why = f"{kind!r}: it is the configuration of something else; expected {wanted}"
        result.refused.append(Setting("", "kind", kind, why))
        return _with_reservation(result)
    try:
        versions = Versions.choose(component, result.release, config, target_release)
        result.refused += [
            Setting("", path, paths.get(config or {}, path), why)
            for path, why in misfits(versions.read, config or {})
        ]
        existing = None if result.refused or config is None else versions.convert(paths.without_nulls(config))
    except UnitError as error:
        result.refused.append(Setting("", "apiVersion", (config or {}).get("apiVersion"), str(error)))
    if result.refused:
        return _with_reservation(result)
    work = _Work(versions, chosen.of(component), result, existing)
    program = list(argv[: program_words(component, argv)])
    try:
        uses = split_flags(argv[len(program) :], work.table)
    except UnitError as error:
        result.refused.append(Setting("", "", " ".join(argv), str(error)))
        return _with_reservation(result)
    work.table = work.table.with_flags({use.name: use.value for use in uses})
    work.sort_flags(uses)
    if not result.refused:
        work.set_flags(flags or {})
        work.fill(uses, fields or {})
        work.finish(program, uses, config_path, text)
    return _with_reservation(result)


def _with_reservation(result: Migration) -> Migration:
    """Add to every verdict what the tables know of a release that is newer than they are."""
    reservation = result.release.reservation
    if not reservation:
        return result
    verdicts = result.moved, result.kept, result.dropped, result.hardened, result.refused, result.defaults
    for settings in verdicts:
        settings[:] = [replace(s, why=f"{s.why} ({reservation})" if s.why else reservation) for s in settings]
    return result


class _Work:
    """One migration while it is being made."""

    def __init__(
        self,
        versions: Versions,
        profile: ComponentProfile,
        result: Migration,
        existing: Mapping[str, Any] | None,
    ) -> None:
        self.table, self.target = versions.table, versions.target
        self.profile, self.result, self.existing = profile, result, existing
        self.moving: list[FlagUse] = []
        self.staying: list[FlagUse] = []

    def sort_flags(self, uses: Sequence[FlagUse]) -> None:
        """Give every flag its verdict; only the last value of a flag counts, unless the flag is a list that grows."""
        last = {use.name: index for index, use in enumerate(uses)}
        for index, use in enumerate(uses):
            flag = self.table.flag(use.name)
            if use.name == "--config":
                continue
            verdict = judge(self.table, use, beside_file=self.existing is not None)
            counting = last[use.name] == index or (flag is not None and flag.type.startswith(GROWING))
            if counting or verdict.unreadable:  # the component reads them all
                self._note(use, flag, verdict)

    def _note(self, use: FlagUse, flag: Flag | None, verdict: FlagVerdict) -> None:
        where = flag.fields[0] if flag is not None and verdict.word == "moved" else ""
        setting = Setting(use.name, where, verdict.value, verdict.why)
        getattr(self.result, verdict.word).append(setting)
        if verdict.word in ("moved", "kept"):
            (self.moving if verdict.word == "moved" else self.staying).append(use)

    def set_flags(self, flags: Mapping[str, str]) -> None:
        """Give flags the values that parameters ask for."""
        for name, value in flags.items():
            old = next((use.value for use in self.staying if use.name == name), None)
            if old == value:
                continue
            if self.table.flag(name) is None:
                why = (
                    f"{self.table.component} {self.table.release} has no such flag: leave the parameter empty"
                )
                self.result.refused.append(Setting(name, "", value, why))
                continue
            self.staying = [use for use in self.staying if use.name != name] + [FlagUse(name, value)]
            self.result.kept = [s for s in self.result.kept if s.flag != name]
            self.result.hardened.append(Setting(name, "", value, "asked for by a parameter", old))

    def fill(self, uses: Sequence[FlagUse], fields: Mapping[str, Any]) -> None:
        """Make the file's content: what is there, the flags, the legacy defaults, the profile, the parameters."""
        result, table = self.result, self.table
        self._drop_unknown_fields()
        result.before = effective_config(table, uses, self.existing)
        config = {k: copy.deepcopy(v) for k, v in (self.existing or {}).items() if k not in TYPE_META}
        for path, value in paths.leaves(from_flags(table, self.moving), table.fields):
            gates = path == "featureGates"
            paths.put(config, path, {**(paths.get(config, path) or {}), **value} if gates else value)
        if self.existing is None:
            self._write_legacy_defaults(config)
        self._write_dependent_defaults(config)
        self._write_defaults_that_change(config)
        self._write_required_defaults(config)
        for path, value in self._required_fields(uses):
            self._harden(config, path, value, "hardened by the profile")
        for path, value in fields.items():
            if table.field(path) is None:
                why = f"{table.api_version} of {table.release} has no such field"
                result.refused.append(Setting("", path, value, why))
            elif paths.get(result.before, path) != value:
                self._harden(config, path, value, "asked for by a parameter")
        self._write_profile_defaults(config)
        self._remove_defaults(config)
        result.config = render.order_keys(table, self.profile, config)
        result.refused += [
            Setting("", path, paths.get(config, path), why) for path, why in problems(table, config)
        ]

    def _drop_unknown_fields(self) -> None:
        """Take out of the existing file what the release does not read (a strict one would not have started)."""
        if self.existing is None or self.table.decoding is Decoding.STRICT:
            return
        self.existing = copy.deepcopy(dict(self.existing))
        for path in decode(self.table, self.existing):
            verdict = self.result.dropped
            why = f"{self.table.kind} of {self.table.release} has no such field: it was never in effect"
            if path == "featureGates":
                why += "; feature gates of this component belong to --feature-gates"
            if spelling := caseless(self.table, path):
                verdict = self.result.refused
                why = (
                    f"1.10.0 to 1.10.4 take it for {spelling}, later ones do not know it: write {spelling} if it "
                    "is to hold, or take it out"
                )
            verdict.append(Setting("", path, paths.get(self.existing, path), why))
            paths.remove(self.existing, path)

    def _write_dependent_defaults(self, config: dict[str, Any]) -> None:
        """Write down defaults that would change only because another field now stands in the file."""
        rules = self.table.rules
        followed = paths.get(config, rules.addresses_follow) if rules.addresses_follow else None
        ipv6 = ":" in str(followed or "") and self.existing is None
        # The addresses' defaults follow the family of that field in the file, but not of its flag.
        candidates = [*DEPENDENT_DEFAULTS, *(rules.addresses if ipv6 else ())]
        after = effective_config(self.table, self.staying, config)
        for path in candidates:
            value = paths.get(self.result.before, path)
            if (
                path in self.table.fields
                and not paths.has(config, path)
                and (ipv6 or paths.get(after, path) != value)
            ):
                paths.put(config, path, value)
                why = "its default would change because of another field that moves to the file"
                self.result.moved.append(Setting("", path, value, why))

    def _write_legacy_defaults(self, config: dict[str, Any]) -> None:
        for path, value in legacy_defaults(self.table).items():
            if not paths.has(config, path) and path in self.table.fields:
                paths.put(config, path, value)
                default = self.table.fields[path].default
                why = f"{as_json(value)} holds while there is no file; with one, the default is {as_json(default)}"
                self.result.moved.append(Setting("", path, value, why))

    def _set_by_flags(self) -> set[str]:
        """Return the fields that flags which stay decide, whatever the file says."""
        return {path for use in self.staying if (flag := self.table.flag(use.name)) for path in flag.fields}

    def _write_defaults_that_change(self, config: dict[str, Any]) -> None:
        """Write down defaults that would be others in the target release."""
        if self.target is None:
            return
        set_by_flag = self._set_by_flags()
        for path, known in self.table.fields.items():
            then = self.target.field(path)
            if (
                then is None
                or known.type == "object"
                or path in set_by_flag
                or paths.has(config, path)
                or same_value(known.type, known.default, then.default)
            ):
                continue
            value = paths.get(self.result.before, path)
            if counts(self.table, path, value):
                paths.put(config, path, value)
                why = f"its default is {as_json(then.default)} in {self.target.release}; written down, so that it stays"
                self.result.defaults.append(Setting("", path, value, why))

    def _write_required_defaults(self, config: dict[str, Any]) -> None:
        """Write down defaults that the release, or the target, wants to be named."""
        table = self.target or self.table
        for path in table.rules.has_to_say(table.release):
            value = paths.get(self.result.before, path)
            if path in self._set_by_flags() or paths.get(config, path) or not counts(self.table, path, value):
                continue
            paths.put(config, path, value)
            why = (
                f"holds anyway; {table.release} wants it to be named, and a later release has another default"
            )
            self.result.defaults.append(Setting("", path, value, why))

    def _remove_defaults(self, config: dict[str, Any]) -> None:
        """Take out what holds anyway and would stop the target release."""
        if self.target is None:
            return
        for path, value in list(paths.leaves(config, self.table.fields)):
            known = self.table.field(path)
            if known and known.default == value and not speakable(self.target, config, path):
                paths.remove(config, path)
                why = f"is the default, and {self.target.release} does not start with it in the file"
                self.result.defaults = [s for s in self.result.defaults if s.field != path]
                for setting in [s for s in self.result.moved if s.field == path]:
                    self.result.moved.remove(setting)
                    self.result.dropped.append(replace(setting, why=why))

    def _required_fields(self, uses: Sequence[FlagUse]) -> list[tuple[str, Any]]:
        required = dict(self.profile.require)
        holds = self.result.before
        if "authorization.mode" in required and not value_in(uses, "--kubeconfig"):
            required.pop("authorization.mode")
            why = "is left as it is: without --kubeconfig it has no API server to ask, and does not start with Webhook"
            value = paths.get(holds, "authorization.mode")
            self.result.kept.append(Setting("", "authorization.mode", value, why))
        if paths.get(holds, "tlsMinVersion") == "VersionTLS13":
            required.pop("tlsCipherSuites", None)  # TLS 1.3 does not use them
        entry = self.table.rules.entry
        closed = {
            path for path, value in required.items() if not strict_enough(path, paths.get(holds, path), value)
        }
        if entry and entry.closed_by & closed and not paths.get(holds, entry.by):
            # This is the way in of the API server, which has a certificate for kubelets and no token.
            why = (
                f"nobody could authenticate to this {self.table.component} any more, the API server included, "
                f"which logs in with a client certificate: it has no {entry.by_flag}; set it first"
            )
            self.result.refused.append(Setting(entry.by_flag, entry.by, "", why))
        return list(required.items())

    def _harden(self, config: dict[str, Any], path: str, value: Any, why: str) -> None:
        old = paths.get(self.result.before, path)
        if strict_enough(path, old, value):
            return
        paths.put(config, path, value)
        source = next((s.flag for s in self.result.moved if s.field == path), "")
        self.result.moved = [s for s in self.result.moved if s.field != path]
        self.result.hardened.append(Setting(source, path, value, why, old))

    def _write_profile_defaults(self, config: dict[str, Any]) -> None:
        set_by_flag = self._set_by_flags()
        for path in self.profile.spell_out:
            value = paths.get(self.result.before, path)
            known = self.table.field(path)
            if known is None or path in set_by_flag or paths.has(config, path) or value in (None, "", [], {}):
                continue
            paths.put(config, path, value)
            self.result.defaults.append(Setting("", path, value, "the release's default, written down"))

    def finish(self, program: list[str], uses: Sequence[FlagUse], config_path: str | None, text: str) -> None:
        """Make the text and the remaining command line, and check the result against itself."""
        result = self.result
        path = (
            config_path or value_in(uses, "--config") or free_path(find_component(self.table.component), uses)
        )
        if user := names_file(uses, path):
            why = f"names {path}, where the config file would be; give one of the two another place"
            result.refused.append(Setting(user, "", path, why))
        result.argv = [*program, *_arguments(uses, self.staying, path)]
        # A flag that is only the host or the port of its field is shown with what became of it.
        result.moved = [replace(s, value=paths.get(result.config, s.field)) for s in result.moved]
        fresh = render.text(self.table, self.profile, result.config)
        own = frozenset(render.comments(self.table, self.profile, {}))
        written = rewrite(str(text), result.config, fresh, own, path=path)
        result.yaml, result.lost = written.text, written.lost
        result.after = effective_config(self.table, self.staying, result.config)
        hardened = {setting.field for setting in result.hardened}
        for where, (old, new) in changes(self.table, result.before, result.after).items():
            if where not in hardened:
                why = f"would change from {as_json(old)} to {as_json(new)} without anybody asking for it"
                result.refused.append(Setting("", where, new, why, old))


def _arguments(uses: Sequence[FlagUse], staying: Sequence[FlagUse], path: str) -> list[str]:
    """Return the remaining flags in their old order; ``--config`` where the first moved flag stood, or the old one."""
    config = FlagUse("--config", path)
    old_order = [use.name for use in uses]
    where = old_order.index("--config") if "--config" in old_order else _first_gap(uses, staying)
    ordered = sorted(
        staying,
        key=lambda use: old_order.index(use.name) if use.name in old_order else len(old_order),
    )
    before = [use for use in ordered if use.name in old_order[:where]]
    return [use.text for use in [*before, config, *[use for use in ordered if use not in before]]]


def _first_gap(uses: Sequence[FlagUse], staying: Sequence[FlagUse]) -> int:
    names = {use.name for use in staying}
    return next((index for index, use in enumerate(uses) if use.name not in names), len(uses))
