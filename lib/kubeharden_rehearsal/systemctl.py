"""systemctl on a rehearsal node."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial

from kubeharden_rehearsal import loaded_units
from kubeharden_rehearsal.loaded_units import LoadedUnit
from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.manager import JobError, Manager
from kubeharden_rehearsal.node_journal import format_entry, matching
from kubeharden_rehearsal.processes import ScriptError, Scripts


@dataclass(frozen=True)
class Reply:
    """The output of a command, and its exit status; or what the shell that asks does then, as a script."""

    output: str = ""
    error: str = ""
    status: int = 0
    script: str = ""


_PARSER = argparse.ArgumentParser(add_help=False, exit_on_error=False)
_PARSER.add_argument("words", nargs="*")
_PARSER.add_argument("-p", "--property", action="append", default=[])
_PARSER.add_argument("--value", action="store_true")
_PARSER.add_argument("--version", action="store_true")
_CHANGES = "start stop restart daemon-reload reset-failed reboot"
_STATUS_NOT_RUNNING, _STATUS_NO_UNIT = 3, 4


async def systemctl(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Do a systemctl command."""
    query, others = _PARSER.parse_known_intermixed_args(arguments)
    if query.version:
        version = machine.scenario.systemd
        return Reply(f"systemd {version} ({version})\n+PAM +AUDIT +SELINUX +IMA +APPARMOR +SMACK\n")
    words = [*query.words, *(word for word in others if not word.startswith("-"))]
    verb, *names = words or ["list-units"]
    names = [name if "." in name else f"{name}.service" for name in names]
    changes = verb in _CHANGES.split()
    if changes and user != "root":
        target = names[0] if names else "unit"
        why = f"Failed to {verb} {target}: Interactive authentication required."
        return Reply(error=f"{why}\nSee system logs and 'systemctl status {target}' for details.\n", status=1)
    if verb == "daemon-reload":
        machine.manager.reload()
        return Reply()
    if verb == "reboot":
        return await reboot(machine, user)
    if verb == "show":
        keys = [name for names in query.property for name in names.split(",")]
        return Reply("\n".join(_show(machine, name, keys, bare=query.value) for name in names))
    question = _QUESTIONS.get(verb)
    if question is not None:
        return _join(question(machine, name) for name in names)
    if changes:
        return await _jobs(machine, verb, names, waits="--no-block" not in others)
    return Reply(error=f"Unknown operation {verb}.\n", status=1)


async def reboot(machine: Machine, user: str) -> Reply:
    """Do ``reboot``, forced or not: the process that calls it does not live to see an answer."""
    if user != "root":
        words = "Failed to set wall message, ignoring: Interactive authentication required.\n"
        return Reply(error=words, status=1)
    await machine.cut_power()
    return Reply()


async def _jobs(machine: Machine, verb: str, names: list[str], *, waits: bool) -> Reply:
    error = ""
    for name in names:
        if machine.scripts.knows(name):
            try:
                if waits or verb != "start":
                    await _job(machine.scripts, verb, name)
                else:
                    machine.scripts.begin(name)
            except ScriptError as failure:
                return Reply(error=f"{error}{failure}\n", status=1)
            continue
        loaded = machine.manager.loaded.get(name)
        if loaded is not None and verb != "stop" and loaded_units.changed_on_disk(machine.root, name, loaded):
            error += (
                f"Warning: The unit file, source configuration file or drop-ins of {name} changed on disk. "
                "Run 'systemctl daemon-reload' to reload units.\n"
            )
        try:
            await _job(machine.manager, verb, name)
        except JobError as failure:
            return Reply(error=f"{error}{failure}\n", status=failure.status)
    return Reply(error=error)


async def _job(units: Manager | Scripts, verb: str, name: str) -> None:
    if verb == "reset-failed":
        units.reset_failed(name)
    elif verb == "stop":
        await units.stop(name)
    elif verb == "restart" and isinstance(units, Manager):
        await units.restart(name)
    else:
        await units.start(name)


def _join(replies: Iterable[Reply]) -> Reply:
    found = list(replies)
    statuses = [reply.status for reply in found]
    return Reply(
        "".join(reply.output for reply in found),
        "".join(reply.error for reply in found),
        next((status for status in statuses if status), 0),
    )


def _active(machine: Machine, name: str) -> str:
    known = machine.scripts.knows(name)
    return machine.scripts.state(name) if known else machine.manager.state(name).active


def _is(machine: Machine, name: str, wanted: str, status: int) -> Reply:
    state = _active(machine, name)
    return Reply(f"{state}\n", status=0 if state == wanted else status)


