"""The programs of a later release, started on what a run has written: the judge of what readiness says."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from cluster import kubectl
from lab_releases import LabRelease, lab_releases
from machines import ssh
from places import API_SERVER, BINARIES, LAB_RELEASE, PKI, Node, binaries, existing
from steps import LabError, run, wait
from truth import flat

from kubeharden.components import Effect
from kubeharden.facts import Facts
from kubeharden.plan.upgrade import upgrade_findings
from kubeharden.releases import find_component
from service_starts import PROPERTIES, Start, judged, state_of

# In the order of an upgrade: nothing is newer than the API server it talks to.
ORDER = ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet")
SETTLED = (
    12  # seconds for which one process runs, and then counts as started: longer than RestartSec= of the units
)
PATIENCE = 120
BECOMES_READY = 120  # seconds that an API server has: on a busy machine, the first start takes one minute

STATE_SCRIPT = f"systemctl show -p {','.join(PROPERTIES)} {{}}"
WORDS_SCRIPT = """
sudo journalctl -q --no-pager -o cat --since=@{1} -u {0} |
  grep -vE '^(Flag --|  |[IW][0-9]+ )' | # nor the usage, nor what goes well
  grep -iE 'unknown flag|failed|error|panic|cannot|invalid|not supported|unable|must' | head -n 3
"""

ERRORS_SCRIPT = "sudo journalctl -q --no-pager -o cat -u kube-apiserver | grep '^E' | tail -n 3"


@dataclass(frozen=True)
class Started:
    """One component of a later release on one node.

    Attributes:
        expected: why readiness says that it does not start; empty where it says that it does.
        words: the first lines of its journal that say why it did not start; empty where it did.
    """

    node: str
    component: str
    expected: str
    words: str

    @property
    def as_expected(self) -> bool:
        return bool(self.expected) == bool(self.words)

    def __str__(self) -> str:
        outcome = f"does not start ({self.words})" if self.words else "starts"
        verdict = (
            "as readiness says" if self.as_expected else f"readiness says: {self.expected or 'it starts'}"
        )
        return f"{self.component} on {self.node} {outcome}, {verdict}"


def next_built() -> LabRelease | None:
    """The next release of the lab whose programs are in the cache; None where no later one is."""
    later = [row for row in lab_releases().values() if row.release > LAB_RELEASE.release]
    return next((row for row in later if binaries(row).exists()), None)


def start_all(later: LabRelease, facts: Facts) -> Iterator[Started]:
    """Start each component of each node with the later program; one that does not start gets its own back."""
    stops: dict[tuple[str, str], str] = {}
    for name, finding in upgrade_findings(facts, str(later.release)):
        if finding.effect is Effect.STOPS:
            stops.setdefault((name, finding.component), f"{finding.setting}: {finding.why}")
    for component in ORDER:
        for node in existing():
            if component not in {service.name for service in facts.node(node.name).present}:
                continue
            words = _start(node, component, binaries(later))
            if not words and component == "kube-apiserver":
                words = _unready(node)
            if words:
                back = _start(node, component, BINARIES, may_stumble=True)
                if back:
                    raise LabError(f"{component} on {node.name} does not start with its own program: {back}")
                if component == "kube-apiserver":
                    wait("the API server", lambda: "" if _ready() else "it is not ready", seconds=90)
            yield Started(node.name, component, stops.get((node.name, component), ""), words)


def _unready(node: Node) -> str:
    """What keeps an API server that runs from being ready, once it has had its time; empty if nothing does."""
    with suppress(LabError):
        wait("the API server", lambda: "" if _ready() else "it is not ready", seconds=BECOMES_READY)
        return ""
    keys = ("--cert", PKI / "admin.crt", "--key", PKI / "admin.key")
    said = run("curl", "-sk", "--max-time", "5", *keys, f"{API_SERVER}/readyz?verbose", check=False)
    failed = [line for line in said.splitlines() if line.startswith("[-]")]
    words = ssh(node, ERRORS_SCRIPT, check=False).strip()
    return f"it is not ready after {BECOMES_READY} seconds: {'; '.join(failed)} {words}"


def _ready() -> bool:
    return kubectl("get", "--raw", "/readyz", "--request-timeout=5s", check=False).strip() == "ok"


def _start(node: Node, component: str, programs: Path, *, may_stumble: bool = False) -> str:
    """Exchange the program and restart; why it does not start, empty if it does.

    With ``may_stumble``, systemd may have to start it more than once: while the API server comes back, for example.
    """
    since = int(ssh(node, "date +%s"))
    before = _state(node, component)["MainPID"]
    program = programs / "usr" / "bin" / component
    _copy(node, program)
    ssh(node, f"sudo systemctl restart --no-block {component}")
    end = time.monotonic() + PATIENCE
    seen: dict[str, str] = {}
    seen_since = time.monotonic()
    while time.monotonic() < end:
        now = _state(node, component)
        if now != seen:
            seen, seen_since = now, time.monotonic()
        settled = time.monotonic() - seen_since > SETTLED
        found = judged(now, before, settled=settled, may_stumble=may_stumble)
        if found is Start.STARTS:
            return ""
        if found is Start.FAILS:
            break
        if found is Start.STOPS and find_component(component).second_sigterm:
            # The first one has it wait for a minute while watches are open, and leases are lost meanwhile.
            ssh(node, f"sudo systemctl kill --kill-who=main {component}", check=False)
        time.sleep(1)
    words = ssh(node, WORDS_SCRIPT.format(component, since), check=False).strip()
    return words or " ".join(f"{key}={value}" for key, value in seen.items())


def _state(node: Node, component: str) -> dict[str, str]:
    return state_of(ssh(node, STATE_SCRIPT.format(component)))


def _copy(node: Node, program: Path) -> None:
    # A program that runs cannot be written to, but another one can take its name.
    target = node.root / "usr/bin" / program.name
    staged = target.with_name(f".{program.name}.new")
    staged.write_bytes(program.read_bytes())
    staged.chmod(0o755)
    staged.rename(target)


def kubelet_config(node: Node) -> dict[str, object]:
    """The effective configuration of a node's kubelet, flat."""
    raw = json.loads(kubectl("get", "--raw", f"/api/v1/nodes/{node.name}/proxy/configz"))
    return flat(raw["kubeletconfig"])
