"""The words for what vouches for a record. Pure."""

from __future__ import annotations

from kubeharden.records.verify import Verdict


def when_sealed(time: str, number: int, key: str, authority: str) -> list[tuple[str, str]]:
    """Return what the page of a sealed run says of its seal, which is made after the page."""
    seal = f"made on {time} as number {number} of its folder, with {key}; kubeharden verify says whether it holds"
    stamp = f"asked of {authority} after this page was made" if authority else "– (of the controller alone)"
    return [
        ("Seal", seal),
        ("Trusted time", stamp),
        ("Signed off", "not yet when this page was made; kubeharden show says who has since"),
    ]


def seal_rows(verdict: Verdict | None) -> list[tuple[str, str]]:
    """Return what vouches for a record, as verification found it; None where it was not verified."""
    rows = [("Seal", _seal_words(verdict))]
    if verdict is None or not verdict.sealed:
        return rows
    stamped = (
        f"{verdict.stamped}, by a time-stamp authority" if verdict.stamped else "– (of the controller alone)"
    )
    signed = verdict.signed_off or "– (by nobody)"
    if verdict.signed_off and not verdict.second:
        signed = f"{signed}, with a key of which nobody says whether it counts"
    return [*rows, ("Trusted time", stamped), ("Signed off", signed)]


def _seal_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not verified: nobody says whose signatures count"
    if not verdict.sealed:
        return "– (not sealed)"
    if not verdict.good:
        return "✘ WRONG, see below"
    return f"✔ as sealed on {verdict.sealed}, by {verdict.signer} ({verdict.key})"
