"""Logins as they are met: other shells, forced commands, sudo that wants a terminal, passwords that have expired."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import shutil
import subprocess
import time
from pathlib import Path

import asyncssh
import pytest

from kubeharden.edges.nodes import Nodes
from kubeharden.edges.nodes.refusal import refusal
from kubeharden.edges.nodes.session import COMMAND, scripts
from kubeharden.errors import NodeError
from ssh_servers import Handler, forced, login_shell, ssh_server


def test_the_command_of_a_session_is_one_line_that_every_login_shell_passes_on() -> None:
    """csh ends a quoted word with the line, and looks for events in quotes; its words have 1,024 bytes at the most."""
    words = shlex.split(COMMAND)
    assert words[:2] == ["sh", "-c"]
    assert not set("\n'!\\") & set(words[2])
    assert len(COMMAND) < 1000


@pytest.mark.parametrize("shell", ["csh", "tcsh", "fish", "dash", "bash", "busybox", "zsh", "ksh"])
@pytest.mark.parametrize("prefix", ["", "env LC_ALL=C sudo -S -k -p '' -- "], ids=["root", "sudo"])
def test_a_login_shell_runs_a_session(shell: str, prefix: str, tmp_path: Path) -> None:
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell} on this machine")
    sudo = tmp_path / "sudo"
    sudo.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    sudo.chmod(0o755)
    words = [path, "sh", "-c"] if shell == "busybox" else [path, "-c"]
    done = subprocess.run(
        [*words, f"{prefix}{COMMAND} greet"],
        input=scripts() + b"kubeharden m1 check 0\n",
        env={"PATH": f"{tmp_path}:/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout == b"ready\n\nm1 0\n\nm1 end\n"


def test_a_node_whose_login_shell_is_csh_is_read(tmp_path: Path) -> None:
    path = shutil.which("tcsh") or shutil.which("csh")
    if path is None:
        pytest.skip("there is no csh on this machine")
    (tmp_path / ".cshrc").write_text("echo welcome\n")
    with (
        ssh_server(tmp_path / "ssh", login_shell(path, HOME=str(tmp_path))) as server,
        Nodes(server.inventory(user="root")) as nodes,
    ):
        nodes.check()


@pytest.mark.parametrize(
    ("output", "status", "complaints", "words"),
    [
        (
            "Backups only\n",
            0,
            "",
            "node1: the login of ops ran something else than .* said: Backups only.*command=.*ForceCommand",
        ),
        ("", 0, "", "ran something else than it was told to.*said: without a word"),
        (
            "",
            1,
            "WARNING: Your password has expired.\nPassword change required but no TTY available.\n",
            "(?s)node1: the password of ops has expired there: WARNING: Your password.*chage -M -1 ops",
        ),
        (
            "",
            1,
            "sudo: sorry, you must have a tty to run sudo\n",
            "must have a tty.*Defaults:ops !requiretty",
        ),
        ("This account is currently not available.\n", 1, "", "ops has no login shell there: This account"),
        ("This service allows sftp connections only.\n", 1, "", "may only transfer files there"),
        ("", 127, "ksh: sudo: not found\n", "not a program sudo: ksh: sudo: not found.*ssh.user: root"),
        (
            "",
            1,
            "ops is not in the sudoers file.\n",
            "may not become root there: ops is not in the sudoers file",
        ),
        (
            "",
            1,
            "Sorry, user ops is not allowed to execute 'sh' as root.\n",
            "may not become root there: Sorry",
        ),
        (
            "",
            3,
            "the moon is full\n",
            "ended with status 3, before the script began: the moon is full. Is there a comm",
        ),
        (
            "Access denied: second factor missing.\n",
            1,
            "",
            "before the script began: Access denied.*a second factor, or",
        ),
        (
            "",
            126,
            "/bin/sh: Permission denied\n",
            "ran something else than it was told to, which ended with status 126",
        ),
        ("", 1, "Badly placed ()'s.\n", "a login shell that runs no commands"),
    ],
)
@pytest.mark.parametrize("sudo", ["nopasswd", "password"])
def test_the_servers_own_words_and_the_way_out(
    output: str,
    status: int,
    complaints: str,
    words: str,
    sudo: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KUBEHARDEN_SUDO_PASSWORD", "battery-staple")
    with (
        ssh_server(tmp_path, forced(output, status, complaints)) as server,
        Nodes(server.inventory(sudo=sudo)) as nodes,
        pytest.raises(NodeError, match=words),
    ):
        nodes.check()


def test_what_the_script_itself_says_is_not_taken_for_sudos() -> None:
    said = "undo it, on the node: sudo sh transaction.sh undo r1"
    assert refusal("n1", "ops", 1, said, of_script=True) == f"n1: the script ended with status 1: {said}"


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (
            "sudo: Account or password is expired, reset your password and try again",
            "password of ops has expired",
        ),
        (
            "sudo: account validation failure, is your account locked?",
            "account of ops has expired there, or is locked",
        ),
        ("sudo: no tty present and no askpass program specified", "may not become root"),
        ("sudo: a password is required", "sudo: password in the inventory"),
        ("env: 'sudo': No such file or directory", "not a program sudo"),
        ("bash: line 1: sudo: command not found", "not a program sudo"),
        ("sudo: /usr/bin/sudo must be owned by uid 0 and have the setuid bit set", "cannot work there"),
        (
            'sudo: The "no new privileges" flag is set, which prevents sudo from running as root.',
            "cannot work there",
        ),
        ("sudo: /etc/sudoers is world writable\nsudo: no valid sudoers sources found", "cannot work there"),
        ("sudo: PERM_SUDOERS: setresuid(-1, 1, -1): Operation not permitted", "cannot work there"),
        ("sudo: unable to open /run/sudo/ts/ops: Read-only file system", "cannot work there"),
        ("sudo: unable to resolve host n1: unknown\nsudo: a password is required", "may not become root"),
        ("sudo: unable to resolve host n1: unknown\nthe moon is full", "ended with status 1"),
        ("You are required to change your password immediately (root enforced).", "password of ops has expired"),
        ("Account locked due to 5 failed logins", "or is locked"),
        ('Please login as the user "ubuntu" rather than the user "root".', "Name that user in the inventory"),
        ("System is booting up. Unprivileged users are not permitted to log in yet.", "because it starts or stops"),
        ("System is going down. For technical details, see pam_nologin(8).", "because it starts or stops"),
        ("rbash: /bin/sh: restricted: cannot specify `/' in command names", "some commands alone"),
        ("fatal: Interactive git shell is not enabled.", "some commands alone"),
    ],
)  # fmt: skip
def test_each_refusal_of_sudo_has_its_way_out(said: str, words: str) -> None:
    found = refusal("n1", "ops", 1, said)
    assert words in found
    assert said.removesuffix(".") in found
    assert ".." not in found


def in_pieces(piece: bytes, pause: float = 0.0, *, complaints: bool = False) -> Handler:
    """A login that prints the same without end."""

    async def run(process: asyncssh.SSHServerProcess[bytes]) -> None:
        stream = process.stderr if complaints else process.stdout
        with contextlib.suppress(asyncssh.Error, OSError):
            while True:
                stream.write(piece)
                await stream.drain()
                await asyncio.sleep(pause)

    return run


@pytest.mark.parametrize(
    ("handler", "words"),
    [
        (in_pieces(b"a" * 65536), "it says more than 64 KiB before sudo is asked"),
        (in_pieces(b"a" * 65536, complaints=True), "it says more than 64 KiB before sudo is asked"),
        (in_pieces(b"a" * 16, 0.01), "no answer within 1 s"),
    ],
    ids=["output", "complaints", "slow"],
)
def test_a_login_that_prints_without_end_before_sudo_is_asked_is_left(
    handler: Handler, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubeharden.edges.nodes.session._SUDO_SECONDS", 1.0)
    start = time.monotonic()
    with (
        ssh_server(tmp_path / "ssh", handler) as server,
        Nodes(server.inventory(sudo="password"), lambda: "a-password") as nodes,
        pytest.raises(NodeError, match=words),
    ):
        nodes.check()
    assert time.monotonic() - start < 15


def test_many_complaints_are_said_in_short_and_soon(tmp_path: Path) -> None:
    start = time.process_time()
    handler = forced("password: a\n" * 1_000_000 + "the end", 1)
    with (
        ssh_server(tmp_path / "ssh", handler) as server,
        Nodes(server.inventory(user="root")) as nodes,
        pytest.raises(NodeError, match=r"the end\. Is there a command=") as caught,
    ):
        nodes.check()
    assert len(str(caught.value)) < 1000
    assert time.process_time() - start < 8
