"""The facts of the folders in ``fixtures/plans``: what was seen on the nodes and in the API of each rehearsal."""

from __future__ import annotations

import json
from pathlib import Path

from kubeharden.facts import ClusterFacts, Facts, parse_observation
from kubeharden.inputs.parameters import Parameters
from kubeharden.plan import Plan
from kubeharden.plan.decide import make_plan
from kubeharden.podsecurity.policies import read_policies

PLANS = Path(__file__).parents[1] / "fixtures" / "plans"
POLICIES = read_policies(Path(__file__).parents[2] / "parameters" / "pod-security.yaml")


def read_facts(folder: Path) -> Facts:
    cluster = json.loads((folder / "facts" / "cluster.json").read_text())
    configz = cluster.pop("configz")
    nodes = []
    for path in sorted((folder / "facts").glob("*.txt")):
        node = parse_observation(path.stem, path.stem in cluster["control_plane"], path.read_text())
        nodes.append(node.with_configz(configz[path.stem]))
    objects = {kind: tuple(items) for kind, items in cluster["objects"].items()}
    return Facts(tuple(nodes), ClusterFacts(cluster["version"], cluster["user"], objects, folder.name))


def plan_of(folder: Path, **parameters: object) -> Plan:
    """The plan for the facts of a folder, with the policies that this project ships."""
    return make_plan(read_facts(folder), Parameters(**parameters), POLICIES)
