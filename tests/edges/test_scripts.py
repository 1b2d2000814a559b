"""The functions of the node's scripts by themselves, under each shell."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path

import pytest

from http_servers import Quiet, listening
from kubeharden.edges.nodes.session import SCRIPTS, script_text
from kubeharden.facts import observation_request

FOLDER = Path(str(files("kubeharden.edges.nodes")))
SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("call", "said"),
    [
        ("known run-1.a_B && echo yes", "yes\n"),
        ("known .hidden || known 'a b' || known a/b || known '' || echo no", "no\n"),
        ("now=reverted; is_over && now=waiting && ! is_over && echo yes", "yes\n"),
        ('get line t/two; echo "$line"; get line t/none; echo "[$line]"', "one\n[]\n"),
        ("show t/two; show t/none", "one\ntwo\n"),
        (
            'rest="a\n\nb c"; while take_line; do echo "[$line]"; done; rest=""; take_line || echo end',
            "[a]\n[]\n[b c]\nend\n",
        ),
        (
            r'show=$(printf "A=1\nAB=x=y z\nC="); property a A; property b AB; property c B; echo "$a,$b,$c"',
            "1,x=y z,\n",
        ),
        ('real=t/none; see; echo "$sum"; real=t; see; echo "$sum"', "absent\nnone\n"),
        (r'real=t/two sums="\\a1  t/two"; see; echo "$sum"', "a1\n"),
        ('folder=t/torn; recall; echo "$now $reached"', "armed files\n"),
        ("folder=t/torn now=armed; is_open && now=begun && ! is_open && echo yes", "yes\n"),
        ("folder=t/torn now=reverted; ! is_open && : >t/torn/held && is_open && echo yes", "yes\n"),
        (
            'base=t run=none; told() { echo "$run $folder $now $mine"; }; each_run told; echo "$run $folder [$now]"',
            "torn t/torn armed none\nnone t/none []\n",
        ),
        ("within 1 test -e t/two && ! within 0 test -e t/none && echo yes", "yes\n"),
        ('base=t; load torn; echo "$run $folder [$service]"', "torn t/torn []\n"),
        ('folder=t/none; recall; echo "[$now]"', "[]\n"),
        (
            "lock=t/lock; try_lock && (flock -n t/lock true || echo held); unlock; flock -n t/lock echo free",
            "held\nfree\n",
        ),
    ],
)
def test_a_function_by_itself(tmp_path: Path, shell: list[str], call: str, said: str) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    place = tmp_path / "t"
    (place / "torn").mkdir(parents=True)
    (place / "two").write_text("one\ntwo")
    (place / "empty").touch()
    (place / "torn/state").write_text("begun\n\narmed\n\nrestar")
    texts = [(FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"]]
    text = "\n".join([*texts, f"{call}\n"])
    done = subprocess.run([*shell, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(said)
    assert done.stderr == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_node_without_flock_is_refused_before_all_else(tmp_path: Path, shell: list[str]) -> None:
    path = shutil.which(shell[0])
    if path is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    words = [path, *shell[1:], "-c", script_text("transaction"), "transaction", "state"]
    done = subprocess.run(words, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == 'this node has no program "flock" (of util-linux or busybox)\n'


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("call", "said"),
    [
        (
            "rm() { echo 'no rm'; return 1; }; clean",
            "@result failed \ncannot remove ./kubeharden-boot.service: no rm\n",
        ),
        (
            "install() { echo 'no install' >&2; return 1; }; folder=t; install_units || echo \"$complaint\"",
            "cannot install its units: no install\n",
        ),
    ],
)
def test_what_a_program_says_of_its_failure_is_reported(
    tmp_path: Path, shell: list[str], call: str, said: str
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    (tmp_path / "kubeharden-boot.service").symlink_to("nowhere")
    texts = [(FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"]]
    text = "\n".join([*texts, f"base=t units=. wants=. lock=t/lock; {call}"])
    done = subprocess.run([*shell, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (said, "")


def look(
    shell: list[str], root: Path, programs: Mapping[str, str], words: Sequence[str], **environment: str
) -> subprocess.CompletedProcess[str]:
    """Observe loaded services on a node that has these programs, texts for sh, before those of this machine."""
    path = shutil.which(shell[0])
    if path is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    (root / "usr/bin").mkdir(parents=True)
    for name, text in {"systemctl": "echo LoadState=loaded", **programs}.items():
        program = root / "usr/bin" / name
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)
    return subprocess.run(
        [path, *shell[1:], "-c", script_text("observe"), "observe", *words],
        env={"PATH": f"{root}/usr/bin:/usr/bin:/bin", "KUBEHARDEN_ROOT": str(root), **environment},
        capture_output=True,
        text=True,
        check=True,
        timeout=20,
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("says", "is_asked"),
    [
        ("Kubernetes v1.9.11", True),
        ("Kubernetes v1.22.17", True),
        ("Kubernetes v1.22.0-rc.1+k3s", True),
        ("Kubernetes v1.23.0", False),
        ("Kubernetes v1.36.0", False),
        ("Kubernetes v2.0.0", False),
        ("nothing that is known", False),
        ("", False),
    ],
)
def test_a_port_is_asked_only_while_its_program_listens_there(
    tmp_path: Path, shell: list[str], says: str, *, is_asked: bool
) -> None:
    """Later, anybody on the node may listen there."""
    programs = {"curl": f'echo "$*" >>{tmp_path}/asked', "kube-scheduler": f"echo '{says}'"}
    look(shell, tmp_path, programs, observation_request(["kube-scheduler"]))
    assert (tmp_path / "asked").exists() == is_asked


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_journal_is_read_as_far_as_the_start_of_the_program(tmp_path: Path, shell: list[str]) -> None:
    warning = "Flag --address Has Been Deprecated, see the docs"
    endless = f"echo '{warning}'; exec yes 'a line as any other'"
    done = look(shell, tmp_path, {"journalctl": endless}, observation_request(["kubelet"]))
    assert f"warnings kubelet\n{warning}\n" in done.stdout
    assert (done.stderr, "as any other" in done.stdout) == ("", False)


@pytest.mark.parametrize("client", ["curl", "wget"])
def test_what_is_asked_of_a_node_goes_by_way_of_no_proxy(tmp_path: Path, client: str) -> None:
    path = shutil.which(client)
    if path is None:
        pytest.skip(f"there is no {client} on this machine")

    class Answers(Quiet):
        def do_GET(self) -> None:  # noqa: N802 - the name that the base looks for
            self.answer(200, b"the answer of " + self.path.encode())

    tools = tmp_path / "tools"
    tools.mkdir()
    for tool in (client, "sed", "uname"):
        (tools / tool).symlink_to(shutil.which(tool) or "")
    program = {"kube-scheduler": "echo Kubernetes v1.20.2", "journalctl": ":"}
    proxies = {f"{name}_proxy": "http://127.0.0.1:9" for name in ("http", "https", "HTTP", "all")}
    with listening(Answers) as address:
        words = [f"kube-scheduler,configz={address}/configz,healthz=address:port:1"]
        done = look(["dash"], tmp_path, program, words, **proxies, PATH=f"{tmp_path}/usr/bin:{tools}")
    assert "configz kube-scheduler\nthe answer of /configz" in done.stdout


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("state", "held", "outcome"),
    [
        ("begun", False, "given up: systemd does not start the work: no bus\n"),
        ("begun", True, "followed\n"),  # something may be staged beside a file
        ("armed", True, "followed\n"),
    ],
)
def test_work_that_systemd_does_not_start_is_given_up_only_where_it_has_not_begun(
    tmp_path: Path, shell: list[str], state: str, outcome: str, *, held: bool
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    (tmp_path / "run").mkdir()
    (tmp_path / "run/state").write_text(f"{state}\n")
    if held:
        (tmp_path / "run/held").touch()
    texts = [(FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"]]
    stub = "systemctl() { echo no bus >&2; return 1; }"
    call = 'if start_work; then echo followed; else echo "given up: $complaint"; fi'
    text = "\n".join([*texts, stub, "folder=run run=run", call])
    done = subprocess.run([*shell, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == (outcome, "")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("state", "left"),
    [
        (
            "waiting",
            {"r1": "waiting", ".incoming.1": "begun"},
        ),  # it could not be removed, and nothing else is touched
        ("reverted", {"r1": "begun", "r1.7": "reverted"}),
        ("", {"r1": "begun"}),
    ],
)
def test_what_is_sent_moves_in_beside_nothing_that_is_open(
    tmp_path: Path, shell: list[str], state: str, left: dict[str, str]
) -> None:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    for name, content in {".incoming.1": "begun", "r1": state}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "state").write_text(f"{content}\n")
    texts = [(FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"]]
    stubs = 'rm() { [ "$2" != ./.incoming.1 ] && command rm "$@"; }\ndate() { echo 7; }'
    text = "\n".join([*texts, stubs, "base=. folder=./.incoming.1 named=r1", 'move_in && echo "$run"'])
    done = subprocess.run([*shell, "-c", text], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("r1\n", "")
    assert {path.parent.name: path.read_text().strip() for path in tmp_path.glob("*/state")} == left
