"""What hangs on a file, programs that end by themselves, and checks beside a service that runs: under each shell."""

from __future__ import annotations

import io
import os
import shutil
import struct
import subprocess
import tarfile
from importlib.resources import files
from pathlib import Path

import pytest

from facts_fixtures import PLANS, plan_of
from kubeharden.edges.nodes.session import SCRIPTS
from kubeharden.edges.nodes.transaction import archive
from kubeharden.plan import sha256
from transactions import with_programs_of_path

FOLDER = Path(str(files("kubeharden.edges.nodes")))
SCRIPT = "\n".join((FOLDER / f"{name}.sh").read_text() for name in SCRIPTS["transaction"])
SHELLS = [["dash"], ["bash"], ["busybox", "sh"]]
ACL = "system.posix_acl_access"
# One user beside the owner may read it: tag, permissions and id of each entry (linux/posix_acl_xattr.h).
ENTRIES = [(1, 6, 2**32 - 1), (2, 4, 4321), (4, 4, 2**32 - 1), (16, 4, 2**32 - 1), (32, 0, 2**32 - 1)]
ACL_VALUE = struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *entry) for entry in ENTRIES)
OLD, NEW = sha256("old\n"), sha256("new\n")


def call(shell: list[str], folder: Path, words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    if shutil.which(shell[0]) is None:
        pytest.skip(f"there is no {shell[0]} on this machine")
    text = f"{SCRIPT}\nbase={folder} folder={folder}/run run=run service=kube-proxy deadline=9\n{words}"
    environment = {"PATH": os.environ["PATH"], "KUBEHARDEN_ROOT": str(folder), **environment}
    command = [shutil.which(shell[0]) or "", *shell[1:], "-c", text]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


def with_attributes(path: Path) -> None:
    try:
        os.setxattr(path, "user.owner", b"team-blue")
        os.setxattr(path, ACL, ACL_VALUE)
    except OSError as error:
        pytest.skip(f"this file system has no extended attributes: {error}")


def attributes(path: Path) -> dict[str, bytes]:
    return {name: os.getxattr(path, name) for name in os.listxattr(path)}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder with a file, and a transaction that replaces it."""
    (tmp_path / "run").mkdir()
    (tmp_path / "file").write_text("old\n")
    (tmp_path / "file").chmod(0o640)
    (tmp_path / "run/new.1").write_text("new\n")
    row = f"1 640 root root {OLD} {NEW} /file\n"
    (tmp_path / "run/files").write_text(row)
    (tmp_path / "run/reversed").write_text(row)
    return tmp_path


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file to root")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_what_hangs_on_a_file_hangs_on_the_new_one_and_on_the_old_one_again(
    place: Path, shell: list[str]
) -> None:
    with_programs_of_path(shell[0])
    file = place / "file"
    with_attributes(file)
    before = attributes(file)
    assert set(before) == {"user.owner", ACL}
    done = call(shell, place, 'each back_up && each stage && each install_file || echo "$complaint"')
    assert (done.stdout, done.stderr) == ("", "")
    assert (file.read_text(), attributes(file), file.stat().st_mode & 0o777) == ("new\n", before, 0o640)
    os.removexattr(file, "user.owner")
    done = call(shell, place, "each_seen put_back reversed")
    assert (file.read_text(), attributes(file), file.stat().st_mode & 0o777) == ("old\n", before, 0o640)


@pytest.mark.skipif(os.getuid() != 0, reason="only root may give a file to root")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_where_it_cannot_be_kept_nothing_is_changed(place: Path, shell: list[str]) -> None:
    """A cp that knows neither, as that of busybox."""
    with_programs_of_path(shell[0])
    with_attributes(place / "file")
    cp = 'cp() { case $* in *preserve*) return 1 ;; esac; cat <"$2" >"$3"; }'
    done = call(shell, place, f'{cp}\neach back_up || echo "$complaint"')
    assert done.stdout == (
        "/file: the programs of this node (cp) cannot keep its access control list or its extended attributes\n"
    )
    for name in attributes(place / "file"):
        os.removexattr(place / "file", name)
    assert call(shell, place, f"{cp}\neach back_up && echo done").stdout == "done\n"


@pytest.mark.skipif(os.getuid() != 0, reason="only root may set such attributes")
@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize("attribute", ["i", "a"])
def test_a_file_that_nothing_may_replace_is_found_before_any_is_replaced(
    place: Path, shell: list[str], attribute: str
) -> None:
    with_programs_of_path(shell[0])
    file = place / "file"
    if subprocess.run(["chattr", f"+{attribute}", file], capture_output=True, check=False).returncode:
        pytest.skip("this file system has no such attributes")
    try:
        done = call(shell, place, 'each back_up && each stage || echo "$complaint"')
    finally:
        subprocess.run(["chattr", f"-{attribute}", file], check=True)
    assert done.stdout == "/file: it is immutable or append-only: take that off first (chattr -i -a /file)\n"
    assert not (place / ".file.kubeharden-new").exists()
    assert call(shell, place, 'each back_up && each stage || echo "$complaint"').stdout == ""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_file_that_is_mounted_by_itself_is_found_before_any_is_replaced(
    place: Path, shell: list[str]
) -> None:
    mounts = place / "proc/self/mountinfo"
    mounts.parent.mkdir(parents=True)
    row = "41 20 8:1 /x {} rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
    mounts.write_text(row.format("/files") + row.format("/file/x"))
    words = 'each stage || echo "$complaint"'
    assert "mounted" not in call(shell, place, words).stdout
    mounts.write_text(row.format("/") + row.format("/file"))
    assert call(shell, place, words).stdout == (
        "/file: something is mounted there, which nothing can take the place of: umount /file\n"
    )


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_a_label_of_selinux_is_given_where_it_is_in_force(place: Path, shell: list[str]) -> None:
    chcon = 'chcon() { echo "chcon $*"; }\n'
    words = f"{chcon}copy {place}/file {place}/copy"
    assert call(shell, place, words).stdout == ""
    (place / "sys/fs/selinux").mkdir(parents=True)
    (place / "sys/fs/selinux/enforce").touch()
    assert call(shell, place, words).stdout == f"chcon --reference={place}/file {place}/copy\n"


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("now", "said"),
    [
        ("77 active", "kube-proxy was not restarted"),  # it does not watch its file
        # It ended, and Restart=always has brought it back.
        ("78 active", "restarted\nkube-proxy runs as before"),
        ("0 inactive", "restarted\nkube-proxy runs as before"),  # it ended, and Restart=no has left it there
    ],
)
def test_a_program_that_ended_with_its_file_runs_again(
    place: Path, shell: list[str], now: str, said: str
) -> None:
    """Files were exchanged, and put back before the service was restarted."""
    (place / "run/running").write_text("77\n")
    (place / "run/state").write_text("begun\narming\narmed\n")
    pid, active = now.split()
    stubs = (
        f"look() {{ pid={pid} active={active}; }}\nrestart() {{ echo restarted; }}\nput_all_back() {{ after=after; }}\n"
        'conclude() { echo "${2##*, and }"; }\nenter() { :; }\nsleep() { :; }\nrebooted_since() { return 1; }\n'
    )
    assert call(shell, place, f"{stubs}put_back_and_conclude").stdout == f"{said}\n"


SCHEDULER = """#!/bin/sh
file='' wrote=''
for word in "$@"; do
  case $word in --write-config-to=*) wrote=yes ;; --config=*) file=$KUBEHARDEN_ROOT${word#*=} ;; *) ;; esac
done
case "$*" in *--secure-port=0*) ;; *) echo "listen tcp 0.0.0.0:10259: bind: address already in use"; exit 1 ;; esac
grep -q good "$file" || { echo "strict decoding error"; exit 1; }
[ "$wrote" = yes ]
"""


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("good\n", "passes\n"),
        ("bad\n", "kube-scheduler refuses the new configuration: strict decoding error\n"),
    ],
)
@pytest.mark.parametrize(
    "program", [["/scheduler"], ["/scheduler", "kube-scheduler"]], ids=["itself", "hyperkube"]
)
def test_the_check_is_real_beside_a_scheduler_that_runs(
    place: Path, shell: list[str], text: str, said: str, program: list[str]
) -> None:
    (place / "scheduler").write_text(SCHEDULER)
    (place / "scheduler").chmod(0o755)
    (place / "run/new.1").write_text(text)
    words = [
        "--write-config-to",
        *program,
        "--config=/run/new.1",
        "--secure-port=0",
        "--write-config-to=/run/w",
    ]
    (place / "run/argv").write_text("".join(f"{word}\n" for word in words))
    done = call(
        shell, place, 'service=kube-scheduler; if check_config; then echo passes; else echo "$complaint"; fi'
    )
    assert done.stdout == said


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_the_check_has_a_network_of_its_own_where_there_is_one(place: Path, shell: list[str]) -> None:
    with_programs_of_path(shell[0])
    (place / "scheduler").write_text(SCHEDULER.replace("*--secure-port=0*", "*alone*"))
    (place / "scheduler").chmod(0o755)
    (place / "run/new.1").write_text("bad\n")
    (place / "run/argv").write_text(
        "--write-config-to\n/scheduler\n--config=/run/new.1\n--write-config-to=/run/w\n"
    )
    said = 'if check_config; then echo passes; else echo "$complaint"; fi'
    (place / "bin").mkdir()
    (place / "bin/unshare").write_text('#!/bin/sh\nshift\nexec "$@" alone\n')
    (place / "bin/unshare").chmod(0o755)
    done = call(shell, place, said, PATH=f"{place}/bin:{os.environ['PATH']}")
    assert done.stdout == "kube-proxy refuses the new configuration: strict decoding error\n"
    (place / "bin/unshare").write_text("#!/bin/sh\nexit 1\n")
    assert call(shell, place, said, PATH=f"{place}/bin:{os.environ['PATH']}").stdout == "passes\n"


@pytest.mark.parametrize(
    ("name", "asked"), [("article-1.10", False), ("handbuilt-1.20", True), ("containerd-1.24", True)]
)
def test_the_check_wants_no_port_that_the_service_has(name: str, asked: bool) -> None:
    plan = plan_of(PLANS / name)
    for change in plan.node_changes:
        with tarfile.open(fileobj=io.BytesIO(archive(change, "r1", "me", 1, 2, "#"))) as sent:
            if "argv" not in sent.getnames():
                continue
            found = sent.extractfile("argv")
            assert found is not None
            words = found.read().decode().splitlines()
        assert (words[-2] == "--secure-port=0") == (asked and change.service == "kube-scheduler")


@pytest.mark.parametrize("shell", SHELLS, ids=lambda words: words[0])
def test_of_a_journal_the_words_of_the_old_process_are_left_out(place: Path, shell: list[str]) -> None:
    (place / "run/restarted").write_text("2026-11-29T16:06:12Z\n")
    (place / "run/running").write_text("41\n")
    (place / "run/lines").write_text(
        "Nov 29 16:06:12 n1 systemd[1]: Started Proxy.\n"
        "Nov 29 16:06:12 n1 systemd[1]: Stopping Proxy: [41] ...\n"
        "Nov 29 16:06:12 n1 kube-proxy[41]: E1129 16:06:12.000001      41 server.go:9] cannot say: goodbye\n"
        "Nov 29 16:06:13 n1 kube-proxy[411]: unknown flag: --bogus\n"
    )
    # The last line is there only once journald was asked to write it.
    behind = f'''echo "$*" >>"{place}/run/asked"
[ "$1" = --sync ] || head -n "$(($(wc -l <"{place}/run/asked") + 2))" "{place}/run/lines"'''
    (place / "bin").mkdir(exist_ok=True)
    (place / "bin/journalctl").write_text(f"#!/bin/sh\n{behind}\n")
    (place / "bin/journalctl").chmod(0o755)
    done = call(shell, place, "journal_since_restart", PATH=f"{place}/bin:{os.environ['PATH']}")
    assert (done.stdout, done.stderr) == ("unknown flag: --bogus\n", "")
    first, then = (place / "run/asked").read_text().splitlines()
    assert first == "--sync"
    assert "--since 2026-11-29 16:06:12 UTC" in then
