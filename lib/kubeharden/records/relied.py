"""The runs that a record relies on as evidence, held against what lies beside it. Reading only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kubeharden.errors import RecordError
from kubeharden.records.archive import RECORD, RUN_NAME
from kubeharden.records.reader import digest, is_folder, one_line


def relied_on(record: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield the runs that a record names as evidence."""
    change = record.get("change")
    change = change if isinstance(change, Mapping) else {}
    back_out = change.get("back_out")
    for found in (change.get("test"), back_out.get("tried") if isinstance(back_out, Mapping) else None):
        if isinstance(found, Mapping):
            yield found


def judge_evidence(folder: Path, record: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """Return what is wrong with the runs that a record names as evidence, and what cannot be known: a sentence each."""
    wrong, notes = [], []
    for found in relied_on(record):
        name, sha = str(found.get("run", "")), found.get("record")
        if not RUN_NAME.fullmatch(name) or "/" in name:
            wrong.append(f"{RECORD}: names {one_line(name)} as evidence, which is not the name of a run")
        elif not is_folder(folder.parent / name):
            notes.append(f"its evidence {one_line(name)} is not here; its record has the digest {sha}")
        else:
            try:
                same = digest(folder.parent / name, RECORD) == sha
            except RecordError:
                same = False
            if not same:
                wrong.append(f"{one_line(name)}: is another record than the one that served as evidence")
    return wrong, notes
