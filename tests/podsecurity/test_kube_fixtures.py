"""Kubernetes' own pods for the Pod Security Standards, thousands of them: admitted or refused as its own tests say."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

import pytest
import yaml

from kubeharden.podsecurity import evaluate_pss
from kubeharden.podsecurity.pss.standards import CHECKS
from kubeharden.releases import LAST
from kubeharden.releases.files import LOADER

MODULE = "k8s.io/pod-security-admission@v0.37.2"
# At restricted, the check that stands in the place of another says it.
INSTEAD = {check.overrides.lower(): check.id.lower() for check in CHECKS if check.overrides}


@cache
def fixtures() -> Path:
    """The folder with the pods, in Go's module cache."""
    if shutil.which("go") is None:
        pytest.skip("there is no Go on this machine, in whose module cache the pods are")
    done = subprocess.run(
        ["go", "mod", "download", "-json", MODULE], capture_output=True, text=True, check=False, timeout=300
    )
    if done.returncode:
        pytest.skip(f"Go cannot get {MODULE}: {done.stdout[-200:]}")
    return Path(json.loads(done.stdout)["Dir"]) / "test/testdata"


@pytest.mark.sample(10)
@pytest.mark.parametrize("minor", range(LAST.minor + 1))
def test_each_pod_is_admitted_or_refused_as_kubernetes_says(minor: int) -> None:
    wrong, tried = [], 0
    for level in ("baseline", "restricted"):
        for path in sorted((fixtures() / level / f"v1.{minor}").rglob("*.yaml")):
            pod = yaml.load(path.read_text(), LOADER)
            found = {violation.check.lower() for violation in evaluate_pss(pod, level, f"v1.{minor}")}
            check = re.sub(r"\d+$", "", path.stem)
            wanted = set() if path.parent.name == "pass" else {check, INSTEAD.get(check, check)}
            tried += 1
            if not found & wanted if wanted else found:
                wrong.append(f"{level}/{path.parent.name}/{path.name}: {found or 'admitted'}")
    assert wrong == []
    assert tried > 50


def test_the_pods_are_of_the_newest_release_that_is_known() -> None:
    versions = {int(path.name.removeprefix("v1.")) for path in (fixtures() / "restricted").iterdir()}
    assert versions == set(range(LAST.minor + 1))
