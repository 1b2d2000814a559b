"""How nodes, API server and controllers hang together in a rehearsal."""

from __future__ import annotations

import time
import urllib.error
from datetime import UTC, datetime

import pytest

pytest_plugins = ["rehearsal_lab"]

API_UNIT = "/etc/systemd/system/kube-apiserver.service"
KUBELET = "/etc/systemd/system/kubelet.service"
OLD_PLUGINS = (
    "NamespaceLifecycle,LimitRanger,ServiceAccount,DefaultStorageClass,DefaultTolerationSeconds,"
    "MutatingAdmissionWebhook,ValidatingAdmissionWebhook,ResourceQuota,NodeRestriction,DenyEscalatingExec"
)
POLICY = {
    "apiVersion": "policy/v1beta1",
    "kind": "PodSecurityPolicy",
    "metadata": {"name": "privileged"},
    "spec": {
        "privileged": True,
        "hostNetwork": True,
        "hostPID": True,
        "volumes": ["*"],
        **{rule: {"rule": "RunAsAny"} for rule in ("fsGroup", "runAsUser", "supplementalGroups", "seLinux")},
    },
}
ROLE = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "Role",
    "metadata": {"name": "psp:privileged", "namespace": "kube-system"},
    "rules": [
        {
            "apiGroups": ["policy"],
            "resources": ["podsecuritypolicies"],
            "resourceNames": ["privileged"],
            "verbs": ["use"],
        }
    ],
}
BINDING = {
    "apiVersion": "rbac.authorization.k8s.io/v1",
    "kind": "RoleBinding",
    "metadata": {"name": "weave-net:psp:privileged", "namespace": "kube-system"},
    "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "psp:privileged"},
    "subjects": [{"kind": "ServiceAccount", "name": "weave-net", "namespace": "kube-system"}],
}
RBAC = "/apis/rbac.authorization.k8s.io/v1/namespaces/kube-system"


def switch_on_pod_security(lab) -> None:
    unit = (lab.root("k8s-master") / API_UNIT[1:]).read_text()
    if "--admission-control=" in unit:
        new = f"--enable-admission-plugins={OLD_PLUGINS},PodSecurityPolicy"
        changed = unit.replace(f"--admission-control={OLD_PLUGINS}", new)
    else:
        changed = unit.replace("=NodeRestriction", "=NodeRestriction,PodSecurityPolicy")
    assert changed != unit
    assert lab.apply("k8s-master", API_UNIT, changed, "kube-apiserver").startswith("@result waiting")


def restart(lab, service: str, node: str = "k8s-master") -> None:
    assert lab.run(node, f"sudo -n systemctl restart {service}").status == 0


@pytest.mark.sample(2)
def test_the_clusters_are_as_described(every):
    nodes = every.api("GET", "/api/v1/nodes")[1]["items"]
    assert [node["metadata"]["name"] for node in nodes] == [row["name"] for row in every.nodes]
    service = every.api("GET", "/api/v1/namespaces/kube-system/services/kube-dns")[1]
    assert service["spec"]["clusterIP"] == "10.0.0.10"
    assert len(every.pods("kube-system", "weave-net")) == len(nodes)
    assert len(every.pods("kube-system", "coredns")) == 2
    pods = every.api("GET", "/api/v1/pods")[1]["items"]
    assert {pod["status"]["phase"] for pod in pods} == {"Running"}
    assert all(pod["metadata"]["ownerReferences"] for pod in pods)
    accounts = every.api("GET", "/api/v1/serviceaccounts")[1]["items"]
    names = {f"{a['metadata']['namespace']}:{a['metadata']['name']}" for a in accounts}
    assert {"kube-system:weave-net", "weave:weave-scope", "weave:default", "kube-system:coredns"} <= names


def test_the_api_is_there_while_its_process_runs(article_lab, eventually):
    article_lab.run("k8s-master", "sudo -n systemctl stop kube-apiserver")
    with pytest.raises(urllib.error.URLError):
        article_lab.api("GET", "/version")
    article_lab.run("k8s-master", "sudo -n systemctl start kube-apiserver")

    def answers() -> bool:
        try:
            return article_lab.api("GET", "/api/v1/nodes")[0] == 200
        except urllib.error.URLError:
            return False

    assert eventually(answers, 3.0)


