"""The client configuration of OpenSSH, as OpenSSH resolves it (``ssh -G``): where a host is, and what leads there.

What cannot be followed is refused by name. Where there is not a program ``ssh``, no configuration is read.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import socket
import subprocess
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kubeharden.edges.login import login_or_uid
from kubeharden.edges.nodes.client_answers import ClientAnswers, ask_ssh
from kubeharden.edges.nodes.known_command import NAME, split_arguments
from kubeharden.errors import NodeError
from kubeharden.inputs.inventory import SSH_PORT

NONE = "none"
_HOME_FILES = ("id_rsa", "id_ecdsa", "id_ed25519")
_KNOWN = (
    "~/.ssh/known_hosts",
    "~/.ssh/known_hosts2",
    "/etc/ssh/ssh_known_hosts",
    "/etc/ssh/ssh_known_hosts2",
)
_AGENT = "SSH_AUTH_SOCK"
# What is not followed, the values with which it does nothing, and the way out.
_REFUSED = {
    "pkcs11provider": ((NONE,), "add the token to the agent: ssh-add -s PROVIDER"),
    "bindinterface": ((NONE,), "say BindAddress in its place"),
    "proxyusefdpass": (("no",), "use a ProxyCommand that passes the data on"),
    "pubkeyauthentication": (("yes", "true", "unbound", "host-bound"), "a login here needs a key"),
}
# What stands for something in KnownHostsCommand alone, before a key is shown.
_OF_KNOWN_COMMAND = {"H": NAME, "I": "HOSTNAME"}
_FAMILIES = {"inet": socket.AF_INET, "inet6": socket.AF_INET6}


@dataclass(frozen=True)
class Target:
    """A host as SSH reaches it.

    Attributes:
        identities: files of keys, whether they are there or not.
        identities_only: no other key of the agent may be offered.
        agent: the agent's socket; empty for none.
        known_hosts: files of host keys.
        alias: the name under which its host key is known; empty for its own.
        known_command: a program that prints lines of known_hosts, and its arguments, with ``known_command.NAME`` for
            the name that is looked for; nothing for none.
        revoked: a file of keys that no host may show; empty for none.
        jumps: the hosts through which it is reached, the first one first.
        proxy_command: what connects to it; empty for nothing.
        bind_address: from where to connect; empty for anywhere.
    """

    host: str
    port: int
    user: str
    identities: tuple[str, ...]
    identities_only: bool = False
    agent: str = ""
    known_hosts: tuple[str, ...] = ()
    known_command: tuple[str, ...] = ()
    alias: str = ""
    revoked: str = ""
    jumps: tuple[str, ...] = ()
    proxy_command: str = ""
    family: int = socket.AF_UNSPEC
    bind_address: str = ""


def missing_ssh() -> str:
    """Return why no client configuration is read; empty where it is."""
    if shutil.which("ssh"):
        return ""
    return "there is not a program ssh here to resolve it: ~/.ssh/config and /etc/ssh/ssh_config are not read"


def resolve(
    host: str,
    user: str | None,
    port: int | None,
    identity: str | None,
    known_hosts: str | None,
    seconds: float,
    answers: ClientAnswers | None = None,
) -> Target:
    """Return how a host is reached.

    Args:
        user: the user who logs in, if that is not left to the configuration.
        port: where it listens, if that is not left to the configuration.
        identity: a file with a key that is offered before those of the configuration.
        known_hosts: the one file of host keys, in place of those of the configuration.
        seconds: how long OpenSSH may take: a ``Match exec`` runs a program.

    Raises:
        NodeError: the configuration is wrong, or says something that cannot be followed.
    """
    known = (known_hosts,) if known_hosts else ()
    if missing_ssh():
        home = str(Path.home())
        own = (identity,) if identity else tuple(f"~/.ssh/{name}" for name in _HOME_FILES)
        return Target(
            host,
            port or SSH_PORT,
            user or login_or_uid(),
            tuple(_in_home(path, home) for path in own),
            agent=os.environ.get(_AGENT, ""),
            known_hosts=known or tuple(_in_home(path, home) for path in _KNOWN),
        )
    options = ["-l", user] if user else []
    options += ["-i", identity.replace("%", "%%")] if identity else []
    # That of the configuration is not asked then; what it says is revoked is so for every list of keys.
    options += ["-o", "KnownHostsCommand=none"] if known else []
    try:
        done = answers.ask(options, host, port, seconds) if answers else ask_ssh(options, host, port, seconds)
    except subprocess.TimeoutExpired:
        raise NodeError(
            f"OpenSSH did not resolve its client configuration for {host} within {seconds:.0f} s (ssh -G {host}). Does "
            "a Match exec in it hang?"
        ) from None
    except OSError as error:
        raise NodeError(
            f"OpenSSH did not resolve its client configuration for {host} (ssh -G {host}): {error.strerror}"
        ) from None
    if done.returncode != 0:
        complaint = done.stderr.decode(errors="replace").strip()[-500:]
        raise NodeError(
            f"OpenSSH cannot resolve its client configuration for {host} (ssh -G {host}): {complaint}"
        )
    target = target_of(host, done.stdout.decode(errors="surrogateescape"), os.environ)
    return replace(target, known_hosts=known, known_command=()) if known else target


def target_of(name: str, text: str, environment: Mapping[str, str]) -> Target:
    """Return what ``ssh -G`` printed.

    Args:
        name: the host that it was asked for.
        text: a keyword in small letters and its value in each line.

    Raises:
        NodeError: it says something that cannot be followed.
    """
    settings: dict[str, list[str]] = defaultdict(list)
    for line in text.splitlines():
        keyword, _, value = line.partition(" ")
        settings[keyword.lower()].append(value)

    def get(keyword: str, default: str = NONE) -> str:
        return settings[keyword][0] if settings.get(keyword) else default

    for keyword, (harmless, way_out) in _REFUSED.items():
        value = get(keyword, harmless[0])
        if value.lower() not in harmless:
            raise _refusal(name, f"{keyword} {value}", way_out)
    host, port, user, alias = (
        get("hostname", name),
        int(get("port", "22")),
        get("user", ""),
        get("hostkeyalias"),
    )
    home = pwd.getpwuid(os.getuid()).pw_dir  # not $HOME, for OpenSSH
    tokens = {
        "%": "%",
        "h": host,
        "n": name,
        "p": str(port),
        "r": user,
        "u": login_or_uid(),
        "d": home,
        "k": host if alias == NONE else alias,
        "i": str(os.getuid()),
        "l": socket.gethostname(),
        "L": socket.gethostname().partition(".")[0],
    }

    def fill(value: str, keyword: str, more: Mapping[str, str]) -> str:
        def stands_for(match: re.Match[str]) -> str:
            if match[2]:
                return environment.get(match[2], "")
            if (text := {**tokens, **more}.get(match[1])) is None:
                raise _refusal(name, f"{keyword} {value}", f"write out what %{match[1]} stands for")
            return text

        return re.sub(r"%(.)|\$\{(\w+)\}", stands_for, value)

    def expand(value: str, keyword: str) -> str:
        return _in_home(fill(value, keyword, {}), home)

    identities = tuple(expand(value, "identityfile") for value in settings["identityfile"] if value != NONE)
    for value in settings["certificatefile"]:
        if value != NONE and expand(value, "certificatefile").removesuffix("-cert.pub") not in identities:
            raise _refusal(name, f"certificatefile {value}", "put it beside its key, as KEY-cert.pub")
    proxy_jump, proxy_command, agent = get("proxyjump"), get("proxycommand"), get("identityagent", _AGENT)
    if variable := re.fullmatch(rf"\$(\w+)|({_AGENT})", agent):
        agent = environment.get(variable[1] or variable[2], "")
    return Target(
        host,
        port,
        user,
        identities,
        identities_only=get("identitiesonly") in ("yes", "true"),
        agent="" if agent == NONE else expand(agent, "identityagent"),
        known_hosts=tuple(
            path
            for keyword in ("userknownhostsfile", "globalknownhostsfile")
            for path in _paths(expand(get(keyword), keyword), home)
        ),
        known_command=tuple(
            fill(word, "knownhostscommand", _OF_KNOWN_COMMAND) if number else word
            for number, word in enumerate(_known_command(name, get("knownhostscommand")))
        ),
        alias="" if alias == NONE else alias,
        revoked="" if get("revokedhostkeys") == NONE else expand(get("revokedhostkeys"), "revokedhostkeys"),
        jumps=() if proxy_jump == NONE else tuple(proxy_jump.split(",")),
        proxy_command="" if proxy_command == NONE else expand(proxy_command, "proxycommand"),
        family=_FAMILIES.get(get("addressfamily"), socket.AF_UNSPEC),
        bind_address="" if get("bindaddress") == NONE else get("bindaddress"),
    )


def _known_command(name: str, text: str) -> list[str]:
    """Return the words of KnownHostsCommand; nothing for none.

    Raises:
        NodeError: it cannot be followed.
    """
    if text == NONE:
        return []
    what = f"knownhostscommand {text}"
    if match := re.search(r"(?<!%)(?:%%)*(%[tfK])", text):
        way_out = "put its keys into a file, and name that (ssh.known_hosts)"
        raise _refusal(
            name, what, f"{match[1]} is about a key that is shown, which is not known before; {way_out}"
        )
    try:
        words = split_arguments(text)
    except ValueError as error:
        raise _refusal(name, what, str(error)) from None
    if not words or not words[0].startswith("/"):
        raise _refusal(name, what, "write the whole path of the program, as OpenSSH wants it")
    return words


def _paths(text: str, home: str) -> Sequence[str]:
    """Return the paths in a list with blanks between; one with blanks in it must be the only one."""
    if text == NONE:
        return ()
    return (text,) if Path(text).is_file() else [_in_home(path, home) for path in text.split()]


def _in_home(path: str, home: str) -> str:
    return f"{home}{path[1:]}" if path == "~" or path.startswith("~/") else path


def _refusal(name: str, what: str, way_out: str) -> NodeError:
    return NodeError(
        f"the SSH client configuration says {what} for {name} (ssh -G {name}), which cannot be followed here: {way_out}"
    )
