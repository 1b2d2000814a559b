"""Take secrets out of text before anybody sees it. Everything that is shown, logged or recorded passes here.

A secret is known in one of four ways: it was ``remember``-ed, such as a password that was typed in; it was withheld,
because ``withheld.py`` does not know it to be harmless; its form gives it away; or the name before it does.
"""

from __future__ import annotations

import base64
import hmac
import html
import json
import math
import re
import secrets
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from typing import Any
from urllib.parse import quote

# A value is known as a secret by its form, wherever it stands.
_FORMS = [
    # bootstrap tokens: id.secret (k8s.io/cluster-bootstrap/token/api)
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    # JSON web tokens, which service account tokens are
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
]
# A value is known as a secret by the name before it: flags, YAML and JSON keys, environment variables. The name
# must end there, so that --token-auth-file=/path and tokenFile: stay readable. It is looked for from the start of a
# word on: from every letter of it, a long one (base64 in a page) would take minutes.
_NAME = (
    r"(?<![a-z0-9_.-])[a-z0-9_.-]*"
    r"(?:password|passwd|secret|token|private[_-]?key|api[_-]?key|access[_-]?key|client-key-data)"
)
_KEY = re.compile(rf"(?i){_NAME}|auth")
_BEFORE = r"""\\*["']?\s*[:=]\s*"""
_NAMED = re.compile(rf"""(?i)(?:{_NAME}|(?<=["'])auth(?=\\*["'])){_BEFORE}""")
_FLAG = re.compile(r"(?i)(?<![\w-])--[a-z0-9-]*(?:password|secret|token)\s+(?!-)")
_ANY_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*=(?=\S)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)")
# Environment= of a unit, also in a diff: whatever the variables are called.
_UNIT_ENVIRONMENT = re.compile(r"(?m)^[+ -]?\s*Environment\s*=(?=.)")
_ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
# The data of a Secret, as JSON or a dict's repr, and as YAML.
_SECRET_KIND = re.compile(r"""kind\\*["']?\s*:\s*\\*["']?Secret(?:List)?\b""")
_SECRET_MAP = re.compile(r"""((?:data|stringData)\\*["']?\s*:\s*\{)([^{}]*)\}""")
_SECRET_ITEM = re.compile(r"""([\w.-]+\\*["']?\s*:\s*\\*["']?)([^"',}\\\s][^"',}\\]*)""")
_SECRET_YAML = re.compile(r"(?m)^([+ -]?)( *)(data|stringData):[ \t]*\n((?:[+ -]?\2 +\S.*\n?)+)")

_MARK = r"‹redacted sha256:[0-9a-f]{8}›"
# What is no value: the beginning of an object.
_PLAIN = re.compile(rf"""{_MARK}|(?!\{{["'\s\\}}])[^\s"'}}\\]+""")
_NO_SECRETS = {"true", "false", "True", "False", "null", "None"}
_COLOURS = re.compile(r"(?:\x1b|\\x1b|\\u001b)\[[0-9;]*m")
LEAST_DECODED = 8  # characters of what a Secret holds; shorter texts are base64 by chance
LEAST = 4  # characters; anything shorter would tear ordinary words apart
LONG = 12  # characters; what is withheld and shorter is taken out only where it is a word of its own
# What is like a word, a name or a part of a digest is a part of longer ones by chance: it is taken out only where it is
# a word of its own. Of any other secret, no text has it by chance.
_ORDINARY = re.compile(r"(?=.{1,15}\Z)(?:[A-Za-z]+\d*|[0-9a-fA-F]+)(?:[._-](?:[A-Za-z]+\d*|[0-9a-fA-F]+))*")
# A word begins here although a letter or a digit stands before: the end of what JSON, Python or a URL write for a
# character (as in "\\nword" and "%20word"), or a short option with its value (-pword).
_BEGINS = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})"
    r"|(?<=%[0-9A-F]{2})|(?<=(?<![\w-])-[A-Za-z]))"
)

# Marks differ from run to run, so that nobody can try passwords against them afterwards.
_key = secrets.token_bytes(32)
_known: dict[str, str] = {}  # as it may be written: the secret
_withheld: dict[str, str] = {}  # likewise, of values that are only not known to be harmless
_harmless: set[str] = set()
_names: set[str] = set()  # of flags and variables whose values are not known to be harmless
_shown_flags: set[str] = set()  # of which any value may be seen; empty: nobody has said
_registered: list[re.Pattern[str]] = []  # what stands before the values of those names


