"""Every stage of a run on the release that the lab is: `make lab-all` does this on each, and keeps what it found.

The stages come one after another, on one cluster: a stage that fails leaves the later ones out.
"""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from changes import Hands
from cluster import get, kubectl, wait_for_nodes
from declared import DECLARED
from help_stage import NODES, hold
from machines import ssh
from next_release import kubelet_config, next_built, start_all
from places import ADMIN, BINARIES, INVENTORY, KUBECTL, LAB_RELEASE, PKI, Node, existing
from poison import EVER, poisoned
from reader import reader
from runs import Runbook, before_state
from stages import NEXT, Row
from steps import wait
from truth import SERVICES, Truth, differences, flat, look, services_missing, without_kubeharden

from kubeharden.edges.cluster import own_port
from kubeharden.edges.connect import connect
from kubeharden.edges.observe import observe_nodes
from kubeharden.inputs.inventory import read_inventory
from kubeharden.redaction import Redactor
from kubeharden.releases import LAST, Release, feature
from support import Executed, Papermill

CONFIGZ = "nodes/configz"  # the right of a feature
FORBIDDEN = 403
# Of a kubelet's own port: what the right to its configuration does not open.
NOT_FOR_READERS = ("/pods", "/exec/shop/web/nginx?command=id", "/run/shop/web/nginx?cmd=id", "/metrics")
WARNED = re.compile(r"Flag --(\S+) has been deprecated")


