"""Take secrets out of text and data. Everything that is shown, logged or recorded passes a ``Redactor``.

A secret is known in one of four ways: somebody gave it, such as a typed password (``remember``); it was read and is not
known to be harmless (``withhold``, and ``Sensitive`` texts); its form gives it away; or the name before it does. The
last two, the patterns, are the net for texts of which nobody knows where they come from.
"""

from __future__ import annotations

import base64
import hmac
import json
import math
import re
import secrets
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

from kubeharden.redaction import patterns
from kubeharden.redaction.decoding import decoded_words
from kubeharden.redaction.names import replace_named
from kubeharden.redaction.pictures import is_still, png_of
from kubeharden.redaction.programs import replace_flag_values
from kubeharden.redaction.secrets import Secrets, Sensitive, replace_spans
from kubeharden.redaction.spellings import Spellings
from kubeharden.redaction.terminal import LETTER, SPELLED, plain
from kubeharden.redaction.unbroken import Unbroken
from kubeharden.redaction.values import as_item, is_reference, replace_values, values_after

LEAST_DECODED = 8  # characters of what a Secret holds; shorter texts are base64 by chance
LEAST = 3  # characters; anything shorter would tear ordinary words apart
DEEPEST = 64  # collections in collections
MOST_CACHED, LONGEST_CACHED = 1024, 8192  # texts, and characters of one, of which the result is kept
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
        self._known = Spellings(LEAST_DECODED)
        self._withheld = Spellings(LEAST_DECODED)  # of values that are only not known to be harmless
        self._harmless = set(harmless)
        # What is shown is redacted as HTML, as text, and for the record, and keys come again and again: a text, and
        # whether it is a key → what was known then, and the result.
        self._cache: dict[tuple[str, bool], tuple[tuple[int, int, int], str]] = {}

    def remember(self, secret: str | None) -> None:
        """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
        if secret and len(secret) >= LEAST:
            self._known.add(secret)

    def withhold(self, more: Secrets) -> None:
        """Take out these values from now on, unless they are known to be harmless."""
        self._withhold_values(more.values)
        self._harmless.update(more.harmless)

    def redact(self, text: str) -> str:
        """Return the text without its secrets, and without the sequences that a terminal obeys."""
        if isinstance(text, Sensitive):
            self.withhold(text.secrets)
            text = replace_spans(text, self._mark)
        return self._redact(text, is_key=False)

    def _redact(self, text: str, *, is_key: bool) -> str:
        known = self._known_so_far()
        cached = self._cache.get((text, is_key))
        if cached is not None and cached[0] == known:
            return cached[1]
        shown = bare = plain(text)
        if not is_key:
            bare = LETTER.sub(lambda match: chr(int(match[1], 16)), SPELLED.sub("", shown))
        redacted = self._redact_text(bare, is_key=is_key)
        result = shown if redacted == bare else redacted
        if len(text) <= LONGEST_CACHED and self._known_so_far() == known:
            if len(self._cache) >= MOST_CACHED:
                self._cache.clear()
            self._cache[text, is_key] = known, result
        return result

    def _known_so_far(self) -> tuple[int, int, int]:
        """Return how much is known; since nothing is forgotten, the same again means the same knowledge."""
        return len(self._known), len(self._withheld), len(self._harmless)

    def length_to_judge(self, text: str) -> int:
        """Return how much of a text can be redacted although more of it will come: lines, up to what may go on."""
        lines = text[: max(text.rfind("\n"), text.rfind("\r")) + 1]
        head = lines[: _start_of_names(lines)]  # what is held may be within something that began before
        end = len(head)
        last = head.rstrip("\r\n")
        last_line = max(last.rfind("\n"), last.rfind("\r")) + 1
        if patterns.NAMED.compiled.search(head, last_line):
            end = last_line
        if match := patterns.SECRET_KIND.search(
            head, _start_of_last(patterns.LINES_OF_SECRET, head, len(head))
        ):
            end = min(end, head.rfind("\n---", 0, match.start()) + 1)  # its data may stand before its kind
        end = min(end, *patterns.starts_to_come(head))
        names: list[patterns.Names] = [
            patterns.NAMED,
            patterns.SECRET_DATA if patterns.SECRET_KIND.search(head) else patterns.STRING_DATA,
        ]
        for value in (value for name in names for value in values_after(name, head) if value.is_open):
            end = min(end, value.name)
        return head.rfind("\n", 0, end) + 1 if end < len(head) else end

    def redact_data(self, value: Any, depth: int = 0) -> Any:
        """Return plain data without its secrets: each text by itself, so that JSON and YAML made of it stay valid.

        A value under a key that names a secret is taken out whole, and so are the data of a Secret, the values of
        environment variables, and what follows a flag that names a secret. What is not plain data becomes text.
        Ordinary words stay in keys: they are the names of fields, and nobody could read a record without them.
        """
        if depth > DEEPEST:
            return self._mark("nested more deeply than anything that is shown")
        if isinstance(value, Mapping):
            secret = _word_of(value.get("kind")).startswith("Secret")
            named = _word_of(value.get("name", value.get("key")))
            variable = set(value) == {"name", "value"} or patterns.KEY.fullmatch(named) is not None
            return {
                self._redact_key(str(key)): self._redact_item(str(key), item, secret, variable, depth)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._redact_items(list(value), depth)
        if value is None or isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return value
        return self.redact(value if isinstance(value, str) else str(value))

    def _redact_key(self, key: str) -> str:
        return self._redact(key, is_key=True)

    def _redact_text(self, text: str, *, is_key: bool) -> str:
        text = self._replace(self._known.found_in(text), text, patterns.is_ordinary, is_key=is_key)
        withheld = self._withheld_in(text)
        text = self._replace(withheld, text, lambda spelling: len(spelling) < LONG, is_key=is_key)
        text = self._replace_broken(self._replace_codes(text))
        # From here on, only marks come into it, and no pattern finds its words in one.
        lower = patterns.fold(text)
        text = self._replace_forms(patterns.FORMS, lower, text)
        text = self._unit_environment(self._secret_objects(text))
        text = self._replace_forms(patterns.FIELDS, lower, text)
        text = replace_named(replace_flag_values(text, self._mark), lower, self._mark)
        if self._shown_flags:
            text = replace_values(patterns.ANY_FLAG, text, self._mark, self._shown_flags)
        return self._replace_forms(patterns.SCHEMES, lower, text)

    def _replace_forms(self, forms: patterns.Rows, lower: str, text: str) -> str:
        for form in patterns.those_in(lower, forms):
            text = form.compiled.sub(self._without_secret, text)
        return text

    def _without_secret(self, match: re.Match[str]) -> str:
        secret: str = match[match.lastindex or 0]
        return match[0].removesuffix(secret) + self._mark(secret)

    def _replace_codes(self, text: str) -> str:
        """Return the text without the words that are a known secret in a code."""
        if not (self._known or self._withheld):
            return text
        words = list(decoded_words(text, min(self._known.shortest, self._withheld.shortest)))
        joined = "\n".join(word for _, _, word in words)  # what may be in one of them is asked once
        values = {*self._known.found_in(joined).values(), *self._withheld_in(joined).values()}
        values = {value for value in values if len(value) >= LEAST_DECODED}
        spans = {(start, end) for start, end, word in words if any(value in word for value in values)}
        return replace_spans(Sensitive(text, spans=spans), self._mark) if spans else text

    def _replace_broken(self, text: str) -> str:
        """Return the text without the known secrets that tags or ends of lines break, such as a terminal's."""
        bare = Unbroken(text) if self._known or self._withheld else None
        if bare is None or bare.is_whole:
            return text
        spellings = {**self._withheld_in(bare.text), **self._known.found_in(bare.text)}
        words = {word for word in spellings if len(word) >= LEAST_DECODED and not patterns.is_ordinary(word)}
        pieces, at = [], 0
        for spans in bare.places_of(words):
            (start, end), *others = spans
            word = "".join(text[first:last] for first, last in spans)
            pieces += [text[at:start], self._mark(spellings[word])]
            for first, last in others:  # what broke it stays
                pieces.append(text[end:first])
                end = last
            at = end
        return "".join([*pieces, text[at:]])

    def _withheld_in(self, text: str) -> dict[str, str]:
        spellings = self._withheld.found_in(text).items()
        return {spelling: value for spelling, value in spellings if value not in self._harmless}

    def _replace(
        self, spellings: Mapping[str, str], text: str, is_word: Callable[[str], bool], *, is_key: bool
    ) -> str:
        for spelling in sorted(spellings, key=len, reverse=True):
            if not (is_key and patterns.is_ordinary(spelling)):
                places = patterns.places(spelling, words=is_word(spelling))
                text = places.sub(self._mark(spellings[spelling]), text)
        return text

    def _redact_items(self, items: Sequence[Any], depth: int) -> list[Any]:
        if len(items) > 1 and all(isinstance(item, str) for item in items) and _are_lines(items):
            return self.redact("".join(items)).splitlines(keepends=True)
        before = ["", *items]
        return [
            self._all(item)
            if isinstance(flag, str) and flag.startswith("-") and patterns.KEY.fullmatch(flag)
            else self.redact_data(item, depth + 1)
            for flag, item in zip(before, items, strict=False)
        ]

    def _redact_item(self, key: str, item: Any, secret: bool, variable: bool, depth: int) -> Any:
        if secret and key == "items" and isinstance(item, list):
            return [
                self.redact_data({"kind": "Secret", **part}, depth + 1)
                if isinstance(part, Mapping)
                else self._all(part)
                for part in item
            ]
        if key == "traceback" and isinstance(item, list) and all(isinstance(line, str) for line in item):
            return self.redact("\n".join(item)).split("\n")
        if key == "stringData" or (secret and key == "data"):
            for value in item.values() if isinstance(item, Mapping) else ():
                self._withhold_data(str(value))
            return self._all(item)
        if key == "kubectl.kubernetes.io/last-applied-configuration":
            return self._apply(_word_of(item)) if _word_of(item) else self.redact_data(item, depth + 1)
        if patterns.BINARY_TYPE.fullmatch(key):
            return (self._png(item) if key == "image/png" else "") or self._all(item)
        if key == "image/svg+xml" and not (_text_of(item) and is_still(_text_of(item))):
            return self._all(item)
        named = patterns.KEY.fullmatch(key) or (variable and key == "value")
        return self._all(item) if named and not is_reference(key, item) else self.redact_data(item, depth + 1)

    def _png(self, item: Any) -> str:
        """Return a PNG without what is not drawn, if no secret stands in it as a text; else nothing."""
        picture = png_of(_text_of(item))
        text = base64.b64decode(picture).decode("latin-1")
        spellings = {**self._known.found_in(text), **self._withheld.found_in(text)}
        return "" if any(len(spelling) >= LEAST_DECODED for spelling in spellings) else picture

    def _all(self, item: Any, depth: int = 0) -> Any:
        """Return data with every text and number in it taken out."""
        if isinstance(item, Mapping) and depth < DEEPEST:
            return {self._redact_key(str(key)): self._all(part, depth + 1) for key, part in item.items()}
        if isinstance(item, (list, tuple)) and depth < DEEPEST:
            return [self._all(part, depth + 1) for part in item]
        if isinstance(item, (Mapping, list, tuple)):
            return self._mark("nested more deeply than anything that is shown")
        return item if item is None or item == "" or isinstance(item, bool) else self._mark(str(item))

    def _withhold_values(self, values: Iterable[str]) -> None:
        for value in values:
            if len(value) >= LEAST:
                self._withheld.add(value)

    def _withhold_data(self, value: str) -> None:
        """Take out a value of a Secret from now on, as it is and decoded: it may have been copied to anywhere.

        Ordinary words, such as a namespace, stay.
        """
        texts = (text for text in (value, decode(value)) if len(text) >= LEAST_DECODED)
        self._withhold_values(text for text in texts if not patterns.is_ordinary(text))

    def _mark_data(self, value: str) -> str:
        """Return the mark of one value of a Secret."""
        self._withhold_data("".join(value.split()))
        return self._mark(value)

    def _apply(self, text: str) -> str:
        """Redact an object that kubectl keeps as text inside another; where nothing goes, it stays to the byte."""
        try:
            data = json.loads(text, object_pairs_hook=_without_doubles)
            redacted = self.redact_data(data)
            return text if redacted == data else json.dumps(redacted, ensure_ascii=False)
        except (ValueError, RecursionError):
            return self._mark(text)

    def _secret_objects(self, text: str) -> str:
        names = patterns.SECRET_DATA if patterns.SECRET_KIND.search(text) else patterns.STRING_DATA
        pieces, at = [], 0
        for value in values_after(names, text):
            item = as_item(text, value)
            before = len(item) - (value.end - value.start)
            redacted = replace_values(patterns.SECRET_ITEM, item, self._mark_data)
            pieces += [text[at : value.start], redacted[before:]]
            at = value.end
        return "".join([*pieces, text[at:]])

    def _unit_environment(self, text: str) -> str:
        pieces, at = [], 0
        for match in patterns.UNIT_ENVIRONMENT.finditer(text):
            if match.end() < at:
                continue
            value = patterns.CONTINUED.match(text, match.end())
            end = value.end() if value else match.end()
            redacted = replace_values(patterns.ASSIGNED, text[match.end() : end], self._mark)
            pieces += [text[at : match.end()], redacted]
            at = end
        return "".join([*pieces, text[at:]])

    def _mark(self, secret: str) -> str:
        if patterns.MARK.fullmatch(secret):
            return secret
        digest = hmac.digest(self._key, secret.encode("utf-8", "surrogateescape"), "sha256").hex()
        return f"‹redacted sha256:{digest[:8]}›"


