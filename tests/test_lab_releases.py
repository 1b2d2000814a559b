"""The table of the lab's releases is held against the release tables; nothing is booted."""

from __future__ import annotations

import importlib.util
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from kubeharden.releases import LAST, Release, flag_table, release_table, releases

ROOT = Path(__file__).parents[1]
SPEC = importlib.util.spec_from_file_location("lab_releases", ROOT / "tests" / "lab" / "lab_releases.py")
assert SPEC is not None
assert SPEC.loader is not None
lab_releases = importlib.util.module_from_spec(SPEC)
sys.modules.setdefault(SPEC.name, lab_releases)  # its dataclass looks itself up
SPEC.loader.exec_module(lab_releases)

TABLE = yaml.safe_load(lab_releases.TABLE.read_text())
LAB = lab_releases.lab_releases()
VALUES = dict.fromkeys(("name", "address", "master", "services", "dns", "pods"), "x")


def words(release: str, component: str, node: int = 1) -> list[str]:
    return LAB[release].words(component, node, **VALUES)


def flag_of(word: str) -> str:
    return word.split("=", maxsplit=1)[0].split(maxsplit=1)[0]


def test_the_newest_release_is_the_newest_of_the_tables() -> None:
    assert [row.release for row in LAB.values()] == sorted(row.release for row in LAB.values())
    assert list(LAB.values())[-1].release == LAST


def test_what_is_built_is_what_the_tables_were_made_of() -> None:
    tables = yaml.safe_load((ROOT / "lib/kubeharden/releases/releases.yaml").read_text())
    for name, row in LAB.items():
        assert Release.parse(row.version) == row.release
        if row.source == "module":
            assert tables[name]["release"] == f"v{row.version}"


@pytest.mark.parametrize("component", TABLE["units"])
def test_each_word_is_on_the_command_line_of_some_release(component: str) -> None:
    given = [row["word"] if isinstance(row, dict) else row for row in TABLE["units"][component]]
    used = {flag_of(word) for name in LAB for word in words(name, component)}
    assert used == {flag_of(word) for word in given}


def test_each_component_says_where_its_configuration_is_served_once() -> None:
    for row in LAB.values():
        components = [component for component, _, _ in row.configz()]
        assert components == ["kube-proxy", "kube-scheduler"], row.release


def test_a_kubelet_of_each_release_has_many_flags_that_are_deprecated() -> None:
    for name, row in LAB.items():
        table = release_table("kubelet", row.release)
        deprecated = [word for word in words(name, "kubelet") if table.flags[flag_of(word)].deprecated]
        assert len(deprecated) >= (10 if row.source == "debian" else 30), (name, deprecated)


def test_only_flags_that_a_release_has_are_given() -> None:
    assert "--network-plugin=cni" in words("1.20", "kubelet")
    assert "--network-plugin=cni" not in words("1.24", "kubelet")
    assert "--fail-swap-on=false" not in words("1.37", "kubelet", node=0)
    assert flag_table("kube-apiserver", releases()[-1]) is not None


def names_of_lab(number: int) -> list[str]:
    """Each name and place by which the whole machine knows something of a lab."""
    code = (
        "import json, places as p; n = p.Node(1); print(json.dumps([p.LAB.name, p.NETWORK, p.PREFIX, p.BRIDGE, "
        "p.CGROUP, p.CLUSTER, str(p.BUILD_GROUP), n.machine, n.address, str(n.root)]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT / "tests" / "lab",
        env={**os.environ, "KUBEHARDEN_LAB_NUMBER": str(number)},
        capture_output=True,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def test_two_labs_share_no_name_that_the_machine_knows() -> None:
    labs = [names_of_lab(number) for number in (0, 1, 2)]
    assert labs[0][:6] == ["kubeharden-lab", "10.88.0", "khlab", "khlab0", "kubeharden-lab", "lab"]
    for one, other in itertools.permutations(labs, 2):
        assert not set(one) & set(other)
        prefix, bridge = other[2:4]
        # As leftovers.py tells the links, namespaces and mounts of a lab.
        assert not [name for name in one if name == bridge or name.startswith((f"{prefix}-", f"{other[0]}/"))]


def test_what_the_fleet_of_two_labs_imports_late_is_where_its_command_looks() -> None:
    [path] = re.findall(r"PYTHONPATH=(\S+) \S+ tests/lab/fleet_of_two\.py", (ROOT / "Makefile").read_text())
    paths = f"{path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"
    code = "import fleet_of_two, declared, test_releases, truth"
    subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env={**os.environ, "PYTHONPATH": paths}, check=True
    )