class Rounds:
    """What the stages hand on: the runs, and what was seen around them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.row = Row(LAB_RELEASE, BINARIES / "usr" / "bin", len(existing()) or NODES)
        self.runbook = Runbook(folder)
        self.before: Truth
        self.after: Truth
        self.applied: Executed
        self.changing: list[Executed] = []  # the runs that have something to roll back, oldest first

    def run(self, pod_security: str, *, inventory: Path = INVENTORY, **parameters: str) -> Executed:
        given = {} if pod_security == "psp" else {"accept_breaking": "[]"}
        return self.runbook(pod_security=pod_security, inventory=inventory, **{**given, **parameters})


@pytest.fixture(scope="module")
def rounds(tmp_path_factory: pytest.TempPathFactory) -> Rounds:
    result = Rounds(tmp_path_factory.mktemp("rounds"))
    with result.row.stage("boot"):
        before_state()
        result.before = look()
    return result


way = pytest.mark.parametrize("pod_security", LAB_RELEASE.pod_security, scope="module")


def succeeded(run: Executed) -> Executed:
    assert run.status == 0, run.output[-6000:]
    return run


def test_help(rounds: Rounds) -> None:
    """The tables have the flags of the very programs that run here, what is deprecated of them, and their defaults."""
    hold(rounds.row, LAB_RELEASE)


@way
class TestOneWay:
    def test_plan_writes_nothing(self, rounds: Rounds, pod_security: str) -> None:
        with rounds.row.stage(f"plan ({pod_security})"):
            rounds.before = look()
            succeeded(rounds.run(pod_security, mode="plan"))
            after = look()
            assert differences(rounds.before.files, after.files) == {}
            assert differences(rounds.before.versions, after.versions) == {}
            assert after.starts == rounds.before.starts

    def test_harden(self, rounds: Rounds, pod_security: str) -> None:
        with rounds.row.stage(f"harden ({pod_security})") as saw:
            rounds.applied = succeeded(rounds.run(pod_security))
            rounds.changing = [rounds.applied]
            rounds.after = look()
            only_what_was_declared(rounds.before, rounds.after)
            assert rounds.after.containers == rounds.before.containers
            warned, left = left_over(rounds.before), left_over(rounds.after)
            assert left < warned
            saw.append(
                f"{len(warned - left)} deprecated flags moved, {len(left)} without a field are still warned of"
            )
            saw.extend(pod_security_holds(pod_security, enforced=False))

    def test_proof(self, rounds: Rounds, pod_security: str) -> None:
        with rounds.row.stage(f"proof ({pod_security})"):
            proved = rounds.applied.shown("run.prove()")
            assert "changed in the declared values and in nothing else" in proved
            for (node, service), lines in rounds.after.warnings.items():
                for line in lines if service in SERVICES else ():
                    flag = found[1] if (found := WARNED.match(line)) else line.split(",")[0].strip()
                    assert flag in proved, f"{service} on {node} still warns: {line}"

    def test_announced_levels_are_enforced_by_the_next_run(self, rounds: Rounds, pod_security: str) -> None:
        if pod_security != "psa":
            return
        with rounds.row.stage(f"enforce ({pod_security})") as saw:
            rounds.changing.append(succeeded(rounds.run(pod_security)))
            now = look()
            only_what_was_declared(rounds.before, now)
            assert now.configz == rounds.after.configz
            rounds.after = now
            saw.extend(pod_security_holds(pod_security, enforced=True))

    def test_a_second_run_finds_nothing(self, rounds: Rounds, pod_security: str) -> None:
        with rounds.row.stage(f"second run ({pod_security})"):
            before = look()
            second = succeeded(rounds.run(pod_security))
            after = look()
            assert "There is nothing to do" in second.shown("run.plan()")
            assert after.files == before.files
            assert after.starts == before.starts
            assert differences(before.versions, after.versions) == {}

    def test_a_user_who_may_read_configurations_and_run_nothing(
        self, rounds: Rounds, pod_security: str
    ) -> None:
        """A run by such a user restarts every kubelet and proves what it runs with, at its own port."""
        if not feature(CONFIGZ).in_release(LAB_RELEASE.release):
            return
        with rounds.row.stage(f"{CONFIGZ} alone ({pod_security})") as saw:
            with reader("stranger", subresources=()) as inventory, configurations(inventory) as (of, asked):
                for node in existing():
                    assert "(403)" in of(node)
                    assert asked(node, "/configz") == FORBIDDEN
            with reader("auditor") as inventory:
                with configurations(inventory) as (of, asked):
                    for node in existing():
                        assert of(node) == rounds.after.configz[node.name, "kubelet"]
                        for path in NOT_FOR_READERS:
                            assert asked(node, path) == FORBIDDEN, path
                for dns_ip in ("10.0.0.11", "10.0.0.10"):
                    changed = succeeded(
                        rounds.run(pod_security, steps="[kubelet]", dns_ip=dns_ip, inventory=inventory)
                    )
                    assert "may be read at each kubelet's own port" in changed.shown("run.check()")
                    assert "changed in the declared values and in nothing else" in changed.shown(
                        "run.prove()"
                    )
                    now = look().configz
                    assert all(now[node.name, "kubelet"]["clusterDNS"] == [dns_ip] for node in existing())
            after = look()
            assert after.configz == rounds.after.configz
            assert without_kubeharden(after.files) == without_kubeharden(rounds.after.files)
            saw.append(
                "a user with no other right on kubelets changes clusterDNS of each there and back, and proves it; "
                "exec, run, pods, metrics and the way through the API server are forbidden to them"
            )

    def test_a_kube_proxy_that_watches_its_file(self, rounds: Rounds, pod_security: str) -> None:
        """It ends by itself when the file's content changes, and with Restart=no it stays down."""
        with rounds.row.stage(f"kube-proxy's file changes ({pod_security})") as saw:
            *_, node = existing()
            drop_in = "/etc/systemd/system/kube-proxy.service.d/restart.conf"
            ssh(
                node,
                f"sudo mkdir -p $(dirname {drop_in}) && sudo tee {drop_in} && sudo systemctl daemon-reload",
                text="[Service]\nRestart=no\n",
            )
            changed = succeeded(rounds.run(pod_security, steps="[kube-proxy]", cluster_cidr="10.32.0.0/15"))
            plan = changed.shown("run.plan()") + changed.shown('run.show("kube-proxy")')
            assert "Restart=no, it stays down" in plan
            now = look()
            for one in existing():
                # With the names of its internal types up to 1.35: ClusterCIDR, later DetectLocal.ClusterCIDRs.
                config = now.configz[one.name, "kube-proxy"]
                cidrs = [value for path, value in config.items() if "clustercidr" in path.lower()]
                assert "10.32.0.0/15" in str(cidrs)
            # By hand, so that nobody restarts it: what the words of the plan rest on.
            command = ssh(node, "systemctl show -p ExecStart --value kube-proxy")
            file = re.search(r"--config=(\S+)", command)
            assert file is not None, command
            edit = "sed s#10.32.0.0/15#10.32.0.0/16# {0} >/run/edited && cat /run/edited >{0}".format(file[1])
            ssh(node, f"sudo sh -c '{edit}'")
            wait("kube-proxy to end", lambda: "" if _state(node, "kube-proxy") != "active" else "it runs", 30)
            succeeded(rounds.run(pod_security, steps="[kube-proxy]", cluster_cidr="10.32.0.0/16"))
            ssh(node, f"sudo rm -r $(dirname {drop_in}) && sudo systemctl daemon-reload")
            after = look()
            assert after.configz == rounds.after.configz
            assert without_kubeharden(after.files) == without_kubeharden(rounds.after.files)
            saw.append(
                "a run changes the file with Restart=always and Restart=no; changed by hand, that with no stays down"
            )

    def test_poisoned_changes_are_put_back(
        self, rounds: Rounds, pod_security: str, at: Callable[..., Hands]
    ) -> None:
        with rounds.row.stage(f"poisoned change ({pod_security})") as saw:
            for service, line in (("kubelet", "maxPods: many"), ("kube-proxy", "mode: nonsense")):
                hand, node = at(), existing()[-1]
                key = line.partition(":")[0]

                def spoil(text: str, key: str = key, line: str = line) -> str:
                    kept = [row for row in text.splitlines(keepends=True) if not row.startswith(f"{key}:")]
                    return f"{''.join(kept)}{line}\n"

                words = poisoned(hand, hand.other_config(node, service, spoil), clean=False)
                refused = "nothing was changed" in words
                assert refused or "the files are as before" in words, words
                saw.append(f"{service} with {line}: {'refused' if refused else 'put back'} by its node")

    def test_roll_back(self, rounds: Rounds, pod_security: str) -> None:
        with rounds.row.stage(f"rollback ({pod_security})"):
            for run in reversed(rounds.changing):
                papermill = Papermill(rounds.folder, "rollback.ipynb")
                succeeded(
                    papermill(
                        cwd=rounds.folder, record=str(record_of(run)), inventory=str(INVENTORY),
                        accept_unvouched=json.dumps(unvouched()),
                    )
                )  # fmt: skip
            wait_for_nodes(existing(), EVER)
            wait("every service", lambda: services_missing(rounds.before), seconds=60)
            after = look()
            assert without_kubeharden(after.files) == without_kubeharden(rounds.before.files)
            assert after.configz == rounds.before.configz
            assert flags_warned_of(after) == flags_warned_of(rounds.before)
            assert after.containers == rounds.before.containers


