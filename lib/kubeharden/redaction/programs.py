"""Command lines: how programs are told a secret by a short flag, which no name gives away."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from kubeharden.redaction.values import replace_values

_LINE = r"[^\n|;&]{0,2000}"  # up to where the next command begins
_USER = r"(?=['\"]?[^\s:]{1,256}:\S)"  # a user before the password
# A program, and its flags up to their value.
_FLAGS = (
    (
        r"curl",
        rf"-[A-Za-z#]{{0,12}}[uU][ =]*{_USER}|-[A-Za-z#]{{0,12}}b[ ]*(?=['\"]?[\w.-]+=)|--oauth2-bearer[ =]+",
    ),
    (r"https?|xhs?", rf"(?:-a|--auth)[ =]*{_USER}"),
    (
        r"docker|podman|nerdctl|buildah|oras|skopeo|crane|ctr|crictl|helm|argocd|oc|az",
        rf"--(?:[a-z]+-)?creds[ =]+|--user[ =]+{_USER}",
    ),
    (r"redis-cli", r"-a[ ]*"),
    (r"mysql\w{0,40}|mariadb\w{0,40}|mongo\w{0,40}", r"-p(?=[^\s-])"),
    (r"ldap\w{1,40}", r"-w[ ]*"),
    (r"ipmi\w{1,40}", r"-[PK][ ]*"),
    (r"snmp\w{1,40}", r"-[AXc][ ]*"),
    (r"smbclient|rpcclient|net|nmblookup", r"-U[ ]*[^\s%]{1,200}%"),
    (r"openssl", r"-(?:K|k)[ ]+"),
    (r"sqlcmd", r"-P[ ]*"),
    (r"zip|unzip|7z\w?|unrar", r"-[Pp](?=[^\s-])|-P[ ]+"),
    (r"systemd-run", r"(?:-E[ ]*|--setenv[ =]+|-p[ ]*Environment=)[A-Za-z_]\w{0,200}="),
    (r"systemctl", r"(?<=set-environment )[A-Za-z_]\w{0,200}="),
    (r"kubectl", r"--from-literal[ =]+['\"]?[^\s=]{1,200}="),
)
_COMMANDS = tuple(
    (
        re.compile(rf"(?<![\w.-])(?:{program})[ ]+(?=\S){_LINE}"),
        re.compile(rf"(?<![\w-])(?:{flags})(?=[^\s-])"),
    )
    for program, flags in _FLAGS
)
_ANY = re.compile(rf"(?:{'|'.join(program for program, _ in _FLAGS)})[ ]")  # or a word that ends so
_USER_FLAG = re.compile(rf"-(?<![\w-]-)(?:u|U|-user|-proxy-user)[ =][ ]*{_USER}")
_LOGIN = re.compile(rf"\blogin[ ](?:{_LINE}?[ ])?-p[ =]*(?=[^\s-])")


def replace_flag_values(text: str, mark: Callable[[str], str]) -> str:
    """Replace what programs are told by their flags."""
    text = replace_values(_USER_FLAG, text, mark, word=True)
    for command, flags in _COMMANDS if _ANY.search(text) else ():
        text = command.sub(partial(_without_values, flags, mark), text)
    return replace_values(_LOGIN, text, mark, word=True) if "login " in text else text


def _without_values(flags: re.Pattern[str], mark: Callable[[str], str], command: re.Match[str]) -> str:
    return replace_values(flags, command[0], mark, word=True)
