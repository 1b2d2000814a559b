"""A sealed run as evidence: a rehearsal or a run on staging that tried a change, or the way back from it.

The record that relies on it keeps the digest of its ``record.json``, which names the digest of all the rest.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kubeharden.errors import ParameterError, RecordError
from kubeharden.inputs.parameters import ChangeParameters
from kubeharden.inputs.window import Window
from kubeharden.plan import sha256
from kubeharden.records.archive import RECORD, SIGNATURE, is_sealed, parse_record, read_seal
from kubeharden.records.reader import is_folder, one_line, read
from kubeharden.records.signature import signer_within
from kubeharden.records.verify import verify


def change_of(parameters: ChangeParameters, runs: Path) -> dict[str, Any]:
    """Return what a run keeps for those who audit it, from its parameters; empty where none of them is given.

    Args:
        runs: the folder of runs, where the evidence is looked for by its name.

    Raises:
        ParameterError: a run that is named as evidence is not one.
    """
    p = parameters
    window = Window.parse(p.window) if p.window else None
    back_out = p.back_out_evidence and evidence(p.back_out_evidence, runs, "back_out_evidence", back_out=True)
    sample = {
        "requester": p.requester,
        "kind": p.change_kind,
        "risk": p.risk,
        "window": window and {"start": window.start.isoformat(), "end": window.end.isoformat()},
        "test": evidence(p.test_evidence, runs, "test_evidence") if p.test_evidence else None,
        "back_out": {"words": p.back_out, "tried": back_out or None} if p.back_out or back_out else None,
    }
    return {name: value for name, value in sample.items() if value}


def evidence(text: str, runs: Path, parameter: str, *, back_out: bool = False) -> dict[str, str]:
    """Return what is kept of a run that is named as evidence.

    Args:
        text: its folder, or its name in the folder of runs.
        parameter: which names it, for messages.
        back_out: whether it must be a run that put another one back.

    Raises:
        ParameterError: there is no such run, it is not sealed or was altered, or is of another kind.
    """
    folder = next((path for path in (Path(text).expanduser(), runs / text) if is_folder(path)), None)
    if folder is None:
        raise ParameterError(
            f"{parameter}: there is no folder of a run {text!r}; expected its path or its name"
        )
    folder = folder.absolute()
    if not is_sealed(folder):
        raise ParameterError(
            f"{parameter}: {one_line(folder.name)} is not sealed, and could become another one; seal it first: "
            f"kubeharden seal {one_line(str(folder))} NOTEBOOK"
        )
    try:
        content = read(folder, RECORD)
        record = parse_record(content)
        seal = read_seal(record)
        with signer_within(read(folder, SIGNATURE), SIGNATURE) as own:
            wrong = verify(folder, own, oldest=folder.name).wrong
    except RecordError as error:
        wrong = (str(error),)
    if wrong:
        raise ParameterError(f"{parameter}: the seal of {folder.name} does not hold: {'; '.join(wrong)}")
    if back_out and not record.get("parameters", {}).get("record"):
        raise ParameterError(f"{parameter}: {folder.name} put nothing back; expected a run of rollback.ipynb")
    return {
        "run": folder.name,
        "cluster": str(record.get("cluster", "")),
        "mode": str(record.get("mode", "")),
        "result": str(record.get("result", "")),
        "sealed": seal.sealed,
        "key": seal.key,
        "record": sha256(content),
    }
