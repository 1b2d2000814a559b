"""systemd of a rehearsal node, as its operator meets it."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

pytest_plugins = ["rehearsal_lab"]

PROXY = "/etc/systemd/system/kube-proxy.service"
SCHEDULER = "/etc/systemd/system/kube-scheduler.service"


def sudo(lab, command: str, node: str = "k8s-master"):
    return lab.run(node, f"sudo -n {command}")


def test_without_daemon_reload_the_old_command_runs(article_lab):
    old = article_lab.show("k8s-master", "kube-proxy", "MainPID")
    article_lab.edit("k8s-master", PROXY, lambda text: text.replace("--v=2", "--v=7"))
    assert article_lab.show("k8s-master", "kube-proxy", "NeedDaemonReload") == "yes"
    said = sudo(article_lab, "systemctl restart kube-proxy")
    assert "Run 'systemctl daemon-reload' to reload units." in said.err
    pid = article_lab.show("k8s-master", "kube-proxy", "MainPID")
    assert pid != old
    assert "--v=2\0" in (article_lab.root("k8s-master") / f"proc/{pid}/cmdline").read_text()
    sudo(article_lab, "systemctl daemon-reload")
    assert article_lab.show("k8s-master", "kube-proxy", "NeedDaemonReload") == "no"
    assert article_lab.show("k8s-master", "kube-proxy", "MainPID") == pid
    sudo(article_lab, "systemctl restart kube-proxy")
    pid = article_lab.show("k8s-master", "kube-proxy", "MainPID")
    assert "--v=7\0" in (article_lab.root("k8s-master") / f"proc/{pid}/cmdline").read_text()


def test_a_new_drop_in_counts_after_daemon_reload(article_lab, eventually):
    folder = article_lab.root("k8s-node1") / "etc/systemd/system/kube-proxy.service.d"
    folder.mkdir()
    (folder / "50-user.conf").write_text("[Service]\nUser=nobody-here\n")
    assert article_lab.show("k8s-node1", "kube-proxy", "DropInPaths") == ""
    assert article_lab.show("k8s-node1", "kube-proxy", "NeedDaemonReload") == "yes"
    sudo(article_lab, "systemctl daemon-reload", "k8s-node1")
    path = "/etc/systemd/system/kube-proxy.service.d/50-user.conf"
    assert article_lab.show("k8s-node1", "kube-proxy", "DropInPaths") == path
    sudo(article_lab, "systemctl restart kube-proxy", "k8s-node1")

    def words() -> str:
        return sudo(article_lab, "journalctl -u kube-proxy -o cat -n 5", "k8s-node1").out

    # Its exit is seen later than its start.
    assert eventually(lambda: "code=exited, status=217/USER" in words())
    assert "Failed at step USER spawning /usr/bin/kube-proxy: No such process" in words()
    (folder / "50-user.conf").unlink()
    sudo(article_lab, "systemctl daemon-reload", "k8s-node1")
    sudo(article_lab, "systemctl restart kube-proxy", "k8s-node1")
    assert article_lab.show("k8s-node1", "kube-proxy", "ActiveState") == "active"


def test_a_service_that_exits_is_started_again_and_again(article_lab, eventually):
    lab = article_lab
    sudo(lab, "systemctl reset-failed kube-scheduler")
    good = (lab.root("k8s-master") / SCHEDULER[1:]).read_text()

    def broken(text: str) -> str:
        return text.replace("--v=2", "--nonsense=1").replace("RestartSec=10s", "RestartSec=400ms")

    lab.edit("k8s-master", SCHEDULER, broken)
    sudo(lab, "systemctl daemon-reload")
    assert sudo(lab, "systemctl restart kube-scheduler").status == 0  # Type=simple: it was started
    assert eventually(lambda: lab.show("k8s-master", "kube-scheduler", "SubState") == "auto-restart")
    assert eventually(lambda: int(lab.show("k8s-master", "kube-scheduler", "NRestarts")) >= 2)
    # Five starts within ten seconds are enough.
    assert eventually(lambda: lab.show("k8s-master", "kube-scheduler", "ActiveState") == "failed")
    assert lab.show("k8s-master", "kube-scheduler", "Result") == "start-limit-hit"
    assert lab.show("k8s-master", "kube-scheduler", "MainPID") == "0"
    words = sudo(lab, "journalctl -u kube-scheduler -o cat").out
    assert "Error: unknown flag: --nonsense" in words
    assert "kube-scheduler.service: Start request repeated too quickly." in words
    lab.edit("k8s-master", SCHEDULER, lambda _: good)
    sudo(lab, "systemctl daemon-reload")
    assert sudo(lab, "systemctl start kube-scheduler").status == 1  # still too quickly
    sudo(lab, "systemctl reset-failed kube-scheduler")
    assert sudo(lab, "systemctl start kube-scheduler").status == 0


def test_the_journal_can_be_asked_for_one_invocation(article_lab):
    sudo(article_lab, "systemctl restart kube-scheduler")
    invocation = article_lab.show("k8s-master", "kube-scheduler", "InvocationID")
    only = sudo(article_lab, f"journalctl -q -o cat _SYSTEMD_INVOCATION_ID={invocation}").out
    everything = sudo(article_lab, "journalctl -q -o cat -u kube-scheduler").out
    warning = "all flags other than --config are deprecated"
    assert only.count(warning) == 1
    assert everything.count(warning) >= 2
    assert "Stopped Kubernetes Scheduler." in everything
    assert "Stopped Kubernetes Scheduler." not in only


def test_lines_are_counted_from_the_moment_that_is_asked_for(article_lab):
    lines = sudo(article_lab, "journalctl -o cat -u kube-proxy").out.splitlines()
    last = sudo(article_lab, "journalctl -o cat -u kube-proxy -n 2").out
    first = sudo(article_lab, "journalctl -o cat -u kube-proxy -n 2 --since @1").out
    assert (last.splitlines(), first.splitlines()) == (lines[-2:], lines[:2])
    assert sudo(article_lab, "journalctl --sync").status == 0


def test_the_kubelet_goes_with_docker(article_lab):
    before = article_lab.show("k8s-node1", "kubelet", "MainPID")
    sudo(article_lab, "systemctl restart docker", "k8s-node1")
    assert article_lab.show("k8s-node1", "kubelet", "ActiveState") == "active"
    assert article_lab.show("k8s-node1", "kubelet", "MainPID") != before
    sudo(article_lab, "systemctl stop docker", "k8s-node1")
    assert article_lab.run("k8s-node1", "systemctl is-active kubelet").out == "inactive\n"
    sudo(article_lab, "systemctl start kubelet", "k8s-node1")
    assert article_lab.run("k8s-node1", "systemctl is-active docker").out == "active\n"


@pytest.mark.parametrize(
    ("command", "status", "words"),
    [
        ("systemctl restart nothing", 5, "Unit nothing.service not found."),
        ("systemctl is-active nothing", 3, "inactive"),
        ("systemctl is-enabled kubelet", 0, "enabled"),
        ("systemctl cat kubelet", 0, "# /etc/systemd/system/kubelet.service\n[Unit]"),
        ("systemctl status kubelet", 0, "Active: active (running)"),
        ("systemctl --version", 0, "systemd 237"),
        ("systemctl frobnicate", 1, "Unknown operation frobnicate."),
    ],
)
def test_the_smaller_verbs(article_lab, command, status, words):
    said = sudo(article_lab, command)
    assert said.status == status
    assert words in said.out + said.err


def test_several_units_are_shown_with_an_empty_line_between(article_lab):
    said = article_lab.run("k8s-master", "systemctl show -p Id,LoadState kubelet nothing").out
    assert said == ("Id=kubelet.service\nLoadState=loaded\n\nId=nothing.service\nLoadState=not-found\n")


def test_a_command_is_run_as_systemd_runs_it(article_lab):
    root = article_lab.root("k8s-node1")
    (root / "etc/default").mkdir(exist_ok=True)
    (root / "etc/default/kube-proxy.env").write_text('ARGS="--v=3"\n')
    (root / "usr/bin/hyperkube").write_text("")
    good = (root / PROXY[1:]).read_text()
    command = "/usr/bin/env A=1 /usr/bin/hyperkube proxy $ARGS --hostname-override=%H-5%,"
    start = f"EnvironmentFile=-/etc/default/%N.*\nExecStart={command}"
    article_lab.edit("k8s-node1", PROXY, lambda text: text.replace("ExecStart=/usr/bin/kube-proxy", start))
    sudo(article_lab, "systemctl daemon-reload", "k8s-node1")
    shown = article_lab.show("k8s-node1", "kube-proxy", "EnvironmentFiles")
    assert shown == "/etc/default/kube-proxy.* (ignore_errors=yes)"
    sudo(article_lab, "systemctl restart kube-proxy", "k8s-node1")
    pid = article_lab.show("k8s-node1", "kube-proxy", "MainPID")
    words = (root / f"proc/{pid}/cmdline").read_text()
    assert words.startswith("/usr/bin/hyperkube\0proxy\0--v=3\0--hostname-override=k8s-node1-5%,\0")
    article_lab.edit("k8s-node1", PROXY, lambda _: good)
    sudo(article_lab, "systemctl daemon-reload", "k8s-node1")
    sudo(article_lab, "systemctl restart kube-proxy", "k8s-node1")


FORKING = """[Unit]
OnFailure=after@%i.service

