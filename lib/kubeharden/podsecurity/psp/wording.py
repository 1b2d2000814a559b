"""Reasons in the API server's wording.

Source: apimachinery's pkg/util/validation/field/errors.go (``Error``, ``ErrorBody``), which shows numbers and
booleans plainly, strings quoted and everything else as a Go value.
"""

from __future__ import annotations

import json
from collections.abc import Sequence


def invalid(path: str, value: bool | int | str | Sequence[int], detail: str = "") -> str:
    """``path: Invalid value: value: detail``."""
    reason = f"{path}: Invalid value: {_text(value)}"
    return f"{reason}: {detail}" if detail else reason


def forbidden(path: str, detail: str) -> str:
    """``path: Forbidden: detail``."""
    return f"{path}: Forbidden: {detail}"


def quote(text: str) -> str:
    """Return a text as Go's %q shows it."""
    return json.dumps(text, ensure_ascii=False)


def annotation(key: str) -> str:
    """Return the path of a pod's annotation, as the policies' strategies write it."""
    return f"pod.metadata.annotations[{key}]"


def _text(value: bool | int | str | Sequence[int]) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return quote(value)
    return f"[]int64{{{', '.join(map(str, value))}}}"
