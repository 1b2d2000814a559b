"""The commands of a rehearsal node that are not the host's own: see ``ask.sh``."""

from __future__ import annotations

import argparse
import os
import re
import stat
from collections.abc import Callable
from pathlib import Path
from time import time as clock
from urllib.parse import urlsplit

import yaml

from kubeharden.releases import release_table
from kubeharden_rehearsal.behaviour import RefusedError
from kubeharden_rehearsal.journalctl import journalctl
from kubeharden_rehearsal.machine import ROOT, STARTERS, Machine, shown_config
from kubeharden_rehearsal.manager import Launch
from kubeharden_rehearsal.sudo import sudo
from kubeharden_rehearsal.systemctl import Reply, reboot, systemctl
from kubeharden_rehearsal.systemd_tools import systemd_analyze, systemd_run

NAMES = (
    "systemctl systemd-run systemd-analyze journalctl reboot sudo chown stat id curl wget hostname cp install"
)
# What would reach past the node's file tree to the host, whose programs these are.
REFUSED = (
    "shutdown poweroff halt init service systemd-cat systemd-nspawn machinectl kubectl docker crictl ctr nerdctl "
    "iptables sysctl modprobe mount umount apt apt-get dpkg yum dnf rpm useradd usermod userdel passwd crontab pkill "
    "killall ps ss netstat ip"
)
_NOT_HERE = 127
_WGET_NETWORK, _WGET_HTTP_ERROR = 4, 8
_CURL_REFUSED, _CURL_HTTP_ERROR, _CURL_NO_HOST = 7, 22, 6
_HTTP_OK_BELOW = 400
_FROM_AND_TO = 2


async def run(machine: Machine, user: str, here: Path, words: list[str]) -> Reply:
    """Do a command that a user calls in a folder; ``here`` is its path on the host."""
    name, *arguments = words
    if name == "systemctl":
        return await systemctl(machine, user, arguments)
    if name == "reboot":
        return await reboot(machine, user)
    if name in STARTERS:
        return component(machine, user, here, name, arguments)
    if name in REFUSED.split():
        return Reply(error=f"{name}: a rehearsal node has no {name}\n", status=_NOT_HERE)
    return _COMMANDS[name](machine, user, here, arguments)


def _id(machine: Machine, user: str, _here: Path, arguments: list[str]) -> Reply:
    letters = {letter for word in arguments if word.startswith("-") for letter in word[1:]}
    name = next((word for word in arguments if not word.startswith("-")), user)
    account = machine.accounts.get(name)
    if account is None:
        return Reply(error=f"id: ‘{name}’: no such user\n", status=1)
    gids = [str(_gid(machine, group)) for group in account.groups]
    if "u" in letters:
        return Reply(f"{name if 'n' in letters else account.uid}\n")
    if "G" in letters:
        return Reply(" ".join(account.groups if "n" in letters else gids) + "\n")
    groups = ",".join(f"{gid}({group})" for gid, group in zip(gids, account.groups, strict=True))
    return Reply(f"uid={account.uid}({name}) gid={gids[0]}({account.groups[0]}) groups={groups}\n")


def _gid(machine: Machine, group: str) -> int:
    return next((a.uid for a in machine.accounts.values() if a.groups[0] == group), 65534)


_STAT = argparse.ArgumentParser(prog="stat", exit_on_error=False)
_STAT.add_argument("-c", "--format", default="%n")
_STAT.add_argument("-L", "--dereference", action="store_true")
_STAT.add_argument("paths", nargs="*")


def _stat(machine: Machine, _user: str, here: Path, arguments: list[str]) -> Reply:
    options = _STAT.parse_args(arguments)
    output, error = "", ""
    for path in options.paths:
        try:
            output += _stat_line(machine, here, path, options.format, follow=options.dereference) + "\n"
        except OSError as failure:
            error += f"stat: cannot statx '{path}': {os.strerror(failure.errno or 0)}\n"
    return Reply(output, error, 1 if error else 0)


def _stat_line(machine: Machine, here: Path, path: str, style: str, *, follow: bool) -> str:
    target = here / path
    status = target.stat() if follow else target.lstat()
    owner, group = machine.owners.get(target) if target.exists() else ("root", "root")
    values = {
        "a": f"{stat.S_IMODE(status.st_mode):o}",
        "U": owner,
        "G": group,
        "u": str(machine.accounts.get(owner, ROOT).uid),
        "g": str(_gid(machine, group)),
        "s": str(status.st_size),
        "n": path,
        "%": "%",
    }
    return re.sub("%(.)", lambda match: values.get(match[1], "?"), style)


def _chown(machine: Machine, user: str, here: Path, arguments: list[str]) -> Reply:
    words = [word for word in arguments if not word.startswith("-")]
    if user != "root":
        targets = ", ".join(f"'{path}'" for path in words[1:])
        return Reply(error=f"chown: changing ownership of {targets}: Operation not permitted\n", status=1)
    owner, _, group = words[0].partition(":")
    if strange := _strange(machine, owner, group):
        return Reply(error=f"chown: invalid {strange}: ‘{words[0]}’\n", status=1)
    error = ""
    for path in words[1:]:
        try:
            before = machine.owners.get(here / path)
            machine.owners.set(here / path, owner or before[0], group or before[1])
        except FileNotFoundError:
            error += f"chown: cannot access '{path}': No such file or directory\n"
    return Reply(error=error, status=1 if error else 0)


