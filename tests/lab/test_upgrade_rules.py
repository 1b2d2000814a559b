"""Rules that no table can express (``upgrades.yaml``) against the programs themselves: who stops with which flags.

Of each release that is built here, the programs run alone, on a loopback of their own: no node is needed to be refused.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from places import CACHE

from kubeharden import readiness
from kubeharden.components.readiness import Effect
from kubeharden.releases import Release

FIRST = Release(1, 20)  # where the command lines are from
BUILT = sorted(CACHE.glob("kubernetes-1.*[0-9]/usr/bin/kubelet"))
SECONDS = 60  # in which a program has refused its flags, or goes on
GOES_ON = ("127.0.0.1:1", "acquire leader lease")  # it asks the API server, which is not there
REFUSALS = (
    "lock is removed",
    "resourceLock value must be",
    "cloud provider",
    "unknown flag: --cloud-provider",
)
LOCKS = ("endpoints", "configmaps", "endpointsleases", "configmapsleases", "leases")
CASES = [
    *(
        (component, [f"--leader-elect-resource-lock={lock}", f"--leader-elect={elect}"])
        for component in ("kube-scheduler", "kube-controller-manager")
        for lock, elect in (*((lock, "true") for lock in LOCKS), ("endpoints", "false"))
    ),
    *(
        ("kube-controller-manager", [f"--cloud-provider={name}"])
        for name in ("openstack", "aws", "gce", "external")
    ),
]


def last_words(program: Path, words: list[str], path: Path) -> str:
    """What a program says until it ends, or goes on."""
    command = ["unshare", "--net", str(program), *words, "--master=http://127.0.0.1:1", "--secure-port=0"]
    with (
        path.open("wb") as file,
        subprocess.Popen(command, cwd=path.parent, stderr=file, stdout=file) as process,
    ):
        end = time.monotonic() + SECONDS
        while process.poll() is None and time.monotonic() < end:
            if any(word in path.read_text() for word in GOES_ON):
                break
            time.sleep(0.1)
        process.kill()
    return path.read_text()


@pytest.mark.parametrize(
    ("component", "words"), CASES, ids=lambda value: " ".join(value) if isinstance(value, list) else value
)
@pytest.mark.parametrize("kubelet", BUILT, ids=lambda path: path.parts[-4])
def test_a_program_is_stopped_by_what_the_rules_say(
    kubelet: Path, component: str, words: list[str], tmp_path: Path
) -> None:
    release = Release.parse(kubelet.parts[-4].removeprefix("kubernetes-"))
    found = readiness(component, FIRST, release, [component, *words])
    said = last_words(kubelet.with_name(component), words, tmp_path / "said")
    is_refused = any(word in line for line in said.splitlines() if line[:1] in "EF" for word in REFUSALS)
    settings = ("resource", "cloud-provider")
    stops = [
        one.setting for one in found if one.effect is Effect.STOPS and any(s in one.setting for s in settings)
    ]
    assert bool(stops) is is_refused, (said[-2000:], stops)