def remember(secret: str | None) -> None:
    """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
    if secret and len(secret) >= LEAST:
        _known.update(_spellings(secret))


def withhold(values: Iterable[str], names: Iterable[str], harmless: Iterable[str]) -> None:
    """Take out what is not known to be harmless, from now on.

    Args:
        values: texts to take out wherever they stand.
        names: flags (with dashes) and variables whose values are taken out wherever they are given.
        harmless: words that are known to be harmless; a value that is one of them stays.
    """
    for value in values:
        if len(value) >= LEAST:
            _withheld.update(_spellings(value))
    _harmless.update(harmless)
    if not _names.issuperset(new := set(names)):
        _names.update(new)
        _registered[:] = _before_values(_names)


def decoded(value: str) -> str:
    """What a value of a Secret's ``data`` says, where that is a text of some length; else empty."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
    return text if len(text) >= LEAST_DECODED else ""


def show_flags(names: Iterable[str]) -> None:
    """From now on, of what is given to a flag as ``--name=value``, show only what these are given, in any text."""
    _shown_flags.update(names)


def redact(text: str) -> str:
    """The text without its secrets; within a run, equal secrets have equal marks.

    Colours of a terminal, which may stand between a name and its value, stay only where there is no secret.
    """
    bare = _COLOURS.sub("", text)
    if bare != text:
        harmless = _redacted(bare)
        return text if harmless == bare else harmless
    return _redacted(text)


def _redacted(text: str, *, is_key: bool = False) -> str:
    known = [s for s in tuple(_known) if s in text and not (is_key and _is_ordinary(s))]
    for spelling in sorted(known, key=len, reverse=True):
        text = _places(spelling, words=_is_ordinary(spelling)).sub(_mark(_known[spelling]), text)
    found = [s for s, value in tuple(_withheld.items()) if s in text and value not in _harmless]
    for spelling in sorted(found, key=len, reverse=True):
        text = _places(spelling, words=len(spelling) < LONG).sub(_mark(_withheld[spelling]), text)
    for form in _FORMS:
        text = form.sub(lambda match: _mark(match[0]), text)
    text = _USERINFO.sub(lambda match: match[1] + _mark(match[2]), text)
    text = _unit_environment(_secret_objects(text))
    for names in (_FLAG, _NAMED, *_registered):
        text = _values_after(names, text)
    if _shown_flags:
        text = _values_after(_ANY_FLAG, text, _shown_flags)
    return _BEARER.sub(lambda m: f"{m[1]} {_mark(m[2])}", text)


def is_whole(text: str) -> bool:
    """Whether a text has no mark of something that was taken out of it."""
    return re.search(_MARK, text) is None


def redact_data(value: Any) -> Any:
    """Plain data without its secrets: each text by itself, so that what is made of it (JSON, YAML) stays valid.

    What stands under a key that names a secret is taken out whole, and so are the data of a Secret and the values of
    environment variables. What is no plain data becomes its text. Ordinary words stay in keys: these are names of
    fields, the same whatever the secret is, and nobody could read a record without them.
    """
    if isinstance(value, Mapping):
        secret = str(value.get("kind", "")).startswith("Secret")
        variable = set(value) == {"name", "value"}
        return {
            _redacted(str(key), is_key=True): _redacted_item(str(key), item, secret, variable)
            for key, item in value.items()
        }
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_data(item) for item in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return redact(str(value))


def _redacted_item(key: str, item: Any, secret: bool, variable: bool) -> Any:
    if secret and key == "items" and isinstance(item, list):
        return [
            redact_data({"kind": "Secret", **part}) if isinstance(part, Mapping) else _all(part)
            for part in item
        ]
    if secret and key in ("data", "stringData"):
        for value in item.values() if isinstance(item, Mapping) else ():
            _hold(str(value))
        return _all(item)
    if key == "kubectl.kubernetes.io/last-applied-configuration":
        return _applied(str(item))
    named = _KEY.fullmatch(key) or key in _names or (variable and key == "value")
    return _all(item) if named and not isinstance(item, Mapping) else redact_data(item)


def _all(item: Any) -> Any:
    """Data with every text and number in it taken out."""
    if isinstance(item, Mapping):
        return {str(key): _all(part) for key, part in item.items()}
    if isinstance(item, (list, tuple)):
        return [_all(part) for part in item]
    return item if item is None or item == "" or isinstance(item, bool) else _mark(str(item))


