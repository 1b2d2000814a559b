"""A record that version 0.1.0 sealed still verifies, and still puts its cluster back.

The archive holds the sealed run, the rehearsal cluster as that run left it, and the public key of its signer. It was
made with ``papermill notebooks/harden.ipynb --engine kubeharden`` on a checkout of commit 4fcfaca.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from kubeharden import runbook
from kubeharden.cli import main
from kubeharden.records.signature import chosen_signers
from kubeharden.records.verify import verify_folder
from kubeharden_rehearsal import Rehearsal
from rehearsals import Rehearsals
from support import ROOT, unpack

ARCHIVE = ROOT / "tests" / "fixtures" / "records" / "version-0.1.0.tar.xz"


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The archive, unpacked."""
    unpack(ARCHIVE, tmp_path)
    return tmp_path


def files_in_etc(folder: Path) -> dict[str, bytes]:
    """Content of every file in the nodes' /etc but the machine's own name, which earlier rehearsals did not have."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.glob("nodes/*/etc/**/*")
        if path.is_file() and not path.is_symlink() and path.name != "machine-id"
    }


def test_its_seal_holds_and_one_changed_byte_breaks_it(unpacked: Path) -> None:
    with chosen_signers(key=str(unpacked / "key.pub")) as signers:
        [verdict] = verify_folder(unpacked, signers)
        assert verdict.good, verdict.wrong
        journal = verdict.folder / "journal.jsonl"
        journal.write_bytes(journal.read_bytes().replace(b"node1", b"node2", 1))
        [verdict] = verify_folder(unpacked, signers)
        assert not verdict.good


def test_it_puts_its_cluster_back(unpacked: Path, rehearsals: Rehearsals) -> None:
    [record] = unpacked.glob("*-article-1.10-CHG-1")
    hardened = files_in_etc(unpacked / "rehearsal")
    new = files_in_etc(rehearsals.untouched("article-1.10").directory)
    with Rehearsal.start("article-1.10", unpacked / "rehearsal") as rehearsal:
        run = runbook.start(
            {
                "In": [""],
                "record": str(record),
                "inventory": str(rehearsal.inventory),
                "output_dir": str(unpacked / "rollbacks"),
            },
            "rollback",
        )
        run.check()
        run.look()
        run.plan()
        run.roll_back()
        assert "✘" not in str(run.prove())
        run.finish()
        assert main(["clean-nodes", "--inventory", str(rehearsal.inventory)]) == 0
    assert hardened != new
    assert files_in_etc(unpacked / "rehearsal") == new
