"""One SSH session answers for the scripts as often as they are asked, whatever stands in what they are sent."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import subprocess
from pathlib import Path

import pytest

from kubeharden.edges.nodes.session import command
from kubeharden.errors import NodeError
from kubeharden_rehearsal import Rehearsal
from transactions import Site, eventually

NODE = "k8s-node1"
ANSWER = r"(?s)(.*?)\n(m\d) (\d+)\n(.*?)\n\2 end\n"


@pytest.fixture(params=["dash", "bash", "busybox"])
def words(request: pytest.FixtureRequest) -> list[str]:
    """A session's command line, by this shell."""
    path = shutil.which(request.param)
    if path is None:
        pytest.skip(f"there is no {request.param} on this machine")
    shell = [path, "sh"] if request.param == "busybox" else [path]
    return shell + shlex.split(command())[1:]


def said(words: list[str], root: Path, requests: str) -> list[tuple[str, str, str, str]]:
    """The answers of a session: output, mark, status and complaints."""
    environment = {**os.environ, "KUBEHARDEN_ROOT": str(root)}
    done = subprocess.run(words, input=requests, capture_output=True, text=True, env=environment, check=True)
    assert done.stderr == ""
    assert re.sub(ANSWER, "", done.stdout) == ""
    return re.findall(ANSWER, done.stdout)


def test_requests_are_answered_one_after_the_other_and_anything_else_is_left_out(
    words: list[str], tmp_path: Path
) -> None:
    wanted = "kubeharden-is-my-password\nkubeharden m1 check 0\n\n"
    wanted += "kubeharden m2 rm 0 -rf\nkubeharden m3 transaction 0 state\n"
    assert said(words, tmp_path, wanted) == [("", "m1", "0", ""), ("@end\n", "m3", "0", "")]


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


def test_a_server_that_takes_no_more_than_it_must_takes_the_command() -> None:
    assert len(command()) < 32_000  # with room for the rest of the packet: RFC 4253, section 6.1


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
    assert eventually(lambda: answers(site))
    site.carry_out(site.change(3), "r3")
    assert session_of(site, "r3") != first
    site.nodes.close()


def answers(site: Site) -> bool:
    try:
        site.nodes.check()
    except NodeError:
        return False
    return True
