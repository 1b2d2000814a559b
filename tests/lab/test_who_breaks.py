"""Who breaks, with the real API server as the judge (issue 6, done means)."""

from __future__ import annotations

import json
import re

import pytest
from cluster import get, kubectl
from runs import Runbook
from steps import wait

from kubeharden.inputs.parameter_types import STRENGTHS
from kubeharden.podsecurity.default_policy import default_policies
from support import MINER


@pytest.fixture
def with_a_miner(fresh_lab: None) -> None:
    """The lab with the article's workloads, an ordinary Deployment, and a privileged one that no policy is for."""
    kubectl("apply", "-f", "-", text=json.dumps(MINER))
    kubectl("-n", "shop", "rollout", "status", "deployment/miner", "--timeout=60s", timeout=90)


def fates(shown: str) -> dict[str, str]:
    """Workload → the policy that admits it, or nothing, as the table says."""
    table = shown[shown.index("Who breaks") :].split("\n\n", maxsplit=1)[0]
    rows = re.findall(r"(?m)^([A-Z]\w+ \S+/\S+) .*?(?:admitted by (\S+)|WILL NOT START AGAIN)", table)
    return dict(rows)


def policies_in_force() -> dict[str, str]:
    """Workload → the policy by which its pods are there."""
    found = {}
    for pod in get("pods", "-A")["items"]:
        meta = pod["metadata"]
        owner = meta["ownerReferences"][0]
        name = f"{owner['kind']} {meta['namespace']}/{owner['name']}"
        if owner["kind"] == "Node":
            name = f"Pod {meta['namespace']}/{meta['name']}"
        elif owner["kind"] == "ReplicaSet":
            deployment = owner["name"].removesuffix(f"-{meta['labels']['pod-template-hash']}")
            name = f"Deployment {meta['namespace']}/{deployment}"
        found[name] = meta.get("annotations", {}).get("kubernetes.io/psp", "")
    return found


def refused(deployment: str) -> bool:
    status = get("deployment", "-n", "shop", deployment)["status"]
    return any("unable to admit pod" in c.get("message", "") for c in status.get("conditions", ()))


@pytest.mark.parametrize("strength", STRENGTHS)
def test_the_api_server_takes_each_default_policy_as_it_is(fresh_lab: None, strength: str) -> None:
    policy = default_policies("1.20")[strength]
    said = kubectl("create", "--dry-run=server", "-o", "json", "-f", "-", text=json.dumps(policy))
    stored = json.loads(said)["spec"]
    # The server leaves out what is false.
    assert {key: stored.get(key, False) for key in policy["spec"]} == policy["spec"]


def test_the_table_names_who_breaks_and_the_api_server_agrees_with_every_row(
    with_a_miner: None, runbook: Runbook
) -> None:
    told = runbook(mode="plan", accept_breaking="[]")
    assert told.status == 0, told.output[-4000:]
    breaks = {name for name, policy in fates(told.shown("run.impact()")).items() if not policy}
    assert breaks == {"Deployment shop/web", "Deployment shop/miner"}

    applied = runbook(default_policy="baseline", accept_breaking="[shop/miner]")
    assert applied.status == 0, applied.output[-4000:]
    foretold = fates(applied.shown("run.impact()"))
    assert {name for name, policy in foretold.items() if not policy} == {"Deployment shop/miner"}
    assert foretold["Deployment shop/web"] == "unprivileged-baseline"

    kubectl("delete", "pods", "-A", "--all", "--grace-period=1", "--wait=true", timeout=180)
    wanted = {name: policy for name, policy in foretold.items() if policy}

    def missing() -> str:
        there = policies_in_force()
        return "" if there == wanted else f"{there} is there, {wanted} was foretold"

    wait("the pods that were foretold", missing, seconds=120)
    wait("the miner to be refused", lambda: "" if refused("miner") else "it is not", seconds=30)
