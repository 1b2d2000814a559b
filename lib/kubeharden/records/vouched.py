"""The words for what vouches for a record. Pure."""

from __future__ import annotations

from kubeharden.records.verify import Verdict


def when_sealed(time: str, number: int, key: str) -> list[tuple[str, str]]:
    """Return what the page of a sealed run says of its seal, which is made after the page."""
    seal = f"made on {time} as number {number} of its folder, with {key}; kubeharden verify says whether it holds"
    return [("Seal", seal)]


def seal_rows(verdict: Verdict | None) -> list[tuple[str, str]]:
    """Return what vouches for a record, as verification found it; None where it was not verified."""
    return [("Seal", _seal_words(verdict))]


def _seal_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not verified: nobody says whose signatures count"
    if not verdict.sealed:
        return "– (not sealed)"
    if not verdict.good:
        return "✘ WRONG, see below"
    return f"✔ as sealed on {verdict.sealed}, by {verdict.signer} ({verdict.key})"
