"""Take secrets out of text before anybody sees it. Everything that is shown or logged passes here."""

from __future__ import annotations

import hashlib
import re

# A value is known as a secret by its form, wherever it stands.
_FORMS = [
    # bootstrap tokens: id.secret (k8s.io/cluster-bootstrap/token/api)
    re.compile(r"\b[a-z0-9]{6}\.[a-z0-9]{16}\b"),
    # JSON web tokens, which service account tokens are
    re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*"),
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
]
# A value is known as a secret by the name before it: flags, YAML keys, environment variables. The name must
# end there, so that --token-auth-file=/path and tokenFile: stay readable.
_NAMED = re.compile(
    r"""(?ix)
    (?P<name>[a-z0-9_.-]*(?:password|passwd|secret|token|client-key-data|private[_-]?key|api[_-]?key))
    (?P<between>["']?\s*[:=]\s*)
    (?P<quote>["']?)(?P<value>[^\s"',}]+)
    """
)
_BEARER = re.compile(r"(?i)\b(bearer|basic)\s+([A-Za-z0-9._~+/=-]{8,})")
_known: set[str] = set()


def remember(secret: str | None) -> None:
    """Take this very text out of everything from now on, such as a password or the token of a kubeconfig."""
    if secret and len(secret) >= 4:  # noqa: PLR2004 - anything shorter would tear ordinary words apart
        _known.add(secret)


def redact(text: str) -> str:
    """The text without its secrets; equal secrets can still be told to be equal, by eight hexadecimal digits."""
    for secret in sorted(_known, key=len, reverse=True):
        text = text.replace(secret, _mark(secret))
    for form in _FORMS:
        text = form.sub(lambda match: _mark(match[0]), text)
    text = _NAMED.sub(lambda m: f"{m['name']}{m['between']}{m['quote']}{_mark(m['value'])}", text)
    return _BEARER.sub(lambda m: f"{m[1]} {_mark(m[2])}", text)


def _mark(secret: str) -> str:
    if secret.startswith("‹redacted"):
        return secret
    return f"‹redacted sha256:{hashlib.sha256(secret.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}›"
