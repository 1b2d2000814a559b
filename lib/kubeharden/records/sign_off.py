"""The sign-off: a second person has seen the result of a sealed run, and signs that with their own key."""

from __future__ import annotations

import tempfile
from datetime import UTC, datetime
from pathlib import Path

from kubeharden.errors import ParameterError, RecordError
from kubeharden.plan import sha256
from kubeharden.records.archive import (
    RECORD,
    SIGN_OFF,
    SIGN_OFF_SIGNATURE,
    SIGNATURE,
    Seal,
    is_sealed,
    one_seal_at_a_time,
    parse_record,
    read_seal,
)
from kubeharden.records.folder import json_file, write_aside
from kubeharden.records.keys import fingerprint, keys_at_hand, public_part
from kubeharden.records.reader import is_there, read
from kubeharden.records.sign_off_form import SignOff, may_not
from kubeharden.records.signature import SIGN_OFF_NAMESPACE, named_signers, sign, signer_within
from kubeharden.records.verify import verify

LONGEST = 2000  # characters of the words


def sign_off(
    folder: Path, key: Path, words: str = "", signers: str = "", *, may_ask: bool = False
) -> SignOff:
    """Sign off the result of a sealed run.

    Args:
        key: the SSH key of the person who has seen the result.
        signers: whose seals count: a public key or a file of allowed signers; empty: the seal must hold by its own key.
        may_ask: whether ssh-keygen may ask for the key's passphrase at the terminal.

    Raises:
        RecordError: it is not sealed, its seal does not hold, somebody has signed it off already, or this key may not.
        ParameterError: there is no file ``signers``, or there are too many words.
    """
    folder = folder.absolute()
    if len(words) > LONGEST:
        raise ParameterError(f"words: are more than {LONGEST} characters")
    if not is_sealed(folder):
        raise RecordError(f"{folder.name} is not sealed: a result is signed off once nobody can change it")
    with one_seal_at_a_time(folder.parent):
        if is_there(folder, SIGN_OFF) and is_there(folder, SIGN_OFF_SIGNATURE):
            raise RecordError(f"{folder.name} has a sign-off already; it is not replaced")
        (folder / SIGN_OFF).unlink(missing_ok=True)  # of one that was cut off
        content, signature = read(folder, RECORD), read(folder, SIGNATURE)
        own = named_signers(signers) if signers else signer_within(signature, SIGNATURE)
        with own as known:
            wrong = verify(folder, known, oldest=folder.name).wrong
        if wrong:
            raise RecordError(f"the seal of {folder.name} does not hold: {'; '.join(wrong)}")
        record = parse_record(content)
        seal = read_seal(record)
        statement = SignOff(
            run=folder.name,
            record=sha256(content),
            result=record["result"],
            words=words,
            time=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            key=fingerprint(public_part(key)),
        )
        if why := may_not(statement.key, record, seal) or _is_the_same_person(seal):
            raise RecordError(f"{folder.name}: {why}; a second person signs off")
        if statement.time < seal.sealed:
            raise RecordError(
                f"{folder.name} was sealed at {seal.sealed}: the clock of this machine is behind"
            )
        _put(folder, json_file(vars(statement)), key, may_ask)
    return statement


def _put(folder: Path, data: bytes, key: Path, may_ask: bool) -> None:
    """Sign a sign-off and put both into the record, the signature last."""
    with tempfile.TemporaryDirectory(prefix="kubeharden-") as aside:
        path = Path(aside) / SIGN_OFF
        path.write_bytes(data)
        signature = sign(path, key, may_ask=may_ask, namespace=SIGN_OFF_NAMESPACE).read_bytes()
    write_aside(folder, SIGN_OFF, data)
    write_aside(folder, SIGN_OFF_SIGNATURE, signature)


def _is_the_same_person(seal: Seal) -> str:
    mark = seal.key.split()[-1]
    return f"the key that sealed it, {mark}, is one of your own" if mark in keys_at_hand(None) else ""
