"""The rehearsal's PodSecurity plugin: what is refused, what is warned of, and what a namespace's labels mean."""

from __future__ import annotations

import json
import urllib.error
import urllib.request

import pytest
import yaml
from test_component_behaviour import Files, around, refused

from kubeharden_rehearsal.apiserver_process import start_apiserver

pytest_plugins = ["rehearsal_lab"]

LABEL = "pod-security.kubernetes.io"
UNIT = "/etc/systemd/system/kube-apiserver.service"
CONFIG = "/etc/kubernetes/admission.yaml"
ORDINARY = {"containers": [{"name": "c", "image": "i"}]}
HOST = {**ORDINARY, "hostNetwork": True}


def pod(spec: dict, name: str = "x") -> dict:
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec}


def call(lab, method: str, path: str, body: dict) -> tuple[int, dict, list[str]]:
    """Status, answer and warnings."""
    config = yaml.safe_load((lab.rehearsal.directory / "admin.kubeconfig").read_text())
    kind = "application/merge-patch+json" if method == "PATCH" else "application/json"
    request = urllib.request.Request(
        config["clusters"][0]["cluster"]["server"] + path,
        data=json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {config['users'][0]['user']['token']}", "Content-Type": kind},
        method=method,
    )
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read()), answer.headers.get_all("Warning") or []
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read()), []


def label(lab, namespace: str, **labels: str) -> tuple[int, dict, list[str]]:
    pairs = {f"{LABEL}/{key.replace('_', '-')}": value for key, value in labels.items()}
    return call(lab, "PATCH", f"/api/v1/namespaces/{namespace}", {"metadata": {"labels": pairs}})


def test_labels_are_judged_as_upstream_judges_them(fresh):
    lab = fresh("containerd-1.25")
    pods = "/api/v1/namespaces/shop/pods"
    assert call(lab, "POST", pods, pod(HOST, "before"))[0] == 201

    code, answer, _ = label(lab, "shop", enforce="strict")
    assert code == 422
    assert 'Invalid value: "strict": must be one of privileged, baseline, restricted' in answer["message"]

    code, _, warnings = label(lab, "shop", enforce="baseline", enforce_version="v1.25", warn="restricted")
    assert code == 200
    assert warnings == [
        '299 - "existing pods in namespace \\"shop\\" violate the new PodSecurity enforce level \\"baseline:v1.25\\""',
        '299 - "before: host namespaces"',
    ]
    assert label(lab, "shop", enforce="baseline")[2] == []

    code, answer, _ = call(lab, "POST", pods, pod(HOST))
    assert code == 403
    assert answer["message"] == (
        'pods "x" is forbidden: violates PodSecurity "baseline:v1.25": host namespaces (spec.hostNetwork true)'
    )
    code, _, warnings = call(lab, "POST", pods, pod(ORDINARY))
    assert code == 201
    assert len(warnings) == 1
    assert (
        'would violate PodSecurity \\"restricted:latest\\": allowPrivilegeEscalation != false ('
        in warnings[0]
    )


def test_a_workload_is_warned_of_and_its_pods_are_refused(fresh, eventually):
    lab = fresh("containerd-1.36")
    label(lab, "shop", enforce="baseline", warn="baseline")
    template = {"metadata": {"labels": {"app": "agent"}}, "spec": HOST}
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": "agent"},
        "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "agent"}}, "template": template},
    }
    code, _, [warning] = call(lab, "POST", "/apis/apps/v1/namespaces/shop/deployments", deployment)
    assert code == 201
    assert 'would violate PodSecurity \\"baseline:latest\\": host namespaces' in warning

    def refusals() -> list[str]:
        events = lab.api("GET", "/api/v1/namespaces/shop/events")[1]["items"]
        return [e["message"] for e in events if "violates PodSecurity" in e["message"]]

    assert eventually(refusals)
    assert lab.pods("shop", "agent") == []


