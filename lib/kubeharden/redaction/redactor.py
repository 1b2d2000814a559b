"""Take secrets out of text and data. Everything that is shown, logged or recorded passes a ``Redactor``.

A secret is known in one of four ways: somebody gave it, such as a typed password (``remember``); it was read and is not
known to be harmless (``withhold``); its form gives it away; or the name before it does.
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
_SECRET_YAML = re.compile(r"(?m)^([+ -]?( *)(?:data|stringData):)[ \t]*\n((?:[+ -]?\2 +\S.*\n?)+)")
_SECRET_LINE = re.compile(r"(?m)(: *)(\S.*)$")

MARK = re.compile(r"‹redacted sha256:[0-9a-f]{8}›")
# What is no value: the beginning of an object.
_PLAIN = re.compile(rf"""{MARK.pattern}|(?!\{{["'\s\\}}])[^\s"'}}\\]+""")
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


class Redactor:
    """Knows the secrets of one run, and takes them out of what the run shows and records.

    Equal secrets have equal marks within a redactor. Marks differ from one redactor to the next, so that nobody can
    try passwords against them afterwards. Threads may share it: it only ever adds to what it knows.

    Args:
        shown_flags: the flags, with dashes, whose values may be seen; of any other ``--name=value`` in any text, the
            value is taken out. Without one, flags are not judged by their names.
    """

    def __init__(self, shown_flags: Collection[str] = ()) -> None:
        self._key = secrets.token_bytes(32)
        self._shown_flags = frozenset(shown_flags)
        self._known: dict[str, str] = {}  # as it may be written: the secret
        self._withheld: dict[str, str] = {}  # the same, of values that are only not known to be harmless
        self._harmless: set[str] = set()
        self._names: set[str] = set()  # of flags and variables whose values are not known to be harmless
        self._registered: list[re.Pattern[str]] = []  # what stands before the values of those names

    def remember(self, secret: str | None) -> None:
        """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
        if secret and len(secret) >= LEAST:
            self._known.update(_spellings(secret))

    def withhold(self, values: Iterable[str], names: Iterable[str], harmless: Iterable[str]) -> None:
        """Take out what is not known to be harmless, from now on.

        Args:
            values: texts to take out wherever they stand.
            names: flags (with dashes) and variables whose values are taken out wherever they are given.
            harmless: words that are known to be harmless; a value that is one of them stays.
        """
        for value in values:
            if len(value) >= LEAST:
                self._withheld.update(_spellings(value))
        self._harmless.update(harmless)
        if not self._names.issuperset(new := set(names)):
            self._names.update(new)
            self._registered = list(_before_values(self._names))

    def redact(self, text: str) -> str:
        """Return the text without its secrets.

        Colours of a terminal, which may stand between a name and its value, stay only where there is no secret.
        """
        bare = _COLOURS.sub("", text)
        if bare != text:
            harmless = self._redacted(bare)
            return text if harmless == bare else harmless
        return self._redacted(text)

    def redact_data(self, value: Any) -> Any:
        """Return plain data without its secrets: each text by itself, so that JSON and YAML made of it stay valid.

        A value under a key that names a secret is taken out whole, and so are the data of a Secret and the values of
        environment variables. What is not plain data becomes text. Ordinary words stay in keys: they are the names of
        fields, and nobody could read a record without them.
        """
        if isinstance(value, Mapping):
            secret = str(value.get("kind", "")).startswith("Secret")
            variable = set(value) == {"name", "value"}
            return {
                self._redacted(str(key), is_key=True): self._redacted_item(str(key), item, secret, variable)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.redact_data(item) for item in value]
        if (
            value is None
            or isinstance(value, (bool, int))
            or (isinstance(value, float) and math.isfinite(value))
        ):
            return value
        return self.redact(str(value))

    def _redacted(self, text: str, *, is_key: bool = False) -> str:
        known = [s for s in tuple(self._known) if s in text and not (is_key and _is_ordinary(s))]
        for spelling in sorted(known, key=len, reverse=True):
            text = _places(spelling, words=_is_ordinary(spelling)).sub(
                self._mark(self._known[spelling]), text
            )
        found = [s for s, value in tuple(self._withheld.items()) if s in text and value not in self._harmless]
        for spelling in sorted(found, key=len, reverse=True):
            text = _places(spelling, words=len(spelling) < LONG).sub(
                self._mark(self._withheld[spelling]), text
            )
        for form in _FORMS:
            text = form.sub(lambda match: self._mark(match[0]), text)
        text = _USERINFO.sub(lambda match: match[1] + self._mark(match[2]), text)
        text = self._unit_environment(self._secret_objects(text))
        for names in (_FLAG, _NAMED, *self._registered):
            text = self._values_after(names, text)
        if self._shown_flags:
            text = self._values_after(_ANY_FLAG, text, self._shown_flags)
        return _BEARER.sub(lambda m: f"{m[1]} {self._mark(m[2])}", text)

    def _redacted_item(self, key: str, item: Any, secret: bool, variable: bool) -> Any:
        if secret and key == "items" and isinstance(item, list):
            return [
                self.redact_data({"kind": "Secret", **part}) if isinstance(part, Mapping) else self._all(part)
                for part in item
            ]
        if secret and key in ("data", "stringData"):
            for value in item.values() if isinstance(item, Mapping) else ():
                self._withhold_data(str(value))
            return self._all(item)
        if key == "kubectl.kubernetes.io/last-applied-configuration":
            return self._applied(str(item))
        named = _KEY.fullmatch(key) or key in self._names or (variable and key == "value")
        return self._all(item) if named and not isinstance(item, Mapping) else self.redact_data(item)

    def _all(self, item: Any) -> Any:
        """Data with every text and number in it taken out."""
        if isinstance(item, Mapping):
            return {str(key): self._all(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [self._all(part) for part in item]
        return item if item is None or item == "" or isinstance(item, bool) else self._mark(str(item))

    def _withhold_data(self, value: str) -> None:
        """Take out a value of a Secret from now on, as it is and decoded: it may have been copied to anywhere.

        Ordinary words, such as a namespace, stay.
        """
        texts = (text for text in (value, decoded(value)) if len(text) >= LEAST_DECODED)
        self.withhold((text for text in texts if not _is_ordinary(text)), (), ())

    def _mark_data(self, match: re.Match[str]) -> str:
        """The name and the mark of one value of a Secret."""
        self._withhold_data(match[2])
        return match[1] + self._mark(match[2])

    def _applied(self, text: str) -> str:
        """An object that kubectl keeps as text inside another."""
        try:
            return json.dumps(self.redact_data(json.loads(text)), ensure_ascii=False)
        except ValueError:
            return self._mark(text)

    def _secret_objects(self, text: str) -> str:
        if not _SECRET_KIND.search(text):
            return text
        text = _SECRET_MAP.sub(lambda m: f"{m[1]}{_SECRET_ITEM.sub(self._mark_data, m[2])}}}", text)
        return _SECRET_YAML.sub(lambda m: f"{m[1]}\n{_SECRET_LINE.sub(self._mark_data, m[3])}", text)

    def _unit_environment(self, text: str) -> str:
        for match in reversed(list(_UNIT_ENVIRONMENT.finditer(text))):
            end = text.find("\n", match.end())
            end = len(text) if end < 0 else end
            text = text[: match.end()] + self._values_after(_ASSIGNED, text[match.end() : end]) + text[end:]
        return text

    def _values_after(self, names: re.Pattern[str], text: str, but: Collection[str] = ()) -> str:
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
                pieces += [text[at:start], self._mark(text[start:end])]
                at = end
        return "".join([*pieces, text[at:]])

    def _mark(self, secret: str) -> str:
        if MARK.fullmatch(secret):
            return secret
        digest = hmac.digest(self._key, secret.encode("utf-8", "surrogateescape"), "sha256").hex()
        return f"‹redacted sha256:{digest[:8]}›"


def decoded(value: str) -> str:
    """What a value of a Secret's ``data`` says, where that is a text of some length; else empty."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
    return text if len(text) >= LEAST_DECODED else ""


def is_whole(text: str) -> bool:
    """Whether a text has no mark of something that was taken out of it."""
    return MARK.search(text) is None


def _spellings(secret: str) -> dict[str, str]:
    """A secret as it is, and as JSON, Python, HTML, URLs and base64 write it."""
    data = secret.encode("utf-8", "surrogateescape")
    ways = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], html.escape(secret), quote(data)}
    return dict.fromkeys({*ways, base64.b64encode(data).decode("ascii")}, secret)


def _is_ordinary(secret: str) -> bool:
    return _ORDINARY.fullmatch(secret) is not None


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
