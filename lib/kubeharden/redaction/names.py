"""Find what names a secret: each pattern is looked for only in a text, or only where in it, one of its words stands."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from kubeharden.redaction.patterns import (
    ELEMENT,
    FLAG,
    HINTS,
    NAME,
    NAMED,
    PASSWORD,
    QUOTE,
    ByHints,
    LazyPattern,
    Rows,
    row,
    those_in,
)
from kubeharden.redaction.values import replace_values

_PART = r"\s{0,40}<(?:string|dd|code|span|b|em|strong|td)\b[^<>\n]{0,200}>"
# The first sign of a pattern: in a row of backslashes, it is looked for once, and not from each of them.
_FIRST_QUOTE = rf"(?<!\\){QUOTE}"
_LABEL_END = r"</(?:b|code|dd|dt|em|key|label|span|strong|td|th)>"
_row = partial(row, flags=re.IGNORECASE)
_NAMED = (
    # of a registry in TOML; of Consul
    _row("auth", r"(?<![\w.-])auth[ \t]*=[ \t]*(?=\")"),
    _row("encrypt", rf"{_FIRST_QUOTE}encrypt{QUOTE}[ \t]*:[ \t]*(?={QUOTE}[A-Za-z0-9+/]{{20,}}=*{QUOTE})"),
    # value: …, and then name: DB_PASSWORD
    _row(
        "value|content",
        (
            rf"\b(?:value|content)(?:{QUOTE})?[ \t]*[:=][ \t]*(?=[^\n{{}}<>]{{1,300}}?[\s,]{{1,40}}(?:{QUOTE})?"
            rf"(?:name|key)(?:{QUOTE})?[ \t]*[:=][ \t]*(?:{QUOTE})?{NAME}(?:{QUOTE})?\s*(?:[,/>}}\n]|\Z))"
        ),
    ),
    _row(
        "<input",
        r"<input\b(?=[^<>\n]{0,300}\btype=[\"']?password)[^<>\n]{0,300}?\bvalue=",
    ),
    # a key on a line of its own, in YAML; a part of a form; PHP
    _row("?", rf"\?[ \t]+(?:{QUOTE})?{NAME}(?:{QUOTE})?[ \t]*\n[+ -]?[ \t]*:(?=\s)"),
    _row("name=", rf"\bname={QUOTE}{NAME}{QUOTE}[^\n]{{0,100}}\n\r?\n"),
    _row(";s:", rf"{_FIRST_QUOTE}{NAME}{QUOTE};s:\d{{1,9}}:(?=\")"),
    _row("string(", rf"{_FIRST_QUOTE}{NAME}{QUOTE}\]=>\s{{1,40}}string\(\d{{1,9}}\)[ ](?=\")"),
    # a prompt, and what vault says
    _row("word for|wort for|passwd for|phrase for", rf"{PASSWORD}[ ]for[ ][^\s:]{{1,100}}:"),
    _row("unseal key", r"\bunseal key \d{1,3}:"),
    # two between brackets, and nothing more: not [secrets, pods]
    _row("[", rf"\[\s*{QUOTE}{NAME}(?<!s){QUOTE}\s*,\s*(?=([\"'])[^\"'\n]*\1\s*\])"),
)
# A label in HTML: not an item of a YAML list, as in the diff of a PodSecurityPolicy that allows volumes of kind secret.
_LABEL = ByHints(
    rf"(?<!- ){NAME}\s{{0,40}}"
    rf"(?:[:=]\s{{0,40}}{_LABEL_END}(?:{_PART})?|[:=]?\s{{0,40}}{_LABEL_END}(?:\s{{0,40}}[:=]|{_PART}))"
)
_WORDS = (
    # a sentence: what is between quotes, or a word that has letters and digits, since most words there are harmless
    _row(
        "|".join(
            f"{end} {verb}"
            for end in ("word", "wort", "passwd", "phrase")
            for verb in ("is", "was", "lautet")
        ),
        rf"{PASSWORD}[ ](?:is|was|ist|lautet)(?:[ ]now)?:?[ \t]+"
        r"(?=[\"'`]\S|(?=[^\s\d]{0,80}\d)(?=[^\sa-z]{0,80}[a-z])\S{6})",
    ),
    # ~/.netrc without a login, and its account, which is another password
    _row("machine", r"\bmachine[ \t]+\S{1,200}\s+(?:password|account)[ \t]+(?=\S)"),
    _row("account |account\t", r"\baccount[ \t]+(?=\S{1,200}\s+(?:login|password)\b)"),
    # directives of redis, keepalived, haproxy and snmpd; csh
    _row(
        "requirepass|masterauth|rocommunity|rwcommunity|stats |auth_pass",
        r"(?<![\w-])(?:requirepass|masterauth|r[ow]community6?|stats[ ]+auth|auth_pass)[ \t]+(?=\S)",
    ),
    _row("insecure-", r"\binsecure-password[ ]+(?=\S)"),
    _row("setenv", rf"\bsetenv[ ]+{NAME}[ ]+(?=\S)"),
    _row("psk", r"\bPSK[ ]+(?=[\"'])"),
    _row("config set", rf"\bconfig[ ]set[ ]{NAME}[ ]+(?=\S)"),
    _row(":thin:", r":thin:[^\s/@]{1,200}/(?=[^\s@]{1,400}@)"),
    # programs that are told a password so, and ~/.netrc
    _row(
        "sshpass|mysql|login|bindpw|bind_pw|env |set -|echo |printf |htpasswd ",
        r"\bsshpass[ ]+-p[ ]*(?=\S)|\bmysql\w*[ ](?:[^\n|;&]{0,200}?[ ])?-p(?=[^\s-])"
        r"|\blogin[ \t]+\S{1,200}\s+password[ \t]+(?=\S)"
        # ldap.conf; ENV of a Dockerfile, and set of fish; sudo's standard input
        rf"|\bbind_?pw[ \t]+(?=\S)|\b(?:ENV|set -\w{{1,5}})[ ]+{NAME}[ ]+(?=\S)"
        r"|\b(?:echo|printf)[ ]+(?:-\w+[ ]+)?(?=\S{1,200}[ ]*\|[ ]*(?:\S{1,40}/)?"
        r"(?:sudo|passwd|chpasswd|smbpasswd|cryptsetup|kinit|su|gpg"
        r"|(?:docker|podman|nerdctl|helm(?:[ ]registry)?)[ ]login)\b)"
        r"|\bhtpasswd[ ]+-\w{0,9}b\w{0,9}[ ]+(?:\S{1,200}[ ]+){1,2}(?=\S)",
    ),
)
# In their order, and what the values are.
SEARCHED: tuple[tuple[str, Rows], ...] = (
    ("value", _NAMED),
    ("cell", ((("</",), _LABEL),)),
    ("word", (*_WORDS, (HINTS, FLAG))),
    ("value", ((HINTS, NAMED),)),
    ("cell", ((HINTS, ELEMENT),)),
)
# An anchor of YAML under a name that gives nothing away, of which an alias stands under one that does.
_IS_ALIAS = re.compile(r":[ \t]+\*\w")
_ALIAS = LazyPattern(rf"(?i){NAME}(?:{QUOTE})?[ \t]*:[ \t]+\*([\w.-]{{1,100}})")


def replace_named(text: str, lower: str, mark: Callable[[str], str]) -> str:
    """Replace the values that names say to be secret; ``lower`` has all words of the text in small letters."""
    if _IS_ALIAS.search(text) and (anchors := {re.escape(name) for name in _ALIAS.compiled.findall(text)}):
        one = "|".join(anchors)
        places = re.compile(rf"(?:[\w.\"'-]{{1,100}}[ \t]*:|-)(?=[ \t]+&(?:{one})[ \t\r\n])")
        text = replace_values(places, text, mark)
    for kind, searched in SEARCHED:
        for names in those_in(lower, searched):
            text = replace_values(names, text, mark, word=kind == "word", cell=kind == "cell")
    return text
