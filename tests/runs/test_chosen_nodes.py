"""A run on some of the nodes, and with a profile of one's own: what that leaves undone is named."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from fakes import World
from kubeharden import runbook
from kubeharden.components import Profile
from kubeharden.errors import ParameterError
from kubeharden.plan.events import Completed
from kubeharden.records.folder import read_run
from kubeharden.records.provenance import file_digest
from support import ROOT

EXAMPLE = ROOT / "parameters" / "profile.example.yaml"


def started(folder: Path, world: World | None = None, **given: object) -> runbook.Run:
    world = world or World("article-1.10")
    places = {"inventory": str(world.inventory(folder)), "output_dir": str(folder / "records")}
    return runbook.start({"In": [""], **places, **given}, connect=world.ports)


def planned(folder: Path, world: World | None = None, **given: object) -> tuple[runbook.Run, str]:
    run = started(folder, world, **given)
    run.look()
    return run, str(run.plan())


def test_one_worker_is_hardened_and_the_rest_is_named_as_undone(tmp_path: Path) -> None:
    run, shown = planned(tmp_path, nodes=["k8s-node1"])
    assert "nodes: leaves out these of the inventory" in shown
    assert "in any step: k8s-master" in shown
    assert "pod-security: is of the whole cluster, and nodes names none of its control plane" in shown
    assert "2 restarts, 4 files on 1 node" in shown
    assert "not among the steps of this run" in str(run.apply("pod-security"))
    for step in ("kubelet", "kube-proxy", "kube-scheduler"):
        run.apply(step)
    proof = str(run.prove())
    assert "the parameter nodes leaves out these of the inventory" in proof
    run.finish()
    done = [event.subject for event in read_run(run.record.folder).of(Completed)]
    assert done == ["kubelet on k8s-node1", "kube-proxy on k8s-node1"]
    assert "Nodes left out" in str(run)


def test_the_control_plane_alone_gets_pod_security_too(tmp_path: Path) -> None:
    run, shown = planned(tmp_path, nodes=["k8s-master"])
    assert "pod-security" in run.kind.steps
    assert "PodSecurityPolicy privileged" in shown
    assert "kubelet on k8s-node1" not in shown
    run.close()


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (
            {"nodes": ["k8s-node1", "nobody"]},
            "'nobody' is not in the inventory; it has k8s-master, k8s-node1",
        ),
        ({"nodes": ["k8s-node1"], "steps": ["pod-security"]}, "there is nothing to do"),
        ({"nodes": 5}, "nodes: 5 is a value of type int; expected a list of names of nodes"),
        ({"profile": "articel"}, "is not known; expected one of article, none, or the path of a file"),
        ({"profile": "no/such.yaml"}, "profile: cannot read 'no/such.yaml'"),
    ],
    ids=str,
)
def test_what_cannot_be_is_refused_before_anything_is_reached(
    tmp_path: Path, given: dict[str, object], words: str
) -> None:
    with pytest.raises(ParameterError) as raised:
        started(tmp_path, **given)
    assert words in str(raised.value)
    assert not (tmp_path / "records").exists()


def test_a_plan_without_them_has_the_digest_that_it_had(tmp_path: Path) -> None:
    digests, world = set(), World("article-1.10")
    for given in ({}, {"nodes": [], "profile": "article"}):
        run, _ = planned(tmp_path, world, **given)
        digests.add(run.current_plan.digest)
        assert "profile" not in run.current_plan.as_json()
        run.close()
    assert len(digests) == 1


def test_a_profile_of_ones_own_is_named_with_its_digest_and_is_part_of_the_plan(tmp_path: Path) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(EXAMPLE.read_text().replace("readOnlyPort: 0", "maxPods: 42"))
    run, shown = planned(tmp_path, profile=str(mine))
    assert f"profile: what is hardened stands in {mine} (SHA-256 {file_digest(mine)})" in shown
    assert run.current_plan.as_json()["profile"] == {"path": str(mine), "sha256": file_digest(mine)}
    step = str(run.show("kubelet"))
    assert "110 → 42" in step
    assert "10255 → 0" not in step
    first = run.current_plan.digest
    run.close()
    mine.write_text(f"{mine.read_text()}# a word\n")
    run, _ = planned(tmp_path, profile=str(mine))
    assert run.current_plan.as_json()["profile"]["sha256"] == file_digest(mine)
    assert run.current_plan.digest != first
    run.close()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("kubelett: {}", "kubelett: there is no such component; expected some of kubelet, kube-proxy"),
        ("kubelet: {required: {}}", "kubelet.required: is not as in the profiles that are shipped"),
        ("kubelet: {require: {readOnlyPorts: 0}}", "kubelet: no release has the field readOnlyPorts"),
        ("kube-proxy: {comment: [x.y]}", "kube-proxy: no release has the field x.y"),
        (
            "kubelet: {require: {tlsMinVersion: TLS12}}",
            "kubelet: tlsMinVersion: expected one of VersionTLS10",
        ),
        ("kubelet: {require: {readOnlyPort: zero}}", "kubelet: readOnlyPort: 'zero' is not of type int32"),
        ("kubelet: {require: {maxPods: 1.5}}", "kubelet: maxPods: 1.5 is not of type int32"),
        ("kubelet: {require: {maxPods: -5}}", "kubelet: maxPods: -5 is out of range; expected 0 or more"),
        (
            "kubelet: {require: {tlsCipherSuites: [TLS_RSA_WITH_AES_128_GCM_SHA25]}}",
            "kubelet: tlsCipherSuites: no release knows TLS_RSA_WITH_AES_128_GCM_SHA25; did you mean",
        ),
        (
            "kubelet: {require: {maxPods: }}",
            "kubelet: maxPods: has no value, which would leave the release's",
        ),
        (
            "kubelet: {require: {streamingConnectionIdleTimeout: 5x}}",
            "kubelet: streamingConnectionIdleTimeout: '5x' is not a duration",
        ),
        (
            "kubelet: {require: {authentication: {anonymous: {enabled: false}}}}",
            "kubelet: authentication holds other fields; name those that are meant: authentication.x509.clientCAFile",
        ),
        (
            "kubelet: {spell_out: [authentication.webhook]}",
            "kubelet: authentication.webhook holds other fields",
        ),
        ("kubelet: [a]", "kubelet: is not as in the profiles that are shipped"),
        ("[]", "holds no mapping; expected a file like parameters/profile.example.yaml"),
    ],
)
def test_a_profile_with_a_mistake_is_refused_by_name(tmp_path: Path, content: str, words: str) -> None:
    mine = tmp_path / "mine.yaml"
    mine.write_text(content)
    with pytest.raises(ParameterError, match="profile: ") as raised:
        started(tmp_path, profile=str(mine))
    assert words in str(raised.value)


def test_the_example_and_the_profiles_that_are_shipped_are_right() -> None:
    assert (
        Profile.own("x", yaml.safe_load(EXAMPLE.read_text()), "0").of("kubelet").require["readOnlyPort"] == 0
    )
    folder = ROOT / "lib/kubeharden/components/profiles"
    for name in Profile.names():
        made = Profile.own(name, yaml.safe_load((folder / f"{name}.yaml").read_text()), "0")
        assert made.components == Profile.load(name).components
