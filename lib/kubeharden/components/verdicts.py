"""The verdict on one flag when its component's settings move to a config file."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kubeharden.components.effective import counts, says_nothing
from kubeharden.components.flags import FlagUse, FlagValueError, value_of
from kubeharden.components.values import as_json
from kubeharden.releases import Flag, Release, ReleaseTable, feature, release_table, releases

# Flags that lead to configuration which is not read here, so that nothing can be said of what holds.
UNREAD = {"--config-dir", "--dynamic-config-dir"}
# Modes that do one thing and exit: no service runs with them.
RUN_MODES = {"--cleanup", "--write-config-to", "--init-only", "--version", "--help"}
# Types of which a second use adds to the first (pflag's slices and component-base's maps).
GROWING = ("list(string)", "list(int32)", "list({", "list(object)", "map(")


@dataclass(frozen=True)
class FlagVerdict:
    """``moved``, ``kept``, ``dropped`` or ``refused``; the flag's value with its type; and why.

    ``unreadable`` is a refusal because the text is not a value of the flag.
    """

    word: str
    value: Any
    why: str = ""
    unreadable: bool = False


def judge(table: ReleaseTable, use: FlagUse, *, beside_file: bool) -> FlagVerdict:
    """Return the verdict on one flag.

    Args:
        use: the flag as it stands on the command line.
        beside_file: a config file is in use already.
    """
    flag = table.flag(use.name)
    if flag is None:
        return _unknown(table, use)
    try:
        value = value_of(use, flag)
    except FlagValueError as error:
        return FlagVerdict("refused", use.value, str(error), unreadable=True)
    ignored = beside_file and not table.flags_beside_config_win
    if use.name in RUN_MODES and value not in (False, "", "false"):
        return FlagVerdict("refused", value, "is a mode that exits, not the command of a service")
    rules = table.rules
    honoured = ignored and rules.is_honoured(use.name, table.release)
    if ignored and rules.is_honoured_in_part(use.name, table.release):
        why = (
            f"some patch releases of {table.release} ignore it beside --config, and others do not: write what is "
            "to hold to the file, and take the flag out"
        )
        return FlagVerdict("refused", value, why)
    if flag.stays or use.name in rules.stays or honoured:
        return FlagVerdict("kept", value, "keeps its effect as a flag beside --config")
    if use.name in UNREAD and value:
        why = f"what lies in {value} is not read here and may say otherwise than the file; take it out first"
        return FlagVerdict("refused", value, why)
    if ignored:
        return FlagVerdict(
            "dropped", value, "ignored already now: a --config file is in use, and it alone counts"
        )
    return _with_field(table, flag, value) if flag.fields else _without_field(table, flag, value)


def _unknown(table: ReleaseTable, use: FlagUse) -> FlagVerdict:
    removed = table.removed_in(use.name)
    if removed:
        return FlagVerdict(
            "dropped", use.value, f"removed in {removed}; {table.release} does not start with it"
        )
    why = f"{table.component} {table.release} is not known to have this flag; take it out by hand if it is a mistake"
    return FlagVerdict("refused", use.value, why)


def _with_field(table: ReleaseTable, flag: Flag, value: Any) -> FlagVerdict:
    if says_nothing(table, flag, value):
        return FlagVerdict("dropped", value, "is empty, and changes nothing")
    if flag.part == "port" and value == 0:
        # kube-scheduler 1.20.2 refuses 0.0.0.0:0 and takes "" for the default address, as kube-proxy does.
        why = (
            "0 switches the server off, which the file cannot say: there an empty address is the default one. Leave "
            f"{table.component} out of steps, or give it an address of its own node alone{_later(table, flag)}"
        )
        return FlagVerdict("refused", value, why)
    if flag.fields[0] in table.rules.path_fields and value and not value.startswith("/"):
        why = (
            "a relative path: in the file it would count from the file's folder, not from where the "
            f"{table.component} runs"
        )
        return FlagVerdict("kept", value, why)
    if flag.part is not None or all(_can_be_said(table, path, value) for path in flag.fields):
        return FlagVerdict("moved", value)
    if table.flags_beside_config_win:
        return FlagVerdict("kept", value, f"{as_json(value)} in the file would count as unset")
    why = f"{as_json(value)} cannot be said in the file: there it counts as unset"
    return FlagVerdict("refused", value, f"{why}. Write the value that is to hold, or take the flag out")


def _later(table: ReleaseTable, flag: Flag) -> str:
    """Return that a later release has no need of the flag any more; nothing where none has."""
    for release in releases(table.release):
        later = release_table(table.component, release).flag(flag.name)
        if later is None or not later.fields:
            return f"; from {release} on it can be moved: the flag has no effect there"
    return ""


def _can_be_said(table: ReleaseTable, path: str, value: Any) -> bool:
    known = table.field(path)
    is_default = known is not None and (known.default == value or (known.default is None and not value))
    return counts(table, path, value) or is_default


def _without_field(table: ReleaseTable, flag: Flag, value: Any) -> FlagVerdict:
    release = table.release
    if flag.name == "--allow-privileged":
        return _allow_privileged(release, value)
    docker = feature("dockershim")
    if flag.name == "--container-runtime" and value == "remote" and not docker.in_release(release):
        until = feature("kubelet --container-runtime").until
        return FlagVerdict(
            "dropped", value, f"remote is the default from {docker.until} on, and the flag goes in {until}"
        )
    if flag.name in table.rules.by_hand.flags:
        if not value or value == table.rules.by_hand.defaults.get(flag.name):
            return FlagVerdict("dropped", value, "says what holds without it")
        return FlagVerdict("refused", value, f"{table.api_version} {table.rules.by_hand.why}")
    if not table.flags_beside_config_win:
        return FlagVerdict("dropped", value, f"has no effect in {release} beside --config, and no field")
    warns = f" (and it warns: {flag.deprecated})" if flag.deprecated else ""
    return FlagVerdict("kept", value, f"the file of {release} has no field for it{warns}")


def _allow_privileged(release: Release, value: Any) -> FlagVerdict:
    default = feature("kubelet runs privileged pods by default")
    if value is True and default.in_release(release):
        until = feature("kubelet --allow-privileged").until
        return FlagVerdict(
            "dropped", value, f"true is the default from {default.since} on, and the flag goes in {until}"
        )
    why = (
        "the kubelet has no field for it and still needs it: without it, it refuses privileged containers "
        "that a PodSecurityPolicy allows (kubernetes issue 58010)"
    )
    return FlagVerdict("kept", value, why)
