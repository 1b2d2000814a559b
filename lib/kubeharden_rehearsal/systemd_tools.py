"""systemd-run and systemd-analyze on a rehearsal node."""

from __future__ import annotations

from kubeharden.components.commands import read_commands
from kubeharden.components.units import Service, Unit
from kubeharden.errors import UnitError
from kubeharden_rehearsal import loaded_units
from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.processes import ScriptError
from kubeharden_rehearsal.systemctl import Reply


def systemd_run(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Do a systemd-run command: a transient timer for a service that there is."""
    if user != "root":
        words = "Failed to start transient timer unit: Interactive authentication required.\n"
        return Reply(error=words, status=1)
    options = dict(word.partition("=")[::2] for word in arguments)
    name = options.get("--unit", "")
    if "--on-active" not in options or not all(word.startswith("--") for word in arguments):
        return Reply(error="systemd-run: a rehearsal node has timers for units only\n", status=1)
    try:
        machine.scripts.set_timer(name, loaded_units.seconds(options["--on-active"], 0.0))
    except ScriptError as error:
        return Reply(error=f"Failed to start timer unit: {error}\n", status=1)
    machine.persist()
    return Reply(error=f"Running timer as unit: {name.removesuffix('.service')}.timer\n")


def systemd_analyze(machine: Machine, arguments: list[str]) -> Reply:
    """Do ``systemd-analyze verify``: a unit is read with its drop-ins, and its programs must be there."""
    words = [word for word in arguments if not word.startswith("-")]
    if words[:1] != ["verify"]:
        return Reply(error="systemd-analyze: a rehearsal node can verify only\n", status=1)
    error = "".join(_problem(machine, path) for path in words[1:])
    return Reply(error=error, status=1 if error else 0)


def _problem(machine: Machine, path: str) -> str:
    place = machine.root / path.lstrip("/")
    if not place.is_file():
        return f"Failed to prepare filename {path}: No such file or directory\n"
    files = [place, *sorted((place.parent / f"{place.name}.d").glob("*.conf"))]
    try:
        parsed = tuple((str(file), Unit.parse(file.read_text(encoding="utf-8"))) for file in files)
        values = Service(parsed, {}).values("Service", "ExecStart")
        commands = [command for value in values for command in read_commands(value, {})]
    except UnitError as error:
        return f"{place.name}: {error}\n"
    if not commands:
        return f"{place.name}: Service has no ExecStart=, ExecStop=, or SuccessAction=. Refusing.\n"
    program = commands[0].path
    if not (machine.root / program.lstrip("/")).exists():
        return f"{place.name}: Command {program} is not executable: No such file or directory\n"
    return ""
