"""A disk without room: looking needs none, and a change that cannot be kept is not begun."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import pytest

from kubeharden.edges.nodes.session import SCRIPTS, script_text
from kubeharden.edges.nodes.transaction import archive
from kubeharden.facts import observation_request, parse_observation
from kubeharden.plan import NodeChange
from kubeharden_rehearsal import Rehearsal
from transactions import SERVICE, Site

FOLDER = Path(str(files("kubeharden.edges.nodes")))
# Before 5.1, bash writes each here-document to a file in /tmp; later ones do it where they are told to be compatible.
SHELLS = {"dash": {}, "bash": {"BASH_COMPAT": "5.0"}, "busybox": {}}
FULL = "ulimit -f 0; trap '' XFSZ; "
SYSTEMCTL = r"""#!/bin/sh
case "$*" in
*show*) printf 'MainPID=42\nLoadState=loaded\nActiveState=active\nFragmentPath=/etc/kubelet.service\n\n' ;;
*) echo 'systemd 252' ;;
esac
"""


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[list[str], dict[str, str]]:
    """The words of a shell, and its environment on a node that runs one kubelet."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"there is no {request.param} on this machine")
    root = tmp_path / "root"
    for name, text in {
        "etc/machine-id": "8a6c\n",
        "etc/hostname": "n1\n",
        "etc/kubelet.service": "[Service]\nExecStart=/bin/kubelet --config=/etc/k --kubeconfig ''\n",
        "etc/k": "kind: KubeletConfiguration\n",
        "proc/42/cmdline": "/bin/kubelet\0--config=/etc/k\0--kubeconfig\0\0--v=2\0a\nb\0",
    }.items():
        place = root / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(text)
    commands = tmp_path / "bin"
    commands.mkdir()
    (commands / "systemctl").write_text(SYSTEMCTL)
    (commands / "systemctl").chmod(0o755)
    given = {"PATH": f"{commands}:/usr/bin:/bin", "KUBEHARDEN_ROOT": str(root), **SHELLS[request.param]}
    return [path, "sh", "-c"] if request.param == "busybox" else [path, "-c"], given


def said(
    shell: tuple[list[str], dict[str, str]], text: str, *arguments: str, sent: bytes = b""
) -> subprocess.CompletedProcess[bytes]:
    words, given = shell
    environment = {**os.environ, **given}
    return subprocess.run(
        [*words, text, "test", *arguments], input=sent, env=environment, capture_output=True, check=False
    )


def test_looking_needs_no_room(shell: tuple[list[str], dict[str, str]]) -> None:
    request = observation_request(["kubelet"])
    with_room, full = (said(shell, f"{before}{script_text('observe')}", *request) for before in ("", FULL))
    assert full.stderr == b""
    first, second = (parse_observation("n1", False, answer.stdout.decode()) for answer in (with_room, full))
    assert first == second
    kubelet = second.services["kubelet"]
    assert kubelet.cmdline == ("/bin/kubelet", "--config=/etc/k", "--kubeconfig", "", "--v=2", "a\nb")
    assert set(kubelet.files) == {"/etc/kubelet.service", "/etc/k"}
    assert kubelet.main_pid == 42


