"""Evidence for a record that is about to be used: a seal by somebody whose signature counts, or nothing."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

from kubeharden.errors import RecordError
from kubeharden.records.archive import SIGNATURE, is_sealed
from kubeharden.records.folder import DOCUMENTS, PastRun
from kubeharden.records.origin import strangers
from kubeharden.records.reader import name_list, read
from kubeharden.records.signature import if_known, named_signers, signer_within
from kubeharden.records.verify import verify


@dataclass(frozen=True)
class Evidence:
    """The evidence for a record."""

    vouched: bool  # somebody whose signature counts has sealed it, and it is as it was then
    words: str  # what is known of it, as a sentence without its subject


def evidence_of(past: PastRun, signers: str = "") -> Evidence:
    """Return what vouches for a record.

    Args:
        signers: whose signatures count: a public key or a file of allowed signers; empty as for ``verify``.

    Raises:
        RecordError: the record was altered, or bears a seal that does not hold.
        ParameterError: there is no file ``signers``.
    """
    if wrong := past.problems or strangers(past):
        raise RecordError(f"{past.run} was altered, and nothing in it counts: {'; '.join(wrong)}")
    if not is_sealed(past.folder):
        return Evidence(vouched=False, words="is not sealed: nothing vouches for what is in it")
    with (
        if_known(named_signers(signers), named=bool(signers)) as chosen,
        # Without a key to compare with, the seal must hold all the same, by the key that it brings.
        nullcontext(chosen) if chosen else signer_within(read(past.folder, SIGNATURE), SIGNATURE) as known,
    ):
        verdict = verify(past.folder, known, oldest=past.run)
    if verdict.wrong:
        raise RecordError(
            f"the seal of {past.run} does not hold: {'; '.join(verdict.wrong)}. Whose signatures count is "
            f"{known.words or 'not known'}; nothing was touched"
        )
    other = [name for name in DOCUMENTS if past.digests.get(name) != verdict.files.get(name)]
    if other:
        raise RecordError(f"{past.run}: {name_list(other)} was exchanged while the record was read")
    if chosen is None:
        words = f"is sealed with {verdict.key}, and nobody says whether that key counts (parameter signers)"
        return Evidence(vouched=False, words=words)
    return Evidence(
        vouched=True, words=f"is as {verdict.signer} sealed it on {verdict.sealed} ({verdict.key})"
    )
