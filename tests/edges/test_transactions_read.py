"""What a node says of its transactions, as plain data, whatever it says."""

from __future__ import annotations

import io
import tarfile

import pytest

from kubeharden.edges.nodes.transaction import archive, read_removed, read_result, read_transactions
from kubeharden.errors import NodeError
from kubeharden.facts import FileFact
from kubeharden.plan import FileChange, NodeChange
from kubeharden.redaction import Redactor

SINCE = "2026-03-01T23:59:50Z"


@pytest.mark.parametrize(
    ("since", "seconds", "until"),
    [
        (SINCE, "20", "2026-03-02T00:00:10Z"),
        (SINCE, "0.6", "2026-03-01T23:59:50Z"),
        (SINCE, "-", ""),  # an archive without a deadline
        ("-", "20", ""),  # it is over
        (SINCE, "inf", ""),
        (SINCE, "nan", ""),
        (SINCE, "1e300", ""),
        ("", "20", ""),  # a node without "date -r"
    ],
)
def test_until_when_a_change_is_open_is_reported_where_it_can_be(
    since: str, seconds: str, until: str
) -> None:
    text = f"@transaction r open waiting kubelet {since} {seconds} ops@bastion, process 7\n@end\n"
    [found] = read_transactions("n1", text, Redactor())
    assert (found.since, found.until, found.holder) == (since, until, "ops@bastion, process 7")


HELD = f"@transaction r1 open waiting kubelet {SINCE} 20 ops@bastion, process 7\n"
HELD_WORDS = f"""\
this node is held by ops@bastion, process 7 since {SINCE} (run r1, which is waiting). It is over, one way or the \
other, at 2026-03-02T00:00:10Z or soon after. If nobody is behind it any more, put it back at once, on the node: \
sudo sh /var/lib/kubeharden/transaction.sh undo r1. Nothing was changed"""
STUCK = f"@transaction r1 open stuck kubelet {SINCE} 20 ops@bastion, process 7\nFILES: /a. Mend that\n"
STUCK_WORDS = (
    "this node is held by run r1, which could not be put back. FILES: /a. Mend that. Nothing was changed"
)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (HELD, HELD_WORDS),
        (STUCK, STUCK_WORDS),
        ("another has just begun", "another has just begun. Nothing was changed"),
        ("@transaction r1 open", "@transaction r1 open. Nothing was changed"),  # a node that lies
    ],
)
def test_who_finds_a_node_held_is_told_by_whom_and_what_to_do(text: str, words: str) -> None:
    found = read_result("n1", "kubelet", f"@result busy \n{text}", Redactor())
    assert (found.outcome, found.words) == ("busy", words)
    with pytest.raises(NodeError) as refused:
        read_removed("n1", f"@result busy \n{text}", Redactor())
    assert str(refused.value) == f"n1: {words}"


def test_the_journal_of_a_service_is_apart_from_the_words() -> None:
    text = "@result reverted 2026-03-01T23:59:50Z\nit is as before\nIts journal says:\nunknown flag\nbye\n"
    found = read_result("n1", "kubelet", text, Redactor())
    assert (found.words, found.journal) == ("it is as before", "unknown flag\nbye")


@pytest.mark.parametrize(
    ("words", "checked"),
    [
        (("/bin/p", "--config=/etc/p", "--v=2"), ("/bin/p", "--config={}/new.2", "--v=2")),
        (("/bin/p", "--config", "/etc/p"), ("/bin/p", "--config", "{}/new.2")),
        (
            ("/bin/p", "--config=/etc/p", "--x=--config=/etc/p"),
            ("/bin/p", "--config={}/new.2", "--x=--config=/etc/p"),
        ),
    ],
)
def test_a_check_reads_the_new_file_where_the_node_has_it_until_then(
    words: tuple[str, ...], checked: tuple[str, ...]
) -> None:
    paths = ("/etc/systemd/system/p.service", "/etc/p")
    files = tuple(
        FileChange(path, FileFact(path, "644", "root", "root", "old"), "new", "644", "root", "root")
        for path in paths
    )
    change = NodeChange("kube-proxy", "n1", "kube-proxy", files, expected_argv=words)
    with tarfile.open(fileobj=io.BytesIO(archive(change, "r1", "me", 1, 2, "#"))) as sent:
        found = sent.extractfile("argv")
        assert found is not None
        said = found.read().decode().splitlines()
    folder = "/var/lib/kubeharden/r1"
    assert said[0] == "--write-config-to"
    assert said[1:] == [*(word.format(folder) for word in checked), f"--write-config-to={folder}/written"]
