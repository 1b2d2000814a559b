"""The rehearsal as a process: where it may live, when it ends, and what is there the next time."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kubeharden.errors import RehearsalError
from kubeharden.facts import FileFact
from kubeharden.plan import FileChange, NodeChange
from kubeharden_rehearsal import SCENARIOS, Rehearsal, available
from kubeharden_rehearsal.directory import Directory
from kubeharden_rehearsal.kubelets import UNREADY_SECONDS
from kubeharden_rehearsal.rehearsal_server import RehearsalServer
from kubeharden_rehearsal.scenario import load_scenario

pytest_plugins = ["rehearsal_lab"]

UNITS = "etcd kube-apiserver kube-controller-manager kube-scheduler kubelet kube-proxy"
PROXY = "/etc/systemd/system/kube-proxy.service"
OWNED = ("644", "root", "root")
SCHEDULER = "/etc/systemd/system/kube-scheduler.service"


def test_there_is_a_line_for_each():
    assert {"article-1.10", "handbuilt-1.20", "psp-1.23", "containerd-1.36"} <= set(available())
    assert all(len(line) > 20 for line in available().values())


def test_the_controllers_side_adds_no_library_to_a_process_that_has_kubeharden():
    """The servers, above all, are for the child process only."""
    code = (
        "import sys, kubeharden; before = {*sys.modules}; import kubeharden_rehearsal\n"
        "print({name.partition('.')[0] for name in {*sys.modules} - before} - sys.stdlib_module_names)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert done.stdout == "{'kubeharden_rehearsal'}\n"


def test_no_key_is_in_the_scenarios():
    for path in SCENARIOS.rglob("*"):
        if path.is_file():
            assert "PRIVATE KEY" not in path.read_text()


class TestDirectories:
    @pytest.mark.parametrize("name", ["no-such", "/no/such/folder"])
    def test_a_cluster_that_there_is_not(self, tmp_path, name):
        with pytest.raises(
            RehearsalError, match=re.escape(f"no rehearsal cluster '{name}'; there are article-1.10")
        ):
            Rehearsal.start(name, tmp_path / "x")
        assert not (tmp_path / "x").exists()

    def test_one_with_something_else_in_it_is_left_alone(self, tmp_path):
        (tmp_path / "letter.txt").write_text("dear")
        with pytest.raises(RehearsalError, match="is not empty and holds no rehearsal"):
            Rehearsal.start("article-1.10", tmp_path)
        assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]

    def test_a_lock_that_a_killed_start_left_is_no_hindrance(self, tmp_path):
        (tmp_path / "state").mkdir()
        (tmp_path / "state" / "lock").touch()
        with Rehearsal.start("article-1.10", tmp_path) as rehearsal:
            assert not rehearsal.resumed

    def test_a_place_where_nothing_can_be_made(self):
        with pytest.raises(RehearsalError, match="cannot make /dev/null/x"):
            Rehearsal.start("article-1.10", Path("/dev/null/x"))

    def test_a_file_is_no_directory(self, tmp_path):
        (tmp_path / "file").touch()
        with pytest.raises(RehearsalError, match="is not a directory"):
            Rehearsal.start("article-1.10", tmp_path / "file")

    def test_one_in_use_or_of_another_cluster_is_refused(self, article_lab, tmp_path):
        with pytest.raises(RehearsalError, match="is in use by another rehearsal"):
            Rehearsal.start("article-1.10", article_lab.rehearsal.directory)
        shutil.copytree(article_lab.rehearsal.directory / "state", tmp_path / "state", ignore=sockets)
        with pytest.raises(RehearsalError, match=r"holds the rehearsal article-1\.10, not handbuilt-1\.20"):
            Rehearsal.start("handbuilt-1.20", tmp_path)

    def test_a_start_that_broke_off_is_begun_again(self, start, tmp_path):
        place = tmp_path / "a folder with a long name" / ("x" * 120)  # too long for a socket's path
        state = place / "state"
        state.mkdir(parents=True)
        marker = {"scenario": "article-1.10", "layout": 1, "complete": False}
        (state / "rehearsal.json").write_text(json.dumps(marker))
        (place / "nodes").mkdir()
        lab = start("article-1.10", place)
        assert not lab.rehearsal.resumed
        assert lab.run("k8s-node1", "sudo -n systemctl is-active kubelet").out == "active\n"

    def test_secrets_are_for_their_owner_only(self, article_lab):
        place = article_lab.rehearsal.directory
        for name in ("id_ed25519", "admin.kubeconfig", "state/admin.token"):
            assert (place / name).stat().st_mode & 0o077 == 0
        key = place / "nodes/k8s-master/etc/kubernetes/pki/sa.key"
        assert key.stat().st_mode & 0o777 == 0o600


class TestResuming:
    def test_everything_goes_on_where_it_was(self, start):
        lab = start()
        text = (lab.root("k8s-master") / SCHEDULER[1:]).read_text()
        lab.apply("k8s-master", SCHEDULER, text.replace("--v=2", "--v=3"), "kube-scheduler")
        lab.edit("k8s-master", SCHEDULER, lambda text: text.replace("--v=3", "--v=4"))  # and no reload
        lab.run("k8s-node1", "sudo -n systemctl stop kube-proxy")
        namespace = {"metadata": {"name": "mine"}}
        assert lab.api("POST", "/api/v1/namespaces", namespace)[0] == 201
        before = lab.observe("k8s-master")
        pods = {pod["metadata"]["uid"] for pod in lab.pods("kube-system", "")}
        lab.close()
        objects = json.loads((lab.rehearsal.directory / "cluster.json").read_text())
        assert (objects["kind"], objects["apiVersion"]) == ("List", "v1")
        assert "mine" in {o["metadata"]["name"] for o in objects["items"] if o["kind"] == "Namespace"}

        again = start("article-1.10", lab.rehearsal.directory)
        assert again.rehearsal.resumed
        assert again.observe("k8s-master") == before
        assert "NeedDaemonReload=yes" in before["show kube-scheduler"]
        assert again.run("k8s-node1", "systemctl is-active kube-proxy").out == "inactive\n"
        assert again.api("GET", "/api/v1/namespaces/mine")[0] == 200
        assert {pod["metadata"]["uid"] for pod in again.pods("kube-system", "")} == pods
        configz = again.api("GET", "/api/v1/nodes/k8s-master/proxy/configz")[1]
        assert configz["kubeletconfig"]["clusterDomain"] == "cluster.local"

    def test_a_killed_cluster_can_be_resumed(self, start):
        lab = start()
        pid = lab.show("k8s-master", "kubelet", "MainPID")
        time.sleep(0.1)
        lab.rehearsal._process.kill()
        lab.rehearsal._process.wait()
        again = start("article-1.10", lab.rehearsal.directory)
        assert again.show("k8s-master", "kubelet", "MainPID") == pid


class TestReset:
    def test_nothing_of_what_was_done_is_left_and_the_way_in_stays(self, start):
        lab = start()
        key = (lab.rehearsal.directory / "id_ed25519").read_text()
        before = picture(lab)
        text = (lab.root("k8s-master") / SCHEDULER[1:]).read_text()
        lab.apply("k8s-master", SCHEDULER, text.replace("--v=2", "--v=3"), "kube-scheduler")
        lab.run("k8s-master", "sudo -n systemctl stop kube-proxy")
        lab.edit("k8s-node1", "/etc/systemd/system/kubelet.service", lambda text: text + "# mine\n")
        (lab.root("k8s-node1") / "etc/mine").touch()
        assert lab.api("POST", "/api/v1/namespaces", {"metadata": {"name": "mine"}})[0] == 201
        assert lab.api("DELETE", "/api/v1/namespaces/weave")[0] == 200
        text = (lab.root("k8s-node1") / PROXY[1:]).read_text()
        file = FileChange(PROXY, FileFact(PROXY, *OWNED, text), f"{text}# ours\n", *OWNED)
        change = NodeChange("kube-proxy", "k8s-node1", "kube-proxy", (file,), "a test changes it")
        waiting = lab.begin("k8s-node1", change, "open")
        assert waiting.startswith("@result waiting"), waiting
        session = lab.connect("k8s-node1")
        _, out, _ = session.exec_command("sleep 60")
        assert picture(lab) != before

        lab.reset()
        assert out.channel.recv_exit_status() != 0
        assert not session.get_transport().is_active()
        assert not lab.rehearsal.resumed
        assert picture(lab) == before
        assert (lab.rehearsal.directory / "id_ed25519").read_text() == key
        text = (lab.root("k8s-master") / SCHEDULER[1:]).read_text()
        assert lab.apply(
            "k8s-master", SCHEDULER, text.replace("--v=2", "--v=3"), "kube-scheduler"
        ).startswith("@result waiting")

    def test_what_was_still_due_when_it_stopped_changes_nothing(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        scenario = load_scenario("article-1.10")
        server = RehearsalServer(scenario, Directory.take(tmp_path / "r", scenario))

        async def stop_while_a_kubelet_starts():
            await server.start()
            machine = server.machines["k8s-node1"]
            kubelet = machine.component("kubelet")
            kubelet.started = time.time()  # so it is NotReady now, and Ready later
            await machine.on_serving(machine, kubelet)
            await server.stop()
            saved = (tmp_path / "r/cluster.json").stat()
            await asyncio.sleep(UNREADY_SECONDS + 1.2)
            return saved.st_mtime_ns

        saved = asyncio.run(stop_while_a_kubelet_starts())
        assert (tmp_path / "r/cluster.json").stat().st_mtime_ns == saved

    def test_a_shared_one_that_a_test_has_stopped_is_started_anew(self, rehearsals):
        rehearsals.fresh("article-1.10").stop()
        again = rehearsals.fresh("article-1.10")
        assert not again.resumed
        assert again._process.poll() is None

    def test_one_that_has_ended_says_so(self, start):
        lab = start()
        lab.rehearsal._process.kill()
        lab.rehearsal._process.wait()
        with pytest.raises(RehearsalError, match="did not start"):
            lab.rehearsal.reset()
        lab.rehearsal.stop()
        with pytest.raises(RehearsalError, match="has been stopped"):
            lab.rehearsal.reset()


def picture(lab):
    """What can be seen of a rehearsal, but for what differs between two that were just started."""
    trees = {
        str(path.relative_to(lab.rehearsal.directory)): path.read_text()
        for path in lab.rehearsal.directory.glob("nodes/**/*")
        if path.is_file() and "boot_id" not in path.name
    }
    services = {
        node: re.sub(r"(InvocationID|\w*Timestamp)=.*", "", lab.run(node, f"systemctl show {UNITS}").out)
        for node in lab.rehearsal.nodes
    }
    kinds = ("namespaces", "nodes", "serviceaccounts", "configmaps")
    objects = {
        kind: sorted(o["metadata"]["name"] for o in lab.api("GET", f"/api/v1/{kind}")[1]["items"])
        for kind in kinds
    }
    return trees, services, objects


class TestLifetime:
    def test_it_ends_with_the_process_that_started_it_even_if_that_is_killed(self, tmp_path):
        code = (
            "import sys, time; from pathlib import Path; from kubeharden_rehearsal import Rehearsal\n"
            "r = Rehearsal.start('article-1.10', Path(sys.argv[1]))\n"
            "print(r._process.pid, flush=True); time.sleep(60)\n"
        )
        with subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path / "r")], stdout=subprocess.PIPE, text=True
        ) as parent:
            assert parent.stdout is not None
            child = int(parent.stdout.readline())
            parent.send_signal(signal.SIGKILL)
        end = time.monotonic() + 5
        while alive(child) and time.monotonic() < end:
            time.sleep(0.05)
        assert not alive(child)
        assert not list((tmp_path / "r/state/pipes").iterdir())

    def test_by_hand_it_stays_until_it_is_interrupted(self, tmp_path):
        command = [sys.executable, "-m", "kubeharden_rehearsal", "serve", "--scenario", "article-1.10"]
        with subprocess.Popen(
            [*command, "--directory", str(tmp_path / "r")],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert "article-1.10 is up with k8s-master, k8s-node1" in process.stdout.readline()
            assert process.stdout.readline() == f"inventory: {tmp_path / 'r/inventory.yaml'}\n"
            time.sleep(0.2)
            assert process.poll() is None
            process.send_signal(signal.SIGINT)
            assert process.wait(5) == 0

    def test_two_at_once_do_not_meet(self, start):
        one, two = start(), start()
        ports = [{row["port"] for row in lab.nodes} for lab in (one, two)]
        assert not ports[0] & ports[1]
        one.run("k8s-node1", "sudo -n systemctl stop kubelet; echo one >$KUBEHARDEN_ROOT/etc/mark")
        assert two.run("k8s-node1", "systemctl is-active kubelet").out == "active\n"
        assert two.run("k8s-node1", "cat $KUBEHARDEN_ROOT/etc/mark").status == 1
        one.api("DELETE", "/api/v1/namespaces/weave")
        assert two.api("GET", "/api/v1/namespaces/weave")[0] == 200

    def test_it_is_up_quickly_where_it_likes_and_may_be_stopped_twice(self, monkeypatch, tmp_path):
        monkeypatch.setenv("TMPDIR", str(tmp_path))
        monkeypatch.setattr("tempfile.tempdir", None)
        began = time.monotonic()
        with Rehearsal.start("handbuilt-1.20") as rehearsal:
            assert time.monotonic() - began < 1.5 * max(1.0, os.getloadavg()[0] / 2)
            assert rehearsal.directory.parent == tmp_path
            assert rehearsal.inventory.is_file()
            rehearsal.stop()


def sockets(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name.endswith(".sock") or name == "pipes"]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False
