"""A component is a row, a table and a profile: with these it is read, shown and planned for."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from typing import Any

import pytest

from pages import blocks
from support import ROOT

LIBRARY = ROOT / "lib" / "kubeharden"
PAGE = ROOT / "docs" / "howto" / "component.md"


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the library with one more component made of a node that runs it."""
    folder = tmp_path_factory.mktemp("invented")
    copy = folder / "lib" / "kubeharden"
    shutil.copytree(LIBRARY, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for block in blocks(PAGE):
        kind, _, name = block.mark.partition(": ")
        if kind == "append":
            with (folder / name).open("a") as file:
                file.write(f"\n{block.text}")
    done = subprocess.run(
        [
            sys.executable,
            ROOT / "tests/support/invented_component.py",
            folder / "root",
            ROOT / "parameters/pod-security.yaml",
        ],
        env={**os.environ, "PYTHONPATH": str(folder / "lib")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_it_is_observed(found: dict[str, Any]) -> None:
    assert (
        "kube-router,/etc/kubernetes/kube-router.conf,configz=http://127.0.0.1:20244/configz"
        in found["request"]
    )
    assert found["groups"] == {"router": ["router"]}
    assert found["effective"] == {"clusterCIDR": "10.1.0.0/16", "profiling": True}


def test_it_is_shown(found: dict[str, Any]) -> None:
    facts, plan, step, releases = found["shown"]
    assert "kube-router" in facts
    assert "active (running)" in facts
    # Text that nobody has judged yet (facts/harmless.yaml) is withheld.
    assert "--cluster-cidr=‹redacted" in facts
    assert "write /etc/kubernetes/kube-router.conf" in plan
    assert "Settings of kube-router on k8s-node1" in step
    assert "kube-router" in releases


def test_it_is_planned_for(found: dict[str, Any]) -> None:
    assert found["steps"] == ["kubelet", "pod-security", "kube-proxy", "kube-scheduler", "kube-router"]
    assert found["refused"] == []
    assert found["files"] == {
        "/etc/kubernetes/kube-router.conf": (
            '640 root\nkind: RouterConfiguration\napiVersion: router.example/v1\nclusterCIDR: "10.2.0.0/16"\n'
            'kubeconfig: "/etc/kubernetes/router.kubeconfig"\nprofiling: false\n'
        ),
        "/etc/systemd/system/kube-router.service": (
            "755 root\n[Service]\nUser=router\nGroup=router\n"
            "ExecStart=/usr/bin/kube-router \\\n  --config=/etc/kubernetes/kube-router.conf\n"
        ),
    }


def test_its_node_checks_the_file_with_the_flag_of_its_row(found: dict[str, Any]) -> None:
    assert found["argv"] == [
        "--write-config-to",
        "/usr/bin/kube-router",
        "--config=/var/lib/kubeharden/r1/new.1",
        "--write-config-to=/var/lib/kubeharden/r1/written",
    ]
