"""Take secrets out of text before anybody sees it. Everything that is shown or logged passes here."""

from __future__ import annotations

import hmac
import math
import re
import secrets
from collections.abc import Mapping
from typing import Any

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
    r"(?:(?<![a-z0-9_.-])[a-z0-9_.-]*(?:password|passwd|secret|token|private[_-]?key|api[_-]?key|access[_-]?key|client-key-data)"
    r"|[\"']auth[\"'])"
)
_NAMED = re.compile(
    rf"""(?ix) (?P<before>{_NAME} ["']? \s*[:=]\s*)
    (?: (?P<quote>["']) (?P<quoted>.*?) (?P=quote) | (?P<plain>[^\s"'}}]+) )"""
)
_KEY = re.compile(rf"(?i){_NAME}|auth")
_FLAG = re.compile(r"(?i)(--[a-z0-9-]*(?:password|secret|token)\s+)([^\s-]\S*)")
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})")
_USERINFO = re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s/:@]*:)([^\s/@]+)(?=@)")
# Marks differ from run to run, so that nobody can try passwords against them afterwards.
_key = secrets.token_bytes(32)
_known: set[str] = set()


def remember(secret: str | None) -> None:
    """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
    if secret and len(secret) >= 4:  # noqa: PLR2004 - anything shorter would tear ordinary words apart
        _known.add(secret)


def redact(text: str) -> str:
    """The text without its secrets; within a run, equal secrets have equal marks."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, _mark(secret))
    for form in _FORMS:
        text = form.sub(lambda match: _mark(match[0]), text)
    text = _USERINFO.sub(lambda match: match[1] + _mark(match[2]), text)
    text = _FLAG.sub(lambda match: match[1] + _mark(match[2]), text)
    text = _NAMED.sub(_masked, text)
    return _BEARER.sub(lambda m: f"{m[1]} {_mark(m[2])}", text)


def redact_data(value: Any) -> Any:
    """Plain data without its secrets: each text by itself, so that what is made of it (JSON, YAML) stays valid.

    What stands under a key that names a secret is taken out whole. What is no plain data becomes its text.
    """
    if isinstance(value, Mapping):
        return {redact(str(key)): _redacted_item(str(key), item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [redact_data(item) for item in value]
    if value is None or isinstance(value, (bool, int)) or (isinstance(value, float) and math.isfinite(value)):
        return value
    return redact(str(value))


def _redacted_item(key: str, item: Any) -> Any:
    if _KEY.fullmatch(key) and item and not isinstance(item, (bool, Mapping)):
        return [_mark(str(part)) for part in item] if isinstance(item, (list, tuple)) else _mark(str(item))
    return redact_data(item)


def _masked(match: re.Match[str]) -> str:
    quote = match["quote"] or ""
    return match["before"] + quote + _mark(match["plain"] or match["quoted"]) + quote


def _mark(secret: str) -> str:
    if secret.startswith("‹redacted"):
        return secret
    digest = hmac.digest(_key, secret.encode("utf-8", "surrogateescape"), "sha256").hex()
    return f"‹redacted sha256:{digest[:8]}›"
