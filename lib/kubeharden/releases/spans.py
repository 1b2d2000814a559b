"""Spans of releases: the rows of a table that say from which release on, and until which, something holds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kubeharden.releases.release import Release

Span = Mapping[str, Any]


def in_release(rows: Mapping[str, Sequence[Span]], release: Release) -> dict[str, Span]:
    """Return what a release has of a table: by name, the span that the release lies in.

    ``since`` is the first release of a span, ``until`` the first one after it; either may be missing. A release newer
    than the tables has what the newest one has.
    """
    return {
        name: span
        for name, spans in rows.items()
        for span in spans
        if not ("since" in span and release.older_than(span["since"])) and not _over(span, release)
    }


def removal(spans: Sequence[Span], release: Release) -> str | None:
    """Return the release that no longer has what its spans say, where that is this release or one before it."""
    return str(spans[-1]["until"]) if spans and _over(spans[-1], release) else None


def _over(span: Span, release: Release) -> bool:
    return "until" in span and not release.older_than(span["until"])
