"""Switching an admission plugin on or off in kube-apiserver's command line, and leaving all else as it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kubeharden.errors import MigrationRefusedError
from kubeharden.releases import Release, admission_plugins

OLD, ENABLE, DISABLE = "--admission-control", "--enable-admission-plugins", "--disable-admission-plugins"
CONFIG_FILE = "--admission-control-config-file"


@dataclass(frozen=True)
class AdmissionChange:
    """The new command line, and what was done to it, in sentences; nothing where nothing was to do."""

    argv: tuple[str, ...]
    notes: tuple[str, ...] = ()


def enable_admission_plugin(release: str | Release, argv: Sequence[str], plugin: str) -> AdmissionChange:
    """Return the command line with ``plugin`` on and every other as it was; a plugin on by default is not named.

    ``--admission-control`` is an exact list, and the API server refuses to start with both it and
    ``--enable-admission-plugins``, which adds to the defaults. So the old list moves to
    ``--enable-admission-plugins``, and each plugin that is on by default and was not in it goes to
    ``--disable-admission-plugins`` (computePluginNames, k8s.io/apiserver/pkg/server/options/admission.go).

    Raises:
        MigrationRefusedError: the release has no such plugin, or it is switched off on purpose.
        UnknownReleaseError: no table covers the release.
    """
    table = admission_plugins(release)
    if plugin in table.removed:
        raise MigrationRefusedError(f"kube-apiserver {release} has no admission plugin {plugin} any more")
    old, enabled, disabled = (list_values(argv, flag) for flag in (OLD, ENABLE, DISABLE))
    if plugin in (disabled or ()):
        raise MigrationRefusedError(
            f"{DISABLE} names {plugin}: somebody switched it off on purpose; take it out by hand first"
        )
    if plugin in (old if old is not None else enabled or ()):
        return AdmissionChange(tuple(argv))
    if old is None and plugin in table.default_on:
        return AdmissionChange(tuple(argv))
    if old is not None:
        return _from_old_list(argv, old, [name for name in table.default_on if name not in old], plugin)
    changed = _replace(argv, ENABLE, [*(enabled or ()), plugin])
    return AdmissionChange(tuple(changed), (f"{plugin} added to {ENABLE}",))


def remove_admission_plugin(argv: Sequence[str], plugin: str) -> AdmissionChange:
    """Return the command line without ``plugin`` among the plugins that are switched on, and every other as it was."""
    changed, notes = tuple(argv), []
    for flag in (OLD, ENABLE):
        values = list_values(changed, flag) or []
        if plugin in values:
            changed = tuple(_replace(changed, flag, [value for value in values if value != plugin]))
            notes.append(f"{plugin} taken out of {flag}")
    return AdmissionChange(changed, tuple(notes))


def switches_on(argv: Sequence[str], plugin: str) -> bool:
    """Return whether a command line names ``plugin`` among the plugins that are on."""
    return any(plugin in (list_values(argv, flag) or ()) for flag in (OLD, ENABLE))


def feature_gate(argv: Sequence[str], gate: str) -> str | None:
    """Return what a command line says of a feature gate, ``true`` or ``false``; None where it says nothing."""
    pairs = [item.partition("=") for item in list_values(argv, "--feature-gates") or ()]
    return next((value.lower() for name, _, value in reversed(pairs) if name == gate), None)


def flag_value(argv: Sequence[str], name: str) -> str | None:
    """Return the value of a flag that is given as ``--name=value`` or ``--name value``; the last one, or None."""
    last = None
    for index, word in enumerate(argv):
        head, has_value, value = word.partition("=")
        if head.replace("_", "-") == name:
            last = value if has_value else (argv[index + 1] if index + 1 < len(argv) else "")
    return last


def _from_old_list(argv: Sequence[str], old: list[str], left_out: list[str], plugin: str) -> AdmissionChange:
    changed = _replace(argv, OLD, [*old, plugin], ENABLE)
    notes = [f"{OLD} (an exact list) becomes {ENABLE}, with {plugin} added"]
    if left_out:
        at = next(index for index, word in enumerate(changed) if word.startswith(f"{ENABLE}="))
        changed.insert(at + 1, f"{DISABLE}={','.join(left_out)}")
        notes.append(
            f"{DISABLE} keeps off what is on by default and was not in the old list: {', '.join(left_out)}"
        )
    return AdmissionChange(tuple(changed), tuple(notes))


def list_values(argv: Sequence[str], name: str) -> list[str] | None:
    """Return the items of a list flag over all its uses, or None where it is not given; a missing value has none."""
    items: list[str] | None = None
    for index, word in enumerate(argv):
        head, has_value, value = word.partition("=")
        if head.replace("_", "-") == name:
            text = value if has_value else "".join(argv[index + 1 : index + 2])
            items = [*(items or ()), *(item for item in text.split(",") if item)]
    return items


def _replace(argv: Sequence[str], name: str, values: Sequence[str], new_name: str | None = None) -> list[str]:
    """Return the command line with one use of a list flag, where its first use stood or else at the end.

    A list without values is left out.
    """
    result: list[str] = []
    place: int | None = None
    words = iter(argv)
    for word in words:
        head, has_value, _ = word.partition("=")
        if head.replace("_", "-") == name:
            place = len(result) if place is None else place
            if not has_value:
                next(words, None)
        else:
            result.append(word)
    if values:
        result.insert(len(result) if place is None else place, f"{new_name or name}={','.join(values)}")
    return result
