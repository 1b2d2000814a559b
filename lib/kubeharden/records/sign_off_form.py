"""The sign-off of a sealed run, as it lies in the record: its form, and whether it holds. Reading only.

Nobody signs off for themselves: neither the key that sealed the run counts, nor the one that approved its plan, nor one
that logged in to its nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.plan import sha256
from kubeharden.plan.forms import fits
from kubeharden.records.archive import SIGN_OFF, SIGN_OFF_SIGNATURE, Seal, is_second, parse_record
from kubeharden.records.reader import is_there, one_line, parse_json, read
from kubeharden.records.signature import (
    SIGN_OFF_NAMESPACE,
    Signers,
    key_in,
    signer_of,
    signer_within,
    ssh_time,
)


@dataclass(frozen=True)
class SignOff:
    """A sign-off as it lies in a record."""

    run: str  # the name of the run
    record: str  # SHA-256 of its ``record.json``
    result: str  # the result that was seen, as the record has it
    words: str  # what the person says of it
    time: str  # when, UTC, ``2026-11-24T13:18:42Z``
    key: str  # the key that signs, ``ssh-ed25519 SHA256:…``


@dataclass(frozen=True)
class SignOffVerdict:
    """The verdict on a sign-off: its signer, where that counts; what is wrong; and what cannot be known."""

    statement: SignOff | None = None
    signer: str = ""
    wrong: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def words(self) -> str:
        """The person who signed off, when, and what they said; nothing of what is wrong."""
        if self.statement is None or self.wrong:
            return ""
        quote = f": {one_line(self.statement.words)}" if self.statement.words else ""
        return f"by {self.signer or '?'} on {self.statement.time} ({one_line(self.statement.key)}){quote}"


def judge_sign_off(folder: Path, content: bytes, seal: Seal, signers: Signers) -> SignOffVerdict:
    """Verify the sign-off of a sealed run, if it has one; ``content`` is its ``record.json``."""
    present = [name for name in (SIGN_OFF, SIGN_OFF_SIGNATURE) if is_there(folder, name)]
    if not present:
        return SignOffVerdict()
    if len(present) == 1:
        return SignOffVerdict(
            wrong=(f"{present[0]}: has nothing beside it that it belongs to; sign off again",)
        )
    try:
        data, signature = read(folder, SIGN_OFF), read(folder, SIGN_OFF_SIGNATURE)
        statement = _parse(data)
        by = key_in(SIGN_OFF, signature)
        with signer_within(signature, SIGN_OFF_SIGNATURE) as own:
            signer_of(SIGN_OFF, data, signature, own, namespace=SIGN_OFF_NAMESPACE)
    except RecordError as error:
        return SignOffVerdict(wrong=(str(error),))
    wrong = [f"{SIGN_OFF}: {why}" for why in _mistakes(statement, by, folder, content, seal)]
    try:
        signer = signer_of(
            SIGN_OFF, data, signature, signers, ssh_time(statement.time), namespace=SIGN_OFF_NAMESPACE
        )
    except RecordError as error:
        if signers.principal:  # one key is known to count, and it is that of the sealer
            return SignOffVerdict(
                statement, "", tuple(wrong), (f"signed off with {by}: nobody says whether that key counts",)
            )
        return SignOffVerdict(statement, "", (*wrong, str(error)))
    return SignOffVerdict(statement, signer, tuple(wrong))


def _parse(data: bytes) -> SignOff:
    try:
        content = parse_json(data)
    except ValueError:
        content = None
    if (
        not isinstance(content, dict)
        or set(content) != set(SignOff.__dataclass_fields__)
        or not fits(SignOff, content)
        or not is_second(content["time"])
    ):
        raise RecordError(f"{SIGN_OFF}: is not a sign-off")
    return SignOff(**content)


def _mistakes(statement: SignOff, by: str, folder: Path, content: bytes, seal: Seal) -> list[str]:
    record = parse_record(content)
    wrong = []
    if statement.run != folder.name or statement.record != sha256(content):
        wrong.append(f"is of another record than this one, of {one_line(statement.run)}")
    if statement.result != record.get("result"):
        wrong.append(
            f"is of the result {one_line(statement.result)}, and the record says {record.get('result')}"
        )
    if statement.key != by:
        wrong.append(f"was signed with {by}, and says {one_line(statement.key)}")
    if statement.time < seal.sealed:
        wrong.append(f"was made at {statement.time}, before the seal, at {seal.sealed}")
    if why := may_not(by, record, seal):
        wrong.append(why)
    return wrong


def may_not(key: str, record: Mapping[str, Any], seal: Seal) -> str:
    """Return why a key may not sign off a result; empty where it may."""
    mark = key.rsplit(maxsplit=1)[-1]
    approval = record.get("approval")
    logins = record.get("logins")
    used = [login.get("key") for login in logins.values()] if isinstance(logins, dict) else []
    if mark in seal.key.split():
        return f"the key that signs off, {mark}, is the one that sealed it"
    if isinstance(approval, dict) and mark == approval.get("key"):
        return f"the key that signs off, {mark}, is the one that approved its plan"
    return f"the key that signs off, {mark}, is one that its run logged in with" if mark in used else ""
