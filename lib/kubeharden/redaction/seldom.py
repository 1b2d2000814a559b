"""Find names of secrets that are seldom: each is looked for only in a text that has one of its words."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from kubeharden.redaction.patterns import NAME, PASSWORD, QUOTE
from kubeharden.redaction.values import replace_values

_PART = r"\s{0,40}<(?:string|dd|code|span|b|em|strong|td)\b[^<>\n]{0,200}>"
_LABEL = r"</(?:b|code|dd|dt|em|key|label|span|strong|td|th)>"
Words = tuple[str, ...]
Patterns = tuple[tuple[Words, re.Pattern[str]], ...]


def _compile(*patterns: tuple[Words, str]) -> Patterns:
    return tuple((words, re.compile(f"(?i){pattern}")) for words, pattern in patterns)


# Patterns by words, in small letters, of which one stands in every text that they match.
_NAMED = _compile(
    # of a registry in TOML; of Consul
    (("auth",), r"(?<![\w.-])auth[ \t]*=[ \t]*(?=\")"),
    (("encrypt",), rf"{QUOTE}encrypt{QUOTE}[ \t]*:[ \t]*(?={QUOTE}[A-Za-z0-9+/]{{20,}}=*{QUOTE})"),
    # value: …, and then name: DB_PASSWORD
    (
        ("value", "content"),
        (
            rf"\b(?:value|content)(?:{QUOTE})?[ \t]*[:=][ \t]*(?=[^\n{{}}<>]{{1,300}}?[\s,]{{1,40}}(?:{QUOTE})?"
            rf"(?:name|key)(?:{QUOTE})?[ \t]*[:=][ \t]*(?:{QUOTE})?{NAME}(?:{QUOTE})?\s*(?:[,/>}}\n]|\Z))"
        ),
    ),
    (
        ("<input",),
        r"<input\b(?=[^<>\n]{0,300}\btype=[\"']?password)[^<>\n]{0,300}?\bvalue=",
    ),
    # a key on a line of its own, in YAML; a part of a form; PHP
    (("?",), rf"\?[ \t]+(?:{QUOTE})?{NAME}(?:{QUOTE})?[ \t]*\n[+ -]?[ \t]*:(?=\s)"),
    (("name=",), rf"\bname={QUOTE}{NAME}{QUOTE}[^\n]{{0,100}}\n\r?\n"),
    ((";s:",), rf"{QUOTE}{NAME}{QUOTE};s:\d{{1,9}}:(?=\")"),
    (("string(",), rf"{QUOTE}{NAME}{QUOTE}\]=>\s{{1,40}}string\(\d{{1,9}}\)[ ](?=\")"),
    # a prompt, and what vault says
    ((" for ",), rf"{PASSWORD}[ ]for[ ][^\s:]{{1,100}}:"),
    (("unseal",), r"\bunseal key \d{1,3}:"),
    # two between brackets, and nothing more: not [secrets, pods]
    (("[",), rf"\[\s*{QUOTE}{NAME}(?<!s){QUOTE}\s*,\s*(?=([\"'])[^\"'\n]*\1\s*\])"),
)
_ELEMENTS = _compile(
    (
        ("</",),
        # not an item of a YAML list, as in the diff of a PodSecurityPolicy that allows volumes of kind secret
        (
            rf"(?<!- ){NAME}\s{{0,40}}"
            rf"(?:[:=]\s{{0,40}}{_LABEL}(?:{_PART})?|[:=]?\s{{0,40}}{_LABEL}(?:\s{{0,40}}[:=]|{_PART}))"
        ),
    ),
)
_WORDS = _compile(
    # ~/.netrc without a login, and its account, which is another password
    (("machine",), r"\bmachine[ \t]+\S{1,200}\s+(?:password|account)[ \t]+(?=\S)"),
    (("account",), r"\baccount[ \t]+(?=\S{1,200}\s+(?:login|password)\b)"),
    # directives of redis, keepalived, haproxy and snmpd; csh
    (
        ("requirepass", "masterauth", "community", "stats", "auth_pass"),
        r"(?<![\w-])(?:requirepass|masterauth|r[ow]community6?|stats[ ]+auth|auth_pass)[ \t]+(?=\S)",
    ),
    (("insecure-",), r"\binsecure-password[ ]+(?=\S)"),
    (("setenv",), rf"\bsetenv[ ]+{NAME}[ ]+(?=\S)"),
    (("psk",), r"\bPSK[ ]+(?=[\"'])"),
    (("config set",), rf"\bconfig[ ]set[ ]{NAME}[ ]+(?=\S)"),
    ((":thin:",), r":thin:[^\s/@]{1,200}/(?=[^\s@]+@)"),
)
# An anchor of YAML under a name that gives nothing away, of which an alias stands under one that does.
_IS_ALIAS = re.compile(r":[ \t]+\*\w")
_ALIAS = re.compile(rf"(?i){NAME}(?:{QUOTE})?[ \t]*:[ \t]+\*([\w.-]{{1,100}})")


def replace_seldom(text: str, mark: Callable[[str], str]) -> str:
    """Replace the values that these name."""
    lower = text.lower()
    if _IS_ALIAS.search(text) and (anchors := {re.escape(name) for name in _ALIAS.findall(text)}):
        one = "|".join(anchors)
        places = re.compile(rf"(?:[\w.\"'-]{{1,100}}[ \t]*:|-)(?=[ \t]+&(?:{one})[ \t\r\n])")
        text = replace_values(places, text, mark)
    for pattern in _those_in(lower, _NAMED):
        text = replace_values(pattern, text, mark)
    for pattern in _those_in(lower, _ELEMENTS):
        text = replace_values(pattern, text, mark, cell=True)
    for pattern in _those_in(lower, _WORDS):
        text = replace_values(pattern, text, mark, word=True)
    return text


def _those_in(lower: str, patterns: Patterns) -> Iterator[re.Pattern[str]]:
    return (pattern for words, pattern in patterns if any(word in lower for word in words))
