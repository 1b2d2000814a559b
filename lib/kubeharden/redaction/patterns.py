"""Patterns that find secrets in text: by form, by the name before them, or by the kind of object around them."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator

# A value is known as a secret by its form, wherever it stands.
FORMS = (
    # bootstrap tokens: id.secret (k8s.io/cluster-bootstrap/token/api)
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    # JSON web tokens, which service account tokens are
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
)
# A value is known as a secret by the name before it: flags, YAML and JSON keys, environment variables. The name
# must end there, so that --token-auth-file=/path and tokenFile: stay readable. It is looked for from the start of a
# word on: from every letter of it, a long one (base64 in a page) would take minutes.
_NAME = (
    r"(?<![a-z0-9_.-])[a-z0-9_.-]*"
    r"(?:password|passwd|secret|token|private[_-]?key|api[_-]?key|access[_-]?key|client-key-data)"
)
KEY = re.compile(rf"(?i){_NAME}|auth")
_BEFORE = r"""\\*["']?\s*[:=]\s*"""
NAMED = re.compile(rf"""(?i)(?:{_NAME}|(?<=["'])auth(?=\\*["'])){_BEFORE}""")
FLAG = re.compile(r"(?i)(?<![\w-])--[a-z0-9-]*(?:password|secret|token)\s+(?!-)")
ANY_FLAG = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*=(?=\S)")
BEARER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})")
USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)")
# Environment= of a unit, also in a diff: whatever the variables are called.
UNIT_ENVIRONMENT = re.compile(r"(?m)^[+ -]?\s*Environment\s*=(?=.)")
ASSIGNED = re.compile(r"[A-Za-z_]\w*=")
# The data of a Secret, as JSON or a dict's repr, and as YAML.
SECRET_KIND = re.compile(r"""kind\\*["']?\s*:\s*\\*["']?Secret(?:List)?\b""")
SECRET_MAP = re.compile(r"""((?:data|stringData)\\*["']?\s*:\s*\{)([^{}]*)\}""")
SECRET_ITEM = re.compile(r"""([\w.-]+\\*["']?\s*:\s*\\*["']?)([^"',}\\\s][^"',}\\]*)""")
SECRET_YAML = re.compile(r"(?m)^([+ -]?( *)(?:data|stringData):)[ \t]*\n((?:[+ -]?\2 +\S.*\n?)+)")
SECRET_LINE = re.compile(r"(?m)(: *)(\S.*)$")

MARK = re.compile(r"‹redacted sha256:[0-9a-f]{8}›")
# A value without quotes; not the beginning of an object.
_BARE = re.compile(rf"""{MARK.pattern}|(?!\{{["'\s\\}}])[^\s"'}}\\]+""")
_NO_SECRETS = frozenset({"true", "false", "True", "False", "null", "None"})
COLOURS = re.compile(r"(?:\x1b|\\x1b|\\u001b)\[[0-9;]*m")
# A secret that looks like a word, a name or a part of a digest may be a part of longer ones by chance: it is taken out
# only where it is a word of its own.
_ORDINARY = re.compile(r"(?=.{1,15}\Z)(?:[A-Za-z]+\d*|[0-9a-fA-F]+)(?:[._-](?:[A-Za-z]+\d*|[0-9a-fA-F]+))*")
# A word begins here although a letter or a digit stands before: the end of what JSON, Python or a URL write for a
# character (as in "\\nword" and "%20word"), or a short option with its value (-pword).
_BEGINS = (
    r"(?:(?<![A-Za-z0-9])|(?<=\\[abfnrtv])|(?<=\\x[0-9a-f]{2})|(?<=\\u[0-9a-f]{4})"
    r"|(?<=%[0-9A-F]{2})|(?<=(?<![\w-])-[A-Za-z]))"
)


def is_whole(text: str) -> bool:
    """Check that a text has no mark of a secret that was taken out of it."""
    return MARK.search(text) is None


def is_ordinary(secret: str) -> bool:
    """Check whether a secret may be a part of longer words by chance."""
    return _ORDINARY.fullmatch(secret) is not None


def places(text: str, *, words: bool) -> re.Pattern[str]:
    """Return the pattern that finds a text: anywhere, or only as a word of its own."""
    before = _BEGINS if words and text[0].isalnum() else ""
    after = "(?![A-Za-z0-9])" if words and text[-1].isalnum() else ""
    return re.compile(f"{before}{re.escape(text)}{after}")


def names_before(names: Iterable[str]) -> Iterator[re.Pattern[str]]:
    """Yield the patterns of these names before their values: of flags (with dashes), and of variables and fields."""
    flags = "|".join(re.escape(name) for name in sorted(names) if name.startswith("-"))
    variables = "|".join(re.escape(name) for name in sorted(names) if not name.startswith("-"))
    if flags:
        yield re.compile(rf"(?<![\w-])(?:{flags})(?:=|\s+)(?=[^\s-])")
    if variables:
        yield re.compile(rf"(?<![\w.-])(?:{variables}){_BEFORE}(?=\S)")


def _extent(text: str, match: re.Match[str]) -> tuple[int, int]:
    """Return where the value after a name begins and ends."""
    start = match.end()
    while text[start : start + 1] == "\\":
        start += 1
    before = text[match.start() - 1] if match.start() else ""
    if text[start : start + 1] in ("'", '"'):
        closing, start = text[start], start + 1
    elif before in ("'", '"') and before not in match[0]:  # "NAME=two words"
        closing = before
    else:
        plain = _BARE.match(text, start)
        return start, plain.end() if plain else start
    end = text.find(closing, start)
    line = text.find("\n", start)
    end = min((place for place in (end, line) if place >= 0), default=len(text))
    while end > start and text[end - 1] == "\\":
        end -= 1
    return start, end


def replace_values(
    names: re.Pattern[str], text: str, mark: Callable[[str], str], but: Collection[str] = ()
) -> str:
    """Replace the value after each match: up to its closing quote, else up to the next space.

    Args:
        names: what stands before the values.
        text: the text.
        mark: what stands for a value.
        but: names (without what stands between them and the value) whose values stay.
    """
    pieces, at = [], 0
    for match in names.finditer(text):
        if match.start() < at or match[0].rstrip("=") in but:
            continue
        start, end = _extent(text, match)
        if start < end and text[start:end] not in _NO_SECRETS:
            pieces += [text[at:start], mark(text[start:end])]
            at = end
    return "".join([*pieces, text[at:]])