def _is_enabled(machine: Machine, name: str) -> Reply:
    unit = machine.manager.find(name)
    if unit is None:
        return Reply(error=f"Failed to get unit file state for {name}: No such file or directory\n", status=1)
    links = machine.root.glob(f"etc/systemd/system/*.wants/{name}")
    enabled = any(link.is_symlink() for link in links)
    return Reply("enabled\n" if enabled else "disabled\n", status=0 if enabled else 1)


def _cat(machine: Machine, name: str) -> Reply:
    unit = machine.manager.find(name)
    if unit is None:
        return Reply(error=f"No files found for {name}.\n", status=1)
    paths = [path for path, _, _ in unit.files]
    texts = [(machine.root / path.lstrip("/")).read_text(encoding="utf-8") for path in paths]
    return Reply("\n".join(f"# {path}\n{text}" for path, text in zip(paths, texts, strict=True)))


def _status(machine: Machine, name: str) -> Reply:
    unit, state = machine.manager.find(name), machine.manager.state(name)
    if unit is None:
        return Reply(error=f"Unit {name} could not be found.\n", status=_STATUS_NO_UNIT)
    result = "" if state.result == "success" else f" (Result: {state.result})"
    lines = [
        f"● {name} - {unit.value('Unit', 'Description') or name}",
        f"   Loaded: loaded ({unit.fragment}; {_is_enabled(machine, name).output.strip()})",
        f"   Active: {state.active} ({state.sub}){result} since {_moment(state.started)}",
    ]
    if state.pid:
        lines.append(f" Main PID: {state.pid} ({name.removesuffix('.service')})")
    tail = matching(machine.journal.entries, [name], ())[-10:]
    lines += ["", *(format_entry(entry, "short", machine.name) for entry in tail)]
    return Reply("\n".join(lines) + "\n", status=0 if state.active == "active" else _STATUS_NOT_RUNNING)


_QUESTIONS: dict[str, Callable[[Machine, str], Reply]] = {
    "is-active": partial(_is, wanted="active", status=_STATUS_NOT_RUNNING),
    "is-failed": partial(_is, wanted="failed", status=1),
    "is-enabled": _is_enabled,
    "cat": _cat,
    "status": _status,
}


def _show(machine: Machine, name: str, keys: list[str], *, bare: bool) -> str:
    lines = [(key, value) for key, value in _properties(machine, name) if not keys or key in keys]
    return "".join(f"{value}\n" if bare else f"{key}={value}\n" for key, value in lines)


def _properties(machine: Machine, name: str) -> list[tuple[str, str]]:
    """Return the properties in systemctl's order, which is not that in which they are asked for."""
    unit, state = machine.manager.find(name), machine.manager.state(name)
    loaded = unit or LoadedUnit("", ())
    is_changed = unit is not None and loaded_units.changed_on_disk(machine.root, name, unit)
    monotonic = int((state.started - machine.booted) * 1_000_000) if state.started else 0
    return [
        ("Type", loaded.value("Service", "Type", "simple")),
        ("Restart", loaded.value("Service", "Restart", "no")),
        ("NRestarts", str(state.restarts)),
        ("MainPID", str(state.pid)),
        ("Result", state.result),
        ("ExecMainStartTimestamp", _moment(state.started)),
        ("ExecMainStartTimestampMonotonic", str(monotonic)),
        ("ExecMainPID", str(state.pid)),
        ("ExecMainStatus", str(state.exit_status)),
        *(("EnvironmentFiles", text) for text in _environment_files(machine, loaded)),
        ("User", loaded.value("Service", "User")),
        ("Group", loaded.value("Service", "Group")),
        ("Id", name),
        ("Names", name),
        ("Requires", " ".join(loaded.words("Unit", "Requires"))),
        ("After", " ".join(loaded.words("Unit", "After"))),
        ("Description", loaded.value("Unit", "Description") or name),
        ("LoadState", _load_state(unit)),
        ("ActiveState", state.active),
        ("SubState", state.sub),
        ("FragmentPath", loaded.fragment),
        ("DropInPaths", " ".join(loaded.drop_ins)),
        ("UnitFileState", _is_enabled(machine, name).output.strip() if unit else ""),
        ("NeedDaemonReload", "yes" if is_changed else "no"),
        ("InvocationID", state.invocation),
    ]


def _environment_files(machine: Machine, unit: LoadedUnit) -> list[str]:
    return [
        f"{value.removeprefix('-')} (ignore_errors={'yes' if value.startswith('-') else 'no'})"
        for value in unit.environment_files(machine.name)
    ]


def _load_state(unit: LoadedUnit | None) -> str:
    if unit is None:
        return "not-found"
    if unit.masked:
        return "masked"
    return "loaded" if unit.values("Service", "ExecStart") else "bad-setting"


def _moment(time: float) -> str:
    return f"{datetime.fromtimestamp(time, UTC):%a %Y-%m-%d %H:%M:%S} UTC" if time else "n/a"
