"""sudo on a rehearsal node: its answer is a script, by which the shell that asks becomes the command."""

from __future__ import annotations

import shlex
from getopt import getopt
from importlib.resources import files

from kubeharden_rehearsal.machine import Machine
from kubeharden_rehearsal.systemctl import Reply

_USAGE = "usage: sudo [-ABkNnS] [-p prompt] [-u user] [VAR=value] [command [arg ...]]\n"
_NO_TERMINAL = (
    "sudo: a terminal is required to read the password; either use the -S option to read from "
    "standard input or configure an askpass helper\n"
)
_SHORT, _LONG = (
    "ABbEHiKkNnPSsvC:D:g:p:u:",
    {"prompt=": "-p", "user=": "-u", "stdin": "-S", "non-interactive": "-n"},
)


def sudo(machine: Machine, user: str, arguments: list[str]) -> Reply:
    """Become another user, as far as the other commands of the node can tell, and run a command."""
    options, variables, words = _read(arguments)
    if not words and not {"-v", "-k", "-K"} & options.keys():
        return Reply(error=_USAGE, status=1)
    if not words and "-v" not in options:
        return Reply()  # sudo -k: nothing is remembered here
    lines = []
    if machine.scenario.sudo != "nopasswd" and user != "root":
        if "-n" in options or "-S" not in options:
            terminal = "" if "-n" in options else _NO_TERMINAL
            return Reply(error=f"{terminal}sudo: a password is required\n", status=1)
        prompt_form = options.get("-p", "[sudo] password for %u: ")
        prompt = prompt_form.replace("%u", user).replace("%p", user).replace("%h", machine.name)
        lines = [
            f"prompt={shlex.quote(prompt)} password={shlex.quote(machine.scenario.sudo_password)}",
            (files(__package__) / "sudo.sh").read_text(encoding="utf-8"),
        ]
        if machine.scenario.sudo == "none":
            complaint = f"{user} is not in the sudoers file.  This incident will be reported."
            words, lines = [], [*lines, f"echo '{complaint}' >&2", "exit 1"]
    if not words:
        return Reply(script="\n".join([*lines, "exit 0"]))
    target = options.get("-u", "root")
    home = "/root" if target == "root" else f"/home/{target}"
    own = {"SUDO_USER": user, "USER": target, "LOGNAME": target, "HOME": home, **variables}
    lines += [
        f"shift {len(arguments) - len(words)}",
        'command -v "$1" >/dev/null || { echo "sudo: $1: command not found" >&2; exit 1; }',
        *(f"export {name}={shlex.quote(value)}" for name, value in own.items()),
        'exec "$@"',
    ]
    return Reply(script="\n".join(lines))


def _read(arguments: list[str]) -> tuple[dict[str, str], dict[str, str], list[str]]:
    """Return the options of sudo, the variables that it is to set, and the command with its arguments."""
    options, variables, words = dict[str, str](), dict[str, str](), arguments
    while True:
        found, words = getopt(words, _SHORT, list(_LONG))
        options |= {_LONG.get(name[2:], _LONG.get(f"{name[2:]}=", name)): value for name, value in found}
        name, equals, value = words[0].partition("=") if words else ("", "", "")
        if not equals or not name.isidentifier():
            return options, variables, words
        variables[name] = value
        words = words[1:]
