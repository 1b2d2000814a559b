"""How long it takes, and how much memory, to read and judge a big cluster.

    python tests/bench/many_pods.py [--pods 50000] [--templates 5000]

Serves generated objects (``tests/support/big_cluster.py``) from a rehearsal API in a process of its own; another
process reads and judges them, and is what is measured. What breaks must be what the generator planted, name by name, or
it fails. Prints seconds and memory, and what else the machine did meanwhile.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

from big_cluster import NAMESPACES, serving
from kubeharden.edges.cluster import Cluster
from kubeharden.podsecurity.impact import breaking, psp_impact, pss_impact
from kubeharden.releases import Release

MEGABYTE = 1000**2


def measure(kubeconfig: str) -> dict[str, Any]:
    """Read and judge everything; seconds, peak memory of this process, and the names of what breaks."""
    start = time.perf_counter()
    cluster = Cluster(kubeconfig)
    facts = cluster.observe()
    cluster.close()
    read = time.perf_counter()
    release = Release.parse(facts.version)
    by_policies = psp_impact(facts.objects, release)
    judged = time.perf_counter()
    levels = {item["metadata"]["name"]: "baseline" for item in facts.of("namespaces")}
    by_levels = pss_impact(facts.objects, levels, f"v{release}", release)
    end = time.perf_counter()
    return {
        "pods": len(facts.of("pods")),
        "rows": len(by_policies),
        "read": read - start,
        "psp": judged - read,
        "pss": end - judged,
        "processor": time.process_time(),
        "peak": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
        "psp_breaks": sorted(map(str, breaking(by_policies))),
        "pss_breaks": sorted(map(str, breaking(by_levels))),
    }


def main(pods: int, templates: int) -> None:
    """Serve, measure, check and print."""
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder, serving(pods, templates, Path(folder)) as served:
        command = [sys.executable, __file__, "--measure", served["kubeconfig"]]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    found = json.loads(answer.stdout)
    for key in ("psp_breaks", "pss_breaks"):
        if found[key] != served[key]:
            wrong = sorted({*found[key]} ^ {*served[key]})
            sys.exit(
                f"{key}: {len(found[key])} rows, planted {len(served[key])}; these are in one only: {wrong}"
            )
    if found["pods"] != pods:
        sys.exit(f"{found['pods']} pods were read, not {pods}")
    read, psp, pss = found["read"], found["psp"], found["pss"]
    total, own = read + psp + pss, found["processor"]
    breaks = f"{len(found['psp_breaks'])} break by policies, {len(found['pss_breaks'])} by the level baseline"
    lines = (
        f"{pods} pods of {served['bytes_a_pod']} bytes on average, {templates} templates, {NAMESPACES} namespaces",
        f"{os.cpu_count()} processors, load {load:.1f} before and {os.getloadavg()[0]:.1f} after",
        f"reading {read:.1f} s, judging by PodSecurityPolicies {psp:.1f} s, by the Standards {pss:.1f} s",
        f"together {total:.1f} s, of which the process itself computed {own:.1f} s",
        f"peak memory {found['peak'] / MEGABYTE:.0f} MB",
        f"{found['rows']} rows; {breaks}, each of them planted and none missed",
    )
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--pods", type=int, default=50_000)
    parser.add_argument("--templates", type=int, default=5_000)
    parser.add_argument("--measure", metavar="KUBECONFIG", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.measure:
        sys.stdout.write(json.dumps(measure(asked.measure)))
    else:
        main(asked.pods, asked.templates)
