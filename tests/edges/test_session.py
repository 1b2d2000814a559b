"""One SSH session answers for the scripts as often as they are asked, whatever stands in what they are sent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import fabric
import pytest

from kubeharden.edges.nodes.session import COMMAND, scripts
from kubeharden.edges.nodes.ssh import Unshared
from kubeharden_rehearsal import Rehearsal
from support import eventually
from transactions import Site

NODE = "k8s-node1"
ANSWER = r"(?s)(.*?)\n(m\d) (\d+)\n(.*?)\n\2 end\n"


@pytest.fixture(params=["dash", "bash", "busybox"])
def words(request: pytest.FixtureRequest) -> list[str]:
    """A session's command line, by this shell."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"there is no {request.param} on this machine")
    shell = [path, "sh"] if request.param == "busybox" else [path]
    return shell + shlex.split(COMMAND)[1:]


def said(words: list[str], root: Path, requests: str, before: str = "") -> list[tuple[str, str, str, str]]:
    """The answers of a session: output, mark, status and complaints."""
    environment = {**os.environ, "KUBEHARDEN_ROOT": str(root)}
    sent = f"{before}{scripts().decode()}{requests}"
    done = subprocess.run(words, input=sent, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    assert re.sub(ANSWER, "", done.stdout) == ""
    return re.findall(ANSWER, done.stdout)


def test_requests_are_answered_one_after_the_other_and_anything_else_is_left_out(
    words: list[str], tmp_path: Path
) -> None:
    wanted = "something else\nkubeharden m1 check 0\n\n"
    wanted += "kubeharden m2 rm 0 -rf\nkubeharden m3 transaction 0 state\n"
    answers = said(words, tmp_path, wanted, "kubeharden-is-my-password\n")  # sudo did not ask for it
    assert answers == [("", "m1", "0", ""), ("@end\n", "m3", "0", "")]


def test_what_a_script_is_sent_is_no_request(words: list[str], tmp_path: Path) -> None:
    payload = "run kubeharden\nkubeharden m1 check 0\n"
    wanted = f"kubeharden m1 transaction {len(payload)} confirm\n{payload}kubeharden m2 check 0\n"
    first, second = said(words, tmp_path, wanted)
    assert first[0].startswith("@result failed \nthis node knows no run 'kubeharden'")
    assert second == ("", "m2", "0", "")


def test_what_fails_says_its_status_and_its_complaints_and_the_next_is_answered(
    words: list[str], tmp_path: Path
) -> None:
    base = tmp_path / "var/lib/kubeharden/r1"
    base.mkdir(parents=True)
    (base / "state").write_text("begun\n")
    wanted = "kubeharden m1 transaction 7 nonsense\nrun r1\nkubeharden m2 check 0\n"
    first, second = said(words, tmp_path, wanted)
    assert first[2] == "127"
    assert "nonsense" in first[3]
    assert second[2] == "0"


def test_the_command_is_a_few_hundred_bytes_whatever_the_scripts_are() -> None:
    # A server need not take more than 32 kB at once: RFC 4253, section 6.1.
    assert len(COMMAND.encode()) < 500
    assert len(scripts()) > 20_000


@pytest.mark.parametrize("cut", ["", "kubeharden scripts 30000\n", scripts().decode()[:-1]])
def test_scripts_that_did_not_arrive_whole_are_not_run(words: list[str], cut: str) -> None:
    done = subprocess.run(words, input=cut, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "the scripts did not arrive whole\n"


def test_scripts_that_come_in_pieces_are_read_to_the_last_byte_and_no_further(
    words: list[str], tmp_path: Path
) -> None:
    environment = {**os.environ, "KUBEHARDEN_ROOT": str(tmp_path)}
    sent = scripts() + b"kubeharden m1 check 0\n"
    with subprocess.Popen(
        words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, bufsize=0
    ) as session:
        assert session.stdin is not None
        for start in range(0, len(sent), 4001):
            session.stdin.write(sent[start : start + 4001])
            time.sleep(0.01)
        assert session.communicate()[0] == b"\nm1 0\n\nm1 end\n"


@pytest.fixture
def site(article: Rehearsal) -> Site:
    return Site(article, NODE)


def session_of(site: Site, run: str) -> int:
    """The process that a transaction was begun by."""
    return int(site.path(f"/var/lib/kubeharden/{run}/session").read_text())


def test_it_is_one_session_until_it_ends(site: Site) -> None:
    site.carry_out(site.change(1), "r1")
    site.nodes.observe([NODE])
    site.carry_out(site.change(2), "r2")
    first = session_of(site, "r1")
    assert session_of(site, "r2") == first

    os.kill(first, signal.SIGKILL)  # what is asked next may be asked before the end is known here
    assert eventually(site.answers)
    site.carry_out(site.change(3), "r3")
    assert session_of(site, "r3") != first
    site.nodes.close()


def test_connections_that_are_made_at_once_share_their_settings_unchanged(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shared = fabric.Config()
    monkeypatch.setattr(fabric.Config, "merge", lambda _: pytest.fail("the shared settings are made anew"))
    made = Unshared(
        "127.0.0.1", user="root", port=22, config=shared, connect_timeout=3, connect_kwargs={"a": 1}
    )
    assert (made.user, made.port, made.config) == ("root", 22, shared)