def _hold(value: str) -> str:
    """The mark of a value of a Secret that is shown; it is withheld from now on, as it is and as what it says.

    It may have been copied to where nothing tells what it is. Ordinary words, such as a namespace, stay.
    """
    texts = (text for text in (value, decoded(value)) if len(text) >= LEAST_DECODED)
    withhold((text for text in texts if not _is_ordinary(text)), (), ())
    return _mark(value)


def _applied(text: str) -> str:
    """An object that kubectl keeps as text inside another."""
    try:
        return json.dumps(redact_data(json.loads(text)), ensure_ascii=False)
    except ValueError:
        return _mark(text)


def _spellings(secret: str) -> dict[str, str]:
    """A secret as it is, and as JSON, Python, HTML, URLs and base64 write it."""
    data = secret.encode("utf-8", "surrogateescape")
    ways = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], html.escape(secret), quote(data)}
    return dict.fromkeys({*ways, base64.b64encode(data).decode("ascii")}, secret)


def _is_ordinary(secret: str) -> bool:
    return _ORDINARY.fullmatch(secret) is not None


@cache
def _places(text: str, *, words: bool) -> re.Pattern[str]:
    """Where a text stands: anywhere, or only as a word of its own."""
    before = _BEGINS if words and text[0].isalnum() else ""
    after = "(?![A-Za-z0-9])" if words and text[-1].isalnum() else ""
    return re.compile(f"{before}{re.escape(text)}{after}")


def _before_values(names: Iterable[str]) -> Iterable[re.Pattern[str]]:
    """What stands before the values of flags (with dashes) and of variables."""
    flags = "|".join(re.escape(name) for name in sorted(names) if name.startswith("-"))
    variables = "|".join(re.escape(name) for name in sorted(names) if not name.startswith("-"))
    if flags:
        yield re.compile(rf"(?<![\w-])(?:{flags})(?:=|\s+)(?=[^\s-])")
    if variables:
        yield re.compile(rf"(?<![\w.-])(?:{variables}){_BEFORE}(?=\S)")


def _values_after(names: re.Pattern[str], text: str, but: Collection[str] = ()) -> str:
    """The text with what stands after each match taken out: up to its closing quote, else up to the next space.

    Args:
        names: what stands before the values.
        text: the text.
        but: names (without what stands between them and the value) whose values stay.
    """
    pieces, at = [], 0
    for match in names.finditer(text):
        if match.start() < at or match[0].rstrip("=") in but:
            continue
        start, end = _extent(text, match)
        if start < end and text[start:end] not in _NO_SECRETS:
            pieces += [text[at:start], _mark(text[start:end])]
            at = end
    return "".join([*pieces, text[at:]])


def _extent(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Where the value after a name begins and ends."""
    start = match.end()
    while text[start : start + 1] == "\\":
        start += 1
    before = text[match.start() - 1] if match.start() else ""
    if text[start : start + 1] in ("'", '"'):
        closing, start = text[start], start + 1
    elif before in ("'", '"') and before not in match[0]:  # "NAME=two words"
        closing = before
    else:
        plain = _PLAIN.match(text, start)
        return start, plain.end() if plain else start
    end = text.find(closing, start)
    line = text.find("\n", start)
    end = min((place for place in (end, line) if place >= 0), default=len(text))
    while end > start and text[end - 1] == "\\":
        end -= 1
    return start, end


def _unit_environment(text: str) -> str:
    for match in reversed(list(_UNIT_ENVIRONMENT.finditer(text))):
        end = text.find("\n", match.end())
        end = len(text) if end < 0 else end
        text = text[: match.end()] + _values_after(_ASSIGNED, text[match.end() : end]) + text[end:]
    return text


def _secret_objects(text: str) -> str:
    if not _SECRET_KIND.search(text):
        return text
    inner = _SECRET_ITEM
    text = _SECRET_MAP.sub(lambda m: m[1] + inner.sub(lambda i: i[1] + _hold(i[2]), m[2]) + "}", text)
    return _SECRET_YAML.sub(
        lambda m: f"{m[1]}{m[2]}{m[3]}:\n" + re.sub(r"(?m)(: *)(\S.*)$", lambda i: i[1] + _hold(i[2]), m[4]),
        text,
    )


def _mark(secret: str) -> str:
    if re.fullmatch(_MARK, secret):
        return secret
    digest = hmac.digest(_key, secret.encode("utf-8", "surrogateescape"), "sha256").hex()
    return f"‹redacted sha256:{digest[:8]}›"
