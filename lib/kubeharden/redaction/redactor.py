"""Take secrets out of text and data. Everything that is shown, logged or recorded passes a ``Redactor``.

A secret is known in one of four ways: somebody gave it, such as a typed password (``remember``); it was read and is not
known to be harmless (``withhold``, and ``Sensitive`` texts); its form gives it away; or the name before it does. The
last two, the patterns, are the net for texts of which nobody knows where they come from.
"""

from __future__ import annotations

import base64
import hmac
import html
import json
import math
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any
from urllib.parse import quote

from kubeharden.redaction import patterns
from kubeharden.redaction.secrets import Secrets, Sensitive

LEAST_DECODED = 8  # characters of what a Secret holds; shorter texts are base64 by chance
LEAST = 4  # characters; anything shorter would tear ordinary words apart
LONG = 12  # characters; what is withheld and shorter is taken out only where it is a word of its own


class Redactor:
    """Knows the secrets of one run, and takes them out of what the run shows and records.

    Equal secrets have equal marks within a redactor. Marks differ from one redactor to the next, so that nobody can
    try passwords against them afterwards. Threads may share it: it only ever adds to what it knows.

    Args:
        shown_flags: the flags, with dashes, whose values may be seen; of any other ``--name=value`` in any text, the
            value is taken out. Without one, flags are not judged by their names.
        harmless: words that are never withheld, because kubeharden writes them itself; a remembered one still is.
    """

    def __init__(self, shown_flags: Collection[str] = (), harmless: Iterable[str] = ()) -> None:
        self._key = secrets.token_bytes(32)
        self._shown_flags = frozenset(shown_flags)
        self._known: dict[str, str] = {}  # as it may be written: the secret
        self._withheld: dict[str, str] = {}  # the same, of values that are only not known to be harmless
        self._harmless = set(harmless)

    def remember(self, secret: str | None) -> None:
        """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
        if secret and len(secret) >= LEAST:
            self._known.update(_spellings(secret))

    def withhold(self, found: Secrets) -> None:
        """Take out these values from now on, unless they are known to be harmless; names count in their text only."""
        self._withhold_values(found.values)
        self._harmless.update(found.harmless)

    def redact(self, text: str) -> str:
        """Return the text without its secrets.

        Colours of a terminal, which may stand between a name and its value, stay only where there is no secret.
        """
        names: Collection[str] = ()
        if isinstance(text, Sensitive):
            self.withhold(text.secrets)
            names, text = text.secrets.names, str(text)
        bare = patterns.COLOURS.sub("", text)
        redacted = self._redact_text(bare, names)
        return text if redacted == bare else redacted

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
                self._redact_text(str(key), is_key=True): self._redact_item(str(key), item, secret, variable)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return [self.redact_data(item) for item in value]
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return self.redact(value if isinstance(value, str) else str(value))

    def _redact_text(self, text: str, names: Collection[str] = (), *, is_key: bool = False) -> str:
        # Copies, because other threads learn secrets meanwhile; dict.copy() is one step for them, items() is not.
        known = {
            spelling: secret
            for spelling, secret in self._known.copy().items()
            if spelling in text and not (is_key and patterns.is_ordinary(spelling))
        }
        text = self._replace(known, text, patterns.is_ordinary)
        withheld = {
            spelling: value
            for spelling, value in self._withheld.copy().items()
            if spelling in text and value not in self._harmless
        }
        text = self._replace(withheld, text, lambda spelling: len(spelling) < LONG)
        for form in patterns.FORMS:
            text = form.sub(lambda match: self._mark(match[0]), text)
        text = patterns.USERINFO.sub(lambda match: match[1] + self._mark(match[2]), text)
        text = self._unit_environment(self._secret_objects(text))
        for pattern in (patterns.FLAG, patterns.NAMED, *patterns.names_before(names)):
            text = patterns.replace_values(pattern, text, self._mark)
        if self._shown_flags:
            text = patterns.replace_values(patterns.ANY_FLAG, text, self._mark, self._shown_flags)
        return patterns.BEARER.sub(lambda m: f"{m[1]} {self._mark(m[2])}", text)

    def _replace(self, spellings: Mapping[str, str], text: str, is_word: Callable[[str], bool]) -> str:
        for spelling in sorted(spellings, key=len, reverse=True):
            places = patterns.places(spelling, words=is_word(spelling))
            text = places.sub(self._mark(spellings[spelling]), text)
        return text

    def _redact_item(self, key: str, item: Any, secret: bool, variable: bool) -> Any:
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
            return self._apply(str(item))
        named = patterns.KEY.fullmatch(key) or (variable and key == "value")
        return self._all(item) if named and not isinstance(item, Mapping) else self.redact_data(item)

    def _all(self, item: Any) -> Any:
        """Return data with every text and number in it taken out."""
        if isinstance(item, Mapping):
            return {str(key): self._all(part) for key, part in item.items()}
        if isinstance(item, (list, tuple)):
            return [self._all(part) for part in item]
        return item if item is None or item == "" or isinstance(item, bool) else self._mark(str(item))

    def _withhold_values(self, values: Iterable[str]) -> None:
        for value in values:
            if len(value) >= LEAST and value not in self._withheld:
                self._withheld.update(_spellings(value))

    def _withhold_data(self, value: str) -> None:
        """Take out a value of a Secret from now on, as it is and decoded: it may have been copied to anywhere.

        Ordinary words, such as a namespace, stay.
        """
        texts = (text for text in (value, decode(value)) if len(text) >= LEAST_DECODED)
        self._withhold_values(text for text in texts if not patterns.is_ordinary(text))

    def _mark_data(self, match: re.Match[str]) -> str:
        """Return the name and the mark of one value of a Secret."""
        self._withhold_data(match[2])
        return match[1] + self._mark(match[2])

    def _apply(self, text: str) -> str:
        """Redact an object that kubectl keeps as text inside another."""
        try:
            return json.dumps(self.redact_data(json.loads(text)), ensure_ascii=False)
        except ValueError:
            return self._mark(text)

    def _secret_objects(self, text: str) -> str:
        if not patterns.SECRET_KIND.search(text):
            return text
        text = patterns.SECRET_MAP.sub(
            lambda m: f"{m[1]}{patterns.SECRET_ITEM.sub(self._mark_data, m[2])}}}", text
        )
        return patterns.SECRET_YAML.sub(
            lambda m: f"{m[1]}\n{patterns.SECRET_LINE.sub(self._mark_data, m[3])}", text
        )

    def _unit_environment(self, text: str) -> str:
        for match in reversed(list(patterns.UNIT_ENVIRONMENT.finditer(text))):
            end = text.find("\n", match.end())
            end = len(text) if end < 0 else end
            text = (
                text[: match.end()]
                + patterns.replace_values(patterns.ASSIGNED, text[match.end() : end], self._mark)
                + text[end:]
            )
        return text

    def _mark(self, secret: str) -> str:
        if patterns.MARK.fullmatch(secret):
            return secret
        digest = hmac.digest(self._key, secret.encode("utf-8", "surrogateescape"), "sha256").hex()
        return f"‹redacted sha256:{digest[:8]}›"


def decode(value: str) -> str:
    """Decode a value of a Secret's ``data``; return an empty text for what is not a text of some length."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
    return text if len(text) >= LEAST_DECODED else ""


def _spellings(secret: str) -> dict[str, str]:
    """Return a secret as it is, and as JSON, Python, HTML, URLs and base64 write it."""
    data = secret.encode("utf-8", "surrogateescape")
    ways = {secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], html.escape(secret), quote(data)}
    return dict.fromkeys({*ways, base64.b64encode(data).decode("ascii")}, secret)