def test_readiness_and_the_real_next_release(rounds: Rounds, at: Callable[..., Hands]) -> None:
    pod_security, later = LAB_RELEASE.pod_security[-1], next_built()
    target = later.release if later else min(LAST, Release(1, LAB_RELEASE.release.minor + 1))
    parameters = {"enforce": "true"} if pod_security == "psa" else {}
    if target > LAB_RELEASE.release:
        parameters["target_release"] = str(target)
    with rounds.row.stage("harden for the next release") as saw:
        succeeded(rounds.run(pod_security, **parameters))
        only_what_was_declared(rounds.before, look())
        saw.extend(pod_security_holds(pod_security, enforced=pod_security == "psa"))
    with rounds.row.stage("readiness") as saw:
        papermill = Papermill(rounds.folder, "upgrade-readiness.ipynb")
        judged = succeeded(
            papermill(cwd=rounds.folder, inventory=str(INVENTORY), target_release=str(target))
        ).shown("run.readiness()")
        saw.append(f"for {target}: {judged.strip().splitlines()[0][:160]}")
    if later is None:
        newest = LAB_RELEASE.release == LAST
        why = "it is the newest" if newest else "the programs of no later release are in the cache"
        with rounds.row.stage(NEXT) as saw:
            saw.append(f"left out: {why}")
        return
    with rounds.row.stage(f"{NEXT} ({later.release})") as saw:
        facts = at().facts
        found = list(start_all(later, facts))
        saw.extend(str(one) for one in found)
        assert [str(one) for one in found if not one.as_expected] == []
        for one in found:
            if one.component == "kubelet" and not one.words:
                [node] = [node for node in existing() if node.name == one.node]
                config = kubelet_config(node)
                assert {path: config.get(path) for path in DECLARED} == DECLARED


@contextmanager
def configurations(
    inventory: Path,
) -> Iterator[tuple[Callable[[Node], dict[str, Any] | str], Callable[[Node, str], int]]]:
    """How a user reads the configuration of a node's kubelet, flat, or why not; and the status of another question."""
    ports = connect(read_inventory(inventory), Redactor())
    own = PKI / f"{inventory.stem}.crt", PKI / f"{inventory.stem}.key"
    try:
        seen = {node.name: node for node in observe_nodes(ports.nodes, ports.cluster, services=["kubelet"])}

        def of(node: Node) -> dict[str, Any] | str:
            assert ports.cluster.kubelet_config(node.name) is None, "it is read through the API server"
            config = seen[node.name].effective_config("kubelet")
            return flat(dict(config)) if config else seen[node.name].services["kubelet"].unread

        def asked(node: Node, path: str) -> int:
            stream = ports.nodes.reach(node.name, "127.0.0.1", 10250)
            context = own_port.context_of(*map(str, own))
            return own_port.ask(stream, path, context, seen[node.name].services["kubelet"].certificates)[0]

        yield of, asked
    finally:
        ports.close()


