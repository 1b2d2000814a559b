"""Secrets: how they are known, and how they are taken out of text and data. Pure."""

from kubeharden.redaction.redactor import MARK, Redactor, decoded, is_whole

__all__ = ["MARK", "Redactor", "decoded", "is_whole"]