def _strange(machine: Machine, owner: str, group: str) -> str:
    """Return ``user`` or ``group``, whichever the node does not know; either may be empty."""
    if owner and owner not in machine.accounts:
        return "user"
    groups = {name for account in machine.accounts.values() for name in account.groups}
    return "group" if group and group not in groups else ""


def _install(machine: Machine, _user: str, here: Path, arguments: list[str]) -> Reply:
    """Set the owners, who are of the node, after the host's own install."""
    owner, group = _option(arguments, "-o") or "root", _option(arguments, "-g") or "root"
    if strange := _strange(machine, owner, group):
        words = f"install: invalid {strange}: ‘{owner if strange == 'user' else group}’\n"
        return Reply(error=words, status=1)
    machine.owners.set(here / arguments[-1], owner, group)
    return Reply()


def _cp(machine: Machine, _user: str, here: Path, arguments: list[str]) -> Reply:
    """Keep the owner with ``-p``, after the host's own cp."""
    letters = {letter for word in arguments if word.startswith("-") for letter in word[1:]}
    paths = [here / word for word in arguments if not word.startswith("-")]
    if letters & {"p", "a"} and len(paths) == _FROM_AND_TO:
        target = paths[1] / paths[0].name if paths[1].is_dir() else paths[1]
        machine.owners.set(target, *machine.owners.get(paths[0]))
    return Reply()


def _curl(machine: Machine, _user: str, _here: Path, arguments: list[str]) -> Reply:
    fail = any(word.startswith("-") and not word.startswith("--") and "f" in word for word in arguments)
    fail = fail or "--fail" in arguments
    url = next((word for word in arguments if "://" in word), "")
    parts = urlsplit(url)
    if parts.hostname not in ("127.0.0.1", "localhost"):
        return Reply(error=f"curl: (6) Could not resolve host: {parts.hostname}\n", status=_CURL_NO_HOST)
    secure = parts.scheme == "https"
    port = parts.port or (443 if secure else 80)
    answer = (machine.https if secure else machine.http)(port, parts.path or "/")
    style = _option(arguments, "-w")
    if answer is None:
        words = f"Failed to connect to {parts.hostname} port {port}: Connection refused"
        output = style.replace("%{http_code}", "000")
        return Reply(output, f"curl: (7) {words}\n", _CURL_REFUSED)
    status, body = answer
    if style:
        body = ("" if _option(arguments, "-o") else body) + style.replace("%{http_code}", str(status))
    if fail and status >= _HTTP_OK_BELOW:
        words = f"curl: (22) The requested URL returned error: {status}\n"
        return Reply(error=words, status=_CURL_HTTP_ERROR)
    return Reply(body)


def _wget(machine: Machine, user: str, here: Path, arguments: list[str]) -> Reply:
    """Do ``wget -qO- URL``, with ``-S`` too, for scripts on a node without curl."""
    url = [word for word in arguments if "://" in word]
    reply = _curl(machine, user, here, ["-f", *url])
    body = "" if "/dev/null" in arguments else reply.output
    statuses = {0: 0, _CURL_HTTP_ERROR: _WGET_HTTP_ERROR}
    status = statuses.get(reply.status, _WGET_NETWORK)
    if not any(word.startswith("-") and "S" in word for word in arguments) or status == _WGET_NETWORK:
        return Reply(body, "", status)
    code = _curl(machine, user, here, ["-o", "/dev/null", "-w", "%{http_code}", *url]).output
    return Reply(body, f"  HTTP/1.1 {code} \n", status)


_COMMANDS: dict[str, Callable[[Machine, str, Path, list[str]], Reply]] = {
    "systemd-run": lambda machine, user, _here, words: systemd_run(machine, user, words),
    "systemd-analyze": lambda machine, _user, _here, words: systemd_analyze(machine, words),
    "journalctl": lambda machine, user, _here, words: journalctl(machine, user, words),
    "id": _id,
    "hostname": lambda machine, *_: Reply(f"{machine.name}\n"),
    "stat": _stat,
    "chown": _chown,
    "cp": _cp,
    "install": _install,
    "curl": _curl,
    "wget": _wget,
    "sudo": lambda machine, user, _here, words: sudo(machine, user, words),
}


def component(machine: Machine, user: str, here: Path, name: str, arguments: list[str]) -> Reply:
    """Run a component's binary by hand: ``--write-config-to``, else a second instance."""
    launch = Launch("", (f"/usr/bin/{name}", *arguments), user, 0, "", clock())
    try:
        started = machine.begin(name, launch)
    except RefusedError as error:
        return Reply(error="".join(f"{line}\n" for line in error.lines), status=error.status)
    words = "".join(f"{line}\n" for line in started.lines)
    target = _option(arguments, "--write-config-to")
    if not target:
        return Reply(error=f"{words}listen: bind: address already in use\n", status=1)
    table = release_table(name, machine.scenario.release)
    content = {"apiVersion": table.api_version, "kind": table.kind, **shown_config(started.config)}
    place = machine.root / target.lstrip("/") if target.startswith("/") else here / target
    place.write_text(yaml.safe_dump(content), encoding="utf-8")
    return Reply(error=f"{words}Wrote configuration to: {target}\n")


def _option(arguments: list[str], name: str) -> str:
    for index, word in enumerate(arguments):
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
        if word == name and index + 1 < len(arguments):
            return arguments[index + 1]
    return ""