def test_configz_is_what_the_kubelet_runs_with(article_lab):
    path = "/api/v1/nodes/k8s-node1/proxy/configz"
    before = article_lab.api("GET", path)[1]["kubeletconfig"]
    assert (before["clusterDNS"], before["readOnlyPort"]) == (["10.0.0.10"], 10255)
    assert not [key for key in before if key.startswith("_")]
    article_lab.edit("k8s-node1", KUBELET, lambda text: text.replace("--v=2", "--read-only-port=0"))
    article_lab.run("k8s-node1", "sudo -n systemctl daemon-reload")
    assert article_lab.api("GET", path)[1]["kubeletconfig"]["readOnlyPort"] == 10255
    restart(article_lab, "kubelet", "k8s-node1")
    time.sleep(0.3)
    assert article_lab.api("GET", path)[1]["kubeletconfig"]["readOnlyPort"] == 0
    assert article_lab.api("GET", "/api/v1/nodes/k8s-node1/proxy/healthz") == (200, "ok")


def test_a_restarted_kubelet_posts_a_heartbeat_and_is_ready_again(article_lab, eventually):
    restarted = datetime.now(UTC)
    restart(article_lab, "kubelet", "k8s-node1")

    def fresh() -> bool:
        ready = article_lab.ready("k8s-node1")
        heartbeat = datetime.fromisoformat(ready["lastHeartbeatTime"])
        return heartbeat > restarted and ready["status"] == "True"

    assert eventually(fresh, 3.0)


def test_a_silent_kubelet_becomes_unknown(article_lab, eventually):
    lab = article_lab
    lab.run("k8s-node1", "sudo -n systemctl stop kubelet")
    status, body = lab.api("GET", "/api/v1/nodes/k8s-node1/proxy/configz")
    assert status in (502, 503)
    assert "connection refused" in str(body)
    assert eventually(lambda: lab.ready("k8s-node1")["status"] == "Unknown", 7.0)
    assert lab.ready("k8s-master")["status"] == "True"
    lab.run("k8s-node1", "sudo -n systemctl start kubelet")
    assert eventually(lambda: lab.ready("k8s-node1")["status"] == "True")


def test_pods_need_a_policy_once_the_plugin_is_on(start, eventually):
    lab = start()
    assert lab.api("POST", "/apis/policy/v1beta1/podsecuritypolicies", POLICY)[0] == 201
    switch_on_pod_security(lab)
    before = {pod["metadata"]["name"] for pod in lab.pods("kube-system", "weave-net")}
    assert len(before) == 2  # what runs goes on
    for name in before:
        lab.api("DELETE", f"/api/v1/namespaces/kube-system/pods/{name}")

    def events() -> list[str]:
        items = lab.api("GET", "/api/v1/namespaces/kube-system/events")[1]["items"]
        return [item["message"] for item in items]

    words = (
        'Error creating: pods "weave-net-" is forbidden: '
        "unable to validate against any pod security policy: []"
    )
    assert eventually(lambda: words in events())
    assert lab.pods("kube-system", "weave-net") == []
    assert lab.api("POST", f"{RBAC}/roles", ROLE)[0] == 201
    assert lab.api("POST", f"{RBAC}/rolebindings", BINDING)[0] == 201

    def running() -> bool:
        pods = lab.pods("kube-system", "weave-net")
        return len(pods) == 2 and all(pod["status"].get("phase") == "Running" for pod in pods)

    assert eventually(running)
    for pod in lab.pods("kube-system", "weave-net"):
        assert pod["metadata"]["name"] not in before
        assert pod["metadata"]["annotations"]["kubernetes.io/psp"] == "privileged"


