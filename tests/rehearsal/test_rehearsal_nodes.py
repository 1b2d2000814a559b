"""The nodes of a rehearsal, over SSH: the scripts of the project, and what an operator types."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path

import paramiko
import pytest
import yaml
from fabric import Connection

from kubeharden.plan import FileChange, NodeChange
from kubeharden_rehearsal import SCENARIOS
from kubeharden_rehearsal.shim_server import PIPES, Pipes

pytest_plugins = ["rehearsal_lab"]

KUBELET = "/etc/systemd/system/kubelet.service"
SCHEDULER = "/etc/systemd/system/kube-scheduler.service"
LAST = "--allow-privileged=true"
ARTICLE_WARNINGS = [
    "--address",
    "--pod-manifest-path",
    "--cluster-dns",
    "--cluster-domain",
    "--authorization-mode",
    "--client-ca-file",
    "--cgroup-driver",
    "--tls-min-version",
    "--allow-privileged",
]


class TestObserve:
    @pytest.mark.sample(2)
    def test_every_node_of_every_scenario_answers_in_full(self, every):
        for row in every.nodes:
            sections = every.observe(row["name"])
            assert f"hostname={row['name']}\n" in sections["host"]
            services = ["kubelet", "kube-proxy"]
            if row.get("control_plane"):
                services += ["kube-scheduler", "kube-apiserver", "kube-controller-manager"]
                assert "ActiveState=active" in sections["show etcd"]
                assert sections["version etcd"].startswith("etcd Version: 3.")
            for service in services:
                assert "ActiveState=active" in sections[f"show {service}"]
                version = every.api("GET", "/api/v1/nodes")[1]["items"][0]["status"]["nodeInfo"]
                assert sections[f"version {service}"] == f"Kubernetes {version['kubeletVersion']}\n"
                assert sections[f"cmdline {service}"].startswith(f"/usr/bin/{service}\n")
                assert sections[f"file /etc/systemd/system/{service}.service"]

    def test_the_kubelet_logs_the_warnings_of_the_article_in_its_order(self, observed):
        warnings = observed["warnings kubelet"].splitlines()
        flags = [line.split()[1] for line in warnings]
        assert [flag for flag in flags if flag in ARTICLE_WARNINGS] == ARTICLE_WARNINGS
        assert warnings[-1] == (
            "Flag --allow-privileged has been deprecated, will be removed in a future version"
        )
        assert warnings[flags.index("--address")] == (
            "Flag --address has been deprecated, This parameter should be set via the config file "
            "specified by the Kubelet's --config flag. See https://kubernetes.io/docs/tasks/"
            "administer-cluster/kubelet-config-file/ for more information."
        )

    def test_proxy_and_scheduler_of_1_10_want_a_config_file(self, observed):
        sections = observed
        assert (
            "all flags other than --config, --write-config-to, and --cleanup are"
            in (sections["warnings kube-proxy"])
        )
        assert "all flags other than --config are deprecated" in sections["warnings kube-scheduler"]

    def test_configz_of_proxy_and_scheduler_has_gos_names(self, observed):
        proxy = json.loads(observed["configz kube-proxy"])["kubeproxy.config.k8s.io"]
        scheduler = json.loads(observed["configz kube-scheduler"])["componentconfig"]
        assert proxy["ClientConnection"]["Kubeconfig"] == "/etc/kubernetes/kube-proxy.kubeconfig"
        assert proxy["FeatureGates"] == {"RotateKubeletServerCertificate": True}
        assert scheduler["HealthzBindAddress"] == "0.0.0.0:10251"

    def test_owners_are_those_of_the_scenario(self, article_lab, observed):
        modes = observed["modes /etc/kubernetes"].splitlines()
        assert "600 kubernetes kubernetes ./scheduler.kubeconfig" in modes
        assert "600 root root ./kubelet.kubeconfig" in modes
        assert article_lab.observe("k8s-node1")["host"].endswith("kubernetes_user=\n")

    def test_a_drop_in_with_an_environment_file_is_in_force(self, handbuilt):
        lab = handbuilt
        sections = lab.observe("k8s-node2")
        assert "--max-pods=40\n" in sections["cmdline kubelet"]
        assert (
            "--eviction-hard=memory.available<200Mi,nodefs.available<10%\n" in (sections["cmdline kubelet"])
        )
        assert "EnvironmentFiles=/etc/default/kubelet (ignore_errors=yes)" in sections["show kubelet"]
        assert "KUBELET_EXTRA_ARGS" in sections["file /etc/default/kubelet"]
        assert "--max-pods=60\n" in lab.observe("k8s-node1")["cmdline kubelet"]


class TestApply:
    def test_a_good_change_runs_as_a_new_process(self, article_lab):
        before = article_lab.show("k8s-node1", "kubelet", "MainPID")
        unit = (article_lab.root("k8s-node1") / KUBELET[1:]).read_text()
        said = article_lab.apply("k8s-node1", KUBELET, unit.replace("--v=2", "--v=3"), "kubelet")
        assert said.startswith("@result waiting 20")
        after = article_lab.show("k8s-node1", "kubelet", "MainPID")
        assert after != before
        assert f"process {after}" in said
        assert "--v=3\0" in (article_lab.root("k8s-node1") / f"proc/{after}/cmdline").read_text()
        assert not (article_lab.root("k8s-node1") / f"proc/{before}").exists()

    def test_a_bad_one_is_put_back_and_the_kubelet_says_why(self, article_lab):
        path = article_lab.root("k8s-master") / KUBELET[1:]
        unit = path.read_text()
        article_lab.run("k8s-master", "sudo -n systemctl reset-failed kubelet")  # it is started often here
        said = article_lab.apply(
            "k8s-master", KUBELET, unit.replace(LAST, f"{LAST} \\\n  --bogus=3"), "kubelet"
        )
        assert said.startswith("@result reverted 20")
        assert "the files are as before, and kubelet runs as before" in said
        assert "unknown flag: --bogus" in said
        assert path.read_text() == unit
        assert article_lab.show("k8s-master", "kubelet", "ActiveState") == "active"

    def test_a_file_that_changed_meanwhile_is_left_alone(self, article_lab):
        file = FileChange("/etc/hostname", None, "A\n", "644", "root", "root")
        change = NodeChange("kubelet", "k8s-node1", "kubelet", (file,), "a test changes it")
        said = article_lab.begin("k8s-node1", change, "stale")
        assert said.startswith("@result stale \n/etc/hostname has changed")

    def test_owners_go_with_a_file_over_renames_and_come_back_from_the_backup(self, article_lab):
        path = "/etc/kubernetes/kube-scheduler.conf"
        good = (
            "kind: KubeSchedulerConfiguration\napiVersion: componentconfig/v1alpha1\n"
            "clientConnection: {kubeconfig: /etc/kubernetes/scheduler.kubeconfig}\n"
        )
        said = article_lab.apply("k8s-master", path, good, "kube-scheduler", "kubernetes kubernetes")
        assert said.startswith("@result waiting 20")
        owner = f"stat -c '%a %U %G' $KUBEHARDEN_ROOT{path}"
        assert article_lab.run("k8s-master", owner).out == "644 kubernetes kubernetes\n"
        # The service is told to read the file only now, so the bad one is put back.
        article_lab.edit("k8s-master", SCHEDULER, lambda text: text.replace("--v=2", f"--config={path}"))
        said = article_lab.apply("k8s-master", path, "kind: Other\napiVersion: v1\n", "kube-scheduler")
        assert said.startswith("@result reverted 20")
        assert 'no kind "Other" is registered for version "v1"' in said
        assert article_lab.run("k8s-master", owner).out == "644 kubernetes kubernetes\n"


class TestSsh:
    def test_commands_have_streams_and_statuses_of_their_own(self, article_lab):
        status, out, err = article_lab.raw("k8s-node1", "cat; echo error >&2; exit 7", b"in")
        assert (status, out, err) == (7, b"in", b"error\n")

    def test_nothing_is_cut_off(self, article_lab):
        data = bytes(range(256)) * 20_000
        assert article_lab.raw("k8s-node1", "cat", data) == (0, data, b"")
        status, out, _ = article_lab.raw("k8s-node1", "head -c 3000000 /dev/zero; exit 3")
        assert (status, len(out)) == (3, 3_000_000)

    def test_a_command_that_does_not_read_is_not_waited_for(self, article_lab):
        assert article_lab.raw("k8s-node1", "echo done", b"x" * 100)[1] == b"done\n"

    def test_a_signal_is_reported_as_one(self, article_lab):
        channel = article_lab.channel("k8s-node1")
        channel.exec_command("kill -TERM $$")
        assert channel.recv_exit_status() == -1

    def test_the_environment_is_clean(self, article_lab, monkeypatch):
        out = article_lab.run("k8s-node1", "env").out
        names = {line.partition("=")[0] for line in out.splitlines()}
        assert "KUBEHARDEN_ROOT" in names
        assert names <= {
            *("KUBEHARDEN_ROOT", "PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "PWD", "OLDPWD"),
            *("SHLVL", "_", "LC_CTYPE"),
        }

    def test_a_client_that_goes_hangs_up(self, article_lab, eventually):
        client = article_lab.connect("k8s-node1")
        transport = client.get_transport()
        assert transport is not None
        channel = transport.open_session()
        channel.exec_command("trap 'echo hup >$HOME/hup; exit' HUP; echo up; sleep 30")
        assert channel.recv(3) == b"up\n"
        client.close()
        trace = article_lab.root("k8s-node1") / "home/ops/hup"
        assert eventually(trace.exists)

    @pytest.mark.sample(2)
    def test_every_node_has_its_own_host_key(self, every):
        lines = (every.rehearsal.directory / "known_hosts").read_text().splitlines()
        keys = {line.split()[2] for line in lines}
        assert len(keys) == len(every.nodes) == len(lines)

    def test_only_ops_with_the_rehearsals_key_gets_in(self, article_lab, tmp_path):
        with pytest.raises(paramiko.AuthenticationException):
            article_lab.connect("k8s-node1", user="root")
        other = article_lab.rehearsal.directory / "state/nodes/k8s-master/ssh_host_ed25519_key"
        with pytest.raises(paramiko.AuthenticationException):
            article_lab.connect("k8s-node1", key=str(other))

    def test_fabric_gets_through(self, article_lab):
        port = next(row["port"] for row in article_lab.nodes if row["name"] == "k8s-master")
        key = str(article_lab.rehearsal.directory / "id_ed25519")
        options = {"key_filename": key, "look_for_keys": False, "allow_agent": False}
        with Connection("127.0.0.1", "ops", port, connect_kwargs=options) as node:
            result = node.run("hostname && id -un", hide=True, in_stream=False)
        assert result.stdout == "k8s-master\nops\n"

    @pytest.mark.skipif(not shutil.which("ssh"), reason="OpenSSH's client is not here")
    def test_openssh_gets_through(self, article_lab):
        place = article_lab.rehearsal.directory
        port = next(row["port"] for row in article_lab.nodes if row["name"] == "k8s-master")
        options = [f"UserKnownHostsFile={place / 'known_hosts'}", "StrictHostKeyChecking=yes"]
        command = ["ssh", "-F", "none", "-p", str(port), "-i", str(place / "id_ed25519")]
        command += [word for option in options for word in ("-o", option)]
        done = subprocess.run(
            [*command, "ops@127.0.0.1", "cat"], input=b"through", capture_output=True, check=True
        )
        assert done.stdout == b"through"


class TestSudo:
    def scenario(self, tmp_path: Path, mode: str) -> str:
        folder = tmp_path / "mine"
        shutil.copytree(SCENARIOS / "article-1.10", folder)
        raw = yaml.safe_load((folder / "scenario.yaml").read_text())
        raw |= {"sudo": mode, "sudo_password": "correct horse"}
        (folder / "scenario.yaml").write_text(yaml.safe_dump(raw))
        return str(folder)

    def test_a_password_is_asked_for_checked_and_not_one_byte_more_is_read(self, start, tmp_path):
        lab = start(self.scenario(tmp_path, "password"))
        sudo = "sudo -S -p 'say it: ' -- cat"
        good = lab.run("k8s-node1", sudo, b"correct horse\nthe rest")
        assert (good.status, good.out, good.err) == (0, "the rest", "say it: ")
        second = lab.run("k8s-node1", sudo, b"wrong\ncorrect horse\nthe rest")
        assert second.out == "the rest"
        assert "Sorry, try again." in second.err
        bad = lab.run("k8s-node1", sudo, b"a\nb\nc\n")
        assert (bad.status, bad.out) == (1, "")
        assert "3 incorrect password attempts" in bad.err
        none = lab.run("k8s-node1", "sudo -n true")
        assert (none.status, none.err) == (1, "sudo: a password is required\n")
        assert lab.run("k8s-node1", "sudo -S -k -v", b"correct horse\n").status == 0

    def test_who_is_no_sudoer_is_told_so(self, start, tmp_path):
        lab = start(self.scenario(tmp_path, "none"))
        said = lab.run("k8s-node1", "sudo -S true", b"correct horse\n")
        assert said.status == 1
        assert "ops is not in the sudoers file" in said.err

    def test_without_it_nothing_can_be_changed_and_no_journal_is_read(self, article_lab):
        refused = article_lab.run("k8s-node1", "systemctl restart kubelet")
        assert refused.status == 1
        assert "Interactive authentication required" in refused.err
        assert article_lab.run("k8s-node1", "chown root $HOME").status == 1
        assert article_lab.run("k8s-node1", "journalctl -u kubelet").out == "-- No entries --\n"

    def test_it_is_the_command_and_its_arguments_that_run(self, article_lab):
        said = article_lab.run("k8s-node1", "sudo -n A=b -- /bin/sh -c 'echo $A $USER \"$@\"' x 'two words'")
        assert said.out == "b root two words\n"
        assert article_lab.run("k8s-node1", "sudo -n no-such-thing").err == (
            "sudo: no-such-thing: command not found\n"
        )


class TestCommands:
    def test_id_knows_the_nodes_users_only(self, article_lab):
        assert article_lab.run("k8s-master", "id -Gn kubernetes").out == "kubernetes\n"
        assert article_lab.run("k8s-master", "id -u root; id -un").out == "0\nops\n"
        missing = article_lab.run("k8s-node1", "id -Gn kubernetes")
        assert (missing.status, missing.err) == (1, "id: ‘kubernetes’: no such user\n")

    def test_chown_refuses_users_that_there_are_not(self, article_lab):
        said = article_lab.run(
            "k8s-node1", "sudo -n chown kubernetes:kubernetes $KUBEHARDEN_ROOT/etc/hostname"
        )
        assert (said.status, said.err) == (1, "chown: invalid user: ‘kubernetes:kubernetes’\n")

    def test_curl_reaches_the_services_of_this_node_only(self, article_lab):
        assert article_lab.run("k8s-node1", "curl -sf http://127.0.0.1:10248/healthz").out == "ok"
        assert article_lab.run("k8s-node1", "curl -sf http://127.0.0.1:10251/healthz").status == 7
        assert article_lab.run("k8s-node1", "curl -sf http://127.0.0.1:10249/nothing").status == 22

    def test_curl_and_wget_ask_the_api_server_of_this_node(self, article_lab):
        asked = "curl -sk -o /dev/null -w '%{http_code}' https://127.0.0.1:6443"
        assert article_lab.run("k8s-master", f"{asked}/healthz").out == "200"
        assert article_lab.run("k8s-master", f"{asked}/nothing").out == "404"
        assert article_lab.run("k8s-node1", f"{asked}/healthz").out == "000"
        told = article_lab.run("k8s-master", "wget -qS -O /dev/null https://127.0.0.1:6443/nothing")
        assert (told.status, told.err.split()[1]) == (8, "404")

    def test_what_would_reach_the_host_is_refused(self, article_lab):
        for name in ("shutdown", "systemd-nspawn", "kubectl get nodes"):
            said = article_lab.run("k8s-node1", f"sudo -n {name}")
            assert (said.status, said.out) == (127, "")
            assert "a rehearsal node has no" in said.err
        assert article_lab.run("k8s-node1", "wget -qO- -T 2 http://127.0.0.1:10251/configz").status == 4
        assert article_lab.run("k8s-node1", "wget -qO- http://127.0.0.1:10248/healthz").out == "ok"

    def test_journal_lines_look_like_journalctls(self, article_lab):
        said = article_lab.run("k8s-master", "sudo -n journalctl -u kube-proxy -n 3 --no-pager").out
        assert len(said.splitlines()) == 3
        assert re.match(r"[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d k8s-master kube-proxy\[\d+\]: I", said)

    def test_a_binary_writes_its_configuration(self, handbuilt):
        lab = handbuilt
        command = "$KUBEHARDEN_ROOT/usr/bin/kube-proxy --cluster-cidr=10.32.0.0/12 --write-config-to=out"
        kubeconfig = "--kubeconfig=/etc/kubernetes/kube-proxy.kubeconfig"
        said = lab.run("k8s-node1", f"sudo -n {command} {kubeconfig} && cat out")
        assert yaml.safe_load(said.out)["clusterCIDR"] == "10.32.0.0/12"
        assert "--nonsense" in lab.run("k8s-node1", f"sudo -n {command} --nonsense").err


@pytest.mark.parametrize("shell", ["dash", "bash", "busybox"])
def test_what_a_command_says_arrives_as_it_is_whatever_shell_asks(article_lab, shell, tmp_path):
    """They are scripts, which ask over pipes, with a file where a request is too long for one write."""
    path = shutil.which(shell)
    if path is None:
        pytest.skip(f"there is no {shell} on this machine")
    words = [path, "sh"] if shell == "busybox" else [path]
    place = article_lab.rehearsal.directory / "state/nodes/k8s-node1/bin"

    def said(name, *arguments):
        done = subprocess.run(
            [*words, place / name, *arguments],
            env={"PATH": f"{place}:/usr/bin:/bin", "USER": "root"},
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
        return done.returncode, done.stdout, done.stderr

    assert said("id", "-Gn", "nobody\x81 é\\%s") == (1, "", "id: ‘nobody\x81 é\\%s’: no such user\n")
    assert said("systemctl", "is-active", "kubelet", "none") == (3, "active\ninactive\n", "")
    (tmp_path / "a b").write_text("x")
    for count in (1, 20, 400):
        status, out, _ = said("stat", "-c", "%s %n", *[str(tmp_path / "a b")] * count)
        assert (status, out) == (0, f"1 {tmp_path}/a b\n" * count)
    assert said("cp", tmp_path / "a b", tmp_path / "c") == (0, "", "")
    assert said("cp", tmp_path / "none", tmp_path / "c")[0] == 1
    assert said("install", "-m", "600", "-o", "root", tmp_path / "a b", tmp_path / "d") == (0, "", "")
    assert {(tmp_path / name).read_text() for name in "cd"} == {"x"}


def test_more_ask_at_once_than_there_are_pipes_and_those_who_are_killed_leave_them_to_the_others(
    article_lab, eventually
):
    pipes = article_lab.rehearsal.directory / "state/pipes"
    for number in range(PIPES):  # as if their callers had been killed between the two
        (pipes / f"{number}.taken").write_text("4194305\n")
    many = "for i in $(seq 40); do systemctl is-active kubelet & done; wait"
    assert article_lab.run("k8s-node1", many).out == "active\n" * 40
    assert eventually(lambda: not list(pipes.glob("*.taken")))
    assert article_lab.run("k8s-node1", many).out == "active\n" * 40


def test_a_command_that_a_power_cut_ends_is_not_waited_for(tmp_path):
    """Its caller sees the end, and the pipe is another one's."""

    async def cut_off(*_words):
        raise asyncio.CancelledError

    async def ask():
        pipes = Pipes(tmp_path / "pipes", cut_off)
        pipes.open()
        asked = (
            f"node=n state={tmp_path} server={os.getpid()} name=reboot",
            f". {files('kubeharden_rehearsal') / 'ask.sh'}",
        )
        process = await asyncio.create_subprocess_exec(
            "sh", "-c", "\n".join(asked), stderr=asyncio.subprocess.PIPE
        )
        said = await asyncio.wait_for(process.communicate(), 10)
        taken = list((tmp_path / "pipes").glob("*.taken"))
        pipes.close()
        return said[1], taken

    assert asyncio.run(ask()) == (b"the rehearsal has ended\n", [])
