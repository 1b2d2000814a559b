"""The words for what vouches for a record. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kubeharden.records.reader import one_line
from kubeharden.records.verify import Verdict

NOT_SEALED = "– (not sealed)"


def when_sealed(time: str, number: int, key: str, authority: str) -> list[tuple[str, str]]:
    """Return what the page of a sealed run says of its seal, which is made after the page."""
    seal = f"made on {time} as number {number} of its folder, with {key}; kubeharden verify says whether it holds"
    stamp = f"asked of {authority} after this page was made" if authority else "– (of the controller alone)"
    return [
        ("Seal", seal),
        ("Trusted time", stamp),
        ("Signed off", "not yet when this page was made; kubeharden show says who has since"),
    ]


def seal_rows(record: Mapping[str, Any], verdict: Verdict | None) -> list[tuple[str, str]]:
    """Return what vouches for a record, as verification found it; None where it was not verified."""
    rows = [("Seal", _seal_words(verdict) if "seal" in record else NOT_SEALED)]
    if verdict is None or not verdict.sealed:
        return rows
    return [*rows, time_row(verdict), ("Signed off", sign_off_words(verdict))]


def time_row(verdict: Verdict) -> tuple[str, str]:
    """Return what vouches for the time of a seal, as name and words.

    A time stamp has a tick only where the person who verifies has named the certificates: those in the record are of
    the person who made it.
    """
    if not verdict.stamped:
        return "Trusted time", "– (of the controller alone)"
    if not verdict.trusted:
        return "Time stamp", f"• {verdict.stamped}, by the record's own certificates alone"
    return "Trusted time", f"✔ {verdict.stamped}, by a time-stamp authority"


def sign_off_words(verdict: Verdict) -> str:
    """Return who has signed off the result; a tick only where the allowed signers name them."""
    if not verdict.signed_off:
        return "– (by nobody)"
    signed = one_line(verdict.signed_off)
    if not verdict.second:
        return f"• {signed}, with a key of which nobody says whether it counts"
    return f"✔ {signed}"


def _seal_words(verdict: Verdict | None) -> str:
    if verdict is None:
        return "not verified: nobody says whose signatures count"
    if not verdict.sealed:
        return NOT_SEALED
    if not verdict.good:
        return "✘ WRONG, see below"
    return f"✔ as sealed on {verdict.sealed}, by {verdict.signer} ({verdict.key})"