def test_the_words_of_1_20(fresh):
    lab = fresh("handbuilt-1.20")
    switch_on_pod_security(lab)
    pod = {"metadata": {"name": "x"}, "spec": {"containers": [{"name": "c", "image": "i"}]}}
    url = "/api/v1/namespaces/shop/pods"
    _, answer = lab.api("POST", url, pod)
    assert answer["message"] == (
        'pods "x" is forbidden: PodSecurityPolicy: no providers available to validate pod request'
    )
    restricted = {**POLICY, "spec": {**POLICY["spec"], "privileged": False, "volumes": ["secret"]}}
    assert lab.api("POST", "/apis/policy/v1beta1/podsecuritypolicies", restricted)[0] == 201
    # The administrator may use every policy, so his own pod is admitted …
    assert lab.api("POST", url, pod)[0] == 201
    # … unless it breaks the policy.
    privileged = {"name": "c", "image": "i", "securityContext": {"privileged": True}}
    _, answer = lab.api("POST", url, {"metadata": {"name": "y"}, "spec": {"containers": [privileged]}})
    assert answer["message"] == (
        'pods "y" is forbidden: PodSecurityPolicy: unable to admit pod: '
        "[spec.containers[0].securityContext.privileged: Invalid value: true: "
        "Privileged containers are not allowed]"
    )


def test_a_kubelet_of_1_10_without_allow_privileged_runs_no_privileged_pod(article_lab, eventually):
    lab = article_lab
    lab.run("k8s-node1", "sudo -n systemctl reset-failed kubelet")
    good = (lab.root("k8s-node1") / KUBELET[1:]).read_text()
    lab.edit("k8s-node1", KUBELET, lambda text: text.replace(" \\\n  --allow-privileged=true", ""))
    lab.run("k8s-node1", "sudo -n systemctl daemon-reload")
    restart(lab, "kubelet", "k8s-node1")

    def blocked() -> dict:
        pods = lab.pods("kube-system", "weave-net")
        pods = [pod for pod in pods if pod["spec"]["nodeName"] == "k8s-node1"]
        return pods[0]["status"] if pods[0]["status"]["phase"] == "Pending" else {}

    status = eventually(blocked)
    assert status["reason"] == "Forbidden"
    assert "specified privileged container, but is disallowed" in status["message"]
    assert [c["state"]["waiting"]["reason"] for c in status["containerStatuses"]] == ["Blocked"] * 2
    lab.edit("k8s-node1", KUBELET, lambda _: good)
    lab.run("k8s-node1", "sudo -n systemctl daemon-reload")
    restart(lab, "kubelet", "k8s-node1")
    assert eventually(lambda: not blocked())


def test_without_a_scheduler_new_pods_wait(article_lab, eventually):
    lab = article_lab
    lab.run("k8s-master", "sudo -n systemctl stop kube-scheduler")
    old = lab.pods("kube-system", "coredns")[0]["metadata"]["name"]
    lab.api("DELETE", f"/api/v1/namespaces/kube-system/pods/{old}")
    assert eventually(lambda: len(lab.pods("kube-system", "coredns")) == 2)
    time.sleep(0.3)
    waiting = [pod for pod in lab.pods("kube-system", "coredns") if not pod["spec"].get("nodeName")]
    assert len(waiting) == 1
    lab.run("k8s-master", "sudo -n systemctl start kube-scheduler")
    assert eventually(
        lambda: all(p["status"].get("phase") == "Running" for p in lab.pods("kube-system", "coredns"))
    )


def test_a_scheduler_of_another_user_must_be_able_to_read_its_files(article_lab):
    lab = article_lab
    unit = "/etc/systemd/system/kube-scheduler.service"
    text = (lab.root("k8s-master") / unit[1:]).read_text()
    as_user = text.replace("[Service]\n", "[Service]\nUser=kubernetes\nGroup=kubernetes\n")
    assert lab.apply("k8s-master", unit, as_user, "kube-scheduler").startswith("@result waiting")
    lab.run("k8s-master", "sudo -n chown root:root $KUBEHARDEN_ROOT/etc/kubernetes/scheduler.kubeconfig")
    said = lab.apply("k8s-master", unit, as_user + "# changed\n", "kube-scheduler")
    assert "/etc/kubernetes/scheduler.kubeconfig: permission denied" in said