FUNCTIONS = "\n".join((FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"])


def test_what_runs_is_seen_without_room(shell: tuple[list[str], dict[str, str]]) -> None:
    done = said(shell, f'{FULL}{FUNCTIONS}\nservice=kubelet\nlook\necho "$identity"')
    assert (done.stdout, done.stderr) == (b"42 active  \n", b"")


@pytest.mark.parametrize(
    ("before", "after", "outcome"),
    [("new", "old", "[] []"), ("old", "new", r"[yes] [/etc/a b\x2d]"), ("new", "new", "[yes] []")],
)
def test_files_are_compared_without_room(
    shell: tuple[list[str], dict[str, str]], tmp_path: Path, before: str, after: str, outcome: str
) -> None:
    """There is "new" in a file whose name has a blank and a backslash; another is absent, and stays so."""
    digests = {
        word: subprocess.run(
            ["sha256sum"], input=word.encode(), capture_output=True, check=True
        ).stdout.split()[0]
        for word in ("old", "new")
    }
    digest = {word: found.decode() for word, found in digests.items()}
    place = tmp_path / r"root/etc/a b\x2d"
    place.write_text("new")
    place.chmod(0o600)
    owner, group = place.owner(), place.group()
    (tmp_path / "files").write_text(
        f"1 600 {owner} {group} {digest[before]} {digest[after]} /etc/a b\\x2d\n2 - - - absent absent /etc/none\n"
    )
    text = f'{FULL}{FUNCTIONS}\nfolder={tmp_path}\ncompare\nprintf "[%s] [%s]\\n" "$same" "$stale"'
    done = said(shell, text)
    assert (done.stdout.decode(), done.stderr) == (f"{outcome}\n", b"")


def test_words_find_the_room_that_was_taken_for_them(
    shell: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    """Here nothing can be written as long as the room is not given up."""
    (tmp_path / "room").write_bytes(bytes(1000))
    full = """put() { [ ! -e "$folder/room" ] && printf '%s\\n' "$3" >>"$folder/$2"; }"""
    done = said(shell, f"{FUNCTIONS}\n{full}\nfolder={tmp_path}\nnote why because\nsay waiting\nsay stuck")
    assert (done.stdout, done.stderr) == (b"", b"")
    assert (tmp_path / "why").read_text() == "because\n"
    assert (tmp_path / "state").read_text() == "\nwaiting\n\nstuck\n"
    assert not (tmp_path / "room").exists()


def test_a_failure_is_reported_even_where_it_cannot_be_written(
    shell: tuple[list[str], dict[str, str]],
) -> None:
    stubs = "note() { return 1; }; enter() { return 1; }; recall() { reached=timer; }; rebooted_since() { return 1; }"
    told = 'put_all_back() { after=back; }; conclude() { echo "$1: $2"; }'
    text = f"{FUNCTIONS}\n{stubs}\n{told}\nfolder=/none service=kubelet deadline=9\nfail 'no room'"
    assert said(shell, text).stdout == b"reverted: no room; back, and kubelet was not restarted\n"


@pytest.mark.parametrize("pages", range(22, 44, 3))
def test_a_disk_that_is_full_at_any_point_changes_nothing(article: Rehearsal, pages: int) -> None:
    site = Site(article, "k8s-node1")
    site.carry_out(site.change(1), "first")
    base = site.path("/var/lib/kubeharden")
    words = ["mount", "-t", "tmpfs", "-o", f"size={pages * os.sysconf('SC_PAGE_SIZE')}", "tmpfs", str(base)]
    if subprocess.run(words, capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a small disk")
    try:
        before, process = site.files(), site.run(f"systemctl show -p MainPID {SERVICE}")
        result = site.nodes.begin(site.change(2), "r2", 20)
        after = site.files()
        assert result.outcome == "failed", result
        assert "nothing was changed" in result.words
        assert re.search("cannot (write|back up)|room|No space left", result.words)
        assert [path for path in before | after if before.get(path) != after.get(path)] == []
        assert site.run(f"systemctl show -p MainPID {SERVICE}") == process
    finally:
        subprocess.run(["umount", "-l", str(base)], check=True)
        site.nodes.close()


def test_a_change_without_room_is_not_begun_and_says_so(
    shell: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    sent = archive(NodeChange("kubelet", "n1", "kubelet"), "r1", "a test", 1, 60, script_text("transaction"))
    done = said(shell, f"{FULL}{script_text('transaction')}", "begin", sent=sent)
    assert re.match(rb"@result failed \n.*; nothing was changed\n", done.stdout, re.DOTALL), done
    base = tmp_path / "root/var/lib/kubeharden"
    assert not base.exists() or not list(base.iterdir())
    assert not (tmp_path / "root/etc/systemd").exists()