[Service]
Type=forking
ExecStart=/bin/sh {script} %i
"""
SCRIPT = """
trap 'exit 1' TERM
case $1 in
watches) (exec sleep 60) & echo $! >{folder}/watching ;;
refuses) exit 3 ;;
waits) : >{folder}/waits && sleep 60 ;;
esac
"""


def test_to_start_a_unit_that_forks_is_to_wait_for_its_first_process(article_lab, eventually, tmp_path):
    """As systemd 252 does; a first process that a signal makes fail is a failure even if a person stops the unit."""
    lab, node = article_lab, "k8s-node1"
    (tmp_path / "script").write_text(SCRIPT.format(folder=tmp_path))
    units = lab.root(node) / "etc/systemd/system"
    (units / "forks@.service").write_text(FORKING.format(script=tmp_path / "script"))
    (tmp_path / "told").write_text(f"echo $1 >>{tmp_path}/after")
    (units / "after@.service").write_text(f"[Service]\nExecStart=/bin/sh {tmp_path}/told %i\n")

    def state(name: str) -> str:
        return sudo(lab, f"systemctl is-active forks@{name}.service", node).out.strip()

    def afterwards() -> list[str]:
        return (tmp_path / "after").read_text().split() if (tmp_path / "after").exists() else []

    assert sudo(lab, "systemctl start forks@ends.service", node).status == 0
    assert state("ends") == "inactive"
    assert sudo(lab, "systemctl start forks@refuses.service", node).status == 1
    assert eventually(lambda: afterwards() == ["refuses"])

    assert sudo(lab, "systemctl start forks@watches.service", node).status == 0
    assert state("watches") == "active"
    os.kill(int((tmp_path / "watching").read_text()), signal.SIGKILL)
    assert eventually(lambda: afterwards() == ["refuses", "watches"])
    assert state("watches") == "failed"
    assert sudo(lab, "systemctl start forks@watches.service", node).status == 0
    assert sudo(lab, "systemctl stop forks@watches.service", node).status == 0
    assert state("watches") == "inactive"

    assert sudo(lab, "systemctl --no-block start forks@waits.service", node).status == 0
    assert eventually((tmp_path / "waits").exists)
    assert state("waits") == "activating"
    with ThreadPoolExecutor(1) as pool:
        again = pool.submit(sudo, lab, "systemctl start forks@waits.service", node)
        # Once more where it came before that start, which then began the unit anew.
        assert eventually(
            lambda: sudo(lab, "systemctl stop forks@waits.service", node).status == 0 and again.done()
        )
        assert again.result().status == 1
    assert eventually(lambda: afterwards()[:3] == ["refuses", "watches", "waits"])
