"""Private. Secrets: how they are known, and how they are taken out of text and data. Pure."""

from kubeharden.redaction.patterns import MARK, is_secret_name, is_whole
from kubeharden.redaction.redactor import LEAST, Redactor, decode
from kubeharden.redaction.secrets import Secrets, Sensitive, excerpt, join, lines_of, mask, secrets_of

__all__ = [
    "LEAST",
    "MARK",
    "Redactor",
    "Secrets",
    "Sensitive",
    "decode",
    "excerpt",
    "is_secret_name",
    "is_whole",
    "join",
    "lines_of",
    "mask",
    "secrets_of",
]
