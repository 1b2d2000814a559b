"""The time stamp of a seal: put beside it when it is made, and judged without a network."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from kubeharden.errors import RecordError
from kubeharden.records.archive import SIGNATURE, STAMP, STAMP_CA, STAMP_SIGNATURE, Seal
from kubeharden.records.folder import write_aside
from kubeharden.records.reader import one_line, read
from kubeharden.records.signature import STAMP_NAMESPACE, key_in, sign, signer_of, signer_within
from kubeharden.records.timestamp import MOST_APART, Authority, ask, stamped_at


@dataclass(frozen=True)
class StampVerdict:
    """The verdict on a time stamp: the time that its authority vouches for, what is wrong, and what is not known."""

    at: str = ""
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def put_stamp(folder: Path, authority: Authority, sealed: str, key: Path, *, may_ask: bool) -> None:
    """Ask for a time stamp over the signature in a folder, and put it there, signed by the key that seals.

    Not every byte of a time stamp is covered by the authority's own signature (RFC 3161, the status; RFC 5652, the
    certificates): what the sealing key signs is.

    Raises:
        RecordError: there is no such time stamp, or this machine's clock is off.
    """
    signature = read(folder, SIGNATURE)
    answer = ask(authority, signature)
    if wrong := _apart(stamped_at(answer, signature, authority.ca), sealed):
        raise RecordError(f"{authority.url}: {wrong}; set the clock of this machine first")
    write_aside(folder, STAMP, answer)
    sign(folder / STAMP, key, may_ask=may_ask, namespace=STAMP_NAMESPACE)


def judge_stamp(folder: Path, seal: Seal, signature: bytes, ca: bytes | None) -> StampVerdict:
    """Verify the time stamp of a sealed run, if its seal says that there is one.

    Args:
        signature: the signature of the seal, which the time stamp is over.
        ca: the certificates that count; None: those that lie in the record.
    """
    if not seal.authority:
        return StampVerdict()
    try:
        stamp, signed = read(folder, STAMP), read(folder, STAMP_SIGNATURE)
        own = read(folder, STAMP_CA) if STAMP_CA in seal.files else b""
        by = key_in(STAMP, signed)
        with signer_within(signed, STAMP_SIGNATURE) as sealer:
            signer_of(STAMP, stamp, signed, sealer, namespace=STAMP_NAMESPACE)
    except RecordError as error:
        return StampVerdict(wrong=(str(error),))
    if by != seal.key:
        return StampVerdict(wrong=(f"{STAMP_SIGNATURE}: was made with {by}, not with the key of the seal",))
    try:
        at = stamped_at(stamp, signature, own if ca is None else ca)
    except RecordError as error:
        return StampVerdict(wrong=(f"{STAMP}: {error}",))
    wrong = _apart(at, seal.sealed)
    whose = (
        f"its time is that of {one_line(seal.authority)} by the certificates that lie in the record: name those that "
        "you trust (--timestamp-ca)"
    )
    return StampVerdict(
        f"{at:%Y-%m-%dT%H:%M:%SZ}", (f"{STAMP}: {wrong}",) if wrong else (), (whose,) if ca is None else ()
    )


def _apart(at: datetime, sealed: str) -> str:
    if abs(at - datetime.fromisoformat(sealed)) <= MOST_APART:
        return ""
    return f"the time stamp is of {at:%Y-%m-%dT%H:%M:%SZ}, and the seal says {sealed}"
