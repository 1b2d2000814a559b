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
    [("new", "old", "[] []"), ("old", "new", "[yes] [/etc/a b]"), ("new", "new", "[yes] []")],
)
def test_files_are_compared_without_room(
    shell: tuple[list[str], dict[str, str]], tmp_path: Path, before: str, after: str, outcome: str
) -> None:
    """There is "new" in a file whose name has a blank, and another that is absent before and after."""
    digests = {
        word: subprocess.run(
            ["sha256sum"], input=word.encode(), capture_output=True, check=True
        ).stdout.split()[0]
        for word in ("old", "new")
    }
    digest = {word: found.decode() for word, found in digests.items()}
    place = tmp_path / "root/etc/a b"
    place.write_text("new")
    place.chmod(0o600)
    owner, group = place.owner(), place.group()
    (tmp_path / "files").write_text(
        f"1 600 {owner} {group} {digest[before]} {digest[after]} /etc/a b\n2 - - - absent absent /etc/none\n"
    )
    text = f'{FULL}{FUNCTIONS}\nfolder={tmp_path}\ncompare\necho "[$same] [$stale]"'
    done = said(shell, text)
    assert (done.stdout.decode(), done.stderr) == (f"{outcome}\n", b"")


def test_a_change_without_room_is_not_begun_and_says_so(
    shell: tuple[list[str], dict[str, str]], tmp_path: Path
) -> None:
    sent = archive(NodeChange("kubelet", "n1", "kubelet"), "r1", "a test", 1, 60, script_text("transaction"))
    done = said(shell, f"{FULL}{script_text('transaction')}", "begin", sent=sent)
    assert re.match(rb"@result failed \n.*; nothing was changed\n", done.stdout, re.DOTALL), done
    base = tmp_path / "root/var/lib/kubeharden"
    assert not base.exists() or not list(base.iterdir())
    assert not (tmp_path / "root/etc/systemd").exists()
