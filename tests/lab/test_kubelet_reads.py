"""Files that are written for a kubelet, read by kubelets themselves: each of the releases that are built here.

A kubelet reads its file, checks it, and then looks for its kubeconfig: without one it ends there, and needs no node.
"""

from __future__ import annotations

import random
import subprocess
from pathlib import Path

import pytest
import yaml
from places import CACHE

from flag_sets import flag_set
from go_yaml import GO_FIELDS
from kubeharden import migrate
from kubeharden.releases import Release, release_table

BUILT = sorted(CACHE.glob("kubernetes-1.*[0-9]/usr/bin/kubelet"))
SETS = 12  # command lines of each release
NOWHERE = "/nowhere/kubeconfig"
# Flags of files that must be there, of clouds, and of logs whose form needs a gate.
LEFT_OUT = (
    *(
        "--client-ca",
        "--kubeconfig",
        "--bootstrap",
        "--tls-",
        "--cert-dir",
        "--root-dir",
        "--lock",
        "--exit-on",
    ),
    *("--log-json", "--log-text", "--seccomp-default", "--keep-term", "--node-ip", "--cloud"),
)
ON_CGROUP_V1 = (
    "error: kubelet is configured to not run on a host using cgroup v1"  # that of this machine, and no more
)


def said_by(kubelet: Path, words: list[str], folder: Path) -> str:
    """What a kubelet says of its flags and its file, before it would need a node."""
    places = [
        f"--kubeconfig={NOWHERE}",
        f"--root-dir={folder / 'root'}",
        f"--cert-dir={folder / 'certificates'}",
    ]
    command = [str(kubelet), *words, *places]
    done = subprocess.run(command, capture_output=True, check=False, cwd=folder, timeout=60)
    return (done.stdout + done.stderr).decode(errors="replace")


def is_accepted(said: str) -> bool:
    return f"stat {NOWHERE}" in said or ON_CGROUP_V1 in said


@pytest.mark.parametrize("kubelet", BUILT, ids=lambda path: path.parts[-4])
def test_a_kubelet_reads_what_is_written_for_it_and_strictly(kubelet: Path, tmp_path: Path) -> None:
    release = Release.parse(kubelet.parts[-4].removeprefix("kubernetes-"))
    table = release_table("kubelet", release)
    without = {name for name in table.flags if name.startswith(LEFT_OUT)}
    path, tried = tmp_path / "config.yaml", 0
    for seed in range(SETS):
        words = flag_set(random.Random(seed), table, leave_out=without, share=0.3)
        if not is_accepted(said_by(kubelet, words, tmp_path)):
            continue
        made = migrate("kubelet", release, ["kubelet", *words], profile="none", config_path=str(path))
        if made.refused:
            continue
        path.write_text(made.yaml)
        said = said_by(kubelet, made.argv[1:], tmp_path)
        assert is_accepted(said), (seed, said[-1000:])
        assert "lenient decoding" not in said, (seed, said)
        tried += 1
    assert tried > SETS / 4


@pytest.mark.parametrize("field", GO_FIELDS)
@pytest.mark.parametrize("kubelet", BUILT, ids=lambda path: path.parts[-4])
def test_the_yaml_of_go_is_what_the_unit_tests_say(kubelet: Path, field: str, tmp_path: Path) -> None:
    """By kube-proxy, which tells what it has read; the kubelet's file goes through the same code."""
    path, target = tmp_path / "config.yaml", tmp_path / "written.yaml"
    head = "apiVersion: kubeproxy.config.k8s.io/v1alpha1\nkind: KubeProxyConfiguration\n"
    odd = {}
    for text, wanted in GO_FIELDS[field].items():
        target.unlink(missing_ok=True)
        path.write_text(f"{head}{field}: {text}\n")
        words = [str(kubelet.with_name("kube-proxy")), f"--config={path}", f"--write-config-to={target}"]
        subprocess.run(words, capture_output=True, check=False, cwd=tmp_path, timeout=60)
        written = yaml.load(target.read_text(), yaml.BaseLoader)[field] if target.exists() else None
        told = str(wanted).lower() if isinstance(wanted, bool) else str(wanted)
        if written != (None if wanted is None else told):
            odd[text] = written
    assert not odd