def _text_of(item: Any) -> str:
    """Return a text that a notebook stores as one, or as its lines."""
    return "".join(map(_word_of, item)) if isinstance(item, (list, tuple)) else _word_of(item)


def _word_of(item: Any) -> str:
    """Return a text, a number or the like as a text; nothing for a collection, which may nest without end."""
    return "" if item is None or isinstance(item, (Mapping, list, tuple, set, frozenset)) else str(item)


def _start_of_names(text: str) -> int:
    """Return where the lines at the end begin that name what may be secret, each near the next."""
    start = len(text)
    for _ in range(patterns.LINES_OF_SECRET // patterns.LINES_TO_COME):
        match = patterns.TO_COME.compiled.search(
            text, _start_of_last(patterns.LINES_TO_COME, text, start), start
        )
        if match is None:
            break
        start = text.rfind("\n", 0, match.start()) + 1
    return start


def _start_of_last(count: int, text: str, end: int) -> int:
    """Return where the last lines of a text up to its ``end`` begin; ``count`` says how many."""
    for _ in range(count):
        end = text.rfind("\n", 0, max(0, end - 1)) + 1
    return end


def _are_lines(items: Sequence[str]) -> bool:
    """Check whether texts are the lines of one, as notebooks store it."""
    return all(item.endswith("\n") for item in items[:-1])


def decode(value: str) -> str:
    """Decode a value of a Secret's ``data``; return an empty text for what is not a text of some length."""
    try:
        text = base64.b64decode(value, validate=True).decode()
    except ValueError:
        return ""
    return text if len(text) >= LEAST_DECODED else ""


def _without_doubles(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """Make an object of JSON, in which no name may stand twice: the first value would be seen by nobody here."""
    mapping = dict(pairs)
    if len(mapping) < len(pairs):
        raise ValueError("a name stands twice")
    return mapping