def only_what_was_declared(before: Truth, after: Truth) -> None:
    """The effective configuration of every component differs in nothing but what the profile hardens."""
    for (node, service), config in before.configz.items():
        changed = differences(config, after.configz[node, service])
        if service == "kubelet":
            assert {path: DECLARED.get(path, "not declared") for path in changed} == {
                path: then for path, (_, then) in changed.items()
            }, (node, changed)
            assert {path: after.configz[node, service].get(path) for path in DECLARED} == DECLARED
        else:
            assert changed == {}, (node, service, changed)


def _state(node: Node, service: str) -> str:
    return ssh(node, f"systemctl is-active {service}", check=False).strip()


def flags_warned_of(truth: Truth) -> dict[tuple[str, str], set[str]]:
    """The deprecated flags of which each service warns."""
    return {
        key: {found[1] for line in lines if (found := WARNED.match(line))}
        for key, lines in truth.warnings.items()
    }


def left_over(truth: Truth) -> set[str]:
    """Deprecated flags of which some component still warns."""
    flags = flags_warned_of(truth)
    return {flag for (_, service), found in flags.items() if service in SERVICES for flag in found}


def create(namespace: str, account: str, *, privileged: bool, words: Sequence[str] = ()) -> str:
    """What the API server says to a pod that is not really made, with its warnings."""
    container = {
        "name": "probe", "image": "nginx:1.19", "imagePullPolicy": "Never",
        "securityContext": {"privileged": privileged},
    }  # fmt: skip
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"generateName": "probe-", "namespace": namespace},
        "spec": {"serviceAccountName": account, "containers": [container]},
    }
    done = subprocess.run(
        [KUBECTL, f"--kubeconfig={ADMIN}", "create", "--dry-run=server", "-f", "-", *words],
        input=json.dumps(pod), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    return done.stdout + done.stderr


def pod_security_holds(pod_security: str, *, enforced: bool) -> list[str]:
    """The API server itself refuses or warns as was planned; what it said."""
    somebody = ("--as=system:serviceaccount:shop:default", "--as-group=system:serviceaccounts")
    kubectl("-n", "shop", "create", "rolebinding", "edits", "--clusterrole=edit", "--serviceaccount=shop:default",
            check=False)  # fmt: skip
    if pod_security == "psp":
        said = create("shop", "default", privileged=True, words=somebody)
        assert "PodSecurityPolicy: unable to admit pod" in said, said
        return ["a privileged pod is refused by PodSecurityPolicy", *both_refuse(somebody)]
    labels = get("namespace", "shop")["metadata"]["labels"]
    prefix = "pod-security.kubernetes.io"
    level = labels[f"{prefix}/warn"]
    assert labels[f"{prefix}/audit"] == level
    assert (f"{prefix}/enforce" in labels) == enforced
    said = create("shop", "default", privileged=True, words=somebody)
    assert ("violates PodSecurity" if enforced else "would violate PodSecurity") in said, said
    assert ("orbidden" in said) == enforced, said
    assert "created" in create("shop", "default", privileged=False, words=somebody)
    verb = "refused" if enforced else "warned of"
    return [f"shop is to be {level}: a privileged pod is {verb}, an ordinary one is admitted"]


def both_refuse(somebody: Sequence[str]) -> list[str]:
    """Where the release has both, Pod Security Admission refuses beside PodSecurityPolicy, and after it."""
    if "psa" not in LAB_RELEASE.pod_security:
        return []
    kubectl("create", "namespace", "both")
    try:
        kubectl("label", "namespace", "both", "pod-security.kubernetes.io/enforce=restricted")
        wait(
            "its service account", lambda: "" if "default" in kubectl("-n", "both", "get", "sa") else "no", 30
        )
        said = create("both", "default", privileged=True)
        # The administrator may use every policy, so that the other plugin is the one that speaks.
        assert "violates PodSecurity" in said, said
        kubectl(
            "-n",
            "both",
            "create",
            "rolebinding",
            "edits",
            "--clusterrole=edit",
            "--serviceaccount=both:default",
        )
        words = [word.replace(":shop:", ":both:") for word in somebody]
        said = create("both", "default", privileged=False, words=words)
        assert "PodSecurityPolicy: unable to admit pod" in said, said
    finally:
        kubectl("delete", "namespace", "both", "--wait=true")
    return ["in a namespace that enforces restricted, each of the two plugins refuses what the other admits"]


def record_of(run: Executed) -> Path:
    """The folder of a run's record, which its first words name."""
    found = re.search(r"record (\S+)", run.output)
    assert found is not None, run.output[:500]
    return Path(found[1])


def unvouched() -> list[str]:
    """What `accept_unvouched` has to name where nobody has sealed the record: namespaces with labels."""
    return [
        f"Namespace {item['metadata']['name']}"
        for item in get("namespaces")["items"]
        if any(
            label.startswith("pod-security.kubernetes.io/") for label in item["metadata"].get("labels", {})
        )
    ]
