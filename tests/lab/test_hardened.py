"""The runbook on a real cluster, with the API server and the kubelets as the judges (issue 3, 1 to 7)."""

from __future__ import annotations

import json
import re
import time
from functools import partial
from typing import Any

from cluster import get, kubectl
from declared import CIPHERS
from machines import ssh
from places import MASTER, existing
from runs import Hardened
from steps import in_parallel, wait
from truth import SERVICES, differences, look, restarted, unexplained

# What the article hardens, and nothing else: path → (before, after), as /configz serves them.
KUBELET_CHANGES: dict[str, tuple[Any, Any]] = {
    "authentication.anonymous.enabled": (True, False),
    "readOnlyPort": (10255, None),
    "tlsCipherSuites": (None, CIPHERS),
    "tlsMinVersion": ("VersionTLS10", "VersionTLS12"),
}
DEPRECATED_KUBELET_FLAGS = {
    "feature-gates", "address", "pod-manifest-path", "cluster-dns", "cluster-domain", "authorization-mode",
    "client-ca-file", "rotate-certificates", "cgroup-driver", "tls-min-version",
}  # fmt: skip


def flags_warned_of(warnings: list[str]) -> list[str]:
    return [found[1] for line in warnings if (found := re.match(r"Flag --(\S+) has been deprecated", line))]


# 8. What the preflight lists (what it refuses: test_bad_days.py)


def test_the_preflight_lists_what_was_checked(hardened: Hardened) -> None:
    shown = hardened.applied.shown("check()")
    for word in (*(node.name for node in existing()), "sudo", "API", "kubernetes-admin"):
        assert word in shown, shown


# 1. Before and after


def test_before_the_journal_warns_of_each_deprecated_flag_once(hardened: Hardened) -> None:
    for node in existing():
        flags = flags_warned_of(hardened.before.warnings[node.name, "kubelet"])
        wanted = DEPRECATED_KUBELET_FLAGS | ({"fail-swap-on"} if node.number == 1 else set())
        assert set(flags) == wanted
        assert len(flags) == len(wanted)
        assert any(
            "all flags other than" in line for line in hardened.before.warnings[node.name, "kube-proxy"]
        )


def test_after_it_no_warning_is_left_but_those_that_the_notebook_names(hardened: Hardened) -> None:
    proved = hardened.applied.shown("run.prove()")
    for (node, service), lines in hardened.after.warnings.items():
        if service in SERVICES:
            for line in lines:
                assert "which its release cannot avoid" in proved, f"{service} on {node} still warns: {line}"
                assert line.split(",")[0].strip() in proved, f"{service} on {node} still warns: {line}"


# 2. Nothing changed but what was declared


def test_the_kubelets_differ_in_exactly_what_was_declared(hardened: Hardened) -> None:
    for node in existing():
        key = (node.name, "kubelet")
        assert differences(hardened.before.configz[key], hardened.after.configz[key]) == KUBELET_CHANGES


def test_the_others_effective_configuration_is_the_same(hardened: Hardened) -> None:
    others = [key for key in hardened.before.configz if key[1] != "kubelet"]
    assert (MASTER, "kube-scheduler") in others
    assert (MASTER, "kube-proxy") in others
    for key in others:
        assert differences(hardened.before.configz[key], hardened.after.configz[key]) == {}


def test_the_notebook_shows_every_difference(hardened: Hardened) -> None:
    proved = hardened.applied.shown("run.prove()")
    assert "changed in the declared values and in nothing else" in proved
    for path in KUBELET_CHANGES:
        [row] = [line for line in proved.splitlines() if f" {path} " in line]
        assert all(node.name in row or "all" in row for node in existing()), row
        assert row.rstrip().endswith("yes"), row


# 3. Pod security holds


def a_pod(namespace: str, account: str, *, privileged: bool) -> str:
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"generateName": "probe-", "namespace": namespace},
            "spec": {
                "serviceAccountName": account,
                "containers": [
                    {
                        "name": "probe",
                        "image": "nginx:1.19",
                        "imagePullPolicy": "Never",
                        "securityContext": {"privileged": privileged},
                    }
                ],
            },
        }
    )


def create_as(account: str, pod: str) -> str:
    """What the API server says to a service account's controller that creates a pod."""
    return kubectl_says("create", "-f", "-", f"--as=system:serviceaccount:{account}", text=pod)


