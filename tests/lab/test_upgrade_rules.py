"""Rules that no table can express (``upgrades.yaml``) against the programs themselves: who stops with which flags.

Of each release that is built here, the programs run alone, on a loopback of their own: no node is needed to be refused.
"""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
from places import CACHE

from http_servers import Quiet, listening
from kubeharden import readiness
from kubeharden.components.gates import judge_gates
from kubeharden.components.readiness import Effect
from kubeharden.releases import Release, feature_gates

FIRST = Release(1, 20)  # where the command lines are from
BUILT = sorted(CACHE.glob("kubernetes-1.*[0-9]/usr/bin/kubelet"))
SECONDS = 60  # in which a program has refused its flags, or goes on
# It asks the API server, which is not there, or has what it needs of it.
GOES_ON = ("127.0.0.1:1/", "127.0.0.1:1:", "acquire leader lease", "Unable to get any supported resources")
# Releases whose kube-controller-manager waits for the API server before it makes its cloud provider, and refuses some.
ASK_FIRST = (Release.parse("1.26"), Release.parse("1.31"))
REFUSALS = {
    "--leader-elect-resource-lock": ("lock is removed", "resourceLock value must be"),
    "--cloud-provider": ("cloud provider", "unknown flag: --cloud-provider"),
}
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


class Healthy(Quiet):
    """An API server of which no more is known than that it is there."""

    def do_GET(self) -> None:  # noqa: N802 - the name that the base looks for
        self.answer(200, b"ok" if "healthz" in self.path else b"{}")


def last_words(program: Path, words: list[str], path: Path) -> str:
    """What a program says until it ends, or goes on."""
    command = ["unshare", "--net", str(program), *words, "--master=http://127.0.0.1:1", "--secure-port=0"]
    return said_by(command, path)


def last_words_to_a_healthy_server(program: Path, words: list[str], path: Path) -> str:
    """The same, where there is an API server: some ask for it before they look at their provider."""
    with listening(Healthy) as master:
        return said_by(
            [str(program), *words, f"--master={master}", "--secure-port=0", "--leader-elect=false"], path
        )


def said_by(command: list[str], path: Path) -> str:
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
    flag = words[0].partition("=")[0]
    asks_first = flag == "--cloud-provider" and ASK_FIRST[0] <= release < ASK_FIRST[1]
    # It waits 10 seconds for one where it need not be elected.
    waits = component == "kube-controller-manager" and "--leader-elect=false" in words
    ask = last_words_to_a_healthy_server if asks_first or waits else last_words
    said = ask(kubelet.with_name(component), words, tmp_path / "said")
    is_refused = any(
        word in line for line in said.splitlines() if line[:1] in "EF" for word in REFUSALS[flag]
    )
    settings = ("resource", "cloud-provider")
    stops = [
        one.setting for one in found if one.effect is Effect.STOPS and any(s in one.setting for s in settings)
    ]
    assert bool(stops) is is_refused, (said[-2000:], stops)


@pytest.mark.parametrize("kubelet", BUILT, ids=lambda path: path.parts[-4])
def test_each_feature_gate_is_refused_as_the_tables_say(kubelet: Path, tmp_path: Path) -> None:
    """One that is not as it is by default, by itself: locked, or one that another depends on."""
    release = Release.parse(kubelet.parts[-4].removeprefix("kubernetes-"))
    odd = []
    for name, gate in feature_gates(release).items():
        given = {name: not gate.default}
        flag = f"--feature-gates={name}={str(not gate.default).lower()}"
        command = [str(kubelet.with_name("kube-proxy")), flag, f"--write-config-to={tmp_path / 'written'}"]
        done = subprocess.run(command, capture_output=True, check=False, cwd=tmp_path)
        is_of_others = b"unrecognized feature gate" in done.stderr  # the table has those of all components
        stops = any(verdict.stops for verdict in judge_gates(given, release))
        if stops is (done.returncode == 0) and not is_of_others:
            odd.append((flag, done.stderr[-300:]))
    assert not odd


# Values that kube-apiserver refuses from some release on: it says all that it does not like at once.
API_SERVER = (
    "--goaway-chance=0.03",
    "--goaway-chance=0.02",
    "--request-timeout=-1s",
    "--livez-grace-period=-1s",
    "--max-requests-inflight=-1",
    "--strict-transport-security-directives=max-age=5",
    "--storage-media-type=foo",
    "--oidc-username-claim=sub",
    "--show-hidden-metrics-for-version=1.29",
)


@pytest.mark.parametrize("word", API_SERVER)
@pytest.mark.parametrize("kubelet", BUILT, ids=lambda path: path.parts[-4])
def test_a_value_is_refused_by_an_api_server_as_the_rules_say(
    kubelet: Path, word: str, tmp_path: Path
) -> None:
    release = Release.parse(kubelet.parts[-4].removeprefix("kubernetes-"))
    key = tmp_path / "key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    words = [f"--service-account-{name}={key}" for name in ("signing-key-file", "key-file")]
    words += ["--service-account-issuer=https://x.example", f"--cert-dir={tmp_path}", word]
    command = [str(kubelet.with_name("kube-apiserver")), *words]  # without --etcd-servers, it never starts
    done = subprocess.run(command, capture_output=True, check=False, text=True, cwd=tmp_path, timeout=SECONDS)
    if "unknown flag" in done.stderr:  # of a release that does not have it
        return
    [last] = [line for line in done.stderr.splitlines() if "--etcd-servers must be specified" in line]
    # What is hidden changes with each release: it is asked of one step, the others of all.
    running = release.previous if "hidden" in word else "1.19"
    found = readiness("kube-apiserver", running, release, ["kube-apiserver", *words])
    flag = word.partition("=")[0]
    stops = [one.setting for one in found if one.effect is Effect.STOPS and one.setting == flag]
    assert bool(stops) is ("[" in last), (last, stops)