def restart_with(lab, defaults: dict[str, str], **exemptions: list[str]) -> None:
    part = {
        "apiVersion": "pod-security.admission.config.k8s.io/v1",
        "kind": "PodSecurityConfiguration",
        "defaults": defaults,
        "exemptions": exemptions,
    }
    content = {
        "apiVersion": "apiserver.config.k8s.io/v1",
        "kind": "AdmissionConfiguration",
        "plugins": [{"name": "PodSecurity", "configuration": part}],
    }
    (lab.root("k8s-master") / CONFIG[1:]).write_text(yaml.safe_dump(content))
    lab.edit(
        "k8s-master",
        UNIT,
        lambda text: text.replace("--v=2", f"--v=2 \\\n  --admission-control-config-file={CONFIG}"),
    )
    lab.run("k8s-master", "sudo -n systemctl daemon-reload")
    assert lab.run("k8s-master", "sudo -n systemctl restart kube-apiserver").status == 0


def serves(lab) -> bool:
    try:
        return lab.api("GET", "/healthz")[0] == 200
    except urllib.error.URLError:
        return False


def test_namespaces_without_labels_take_the_default_of_the_file(fresh, eventually):
    lab = fresh("containerd-1.25")
    restart_with(lab, {"enforce": "baseline", "enforce-version": "v1.25"}, namespaces=["weave"])
    url = "/api/v1/namespaces/{}/pods"
    assert eventually(lambda: serves(lab))
    assert call(lab, "POST", url.format("shop"), pod(HOST))[0] == 403
    assert call(lab, "POST", url.format("weave"), pod(HOST))[0] == 201
    assert label(lab, "shop", enforce="privileged")[0] == 200
    assert call(lab, "POST", url.format("shop"), pod(HOST))[0] == 201


def test_up_to_1_22_labels_mean_nothing(fresh):
    lab = fresh("handbuilt-1.20")
    assert label(lab, "shop", enforce="restricted")[0] == 200
    assert call(lab, "POST", "/api/v1/namespaces/shop/pods", pod(HOST))[0] == 201


FILE = "--admission-control-config-file=/a.yaml"


def configuration(version: str, level: str = "baseline") -> str:
    return (
        "apiVersion: apiserver.config.k8s.io/v1\nkind: AdmissionConfiguration\nplugins:\n"
        "- name: PodSecurity\n  configuration:\n"
        f"    apiVersion: pod-security.admission.config.k8s.io/{version}\n"
        f"    kind: PodSecurityConfiguration\n    defaults: {{enforce: {level}}}\n"
    )


@pytest.mark.parametrize(
    ("version", "text", "words"),
    [
        ("v1.24.17", configuration("v1"), "no kind"),
        ("v1.22.4", configuration("v1beta1"), "no kind"),
        ("v1.25.16", configuration("v1", "strict"), "must be one of privileged, baseline, restricted"),
        ("v1.25.16", "kind: Policy\n", "failed to read plugin config"),
        ("v1.25.16", "kind: [", "failed to read plugin config"),
    ],
)
def test_a_configuration_that_the_release_does_not_take_is_the_end(version, text, words):
    assert words in refused(start_apiserver, [FILE], version, Files({"/a.yaml": text})).lines[-1]


@pytest.mark.parametrize(
    ("version", "inner"), [("v1.23.17", "v1beta1"), ("v1.25.16", "v1"), ("v1.36.0", "v1beta1")]
)
def test_a_configuration_that_it_takes(version, inner):
    started = start_apiserver([FILE], around(version, Files({"/a.yaml": configuration(inner)})))
    assert started.config["podSecurity"]["defaults"] == {"enforce": "baseline"}


def test_1_25_does_not_start_with_the_plugin_of_the_policies():
    flag = "--enable-admission-plugins=NodeRestriction,PodSecurityPolicy"
    assert start_apiserver([flag], around("v1.24.17"))
    assert '"PodSecurityPolicy\\" is unknown' in refused(start_apiserver, [flag], "v1.25.16").lines[-1]