def kubectl_says(*words: str, text: str = "") -> str:
    import subprocess

    from places import ADMIN, KUBECTL

    done = subprocess.run(
        [KUBECTL, f"--kubeconfig={ADMIN}", *words],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout + done.stderr


RECREATED = (
    ("kube-system", "name=weave-net", "privileged"),
    ("weave", "name=weave-scope-agent", "privileged"),
    ("weave", "name=weave-scope-app", "privileged"),
    ("kube-system", "k8s-app=kube-dns", "coredns"),
)


def test_recreated_pods_run_under_their_policy(hardened: Hardened) -> None:
    in_parallel([partial(recreate, *pods) for pods in RECREATED])


def recreate(namespace: str, label: str, policy: str) -> None:
    """Delete pods, and wait for others in their place, which are there by that policy."""
    old = {pod["metadata"]["uid"] for pod in get("pods", "-n", namespace, "-l", label)["items"]}
    kubectl("-n", namespace, "delete", "pod", "-l", label, "--grace-period=1", "--wait=true")

    def missing() -> str:
        pods = get("pods", "-n", namespace, "-l", label)["items"]
        if len(pods) != len(old) or old & {pod["metadata"]["uid"] for pod in pods}:
            return f"{len(pods)} pods, {len(old)} wanted, all of them new"
        return "" if all(pod["status"]["phase"] == "Running" for pod in pods) else "not all of them run"

    wait(f"pods {label} of {namespace}", missing, seconds=90)
    for pod in get("pods", "-n", namespace, "-l", label)["items"]:
        assert pod["metadata"]["annotations"]["kubernetes.io/psp"] == policy, label


def test_a_privileged_pod_of_anybody_else_is_refused(hardened: Hardened) -> None:
    kubectl("-n", "shop", "create", "serviceaccount", "somebody")
    said = kubectl_says(
        "create", "-f", "-", "--as=system:serviceaccount:shop:somebody",
        "--as-group=system:serviceaccounts", text=a_pod("shop", "somebody", privileged=True),
    )  # fmt: skip
    assert "forbidden" in said
    # And with the right to create pods, the policy itself is what refuses.
    kubectl(
        "-n",
        "shop",
        "create",
        "rolebinding",
        "somebody-edits",
        "--clusterrole=edit",
        "--serviceaccount=shop:somebody",
    )
    said = create_as("shop:somebody", a_pod("shop", "somebody", privileged=True))
    assert "PodSecurityPolicy: unable to admit pod" in said
    assert "PodSecurityPolicy: unable to admit pod" in create_as(
        "shop:somebody", a_pod("shop", "somebody", privileged=False)
    )


def test_an_ordinary_deployment_behaves_as_the_notebook_foretold(hardened: Hardened) -> None:
    foretold = hardened.applied.shown('run.show("pod-security")')
    assert re.search(r"Deployment shop/web|shop/web", foretold)
    [pod, *others] = get("pods", "-n", "shop", "-l", "app=web")["items"]
    kubectl("-n", "shop", "delete", "pod", pod["metadata"]["name"], "--grace-period=1", "--wait=true")

    def not_refused() -> str:
        status = get("deployment", "-n", "shop", "web")["status"]
        words = " ".join(c.get("message", "") for c in status["conditions"])
        return "" if "PodSecurityPolicy: unable to admit pod" in words else words

    wait("the Deployment to say that its pod was refused", not_refused, seconds=30)
    running = get("pods", "-n", "shop", "-l", "app=web")["items"]
    assert [p["metadata"]["name"] for p in running] == [p["metadata"]["name"] for p in others]


# 4. Twice is once


def test_a_second_run_changes_nothing(hardened: Hardened) -> None:
    before = look()
    second = hardened.runbook()
    after = look()
    assert second.status == 0, second.output[-4000:]
    assert "There is nothing to do" in second.shown("run.plan()")
    assert after.starts == before.starts
    assert after.files == before.files
    assert differences(before.versions, after.versions) == {}


# 5. mode=plan writes nothing


def test_plan_writes_nothing(hardened: Hardened) -> None:
    assert hardened.planned.status == 0, hardened.planned.output[-4000:]
    assert "write /etc/kubernetes/kubelet.conf" in hardened.planned.shown("run.plan()")
    assert hardened.after_plan.files == hardened.before.files
    assert differences(hardened.before.versions, hardened.after_plan.versions) == {}
    assert hardened.after_plan.starts == hardened.before.starts
    assert len(hardened.before.files) > 150 * len(existing())
    assert len(hardened.before.versions) > 100


# 6. Hands off


def test_no_container_was_restarted(hardened: Hardened) -> None:
    assert hardened.after.containers == hardened.before.containers


def test_only_the_services_that_had_to_were_restarted(hardened: Hardened) -> None:
    before, after = hardened.before, hardened.after
    wanted = {key for key in before.starts if key[1] in {*SERVICES, "kube-apiserver"}}
    # The controller manager ends itself when the API server is away for longer than its renew deadline.
    others = restarted(before, after) - wanted
    assert unexplained(before, after, others) == {}
    assert wanted <= restarted(before, after)
    for key in wanted:
        assert after.starts[key].split()[-1] == "0", f"{key} was restarted by systemd itself"


def test_the_notebook_shows_the_seconds_without_ready(hardened: Hardened) -> None:
    shown = hardened.applied.shown('run.apply("kubelet")')
    for node in existing():
        assert re.search(rf"{node.name}\b.*\d+(\.\d+)? s(econds)?\b.*", shown), shown
    assert re.search(r"not ?ready", shown, re.IGNORECASE), shown


# 7. Static pods


def test_static_pods_keep_their_mirror_pods(hardened: Hardened) -> None:
    name = f"node-monitor-{existing()[-1].name}"  # the lab puts its static pod on the last node
    kubectl("-n", "kube-system", "delete", "pod", name, "--grace-period=0", "--force")
    # One that could not make a mirror pod at once, while the old one goes, tries again after a minute.
    ssh(existing()[-1], "sudo systemctl restart kubelet")
    wanted = time.monotonic() + 90

    def missing() -> str:
        return (
            ""
            if kubectl("-n", "kube-system", "get", "pod", name, "--ignore-not-found").strip()
            else "it is not back"
        )

    wait(f"the mirror pod {name}", missing, seconds=wanted - time.monotonic(), every=1)
    pod = get("pod", "-n", "kube-system", name)
    assert pod["metadata"]["annotations"]["kubernetes.io/psp"] == "privileged"
